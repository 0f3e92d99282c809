"""A copy of a store as one JSON file, from any backend."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from track import TrackClient, fetch
from track.errors import BackendUnavailable, InvalidCall


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


@pytest.mark.parametrize("name", ["store.journal", "other.json.journal", "other.json.lock", "COPY.JOURNAL"])
def test_copy_is_no_part_of_a_store(client: TrackClient, tmp_path: Path, name: str) -> None:
    """A name that a store gives to its journal or lock is refused, whether there is one or not."""
    with pytest.raises(InvalidCall, match="part of a store"):
        client.save(str(tmp_path / name))

    client.protocol.flush()
    assert len(client.protocol.fetch_trials()) == 1
    client.protocol.close()


@pytest.mark.parametrize("part", ["-wal", "-shm", "-journal"])
def test_copy_is_no_part_of_a_database(client: TrackClient, tmp_path: Path, part: str) -> None:
    """What SQLite would take for its own log is refused beside a database; elsewhere it is a name like any other."""
    TrackClient(f"sqlite:{tmp_path}/other.db").new_trial(name="precious", parameters={}).finish()

    with pytest.raises(InvalidCall, match="part of a store"):
        client.save(str(tmp_path / f"other.db{part}"))
    client.save(str(tmp_path / f"training{part}"))

    client.protocol.close()
    assert [trial.name for trial in fetch(f"sqlite:{tmp_path}/other.db")] == ["precious"]


@pytest.mark.parametrize("scheme", ["file", "sqlite"])
def test_copy_takes_the_place_of_no_store(client: TrackClient, tmp_path: Path, scheme: str) -> None:
    """Runs that somebody has logged to a store of this name, whatever it is called, are there afterwards."""
    other = TrackClient(f"{scheme}:{tmp_path}/other")
    other.new_trial(name="precious", parameters={}).finish()
    other.protocol.close()

    with pytest.raises(InvalidCall, match=r"track copy FROM"):
        client.save(str(tmp_path / "other"))

    client.protocol.close()
    assert [trial.name for trial in fetch(f"{scheme}:{tmp_path}/other")] == ["precious"]


def test_copy_takes_the_place_of_no_store_that_was_killed(client: TrackClient, tmp_path: Path) -> None:
    """A store whose program was killed before it was saved is its journal alone."""
    TrackClient(f"file:{tmp_path}/other.json").new_trial(name="precious", parameters={})
    (tmp_path / "killed.json.journal").write_bytes((tmp_path / "other.json.journal").read_bytes())

    with pytest.raises(InvalidCall, match="runs have logged to"):
        client.save(str(tmp_path / "killed.json"))
    client.protocol.close()


def test_copy_that_runs_have_gone_on_in_is_kept(client: TrackClient, tmp_path: Path) -> None:
    """A copy is written again as often as one likes, until it is a store that runs log to."""
    path = str(tmp_path / "copy.json")
    client.save(path)
    client.save(path)
    other = TrackClient(f"file:{path}")
    other.new_trial(name="of the copy", parameters={}).finish()
    other.protocol.close()

    with pytest.raises(InvalidCall, match="runs have logged to"):
        client.save(path)

    client.protocol.close()
    assert "of the copy" in [trial.name for trial in fetch(f"file:{path}")]


def test_copy_of_a_program_in_memory_is_written_by_each_run(tmp_path: Path) -> None:
    """A program that keeps all in memory saves to the same name each time it runs."""
    for name in ("first", "second"):
        client = TrackClient("ephemeral:")
        client.new_trial(name=name, parameters={})
        client.save(str(tmp_path / "out.json"))

    assert [trial.name for trial in fetch(f"file:{tmp_path}/out.json")] == ["second"]


def test_copy_is_named_by_a_path_or_a_file_uri(
    client: TrackClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ``~`` is the home, ``file:`` means the file, a Path is taken; there is never a folder ``~`` or ``file:``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    client.save("~/one.json")
    client.save(f"file://{tmp_path}/two.json")
    client.save(tmp_path / "three.json")  # type: ignore[arg-type]

    client.protocol.close()
    assert all((tmp_path / path).is_file() for path in ("home/one.json", "two.json", "three.json"))
    assert not {"~", "file:"} & {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(("name", "said"), [("s3://bucket/copy.json", "track copy FROM s3"), ("a\0.json", "NUL")])
def test_copy_elsewhere_is_refused(client: TrackClient, name: str, said: str) -> None:
    """What names no file is one error that says so."""
    with pytest.raises(InvalidCall, match=said):
        client.save(name)
    client.protocol.close()


def test_copy_leaves_a_pipe_alone(client: TrackClient, tmp_path: Path) -> None:
    """A device or a pipe is not replaced by a file: as root that would be /dev/null for everybody."""
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(BackendUnavailable, match="a device, a pipe or a socket"):
        client.save(str(tmp_path / "pipe"))

    client.protocol.close()
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
