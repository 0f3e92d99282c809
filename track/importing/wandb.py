"""wandb: the folders of its runs, as they are written offline and online, without the package."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from track.errors import InvalidEvent, UnsafePath
from track.importing.files import Folder, open_file, read_json
from track.importing.leveldb import HEADER, HEADER_SIZE, records
from track.importing.media import counted
from track.importing.protobuf import Malformed, double, fields, last_of, message, signed, text
from track.importing.report import Report
from track.importing.runs import Run, Taking, stamp_of
from track.structure import Status
from track.utils.masking import mask_command

_LINKS = frozenset(("latest-run", "debug.log", "debug-internal.log", "debug-core.log"))
_READ_HERE = frozenset(("config.yaml", "wandb-summary.json", "wandb-metadata.json"))
_HIDDEN = frozenset(("_wandb", "_step", "_timestamp", "_runtime"))
_VALUE = 0x82
"""The first byte of a field 16, the value of an item; the second one is 1."""
_MEDIA = {
    "image-file": "image",
    "audio-file": "audio",
    "video-file": "video",
    "table-file": "table",
    "html-file": "html",
    "plotly-file": "figure",
    "bokeh-file": "bokeh",
    "object3D-file": "object3D",
    "molecule-file": "molecule",
}
_MOST = 100_000
"""Names of a summary, and of metrics whose form is remembered."""
_ENVIRONMENT = {1: "os", 2: "python", 6: "program", 12: "host", 13: "username", 16: "cpu_count", 18: "gpu", 19: "gpus"}
_NO_END = "wandb has noted no end of the run, which was killed or still runs: it counts as broken"
_decode = msgspec.json.Decoder().decode


def runs(path: str, report: Report) -> Iterator[Run]:
    """Yield the runs below a folder, or that of one file."""
    if os.path.isfile(path):
        folder, names = Folder(os.path.dirname(path), report), [os.path.basename(path)]
    else:
        folder = Folder(path, report, _LINKS)
        names = [name for name in folder.files() if name.endswith(".wandb")]
    together: dict[str, list[_Part]] = {}
    for name in names:
        part = _Part(folder, name)
        try:
            part.look()
        except (OSError, UnsafePath) as error:
            report.damage("cannot be opened", f"{name}: {error}")
            continue
        if not part.is_wandb:
            report.damage("is no file of wandb", name)
            continue
        if part.is_empty:
            report.leave("run", "has nothing in its file: it was killed before wandb wrote to it", name)
            continue
        together.setdefault(f"{part.project}/{part.id}", []).append(part)
    for key, parts in sorted(together.items(), key=lambda one: (one[1][0].created, one[0])):
        yield _run(key, sorted(parts, key=lambda part: part.created))


def _run(key: str, parts: list[_Part]) -> Run:
    """Return the run of one file, or of several: each resume begins another one."""
    begun = parts[0]

    def read(taking: Taking) -> None:
        reading = _Reading(taking)
        for part in parts:
            reading.read(part)
        reading.end()

    stamp = stamp_of(*(part.path for part in parts))
    group = begun.group or (f"sweep {begun.sweep}" if begun.sweep else None)
    names = (begun.label or begun.id, begun.project, group, begun.notes)
    return Run(key, stamp, read, begun.created, *names)


@dataclass
class _Part:
    """One file, and what its first records say of the run."""

    folder: Folder
    name: str
    id: str = ""
    label: str | None = None
    project: str = "uncategorized"
    group: str | None = None
    sweep: str | None = None
    notes: str | None = None
    created: float = 0.0
    is_empty: bool = False
    is_wandb: bool = True

    @property
    def path(self) -> str:
        return self.folder.at(self.name)

    @property
    def below(self) -> str:
        """The folder of the files of the run."""
        return f"{os.path.dirname(self.name)}/files".lstrip("/")

    def look(self) -> None:
        """Read which run it is."""
        self.id = os.path.basename(self.name).removesuffix(".wandb").removeprefix("run-")
        with open_file(self.path) as file:
            about = os.fstat(file.fileno())
            self.is_wandb = HEADER.startswith(file.peek(len(HEADER))[: len(HEADER)])
            self.created, self.is_empty = about.st_mtime, about.st_size in (0, HEADER_SIZE)
            for number, record in enumerate(records(file, self.name, None)):
                try:
                    run = last_of(record, 17)[0]
                    if run is not None:
                        self._read(message(run))
                        return
                except Malformed:
                    continue
                if number >= 100:
                    return

    def _read(self, data: bytes) -> None:
        for number, value in fields(data):
            if number == 17:
                self.created = _moment(message(value)) or self.created
            elif number in _RUN and value:
                setattr(self, _RUN[number], text(value))


_RUN = {1: "id", 3: "project", 6: "group", 8: "label", 9: "notes", 12: "sweep"}


class _Reading:
    """Tells what is in the records of one run."""

    def __init__(self, taking: Taking) -> None:
        self._taking = taking
        self._config: dict[str, Any] = {}
        self._summary: dict[str, Any] = {}
        self._names: dict[bytes, str | tuple[str, ...]] = {}
        self._metrics: set[str] = set()
        self._media: set[str] = set()
        self._facts: dict[str, Any] = {}
        self._tags: dict[str, Any] = {}
        self._code: int | None = None
        self._last = None
        self._left: dict[tuple[str, str], int] = {}

    def read(self, part: _Part) -> None:
        """Tell what is in a file, and the files beside it."""
        self._part, self._code = part, None
        readers = {2: self._read_row, 3: self._read_summary, 5: self._read_config, 7: self._read_stats}
        readers |= {8: self._read_artifact, 10: self._read_alert, 17: self._read_run, 18: self._read_exit}
        readers |= {26: self._read_environment}
        try:
            file = open_file(part.path)
        except (OSError, UnsafePath) as error:
            self._taking.damage("cannot be opened", f"{part.name}: {error}")
            return
        with file:
            for record in records(file, part.name, self._taking):
                try:
                    for number, value in fields(record):
                        if number in readers:
                            readers[number](message(value))
                except (Malformed, ValueError, RecursionError) as error:
                    self._taking.damage("a record is damaged", f"{part.name}: {error}")
        self._read_files(part)

    def end(self) -> None:
        """Tell what is known once all of it was read."""
        taking = self._taking
        summary = {
            name: value
            for name, value in _flat(self._summary).items()
            if name not in self._metrics and name.split(".")[0] not in self._metrics
        }
        if summary:
            self._facts["summary"] = summary
        taking.metadata(self._facts)
        taking.tags(self._tags)
        if self._code is None:
            taking.leave("status", _NO_END)
            taking.ended(Status.Broken)
        elif self._code:
            taking.ended(Status.Exception, None, f"wandb: the program ended with exit code {self._code}")
        else:
            taking.ended(Status.Completed)

    # points

    def _read_row(self, data: bytes) -> None:
        row: list[tuple[str, Any]] = []
        nested: dict[str, Any] = {}
        known: dict[str, Any] = {"_step": None, "_timestamp": None, "_runtime": None}
        named = self._named
        for number, item in fields(data):
            if number == 1:
                name, value = named(item)
                if type(name) is not str:
                    _put(nested, name, value)
                elif name in known:
                    known[name] = value
                else:
                    row.append((name, value))
            elif number == 2 and known["_step"] is None:
                known["_step"] = signed(last_of(message(item), 1)[0] or 0)
        step, at = known["_step"], known["_timestamp"]
        at = at if isinstance(at, (int, float)) else None
        point, metrics = self._taking.point, self._metrics
        for name, value in row:
            if type(value) is float or type(value) is int:
                point(name, value, step, at)
                metrics.add(name)
            else:
                self._tell(name, value, step, at)
        for name, value in nested.items():
            self._tell(name, value, step, at)

    def _named(self, item: Any) -> tuple[Any, Any]:
        """Return the name of an item, or its names, and its value."""
        # Those of most items are the same bytes in each row, less than 128, and stand before the value.
        place, end = 0, len(item)
        while place + 1 < end and item[place] != _VALUE:
            place += 2 + item[place + 1]
        if place + 2 < end and item[place + 2] < 128:
            name = self._names.get(item[:place])
            if name is not None:
                raw = item[place + 3 :]
                try:
                    return name, _decode(raw)
                except msgspec.DecodeError:
                    return name, read_json(raw)
            keys, value = _item(item)
            if len(self._names) < _MOST:
                self._names[item[:place]] = keys[0] if len(keys) == 1 else keys
        else:
            keys, value = _item(message(item))
        return keys[0] if len(keys) == 1 else keys, value

    def _tell(self, name: str, value: Any, step: Any, at: float | None, depth: int = 0) -> None:
        """Tell a value that may be none of a metric."""
        if isinstance(value, (int, float)):
            self._taking.point(name, value, step, at)
            self._metrics.add(name)
        elif isinstance(value, dict):
            kind = value.get("_type")
            if isinstance(kind, str):
                self._metrics.add(name)
                self._tell_media(name, kind, value, step)
            elif depth < 50:
                for key, item in value.items():
                    self._tell(f"{name}.{key}", item, step, at, depth + 1)
        elif value is not None:
            self._metrics.add(name)
            if isinstance(value, str):
                self._taking.medium("text", name, value, step)
            else:
                self._taking.leave("list", "is logged at steps, and no number", name)

    def _tell_media(self, name: str, kind: str, value: dict[str, Any], step: Any) -> None:
        paths = [value.get("path")] if "path" in value else value.get("filenames")
        paths = paths if isinstance(paths, list) else []
        what = _MEDIA.get(kind, "image" if kind == "images/separated" else kind)
        if kind == "histogram":
            self._tell_histogram(name, value, step)
            return
        if not paths:
            self._taking.leave(what, "has no place here yet", name)
            return
        captions = value.get("captions")
        captions = captions if isinstance(captions, list) else [value.get("caption")]
        for number, path in enumerate(paths):
            if not isinstance(path, str):
                self._taking.leave(what, "names no file", name)
                continue
            inside = f"{self._part.below}/{path}"
            if not self._part.folder.has(inside):
                self._taking.leave(what, "its file is not in the folder of the run", path)
                continue
            self._media.add(inside)
            called = name if len(paths) == 1 else f"{name}/{number}"
            caption = captions[number] if number < len(captions) else None
            self._taking.medium(what, called, self._part.folder.at(inside), step, caption)

    def _tell_histogram(self, name: str, value: dict[str, Any], step: Any) -> None:
        counts: Any
        edges: Any
        counts, edges, packed = value.get("values"), value.get("bins"), value.get("packedBins")
        try:
            if isinstance(packed, dict):
                low, width, count = packed["min"], packed["size"], min(int(packed["count"]), _MOST)
                edges = [low + width * place for place in range(count + 1)]
            self._taking.medium("histogram", name, counted(edges[:-1], edges[1:], counts), step)
        except (InvalidEvent, ValueError, TypeError, LookupError, ArithmeticError) as error:
            self._taking.leave("histogram", "has no counts between rising edges", f"{name}: {error}")

    # facts

    def _read_summary(self, data: bytes) -> None:
        for number, item in fields(data):
            if number == 1 and len(self._summary) < _MOST:
                keys, value = _item(message(item))
                if keys[0] in _HIDDEN:
                    continue
                if len(keys) == 1:
                    self._summary[keys[0]] = value
                else:
                    _put(self._summary, keys, value)

    def _read_config(self, data: bytes) -> None:
        changed = {}
        for number, item in fields(data):
            if number == 1:
                keys, value = _item(message(item))
                if keys[0] == "_wandb":
                    continue
                if len(keys) == 1:
                    self._config[keys[0]] = value
                else:
                    _put(self._config, keys, value)
                changed[keys[0]] = self._config[keys[0]]
        self._taking.parameters(changed)

    def _read_run(self, data: bytes) -> None:
        for number, value in fields(data):
            if number == 4:
                self._read_config(message(value))
            elif number == 7 and value:
                self._facts["job_type"] = text(value)
            elif number == 10:
                self._tags[text(value)] = True
            elif number == 12 and value:
                self._facts["sweep"] = text(value)
            elif number == 13 and value:
                self._facts["host"] = text(value)
            elif number == 21:
                remote, commit = last_of(message(value), 1, 2)
                git = {"remote": remote and text(remote), "commit": commit and text(commit)}
                self._facts["git"] = {name: said for name, said in git.items() if said}

    def _read_environment(self, data: bytes) -> None:
        words = []
        for number, value in fields(data):
            if number in _ENVIRONMENT:
                self._facts[_ENVIRONMENT[number]] = value if isinstance(value, int) else text(value)
            elif number == 5:
                words.append(text(value))
        if words:
            self._facts["arguments"] = mask_command(words)

    def _read_stats(self, data: bytes) -> None:
        at, items = None, []
        for number, value in fields(data):
            if number == 2:
                at = _moment(message(value))
            elif number == 3:
                items.append(message(value))
        for item in items:
            keys, value = _item(item)
            if isinstance(value, (int, float)):
                self._taking.point(f"system/{keys[0]}", value, None, at)

    def _read_artifact(self, data: bytes) -> None:
        kind, name = last_of(data, 4, 5)
        if kind == b"run_table":
            # Of a table that was logged, whose file is in the folder of the run.
            return
        said = f"{text(name or b'')} ({text(kind or b'')})"
        self._taking.leave("artifact", "wandb keeps its files elsewhere", said)

    def _read_alert(self, data: bytes) -> None:
        title, said = last_of(data, 1, 2)
        self._taking.leave("alert", "has no place here", f"{text(title or b'')}: {text(said or b'')}")

    def _read_exit(self, data: bytes) -> None:
        code = last_of(data, 1)[0]
        self._code = 0 if code is None else signed(code)

    def _read_files(self, part: _Part) -> None:
        folder = part.folder
        facts = folder.json(f"{part.below}/wandb-metadata.json")
        if isinstance(facts, dict):
            words = facts.get("args")
            if isinstance(words, list):
                facts["args"] = mask_command([str(word) for word in words])
            self._facts["wandb"] = facts
        if os.path.basename(part.below) != "files" or not part.below.startswith(os.path.dirname(part.name)):
            return
        for name in folder.files(part.below):
            inside = name.removeprefix(f"{part.below}/")
            if name not in self._media and inside not in _READ_HERE:
                self._taking.file(inside, folder.at(name))


def _item(data: bytes) -> tuple[tuple[str, ...], Any]:
    """Return the keys of an item and its value."""
    keys: list[str] = []
    value: Any = None
    for number, found in fields(data):
        if number == 1 and found:
            keys = [text(found)]
        elif number == 2:
            keys.append(text(found))
        elif number in (8, 16):
            value = read_json(message(found))
        elif number == 4:
            value = bool(found)
        elif number == 5:
            value = signed(found)
        elif number == 6:
            value = double(found)
        elif number == 7:
            value = text(found)
    if not keys:
        raise Malformed("an item has no name")
    return tuple(keys), value


def _flat(data: dict[str, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """Return data in dictionaries inside of each other by names with dots, as metrics have them."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict) and value and depth < 50:
            found.update(_flat(value, f"{prefix}{key}.", depth + 1))
        else:
            found[f"{prefix}{key}"] = value
    return found


def _put(found: dict[str, Any], keys: tuple[str, ...], value: Any) -> None:
    """Put a value into dictionaries inside of each other."""
    for key in keys[:-1]:
        inner = found.get(key)
        if not isinstance(inner, dict):
            inner = found[key] = {}
        found = inner
    found[keys[-1]] = value


def _moment(data: bytes) -> float | None:
    """Return the unix seconds of a Timestamp."""
    seconds, nanos = last_of(data, 1, 2)
    if not isinstance(seconds, int):
        return None
    return signed(seconds) + (signed(nanos) if isinstance(nanos, int) else 0) / 1e9
