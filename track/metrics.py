"""What a trial measured: names and their containers, decoded from the stored bytes when first asked."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from functools import partial
from typing import Any

from track.aggregators.aggregator import (
    Aggregator,
    TimeSeriesAggregator,
    is_aggregator_state,
    make_aggregator,
    restore_aggregator,
)
from track.aggregators.base import add_to, tell_once
from track.briefs import SYSTEM, Brief, brief_of
from track.columns import Columns
from track.containers.series import Column, Points, Series
from track.errors import MetricNotFound, suggestion
from track.plain import is_number, printable, restore, text_keys, to_plain, utf8
from track.shown import clean, cut, shown, text_of

__all__ = [
    "Metrics",
    "Undecoded",
    "briefs_of",
    "container_from_plain",
    "container_to_plain",
    "metrics_from_plain",
    "metrics_to_plain",
    "step_from_text",
    "unknown_metric",
]


logger = logging.getLogger(__name__)
_loading = threading.RLock()
_EVERYTHING = ["series"]
_TAGS = ("float", "int", "bytes", "dict")
_OF_POINTS = (type(None), Series, TimeSeriesAggregator)


class Metrics(MutableMapping[str, Any]):
    """Containers by name, in the order the names were first logged.

    Behaves as a dictionary. The containers are a `Series` for values logged with a step, an
    `Aggregator` for the others.

    Parameters
    ----------
    load: callable, optional
        Returns the stored state, containers or JSON-safe data by name; called at the first look.
    load_briefs: callable, optional
        Returns what each comes to, without its points.
    """

    __slots__ = ("_containers", "_load", "_load_briefs")

    def __init__(
        self,
        load: Callable[[], dict[str, Any]] | None = None,
        load_briefs: Callable[[], dict[str, Brief]] | None = None,
    ) -> None:
        self._load = load
        self._load_briefs = load_briefs
        self._containers: dict[str, Any] = {}

    @property
    def is_loaded(self) -> bool:
        """Whether the stored state has been decoded."""
        return self._load is None

    def log_values(self, values: dict[str, Any], step: Any, spec: list[Any] | None, at: float) -> None:
        """Add one value to each named container.

        Parameters
        ----------
        values: dict
            Number by metric name.
        step: any
            None for values without a step.
        spec: list, optional
            Which aggregator a new metric without a step gets; a time series by default.
        at: float
            When the values were logged, unix seconds.
        """
        containers = self._containers if self._load is None else self._loaded()
        for name, value in values.items():
            container = containers.get(name)
            if type(container) is Series:
                if step is None or container._next is not None:
                    container.append(step, value, at)
                else:
                    container.points.append(step, value, at)
                continue
            if step is None and isinstance(container, Aggregator):
                add_to(container, name, value if value.__class__ is not dict else restore(value), at)
                continue
            # A name that has no UTF-8 form is stored as another one, by every backend.
            _append(containers, utf8(name), value, step, spec, at)

    def log_columns(self, columns: Columns, spec: list[Any] | None, at: float) -> None:
        """Add many values to one container, as `log_values` does one by one; `at` is when they were logged."""
        name, steps = utf8(columns.name), columns.steps()
        is_made_of_points = self.is_made_of_points(name) and (spec is None or name in self)
        if is_made_of_points and not isinstance(steps, list):
            self.log_column(name, steps, columns.values(), columns.times(at))
            return
        for step, value, logged in columns.points(at):
            self.log_values({name: value}, step, spec, logged)

    def is_made_of_points(self, name: str) -> bool:
        """Return whether the container of a name takes columns, or will: there is none yet."""
        return type(self._loaded().get(name)) in _OF_POINTS

    def log_column(self, name: str, steps: Column | None, values: Column, times: Any) -> None:
        """Add many values to a container that is made of points; `times` is an array of doubles, unix seconds."""
        containers = self._loaded()
        container: Any = containers.get(name)
        if container is None:
            container = containers[name] = TimeSeriesAggregator() if steps is None else Series()
        elif steps is not None and type(container) is TimeSeriesAggregator:
            container = containers[name] = Series(container.points.numbered())
        if type(container) is Series:
            container.extend(steps, values, times)
        else:
            container.extend(values, times)

    def log_time(self, name: str, seconds: float, spec: list[Any] | None, at: float) -> None:
        """Add `seconds` to the named container; `spec` says which aggregator a new one is."""
        _append(self._loaded(), name, seconds, None, spec or ["stat", 1], at)

    def view(self) -> Metrics:
        """Return the state so far: what is logged later does not show."""
        if self._load is not None:
            return Metrics(partial(self._load_view, self._load), self._load_briefs)
        view = Metrics()
        view._containers = {name: _view(container) for name, container in self._containers.items()}
        return view

    def _load_view(self, load: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what a view that was made before the state was decoded shows; the state is decoded with it."""
        with _loading:
            if self._load is not load:
                return load()
            containers = metrics_from_plain(load())._containers
            views = {name: _view(container) for name, container in containers.items()}
            self._containers, self._load = containers, None
            return views

    def briefs(self) -> dict[str, Brief]:
        """Return what each metric comes to: last, least, greatest value, their steps, and how many there are.

        No point is decoded for it where that is stored beside them.

        Examples
        --------
        >>> metrics = Metrics()
        >>> metrics.log_values({"loss": 0.5}, 0, None, 1.0); metrics.log_values({"loss": 0.9}, 1, None, 2.0)
        >>> metrics.briefs()["loss"].least_step
        0
        """
        if self._load is not None and self._load_briefs is not None:
            return self._load_briefs()
        return {name: brief_of(container) for name, container in self.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return what was measured in Python's own containers: ``json.dumps(trial.metrics.to_dict())`` works.

        A stepped metric is a dictionary of its values by step, in which a step that is no number is its text; a
        metric without steps is a list; an aggregated one is its value, or its summary.

        Examples
        --------
        >>> metrics = Metrics()
        >>> metrics.log_values({"loss": 0.5}, 0, None, 1.0)
        >>> metrics.log_values({"cost": 3.0}, None, None, 1.0)
        >>> metrics.to_dict()
        {'loss': {0: 0.5}, 'cost': [3.0]}
        """
        return {name: _in_python(container) for name, container in self._loaded().items()}

    def _loaded(self) -> dict[str, Any]:
        if self._load is not None:
            with _loading:
                # Again: another thread may have been first, and may have logged since.
                if self._load is not None:
                    self._containers = metrics_from_plain(self._load())._containers
                    self._load = None
        return self._containers

    def __getitem__(self, name: str) -> Any:
        known = self._loaded()
        try:
            return known[name]
        except KeyError:
            raise unknown_metric(name, known, "nothing was measured as") from None

    def get(self, name: str, default: Any = None) -> Any:
        """Return a container, `default` where there is none."""
        return self._loaded().get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._loaded()

    def __setitem__(self, name: str, container: Any) -> None:
        self._loaded()[name] = container

    def __delitem__(self, name: str) -> None:
        del self._loaded()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded())

    def __len__(self) -> int:
        return len(self._loaded())

    def __repr__(self) -> str:
        if self._load is not None:
            return "<metrics in a store, read when one of them is looked at>"
        return shown(self._containers)


def unknown_metric(name: Any, known: Iterable[str], what: str = "no trial has the metric") -> MetricNotFound:
    """Return the error that there is no metric of this name, which says what there is.

    Examples
    --------
    >>> unknown_metric("los", ["loss"])
    MetricNotFound("no trial has the metric 'los'; did you mean 'loss'?")
    """
    # What the machine did is seldom meant.
    names = sorted(map(str, known), key=lambda one: (one.startswith(SYSTEM), one))
    way_out = suggestion(str(name), names) or (f"; there are: {', '.join(names)}" if names else "")
    return MetricNotFound(f"{what} {shown(name)}{cut(way_out, 300)}")


def metrics_to_plain(containers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the full state of containers by name as JSON-safe data."""
    # So of each new trial.
    if type(containers) is dict and not containers:
        return {}
    return {name: container_to_plain(container) for name, container in text_keys(containers.items()).items()}


def metrics_from_plain(plain: dict[str, Any]) -> Metrics:
    """Return the containers that `metrics_to_plain` described."""
    metrics = Metrics()
    metrics._containers = {name: _readable(name, value) for name, value in plain.items()}
    return metrics


def _readable(name: str, plain: Any) -> Any:
    """Return a container, or the data it should be made of where that fails: one must not hide the others."""
    try:
        return container_from_plain(plain)
    except Exception as error:  # noqa: BLE001 - an aggregator of somebody else's may raise anything
        text = "%s cannot be decoded (%s: %s), and is kept as it is stored"
        logger.warning(text, shown(name), type(error).__name__, clean(str(error)))
        return Undecoded(plain)


def briefs_of(measured: Any) -> dict[str, Brief]:
    """Return what each metric of a trial comes to; a backend of somebody else's may keep them in a dictionary."""
    if isinstance(measured, Metrics):
        return measured.briefs()
    return {name: brief_of(container) for name, container in measured.items()}


class Undecoded(dict[str, Any]):
    """The stored state of a container that this program cannot make: of an aggregator whose class it does not know."""


def _in_python(container: Any) -> Any:
    if isinstance(container, Series):
        steps = {step if isinstance(step, (int, float)) else text_of(step): value for step, value in container.items()}
        return {_number(step): _number(value) for step, value in steps.items()}
    if isinstance(container, TimeSeriesAggregator):
        return list(map(_number, container.val))
    shown_value = container.to_json(short=True) if isinstance(container, Aggregator) else container
    if isinstance(shown_value, dict):
        return {name: _number(value) for name, value in shown_value.items()}
    return list(map(_number, shown_value)) if isinstance(shown_value, list) else _number(shown_value)


def _number(value: Any) -> Any:
    """Return a number as JSON's encoder of Python takes it, which knows NaN and no integer of 5,000 digits."""
    return value if type(value) is float else printable(value)


def container_to_plain(container: Any) -> Any:
    """Return a container's full state as JSON-safe data."""
    # Not `isinstance`, which asks the object: in metadata it may be anything.
    kind = type(container)
    if issubclass(kind, Series):
        return {"dtype": "steps", **container.points.to_plain()}
    if issubclass(kind, Aggregator):
        return container.to_json(short=False)
    if kind is Undecoded:
        return dict(container)
    plain = to_plain(container)
    # A user's own dictionary must not be mistaken for the state of an aggregator.
    return {"dtype": "dict", "value": plain} if is_aggregator_state(plain) else plain


def container_from_plain(plain: Any) -> Any:
    """Return the container for JSON-safe data, of this version or of the original's files.

    The original wrote a stepped metric as ``{"0": value}``, a series as a list, a time as a number.
    """
    if isinstance(plain, list):
        series = TimeSeriesAggregator()
        for value in plain:
            series.append(restore(value))
        return series
    if not isinstance(plain, dict):
        return plain
    dtype = plain.get("dtype")
    if dtype == "steps":
        return Series(Points.from_plain(plain))
    if isinstance(dtype, str) and "avg" not in plain:
        return restore(plain) if dtype in _TAGS else _restored(plain)
    if all(is_number(value) or isinstance(restore(value), float) for value in plain.values()) and "avg" not in plain:
        series_by_step = Series()
        for step, value in plain.items():
            series_by_step.append(step_from_text(step), restore(value), 0.0)
        return series_by_step
    return restore(plain)


def step_from_text(text: str) -> Any:
    """Return the step that `text` is the JSON key of: canonical numbers become numbers again.

    Examples
    --------
    >>> step_from_text("10"), step_from_text("0.5"), step_from_text("010")
    (10, 0.5, '010')
    """
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if repr(number) == text:
            return number
    return text


def _restored(plain: dict[str, Any]) -> Any:
    aggregator = restore_aggregator(plain)
    if type(aggregator) is not TimeSeriesAggregator:
        return aggregator
    if aggregator.points.stored is not None:
        return aggregator
    aggregator.points.value.make_tuples()
    values = aggregator.points.values()
    if not any(isinstance(value, tuple) for value in values):
        return aggregator
    # Earlier versions kept a value that was logged with a step to a series as the pair (step, value).
    series = Series()
    for value, at in zip(values, aggregator.points.times(), strict=True):
        step, number = value if isinstance(value, tuple) else (None, value)
        series.append(step, number, at)
    return series


def _append(  # noqa: PLR0917 - called in two places
    containers: dict[str, Any], name: str, value: Any, step: Any, spec: list[Any] | None, at: float
) -> None:
    """Add a value to the container of a name, which is made at its first use, and becomes stepped at its first step."""
    container = containers.get(name)
    if container is None:
        container = containers[name] = Series() if step is not None else make_aggregator(spec or _EVERYTHING)
    elif step is not None and type(container) is TimeSeriesAggregator:
        container = containers[name] = Series(container.points.numbered())
    elif isinstance(container, Undecoded):
        tell_once(f"{name!r} has a container that this program does not know: what is logged to it is left out")
        return
    elif not isinstance(container, Aggregator) and type(container) is not Series:
        container = containers[name] = _going_on(name, container)
    if not isinstance(container, Aggregator):
        container.append(step, value, at)
        return
    if step is not None:
        tell_once(f"metric {name!r} has an aggregator ({container.kind}), so it has no steps: they are ignored")
    add_to(container, name, value if value.__class__ is not dict else restore(value), at)


def _going_on(name: str, value: Any) -> Aggregator:
    """Return the aggregator for a value given as it is, as the original's files have: a run time adds up."""
    container = make_aggregator(["sum" if name == "runtime" else "value"])
    if is_number(value):
        container.append(value)
    return container


def _view(container: Any) -> Any:
    view = getattr(container, "view", None)
    return view() if view is not None else copy.deepcopy(container)
