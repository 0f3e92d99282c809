"""One trial's verbs: log numbers, time blocks, set the status, report."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from track.aggregators.aggregator import Aggregator, StatAggregator
from track.blocks import LoggerChronoContext
from track.capture import OutputCapture
from track.configuration import options
from track.ending import LogSignalHandler
from track.errors import BackendUnavailable, InvalidEvent
from track.persistence.protocol import Factory, Protocol
from track.persistence.utils import mask_secrets
from track.structure import Trial, get_current_trial, set_current_trial
from track.utils.delay import DelayedCall, is_delayed_call
from track.utils.eta import EstimatedTime
from track.utils.throttle import throttled

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LogSignalHandler", "LoggerChronoContext", "TrialLogger"]

logger = logging.getLogger(__name__)
_once = StatAggregator.lazy(1)


class TrialLogger:
    """Writes one trial; made by `TrackClient`.

    Every method may be called from any thread. A logging method does not raise because of a full disk or a
    server that is away: what could not be stored is counted, said once, and said again by `finish`.

    Parameters
    ----------
    trial: Trial or DelayedCall
        The trial; or the call that will create it once its parameters are known.
    protocol: Protocol
        Where it is stored.

    Examples
    --------
    >>> from track import TrackClient
    >>> trial = TrackClient("ephemeral:").new_trial(parameters={"lr": 0.1})
    >>> with trial:
    ...     trial.log_metrics(step=0, loss=0.5)
    >>> trial.trial.metrics["loss"]
    {0: 0.5}
    """

    def __init__(self, trial: Trial | DelayedCall, protocol: Protocol) -> None:
        self.protocol = protocol
        self.chronos: dict[str, Aggregator] = {}
        self.eta: EstimatedTime | None = None
        self.has_started = False
        self.has_finished = False
        self.was_interrupted = False
        self.code: str | None = None
        self._trial: Any = None
        self._pending: DelayedCall | None = None
        if is_delayed_call(trial):
            self._pending = trial  # type: ignore[assignment]
        else:
            self._trial = trial
        self._capture: OutputCapture | None = None
        self._eta_totals: Any = None
        self._print_eta: Callable[..., Any] | None = None
        self._signals: LogSignalHandler | None = None
        self._previous: Trial | None = None
        self._log_metrics = protocol.log_trial_metrics
        self._life = threading.RLock()
        self._pid = os.getpid()

    # the trial

    @property
    def trial(self) -> Trial:
        """The trial as it is stored now. Looking at a trial that waits for its parameters creates it without."""
        trial = self._created()
        self.protocol.refresh(trial)
        return trial

    @property
    def is_pending(self) -> bool:
        """Whether the trial waits for its parameters."""
        return self._pending is not None

    @property
    def stdout(self) -> Any:
        """The tee on standard output; None when it is not captured."""
        return None if self._capture is None else self._capture.stdout

    @property
    def stderr(self) -> Any:
        """The tee on standard error; None when it is not captured."""
        return None if self._capture is None else self._capture.stderr

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
        if self.has_started and not self.has_finished:
            return
        trial = self._created()
        self.protocol.log_trial_start(trial)
        self._pid = os.getpid()
        self.has_started, self.has_finished = True, False
        self._previous = get_current_trial()
        set_current_trial(trial)
        self._signals = LogSignalHandler(self)

    def finish(
        self, exc_type: Any = None, exc_val: Any = None, exc_tb: Any = None, *, timeout: float | None = None
    ) -> None:
        """Record the end: Completed, or what the exception means; a second call does nothing.

        Without a start and without an exception, what was logged is made permanent and the status stays.

        Parameters
        ----------
        exc_type, exc_val, exc_tb: optional
            The exception that ended the trial.
        timeout: float, optional
            Seconds to wait for a server, which may be away; by default a few at most while it is.
        """
        if self.has_finished:
            return
        self._end_capture()
        if self.has_started or exc_type is not None:
            self.protocol.log_trial_finish(self._created(), exc_type, exc_val, exc_tb)
            self.has_finished = True
            set_current_trial(self._previous)
        if self._signals is not None:
            self._signals.close()
            self._signals = None
        if timeout is None:
            self.protocol.flush()
        else:
            self.protocol.flush(timeout)
        self._tell_unsaved()

    def _tell_unsaved(self) -> None:
        unsaved = self.protocol.unsaved()
        if unsaved:
            place = mask_secrets(str(getattr(self.protocol, "uri", self.protocol)))
            remedy = getattr(self.protocol, "remedy", "")
            logger.warning("%d events are not stored in %s%s", unsaved, place, remedy and f": {remedy}")

    def __enter__(self) -> TrialLogger:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        # A forked child that leaves the block of its parent says nothing about the trial.
        if self._pid == os.getpid():
            self.finish(exc_type, exc_val, exc_tb)

    # logging

    def log_metrics(self, /, step: Any = None, aggregator: Factory | None = None, **kwargs: Any) -> None:
        """Record one number a name.

        Parameters
        ----------
        step: any hashable value, optional
            An epoch, a batch, a time. The same step again replaces the value.
        aggregator: callable, optional
            What becomes of values without a step, chosen at a name's first use:
            ``StatAggregator.lazy(1)``. By default all are kept.
        **kwargs
            Number by metric name; numpy and torch scalars are numbers.

        Raises
        ------
        InvalidEvent
            A value is no number.
        """
        if not self.has_started:
            self.start()
        self._log_metrics(self._trial, step, aggregator, **kwargs)

    def log_arguments(self, /, **kwargs: Any) -> None:
        """Give a pending trial its parameters, which creates it; no effect on a trial that exists."""
        if self._pending is not None:
            self._create(kwargs)

    def log_metadata(self, /, aggregator: Factory | None = None, **kwargs: Any) -> None:
        """Record facts about the trial that are not its parameters; a later value replaces an earlier one.

        Parameters
        ----------
        aggregator: callable, optional
            Append the values to such aggregators instead.
        **kwargs
            Any value by name.
        """
        if self._pending is not None and aggregator is None:
            known = self._pending.arguments.get("metadata") or {}
            self._pending.add_arguments(metadata={**known, **kwargs})
            return
        chosen = {} if aggregator is None else {"aggregator": aggregator}
        self.protocol.log_trial_metadata(self._created(), **chosen, **kwargs)

    def add_tags(self, /, **kwargs: Any) -> None:
        """Record tags; those that the project defines keep the project's value."""
        if self._pending is not None:
            known = self._pending.arguments.get("tags") or {}
            self._pending.add_arguments(tags={**known, **kwargs})
            return
        for name in sorted(self._project_tags().keys() & kwargs.keys()):
            logger.warning("tag %r belongs to the project: its value there is shown", name)
        self.protocol.add_trial_tags(self._created(), **kwargs)

    def _project_tags(self) -> dict[str, Any]:
        project = self._created().project_id
        try:
            found = self.protocol.fetch_projects({"uid": project}) if project is not None else []
        except BackendUnavailable:
            # Only a warning depends on it.
            return {}
        return found[0].tags if found else {}

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
        aggregator: Factory = _once,
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
        times = self.chronos.get(name)
        if times is None:
            times = self.chronos[name] = aggregator()
        return LoggerChronoContext(self.protocol, self._trial, times, name, aggregator, start_callback, end_callback)

    # output

    def capture_output(self, output_size: int = 50) -> TrialLogger:
        """Keep the last `output_size` writes to standard output and error; they join the metadata at the end."""
        if self._capture is None:
            self._capture = OutputCapture(output_size)
        return self

    def _end_capture(self) -> None:
        if self._capture is not None:
            kept = self._capture.close()
            self._capture = None
            if kept:
                self.log_metadata(None, **kept)

    def set_eta_total(self, t: Any) -> TrialLogger:
        """Say how many steps there are, a number for each level of loops, outermost first."""
        self._eta_totals = t
        if self.eta is not None:
            self.eta.set_totals(t)
        return self

    def show_eta(  # noqa: PLR0917 - the published signature
        self,
        step: Any,
        timer: Any,
        msg: str = "",
        throttle: int | None = None,
        every: float | None = None,
        no_print: bool = False,
    ) -> TrialLogger:
        """Print how far the training is and how long it will take.

        Parameters
        ----------
        step: int or tuple of int
            The current step, from 0; one number for each level of loops, outermost first.
        timer: StatStream or StatAggregator
            Times of one innermost step: what ``chrono`` gives.
        msg: str
            Printed after it.
        throttle: int, optional
            Print every `throttle` calls (option ``log.print.throttle``).
        every: float, optional
            Print at most once in this many seconds (option ``log.print.every``).
        no_print: bool
            Print nothing (option ``log.print.disable``).
        """
        if self._print_eta is None:
            self.eta = EstimatedTime(timer, self._eta_totals)
            throttle = options("log.print.throttle", None) if throttle is None else throttle
            every = options("log.print.every", None) if every is None else every
            self._print_eta = throttled(
                self.eta.show_eta,
                None if throttle is None else int(throttle),
                None if every is None else float(every),
            )
        if not (no_print or options("log.print.disable", False)):
            self._print_eta(step, msg)
        return self

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
        write_report(self.trial, short, style, self.protocol.unsaved())
        return self

    def to_pandas(self) -> pd.DataFrame:
        """Return the metrics, a row a step and a column a metric (the extra ``pandas``)."""
        from track.reading import to_pandas

        frame: pd.DataFrame = to_pandas(self.trial)
        return frame

    def save(self, file_name_override: str | None = None) -> None:
        """Make what was logged permanent, or write all of the store to another JSON file."""
        self.protocol.commit(file_name_override=file_name_override)
