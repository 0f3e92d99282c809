"""How a database keeps what a trial is and what it measured: a document of JSON, and cells of columns."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from track.aggregators.aggregator import (
    Aggregator,
    MaxAggregator,
    MinAggregator,
    StatAggregator,
    SumAggregator,
    TimeSeriesAggregator,
    ValueAggregator,
    specification,
)
from track.briefs import Brief, grown
from track.columns import Columns
from track.containers.columns import Column as Values
from track.containers.packing import Chunk
from track.containers.series import Points, Series, hashable
from track.events import FieldsMerged, GroupCreated, ProjectCreated
from track.metrics import Metrics, Undecoded, container_to_plain, metrics_from_plain
from track.persistence.state.apply import make_group, make_project
from track.persistence.state.order import newer
from track.plain import nearest_double, restore, to_plain, utf8
from track.serialization import to_json, trial_to_document
from track.structure import Trial

_decode = msgspec.json.decode
_CONTAINER = '{"container":'
_KEPT = (ValueAggregator, MinAggregator, MaxAggregator, SumAggregator, StatAggregator)
_PLAIN = frozenset({float, int, bool, str, type(None)})


def text(value: Any) -> str:
    """Return `value` as JSON."""
    return msgspec.json.encode(value).decode()


# points


def decode_cell(step: Any, value: float | None, odd: str | None) -> tuple[Any, Any]:
    """Return the step and the value of a point that was stored as a row of cells, by a version before."""
    if odd is None:
        return step, value
    exact = _decode(odd)
    if "step" in exact:
        step = hashable(restore(exact["step"]))
    return step, restore(exact["value"]) if "value" in exact else value


def chunk_of_cells(numbers: Sequence[int], cells: tuple[list[Any], ...]) -> Chunk:
    """Return the points of cells as versions before stored them: steps, values, times and what these cannot say."""
    steps, values, times, odd = cells
    containers = {}
    if any(odd):
        steps, values = list(steps), list(values)
        for place, exact in enumerate(odd):
            if exact is not None and exact.startswith(_CONTAINER):
                containers[place] = _decode(exact)["container"]
            else:
                steps[place], values[place] = decode_cell(steps[place], values[place], exact)
    return Chunk.of(numbers, steps, values, times, containers)


def container_of(kind: str, name: str, spec: list[Any] | None, chunk: Chunk) -> Any:
    """Return the container that the points of a name make; `spec` says the aggregator of the first use."""
    if kind == "metrics" and spec in (None, ["series"]) and not chunk.containers:
        steps = chunk.steps
        assert chunk.times is not None
        if steps is None:
            series = TimeSeriesAggregator()
            series.points = Points.from_columns(None, chunk.values, chunk.times, chunk.is_ordered)
            return series
        if steps.kind is not None or None not in steps.tolist():
            points = Points.from_columns(steps, chunk.values, chunk.times, chunk.is_ordered)
            return Series(points, is_rising=chunk.is_rising)
    made = Metrics()
    for place, (step, value, at) in enumerate(chunk.points()):
        if place in chunk.containers:
            made[name] = metrics_from_plain({name: chunk.containers[place]})[name]
        elif kind == "times":
            made.log_time(name, value, spec, at)
        else:
            made.log_values({name: value}, step, spec, at)
    return made[name]


class Column:
    """The new points of one name, in the order they were logged."""

    __slots__ = ("is_stepped", "key", "name", "spec", "steps", "times", "values")

    def __init__(self, name: str, spec: list[Any] | None, is_stepped: bool) -> None:
        self.name = utf8(name)
        self.key = text(self.name)
        self.spec = spec
        self.is_stepped = is_stepped
        self.steps: list[Any] = []
        self.values: list[Any] = []
        self.times: list[float] = []

    def add(self, step: Any, value: Any, at: float) -> None:
        """Take a point."""
        self.steps.append(step)
        self.values.append(value)
        self.times.append(at)

    @property
    def is_aggregated(self) -> bool:
        """Whether the first use says an aggregator, which keeps no points."""
        return not self.is_stepped and self.spec not in (None, ["series"])

    def chunk(self, numbers: Sequence[int]) -> Chunk:
        """Return the points with these numbers."""
        values, containers = self.values, {}
        if not _PLAIN.issuperset(map(type, values)):
            # All that another store knows of a name.
            others = {place: value for place, value in enumerate(values) if isinstance(value, (Aggregator, Undecoded))}
            containers = {place: container_to_plain(value) for place, value in others.items()}
            values = [None if place in others else value for place, value in enumerate(values)]
        return Chunk.of(numbers, self.steps, values, self.times, containers)

    def last(self) -> tuple[Any, Any]:
        """Return step and value of the last point: the latest, and of several of one time the one that came last."""
        place = len(self.times) - 1
        if place:
            latest = max(self.times)
            while self.times[place] < latest:
                place -= 1
        value = self.values[place]
        return self.steps[place], getattr(value, "val", None) if isinstance(value, (Aggregator, Undecoded)) else value

    def brief(self, before: Brief | None, latest: float, is_stepped: bool) -> Brief | None:
        """Return what the metric comes to with these points; None where only all of its points say that.

        `latest`: when the last one before these was logged, unix seconds. `is_stepped`: whether the first one has a
        step.
        """
        times = self.times
        if is_stepped != self.is_stepped or self.spec not in (None, ["series"]) or latest > times[0]:
            return None
        if any(map(operator.gt, times, islice(times, 1, None))):
            return None
        steps = None if not is_stepped and self.steps.count(None) == len(self.steps) else self.steps
        return grown(before, steps, self.values)

    def state(self, kind: str, before: dict[str, Any]) -> dict[str, Any] | None:
        """Return the state of an aggregator with these values, None for one that only its points say.

        `before` is the state without them, empty where these are the first.
        """
        name = self.name
        made = metrics_from_plain({name: before} if before else {})
        for step, value, at in zip(self.steps, self.values, self.times, strict=True):
            if isinstance(value, (Aggregator, Undecoded)):
                made = metrics_from_plain({name: container_to_plain(value)})
            elif kind == "times":
                made.log_time(name, value, self.spec, at)
            else:
                made.log_values({name: value}, step, self.spec, at)
        container = made[name]
        # Of another class a reader may know more, or less, than this program.
        return container.to_json(short=False) if type(container) in _KEPT else None

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
        for name, value in values.items():
            column = columns.get(name)
            if column is None:
                column = columns[name] = Column(name, None if step is not None else spec, step is not None)
            column.steps.append(step)
            column.values.append(value if type(value) is float else restore(value))
            column.times.append(at)

    def log_columns(self, given: Columns, spec: list[Any] | None, at: float) -> None:
        """Take many values of one name."""
        given_steps, size = given.steps(), given.size
        if given_steps is None:
            steps: list[Any] = [None] * size
        else:
            steps = given_steps.tolist() if isinstance(given_steps, Values) else given_steps
        column = self.columns.get(given.name)
        if column is None:
            is_stepped = steps[0] is not None
            column = self.columns[given.name] = Column(given.name, None if is_stepped else spec, is_stepped)
        column.steps += steps
        column.values += given.values().tolist()
        column.times += given.times(at)

    def log_time(self, name: str, seconds: float, spec: list[Any] | None, at: float) -> None:
        """Take one time."""
        if name not in self.columns:
            self.columns[name] = Column(name, spec or ["stat", 1], is_stepped=False)
        self.columns[name].add(None, seconds, at)

    def items(self) -> tuple[()]:
        """Return nothing: points are no part of the trial's document."""
        return ()


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
