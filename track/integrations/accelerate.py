"""Trials of Accelerate: ``Accelerator(log_with=TrackTracker())``, or ``"track"`` once this module is imported."""

from __future__ import annotations

import math
from typing import Any, cast

from accelerate import tracking

from track.client import TrackClient
from track.integrations._recording import LoopLeft, Method, Recording, checked_checkpoints, numbers, safely
from track.logger import TrialLogger

__all__ = ["TrackTracker"]


def _main_process(method: Method) -> Method:
    """Let a method do nothing on other processes, and never raise."""
    return cast("Method", tracking.on_main_process(safely(method)))


class TrackTracker(tracking.GeneralTracker):  # type: ignore[misc, unused-ignore]
    """Records what ``accelerator.log`` is given, with the configuration of ``init_trackers`` as parameters.

    Only the main process records. ``accelerator.end_training()`` ends the trial.

    Parameters
    ----------
    run_name: str, optional
        The project, which ``init_trackers`` names first.
    trial: TrialLogger, optional
        Where to; by default the trial whose block the program is in, else one of its own.
    client: TrackClient, optional
        In whose store, project and group its own trial is made; by default the store that is configured.
    key: str, optional
        Of its own trial, as for `TrackClient.open_trial`.
    checkpoints: {"best", "last"}, optional
        Which of the states that `attach_checkpoints` sees is kept with the trial at its end: as ``checkpoint-best`` or
        as ``checkpoint-last``, which is the default. Accelerate must not have removed it (``total_limit``).
    monitor: str, optional
        By which number, as it was logged last before it was saved, a state is the best: the least of it. By default
        ``loss``.
    **fields
        Of its own trial: ``name="baseline"``, ``tags={...}``.

    Raises
    ------
    InvalidCall
        There is no such field, or what is given is no trial, no client.
    """

    name = "track"
    requires_logging_directory = False
    main_process_only = True

    def __init__(
        self,
        run_name: str | None = None,
        *,
        trial: TrialLogger | None = None,
        client: TrackClient | None = None,
        key: str | None = None,
        checkpoints: str | None = None,
        monitor: str = "loss",
        **fields: Any,
    ) -> None:
        super().__init__()
        self._recording = Recording(trial, client, key, fields)
        self._project = run_name
        self._checkpoints, self._monitor = checked_checkpoints(checkpoints) or "last", monitor
        self._value, self._best, self._kept = math.nan, math.inf, ""

    @property
    def tracker(self) -> TrialLogger | None:
        """The trial; None before it has begun."""
        return self._recording.trial

    def attach_checkpoints(self, accelerator: Any) -> None:
        """Keep what ``accelerator.save_state`` writes: ``accelerator.get_tracker("track").attach_checkpoints(...)``."""
        accelerator.register_save_state_pre_hook(self._saving)

    @_main_process
    def _saving(self, models: Any, weights: Any, output_dir: str) -> None:
        if self._checkpoints == "last" or not self._kept or self._value < self._best:
            self._kept, self._best = str(output_dir), self._value if self._value < self._best else self._best

    @_main_process
    def start(self) -> None:
        """Choose the project; the trial begins with its configuration."""
        client = self._recording.client()
        if self._project and client.project is None:
            client.set_project(name=self._project)

    @_main_process
    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Begin the trial with its parameters."""
        self._recording.end_left()
        self._recording.begin(values, end=_not_ended)

    @_main_process
    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Record numbers."""
        self._recording.begin(end=_not_ended)
        self._recording.log(values, step=step)
        self._value = numbers({self._monitor: values.get(self._monitor)}).get(self._monitor, self._value)

    @_main_process
    def finish(self) -> None:
        """End the trial, where it is the tracker's own: well, or by the exception that is being handled."""
        if self._kept:
            self._recording.keep(self._kept, self._checkpoints)
        self._recording.end(self._recording.left_by())


def _not_ended() -> LoopLeft:
    return LoopLeft("accelerator.end_training() was not called, as where an exception leaves the training")


if hasattr(tracking, "register_tracker_class"):
    tracking.register_tracker_class(TrackTracker)
