"""How a database keeps what a trial is and what it measured: a document of JSON, and cells of columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any

import msgspec

from track.aggregators.aggregator import Aggregator, TimeSeriesAggregator, specification
from track.columns import Columns
from track.containers.columns import Column as Values
from track.containers.series import Points, Series, hashable
from track.events import FieldsMerged, GroupCreated, ProjectCreated
from track.metrics import Metrics, Undecoded, container_to_plain, metrics_from_plain
from track.persistence.state import make_group, make_project, newer
from track.plain import nearest_double, restore, to_plain, utf8
from track.serialization import to_json, trial_to_document
from track.structure import Trial

_decode = msgspec.json.decode
_CONTAINER = '{"container":'
_LARGEST = 2**63
"""Steps from here on do not fit a column of integers."""


def text(value: Any) -> str:
    """Return `value` as JSON."""
    return msgspec.json.encode(value).decode()


# points


def encode_cell(step: Any, value: Any) -> tuple[int | None, float | None, str | None]:
    """Return the columns step, value and odd: `odd` says what the other two cannot say exactly."""
    if isinstance(value, (Aggregator, Undecoded)):
        # All that another store knows of a name.
        return None, comparable(getattr(value, "val", None)), text({"container": container_to_plain(value)})
    odd: dict[str, Any] = {}
    if step is not None and (type(step) is not int or abs(step) >= _LARGEST):
        odd["step"], step = to_plain(step), None
    if type(value) is float and value != 0 and math.isfinite(value):
        return step, value, text(odd) if odd else None
    odd["value"] = to_plain(value)
    number = nearest_double(value)
    return step, number if math.isfinite(number) else None, text(odd)


def decode_cell(step: Any, value: float | None, odd: str | None) -> tuple[Any, Any]:
    """Return the step and the value that `encode_cell` was given."""
    if odd is None:
        return step, value
    exact = _decode(odd)
    if "step" in exact:
        step = hashable(restore(exact["step"]))
    return step, restore(exact["value"]) if "value" in exact else value


def named_container(table: str, name: str, spec: str | None, cells: tuple[list[Any], ...]) -> tuple[str, Any]:
    """Return a name, and the container that its columns make.

    `name`, and `spec`, which says the aggregator of the first use, are JSON. The cells are the steps, values, times
    and what these cannot say, in the order they were logged; there is at least one of each.
    """
    key, given = _decode(name), None if spec is None else _decode(spec)
    steps, values, times, odd = cells
    if table == "metrics" and given in (None, ["series"]) and not any(odd):
        if None not in steps:
            return key, Series(Points.from_lists(steps, values, times))
        if steps.count(None) == len(steps):
            series = TimeSeriesAggregator()
            series.points = Points.from_lists(None, values, times)
            return key, series
    made = Metrics()
    for number, cell, at, exact in zip(*cells, strict=True):
        if exact is not None and exact.startswith(_CONTAINER):
            made[key] = metrics_from_plain({key: _decode(exact)["container"]})[key]
            continue
        step, value = decode_cell(number, cell, exact)
        if table == "times":
            made.log_time(key, value, given, at)
        else:
            made.log_values({key: value}, step, given, at)
    return key, made[key]


def are_points(cells: tuple[list[Any], ...]) -> bool:
    """Return whether the columns of a name hold points only, and no container from another store."""
    return not any(exact is not None and exact.startswith(_CONTAINER) for exact in cells[3])


def cell_points(cells: tuple[list[Any], ...]) -> Iterator[tuple[Any, Any, float]]:
    """Yield step, value and time of each point in the columns of a name."""
    for step, value, at, odd in zip(*cells, strict=True):
        yield *decode_cell(step, value, odd), at


class Column:
    """The new points of one name, in the order they were logged."""

    __slots__ = ("is_stepped", "key", "odd", "spec", "steps", "times", "values")

    def __init__(self, name: str, spec: list[Any] | None, is_stepped: bool) -> None:
        self.key = text(utf8(name))
        self.spec = spec
        self.is_stepped = is_stepped
        self.steps: list[int | None] = []
        self.values: list[float | None] = []
        self.times: list[float] = []
        self.odd: dict[int, str] = {}

    def add(self, step: Any, value: Any, at: float) -> None:
        """Take a point."""
        number, cell, odd = encode_cell(step, value)
        if odd is not None:
            self.odd[len(self.times)] = odd
        self.steps.append(number)
        self.values.append(cell)
        self.times.append(at)

    def odd_cells(self) -> Iterable[str | None]:
        """Return the fourth column, which is empty in most."""
        return [self.odd.get(place) for place in range(len(self.times))] if self.odd else repeat(None)

    def last(self) -> tuple[Any, Any]:
        """Return step and value of the last point: the latest, and of several of one time the one that came last."""
        place, latest = len(self.times) - 1, self.latest
        while self.times[place] < latest:
            place -= 1
        return decode_cell(self.steps[place], self.values[place], self.odd.get(place))

    @property
    def latest(self) -> float:
        """When the last point was logged, unix seconds."""
        return max(self.times)


class PointColumns:
    """Stands in for a trial's metrics or times while events are applied: values become columns, by name."""

    def __init__(self) -> None:
        self.columns: dict[str, Column] = {}

    def log_values(self, values: dict[str, Any], step: Any, spec: list[Any] | None, at: float) -> None:
        """Take one value a name."""
        columns = self.columns
        is_plain_step = step is None or (type(step) is int and -_LARGEST < step < _LARGEST)
        for name, value in values.items():
            column = columns.get(name)
            if column is None:
                column = columns[name] = Column(name, None if step is not None else spec, step is not None)
            # The common point: an integer step or none, a finite float.
            if is_plain_step and type(value) is float and value and value - value == 0:
                column.steps.append(step)
                column.values.append(value)
                column.times.append(at)
            else:
                column.add(step, restore(value), at)

    def log_columns(self, given: Columns, spec: list[Any] | None, at: float) -> None:
        """Take many values of one name."""
        steps, values = given.steps(), given.values()
        if isinstance(steps, list) or not (_is_plain(values, float) and (steps is None or _is_plain(steps, int))):
            for step, value, logged in given.points(at):
                self.log_values({given.name: value}, step, spec, logged)
            return
        column = self.columns.get(given.name)
        if column is None:
            column = self.columns[given.name] = Column(given.name, spec if steps is None else None, steps is not None)
        column.steps += [None] * given.size if steps is None else steps.tolist()
        column.values += values.tolist()
        column.times += given.times(at)

    def log_time(self, name: str, seconds: float, spec: list[Any] | None, at: float) -> None:
        """Take one time."""
        if name not in self.columns:
            self.columns[name] = Column(name, spec or ["stat", 1], is_stepped=False)
        self.columns[name].add(None, seconds, at)

    def items(self) -> tuple[()]:
        """Return nothing: points are no part of the trial's document."""
        return ()


