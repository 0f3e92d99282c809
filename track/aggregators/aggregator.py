"""Aggregators: what becomes of the values logged under one name when they carry no step."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

from track.aggregators.base import (
    Aggregator,
    Lazy,
    is_aggregator_state,
    make_aggregator,
    restore_aggregator,
    specification,
)
from track.containers.ring import RingBuffer
from track.containers.series import Column, Points
from track.shown import cut, listed, shown
from track.utils.stat import StatStream

__all__ = [
    "METADATA_AGGREGATOR",
    "TIMES_AGGREGATOR",
    "Aggregator",
    "Lazy",
    "MaxAggregator",
    "MinAggregator",
    "RingAggregator",
    "StatAggregator",
    "SumAggregator",
    "TimeSeriesAggregator",
    "ValueAggregator",
    "is_aggregator_state",
    "make_aggregator",
    "restore_aggregator",
    "specification",
]

_LAST_SHOWN = 20


def _plain(value: Any) -> Any:
    from track.plain import to_plain

    return to_plain(value)


def _restore(value: Any) -> Any:
    from track.plain import restore

    return restore(value)


class ValueAggregator(Aggregator):
    """Keeps the latest value.

    Examples
    --------
    >>> best = ValueAggregator()
    >>> best.append(3); best.append(4)
    >>> best.val
    4
    """

    kind = "value"
    last_at = 0.0

    def __init__(self, val: Any = None) -> None:
        self._val = val

    @property
    def val(self) -> Any:
        """The latest value; None before the first."""
        return self._val

    def append(self, other: Any) -> None:
        """Replace the value."""
        self._val = other

    def append_at(self, value: Any, at: float) -> None:
        """Replace the value by one logged at `at` (unix seconds), unless the present one was logged later."""
        if type(self).append is not ValueAggregator.append:
            # A subclass that keeps something else than the latest.
            self.append(value)
        elif at >= self.last_at:
            self.append(value)
            self.last_at = at

    def to_json(self, short: bool = False) -> Any:
        """Return the value itself (`short`), or the tagged state."""
        if short:
            return self._val
        return {"dtype": self.kind, "value": _plain(self._val)} | ({"at": self.last_at} if self.last_at else {})

    def restore(self, state: dict[str, Any]) -> None:
        self._val = _restore(state["value"])
        self.last_at = float(state.get("at", 0.0))

    @classmethod
    def lazy(cls) -> Callable[[], Aggregator]:  # type: ignore[override]
        return Lazy(cls)

    def __repr__(self) -> str:
        return f"v<{cut(self._val) if type(self._val) is str else shown(self._val)}>"


class MinAggregator(ValueAggregator):
    """Keeps the smallest value; a NaN only while there is no number."""

    kind = "min"

    def append(self, other: Any) -> None:
        """Keep `other` if it is smaller."""
        if self._val is None or self._val != self._val or other < self._val:
            self._val = other


class MaxAggregator(ValueAggregator):
    """Keeps the largest value; a NaN only while there is no number."""

    kind = "max"

    def append(self, other: Any) -> None:
        """Keep `other` if it is larger."""
        if self._val is None or self._val != self._val or other > self._val:
            self._val = other


class SumAggregator(ValueAggregator):
    """Keeps the sum of the values: the run time of a trial that was resumed."""

    kind = "sum"

    def append(self, other: Any) -> None:
        """Add `other` to the sum."""
        self._val = other if self._val is None else self._val + other


class TimeSeriesAggregator(Aggregator, Sequence[Any]):
    """Keeps every value, in order, with the time it was logged: a sequence, which equals a list of the same values.

    Examples
    --------
    >>> cost = TimeSeriesAggregator()
    >>> cost.append(3); cost.append(2)
    >>> cost, cost == [3, 2], len(cost), cost[-1], max(cost)
    (ts<[3, 2]>, True, 2, 2, 3)
    """

    kind = "series"
    __hash__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.points = Points(stepped=False)

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.points.values())

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        self.points.settle()
        places = range(len(self.points))[index]
        if not isinstance(places, range):
            return self.points.value_at(places)
        if places.step == 1:
            return self.points.part(places.start)[0][: len(places)]
        return [self.points.value_at(place) for place in places]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TimeSeriesAggregator):
            return self.val == other.val
        return self.val == list(other) if isinstance(other, (list, tuple)) else NotImplemented

    @property
    def val(self) -> list[Any]:
        """All values, oldest first."""
        return self.points.values()

    def append(self, other: Any) -> None:
        """Add a value; its time is not known and kept as 0."""
        self.append_at(other, 0.0)

    def append_at(self, value: Any, at: float) -> None:
        """Add a value logged at `at`, unix seconds."""
        self.points.append(None, value, at)

    def extend(self, values: Column, times: Any) -> None:
        """Add many values; `times` is an array of doubles, unix seconds."""
        self.points.extend(None, values, times)

    def last(self) -> Any:
        """Return the value logged last; None when there is none."""
        return self.points.last()

    def to_numpy(self, times: bool = False) -> tuple[Any, ...]:
        """Return arrays of the steps, which are 0, 1, 2, ..., and of the values; see `Series.to_numpy`.

        Parameters
        ----------
        times: bool
            Whether a third array says when each was logged, unix seconds, 0 where that is not known.

        Raises
        ------
        MissingExtra
            The package numpy is not installed.
        """
        from track.containers.arrays import to_arrays

        return to_arrays(self.points, times)

    def to_json(self, short: bool = False) -> Any:
        """Return the last 20 values (`short`), or all of the columns."""
        if short:
            return self.val[-_LAST_SHOWN:]
        return {"dtype": self.kind, **self.points.to_plain()}

    def restore(self, state: dict[str, Any]) -> None:
        self.points = Points.from_plain(state)

    def view(self) -> TimeSeriesAggregator:
        """Return the series so far: what is appended later does not show. Nothing is copied."""
        series = TimeSeriesAggregator.__new__(TimeSeriesAggregator)
        series.points = self.points.view()
        return series

    @staticmethod
    def lazy() -> Callable[[], Aggregator]:  # type: ignore[override]
        return Lazy(TimeSeriesAggregator)

    def __repr__(self) -> str:
        self.points.settle()
        value_at = self.points.value_at
        return f"ts<[{listed(lambda place: shown(value_at(place), 30), len(self), 'values')}]>"


class RingAggregator(Aggregator):
    """Keeps the last `n` values.

    Parameters
    ----------
    n: int
        How many, > 0.
    dtype: str
        An array type code (see `track.containers.types`), or a longer name to keep any object.
    """

    kind = "ring"

    def __init__(self, n: int, dtype: str = "f") -> None:
        self._ring = RingBuffer(n, dtype)
        self._times = RingBuffer(n, "d")
        self.arguments = (n, dtype)

    @property
    def val(self) -> list[Any]:
        """The kept values, oldest first."""
        return self._ring.to_list()

    def append(self, other: Any) -> None:
        """Add a value; the oldest goes when there are `n`."""
        self._ring.append(other)
        self._times.append(self.last_at)

    def append_at(self, value: Any, at: float) -> None:
        """Add a value logged at `at` (unix seconds); one that comes late stands before those that were logged later."""
        if at >= self.last_at or type(self).append is not RingAggregator.append:
            self.last_at = max(at, self.last_at)
            self.append(value)
            return
        values, times = self.val, self._times.to_list()
        place = bisect_right(times, at)
        if place or len(values) < self._ring.capacity:
            self._fill([*values[:place], value, *values[place:]], [*times[:place], at, *times[place:]])

    def _fill(self, values: Sequence[Any], times: Sequence[float]) -> None:
        n, dtype = self.arguments
        ring, ring_of_times = RingBuffer(n, dtype), RingBuffer(n, "d")
        for value, at in zip(values, times, strict=True):
            ring.append(value)
            ring_of_times.append(at)
        self._ring, self._times = ring, ring_of_times

    def to_json(self, short: bool = False) -> Any:
        """Return the kept values, as they are (`short`) or with what makes the ring again."""
        if short:
            return self.val
        state = {"dtype": self.kind, "arguments": _plain(self.arguments), "value": _plain(self.val)}
        return state | ({"at": self._times.to_list()} if self.last_at else {})

    def restore(self, state: dict[str, Any]) -> None:
        values = _restore(state["value"])
        # Earlier versions did not store the times.
        self._fill(values, state.get("at") or [0.0] * len(values))
        self.last_at = self._times.last() or 0.0

    @staticmethod
    def lazy(n: int, dtype: str = "f") -> Callable[[], Aggregator]:  # type: ignore[override]
        return Lazy(RingAggregator, n=n, dtype=dtype)

    def __repr__(self) -> str:
        return f"r<[{self._ring.shown()}]>"


class StatAggregator(Aggregator):
    """Keeps mean, standard deviation, minimum and maximum in constant space.

    Parameters
    ----------
    skip_obs: int
        Observations to drop at the start, >= 0: the first ones are often slower than the rest.

    Examples
    --------
    >>> seconds = StatAggregator(skip_obs=0)
    >>> seconds.append(1.0); seconds.append(3.0)
    >>> seconds.avg, seconds.sd
    (2.0, 1.0)
    """

    kind = "stat"

    def __init__(self, skip_obs: int = 10) -> None:
        self._stat = StatStream(skip_obs, shared=False)
        self.arguments = (skip_obs,)

    @property
    def val(self) -> Any:
        return self._stat.val

    @property
    def avg(self) -> float:
        """Mean of the kept observations."""
        return self._stat.avg

    @property
    def min(self) -> float:
        """Smallest observation, the last dropped one included."""
        return self._stat.min

    @property
    def max(self) -> float:
        """Largest observation, the last dropped one included."""
        return self._stat.max

    @property
    def sd(self) -> float:
        """Population standard deviation of the kept observations."""
        return self._stat.sd

    @property
    def sum(self) -> float:
        """Sum of the kept observations."""
        return self._stat.total

    @property
    def total(self) -> float:
        """Sum of the kept observations."""
        return self._stat.total

    @property
    def count(self) -> int:
        """Number of kept observations."""
        return int(self._stat.to_dict()["count"])

    def append(self, other: Any) -> None:
        self._stat.update(other)

    def to_json(self, short: bool = False) -> Any:
        """Return avg, min, max, sd, count and unit (`short`), or all of the state."""
        if short:
            return self._stat.to_dict()
        return {"dtype": "statstream"} | {key: _plain(value) for key, value in self._stat.state_dict().items()}

    def restore(self, state: dict[str, Any]) -> None:
        fields = {key: _restore(value) for key, value in state.items() if key != "dtype"}
        self._stat = StatStream.from_dict(fields, shared=False)
        self.arguments = (int(self._stat.drop_obs),)

    @staticmethod
    def from_json(data: dict[str, Any]) -> StatAggregator:
        """Return the aggregator that ``to_json(short=False)`` described."""
        aggregator = StatAggregator()
        aggregator.restore(data)
        return aggregator

    @staticmethod
    def lazy(skip: int = 10) -> Callable[[], Aggregator]:  # type: ignore[override]
        return Lazy(StatAggregator, skip_obs=skip)

    def __repr__(self) -> str:
        return f"s<{self._stat.to_dict()}>"


METADATA_AGGREGATOR = ValueAggregator.lazy()
"""What metadata is kept by where nobody says otherwise: the latest value."""
TIMES_AGGREGATOR = StatAggregator.lazy(1)
"""What times are kept by where nobody says otherwise: statistics, without the first."""
