"""One experiment, in every kind of store: the same trial, whoever keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.servers.track import serving
from track import Experiment
from track.experiment_utils import load_param
from track.persistence.registry import get_protocol

pytest.importorskip("yaml")


class Train(Experiment):
    """Train."""

    lr: float = 0.1  # @p the step
    layers: Any = (64, 10)  # @p widths

    def run(self) -> None:
        """Say this and that."""
        for value in (3.0, 1.0, 2.0, float("nan")):
            self.message({"val.loss": value, "by": f"step {value}"}, "min", "val.loss")
            self.message({"greatest": value}, "max")
            self.message({"latest": value, "text": "yes"})
        self.note("one")
        self.note("two")
        self.note("one", remove=True)


def _told(uri: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what a run has left in its store and its folder, but for times, places and identities."""
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", uri)
    first, again = Train(folder / "a", "to see", lr=0.5), Train()
    first()
    again.register(folder / "a", restart=True)
    again.note("three")
    again()
    reader = get_protocol(uri)
    (trial,) = reader.fetch_trials({"metadata.messages.val.loss": {"$lte": 1}})
    file = load_param(folder / "a")
    told = {
        "trial": (trial.name, trial.description, str(trial.status), trial.parameters, trial.metadata["overrides"]),
        "messages": {name: repr(value) for name, value in trial.metadata.items() if name.startswith("messages.")},
        "notes": trial.metadata["notes"],
        "metrics": {name: repr(trial.metrics[name].val) for name in ("val.loss", "greatest", "latest")},
        "file": (file["_status"], {name: repr(value) for name, value in file["_messages"].items()}, file["_notes"]),
    }
    for protocol in (reader, *(one.trial.protocol for one in (first, again) if one.trial is not None)):
        protocol.close()
    return told


EXPECTED = {
    "trial": ("a", "to see", "completed", {"lr": 0.5, "layers": [64, 10]}, {"lr": 0.5}),
    "messages": {
        "messages.val.loss": "1.0",
        "messages.by": "'step 1.0'",
        "messages.greatest": "3.0",
        "messages.latest": "nan",
        "messages.text": "'yes'",
    },
    "notes": ["two", "three", "two"],
    "metrics": {"val.loss": "1.0", "greatest": "3.0", "latest": "nan"},
    "file": (
        "finished",
        {"val.loss": "1.0", "by": "'step 1.0'", "greatest": "3.0", "latest": "nan", "text": "'yes'"},
        ["two", "three", "two"],
    ),
}


@pytest.mark.parametrize("scheme", ["file", "sqlite", "pickled"])
def test_embedded_stores(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores in a file."""
    assert _told(f"{scheme}:{tmp_path}/store", tmp_path / "runs", monkeypatch) == EXPECTED


@pytest.mark.network
def test_postgresql(sql_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL, which stands in for CockroachDB."""
    assert _told(sql_uri, tmp_path / "runs", monkeypatch) == EXPECTED


@pytest.mark.network
def test_mongodb(mongo_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A MongoDB-wire server."""
    assert _told(mongo_uri, tmp_path / "runs", monkeypatch) == EXPECTED


@pytest.mark.network
def test_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A track server, in front of a file."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    with serving(f"file:{tmp_path}/store") as port:
        assert _told(f"socket://127.0.0.1:{port}", tmp_path / "runs", monkeypatch) == EXPECTED
