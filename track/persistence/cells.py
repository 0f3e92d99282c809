"""How a database keeps what a trial is and what it measured: a document of JSON, and cells of columns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec

from track.aggregators.aggregator import Aggregator, TimeSeriesAggregator, specification
from track.containers.series import Points, Series
from track.metrics import Metrics, container_from_plain, container_to_plain
from track.plain import restore, to_plain
from track.serialization import to_json
from track.structure import Trial

_decode = msgspec.json.decode
_CONTAINER = '{"container":'
LARGEST = 2**63
"""Steps from here on do not fit a column of integers."""


def text(value: Any) -> str:
    """Return `value` as JSON."""
    return msgspec.json.encode(value).decode()


def encode_cell(step: Any, value: Any) -> tuple[int | None, float | None, str | None]:
    """Return the columns step, value and odd: `odd` says what the other two cannot say exactly."""
    if isinstance(value, Aggregator):
        # All that another store knows of a name.
        return None, number_of(value.val), text({"container": container_to_plain(value)})
    odd: dict[str, Any] = {}
    if step is not None and (type(step) is not int or abs(step) >= LARGEST):
        odd["step"], step = to_plain(step), None
    if type(value) is float and value != 0 and math.isfinite(value):
        return step, value, text(odd) if odd else None
    odd["value"] = to_plain(value)
    return step, number_of(value), text(odd)


def number_of(value: Any) -> float | None:
    """Return the nearest finite double, None where there is none."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def decode_cell(step: Any, value: float | None, odd: str | None) -> tuple[Any, Any]:
    """Return the step and the value that `encode_cell` was given."""
    if odd is None:
        return step, value
    exact = _decode(odd)
    if "step" in exact:
        found = restore(exact["step"])
        step = tuple(found) if isinstance(found, list) else found
    return step, restore(exact["value"]) if "value" in exact else value


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
    if table == "metrics" and spec in (None, ["series"]) and not any(odd):
        if None not in steps:
            return Series(Points.from_lists(steps, values, times))
        if steps.count(None) == len(steps):
            series = TimeSeriesAggregator()
            series.points = Points.from_lists(None, values, times)
            return series
    made = Metrics()
    for number, value, at, exact in zip(*cells, strict=True):
        if exact is not None and exact.startswith(_CONTAINER):
            made[name] = container_from_plain(_decode(exact)["container"])
            continue
        step, given = decode_cell(number, value, exact)
        if table == "times":
            made.log_time(name, given, spec, at)
        else:
            made.log_values({name: given}, step, spec, at)
    return made[name]


def trial_document(trial: Trial) -> str:
    """Return the trial as JSON, without what it measured, which grows."""
    metrics, chronos = trial.metrics, trial.chronos
    trial.metrics, trial.chronos = {}, {}
    try:
        return text(to_json(trial))
    finally:
        trial.metrics, trial.chronos = metrics, chronos


def imported_points(container: Any) -> Iterator[tuple[Any, Any, float]]:
    """Yield step, value and time of what a trial from another store has measured; an aggregator is one value."""
    if not isinstance(container, (Series, TimeSeriesAggregator)):
        yield None, container, 0.0
        return
    points = container.points
    steps = points.steps() or [None] * len(points)
    for step, value, at in zip(steps, points.values(), points.times(), strict=True):
        # A value logged with a step to a series is the pair of both.
        yield (step, value, at) if type(value) is not tuple else (*value, at)


def imported_specification(container: Any) -> list[Any] | None:
    """Return which aggregator a trial from another store has under a name; None for steps, and for a bare number."""
    return specification(container) if isinstance(container, Aggregator) else None
