"""Points as arrays of numpy, without a look at each: the one file of the containers that imports it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

from track.containers.columns import Column
from track.errors import missing_extra

_EXACT = 2**53
# So many numbers times their range are sorted as whole numbers.
_PACKED = 2**62
_BYTES = 8
# Steps of so many points are kept for the next metric that has the same ones.
_SHARED = 1 << 16


def to_arrays(points: Any, times: bool) -> tuple[Any, ...]:
    """Return steps, values and, where asked for, times (unix seconds), a row a step, of `Points`."""
    arrays = once(*logged_arrays(points, with_times=times))
    if arrays[0] is None:
        arrays = (import_numpy().arange(len(arrays[1])), *arrays[1:])
    for array in arrays:
        array.flags.writeable = False
    return arrays


def logged_arrays(points: Any, hidden: Sequence[Any] = (), with_times: bool = True) -> tuple[Any, ...]:
    """Return steps, values and, where asked for, times (unix seconds) of `Points` as they were logged.

    Steps are None where there are none. `hidden`: pairs of a step and a time: points from this step on that were logged
    before are left out.
    """
    numpy = import_numpy()
    points.settle()
    # What another thread logs meanwhile does not show.
    view = points.view()
    view.settle()
    arrays = None if view.stored is None else _stored_arrays(view, with_times or bool(hidden))
    if arrays is None:
        shared = view.step, view.value, view.at
        step, value, at = shared if view.stored is None else view.columns()
        size = view.tail if view.stored is None else len(at)
        arrays = [None if column is None else _array(column, size) for column in (step, value, at)]
    steps, values, times = arrays
    columns = [values]
    if with_times or hidden:
        times = times.astype(numpy.float64, copy=False)
    if with_times:
        columns.append(times)
    if hidden and steps is not None:
        are_shown = _are_shown(steps, times, hidden)
        steps, *columns = (column[are_shown] for column in (steps, *columns))
    return steps, *columns


def _stored_arrays(points: Any, with_times: bool) -> list[Any] | None:
    """Return the columns of a settled view whose first points are in chunks, each copied once; or None.

    Times are None where they are not asked for. None of these can be had where a column has numbers of several types,
    or something else.
    """
    import numpy

    size, place = len(points), 0
    columns = {"step": points.step, "value": points.value, "at": points.at if with_times else None}
    tail = {name: _array(column, points.tail) for name, column in columns.items() if column is not None}
    found: dict[str, Any] = {}
    # Steps that count up evenly need no copy of their own.
    run = range(0) if "step" in tail else None
    for chunk in points.stored.plain_columns(with_times):
        if chunk is None:
            return None
        parts = dict(zip(columns, chunk, strict=True))
        if run is not None:
            run = _longer(run, parts["step"], found, size)
        end = place + (len(parts["value"]) if isinstance(parts["value"], range) else len(parts["value"][1]) // _BYTES)
        for name in tail:
            if name == "step" and run is not None:
                continue
            part = _plain_array(parts[name])
            if name not in found:
                found[name] = numpy.empty(size, part.dtype)
            if found[name].dtype != part.dtype:
                return None
            found[name][place:end] = part
        place = end
    if run is not None and points.tail:
        run = _longer(run, points.step.counting(points.tail), found, size)
    if run is not None:
        found["step"] = counted(run)
        del tail["step"]
    if not place or (points.tail and any(found[name].dtype != part.dtype for name, part in tail.items())):
        return None
    end = place + points.tail
    for name, part in tail.items():
        if points.tail:
            found[name][place:end] = part
        # Fewer, where a chunk turned out to be damaged.
        found[name] = found[name] if end == size else found[name][:end]
    return [found.get(name) for name in columns]


def chunk_arrays(
    stored: Any, chosen: Sequence[tuple[Any, int]], stepped: bool, with_times: bool
) -> tuple[Any, ...] | None:
    """Return steps, values and, where asked for, times of some chunks of stored points, one after the other; or None.

    These can only be had where each column has numbers of one type, and no chunk is damaged. `chosen`: the chunks, and
    how many points are before each, which are its steps where there are none (not `stepped`).
    """
    import numpy

    places = [0, *accumulate(chunk.named.points for chunk, _ in chosen)]
    straight = None if with_times else _straight(stored, chosen, places, stepped)
    if straight is not None:
        return straight
    found: dict[int, Any] = {}
    for (chunk, position), (place, end) in zip(chosen, pairwise(places), strict=True):
        columns = stored.plain_of(chunk, with_times)
        if columns is None:
            return None
        steps = columns[0] if stepped else range(position, position + end - place)
        for number, column in enumerate((steps, *columns[1 : 2 + with_times])):
            part = _plain_array(column)
            if number not in found:
                found[number] = numpy.empty(places[-1], part.dtype)
            if found[number].dtype != part.dtype:
                return None
            found[number][place:end] = part
    times = found[2].astype(numpy.float64, copy=False) if with_times else None
    return found[0], found[1], times


def _straight(
    stored: Any, chosen: Sequence[tuple[Any, int]], places: Sequence[int], stepped: bool
) -> tuple[Any, ...] | None:
    """Return steps, as `Runs` where they are such, and values as `chunk_arrays` does, and no times.

    The values are read to where they are wanted. None where that cannot be: steps that do not count up evenly, or
    values that are no doubles.
    """
    import numpy

    runs = [chunk.head().columns[0] if stepped else ("run", position, 1) for chunk, position in chosen]
    if not all(run is not None and run[0] == "run" for run in runs):
        return None
    values = numpy.empty(places[-1])
    view = values.data.cast("B")
    for (chunk, _), (place, end) in zip(chosen, pairwise(places), strict=True):
        if not chunk.doubles_into(view[8 * place : 8 * end]):
            columns = stored.plain_of(chunk, with_times=False)
            if columns is None or isinstance(columns[1], range) or columns[1][0] != "d":
                return None
            values[place:end] = _plain_array(columns[1])
    steps: Any = Runs(runs, places) if len({stride for _, _, stride in runs}) == 1 else None
    if steps is None or not steps.is_rising:
        ends = zip(runs, pairwise(places), strict=True)
        parts = (range(first, first + (end - place) * by, by) for (_, first, by), (place, end) in ends)
        steps = numpy.concatenate([_plain_array(part) for part in parts])
    return steps, values, None


class Runs:
    """Whole numbers that count up evenly in pieces, each of which begins after the one before: no array of them.

    `runs`: of each piece what a head of chunks says, the first number and the stride, which is that of all.
    `places`: where each piece begins, and where the last one ends.
    """

    def __init__(self, runs: Sequence[Any], places: Sequence[int]) -> None:
        numpy = import_numpy()
        self._firsts = numpy.array([first for _, first, _ in runs], numpy.int64)
        self._places = numpy.array(places, numpy.int64)
        self._stride = runs[0][2]
        lasts = self._firsts + (numpy.diff(self._places) - 1) * self._stride
        self.is_rising = self._stride > 0 and bool((lasts[:-1] < self._firsts[1:]).all())
        self.ends = int(self._firsts[0]), int(lasts[-1])

    def __len__(self) -> int:
        return int(self._places[-1])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        numpy = import_numpy()
        sizes = numpy.diff(self._places)
        inside = numpy.arange(len(self)) - numpy.repeat(self._places[:-1], sizes)
        return numpy.repeat(self._firsts, sizes) + inside * self._stride

    def below(self, numbers: Any) -> Any:
        """Return how many are less than each of some whole numbers."""
        numpy = import_numpy()
        piece = numpy.maximum(numpy.searchsorted(self._firsts, numbers, "right") - 1, 0)
        inside = -((self._firsts[piece] - numbers) // self._stride)
        return self._places[piece] + numpy.clip(inside, 0, numpy.diff(self._places)[piece])


def _longer(run: range, more: Any, found: dict[str, Any], size: int) -> range | None:
    """Return steps that count up evenly with others after them.

    None where these do not go on so: then those so far are in a new array of this size, for others to follow.
    """
    if isinstance(more, range):
        if not run:
            return more
        if more.start == run.stop and (more.step == run.step or len(more) == 1):
            return range(run.start, run.stop + run.step * len(more), run.step)
    if run:
        numpy = import_numpy()
        found["step"] = numpy.empty(size, numpy.int64)
        found["step"][: len(run)] = counted(run)
    return None


@lru_cache(maxsize=8)
def _counted(run: range) -> Any:
    array = import_numpy().arange(run.start, run.stop, run.step)
    array.flags.writeable = False
    return array


def counted(run: range) -> Any:
    """Return numbers that count up evenly: the same array for the many metrics that have the same steps."""
    return _counted(run) if len(run) <= _SHARED else import_numpy().arange(run.start, run.stop, run.step)


def _plain_array(column: Any) -> Any:
    import numpy

    if isinstance(column, range):
        return numpy.arange(column.start, column.stop, column.step)
    code, data = column
    return numpy.frombuffer(data, "<f8" if code == "d" else "<i8").astype("f8" if code == "d" else "i8", copy=False)


def once(steps: Any, *columns: Any) -> tuple[Any, ...]:
    """Return a row a step: where each first appears, what was logged last."""
    if steps is None or _rises(steps):
        return steps, *columns
    first, last = _positions(steps)
    return steps[first], *(column[last] for column in columns)


def by_step(steps: Any, *columns: Any) -> tuple[Any, ...] | None:
    """Return points, of each step the one that was logged last, in the order of steps that are numbers.

    None where they are in that order, or no numbers that doubles tell apart. It takes half the time of finding where
    each step first appeared, which nobody sees once the points are sorted.
    """
    import numpy

    if steps is None or steps.dtype not in (numpy.int64, numpy.float64) or (steps[1:] > steps[:-1]).all():
        return None
    if steps.dtype == numpy.int64 and not (steps.min() >= -_EXACT and steps.max() <= _EXACT):
        return None
    order = order_of(steps)
    steps = steps[order]
    # A NaN is another one than the one before.
    are_last = numpy.append(steps[1:] != steps[:-1], True)
    if not are_last.all():
        steps, order = steps[are_last], order[are_last]
    return steps, *(column[order] for column in columns)


def order_of(x: Any) -> Any:
    """Return in which order numbers are sorted, equal ones as they are."""
    import numpy

    if x.dtype == numpy.int64:
        low, high = int(x.min()), int(x.max())
        if (high - low + 1) * len(x) < _PACKED:
            # Sorted with their places as one number each: three times as fast as by these.
            packed = (x - low) * len(x) + numpy.arange(len(x))
            packed.sort()
            return packed % len(x)
    return numpy.argsort(x, kind="stable")


def extremes(container: Any) -> tuple[Any, Any]:
    """Return the least and the greatest value of a series, NaN left out; None where there is none.

    Of arrays where numpy is installed, which is a hundred times faster.
    """
    try:
        import numpy
    except ImportError:
        return _extremes(container.values() if hasattr(container, "values") else container)
    values = to_arrays(container.points, times=False)[1]
    if not len(values) or values.dtype == object:
        return _extremes(values)
    least, greatest = numpy.fmin.reduce(values).item(), numpy.fmax.reduce(values).item()
    return (None, None) if least != least else (least, greatest)


def import_numpy() -> Any:
    """Return numpy; MissingExtra where it is not installed."""
    try:
        import numpy
    except ImportError as error:
        raise missing_extra("arrays need numpy", "numpy") from error
    return numpy


def _extremes(values: Any) -> tuple[Any, Any]:
    numbers = [value for value in values if value == value]
    return (min(numbers), max(numbers)) if numbers else (None, None)


def _array(column: Column, size: int) -> Any:
    """Return the first values of a column that nobody appends to: what it holds itself, where all are of one type."""
    import numpy

    if column._type is None:
        return _from_list(column.tolist(size))
    kind = numpy.float64 if column._type is float else numpy.int64
    if not size:
        return numpy.empty(0, kind)
    if isinstance(column._data, range):
        return numpy.arange(column._data.start, column._data.stop, column._data.step)[:size]
    # Who appends to the column while the array is there copies it first.
    array = numpy.frombuffer(column._data, kind, size)
    odd = {position: value for position, value in column._odd.items() if position < size}
    return _mixed(array, odd) if odd else array


def _mixed(array: Any, odd: dict[int, Any]) -> Any:
    """Return an array in which the values at some positions, of another type, are what they are."""
    import numpy

    places = numpy.fromiter(odd, numpy.int64, len(odd))
    is_exact = array.dtype == numpy.float64 or (array.min() >= -_EXACT and array.max() <= _EXACT)
    if all(type(value) is bool for value in odd.values()):
        kind: Any = array.dtype
    elif is_exact and all(map(_is_double, odd.values())):
        kind = numpy.float64
    else:
        kind = object
    mixed = array.astype(kind)
    mixed[places] = numpy.fromiter(odd.values(), kind, len(odd))
    return mixed


def _from_list(values: list[Any]) -> Any:
    import numpy

    kinds = set(map(type, values))
    if kinds == {bool}:
        return numpy.array(values)
    if all(map(_is_double, values)):
        return numpy.array(values, numpy.float64)
    # Not `array`, which makes rows and columns of tuples.
    return numpy.fromiter(values, object, len(values))


def _is_double(value: Any) -> bool:
    """Return whether a value is a number that a double says exactly."""
    if type(value) in (float, bool):
        return True
    try:
        return type(value) is int and int(float(value)) == value
    except OverflowError:
        return False


def _are_shown(steps: Any, times: Any, hidden: Sequence[Any]) -> Any:
    import numpy

    if steps.dtype == object:
        points = zip(steps.tolist(), times.tolist(), strict=True)
        rows = (
            not (isinstance(step, (int, float)) and any(step >= first and at < since for first, since in hidden))
            for step, at in points
        )
        return numpy.fromiter(rows, bool, len(steps))
    are_shown = numpy.ones(len(steps), bool)
    for first, since in hidden:
        # Whole numbers are compared as such.
        least = math.ceil(first) if steps.dtype == numpy.int64 and math.isfinite(first) else first
        are_shown &= ~((steps >= least) & (times < since))
    return are_shown


def _rises(steps: Any) -> bool:
    return steps.dtype != object and bool((steps[1:] > steps[:-1]).all())


def _positions(steps: Any) -> tuple[Any, Any]:
    """Return where each step is first, in this order, and where it is last."""
    import numpy

    if steps.dtype == object:
        return _positions_of_objects(steps)
    low = int(steps.min()) if steps.dtype == numpy.int64 else 0
    if steps.dtype == numpy.int64 and int(steps.max()) - low < 4 * len(steps):
        places, count = steps - low, int(steps.max()) - low + 1
    else:
        # As in a dictionary, a NaN equals no other.
        known, places = numpy.unique(steps, return_inverse=True, equal_nan=False)
        count = len(known)
    first, last = numpy.full(count, -1), numpy.full(count, -1)
    here = numpy.arange(len(steps))
    # Of several values for one place the last one counts.
    last[places], first[places[::-1]] = here, here[::-1]
    first, last = first[last >= 0], last[last >= 0]
    if not _rises(first):
        order = numpy.argsort(first)
        first, last = first[order], last[order]
    return first, last


def _positions_of_objects(steps: Any) -> tuple[Any, Any]:
    import numpy

    firsts: dict[Any, int] = {}
    lasts: dict[Any, int] = {}
    for position, step in enumerate(steps):
        firsts.setdefault(step, position)
        lasts[step] = position
    first, last = (numpy.fromiter(found.values(), numpy.int64, len(found)) for found in (firsts, lasts))
    return first, last
