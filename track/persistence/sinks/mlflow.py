"""MLflow as a sink: a live copy of each trial as a run, in any store that MLflow has."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import re
from typing import Any

from track.errors import InvalidUri, missing_extra
from track.persistence.sinks.queued import QueuedSink
from track.persistence.utils import fixed_place, mask_secrets, read_options, uri_path
from track.plain import named_tags, nearest_double, restore
from track.structure import CustomStatus, Status, Trial

_NUMBERS, _PARAMETERS, _NAME, _TEXT = 1000, 100, 250, 5000
_LARGEST = 2**63
_ENDS = {
    Status.Completed: "FINISHED",
    Status.Exception: "FAILED",
    Status.Broken: "FAILED",
    Status.Interrupted: "KILLED",
}


class MLflowProtocol(QueuedSink):
    """Tells MLflow what happens: one run a trial, from a thread of its own.

    Parameters
    ----------
    uri: str
        ``mlflow:experiment``; ``?store=mlflow.db`` is a file of SQLite, or any tracking URI; by default MLflow knows it
        (``MLFLOW_TRACKING_URI``).

    Raises
    ------
    MissingExtra
        mlflow is not installed.
    InvalidUri
        The URI names no experiment.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self._store: str | None = read_options(uri, {"store": (_tracking_uri, None)})["store"]
        self._experiment = uri_path(uri).strip("/")
        if not self._experiment:
            raise InvalidUri(f"{mask_secrets(uri)!r} should name an experiment, as in mlflow:digits?store=mlflow.db")
        if importlib.util.find_spec("mlflow") is None:
            raise missing_extra("'mlflow:' needs mlflow", "mlflow")
        self._client: Any = None
        self._place: str | None = None

    def run_open(self, trial: Trial) -> Any:
        """Begin a run, with the trial's name, parameters, tags and metadata; one that is there goes on."""
        if self._client is None:
            self._client = importlib.import_module("mlflow").MlflowClient(self._store)
        if self._place is None:
            found = self._client.get_experiment_by_name(self._experiment)
            self._place = self._client.create_experiment(self._experiment) if found is None else found.experiment_id
        known = self._client.search_runs([self._place], f"tags.trial_uid = '{trial.uid}'", max_results=1)
        if known:
            run = _Run(self._client, known[0].info.run_id, dict(known[0].data.params))
            self._client.update_run(run.id, status="RUNNING")
        else:
            begun = self._client.create_run(self._place, int(self.at * 1000), {"trial_uid": trial.uid}, trial.name)
            run = _Run(self._client, begun.info.run_id, {})
        if trial.description:
            run.tag("mlflow.note.content", trial.description)
        for kind, values in (
            ("parameters", trial.parameters), ("tags", named_tags(trial.tags)), ("metadata", trial.metadata)
        ):  # fmt: skip
            self.run_facts(run, kind, values)
        return run

    def run_numbers(self, run: Any, values: dict[str, Any], step: Any) -> None:
        """Note numbers; those without a step, or with one that is no integer, are numbered."""
        for name, value in values.items():
            run.number(name, value, step, self.at)

    def run_facts(self, run: Any, kind: str, values: dict[str, Any]) -> None:
        """Note parameters as such, once, and tags and other facts as tags; so is a parameter that has changed."""
        plain = {name: restore(value) for name, value in values.items() if not name.startswith("_")}
        if kind == "parameters":
            plain = run.parameters(plain)
        for name, value in plain.items():
            run.tag(name if kind == "tags" else f"{kind}.{name}", value)

    def run_status(self, run: Any, status: Status | CustomStatus, error: str | None) -> None:
        run.tag("trial_status", status.name)
        if error is not None:
            run.tag("trial_error", error)
        run.end = _ENDS.get(status) if isinstance(status, Status) else "FINISHED"

    def run_flush(self, run: Any) -> None:
        run.flush()

    def run_end(self, run: Any) -> None:
        """End the run, where it is said how: else it is still running."""
        run.flush()
        if run.end is not None:
            self._client.set_terminated(run.id, run.end, int(self.at * 1000) or None)

    def idle(self) -> None:
        """Send the numbers that were put off to be sent together."""
        for run in self._open_runs():
            run.flush()


class _Run:
    """One run, and the numbers that are to be sent to it: so many in one call as the tool takes."""

    def __init__(self, client: Any, uid: str, parameters: dict[str, str]) -> None:
        self._client = client
        self._entities = importlib.import_module("mlflow.entities")
        self.id = uid
        self.end: str | None = None
        self._parameters = parameters
        self._numbers: list[Any] = []
        self._counts: dict[str, itertools.count[int]] = {}

    def number(self, name: str, value: Any, step: Any, at: float) -> None:
        """Take a number, which is sent with others."""
        if type(step) is not int or not -_LARGEST <= step < _LARGEST:
            step = next(self._counts.setdefault(name, itertools.count()))
        self._numbers.append(self._entities.Metric(_name(name), nearest_double(value), int(at * 1000), step))
        if len(self._numbers) >= _NUMBERS:
            self.flush()

    def flush(self) -> None:
        """Send the numbers; those that are refused are not sent again."""
        numbers, self._numbers = self._numbers, []
        if numbers:
            self._client.log_batch(self.id, metrics=numbers)

    def parameters(self, plain: dict[str, Any]) -> dict[str, Any]:
        """Note parameters, and return those that it has with another value already."""
        texts = {_name(name): str(value)[:_TEXT] for name, value in plain.items()}
        new = [self._entities.Param(name, text) for name, text in texts.items() if name not in self._parameters]
        for start in range(0, len(new), _PARAMETERS):
            self._client.log_batch(self.id, params=new[start : start + _PARAMETERS])
        changed = {name: text for name, text in texts.items() if self._parameters.get(name, text) != text}
        self._parameters = {**texts, **self._parameters}
        return changed

    def tag(self, name: str, value: Any) -> None:
        """Note a tag."""
        self._client.set_tag(self.id, _name(name), str(value)[:_TEXT])


def _name(name: str) -> str:
    """Return a name as MLflow allows it: it is part of a path in some of its stores."""
    return re.sub(r"[^\w./ -]", "_", name, flags=re.ASCII).strip("/")[:_NAME] or "_"


def _tracking_uri(text: str) -> str:
    """Return a tracking URI; the path of a file is one of SQLite."""
    if "://" in text or text.startswith("file:") or text == "databricks":
        return text
    return f"sqlite:///{fixed_place(text)}"
