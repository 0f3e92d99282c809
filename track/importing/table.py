"""Comma-separated values: a line a step with a column a metric, or a line a point, as ``track export --csv`` writes."""

from __future__ import annotations

import csv
import io
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

from track.errors import UnsafePath
from track.importing.files import checksum_of, open_file
from track.importing.report import Report
from track.importing.runs import Keys, Run, Taking, stamp_of
from track.importing.words import number_of, time_of
from track.versioning import compute_hash

_RUN = ("run", "uid", "run_id", "run_name", "trial", "name")
_IDS = ("uid", "run_id")
_STEP = ("step", "_step", "global_step", "epoch", "iteration")
_TIME = ("time", "timestamp", "_timestamp", "wall_time", "at")
_FIELDS = {"parameters": "parameters", "params": "parameters", "config": "parameters", "tags": "tags"}
_DELIMITERS = (",", ";", "\t", "|")
_LONGEST_LINE = 1 << 22
_MOST_COLUMNS = 100_000
_CELLS = 40_000
"""Cells that are read before they are told."""


def runs(path: str, report: Report) -> Iterator[Run]:
    """Yield the runs of a file, or of each file named ``*.csv`` in a folder."""
    keys = Keys()
    if not os.path.isdir(path):
        yield from _File(path, report).runs(keys)
        return
    from track.importing.files import Folder

    folder = Folder(path, report)
    for name in folder.files():
        if name.endswith((".csv", ".tsv")):
            yield from _File(folder.at(name), report).runs(keys)


@dataclass
class _Part:
    """The lines of one run: where each piece begins and ends in the file, in bytes."""

    first: list[str]
    spans: array[int] = field(default_factory=lambda: array("q"))


