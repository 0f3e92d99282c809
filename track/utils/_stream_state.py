"""The eight numbers of a `StatStream`, and all of its arithmetic."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

T = TypeVar("T")
FIELDS: dict[str, type[float] | type[int]] = {
    "sum": float, "sum_sqr": float, "first_obs": float, "min": float, "max": float,
    "current_count": int, "current_obs": float, "drop_obs": int,
}  # fmt: skip
EMPTY: dict[str, float] = {**{name: kind(0) for name, kind in FIELDS.items()}, "min": math.inf, "max": -math.inf}


class PlainState:
    """The eight fields for one process."""

    __slots__ = tuple(FIELDS)


class Field(Generic[T]):
    """One of the eight fields, as an attribute of the stream that can only be read."""

    def __init__(self, kind: Callable[[Any], T], meaning: str) -> None:
        self._kind = kind
        self.__doc__ = meaning

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, stream: Any, owner: type | None = None) -> T:
        # Read from the class, it is itself: documentation tools look for its docstring.
        return self._kind(getattr(stream._state, self._name)) if stream is not None else self  # type: ignore[return-value]


def as_number(value: Any) -> float:
    if isinstance(value, (str, bytes, bytearray)):
        raise TypeError(f"an observation is a number, not {value!r}")
    return float(value)


def as_weight(weight: Any) -> int:
    whole = operator.index(weight)
    if whole < 0:
        raise ValueError(f"a weight is a whole number >= 0, not {weight!r}")
    return whole


def fill(state: Any, values: Mapping[str, Any]) -> None:
    for name in FIELDS:
        setattr(state, name, values[name])


def absorb(state: Any, value: float, weight: int) -> None:
    before = state.current_count
    after = state.current_count = before + weight
    drop = state.drop_obs
    if after < drop:
        state.current_obs = value
        return

    state.min = min(state.min, value)
    state.max = max(state.max, value)
    if before <= drop:
        # The last dropped and the first retained observation are origins: shifted, they weigh nothing. Only
        # the part of the weight beyond the boundary is retained, and only a finite number is a fit origin.
        state.first_obs = value if math.isfinite(value) else 0.0
        weight = after - drop
    shifted = value - state.first_obs
    state.current_obs = shifted
    if weight:
        state.sum += shifted * weight
        state.sum_sqr += shifted * shifted * weight


def retained(state: Any) -> int:
    return max(int(state.current_count - state.drop_obs), 0)


def average(state: Any) -> float:
    count = retained(state)
    return float(state.sum / count + state.first_obs) if count else 0.0


def variance(state: Any) -> float:
    count = retained(state)
    if not count:
        return 0.0
    mean = state.sum / count
    variance = float(state.sum_sqr / count - mean * mean)
    return 0.0 if variance < 0 else variance


def total(state: Any) -> float:
    count = retained(state)
    return float(state.sum + state.first_obs * count) if count else 0.0


def last(state: Any) -> float:
    return float(state.current_obs + state.first_obs)


def summarize(state: Any) -> dict[str, Any]:
    count = retained(state)
    return {
        "avg": average(state),
        "min": state.min if count else None,
        "max": state.max if count else None,
        "sd": math.sqrt(variance(state)),
        "count": count,
        "unit": "s",
    }


def restore(data: Mapping[str, Any]) -> dict[str, float]:
    missing = [name for name in FIELDS if name not in data]
    if missing:
        raise ValueError(f"the state of a StatStream lacks {', '.join(missing)}")
    # A null is a number that JSON could not hold: the bounds of an empty stream, else NaN.
    nulls = {name: EMPTY[name] if name in ("min", "max") else math.nan for name in FIELDS}
    return {name: nulls[name] if data[name] is None else kind(data[name]) for name, kind in FIELDS.items()}
