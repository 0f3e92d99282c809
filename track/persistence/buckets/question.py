"""What can be asked of buckets, and how much."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from track.errors import InvalidQuery
from track.shown import shown

MOST_BUCKETS = 100_000
"""Buckets of one trial, at most."""
MOST_CELLS = 2_000_000
"""Trials times buckets, at most: 64 bytes each."""
METRIC = "metric:"
"""How an x begins that is another metric's value."""
_AXES = ("step", "offset", "relative", "time", "wall")
BY_STEP = frozenset({"step", "offset", "relative"})
"""Each x along which points are in the order of their steps."""


@dataclass(frozen=True)
class Question:
    """Which metric is wanted, along which x, in how many buckets; see `Protocol.fetch_buckets`.

    Raises
    ------
    InvalidQuery
        There is no such x, or a number is none, or too large, or too small.
    """

    name: str
    buckets: int
    x: str = "step"
    start: float | None = None
    end: float | None = None
    smoothing: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise InvalidQuery(f"{shown(self.name)} is no name of a metric")
        if not isinstance(self.buckets, int) or isinstance(self.buckets, bool):
            raise InvalidQuery(f"buckets={shown(self.buckets)} is no whole number")
        if not 1 <= self.buckets <= MOST_BUCKETS:
            raise InvalidQuery(f"there may be 1 to {MOST_BUCKETS:,} buckets, not {shown(self.buckets)}")
        if self.x not in _AXES and not (isinstance(self.x, str) and self.x.startswith(METRIC) and self.x != METRIC):
            raise InvalidQuery(f"x={shown(self.x)} is none of {', '.join(_AXES)} and {METRIC}NAME")
        for name in ("start", "end", "smoothing"):
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise InvalidQuery(f"start={self.start:g} is not before end={self.end:g}")
        if self.smoothing is not None and not 0 <= self.smoothing < 1:
            raise InvalidQuery(f"smoothing={self.smoothing:g} is no weight: it is at least 0 and below 1")

    @property
    def other(self) -> str | None:
        """The metric whose values x is; None where x is none."""
        return self.x.removeprefix(METRIC) if self.x.startswith(METRIC) else None

    @property
    def names(self) -> list[str]:
        """The metrics that are read for it."""
        return [self.name] if self.other in (None, self.name) else [self.name, str(self.other)]

    def check_size(self, trials: int) -> None:
        """Return if so many trials may be asked about at once; InvalidQuery where these are too many."""
        if trials * self.buckets > MOST_CELLS:
            raise InvalidQuery(
                f"{trials:,} trials of {self.buckets:,} buckets each are too many for one answer: {MOST_CELLS:,} "
                "buckets in all are not; ask for fewer buckets, or for one part of the trials after the other, with "
                "the same start and end"
            )


def uids_of(uids: Iterable[str]) -> list[str]:
    """Return each uid once, in the order given; one alone is one."""
    given = [uids] if isinstance(uids, str) else list(uids)
    for uid in given:
        if not isinstance(uid, str):
            raise InvalidQuery(f"{shown(uid)} is no uid of a trial")
    return list(dict.fromkeys(given))


def _number(name: str, value: Any) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidQuery(f"{name}={shown(value)} is no finite number")
    return number
