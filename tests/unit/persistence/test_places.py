"""Where things are: fixed when a client is made, never in a folder called ``~``, and somewhere without a home too."""

from __future__ import annotations

import logging
import os
import pwd
import stat
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import track
from track import TrackClient, em
from track.artifacts.location import place_of
from track.errors import InvalidUri
from track.persistence.cometml import CometMLProtocol
from track.persistence.delivery import leftovers, spill_places
from track.persistence.registry import get_protocol
from track.persistence.utils import uri_path
from track.structure import Trial
from track.tracking import FsspecResultTracker
from track.utils.encrypted import known_hosts_file


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Give the working directory, and one that a job goes to."""
    start, work = tmp_path / "start", tmp_path / "work"
    start.mkdir()
    work.mkdir()
    monkeypatch.chdir(start)
    return start, work


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a user whom the system does not know, as in a container that was given a number."""

    def unknown(_: int) -> Any:
        raise KeyError

    for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


def _use(client: TrackClient) -> None:
    with client.new_trial(parameters={"lr": 0.1}) as trial:
        trial.log_metrics(step=0, loss=0.5)
        trial.log_artifact(b"weights", "model.bin")
    client.save()


# The working directory.


@pytest.mark.parametrize(
    "uri",
    [
        "file:r.json",
        "file:r.json?eager=0",
        "file:r.json?artifacts=arts",
        "file:r.json?artifacts=file:arts",
        "sqlite:r.db?artifacts=arts",
        "multi:?to=file:a.json&to=sqlite:b.db",
        "pickled:r.pkl",
    ],
)
def test_a_client_stays_where_it_was_made(folders: tuple[Path, Path], uri: str) -> None:
    """After `os.chdir` the store, its journal and its artifacts are where they were."""
    client = TrackClient(uri)

    os.chdir(folders[1])
    _use(client)
    client.protocol.close()

    assert not list(folders[1].iterdir())
    assert list(folders[0].iterdir())


