"""TensorBoard: a folder of event files is a run; scalars, hyperparameters, texts, images and audio of it are taken."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from typing import Any

from track.errors import InvalidEvent, UnsafePath
from track.importing.crc32c import masked_crc
from track.importing.files import Folder, open_file
from track.importing.media import counted
from track.importing.protobuf import FLOAT, Malformed, double, fields, last_of, message, signed, text
from track.importing.report import Report
from track.importing.runs import Run, Taking, stamp_of
from track.structure import Status

_FILE = re.compile(r"(?:^|/)[^/]*tfevents[^/]*$")
_HEAD = struct.Struct("<QI")
_CRC = struct.Struct("<I")
_LARGEST = 1 << 28
"""Bytes of a record that is read; a longer one is passed over."""
_EVENT = {4: "graph", 6: "log message", 8: "run metadata", 9: "graph"}
_HPARAMS = "hparams"
_EMPTY = 1000
_NOTHING = {1, 2, 3, 7, 10}
"""Fields of an event that say when it was, how far, and who wrote it."""
_NO_END = "tensorboard does not store how a run ended: it counts as completed"


def runs(path: str, report: Report) -> Iterator[Run]:
    """Yield the runs below a folder, or that of one file."""
    if os.path.isfile(path):
        folder, names = Folder(os.path.dirname(path), report), [os.path.basename(path)]
    else:
        folder = Folder(path, report)
        names = [name for name in folder.files() if _FILE.search(name)]
    together: dict[str, list[str]] = {}
    for name in names:
        together.setdefault(os.path.dirname(name), []).append(name)
    root = os.path.basename(folder.path) or "imported"
    for below, named in sorted(together.items()):
        files = [name for name in named if _opens(folder, name, report)]
        if not files:
            continue
        if all(_is_empty(folder, name) for name in files) and not folder.has(f"{below}/hparams.yaml".lstrip("/")):
            report.leave("run", "has no data, only files that were begun", below or root)
            continue
        paths = [folder.at(name) for name in sorted(files)]
        created = next((at for path in paths if (at := _first_time(path)) is not None), None)
        if created is None and any(map(os.path.getsize, paths)):
            report.damage("has no record that can be read", ", ".join(files))
            continue
        yield _run(folder, below, paths, root, os.stat(paths[0]).st_mtime if created is None else created)


def _run(folder: Folder, below: str, paths: list[str], root: str, created: float) -> Run:
    name = below or root

    def read(taking: Taking) -> None:
        taking.parameters(_flat(folder.yaml(f"{below}/hparams.yaml".lstrip("/"))))
        taking.leave("status", _NO_END)
        reading = _Reading(taking)
        for path in paths:
            reading.read(path)

    # Wherever the folder is copied to, its first file has its name, and began when it did.
    key = f"{os.path.basename(name)}/{os.path.basename(paths[0])}@{created!r}"
    return Run(key, stamp_of(*paths), read, created, name, root if below else None)


def _opens(folder: Folder, name: str, report: Report) -> bool:
    try:
        folder.open(name).close()
    except (OSError, UnsafePath) as error:
        report.damage("cannot be opened", f"{name}: {error}")
        return False
    return True


def _is_empty(folder: Folder, name: str) -> bool:
    """Return whether a file has whole records, and these say nothing but which version it has."""
    left = folder.size(name)
    if left > _EMPTY:
        return False
    try:
        with folder.open(name) as file:
            for record in records(file, None):
                left -= len(record) + 16
                if any(number not in _NOTHING for number, _ in fields(record)):
                    return False
    except (OSError, UnsafePath, Malformed):
        return False
    return not left


def _flat(data: Any) -> dict[str, Any]:
    return {str(name): value for name, value in data.items()} if isinstance(data, dict) else {}


def _first_time(path: str) -> float | None:
    try:
        with open_file(path) as file:
            for record in records(file, None):
                at = last_of(record, 1)[0]
                return None if at is None else double(at)
    except (OSError, UnsafePath, Malformed):
        pass
    return None


def records(file: Any, taking: Taking | Report | None) -> Iterator[bytes]:
    """Yield the records of a file of TFRecords whose checksums are right."""
    left = os.fstat(file.fileno()).st_size
    read, unpack, unpack_crc = file.read, _HEAD.unpack, _CRC.unpack
    while left:
        head = read(12)
        if len(head) < 12:
            _tell_torn(taking, file)
            return
        size, crc = unpack(head)
        if masked_crc(head[:8]) != crc:
            if taking is not None:
                where = f"{file.tell() - 12:,}"
                taking.damage("cannot be read on, because a length is damaged", f"{_name(file)}, byte {where}")
            return
        left -= 16 + size
        if left < 0:
            _tell_torn(taking, file)
            return
        if size > _LARGEST:
            if taking is not None:
                taking.leave("record", f"has more than {_LARGEST:,} bytes", _name(file))
            file.seek(size + 4, os.SEEK_CUR)
            continue
        data = read(size + 4)
        if len(data) < size + 4:
            _tell_torn(taking, file)
            return
        record = data[:-4]
        if masked_crc(record) == unpack_crc(data[-4:])[0]:
            yield record
        elif taking is not None:
            taking.damage("a record is damaged", f"{_name(file)}, before byte {file.tell():,}")


def _tell_torn(taking: Taking | Report | None, file: Any) -> None:
    if taking is not None:
        taking.leave("damaged", "ends in the middle of a record: its program was killed, or still writes", _name(file))


def _name(file: Any) -> str:
    return os.path.basename(str(getattr(file, "track_name", "")))


class _Reading:
    """Tells what is in the events of one run."""

    def __init__(self, taking: Taking) -> None:
        self._taking = taking
        self._point = taking.point
        # Which plugin a tag belongs to is said with its first value.
        self._plugins: dict[str, str] = {}

    def read(self, path: str) -> None:
        """Tell what is in a file."""
        try:
            file = open_file(path)
        except (OSError, UnsafePath) as error:
            self._taking.damage("cannot be opened", f"{os.path.basename(path)}: {error}")
            return
        with file:
            for record in records(_Named(file, path), self._taking):
                try:
                    self._read_event(record)
                except (Malformed, struct.error) as error:
                    self._taking.damage(f"an event is damaged ({error})", os.path.basename(path))

    def _read_event(self, record: bytes) -> None:
        at, step = 0.0, 0
        summaries = []
        for number, value in fields(record):
            if number == 1:
                at = double(value)
            elif number == 2:
                step = signed(value)
            elif number == 5:
                summaries.append(value)
            elif number in _EVENT:
                self._taking.leave(_EVENT[number], "has no place here")
        for summary in summaries:
            for number, value in fields(message(summary)):
                if number == 1:
                    self._read_value(message(value), at, step)

    def _read_value(self, data: bytes, at: float, step: int) -> None:
        tag, simple, rest = "", None, None
        for number, value in fields(data):
            if number == 1:
                tag = text(value)
            elif number == 2:
                simple = value
            elif number != 7:
                rest = rest or []
                rest.append((number, value))
        if simple is not None:
            if type(simple) is not bytes or len(simple) != 4:
                raise Malformed("a scalar has no four bytes")
            self._point(tag, FLOAT.unpack(simple)[0], step, at)
        elif rest is not None:
            self._read_other(tag, dict(rest), at, step)

    def _read_other(self, tag: str, found: dict[int, Any], at: float, step: int) -> None:
        plugin = self._plugins.get(tag, "")
        if 9 in found:
            data = last_of(message(found[9]), 1)[0]
            if data is not None:
                name, content = last_of(message(data), 1, 2)
                plugin = self._plugins[tag] = "" if name is None else text(name)
                if plugin == _HPARAMS:
                    self._read_hparams(b"" if content is None else message(content))
                    return
        if 5 in found:
            self._tell_histogram(tag, *_counts_of(message(found[5])), step)
        if 3 in found:
            self._taking.leave("histogram", "is one of an old form", tag)
        if 4 in found:
            self._keep(tag, message(last_of(message(found[4]), 4)[0] or b""), step, "image")
        if 6 in found:
            self._keep(tag, message(last_of(message(found[6]), 4)[0] or b""), step, "audio")
        if 8 in found:
            self._read_tensor(tag, message(found[8]), plugin, at, step)

    def _read_tensor(self, tag: str, data: bytes, plugin: str, at: float, step: int) -> None:
        kind, numbers, strings = _tensor(data)
        if plugin == "text" or (kind == 7 and plugin == ""):
            for place, string in enumerate(strings):
                name = tag if len(strings) == 1 else f"{tag}/{place}"
                self._keep(name, string, step, "text")
        elif plugin in ("images", "image", "audio"):
            what = "audio" if plugin == "audio" else "image"
            # The first two strings of images are width and height.
            content = strings if plugin == "audio" else strings[2:]
            for place, string in enumerate(content):
                self._keep(tag if len(content) == 1 else f"{tag}/{place}", string, step, what)
        elif plugin == "histograms":
            rows = _numbers_of(data)
            self._tell_histogram(tag, rows[::3], rows[1::3], rows[2::3], step)
        elif plugin in ("scalars", "") and len(numbers) == 1:
            self._point(tag, numbers[0], step, at)
        else:
            self._taking.leave(plugin.removesuffix("s") or "tensor", "has no place here yet", tag)

    def _keep(self, tag: str, content: bytes, step: int, what: str) -> None:
        if not content:
            self._taking.leave(what, "is empty", tag)
            return
        self._taking.medium(what, tag, content.decode("utf-8", "replace") if what == "text" else content, step)

    def _tell_histogram(
        self, tag: str, lefts: list[float], rights: list[float], counts: list[float], step: int
    ) -> None:
        try:
            self._taking.medium("histogram", tag, counted(lefts, rights, counts), step)
        except (InvalidEvent, ValueError) as error:
            self._taking.leave("histogram", "has no counts between rising edges", f"{tag}: {error}")

    def _read_hparams(self, content: bytes) -> None:
        started, ended = last_of(content, 3, 4)
        if started is not None:
            values: dict[str, Any] = {}
            for number, value in fields(message(started)):
                if number == 1:
                    name, said = last_of(message(value), 1, 2)
                    if name is not None:
                        values[text(name)] = _value(b"" if said is None else message(said))
            self._taking.parameters(values)
        if ended is not None:
            status, at = last_of(message(ended), 1, 2)
            if status == 2:
                self._taking.ended(Status.Exception, None if at is None else double(at))


def _value(data: bytes) -> Any:
    """Return what a google.protobuf.Value says."""
    for number, value in fields(data):
        if number == 2:
            found = double(value)
            return int(found) if found.is_integer() and abs(found) < 2**53 else found
        if number == 3:
            return text(value)
        if number == 4:
            return bool(value)
    return None


_CODES = {1: "f", 2: "d", 3: "i", 9: "q", 10: "?"}
_FIELDS = {5: "f", 6: "d"}


def _tensor(data: bytes) -> tuple[int, list[Any], list[bytes]]:
    """Return the type of a tensor, its numbers where they are few, and its strings."""
    kind, numbers, strings = 0, [], []
    content = b""
    for number, value in fields(data):
        if number == 1:
            kind = value
        elif number == 4:
            content = message(value)
        elif number in _FIELDS:
            packed = message(value)
            if len(packed) <= 64 and len(packed) % struct.calcsize(_FIELDS[number]) == 0:
                numbers += [one for (one,) in struct.iter_unpack(f"<{_FIELDS[number]}", packed)]
        elif number in (7, 10, 11):
            numbers += [signed(value)] if isinstance(value, int) else []
            if isinstance(value, bytes) and len(value) <= 64:
                numbers += [signed(one) for one in _varints(value)]
        elif number == 8:
            strings.append(message(value))
    code = _CODES.get(kind)
    if not numbers and code is not None and len(content) == struct.calcsize(f"<{code}"):
        numbers = list(struct.unpack(f"<{code}", content))
    return kind, numbers[:2], strings


_MOST_NUMBERS = 100_000


def _numbers_of(data: bytes) -> list[float]:
    """Return all numbers of a tensor of floats."""
    kind, content = 0, b""
    for number, value in fields(data):
        if number == 1:
            kind = value
        elif number == 4 or (number == {1: 5, 2: 6}.get(kind) and isinstance(value, bytes)):
            content += message(value)
    code = {1: "f", 2: "d"}.get(kind)
    size = 0 if code is None else struct.calcsize(code)
    if code is None or len(content) % size or len(content) > _MOST_NUMBERS * size:
        return []
    return list(struct.unpack(f"<{len(content) // size}{code}", content))


def _counts_of(data: bytes) -> tuple[list[float], list[float], list[float]]:
    """Return where the bins of a histogram begin and end, and their counts."""
    low, high, packed = 0.0, 0.0, {6: b"", 7: b""}
    for number, value in fields(data):
        if number == 1:
            low = double(value)
        elif number == 2:
            high = double(value)
        elif number in packed:
            packed[number] += message(value)
    ends, counts = (
        list(struct.unpack(f"<{len(one) // 8}d", one)) if not len(one) % 8 and len(one) <= 8 * _MOST_NUMBERS else []
        for one in packed.values()
    )
    # The first and the last bin go to the ends of all numbers.
    edges = [min(max(one, low), high) for one in (low, *ends)]
    return edges[:-1], edges[1:], counts


def _varints(data: bytes) -> Iterator[int]:
    value = shift = 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield value
            value = shift = 0


class _Named:
    """A file that knows what it is called."""

    def __init__(self, file: Any, path: str) -> None:
        self.track_name = path
        self.read, self.seek, self.tell, self.fileno = file.read, file.seek, file.tell, file.fileno