def _is_plain(values: Values, kind: type) -> bool:
    """Return whether cells say all values of a column: doubles that are finite and not 0, or integers."""
    if values.kind is not kind:
        return False
    numbers = values.tolist()
    return all(numbers) and all(map(math.isfinite, numbers)) if kind is float else min(numbers) > -_LARGEST


def measure_into(trial: Trial, metrics: PointColumns, chronos: PointColumns) -> None:
    """Let columns take what a trial will measure, and what it has measured in another store."""
    for name, container in trial.metrics.items():
        spec = _imported_specification(container)
        for step, value, at in _imported_points(container):
            metrics.log_values({name: value}, step, spec, at)
    for name, container in trial.chronos.items():
        spec = _imported_specification(container) or ["value"]
        for _, value, at in _imported_points(container):
            chronos.log_time(name, value, spec, at)
    trial.metrics, trial.chronos = metrics, chronos


def _imported_points(container: Any) -> Iterator[tuple[Any, Any, float]]:
    if not isinstance(container, (Series, TimeSeriesAggregator)):
        # Another aggregator is one value, with all that it knows.
        yield None, container, container.last_at if isinstance(container, Aggregator) else 0.0
        return
    points = container.points
    steps = points.steps() or [None] * len(points)
    yield from zip(steps, points.values(), points.times(), strict=True)


def _imported_specification(container: Any) -> list[Any] | None:
    """Return which aggregator a trial from another store has under a name; None for steps, and for a bare number."""
    return specification(container) if isinstance(container, Aggregator) else None


# documents, and by what they are found


def trial_document(trial: Trial) -> str:
    """Return a trial that is measured into columns as JSON, without what it measured, which grows."""
    return text(trial_to_document(trial))


def owner_document(event: ProjectCreated | GroupCreated) -> dict[str, Any]:
    """Return the document of a new project or group, without its members, which are found by theirs."""
    owner = make_project(event) if isinstance(event, ProjectCreated) else make_group(event)
    return {name: value for name, value in to_json(owner).items() if name not in ("trials", "groups")}


def merge_into_owner(document: dict[str, Any], event: FieldsMerged) -> None:
    """Change the document of a project or group as the event says."""
    known = restore(document.get(event.field) or {})
    values = newer(document.setdefault("moments", {}), event.field, event.values, event.at)
    document[event.field] = to_plain(known | {name: restore(value) for name, value in values.items()})


def comparable(value: Any) -> float | None:
    """Return the double by which comparisons find a number; None for what compares with none."""
    number = nearest_double(value) if isinstance(value, (int, float)) else math.nan
    return None if math.isnan(number) else number


def parameter_cells(trial: Trial) -> list[tuple[str, float | None, str | None]]:
    """Return by what each parameter is found: its dotted name as JSON, and a number or a text as JSON."""
    found: dict[str, Any] = {}
    if isinstance(trial.parameters, dict):
        _flatten(trial.parameters, "", found)
    return [
        (text(name), comparable(value), text(value) if isinstance(value, str) else None)
        for name, value in found.items()
    ]


def _flatten(nested: dict[str, Any], prefix: str, found: dict[str, Any]) -> None:
    # Two may have one path, `a.b` and `b` of `a`: queries see the one with the longer key, which comes last.
    for key in sorted(nested, key=len):
        if isinstance(nested[key], dict):
            _flatten(nested[key], f"{prefix}{key}.", found)
        else:
            found[f"{prefix}{key}"] = nested[key]
