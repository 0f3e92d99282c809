"""Trials as tables for other programs: data frames of pandas, tables of Arrow, and a summary of each trial."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from track.aggregators.aggregator import TimeSeriesAggregator
from track.briefs import SYSTEM
from track.containers.arrays import import_numpy
from track.containers.series import Series
from track.errors import InvalidCall, NotFound, missing_extra, suggestion
from track.metrics import briefs_of
from track.persistence.query import resolve
from track.plain import flatten, nearest_double
from track.shown import shown, text_of
from track.structure import Trial

if TYPE_CHECKING:
    import pandas as pd


def to_pandas(trials: Trial | Iterable[Trial], *metrics: str, times: bool = False) -> pd.DataFrame:
    """Return metrics as a data frame: a column a metric, a row a step.

    Parameters
    ----------
    trials: Trial or several
        One trial gives an index of steps; several give an index of trial uid and step.
    *metrics: str
        Which metrics; by default all but those of the machine (``system/...``). Values without a step are numbered
        from 0.
    times: bool
        Whether each metric is followed by a column ``NAME.time``: when its value was logged (UTC), not a time where
        that is not known. A metric of that name counts.

    Raises
    ------
    InvalidCall
        It is a URI: `fetch` reads stores.
    NotFound
        None of the trials has such a metric, though they have others.
    MissingExtra
        The package pandas is not installed.

    Examples
    --------
    >>> from track import TrackClient
    >>> trial = TrackClient("ephemeral:").new_trial(parameters={})
    >>> trial.log_metrics(step=1, loss=0.5, acc=0.8)
    >>> to_pandas(trial.trial).to_dict("list")
    {'loss': [0.5], 'acc': [0.8]}
    """
    chosen = _chosen(trials, metrics, "to_pandas")
    if isinstance(trials, Trial):
        return _frame(trials, metrics, times)
    frames = [_frame(trial, metrics, times) for trial in chosen]
    pandas = import_pandas()
    # Not by uid: two stores may have a trial of the same.
    uids = [trial.uid for trial in chosen] or [""]
    frame: pd.DataFrame = pandas.concat(frames or [pandas.DataFrame()], keys=uids, names=["trial", "step"])
    return frame


def to_arrow(trials: Trial | Iterable[Trial], *metrics: str, times: bool = False) -> Any:
    """Return metrics as a table of Arrow: a row a point, which says its trial, metric, step and value.

    Polars, DuckDB, pandas and files of Parquet take it as it is. Steps and values are integers where all of them are,
    doubles where all are numbers (to which an integer of more than 53 bits is rounded), else texts.

    Parameters
    ----------
    trials: Trial or several
    *metrics: str
        Which metrics; all by default. Values without a step are numbered from 0.
    times: bool
        Whether a column says when each point was logged (UTC), null where that is not known.

    Raises
    ------
    InvalidCall
        It is a URI: `fetch` reads stores.
    NotFound
        None of the trials has such a metric, though they have others.
    MissingExtra
        The package pyarrow is not installed.
    """
    chosen = _chosen(trials, metrics, "to_arrow")
    arrow = _arrow()
    parts = [
        (trial.uid, name, *_arrays(trial.metrics[name]))
        for trial in chosen
        for name in metrics or trial.metrics
        if name in trial.metrics
    ]
    uids, names, steps, values, moments = zip(*parts, strict=True) if parts else ((),) * 5
    counts = [len(part) for part in steps]
    columns = {"trial": _repeated(uids, counts), "metric": _repeated(names, counts)}
    columns |= {"step": arrow.chunked_array(*_alike(steps)), "value": arrow.chunked_array(*_alike(values))}
    if times:
        kind = arrow.timestamp("us", "UTC")
        columns["time"] = arrow.chunked_array([arrow.array(_moments(part), kind) for part in moments], kind)
    return arrow.table(columns)


def summary(trials: Iterable[Trial], groups: dict[str, str]) -> pd.DataFrame:
    """Return a row a trial, by uid; `groups` are the names of groups by uid. See `Trials.summary`."""
    found = list(trials)
    frame: pd.DataFrame = import_pandas().DataFrame(
        [_summary(trial, groups) for trial in found], index=[trial.uid for trial in found]
    )
    frame.index.name = "trial"
    return frame


def import_pandas() -> Any:
    """Return pandas; MissingExtra where it is not installed."""
    try:
        import pandas
    except ImportError as error:
        raise missing_extra("data frames need pandas", "pandas") from error
    return pandas


def _arrow() -> Any:
    try:
        import pyarrow  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise missing_extra("tables of Arrow need pyarrow", "pyarrow") from error
    return pyarrow


def _chosen(trials: Trial | Iterable[Trial], metrics: tuple[str, ...], verb: str) -> list[Trial]:
    """Return trials as a list, one of which at least has each metric that is named, if any has metrics yet."""
    if isinstance(trials, str):
        raise InvalidCall(f"{trials!r} is no trial: write track.fetch({trials!r}).{verb}()")
    for name in metrics:
        if not isinstance(name, str):
            raise InvalidCall(f"{shown(name)} is no name of a metric: write {verb}('loss', 'acc')")
    chosen = [trials] if isinstance(trials, Trial) else list(trials)
    # Before the first numbers arrive there is nothing to compare with.
    known = {name for trial in chosen for name in trial.metrics} if metrics else set()
    for name in metrics if known else ():
        if name not in known:
            way_out = suggestion(name, known) or f"; there are: {', '.join(sorted(known))}"
            raise NotFound(f"no metric {name!r} was logged{way_out}")
    return chosen


def _arrays(container: Any) -> tuple[Any, Any, Any]:
    """Return steps, values and times of any container; one that keeps no times has the time 0."""
    if isinstance(container, (Series, TimeSeriesAggregator)):
        steps, values, at = container.to_numpy(times=True)
        return steps, values, at
    series = TimeSeriesAggregator()
    value = getattr(container, "val", container)
    for one in value if isinstance(value, list) else [value]:
        series.append(one)
    return _arrays(series)


def _moments(at: Any) -> Any:
    """Return unix seconds as dates of numpy, to the microsecond; 0 is not known."""
    numpy = import_numpy()
    moments = numpy.rint(at * 1e6).astype("datetime64[us]")
    moments[at == 0] = numpy.datetime64("NaT")
    return moments


# of pandas


def _is_of_the_machine(name: str, container: Any) -> bool:
    """Return whether it is what `TrialLogger.monitor` records, of which no row is a step of the training."""
    return name.startswith(SYSTEM) and not isinstance(container, Series)


def _frame(trial: Trial, metrics: tuple[str, ...], times: bool) -> pd.DataFrame:
    pandas = import_pandas()
    names = metrics or [name for name, one in trial.metrics.items() if not _is_of_the_machine(name, one)]
    measured = {name: _arrays(trial.metrics[name]) for name in names if name in trial.metrics}
    columns: dict[str, tuple[Any, Any]] = {}
    for name, (steps, values, at) in measured.items():
        columns[name] = steps, values
        if times and f"{name}.time" not in measured:
            columns[f"{name}.time"] = steps, pandas.DatetimeIndex(_moments(at), tz="UTC")
    frame: pd.DataFrame
    try:
        frame = pandas.DataFrame(_aligned(columns))
    except (TypeError, NotImplementedError):
        frame = pandas.DataFrame(_as_they_came(columns))
    frame.index.name = "step"
    return frame


def _aligned(columns: dict[str, tuple[Any, Any]]) -> dict[str, Any]:
    """Return the columns as series of pandas; those of the same steps share one index, which costs nothing to align."""
    pandas, numpy = import_pandas(), import_numpy()
    aligned: dict[str, Any] = {}
    last, index = None, None
    for name, (steps, values) in columns.items():
        if last is None or not (last is steps or numpy.array_equal(last, steps)):
            # Objects as a list, of which pandas makes an index of texts, or one of tuples.
            last, index = steps, pandas.Index(steps.tolist() if steps.dtype == object else steps)
        aligned[name] = pandas.Series(values, index=index)
    return aligned


def _as_they_came(columns: dict[str, tuple[Any, Any]]) -> dict[str, Any]:
    """Return the columns on one index of steps that have no order, as a number and a text, the first one first."""
    pandas = import_pandas()
    indices = {name: pandas.Index(steps.tolist(), tupleize_cols=False) for name, (steps, _) in columns.items()}
    index = pandas.Index(list(dict.fromkeys(step for one in indices.values() for step in one)), tupleize_cols=False)
    return {name: pandas.Series(values, indices[name]).reindex(index) for name, (_, values) in columns.items()}


def _summary(trial: Trial, groups: dict[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {"name": trial.name, "revision": trial.revision, "status": str(trial.status)}
    row["group"] = groups.get(trial.group_id, trial.group_id) if isinstance(trial.group_id, str) else None
    if "parent" in trial.metadata:
        row["parent"] = trial.metadata["parent"]
    started = trial.timestamps.get("started")
    row["started"] = None if started is None else datetime.fromtimestamp(started, timezone.utc)
    row["runtime"] = resolve(trial, ("chronos", "runtime"))
    for field in ("tags", "parameters"):
        values = getattr(trial, field)
        row |= {f"{field}.{name}": value for name, value in flatten(values).items()} if isinstance(values, dict) else {}
    briefs = briefs_of(trial.metrics)
    for name, brief in briefs.items():
        row[f"metrics.{name}"] = brief.last
        for which, value in (("min", brief.least), ("max", brief.greatest)):
            if value is not None and f"{name}.{which}" not in briefs:
                row[f"metrics.{name}.{which}"] = value
    return row


# of Arrow


def _repeated(names: Iterable[str], counts: list[int]) -> Any:
    """Return a column that says each name as often as it counts, and stores it once."""
    numpy = import_numpy()
    known = list(dict.fromkeys(map(text_of, names)))
    place = {name: number for number, name in enumerate(known)}
    positions = numpy.repeat(numpy.array([place[text_of(name)] for name in names], numpy.int32), counts)
    arrow = _arrow()
    return arrow.DictionaryArray.from_arrays(arrow.array(positions, arrow.int32()), arrow.array(known, arrow.string()))


def _alike(parts: tuple[Any, ...]) -> tuple[list[Any], Any]:
    """Return arrays of one type, of numbers where all are numbers, else of texts, and that type."""
    arrow, numpy = _arrow(), import_numpy()
    if not parts:
        return [], arrow.float64()
    kind = numpy.result_type(*parts)
    if kind.hasobject and all(type(value) in (bool, int, float) for part in parts for value in part.tolist()):
        kind = numpy.dtype(numpy.float64)
    if kind.hasobject:
        return [arrow.array(list(map(text_of, part.tolist())), arrow.string()) for part in parts], arrow.string()
    found = arrow.from_numpy_dtype(kind)
    # An integer may be too large for a double.
    parts = tuple(
        numpy.array(list(map(nearest_double, part.tolist()))) if part.dtype.hasobject else part for part in parts
    )
    return [arrow.array(part.astype(kind, copy=False), found) for part in parts], found
