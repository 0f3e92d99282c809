"""Trials of Accelerate: ``Accelerator(log_with=TrackTracker())``, or ``"track"`` once this module is imported."""

from __future__ import annotations

import sys
from typing import Any, cast

from accelerate import tracking

from track.client import TrackClient
from track.integrations._recording import Method, Recording, safely
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
        **fields: Any,
    ) -> None:
        super().__init__()
        self._recording = Recording(trial, client, key, fields)
        self._project = run_name

    @property
    def tracker(self) -> TrialLogger | None:
        """The trial; None before it has begun."""
        return self._recording.trial

    @_main_process
    def start(self) -> None:
        """Choose the project; the trial begins with its configuration."""
        client = self._recording.client()
        if self._project and client.project is None:
            client.set_project(name=self._project)

    @_main_process
    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Begin the trial with its parameters."""
        self._recording.begin(values)

    @_main_process
    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Record numbers."""
        self._recording.begin()
        self._recording.log(values, step=step)

    @_main_process
    def finish(self) -> None:
        """End the trial, where it is the tracker's own: well, or by the exception that is being handled."""
        self._recording.end(sys.exc_info()[1])


if hasattr(tracking, "register_tracker_class"):
    tracking.register_tracker_class(TrackTracker)
