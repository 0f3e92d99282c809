"""Comet as a sink: the worked example of a backend that is written method by method."""

from __future__ import annotations

from typing import Any

from track.errors import InvalidUri, missing_extra
from track.persistence.sink import SinkProtocol
from track.persistence.utils import fixed_place, mask_secrets, read_options, uri_path
from track.plain import named_tags, restore
from track.structure import CustomStatus, Status, Trial

__all__ = ["CometMLProtocol"]


class CometMLProtocol(SinkProtocol):
    """Tells Comet what happens: one experiment a trial.

    Comet finds its key by itself, in ``COMET_API_KEY`` or ``~/.comet.config``: it is no part of the URI.

    Parameters
    ----------
    uri: str
        ``cometml:workspace/project``, or ``cometml:project``; with ``?offline=folder`` nothing is sent, and Comet's own
        ``comet upload`` sends what is in the folder later.

    Raises
    ------
    MissingExtra
        comet_ml is not installed.
    InvalidUri
        The URI names no project.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self._offline: str = read_options(uri, {"offline": (fixed_place, "")})["offline"]
        workspace, _, self._project = uri_path(uri).strip("/").rpartition("/")
        self._workspace = workspace or None
        if not self._project or "/" in workspace:
            raise InvalidUri(f"{mask_secrets(uri)!r} should read like cometml:workspace/project")
        try:
            import comet_ml  # type: ignore[import-not-found, unused-ignore]
        except ImportError as error:
            raise missing_extra("'cometml:' needs comet_ml", "cometml") from error
        self._comet: Any = comet_ml

    def run_open(self, trial: Trial) -> Any:
        """Begin an experiment, with the trial's name, parameters, tags and metadata."""
        place = {"workspace": self._workspace, "project_name": self._project}
        if self._offline:
            run = self._comet.OfflineExperiment(**place, offline_directory=self._offline)
        else:
            run = self._comet.Experiment(**place)
        if trial.name:
            run.set_name(trial.name)
        run.log_other("trial_uid", trial.uid)
        self.run_facts(run, "parameters", trial.parameters)
        self.run_facts(run, "tags", named_tags(trial.tags))
        self.run_facts(run, "metadata", trial.metadata)
        return run

    def run_numbers(self, run: Any, values: dict[str, Any], step: Any) -> None:
        run.log_metrics(values, step=step)

    def run_facts(self, run: Any, kind: str, values: dict[str, Any]) -> None:
        """Log parameters as parameters, tags as ``name-value``, and other facts as Comet's *other*."""
        plain = {name: restore(value) for name, value in values.items()}
        if not plain:
            return
        if kind == "parameters":
            run.log_parameters(plain)
        elif kind == "tags":
            run.add_tags([f"{name}-{value}" for name, value in plain.items()])
        else:
            for name, value in plain.items():
                run.log_other(name, value)

    def run_status(self, run: Any, status: Status | CustomStatus, error: str | None) -> None:
        run.log_other("trial_status_name", status.name)
        run.log_other("trial_status_value", status.value)
        if error is not None:
            run.log_other("trial_error", error)

    def run_flush(self, run: Any) -> None:
        run.flush()

    def run_end(self, run: Any) -> None:
        run.end()
