"""Trials of Optuna: ``study.optimize(objective, callbacks=[TrackCallback()])``, or live, by `track_objective`."""

from __future__ import annotations

import bisect
import contextlib
import functools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import optuna
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import TrialState

from track.client import TrackClient
from track.errors import ItemNotFound
from track.integrations._recording import Recording, numbers, safely
from track.logger import TrialLogger
from track.structure import Project, TrialGroup
from track.versioning import compute_hash

__all__ = ["TrackCallback", "TrackJournal", "track_objective"]
_TRACKED = "track"
Objective = TypeVar("Objective", bound=Callable[..., Any])


class TrackCallback:
    """Records each trial of a study as a trial, once it has ended.

    With its parameters, the values it reported at their steps (``intermediate``), and its value (``value``, or
    ``value_0``, ... of several objectives); as completed, as pruned, or as failed. Of the one whose exception ends the
    study Optuna tells nobody. A trial that `track_objective` has recorded already is not recorded again.

    Parameters
    ----------
    client: TrackClient, optional
        In whose store, project and group trials are made; by default the store that is configured.
    metric_name: str or list of str
        What the values are called.
    **fields
        Of each trial: ``tags={...}``.

    Raises
    ------
    InvalidCall
        There is no such field.
    """

    def __init__(
        self, client: TrackClient | None = None, *, metric_name: str | list[str] = "value", **fields: Any
    ) -> None:
        self._recording = Recording(None, client, None, fields)
        self._metric_name = metric_name

    @safely
    def __call__(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        """Record a trial that has ended."""
        if _TRACKED in trial.user_attrs:
            return
        logger = self._recording.new_trial(trial.params)
        logger.start()
        _describe(logger, study, trial)
        for step, value in sorted(trial.intermediate_values.items()):
            logger.log_metrics(step=step, intermediate=value)
        if trial.values is not None:
            _log_values(logger, trial.values, self._metric_name)
        if trial.state is TrialState.PRUNED:
            logger.set_status("pruned")
        error = _Failed("the objective has failed") if trial.state is TrialState.FAIL else None
        logger._finish(None if error is None else type(error), error, None)


class _Failed(RuntimeError):
    """A trial of Optuna has failed, and no exception says how."""


def track_objective(
    client: TrackClient | None = None, *, metric_name: str | list[str] = "value", **fields: Any
) -> Callable[[Objective], Objective]:
    """Record each trial of a study while it runs: the objective runs in the block of its trial.

    So what the objective does with trackers, callbacks and hooks belongs to its trial, an exception is its end, with
    its text, ``TrialPruned`` ends it as pruned, and what is no value has failed, as in Optuna. Where the store fails, a
    warning says so, and the objective runs without it.

    Parameters
    ----------
    client: TrackClient, optional
        In whose store, project and group trials are made; by default the store that is configured.
    metric_name: str or list of str
        What the values are called.
    **fields
        Of each trial: ``tags={...}``.

    Returns
    -------
    callable
        Takes an objective and returns the one to optimize.

    Examples
    --------
    >>> from track import TrackClient
    >>> client = TrackClient("ephemeral:")
    >>> @track_objective(client)
    ... def objective(trial):
    ...     return trial.suggest_float("x", -1, 1) ** 2
    """
    live = _Live(client, metric_name, fields)

    def decorate(objective: Objective) -> Objective:
        @functools.wraps(objective)
        def tracked(trial: optuna.Trial, *arguments: Any, **named: Any) -> Any:
            logger = live.begin(trial)
            try:
                value = objective(trial, *arguments, **named)
            except BaseException as error:
                live.end(logger, trial, error)
                raise
            values = value if isinstance(value, (list, tuple)) else [value]
            live.log_values(logger, values)
            is_taken = len(values) == len(trial.study.directions) and all(map(_is_value, values))
            live.end(logger, trial, None if is_taken else _Failed(f"the objective returned {value!r}"))
            return value

        return tracked  # type: ignore[return-value]

    return decorate


class _Live:
    """What `track_objective` records around an objective, which runs whether or not it can be recorded."""

    def __init__(self, client: TrackClient | None, metric_name: str | list[str], fields: Any) -> None:
        self._recording = Recording(None, client, None, fields)
        self._metric_name = metric_name

    @safely
    def begin(self, trial: optuna.Trial) -> TrialLogger:
        """Enter the block of a trial, note it in that of Optuna, and record what this one reports."""
        logger = self._recording.new_trial({})
        trial.set_user_attr(_TRACKED, logger._created().uid)
        logger.__enter__()
        report, reported = trial.report, set()

        def report_and_log(value: float, step: int) -> None:
            report(value, step)
            # Optuna keeps the first number of a step.
            if step not in reported:
                reported.add(step)
                self._log_report(logger, value, step)

        trial.report = report_and_log  # type: ignore[method-assign]
        return logger

    @safely
    def _log_report(self, logger: TrialLogger, value: float, step: int) -> None:
        logger.log_metrics(step=step, intermediate=value)

    @safely
    def log_values(self, logger: TrialLogger | None, values: Sequence[Any]) -> None:
        """Record what the objective returned."""
        if logger is not None:
            _log_values(logger, values, self._metric_name)

    @safely
    def end(self, logger: TrialLogger | None, trial: optuna.Trial, error: BaseException | None) -> None:
        """Leave the block of a trial."""
        if logger is None:
            return
        try:
            logger.protocol.log_trial_arguments(logger._created(), **trial.params)
            _describe(logger, trial.study, trial)
        finally:
            if error is None:
                logger.__exit__(None, None, None)
            else:
                logger.__exit__(type(error), error, error.__traceback__)


def _is_value(value: Any) -> bool:
    """Return whether Optuna takes what an objective returned."""
    try:
        return not math.isnan(float(value))
    except (TypeError, ValueError):
        return False


def _describe(logger: TrialLogger, study: optuna.Study, trial: Any) -> None:
    logger.log_metadata(None, study=study.study_name, number=trial.number)


def _log_values(logger: TrialLogger, values: Sequence[Any], metric_name: str | list[str]) -> None:
    names = [metric_name] if isinstance(metric_name, str) else metric_name
    if len(values) > len(names):
        names = [f"{names[0]}_{number}" for number in range(len(values))]
    logger.log_metrics(numbers(dict(zip(names, values, strict=False))))


class TrackJournal(BaseJournalBackend):  # type: ignore[misc, unused-ignore]
    """Keeps studies in a store: ``optuna.storages.JournalStorage(TrackJournal())``.

    So workers on several machines share a study through the store in which their trials are, and set up nothing else.
    What Optuna writes is in the metadata of groups without trials, some dozens of its lines in each, which neither
    ``track ls`` nor the page list.

    Parameters
    ----------
    client: TrackClient, optional
        In whose store, and under which project; by default in the one that is configured, under one of its own.
    name: str
        Of the journal, which may hold many studies: all who give it share them.

    Examples
    --------
    >>> from track import TrackClient
    >>> storage = optuna.storages.JournalStorage(TrackJournal(TrackClient("ephemeral:")))
    >>> study = optuna.create_study(storage=storage, study_name="digits", load_if_exists=True)
    >>> study.study_name
    'digits'
    """

    LINES = 64
    """After how many lines a group is full: who wants the newest reads one group."""

    def __init__(self, client: TrackClient | None = None, *, name: str = "optuna") -> None:
        self._recording = Recording(None, client, None, {})
        self._name = name
        self._begins = [0]
        """The number of the first line of each group that is known; all but the last one are full, and stay as is."""

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Give the lines from a number on, in the order in which they were written."""
        index = bisect.bisect_right(self._begins, log_number_from) - 1
        while True:
            found = self._group(index)
            pieces = [] if found is None else _pieces(found)
            for begin, logs in pieces:
                yield from logs[max(log_number_from - begin, 0) :]
            if not self._is_full(index, self._end(index, pieces)):
                return
            index += 1

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write lines after all that are there, in one piece."""
        text, protocol = json.dumps(logs), self._recording.client().protocol
        while True:
            index = len(self._begins) - 1
            found = self._group(index)
            if found is None:
                project = self._recording.client().project or protocol.new_project(Project(name="optuna"))
                found = protocol.new_trial_group(self._new_group(index, project.uid))
            end = self._end(index, _pieces(found))
            if self._is_full(index, end):
                continue
            # Where another one was first there is this number already, and these come after its lines.
            query = {"uid": found.uid, f"metadata.{end}": {"$exists": False}}
            with contextlib.suppress(ItemNotFound):
                protocol.fetch_and_update_group(query, "set_group_metadata", **{str(end): text})
                return

    def _end(self, index: int, pieces: list[tuple[int, list[dict[str, Any]]]]) -> int:
        """Return the number of the line after those of a group."""
        return pieces[-1][0] + len(pieces[-1][1]) if pieces else self._begins[index]

    def _is_full(self, index: int, end: int) -> bool:
        """Return whether nothing is written into a group any more, and take note of where the next one begins."""
        if end - self._begins[index] < self.LINES:
            return False
        if index + 1 == len(self._begins):
            self._begins.append(end)
        return True

    def _group(self, index: int) -> TrialGroup | None:
        found = self._recording.client().protocol.fetch_groups({"uid": self._new_group(index).uid})
        return found[0] if found else None

    def _new_group(self, index: int, project: str | None = None) -> TrialGroup:
        name = f"{self._name} {index}"
        uid = compute_hash("optuna journal", name)
        return TrialGroup(_uid=uid, name=name, project_id=project)


def _pieces(group: TrialGroup) -> list[tuple[int, list[dict[str, Any]]]]:
    """Return what was written into a group, each with the number of its first line, in order."""
    return sorted((int(begin), json.loads(text)) for begin, text in group.metadata.items())
