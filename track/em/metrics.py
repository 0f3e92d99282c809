"""The metrics of a run: a file of YAML a type, one item a line, one write a call."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import time
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from track.em.folders import timestamp
from track.em.texts import is_torn, parse, read_content
from track.errors import CorruptJournal
from track.persistence.file import Backlog
from track.plain import to_number
from track.shown import shown
from track.utils.files import OpenFile
from track.yaml12 import flow, number_text

if TYPE_CHECKING:
    from track.logger import TrialLogger
    from track.persistence.protocol import NumbersTaker

logger = logging.getLogger(__name__)
ALIASES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "validate", "validation"), "val"),
    **dict.fromkeys(("test", "testing", "eval", "evaluate", "evaluation"), "test"),
}
"""What the published types are called in files; any other type keeps its name."""

_Naming: TypeAlias = Callable[[tuple[Any, ...]], dict[str, Any]]
_encode = msgspec.json.Encoder().encode
_OWN = b'- {"value":'
_MANY = 1000
_UNSAFE = re.compile(r"[^\w=+-]", re.ASCII)


class MetricsFile:
    """Appends items, of any threads and processes, to a type's file; one that could not be written waits in memory.

    `tell_to` says which trial is told of each.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._trial: TrialLogger | None = None
        self._kind = ""
        self._log_floats: NumbersTaker
        self._write: Callable[[bytes], int | None] = self._write_first
        self._backlog = Backlog(path)
        # Bytes of the oldest line that waits which are in the file.
        self._started = 0
        # Whether a line ever had to wait: asking each time whether one does would cost more than a template.
        self._has_waited = self._has_failed = False
        self._templates: dict[tuple[str, ...], tuple[bytes, bytes, _Naming]] = {}
        self._second = self._until = 0

    def tell_to(self, trial: TrialLogger, kind: str) -> None:
        """Let a trial that has started know of all items from now on, as those of a type, unless one does already."""
        if self._trial is None:
            self._trial, self._kind = trial, kind
            self._log_floats = trial.protocol.floats_taker(trial._trial)
            self._templates.clear()

    def _write_first(self, data: bytes) -> int | None:
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        file = OpenFile.at(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        _cut_torn_item(file)
        self._write = file.write
        return self._write(data)

    def append(self, metrics: Mapping[str, Any], step: Any, epoch: Any) -> None:
        """Write one item, and tell it; TypeError, and no item, where one is no number or a step no whole one."""
        if type(step) is not int or (epoch is not None and type(epoch) is not int):
            step, epoch = whole("step", step), None if epoch is None else whole("epoch", epoch)
        try:
            values = tuple(metrics.values())
        except AttributeError:
            raise TypeError(f"metrics are a mapping of names to numbers, not {type(metrics).__name__}") from None
        for value in values:
            # Most numbers are written as JSON has them, which is how Python shows them; exponents, nan and inf are not.
            if type(value) is not float or not (1e-4 <= value < 1e16 or value == 0):
                values = tuple(map(_number, metrics, values))
                texts, are_plain = [number_text(value).encode() for value in values], False
                break
        else:
            texts, are_plain = _encode(values)[1:-1].split(b",") if values else [], True
        if not self._second <= time() < self._until:
            # They say what time it is, to the second.
            self._templates.clear()
        names = tuple(metrics)
        without, with_epoch, naming = self._templates.get(names) or self._new_templates(names)
        texts.append(step)
        if epoch is None:
            line = without % tuple(texts)
        else:
            line = with_epoch % (*texts, epoch)
        try:
            written = 0 if self._has_waited and self._backlog else self._write(line)
        except OSError as error:
            self._say(error)
            written = 0
        if written != len(line):
            self._append_later(line, written or 0)
        trial = self._trial
        if trial is not None:
            named = naming(values)
            if epoch is not None:
                named[f"{self._kind}/epoch"] = epoch
            # What `log_metrics` does with a trial that has started, without another copy and check of the numbers.
            log = self._log_floats if are_plain and not trial.has_finished else trial._log_numbers
            log(step, None, named)

    def _new_templates(self, names: tuple[str, ...]) -> tuple[bytes, bytes, _Naming]:
        """Return the line of items with these names, without and with an epoch, and what names them for a trial."""
        # Somebody may make up a name for every item.
        if len(self._templates) > _MANY:
            self._templates.clear()
        if not self._templates:
            self._second = int(time())
            self._until = self._second + 1
        stamp = timestamp(self._second)
        values = ", ".join(f"{flow(str(name)).replace('%', '%%')}: %s" for name in names)
        texts = (
            f'- {{"value": {{{values}}}, "sequence": {{"step": %d{epoch}, "timestamp": "{stamp}"}}}}\n'
            for epoch in ("", ', "epoch": %d')
        )
        without, with_epoch = map(str.encode, texts)
        found = self._templates[names] = without, with_epoch, _naming([f"{self._kind}/{name}" for name in names])
        return found

    def _append_later(self, line: bytes, written: int) -> None:
        self._has_waited = True
        with self._backlog.lock:
            if not self._backlog:
                self._started = written
            self._backlog.add(line, self._write_waiting)
            self._backlog.retry()

    def _write_waiting(self, line: bytes) -> bool:
        """Write what is left of the oldest line that waits, and return whether it is all there."""
        try:
            self._started += self._write(line[self._started :]) or 0
        except OSError as error:
            self._say(error)
            return False
        if self._started < len(line):
            return False
        self._started = 0
        return True

    def _say(self, error: OSError) -> None:
        if not self._has_failed:
            self._has_failed = True
            logger.warning("%s: %s; metrics wait in memory until there is room", self.path, error)

    def unsaved(self) -> int:
        """Try again to write what waits, and return how many items are not in the file."""
        self._backlog.retry()
        return self._backlog.unsaved


def _naming(names: Sequence[str]) -> _Naming:
    """Return what makes a dictionary of as many values; the few that most log are not paired in a loop."""
    if len(names) == 1:
        only = names[0]
        return lambda values: {only: values[0]}
    if len(names) == 2:
        first, second = names
        return lambda values: {first: values[0], second: values[1]}
    return lambda values: dict(zip(names, values))  # noqa: B905 - as many, and strict costs time


def _cut_torn_item(file: OpenFile) -> None:
    """Remove a last line that a process was killed over, or the disk full; one that only lacks its newline gets it."""
    end = size = os.fstat(file.fileno()).st_size
    while end and os.pread(file.fileno(), 1, end - 1) != b"\n":
        end -= 1
    if end == size:
        return
    if is_torn(os.pread(file.fileno(), size - end, end)):
        os.ftruncate(file.fileno(), end)
    else:
        # Another program wrote it: it is whole as YAML goes.
        file.write_all(b"\n")


def _number(name: str, value: Any) -> float:
    # First, as some arrays of one element warn when they are made numbers.
    number = _only_element(value)
    if number is None:
        number = to_number(value)
    if number is None:
        raise TypeError(f"metric {shown(name)} is of type {type(value).__name__}: it must be a number")
    try:
        return float(number)
    except OverflowError:
        raise OverflowError(f"metric {name!r} is too large for a float") from None


def _only_element(value: Any) -> float | None:
    """Return the number in an array or tensor of one element, NaN where it is masked."""
    try:
        shape = getattr(value, "shape", None)
        # One without dimensions is a number already.
        if not shape or not all(length == 1 for length in shape):
            return None
        mask = getattr(value, "mask", None)
        if mask is not None and bool(mask):
            return float("nan")
        item = getattr(value, "item", None) or getattr(value, "numpy", None)
        return to_number(item()) if item is not None else None
    except Exception:  # noqa: BLE001 - what an object does when it is asked must not stop a training
        return None


def whole(what: str, value: Any) -> int:
    """Return a number as an int; TypeError, which names `what`, when it is no whole number."""
    number = to_number(value)
    if number is None or number != number // 1:
        raise TypeError(f"{what} {shown(value)} must be a whole number")
    return int(number)


def file_name(kind: str, taken: Iterable[str]) -> str:
    """Return the name of a type's file, which is none of those taken: ``a%2Fb.yaml`` or ``a%2Fb-2.yaml`` of ``a/b``."""
    safe = _UNSAFE.sub(_percent_encoded, kind)[:100] or "%"
    used = {name.casefold() for name in taken}
    number, name = 1, f"{safe}.yaml"
    while name.casefold() in used:
        number += 1
        name = f"{safe}-{number}.yaml"
    return name


def _percent_encoded(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode(errors="replace"))


def read_items(path: str) -> list[dict[str, Any]]:
    """Return a file's items, a torn last one left out; FileNotFoundError, or CorruptJournal where it holds no list."""
    content = read_content(path)
    if not content or content.startswith(_OWN):
        lines = content.split(b"\n")
        if is_torn(lines[-1]):
            lines.pop()
        if all(line.startswith(b"- {") for line in lines if line):
            return [_item(line, f"line {number} of {path}") for number, line in enumerate(lines, 1) if line]
    found = parse(content, path)
    if not isinstance(found, list):
        raise CorruptJournal(f"{path} should hold a list of metrics, not {type(found).__name__}")
    return found


def _item(line: bytes, place: str) -> dict[str, Any]:
    found = parse(line[2:], place)
    if not isinstance(found, dict) or "value" not in found:
        raise CorruptJournal(f"{place} should hold a value and its step: it was damaged")
    return found
