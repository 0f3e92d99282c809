"""However something is run, it is a trial among trials."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import track
from tests.children import ROOT, python
from track import ExperimentManager
from track.manager import work
from track.metrics import briefs_of

pytest.importorskip("yaml")
_PROGRAM = """
from pathlib import Path
from track import Experiment, Root
from track.functional import functional_experiment

def body(experiment, lr):
    experiment.message({"loss": lr * 2})
    Path(experiment.directory, "weights.txt").write_text(str(lr))
    experiment.trial.log_file(Path(experiment.directory, "weights.txt"))

class Train(Experiment):
    lr = 0.1  # @p step
    def run(self):
        body(self, self.lr)

def train(root: Root, lr=0.1):
    body(root, lr)

if __name__ == "__main__":
    one = Train("runs/class", lr=0.5)
    one()
    one.note("seen")
    other = functional_experiment(train)("runs/function", lr=0.5)
    other()
    other.note("seen")
"""
_CLIENT = """
import sys
from pathlib import Path
from track import TrackClient
client = TrackClient()
client.new_trial()
client.log_metadata(**{"messages.loss": client.trial.parameters["lr"] * 2})
client.log_metrics(loss=1.0)
Path(sys.argv[1]).with_name("weights.txt").write_text("0.5")
client.log_file(Path(sys.argv[1]).with_name("weights.txt"))
"""


@pytest.fixture(params=["file", "postgresql"])
def uri(
    request: pytest.FixtureRequest, tmp_path: Path, own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Give an empty store that is configured, and a working directory."""
    is_file = request.param == "file"
    uri = f"file:{tmp_path}/store.json" if is_file else request.getfixturevalue("fast_server").new_database()
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", uri)
    monkeypatch.setenv("TRACK_ARTIFACTS_URL", str(tmp_path / "artifacts"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return uri


def _described(trial: Any) -> dict[str, Any]:
    return {
        "lr": trial.parameters["lr"],
        "messages": {name: value for name, value in trial.metadata.items() if name.startswith("messages.")},
        "metric": briefs_of(trial.metrics)["loss"].last,
        "notes": trial.metadata["notes"],
        "status": str(trial.status),
        "artifacts": [artifact["name"] for artifact in trial.artifacts],
        "has version": bool(trial.version and trial.metadata["version"]["path"]),
    }


def test_all_ways_stand_in_one_answer(uri: str, tmp_path: Path) -> None:
    """An experiment, one of a function, one that a worker runs, and a script of a client that a worker runs: alike."""
    Path("all_ways.py").write_text(_PROGRAM)
    done = python("all_ways.py")
    assert (done.returncode, done.stderr) == (0, "")
    of_class = ExperimentManager("set of a class", headless=True)
    of_class.initialise(name="all_ways.Train")
    Path("client.py").write_text(_CLIENT)
    Path("script.sh").write_text(f'#!/bin/bash\npython {tmp_path}/client.py "${{1}}"\n')
    Path("defaults.yml").write_text("lr: 0.1\n_version: {path: client.py}\n")
    of_script = ExperimentManager("set of a script", headless=True)
    of_script.initialise()
    for number, manager in enumerate((of_class, of_script)):
        manager.register(f"worked {number}", "{lr: 0.5}")
        assert work(manager.root) == 1
        manager.note("*", "seen")
        manager.close()

    found = {str(trial.name): trial for trial in track.fetch(uri)}

    assert list(found) == ["class", "function", "worked 0", "worked 1"]
    assert [_described(trial) for trial in found.values()] == [
        {
            "lr": 0.5,
            "messages": {"messages.loss": 1.0},
            "metric": 1.0,
            "notes": ["seen"],
            "status": "completed",
            "artifacts": ["weights.txt"],
            "has version": True,
        }
    ] * 4
    assert len(track.fetch(uri, {"metadata.messages.loss": {"$gt": 0.5}, "parameters.lr": 0.5})) == 4
