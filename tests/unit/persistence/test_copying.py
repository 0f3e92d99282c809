"""A copy of a store as one JSON file, from any backend."""

from __future__ import annotations

from pathlib import Path

import pytest

from track import TrackClient, fetch
from track.errors import BackendUnavailable


@pytest.fixture(params=["file", "ephemeral", "sqlite"])
def client(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrackClient:
    """Give a client with a trial of everything."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    client = TrackClient("ephemeral:" if request.param == "ephemeral" else f"{request.param}:{tmp_path}/store")
    client.set_project(name="digits", description="of people", tags={"team": "a"})
    client.set_group(name="idea")
    with client.new_trial(name="first", parameters={"lr": 0.1}) as trial:
        trial.log_metrics(step=3, loss=0.5)
        trial.log_metrics(accuracy=0.9)
        trial.log_metadata(gpu="V100")
    return client


def test_copy_has_everything(client: TrackClient, tmp_path: Path) -> None:
    """The file is a store of its own, in a folder that need not be there."""
    path = tmp_path / "new" / "copy.json"

    client.save(str(path))

    (ours,), (copied,) = client.protocol.fetch_trials(), fetch(f"file:{path}")
    protocol = TrackClient(f"file:{path}").protocol
    client.protocol.close()
    assert copied == ours
    assert (dict(copied.metrics["loss"]), copied.metrics["accuracy"].val) == ({3: 0.5}, [0.9])
    assert (copied.parameters, copied.metadata, copied.tags) == (ours.parameters, ours.metadata, ours.tags)
    assert (copied.status, copied.timestamps) == (ours.status, ours.timestamps)
    assert [group.trials for group in protocol.fetch_groups()] == [{ours.uid}]
    assert [project.description for project in protocol.fetch_projects()] == ["of people"]


def test_copy_that_cannot_be_written_is_an_error(client: TrackClient, tmp_path: Path) -> None:
    """The message names the file that was asked for."""
    with pytest.raises(BackendUnavailable, match=rf"{tmp_path} cannot be written \(Is a directory\)"):
        client.save(str(tmp_path))
    client.protocol.close()
