"""One trial for all ranks of a training of ``torch.distributed``: ``with shared_trial() as trial:`` on every one."""

from __future__ import annotations

import os
import uuid
from typing import Any

from torch import distributed

from track.client import TrackClient
from track.errors import TrackError
from track.logger import TrialLogger

__all__ = ["shared_trial"]


def shared_trial(client: TrackClient | None = None, key: str | None = None, **fields: Any) -> TrialLogger:
    """Return the trial of a training, the same one on every rank, after ``init_process_group``.

    Every rank calls it, and enters its block: the trial runs while one of them does, and has the worst of their ends.
    Without a process group it is the trial of this process alone.

    Parameters
    ----------
    client: TrackClient, optional
        In whose store, project and group it is made; by default the store that is configured. The first rank's counts.
    key: str, optional
        Of the trial, as for `TrackClient.open_trial`: a job that begins again with the same one goes on. By default the
        id that was given to ``torchrun`` (``--rdzv-id``), which its own restarts keep, else the trial is another one
        each time.
    **fields
        Of the trial that is made: ``parameters={"lr": 0.1}``, ``name="baseline"``.

    Raises
    ------
    InvalidCall
        There is no such field, or the trial goes on and has other parameters.
    TrackError
        The first rank could not open it, which is told on the others.
    """
    client = client or TrackClient()
    if not (distributed.is_available() and distributed.is_initialized()):
        return client.open_trial(key or _key_of_job(), **fields)
    if distributed.get_rank() == 0:
        key = key or _key_of_job()
        try:
            trial = client.open_trial(key, **fields)
        except Exception as error:
            distributed.broadcast_object_list([None, str(error)], src=0)
            raise
        distributed.broadcast_object_list([key, None], src=0)
        return trial
    told: list[Any] = [None, None]
    distributed.broadcast_object_list(told, src=0)
    key, problem = told
    if key is None:
        raise TrackError(f"the first rank could not open the trial: {problem}")
    return client.open_trial(key, **fields)


def _key_of_job() -> str:
    given = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return uuid.uuid4().hex if given == "none" else f"torchrun {given}"
