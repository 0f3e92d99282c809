"""Trials that are repetitions of one another: they differ in their seeds only, and what they come to is a mean."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from track.rows import Row

_SEED = re.compile(r"(.*[._-])?((random_?|rng_?)?seed|random_state|seed_?\d+)", re.IGNORECASE)


def is_seed(name: str) -> bool:
    """Return whether a parameter is a seed: runs that differ in it are repetitions of one another.

    Examples
    --------
    >>> is_seed("seed"), is_seed("data.random_state"), is_seed("lr")
    (True, True, False)
    """
    return _SEED.fullmatch(name) is not None


class Spread(NamedTuple):
    """What a column comes to in several rows: the mean and the standard deviation of a sample, of so many numbers."""

    mean: float
    deviation: float
    number: int

    def __str__(self) -> str:
        if self.number == 1:
            return f"{self.mean:.6g} (1)"
        return f"{self.mean:.4g} ± {self.deviation:.2g} ({self.number})"


def spread(rows: Iterable[Row], column: str) -> Spread | None:
    """Return what a column comes to, without what is no finite number; None where there is no number."""
    values = [value for row in rows if _is_number(value := row.value(column))]
    if not values:
        return None
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0, len(values))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def grouped(rows: Sequence[Row], by: Sequence[str] | None = None) -> list[list[Row]]:
    """Return rows together that are the same but for their seeds, or that are the same in some columns."""
    found: dict[Any, list[Row]] = {}
    for row in rows:
        if by is None:
            parameters = sorted((name, repr(value)) for name, value in row.parameters.items() if not is_seed(name))
            key: Any = (row.trial.project_id, row.trial.group_id, row.trial.name, tuple(parameters))
        else:
            key = tuple(repr(row.value(name)) for name in by)
        found.setdefault(key, []).append(row)
    return list(found.values())
