"""What `log_series` is given: a list, an array or a tensor, checked as a whole and cut into columns of events."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Set
from itertools import repeat
from typing import Any, NamedTuple

import msgspec

from track.columns import MOST, Columns, Packed
from track.containers.columns import Column, counting, loaded_numpy, to_bytes
from track.errors import InvalidCall, InvalidEvent
from track.persistence.contract.checks import plain_step
from track.plain import is_number, restore, to_number, to_plain, utf8
from track.shown import shown

_KINDS = {"d": float, "q": int}
_YEARS = (-62_135_596_800, 253_402_300_800)
"""Unix seconds of the years 1 to 9999, which a calendar can say."""
_BEYOND = 2**62
_LARGEST = 1 << 20
"""Bytes of an event, about: odd values and long texts come in smaller ones."""
_CALL = "log_series('loss', values)"


class Given(NamedTuple):
    """A series that was found in order.

    A column is a view of memory of doubles (``d``) or of integers (``q``), or a list: of numbers as values, of
    JSON-safe data as steps, which may be a range, too.
    """

    name: str
    values: Any
    steps: Any
    times: Any

    def points(self) -> Iterator[tuple[Any, Any]]:
        """Yield step, or None, and value of one point after another."""
        steps = repeat(None, len(self.values)) if self.steps is None else self.steps
        yield from zip(map(restore, steps), self.values, strict=True)

    def columns(self) -> Iterator[Columns]:
        """Yield the points as columns of events."""
        for start in range(0, len(self.values), MOST):
            yield from self._columns(start, min(start + MOST, len(self.values)))

    def _columns(self, start: int, end: int) -> Iterator[Columns]:
        values, steps = _packed(self.values[start:end]), None if self.steps is None else self.steps[start:end]
        at = None if self.times is None else to_bytes(self.times[start:end])
        first, stride = _first_of_even(steps) or (None, 1)
        step = None if steps is None or first is not None else steps if type(steps) is list else _packed(steps)
        made = Columns(self.name, end - start, values, step, first, stride, at)
        is_long = type(step) is list or type(values) is list or (type(values) is Packed and values.odd)
        if is_long and end - start > 1 and len(msgspec.json.encode(made)) > _LARGEST:
            middle = (start + end) // 2
            yield from self._columns(start, middle)
            yield from self._columns(middle, end)
            return
        yield made


def given_series(name: Any, values: Any, steps: Any = None, times: Any = None) -> Given:
    """Return a series as it is stored.

    Raises InvalidCall, InvalidEvent: something is no name, no list of numbers, or not as long as the others.
    """
    if not isinstance(name, str):
        raise InvalidCall(f"the name of a metric is text, not {shown(name)}: write {_CALL}")
    if name in ("step", "aggregator"):
        raise InvalidCall(f"a metric cannot be called {name!r}")
    numbers = _values(name, _listed(f"series {shown(name)}", values, f"log_metrics({{{name!r}: value}})"))
    given = [("steps", _steps, steps), ("times", _times, times)]
    columns = []
    for what, convert, column in given:
        converted = None if column is None else convert(_listed(f"{what} of {shown(name)}", column, f"no {what}"))
        if converted is not None and len(converted) != len(numbers):
            way = f"give one for each value, or no {what}"
            raise InvalidEvent(f"series {shown(name)} has {len(numbers)} values and {len(converted)} {what}: {way}")
        columns.append(converted)
    return Given(utf8(name), numbers, *columns)


def stored_series(name: str, steps: Column | None, values: Column, times: Column) -> Given:
    """Return a series that is in a store already, whatever it is called there; the columns are shown, not copied."""
    shown_steps = None if steps is None else _steps(steps.counting(len(steps)) or _whole(steps))
    numbers = _whole(values)
    at = times.data if times.kind is float else array("d", times.tolist())
    return Given(utf8(name), numbers, shown_steps, memoryview(at))


def _whole(column: Column) -> Any:
    """Return a view of the numbers of a column, or a list where they are not of one type."""
    return column.tolist() if column.kind is None else memoryview(column.data)


def _listed(what: str, given: Any, otherwise: str) -> Any:
    """Return a list, a range, or a view of numbers."""
    if isinstance(given, range):
        return given if _is_short(given) else list(given)
    if isinstance(given, (list, tuple)):
        return list(given)
    if isinstance(given, (array, memoryview)):
        view = memoryview(given)
        _require_one_dimension(what, view.ndim, otherwise)
        return view if view.contiguous and view.itemsize == 8 and view.format in _CODES else view.tolist()
    if isinstance(given, (str, bytes, bytearray, Mapping, Set)) or not hasattr(given, "__len__"):
        if is_number(given) or getattr(given, "shape", None) == ():
            raise InvalidEvent(f"{what} is one number, {shown(given)}: write {otherwise}, or give a list")
        way = "give a list, or an array with one dimension, such as list(values)"
        raise InvalidEvent(f"{what} is {shown(given)}, of type {type(given).__name__}: {way}")
    return _array(what, given, otherwise)


_CODES = {"d": "d", "q": "q", "l": "q"}


def _array(what: str, given: Any, otherwise: str) -> Any:
    """Return an array of another package, which is not imported for it, as one of numpy, or as a list."""
    _require_one_dimension(what, len(getattr(given, "shape", (0,))), otherwise)
    numpy = loaded_numpy()
    try:
        # A tensor of torch may need gradients, or be on a device.
        found = given.detach().cpu() if hasattr(given, "detach") else given
        if numpy is not None and (hasattr(found, "__array__") or hasattr(found, "__array_interface__")):
            made = _of_numpy(numpy, found)
            if made is not None:
                return made
        return found.tolist() if hasattr(found, "tolist") else list(found)
    except Exception as error:
        said = f"{what}, of type {type(given).__name__}, is no list of numbers ({error})"
        raise InvalidEvent(f"{said}: give one, such as list(values)") from error


def _of_numpy(numpy: Any, given: Any) -> Any:
    """Return a view of doubles or of integers; a list of what is neither; None where numpy does not know it."""
    try:
        found = given if isinstance(given, numpy.ndarray) else numpy.asarray(given)
    except (TypeError, ValueError, RuntimeError):
        # Of a kind that it has none for, as bfloat16, or on a device.
        return None
    mask = getattr(found, "mask", None)
    if mask is not None and numpy.any(mask):
        return [math.nan if value is None else value for value in found.tolist()]
    kind = found.dtype.kind
    if kind == "f":
        return memoryview(numpy.ascontiguousarray(found, numpy.float64))
    if kind == "i" or (kind == "u" and not (len(found) and found.max() >= 2**63)):
        return memoryview(numpy.ascontiguousarray(found, numpy.int64)).cast("B").cast("q")
    # Times are not numbers, though numpy would say so many nanoseconds.
    return list(found) if kind in "mM" else found.tolist()


def _require_one_dimension(what: str, count: int, otherwise: str) -> None:
    if count == 1:
        return
    if count == 0:
        raise InvalidEvent(f"{what} is one number: write {otherwise}, or give a list")
    raise InvalidEvent(f"{what} has {count} dimensions: give one, as values[:, 0] for each column, or values.ravel()")


def _values(name: str, given: Any) -> Any:
    if type(given) is memoryview or set(map(type, given)) <= {float, int, bool}:
        return list(given) if type(given) is range else given
    found = list(map(to_number, given))
    for place, number in enumerate(found):
        if number is None:
            raise InvalidEvent(
                f"value {place} of series {shown(name)} is {shown(given[place])}, of type "
                f"{type(given[place]).__name__}: a series is numbers; float('nan') says that there is none"
            )
    return found


def _steps(given: Any) -> Any:
    if type(given) is memoryview or type(given) is range:
        return given
    kinds = set(map(type, given))
    if kinds in ({int}, {float}):
        column = Column.from_list(given)
        if column.kind is not None:
            return memoryview(column.data)
    return [None if step is None else plain_step(step) for step in given]


def _times(given: Any) -> memoryview:
    numpy = loaded_numpy()
    if numpy is not None and type(given) is memoryview and _CODES[given.format] == "d":
        found = numpy.frombuffer(given)
        if bool(((found >= _YEARS[0]) & (found < _YEARS[1])).all()):
            return given
    numbers: list[Any] = given.tolist() if type(given) is memoryview else list(map(to_number, given))
    for place, number in enumerate(numbers):
        # Not a number compares with none.
        if number is None or not _YEARS[0] <= number < _YEARS[1]:
            raise InvalidEvent(
                f"time {place} is {shown(given[place])}: times are unix seconds, as time.time() and "
                "datetime.timestamp() say them (dates of numpy: dates.astype('M8[us]').astype(int) / 1e6)"
            )
    times: array[float] = array("d", numbers)
    return memoryview(times)


def _packed(column: Any) -> Packed | list[Any]:
    if type(column) is memoryview:
        return Packed(_CODES[column.format], to_bytes(column))  # type: ignore[arg-type]
    packed = Column.from_list(column).packed()
    if packed is None:
        return list(map(to_plain, column))
    typecode, data, odd = packed
    return Packed(typecode, data, {position: to_plain(value) for position, value in odd.items()})  # type: ignore[arg-type]


def _is_short(steps: Any) -> bool:
    """Return whether integers have some bits to spare."""
    return not len(steps) or max(abs(steps[0]), abs(steps[-1]), abs(steps[-1] - steps[0])) < _BEYOND


def _first_of_even(steps: Any) -> tuple[int, int] | None:
    """Return the first step and the stride of integers that count up evenly, None for others."""
    if type(steps) is range:
        return steps.start, steps.step
    if type(steps) is not memoryview or _CODES[steps.format] != "q":
        return None
    size, first = len(steps), steps[0]
    stride = steps[1] - first if size > 1 else 1
    if steps[-1] != first + stride * (size - 1) or not _is_short(steps):
        return None
    return (first, stride) if steps.tobytes() == counting(first, stride, size).tobytes() else None
