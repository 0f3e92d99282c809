"""Log calls that are alike, one after another: in columns they are applied much faster than one by one."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from track.containers.columns import Column
from track.events import MetricsLogged, Record
from track.plain import is_utf8, restore

_LEAST = 16
"""Log calls that are worth it."""


class Run(NamedTuple):
    """Log calls of one trial that name the same metrics.

    Attributes
    ----------
    steps: Column or None
        The step of each; None where none has one.
    values: dict of str to Column
        The values of each, by name.
    times: array of float
        When each was logged, unix seconds.
    """

    trial: str
    steps: Column | None
    values: dict[str, Column]
    times: array[float]


def run_of(records: Sequence[Record]) -> Run | None:
    """Return what a journal says as one run; None where it is anything else.

    Examples
    --------
    >>> run = run_of([MetricsLogged("ab_0", {"loss": 0.5}, at=1.0, step=step) for step in range(20)])
    >>> len(run.times), run.steps[19], run.values["loss"][19]
    (20, 19, 0.5)
    """
    if len(records) < _LEAST or set(map(type, records)) != {MetricsLogged}:
        return None
    logged = cast("Sequence[MetricsLogged]", records)
    # Those of several trials, or kinds of numbers, take turns mostly: then it is not worth looking at all of them.
    first, second = logged[:2]
    if first.trial != second.trial or first.values.keys() != second.values.keys():
        return None
    size = len(logged)
    # Field by field: a tuple of each record would wake the search for garbage.
    trials, aggregators = [each.trial for each in logged], [each.aggregator for each in logged]
    attempts, columns = [each.attempt for each in logged], [each.columns for each in logged]
    are_plain = all(other.count(None) == size for other in (aggregators, attempts, columns))
    if trials.count(first.trial) != size or not are_plain:
        return None
    values, steps = [each.values for each in logged], [each.step for each in logged]
    names = values[0]
    if set(map(len, values)) != {len(names)} or not all(map(is_utf8, names)):
        return None
    has_steps = set(map(type, steps)) == {int}
    if not has_steps and steps.count(None) != size:
        return None
    try:
        found = {name: _column([each[name] for each in values]) for name in names}
        times = array("d", [each.at for each in logged])
        return Run(first.trial, Column.from_list(steps) if has_steps else None, found, times)
    except (KeyError, TypeError):
        return None


def _column(values: list[Any]) -> Column:
    return Column.from_list(list(map(restore, values)) if dict in set(map(type, values)) else values)
