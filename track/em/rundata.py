"""What a run is: identity, parameters, metrics and surroundings, as attributes, as files and as plain data."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import Any

from track.em.containers import Params
from track.em.errors import NothingThere
from track.em.folders import alternative_name, checked_labels, checked_name, run_parent, timestamp
from track.em.lineage import Lineage
from track.em.runfiles import RunFiles

__all__ = ["RunData"]

_FIELDS = (
    "name", "labels", "description", "start_timestamp", "end_timestamp", "status", "alternative_name", "associations",
    "remote",
)  # fmt: skip


class RunData:
    """A run without its verbs; see `track.em.run.Run`."""

    def __init__(
        self,
        metadata: Mapping[str, Any],
        hparams: Mapping[str, Any] | None = None,
        metrics: Mapping[str, list[dict[str, Any]]] | None = None,
        platform: Mapping[str, Any] | None = None,
        git: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(metadata, Mapping) or not metadata.get("name"):
            raise ValueError("the metadata of a run need a 'name'")
        self._name = checked_name(metadata["name"])
        self._alternative_name = checked_name(metadata.get("alternative_name") or alternative_name(self._name))
        self._labels = checked_labels(metadata.get("labels"))
        self._description = str(metadata.get("description") or "")
        self._start = str(metadata.get("start_timestamp") or timestamp())
        self._end = metadata.get("end_timestamp")
        self._status = str(metadata.get("status") or "Running")
        self._lineage = Lineage(metadata.get("associations"))
        self._remote = [dict(entry) for entry in metadata.get("remote") or ()]
        self._extra = {key: value for key, value in metadata.items() if key not in (*_FIELDS, "local")}
        self._more: dict[str, Any] = {}
        self._local = self._found_local(metadata.get("local"))
        self._hparams = Params(self._hparams_changed, hparams)
        self._platform, self._git = dict(platform or {}), dict(git or {})
        self._bring_up_to_date(metrics)

    def _found_local(self, local: str | None) -> str:
        # A directory of another machine may be no directory here.
        if local and os.path.isdir(local):
            return os.path.abspath(local)
        return os.path.join(run_parent(), self._alternative_name)

    def _bring_up_to_date(self, metrics: Mapping[str, list[dict[str, Any]]] | None) -> None:
        """Write what the files do not say already: nothing at all, when the run was read from them."""
        is_new = not RunFiles.are_in(self._local)
        os.makedirs(self._local, exist_ok=True)
        self._files = RunFiles(self._local)
        parts = {"hyperparameters": self._hparams.as_dict(), "platform": self._platform, "git": self._git}
        for part, values in parts.items():
            if is_new or _as_read(values) != self._files.read_part(part):
                self._files.write_part(part, values)
        if metrics is not None and repr(metrics) != repr(self._files.read_metrics()):
            self._files.write_metrics(metrics)
        if is_new or _as_read(self._metadata()) != self._files.read_metadata():
            self._save()
        # From now on a full disk is no reason to stop a training.
        self._files.raises = False

    def _save(self) -> None:
        self._files.write_metadata(self._metadata())

    def _hparams_changed(self) -> None:
        self._files.write_part("hyperparameters", self._hparams.as_dict())
        self._changed()

    def _changed(self) -> None:
        """Tell others that something is new; for the subclass."""

    # facts

    @property
    def name(self) -> str:
        """What it is called."""
        return self._name

    @property
    def labels(self) -> list[str]:
        """Words to find it by; assign a list to change them."""
        return self._labels

    @labels.setter
    def labels(self, labels: list[str]) -> None:
        self._labels = checked_labels(labels)
        self._save()
        self._changed()

    @property
    def description(self) -> str:
        """What it is about."""
        return self._description

    @description.setter
    def description(self, description: str | None) -> None:
        self._description = str(description or "")
        self._save()
        self._changed()

    @property
    def start_timestamp(self) -> str:
        """When it began, ISO 8601 with offset."""
        return self._start

    @property
    def end_timestamp(self) -> str | None:
        """When it ended; None before that."""
        return self._end

    @property
    def status(self) -> str:
        """``"Running"``, ``"Complete"`` or ``"Failed"``."""
        return self._status

    @property
    def alternative_name(self) -> str:
        """What it alone is called: the name, when it was made, six letters or digits."""
        return self._alternative_name

    @property
    def associations(self) -> dict[str, list[dict[str, str]]]:
        """What went in and what came out: ``inputs`` and ``outputs``."""
        return self._lineage.as_dict()

    @property
    def hparams(self) -> Params:
        """The hyperparameters; what is changed is in the file at once."""
        return self._hparams

    @property
    def params(self) -> Params:
        """The hyperparameters."""
        return self._hparams

    @property
    def metrics(self) -> dict[str, list[dict[str, Any]]]:
        """A list of items a type, each with its ``value`` and ``sequence``; read from the files."""
        return self._files.read_metrics()

    @property
    def platform(self) -> dict[str, Any]:
        """The machine and the packages."""
        return copy.deepcopy(self._platform)

    @property
    def git(self) -> dict[str, Any]:
        """The repository and the commit; empty where there was none."""
        return copy.deepcopy(self._git)

    @property
    def remote(self) -> list[dict[str, str]]:
        """Where and when it was uploaded and downloaded."""
        return copy.deepcopy(self._remote)

    @property
    def local(self) -> str:
        """The directory it is in."""
        return self._local

    # as data

    def _metadata(self) -> dict[str, Any]:
        return {
            "name": self._name,
            "labels": list(self._labels),
            "description": self._description,
            "start_timestamp": self._start,
            "end_timestamp": self._end,
            "status": self._status,
            "alternative_name": self._alternative_name,
            "associations": self.associations,
            "remote": self.remote,
            **copy.deepcopy(self._extra),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-like data of its own."""
        return {
            "type": "Run",
            "metadata": {**self._metadata(), "local": self._local},
            "hparams": self._hparams.as_dict(),
            "metrics": self.metrics,
            "platform": self.platform,
            "git": self.git,
            **copy.deepcopy(self._more),
        }

    def parse_from_dict(self, data: Mapping[str, Any]) -> None:
        """Become what `to_dict` gave; what else the data hold is kept.

        Raises
        ------
        ValueError
            It is no run's.
        """
        if not isinstance(data, Mapping) or data.get("type", "Run") != "Run" or "metadata" not in data:
            raise ValueError("this is no run's data: it needs 'metadata', and the type 'Run'")
        parts = {name: data.get(name) for name in ("hparams", "metrics", "platform", "git")}
        RunData.__init__(self, data["metadata"], **parts)
        self._more = {key: value for key, value in data.items() if key not in (*parts, "type", "metadata")}

    @staticmethod
    def is_in(folder: str) -> bool:
        """Return whether a directory holds a run."""
        return RunFiles.are_in(folder)

    @classmethod
    def load(cls, folder: str) -> Any:
        """Return the run in a directory, in which nothing is changed.

        Raises
        ------
        NothingThere
            There is none.
        """
        if not RunFiles.are_in(folder):
            raise NothingThere(f"{folder} holds no run: there is no metadata.yaml in it")
        files = RunFiles(folder)
        metadata = {**files.read_metadata(), "local": os.path.abspath(folder)}
        parts = {part: files.read_part(part) for part in ("hyperparameters", "platform", "git")}
        return cls(metadata, parts["hyperparameters"], None, parts["platform"], parts["git"])


def _as_read(values: Any) -> Any:
    """Return data as a file gives it back: tuples are lists there."""
    if isinstance(values, Mapping):
        return {str(key): _as_read(value) for key, value in values.items()}
    return [_as_read(value) for value in values] if isinstance(values, (list, tuple)) else values