class _File:
    """One file: its columns, and which lines are whose."""

    def __init__(self, path: str, report: Report) -> None:
        self.path, self._report = path, report
        self._name = os.path.splitext(os.path.basename(path))[0]

    def runs(self, keys: Keys) -> Iterator[Run]:
        try:
            with open_file(self.path) as file:
                self._read_head(file)
                if not self._columns:
                    return
                parts = self._parts(file)
        except (OSError, UnsafePath) as error:
            self._report.damage("cannot be opened", f"{self.path}: {error}")
            return
        modified = os.stat(self.path).st_mtime
        stamp = f"{stamp_of(self.path)}-{checksum_of(self.path)}"
        project = os.path.basename(os.path.dirname(self.path)) or "imported"
        for name, part in parts.items():
            time = self._cell(part.first, self._time)
            created = time_of(time) if time else None
            label = self._cell(part.first, self._label) or name or self._name

            def read(taking: Taking, part: _Part = part) -> None:
                self._read(part, taking)

            key = keys.key_of(self._key(name, part.first), stamp)
            yield Run(key, stamp, read, modified if created is None else created, label, project)

    def _key(self, name: str, first: list[str]) -> str:
        """Return what a run is called wherever its file is: its id, or how it begins."""
        if name and self._run is not None and self._columns[self._run].strip().lower() in _IDS:
            return name
        begins = compute_hash("csv", self._columns, first)[:16]
        return f"{self._name}#{name}@{begins}"

    def _read_head(self, file: io.BufferedReader) -> None:
        line = file.readline(_LONGEST_LINE)
        self._start = len(line)
        text = line.decode("utf-8-sig", "replace")
        self._delimiter = max(_DELIMITERS, key=text.count)
        try:
            self._columns = next(csv.reader([text], delimiter=self._delimiter), [])
        except csv.Error:
            self._columns = []
        if not line.endswith(b"\n") or len(self._columns) > _MOST_COLUMNS:
            self._report.damage("has no line of names, or nothing after it", self.path)
            self._columns = []
        names = [name.strip() for name in self._columns]
        lower = [name.lower() for name in names]
        self._is_long = "metric" in lower and "value" in lower
        self._run, self._step, self._time = (_place(lower, known) for known in (_RUN, _STEP, _TIME))
        self._label = lower.index("name") if "name" in lower and self._run != lower.index("name") else None
        if self._is_long:
            self._metric, self._value = lower.index("metric"), lower.index("value")
        taken = {self._run, self._step, self._time, self._label}
        self._metrics: list[tuple[int, str]] = []
        self._fields: list[tuple[int, str, str]] = []
        for place, name in enumerate(names):
            kind, _, rest = name.partition(".")
            if place in taken or not name:
                continue
            if kind in _FIELDS and rest:
                self._fields.append((place, _FIELDS[kind], rest))
            elif not self._is_long:
                self._metrics.append((place, name))

    def _parts(self, file: io.BufferedReader) -> dict[str, _Part]:
        """Return where the lines of each run are."""
        if self._run is None:
            begin = next(self._rows(_Lines(file, self._start, None, self._report, self.path)), None)
            return {} if begin is None else {"": _Part(begin[0], array("q", (self._start, -1)))}
        parts: dict[str, _Part] = {}
        last, begun, place, spans = None, self._start, self._run, array("q")
        for row, end in self._rows(_Lines(file, self._start, None, self._report, self.path)):
            name = row[place].strip() if place < len(row) else ""
            if name != last:
                spans = parts.setdefault(name, _Part(row)).spans
                spans.extend((begun, end))
                last = name
            else:
                spans[-1] = end
            begun = end
        return parts

    def _rows(self, lines: _Lines) -> Iterator[tuple[list[str], int]]:
        reader = csv.reader(lines, delimiter=self._delimiter)
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                self._report.damage(f"is no comma-separated values ({error})", self.path)
                continue
            if row:
                yield row, lines.offset

    def _read(self, part: _Part, taking: Taking) -> None:
        spans = iter(part.spans)
        rows: list[list[str]] = []
        cells, width = 0, len(self._columns)
        with open_file(self.path) as file:
            self._tell_fields(part.first, taking)
            for start, end in zip(spans, spans, strict=True):
                file.seek(start)
                for row, _ in self._rows(_Lines(file, start, None if end < 0 else end, self._report, self.path)):
                    if len(row) > width:
                        taking.damage("has lines with more cells than names", self.path)
                        continue
                    rows.append(row if len(row) == width else row + [""] * (width - len(row)))
                    cells += width
                    if cells >= _CELLS:
                        self._tell(rows, taking)
                        rows, cells = [], 0
        self._tell(rows, taking)

    def _tell_fields(self, row: list[str], taking: Taking) -> None:
        found: dict[str, dict[str, Any]] = {"parameters": {}, "tags": {}}
        for place, kind, name in self._fields:
            if text := self._cell(row, place):
                number = number_of(text)
                found[kind][name] = text if number is None else number
        taking.parameters(found["parameters"])
        taking.tags(found["tags"])

    def _tell(self, rows: list[list[str]], taking: Taking) -> None:
        steps: list[Any] | None = None
        times: list[Any] | None = None
        if self._step is not None:
            steps = [_step_of(row[self._step]) for row in rows]
        if self._time is not None:
            times = [time_of(row[self._time]) for row in rows]
        if self._is_long:
            for place, row in enumerate(rows):
                step, at = None if steps is None else steps[place], None if times is None else times[place]
                self._tell_cells(row[self._metric].strip(), (row[self._value],), [step], [at], taking)
            return
        columns = list(zip(*rows, strict=True)) if rows else []
        for place, name in self._metrics if columns else ():
            self._tell_cells(name, columns[place], steps, times, taking)

    def _tell_cells(
        self, name: str, texts: tuple[str, ...], steps: list[Any] | None, times: list[Any] | None, taking: Taking
    ) -> None:
        try:
            numbers: list[Any] = list(map(float, texts))
        except ValueError:
            self._tell_one_by_one(name, texts, steps, times, taking)
            return
        # What reads like an integer is one.
        for place in compress(range(len(numbers)), map(float.is_integer, numbers)):
            text = texts[place]
            if text.isdigit() and len(text) < 20:
                numbers[place] = int(text)
        if len(numbers) == 1:
            taking.point(name, numbers[0], None if steps is None else steps[0], None if times is None else times[0])
        else:
            taking.series(name, numbers, steps, times)

    def _tell_one_by_one(
        self, name: str, texts: tuple[str, ...], steps: list[Any] | None, times: list[Any] | None, taking: Taking
    ) -> None:
        for place, text in enumerate(texts):
            if not text:
                continue
            number = number_of(text)
            if number is None:
                taking.leave("cell", "is no number", f"{name}: {text[:100]}")
            else:
                step, at = None if steps is None else steps[place], None if times is None else times[place]
                taking.point(name, number, step, at)

    def _cell(self, row: list[str], place: int | None) -> str:
        return row[place].strip() if place is not None and place < len(row) else ""


class _Lines:
    """The lines of a file from one byte to another, as text; `offset` is where the next one begins."""

    def __init__(self, file: io.BufferedReader, offset: int, end: int | None, report: Report, path: str) -> None:
        self._file, self.offset, self._end = file, offset, end
        self._report, self._path = report, path

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._end is not None and self.offset >= self._end:
            raise StopIteration
        line = self._file.readline(_LONGEST_LINE)
        self.offset += len(line)
        if len(line) == _LONGEST_LINE:
            self._report.damage(f"has lines of more than {_LONGEST_LINE:,} bytes", self._path)
            while line and not line.endswith(b"\n"):
                line = self._file.readline(_LONGEST_LINE)
                self.offset += len(line)
            return "\n"
        if not line:
            raise StopIteration
        return line.decode("utf-8", "replace")


def _place(names: list[str], known: tuple[str, ...]) -> int | None:
    return next((names.index(name) for name in known if name in names), None)


def _step_of(text: str) -> Any:
    if not text:
        return None
    number = number_of(text)
    return text if number is None else number
