"""One trial's verbs: log numbers, time blocks, set the status, report."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from track.aggregators.aggregator import TIMES_AGGREGATOR, Aggregator, TimeSeriesAggregator
from track.configuration import several
from track.errors import BackendUnavailable, InvalidEvent, Pruned, refuse_unnamed
from track.front import (
    AlertVerbs,
    FileVerbs,
    LateNumbers,
    LoggerChronoContext,
    LogSignalHandler,
    MediaVerbs,
    OutputVerbs,
    SystemVerbs,
    as_dict,
    as_interruption,
    attach,
    checked_parts,
    differing_arguments,
    enter_block,
    leave_block,
    named_metadata,
    named_metrics,
    pickled_uri,
    record_environment,
    resume_rule,
)
from track.persistence.contract import plain_tags
from track.persistence.protocol import Factory, NumbersTaker, Protocol
from track.persistence.utils import mask_secrets
from track.plain import named_tags, restore
from track.shown import cut, label_of, short_uid, text_of
from track.structure import Trial, get_current_trial, set_current_trial
from track.table import html_of, trial_html
from track.utils.delay import DelayedCall, is_delayed_call
from track.verbs import HERE, Elsewhere

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LogSignalHandler", "LoggerChronoContext", "TrialLogger"]

logger = logging.getLogger(__name__)
_attaching = threading.RLock()
_UNGIVEN: Any = object()
_OPTIONS = (("process.hooks", True), ("log.environment", "all"), ("monitor", ""))
"""What each trial asks for when it starts, with the defaults."""


class TrialLogger(OutputVerbs, FileVerbs, MediaVerbs, SystemVerbs, AlertVerbs):
    """Writes one trial; made by `TrackClient`.

    Every method may be called from any thread. A logging method does not raise because of a full disk or a
    server that is away: what could not be stored is counted, said once, and said again by `finish`.

    Parameters
    ----------
    trial: Trial or DelayedCall
        The trial; or the call that will create it once its parameters are known.
    protocol: Protocol
        Where it is stored.
    environment: bool, str or list of str, optional
        What is recorded of where it runs; the option ``log.environment`` by default.

    Examples
    --------
    >>> from track import TrackClient
    >>> trial = TrackClient("ephemeral:").new_trial(parameters={"lr": 0.1})
    >>> with trial:
    ...     trial.log_metrics(step=0, loss=0.5)
    >>> trial.trial.metrics["loss"]
    {0: 0.5}
    """

    def __init__(self, trial: Trial | DelayedCall, protocol: Protocol, *, environment: Any = None) -> None:
        super().__init__()
        self._parts = checked_parts(environment)
        self.protocol = protocol
        self.chronos: dict[str, Aggregator] = {}
        self.has_started = False
        self.has_finished = False
        self.was_interrupted = False
        self._signal: str | None = None
        self._handled_before: BaseException | None = None
        self.code: str | None = None
        self._trial: Any = None
        self._pending: DelayedCall | None = None
        if is_delayed_call(trial):
            self._pending = trial  # type: ignore[assignment]
        else:
            self._trial = trial
        self._signals: LogSignalHandler | None = None
        # Of a trial that has started.
        self._log_numbers: NumbersTaker
        self._previous: Trial | None = None
        self._life = threading.RLock()
        self._late: LateNumbers | None = None
        self._pid = os.getpid()
        self._is_guest = False
        self._last_words: list[Callable[[], Any]] = []

    # in other places

    def __copy__(self) -> TrialLogger:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> TrialLogger:
        return self

    def __reduce__(self) -> Any:
        uid = self._created().uid
        return _UnpickledLogger, (pickled_uri(self.protocol), uid, self._held_attempt())

    # the trial

    @property
    def trial(self) -> Trial:
        """The trial as it is stored now. Looking at a trial that waits for its parameters creates it without."""
        trial = self._created()
        self.protocol.refresh(trial)
        return trial

    def _glimpse(self) -> tuple[Trial, str]:
        """Return what a report shows of the trial, and what of it was not read: a long run is not read again for it."""
        shown, unread = self.protocol.glimpse(self._created())
        if unread:
            shown.chronos = {**shown.chronos, **self.chronos}
        return shown, unread

    @property
    def environment(self) -> dict[str, Any]:
        """Where the trial runs: argv, python, host, user, folder, git, packages, gpus; see `track.environment`."""
        from track.reading import environment_in

        return environment_in(self.protocol, self.trial)

    @property
    def is_pending(self) -> bool:
        """Whether the trial waits for its parameters."""
        return self._pending is not None

    @property
    def label(self) -> str:
        """The trial's name, or the beginning of its uid where it has none; nothing is created or read for it."""
        if self._pending is None:
            return label_of(self._trial)
        return cut(text_of(self._pending.arguments.get("name") or "a trial"), 100)

    def __repr__(self) -> str:
        if self._pending is not None:
            return f"<{type(self).__name__} of {self.label!r}, which waits for its parameters>"
        life = "finished" if self.has_finished else "running" if self.has_started else "not started"
        return f"<{type(self).__name__} of {self.label!r} ({short_uid(self._trial)}), {life}>"

    def _repr_html_(self) -> str:  # to look at a trial that waits for its parameters does not create it
        if self._pending is not None:
            return html_of(lambda: trial_html(Trial(name=self.label)), self)
        return html_of(lambda: trial_html(*self._glimpse()), self)

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name not in HERE]

    def _created(self) -> Trial:
        if self._pending is not None:
            logger.warning("a trial without parameters is created: call log_arguments first to give it some")
            self._create({})
        trial: Trial = self._trial
        return trial

    def _create(self, parameters: dict[str, Any]) -> None:
        pending, self._pending = self._pending, None
        assert pending is not None
        try:
            self._trial = pending(parameters=parameters)
        except BaseException:
            self._pending = pending
            raise

    # life

    def start(self) -> None:
        """Set the status to Running and begin to count the run time; a second call does nothing."""
        with self._life:
            self._start()

    def _start(self) -> None:
        if self.has_started and not self.has_finished and not self._is_guest:
            return
        self.protocol.log_trial_start(self._created())
        self._begin()

    def _begin(self) -> None:
        """Take note that this process has started the trial."""
        self._is_guest = False
        self._pid = os.getpid()
        self.has_started, self.has_finished = True, False
        # What is being handled already has nothing to do with this trial.
        self._signal, self._handled_before = None, sys.exc_info()[1]
        self._log_numbers = self.protocol.numbers_taker(self._trial)
        self._previous = get_current_trial()
        set_current_trial(self._trial)
        has_hooks, environment, monitor = several(*_OPTIONS)
        if has_hooks:
            self._signals = LogSignalHandler(self)
        # Last: git may take a second, in which the process may be told to stop.
        record_environment(self.protocol, self._trial, self._parts, environment)
        self._begin_monitor(monitor)

    def finish(
        self, exc_type: Any = None, exc_val: Any = None, exc_tb: Any = None, *, timeout: float | None = None
    ) -> None:
        """Record the end: Completed, or what the exception means; a second call does nothing.

        Without a start and without an exception, what was logged is made permanent and the status stays. A status that
        the program itself has set, as in ``set_status("pruned")``, stays too. What is recorded never makes it raise.

        Parameters
        ----------
        exc_type, exc_val, exc_tb: optional
            The exception that ended the trial; by default the one that is being handled, as in ``finally`` and
            ``except``: who has dealt with it sets a status.
        timeout: float, optional
            Seconds to wait for a server, which may be away; by default a few at most while it is.
        """
        if exc_type is None:
            handled = sys.exc_info()[1]
            if handled is not None and handled is not self._handled_before:
                exc_type, exc_val, exc_tb = type(handled), handled, handled.__traceback__
        self._finish(exc_type, exc_val, exc_tb, timeout)

    def note_output(self, name: str, value: Any, aggregator: Any) -> bool:
        """Record what was printed, and return whether the trial is there for it: it may wait for its parameters."""
        if self._trial is None:
            return False
        given = {} if aggregator is None else {"aggregator": aggregator}
        self.protocol.log_trial_metadata(self._trial, **given, **{name: value})
        return True

    def note_signal(self, name: str) -> None:
        """Note that the process was told to stop: SIGTERM, SIGINT, ...; what becomes of it is seen at the end."""
        if self.has_started and not self.has_finished:
            self._signal, self.was_interrupted = name, True
            self.protocol.log_trial_signal(self._trial, name)

    def _finish(self, exc_type: Any, exc_val: Any, exc_tb: Any, timeout: float | None = None) -> None:
        if self.has_finished:
            return
        self._say_last_words(exc_val)
        self._end_capture()
        self._end_media()
        self._end_monitor()
        if self._is_pruned_by(exc_val) or _is_pruned_elsewhere(exc_val):
            self.set_status("pruned")
            exc_type = exc_val = exc_tb = None
        if (self.has_started or exc_type is not None) and not self._is_guest:
            interruption = as_interruption(self._signal, exc_val)
            if interruption is not None:
                exc_type, exc_val = type(interruption), interruption
            elif self._signal is not None:
                self.protocol.log_trial_signal(self._created(), None, f"{self._signal}: the program went on")
            self.protocol.log_trial_finish(self._created(), exc_type, exc_val, exc_tb)
            self.has_finished = True
            self._log_numbers = self._late = LateNumbers(self.protocol, self._trial)
            set_current_trial(self._previous)
        if self._signals is not None:
            self._signals.close()
            self._signals = None
        self.protocol.flush(*(() if timeout is None else (timeout,)))
        self._tell_unsaved()
        self._tell_not_stored()
        self._tell_lost()

    def _say_last_words(self, error: BaseException | None) -> None:
        """Let what is known only now be recorded, where the trial ends well."""
        words, self._last_words = self._last_words, []
        for say in words if error is None else ():
            try:
                say()
            except Exception as failure:
                logger.warning("not all of trial %r is recorded: %s", self.label, failure, exc_info=True)

    def _held_attempt(self) -> int | None:
        """Return the attempt for which this process has reserved the trial; None for none."""
        # Another thread may have reserved it since.
        return self._trial.reserved or self.protocol.reserved_attempt(self._trial.uid)

    def _tell_lost(self) -> None:
        """Say that another worker has the trial now, so that what was said since is not stored."""
        attempt = self._held_attempt() if self.has_finished else None
        if attempt is None:
            return
        try:
            stored = self.protocol.first_trial({"uid": self._trial.uid})
        except BackendUnavailable:
            return
        if stored is not None and stored.attempt > attempt:
            text = "trial %r was taken by another worker (attempt %d, this was %d): what was logged since is not stored"
            logger.warning(text, self.label, stored.attempt, attempt)

    def _tell_unsaved(self) -> None:
        unsaved = self.protocol.unsaved()
        if unsaved:
            place, remedy = mask_secrets(self.protocol.uri or repr(self.protocol)), self.protocol.remedy
            logger.warning("%d events are not stored in %s%s", unsaved, place, remedy and f": {remedy}")

    def __enter__(self) -> TrialLogger:
        self.start()
        enter_block(self)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> bool | None:
        leave_block(self)
        # A forked child that leaves the block of its parent says nothing about the trial.
        if self._pid != os.getpid():
            return None
        try:
            self._finish(exc_type, exc_val, exc_tb)
        except Exception:
            # The program's own exception must not be lost behind one of ours.
            if exc_type is None:
                raise
            logger.exception("the end of trial %r is not recorded", self.label)
        return self._is_pruned_by(exc_val) or None

    def _is_pruned_by(self, error: BaseException | None) -> bool:
        return isinstance(error, Pruned) and error.ends(self._created().uid)

    # logging

    def log_metrics(
        self, metrics: Any = _UNGIVEN, /, step: Any = None, aggregator: Factory | None = None, **kwargs: Any
    ) -> None:
        """Record one number a name.

        Parameters
        ----------
        metrics: mapping, optional
            Number by metric name, as in ``log_metrics({"val/loss": 0.5}, step=3)``.
        step: any hashable value, optional
            An epoch, a batch, a time; the same again replaces the value. Without it a value takes the next step of a
            metric that has steps; at the first one, earlier values get 0, 1, 2, ... An aggregated metric has none.
        aggregator: callable, optional
            What becomes of a new name's values without a step: ``StatAggregator.lazy(1)``. By default all are kept.
        **kwargs
            Number by metric name; numpy and torch scalars are numbers.

        Raises
        ------
        InvalidEvent
            A value is no number.
        """
        if not self.has_started:
            self.start()
        if metrics is not _UNGIVEN:
            step, aggregator, kwargs = named_metrics(metrics, step, aggregator, kwargs)
        self._log_numbers(step, aggregator, kwargs)

    def log_series(self, name: str, values: Any, steps: Any = None, times: Any = None) -> None:
        """Record many numbers under one name in one call: as `log_metrics` does one by one, and much faster.

        Parameters
        ----------
        name: str
            Of the metric.
        values: list, array, tensor or series, with one dimension
            Numbers; each is kept exactly, an integer as an integer.
        steps: list, range or array, optional
            The step of each value; without, those that follow, as in `log_metrics`.
        times: list or array of float, optional
            When each was measured, unix seconds; by default now.

        Raises
        ------
        InvalidEvent
            Something is no list of numbers, or not as long as the others. Nothing is recorded then.

        Examples
        --------
        >>> from track import TrackClient
        >>> with TrackClient("ephemeral:").new_trial() as trial:
        ...     trial.log_series("loss", [0.9, 0.5, 0.4], steps=range(0, 30, 10))
        >>> trial.trial.metrics["loss"]
        {0: 0.9, 10: 0.5, 20: 0.4}
        """
        if not self.has_started:
            self.start()
        elif self._late is not None and self.has_finished:
            self._late.tell()
        self.protocol.log_trial_series(self._trial, name, values, steps, times)

    def log_arguments(self, args: Any = None, /, **kwargs: Any) -> argparse.Namespace:
        """Give a pending trial its parameters, and return them; a trial that exists keeps those it has, with a warning.

        Parameters
        ----------
        args: mapping, Namespace, object with fields (a dataclass, attrs, pydantic, OmegaConf), ArgumentParser, optional
            A parser parses the command line.
        **kwargs
            More parameters; `args` wins where both name one.

        Raises
        ------
        InvalidCall
            `args` is something else.
        """
        given = argparse.Namespace()  # not made of keywords: a parameter may be called anything
        vars(given).update({**kwargs, **as_dict(args)})
        if self._pending is not None:
            self._create({**vars(given)})
        elif differing := differing_arguments(self._trial.parameters, vars(given)):
            logger.warning(
                "the trial exists and keeps its parameters; not stored: %s (log_metadata(epochs=3) keeps what is known "
                "later, new_trial(force=True) begins another trial)",
                ", ".join(differing),
            )
        return given

    def log_metadata(self, /, aggregator: Factory | None = None, **kwargs: Any) -> None:
        """Record facts about the trial that are not its parameters; a later value replaces an earlier one.

        Parameters
        ----------
        aggregator: callable, optional
            Append the values to such aggregators instead.
        **kwargs
            Any value by name.
        """
        if aggregator is not None and not callable(aggregator):
            refuse_unnamed(aggregator, "log_metadata", "gpu='V100'")
        if aggregator is not None:
            self.protocol.log_trial_metadata(self._created(), aggregator=aggregator, **kwargs)
        elif self._pending is not None:
            self._pending.add_arguments(metadata={**named_metadata(self._pending.arguments), **kwargs})
        else:
            self.protocol.log_trial_metadata(self._trial, **kwargs)

    def add_tags(self, /, *unnamed: Any, **kwargs: Any) -> None:
        """Record tags; those that the project defines keep the project's value.

        Raises
        ------
        InvalidCall
            A value has no name.
        """
        if unnamed:
            refuse_unnamed(unnamed[0], "add_tags", "paper='v2'")
        if self._pending is not None:
            known = named_tags(restore(plain_tags(self._pending.arguments.get("tags"))))
            self._pending.add_arguments(tags={**known, **kwargs})
            return
        for name in sorted(self._project_tags().keys() & kwargs.keys()):
            logger.warning("tag %r belongs to the project: its value there is shown", name)
        self.protocol.add_trial_tags(self._created(), **kwargs)

    def _project_tags(self) -> dict[str, Any]:
        try:
            return self.protocol.project_tags(self._created())
        except BackendUnavailable:
            # Only a warning depends on it.
            return {}

    def resume_from(self, step: float) -> None:
        """Go on from a step: what was logged at it and at later ones before now is no longer shown.

        Metrics without steps stay, and nothing is removed from the store. So does, where other processes run the trial
        too, what was logged since the first of them began.

        Parameters
        ----------
        step: int or float
            The first that is computed again, as after the last checkpoint.

        Raises
        ------
        InvalidCall
            It is no number.
        """
        rule = resume_rule(self.trial, step, self.protocol.clock())
        self.protocol.log_trial_metadata(self._created(), aggregator=TimeSeriesAggregator.lazy(), _resumes=rule)

    def heartbeat(self) -> None:
        """Say that the trial runs: for a silence longer than ``log.heartbeat_timeout``, as a long evaluation."""
        self.protocol.log_trial_metadata(self._created())

    def set_status(self, status: Any, error: Any = None) -> None:
        """Replace the status.

        Parameters
        ----------
        status: Status, CustomStatus or str
        error: any, optional
            Added to the trial's errors, as text.

        Raises
        ------
        InvalidEvent
            It is no status.
        """
        self.protocol.set_trial_status(self._created(), status, error)

    def chrono(
        self,
        name: str,
        aggregator: Factory = TIMES_AGGREGATOR,
        start_callback: Callable[[], Any] | None = None,
        end_callback: Callable[[], Any] | None = None,
    ) -> LoggerChronoContext:
        """Return a context manager that times its block; a block that raises is not counted.

        Parameters
        ----------
        name: str
            Times of the same name are aggregated.
        aggregator: callable
            What is kept: mean, deviation, minimum and maximum, after the first block, by default.
        start_callback, end_callback: callable, optional
            Called once each, before the clock starts and before it stops: to wait for a device.

        Raises
        ------
        InvalidEvent
            The name is "runtime".
        """
        if name == "runtime":
            raise InvalidEvent("'runtime' is the trial's own time: give the block another name")
        if not self.has_started:
            self.start()
        elif self._late is not None and self.has_finished:
            self._late.tell()
        times = self.chronos.get(name)
        if times is None:
            times = self.chronos[name] = aggregator()
        return LoggerChronoContext(self.protocol, self._trial, times, name, aggregator, start_callback, end_callback)

    def report(self, short: bool = True, style: str = "json") -> TrialLogger:
        """Finish, and print what is stored of the trial.

        Parameters
        ----------
        short: bool
            What a person reads; False prints everything.
        style: str
            ``"json"``, or ``"table"`` for a readable table on a terminal (the extra ``rich``).
        """
        from track.report import write_report

        self.finish()
        shown, unread = self._glimpse() if short else (self.trial, "")
        write_report(shown, short, style, self.protocol.unsaved(), unread)
        return self

    def to_pandas(self, *metrics: str, times: bool = False) -> pd.DataFrame:
        """Return the metrics, or those named, a row a step and a column a metric (the extra ``pandas``)."""
        from track.reading import to_pandas

        frame: pd.DataFrame = to_pandas(self.trial, *metrics, times=times)
        return frame

    def to_arrow(self, *metrics: str, times: bool = False) -> Any:
        """Return the metrics, or those named, as a table of Arrow, a row a point (the extra ``pyarrow``)."""
        from track.reading import to_arrow

        return to_arrow(self.trial, *metrics, times=times)

    def save(self, file_name_override: str | None = None) -> None:
        """Make what was logged permanent, or write all of the store to another JSON file."""
        self.protocol.commit(file_name_override=file_name_override)


