"""What the ``params.yml`` of an experiment says of its status, where somebody else than its body has changed that."""

from __future__ import annotations

import logging

from track.errors import TrackError
from track.experiment.parts import name_of, stamp
from track.manager.folders import change_params
from track.persistence.protocol import Protocol
from track.structure import Trial
from track.yaml12 import Commented

logger = logging.getLogger(__name__)


def show_status(protocol: Protocol, trial: Trial, folder: str) -> None:
    """Write the status of a trial, and when it began and ended, into its folder, as they are stored now."""

    def change(content: Commented) -> None:
        stored = protocol.first_trial({"uid": trial.uid}) or trial
        times = {"start": stored.timestamps.get("started"), "stopped": stored.timestamps.get("finished")}
        stamps = {name: stamp(at) for name, at in times.items() if at is not None}
        content["_status"] = name_of(stored.status)
        content["_timestamps"] = {**(content.get("_timestamps") or {}), **stamps}

    try:
        change_params(folder, change)
    except (TrackError, OSError) as error:
        logger.warning("the status of %s is not shown: %s", folder, error)