def test_a_configured_folder_of_artifacts_stays(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative TRACK_ARTIFACTS_URL means the folder that it meant when the client was made."""
    monkeypatch.setenv("TRACK_ARTIFACTS_URL", "arts")
    client = TrackClient("file:r.json")

    os.chdir(folders[1])
    _use(client)

    assert not list(folders[1].iterdir())
    assert (folders[0] / "arts").is_dir()


def test_a_configured_folder_of_spills_stays(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative TRACK_LOG_SPILL_FOLDER is resolved before the first event."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", "spills")
    client = TrackClient("sqlite:r.db")

    os.chdir(folders[1])
    _use(client)

    assert not list(folders[1].iterdir())


def test_a_tracker_stays(folders: tuple[Path, Path]) -> None:
    """The results of a relative folder, or ``file:`` URL, are in it after `os.chdir`."""
    trackers = [FsspecResultTracker("results"), FsspecResultTracker("file:others")]

    os.chdir(folders[1])
    for tracker in trackers:
        tracker.put("key", x=1)

    assert not list(folders[1].iterdir())
    assert (folders[0] / "others" / "key").is_file()


def test_tensorboard_stays(folders: tuple[Path, Path]) -> None:
    """Event files are written to the folder that was meant."""
    pytest.importorskip("tensorboardX", reason="needs tensorboardX")
    client = TrackClient("tensorboard:runs")

    os.chdir(folders[1])
    with client.new_trial(parameters={}) as trial:
        trial.log_metrics(step=0, x=1.0)

    assert not list(folders[1].iterdir())
    assert (folders[0] / "runs").is_dir()


def test_comet_offline_stays(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Comet is told an absolute folder."""
    places: list[str] = []

    class Experiment:
        def __init__(self, offline_directory: str, **_: Any) -> None:
            places.append(offline_directory)

        def log_other(self, name: str, value: Any) -> None:
            """Be told of the trial."""

    monkeypatch.setitem(sys.modules, "comet_ml", types.SimpleNamespace(OfflineExperiment=Experiment))  # type: ignore[arg-type]
    protocol = CometMLProtocol("cometml:digits?offline=later")

    os.chdir(folders[1])
    protocol.run_open(Trial(parameters={}))

    assert places == [str(folders[0] / "later")]


def test_a_run_of_em_stays(folders: tuple[Path, Path]) -> None:
    """The folder of a run is where it was created."""
    run = em.create_run(name="first")

    os.chdir(folders[1])
    run.finish()

    assert not list(folders[1].iterdir())


def test_certificates_stay(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is made again after `os.chdir` reads the same certificates and known servers."""
    from track.persistence.cockroach import OPTIONS
    from track.persistence.mongo.setup import read_address
    from track.persistence.utils import read_options

    pytest.importorskip("pymongo", reason="needs pymongo")
    monkeypatch.setenv("TRACK_SOCKET_KNOWN_HOSTS", "known")
    (folders[0] / "ca.pem").touch()
    given = read_options("cockroach://db?sslrootcert=ca.pem", OPTIONS)
    client: Any = get_protocol("socket://db?security_layer=AES")

    settings = read_address("mongodb://db/track?tls=true&tlsCAFile=ca.pem").settings

    assert given["sslrootcert"] == settings["tlsCAFile"] == str(folders[0] / "ca.pem")
    assert read_options("cockroach://db?sslrootcert=system", OPTIONS)["sslrootcert"] == "system"
    assert client.remote.link.address.known_hosts == str(folders[0] / "known")


def test_a_home_is_meant_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``~`` in a folder of artifacts, or a configured one, is the home, as in a URI's path."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", "~/spills")

    assert place_of(get_protocol("file:~/r.json?artifacts=~/arts")).url == f"{tmp_path}/arts"
    assert spill_places("socket://db")[0].parent == tmp_path / "spills"


# No home.


def test_no_folder_is_called_tilde(folders: tuple[Path, Path], homeless: None) -> None:
    """A user without a home gets an error that says so where a home is named, and nothing is created."""
    for named in (
        lambda: uri_path("file:~/r.json"),
        lambda: TrackClient("sqlite:~/r.db"),
        lambda: FsspecResultTracker("~/results"),
        lambda: TrackClient("tensorboard:~/runs"),
        lambda: em.login("file:~/store"),
    ):
        with pytest.raises(InvalidUri, match="this user has none"):
            named()
    with pytest.raises(InvalidUri, match="TRACK_SOCKET_KNOWN_HOSTS"):
        known_hosts_file()

    assert not list(folders[0].iterdir())


def test_a_path_that_begins_with_a_tilde_is_one(folders: tuple[Path, Path]) -> None:
    """A file whose name begins with ``~`` is in the working directory."""
    assert uri_path("file:~backup.json") == "~backup.json"


def test_spills_are_beside_a_database_without_a_home(
    tmp_path: Path, homeless: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is stored; what a process leaves waits beside the database, and who has a home sends it."""
    uri = f"sqlite:{tmp_path}/r.db"
    with TrackClient(uri).new_trial(parameters={}) as trial:
        trial.log_metrics(step=0, loss=0.5)
        assert len(leftovers(tmp_path / "r.db.spill")) == 1
    (stored,) = track.fetch(uri)
    assert stored.metrics["loss"] == {0: 0.5}
    monkeypatch.setenv("HOME", str(tmp_path))

    assert tmp_path / "r.db.spill" in spill_places(TrackClient(uri).protocol.uri)


def test_a_home_that_cannot_be_written_to_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Events for a server wait in the folder of temporary files, and a message says so."""
    monkeypatch.setenv("HOME", "/proc")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    client: Any = TrackClient("sqlite:///proc/none/r.db?offline=1")

    client.new_trial(parameters={}).log_metrics(loss=0.5)
    (place,) = (tmp_path / f"track-spill-{os.getuid()}").iterdir()

    assert (place.stat().st_mode & 0o777, len(leftovers(place))) == (0o700, 1)
    assert f"are kept in {place} until they are sent" in caplog.text
    assert client.protocol.remedy.startswith(f"what waits in {place} ")


def test_a_temporary_folder_of_somebody_else_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who makes the folder first, in another's name, reads nothing."""
    monkeypatch.setenv("HOME", "/proc")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    (tmp_path / "track-spill-12345").mkdir(mode=0o777)
    client: Any = TrackClient("sqlite:///proc/none/r.db?offline=1&strict=0")
    caplog.set_level(logging.WARNING)

    with pytest.raises(track.errors.BackendUnavailable):
        client.new_trial(parameters={})

    assert "no spill can be written" in caplog.text
    client.protocol.close()


# What is no file.


@pytest.mark.parametrize("scheme", ["file", "sqlite", "pickled"])
@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFSOCK])
def test_store_is_no_device(tmp_path: Path, scheme: str, kind: int) -> None:
    """A pipe, a socket, ``file:///dev/null``: nothing is replaced or waited for; the error says what keeps nothing."""
    path = tmp_path / "special"
    os.mknod(path, kind | 0o600)

    with pytest.raises(InvalidUri, match="use ephemeral:"):
        TrackClient(f"{scheme}://{path}")
    with pytest.raises(InvalidUri, match="a device, a pipe or a socket"):
        track.fetch(f"{scheme}://{path}")

    assert stat.S_IFMT(path.stat().st_mode) == kind
    assert os.listdir(tmp_path) == ["special"]
