"""The trial that a run is, too: the same run in the configured store."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from track.artifacts import Recorder
from track.client import TrackClient
from track.em.artifact import Artifact
from track.errors import TrackError
from track.logger import TrialLogger
from track.versioning import compute_hash

logger = logging.getLogger(__name__)


class RunRecord:
    """Writes a run into the configured store, where it is a trial like any other; `fields` are more of a new `Trial`'s.

    The project is the first part of the run's folder, the group the rest of it. The trial is named by the run's
    alternative name, not by its parameters, which may change.
    """

    def __init__(self, name: str, alternative_name: str, folder: str, **fields: Any) -> None:
        self._params: dict[str, Any] = dict(fields.get("parameters") or {})
        self._labels = set(fields.get("tags") or ())
        self._facts: dict[str, Any] = {"description": fields.get("description") or ""}
        client = TrackClient()
        # The program that started this one may have chosen a trial already.
        self.trial = client.logger or self._open(client, name, alternative_name, folder, fields)
        self.trial.start()

    def _open(self, client: TrackClient, name: str, alias: str, folder: str, fields: dict[str, Any]) -> TrialLogger:
        digest = compute_hash("run", name, alias)
        # Not one that was deleted.
        if known := client.protocol.fetch_trials({"hash": digest}):
            return client.set_trial(known[0])
        project, _, group = folder.strip("/").partition("/")
        client.set_project(name=project or "default")
        if group:
            client.set_group(name=group)
        metadata = {"alias": {"run": alias}, **(fields.get("metadata") or {})}
        return client.new_trial(**{**fields, "_hash": digest, "name": name, "metadata": metadata})

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Record the parameters that have changed; one that is gone becomes None: a store keeps what it knew."""
        gone = dict.fromkeys(self._params.keys() - params.keys())
        changed = {name: value for name, value in params.items() if self._params.get(name, gone) != value}
        if gone or changed:
            self.trial.protocol.log_trial_arguments(self.trial._trial, **gone, **changed)
        self._params = dict(params)

    def set_labels(self, labels: list[str]) -> None:
        """Record the labels, each a tag that is true; one that is gone is false."""
        changed = dict.fromkeys(self._labels - set(labels), False) | dict.fromkeys(set(labels) - self._labels, True)
        if changed:
            self.trial.add_tags(**changed)
        self._labels = set(labels)

    def set_facts(self, **facts: Any) -> None:
        """Record metadata that have changed."""
        changed = {name: value for name, value in facts.items() if self._facts.get(name) != value}
        if changed:
            self.trial.log_metadata(None, **changed)
        self._facts |= changed

    def name_artifact(self, artifact: Artifact) -> None:
        """Name an artifact in the trial's manifest; its files stay where they are.

        Where the trial keeps files in a bucket or on another machine they are stored there: others would not see them.
        """
        try:
            recorder = Recorder(self.trial.protocol, self.trial._trial)
            if recorder.is_here:
                artifact.name_in(recorder)
            else:
                self.trial.log_directory(artifact.local, recursive=True, artifact=artifact.name)
        except (TrackError, OSError) as error:
            # They are in their own directory, whatever happens here.
            logger.warning("artifact %r is not in the store of the trial: %s", artifact.name, error)
