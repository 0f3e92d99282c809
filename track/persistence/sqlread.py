"""Rows to containers: a metric or a time as it was logged, from its rows in order."""

from __future__ import annotations

from typing import Any

from track.aggregators.aggregator import TimeSeriesAggregator
from track.containers.series import Points, Series
from track.metrics import Metrics
from track.persistence.sqlwrite import decode_cell

__all__ = ["container_of"]


def container_of(table: str, name: str, spec: list[Any] | None, cells: tuple[list[Any], ...]) -> Any:
    """Return the container that the columns of one name make.

    Parameters
    ----------
    table: str
        ``"metrics"`` or ``"times"``.
    name: str
    spec: list, optional
        Which aggregator was given at the first use.
    cells: four lists
        Steps, values, times and what they cannot say, in the order they were logged; at least one of each.
    """
    steps, values, times, odd = cells
    if table == "metrics" and spec is None and not any(odd):
        if None not in steps:
            return Series(Points.from_lists(steps, values, times))
        if steps.count(None) == len(steps):
            series = TimeSeriesAggregator()
            series.points = Points.from_lists(None, values, times)
            return series
    made = Metrics()
    for number, value, at, exact in zip(*cells, strict=True):
        step, given = decode_cell(number, value, exact)
        if table == "times":
            made.log_time(name, given, spec, at)
        else:
            made.log_values({name: given}, step, spec, at)
    return made[name]
