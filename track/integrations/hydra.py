"""Trials of the jobs of Hydra: a callback of its configuration, for single runs and for sweeps.

::

    hydra:
      callbacks:
        track:
          _target_: track.integrations.hydra.TrackCallback
"""

from __future__ import annotations

from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from track.client import TrackClient
from track.integrations._recording import Recording, safely
from track.logger import TrialLogger

__all__ = ["TrackCallback"]


class TrackCallback(Callback):  # type: ignore[misc, unused-ignore]
    """Runs each job in the block of a trial of its own, with its configuration as parameters.

    In the job, what frameworks record belongs to that trial, and `track.integrations.current_trial` returns it. Where
    the store fails, that is one in memory, which nobody sees, and a warning says so.

    Parameters
    ----------
    uri: str, optional
        The store; by default the one that is configured. A relative path is one of the folder of the first job.
    project, group: str, optional
        Where the trials are made; they exist, or are made.
    **fields
        Of each trial: ``name``, which is the name of the job by default, ``tags``.

    Raises
    ------
    InvalidCall
        There is no such field.
    """

    def __init__(
        self, uri: str | None = None, project: str | None = None, group: str | None = None, **fields: Any
    ) -> None:
        client = None
        if uri is not None or project is not None or group is not None:
            client = TrackClient(uri or "none")
            if project is not None:
                client.set_project(name=project)
            if group is not None:
                client.set_group(name=group)
        self._options = client, fields
        self._recording = Recording(None, client, None, fields)

    @property
    def trial(self) -> TrialLogger | None:
        """The trial of the last job; None before there was one."""
        return self._recording.trial

    @safely
    def on_job_start(self, config: Any, **kwargs: Any) -> None:
        """Begin the trial of a job, and enter its block."""
        client, fields = self._options
        try:
            self._begin(config, client, fields)
        except Exception:
            self._begin(config, TrackClient("ephemeral:"), fields)
            raise

    def _begin(self, config: Any, client: TrackClient | None, fields: dict[str, Any]) -> None:
        job = config.get("hydra", {}).get("job", {})
        self._recording = Recording(None, client, None, {"name": job.get("name"), **fields})
        trial = self._recording.new_trial({name: _value(config, name) for name in config if name != "hydra"})
        self._recording.trial = trial
        trial.__enter__()
        overrides = job.get("override_dirname")
        if overrides:
            trial.log_metadata(None, overrides=str(overrides))

    @safely
    def on_job_end(self, config: Any, job_return: Any, **kwargs: Any) -> None:
        """Leave the block: by the exception that ended the job, if one did."""
        trial = self._recording.trial
        if trial is not None:
            left = job_return._return_value
            error = left if isinstance(left, BaseException) else None
            if error is None:
                trial.__exit__(None, None, None)
            else:
                trial.__exit__(type(error), error, error.__traceback__)


def _value(config: Any, name: str) -> Any:
    """Return a value of the configuration as plain containers; None where missing, as written where it has no value."""
    if OmegaConf.is_missing(config, name):
        return None
    try:
        value = config[name]
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException:
        # What a job does not use need not have a value, as a variable of the environment that is not set.
        return dict(OmegaConf.to_container(config, resolve=False))[name]  # type: ignore[arg-type, unused-ignore]
