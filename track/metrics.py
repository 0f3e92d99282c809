"""What a trial measured: names and their containers, decoded from the stored bytes when first asked."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import partial
from typing import Any

from track.aggregators.aggregator import (
    Aggregator,
    TimeSeriesAggregator,
    ValueAggregator,
    make_aggregator,
    restore_aggregator,
)
from track.containers.series import Points, Series
from track.plain import is_number, restore, to_plain

__all__ = [
    "Metrics",
    "container_from_plain",
    "container_to_plain",
    "metrics_from_plain",
    "metrics_to_plain",
    "step_from_text",
]


_loading = threading.RLock()


class Metrics(MutableMapping[str, Any]):
    """Containers by name, in the order the names were first logged.

    Behaves as a dictionary. The containers are a `Series` for values logged with a step, an
    `Aggregator` for the others.

    Parameters
    ----------
    load: callable, optional
        Returns the stored state, containers or JSON-safe data by name; called at the first look.
    """

    __slots__ = ("_containers", "_load")

    def __init__(self, load: Callable[[], dict[str, Any]] | None = None) -> None:
        self._load = load
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
            if container is None:
                container = containers[name] = _new_container(step, spec)
                if type(container) is Series:
                    container.append(step, value, at)
                    continue
            _append(containers, name, value if step is None else (step, restore(value)), at)

    def log_time(self, name: str, seconds: float, spec: list[Any] | None, at: float) -> None:
        """Add `seconds` to the named container; `spec` says which aggregator a new one is."""
        containers = self._loaded()
        if name not in containers:
            containers[name] = make_aggregator(spec or ["stat", 1])
        _append(containers, name, seconds, at)

    def view(self) -> Metrics:
        """Return the state so far: what is logged later does not show."""
        if self._load is not None:
            return Metrics(partial(self._load_view, self._load))
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

    def _loaded(self) -> dict[str, Any]:
        if self._load is not None:
            with _loading:
                # Again: another thread may have been first, and may have logged since.
                if self._load is not None:
                    self._containers = metrics_from_plain(self._load())._containers
                    self._load = None
        return self._containers

    def __getitem__(self, name: str) -> Any:
        return self._loaded()[name]

    def __setitem__(self, name: str, container: Any) -> None:
        self._loaded()[name] = container

    def __delitem__(self, name: str) -> None:
        del self._loaded()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded())

    def __len__(self) -> int:
        return len(self._loaded())

    def __repr__(self) -> str:
        return repr(self._loaded())


def metrics_to_plain(containers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the full state of containers by name as JSON-safe data."""
    return {name: container_to_plain(container) for name, container in containers.items()}


def metrics_from_plain(plain: dict[str, Any]) -> Metrics:
    """Return the containers that `metrics_to_plain` described."""
    metrics = Metrics()
    metrics._containers = {name: container_from_plain(value) for name, value in plain.items()}
    return metrics


def container_to_plain(container: Any) -> Any:
    """Return a container's full state as JSON-safe data."""
    if isinstance(container, Series):
        return {"dtype": "steps", **container.points.to_plain()}
    if isinstance(container, Aggregator):
        return container.to_json(short=False)
    return to_plain(container)


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
        return restore(plain) if dtype in ("float", "int") else _restored(plain)
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


def _restored(plain: dict[str, Any]) -> Aggregator:
    aggregator = restore_aggregator(plain)
    if isinstance(aggregator, TimeSeriesAggregator):
        # A value logged with a step to a series is the pair (step, value).
        aggregator.points.value.make_tuples()
    return aggregator


def _new_container(step: Any, spec: list[Any] | None) -> Any:
    if step is not None:
        return Series()
    return TimeSeriesAggregator() if spec is None else make_aggregator(spec)


def _append(containers: dict[str, Any], name: str, value: Any, at: float) -> None:
    container = containers[name]
    if value.__class__ is dict:
        value = restore(value)
    if not isinstance(container, Aggregator):
        # A number given as it is, as the original's files have: the run time of a trial that is resumed.
        start = container if is_number(container) else None
        kind = "sum" if name == "runtime" else "value"
        container = containers[name] = make_aggregator([kind])
        if start is not None and isinstance(container, ValueAggregator):
            container.append(start)
    container.append_at(value, at)


def _view(container: Any) -> Any:
    view = getattr(container, "view", None)
    return view() if view is not None else copy.deepcopy(container)