for _name in HERE:
    if not hasattr(TrialLogger, _name):
        setattr(TrialLogger, _name, Elsewhere(_name))


class _UnpickledLogger(TrialLogger):
    """A logger in another process, until its first use, which makes it a `TrialLogger`."""

    def __init__(self, uri: str, uid: str, attempt: int | None = None) -> None:
        self._address = (uri, uid)
        self._attempt = attempt

    def __reduce__(self) -> Any:
        return _UnpickledLogger, (*self._address, self._attempt)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if not name.startswith("__"):
                with _attaching:
                    self._connect()
            return object.__getattribute__(self, name)

    def _connect(self) -> None:
        if type(self) is not _UnpickledLogger:
            return
        connected = TrialLogger(*attach(*self._address))
        if self._attempt is not None:
            # What the worker says once it has lost its trial is dropped, and this with it.
            connected.protocol.share_attempt(self._address[1], self._attempt)
        # It logs to a trial that another process has started, and says nothing about its end.
        connected.has_started = connected._is_guest = True
        connected._log_numbers = connected.protocol.numbers_taker(connected._trial)
        vars(self).update(vars(connected))
        self.__class__ = TrialLogger  # type: ignore[assignment]


def _is_pruned_elsewhere(error: BaseException | None) -> bool:
    """Return whether an error is Optuna's `TrialPruned`, which its pruning callbacks for frameworks raise, too."""
    kinds = () if error is None else type(error).__mro__
    return any(kind.__name__ == "TrialPruned" and kind.__module__.partition(".")[0] == "optuna" for kind in kinds)
