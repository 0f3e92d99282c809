"""Mean, deviation, minimum and maximum of a stream of numbers, in constant space.

A stream keeps eight numbers. Every observation is shifted by the first retained one before it is summed, so
that the variance of large, close values does not cancel to noise.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from track.utils import _stream_state as stream_state
from track.utils._stream_state import FIELDS, Field, PlainState, absorb, fill

if TYPE_CHECKING:
    from track.utils._stream_shared import StatStreamStruct

__all__ = ["StatStream", "StatStreamStruct"]


def __getattr__(name: str) -> Any:
    if name != "StatStreamStruct":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from track.utils._stream_shared import StatStreamStruct

    return StatStreamStruct


class StatStream:
    """Statistics of every number given to `update`, after a few that are left out.

    Processes started with `multiprocessing`, forked or spawned, that get a shared stream update the same one.
    Any other copy (pickle, deepcopy) is a snapshot with a life of its own.

    Parameters
    ----------
    drop_first_obs: int
        How many observations to leave out at the start, >= 0: the first ones are often slower.
    shared: bool
        Keep the state in shared memory behind a lock of all processes. Without it the stream is much lighter
        and faster, and belongs to one process and one thread at a time.

    Raises
    ------
    ValueError
        `drop_first_obs` is negative.
    OSError
        The system has no shared memory or semaphores; use ``shared=False``.

    Examples
    --------
    >>> stream = StatStream(drop_first_obs=1, shared=False)
    >>> for seconds in (9.0, 1.0, 3.0):
    ...     stream += seconds
    >>> stream.avg, stream.sd, stream.count
    (2.0, 1.0, 2)
    """

    __slots__ = ("_lock", "_state")

    def __init__(self, drop_first_obs: int = 10, shared: bool = True) -> None:
        drop = operator.index(drop_first_obs)
        if drop < 0:
            raise ValueError(f"drop_first_obs must be >= 0, not {drop_first_obs!r}")
        self._state: Any = PlainState()
        self._lock: Any = None
        if shared:
            from track.utils._stream_shared import new_shared

            self._state, self._lock = new_shared()
        fill(self._state, {**stream_state.EMPTY, "drop_obs": drop})

    def update(self, val: float, weight: int = 1) -> None:
        """Take in `val` as if it had been observed `weight` times.

        Parameters
        ----------
        val: float
            The observation; anything with a float value, such as a numpy scalar.
        weight: int
            How many observations it stands for, >= 0. Those that fall before the drop boundary are dropped.

        Raises
        ------
        TypeError
            `val` is not a number or `weight` not a whole one.
        ValueError
            `weight` is negative.
        """
        if val.__class__ is not float:
            val = stream_state.as_number(val)
        if weight.__class__ is not int or weight < 1:
            weight = stream_state.as_weight(weight)
            if not weight:
                return
        if self._lock is None:
            absorb(self._state, val, weight)
            return
        with self._lock:
            absorb(self._state, val, weight)

    def __iadd__(self, val: float) -> StatStream:
        self.update(val, 1)
        return self

    def _read(self) -> Any:
        if self._lock is None:
            return self._state
        snapshot = PlainState()
        fill(snapshot, self.state_dict())
        return snapshot

    @property
    def avg(self) -> float:
        """Mean of the retained observations; 0 when there are none."""
        return stream_state.average(self._read())

    @property
    def var(self) -> float:
        """Population variance of the retained observations, >= 0."""
        return stream_state.variance(self._read())

    @property
    def sd(self) -> float:
        """Population standard deviation of the retained observations."""
        return math.sqrt(stream_state.variance(self._read()))

    @property
    def total(self) -> float:
        """Sum of the retained observations."""
        return stream_state.total(self._read())

    @property
    def val(self) -> float:
        """The last observation, retained or dropped."""
        return stream_state.last(self._read())

    @property
    def count(self) -> int:
        """Number of retained observations."""
        return stream_state.retained(self._read())

    sum = Field(float, "Sum of the retained observations, each less `first_obs`; `total` is the plain sum.")
    sum_sqr = Field(float, "Sum of the squares of the retained observations, each less `first_obs`.")
    first_obs = Field(float, "The observation all others are shifted by.")
    min = Field(float, "Smallest observation, the last dropped one included; infinity before any.")
    max = Field(float, "Largest observation, the last dropped one included; minus infinity before any.")
    current_count = Field(int, "Number of observations so far, dropped ones included.")
    current_obs = Field(float, "The last observation, less `first_obs`.")
    drop_obs = Field(int, "Number of observations left out at the start.")

    def state_dict(self) -> dict[str, float]:
        """Return the eight fields by name: what `from_dict` needs to continue this stream."""
        if self._lock is None:
            return {name: getattr(self._state, name) for name in FIELDS}
        with self._lock:
            return {name: getattr(self._state, name) for name in FIELDS}

    @staticmethod
    def from_dict(data: Mapping[str, Any], shared: bool = True) -> StatStream:
        """Return the stream that `state_dict` described.

        Parameters
        ----------
        data: Mapping
            The eight fields; a null stands for the number that JSON could not hold.
        shared: bool
            As for `StatStream`.

        Raises
        ------
        ValueError
            A field is missing.
        """
        values = stream_state.restore(data)
        stream = StatStream(shared=shared)
        fill(stream._state, values)
        return stream

    def to_dict(self) -> dict[str, Any]:
        """Return the summary of a report: avg, min, max, sd, count and the unit of all but the count."""
        return stream_state.summarize(self._read())

    def to_array(self, transform: Callable[[float], Any] | None = None) -> list[Any]:
        """Return avg, sd, min, max and count: one row of a table.

        Parameters
        ----------
        transform: Callable, optional
            Applied to avg, min and max. The deviation has no meaning after it and reads "NA".
        """
        summary = self.to_dict()
        if transform is None:
            return [summary[name] for name in ("avg", "sd", "min", "max", "count")]
        bounds = [value if value is None else transform(value) for value in (summary["min"], summary["max"])]
        return [transform(summary["avg"]), "NA", *bounds, summary["count"]]

    def to_json(self) -> str:
        """Return the summary as JSON text; a number that is not finite reads null."""
        import json

        summary = self.to_dict()
        for name, value in summary.items():
            if isinstance(value, float) and not math.isfinite(value):
                summary[name] = None
        return json.dumps(summary)

    def __reduce__(self) -> tuple[Callable[..., StatStream], tuple[Any, ...]]:
        """Pickle the stream itself for a worker being spawned, and a snapshot of it otherwise."""
        if self._lock is None:
            return StatStream.from_dict, (self.state_dict(), False)
        from track.utils._stream_shared import is_spawning

        if is_spawning():
            return _attach, (self._state, self._lock)
        return StatStream.from_dict, (self.state_dict(), True)

    def __repr__(self) -> str:
        return f"StatStream({self.to_dict()})"


def _attach(state: Any, lock: Any) -> StatStream:
    stream = StatStream.__new__(StatStream)
    stream._state, stream._lock = state, lock
    return stream
