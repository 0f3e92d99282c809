"""What a user does with files: log them, find them by name and version, read them, use them."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from track import TrackClient
from track.artifacts import Artifact, artifacts, find, versions
from track.artifacts.location import place_of
from track.errors import CorruptArtifact, InvalidEvent, InvalidQuery, InvalidUri, NotFound, UnsafePath
from track.logger import TrialLogger
from track.persistence.ephemeral import EphemeralProtocol
from track.persistence.protocol import Protocol
from track.persistence.registry import register, unregister
from track.structure import Trial


def start(uri: str, project: str = "digits", **parameters: Any) -> TrialLogger:
    """Return a new trial."""
    client = TrackClient(uri)
    client.set_project(name=project)
    return client.new_trial(force=True, parameters=parameters)


@pytest.fixture(params=["file", "sqlite", "ephemeral", "memory"])
def trial(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrialLogger:
    """Give a trial in each kind of store, with its artifacts beside it, in memory, or behind fsspec."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    if request.param == "memory":
        pytest.importorskip("fsspec", reason="needs fsspec: run pip install .[fsspec]")
    uris = {
        "file": f"file:{tmp_path}/runs.json",
        "sqlite": f"sqlite://{tmp_path}/runs.db",
        "ephemeral": "ephemeral:",
        "memory": f"file:{tmp_path}/runs.json?artifacts=memory://{tmp_path.name}/files",
    }
    return start(uris[request.param])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Give a file."""
    path = tmp_path / "model.bin"
    path.write_bytes(b"weights")
    return path


def logged(artifact: Artifact | None) -> Artifact:
    """Return an artifact that must have been stored."""
    assert artifact is not None
    return artifact


def test_file_is_in_the_manifest(trial: TrialLogger, model: Path) -> None:
    """A trial's manifest has name, digest, size, place and time."""
    trial.log_file(model)

    (record,) = trial.trial.artifacts
    assert record["name"] == "model.bin"
    assert record["digest"] == hashlib.sha256(b"weights").hexdigest()
    assert record["size"] == 7
    assert record["uri"].endswith(record["digest"])
    assert record["at"] > 0


def test_file_is_kept_as_it_was(trial: TrialLogger, model: Path) -> None:
    """What happens to the file later does not change what was stored."""
    kept = logged(trial.log_file(model))

    model.write_bytes(b"other!!")

    with kept.open() as content:
        content.seek(3)
        assert content.read() == b"ghts"
    assert kept.read_bytes() == b"weights"


def test_file_given_again_has_its_new_content(trial: TrialLogger, model: Path) -> None:
    """A file of the same size that was written again at once is not taken for the old one."""
    trial.log_file(model)
    model.write_bytes(b"WEIGHTS")

    trial.log_file(model)

    assert find(trial, "model.bin").read_bytes() == b"WEIGHTS"


def test_versions_count_contents(trial: TrialLogger) -> None:
    """A name's versions are its distinct contents; the latest is what was logged last."""
    for content in (b"a", b"b", b"a", b"c", b"b"):
        trial.log_artifact(content, "model")

    assert [found.read_bytes() for found in versions(trial, "model")] == [b"a", b"b", b"c"]
    assert [found.version for found in artifacts(trial)] == [0, 1, 0, 2, 1]
    assert find(trial, "model:v2").read_bytes() == b"c"
    assert find(trial, "model:latest").read_bytes() == b"b"
    assert find(trial, "model@" + hashlib.sha256(b"a").hexdigest()[:10]).read_bytes() == b"a"


@pytest.mark.parametrize("name", ["other", "model:v7", "model:v", "model@123456", "model:newest"])
def test_unknown_artifact_is_named(trial: TrialLogger, name: str) -> None:
    """What is not there is an error that says what was asked for."""
    trial.log_artifact(b"a", "model")

    with pytest.raises(NotFound, match=f"no artifact '{name}'"):
        find(trial, name)


def test_stored_name_that_reads_like_a_version_is_a_name(trial: TrialLogger) -> None:
    """A name of before such names were refused is found as it was given."""
    kept = logged(trial.log_artifact(b"a", "model"))
    trial.protocol.log_trial_artifact(trial.trial, "other:v0", kept.uri, kept.digest, kept.size)

    assert find(trial, "other:v0").read_bytes() == b"a"
    assert find(trial, "other:v0:latest").read_bytes() == b"a"


@pytest.mark.parametrize("name", ["model:latest", "model:v0", "a/model:v12"])
def test_name_that_asks_for_a_version_is_refused(trial: TrialLogger, name: str) -> None:
    """Nobody could say which is meant by it; `@` and other colons are part of a name."""
    with pytest.raises(UnsafePath, match=f"'{name}' cannot be an artifact's name: it asks for a version of"):
        trial.log_artifact(b"a", name)

    assert logged(trial.log_artifact(b"a", "model@20261125")).name == "model@20261125"
    assert logged(trial.log_artifact(b"a", "model:best")).name == "model:best"


def test_versions_are_of_one_project(tmp_path: Path) -> None:
    """Projects do not share names; a store that has several must be told which."""
    uri = f"file:{tmp_path}/runs.json"
    for project in ("digits", "letters"):
        start(uri, project).log_artifact(project.encode(), "model")

    assert find(uri, "model", "letters").read_bytes() == b"letters"
    assert find(uri, "model", "letters").version == 0
    with pytest.raises(InvalidQuery, match="digits, letters"):
        find(uri, "model")


def test_bytes_are_stored_once_over_all_trials(tmp_path: Path, model: Path) -> None:
    """Two trials, two names, one file in the store."""
    uri = f"file:{tmp_path}/runs.json"
    start(uri, lr=0.1).log_file(model)
    start(uri, lr=0.2).log_file(model, name="again.bin")

    stored = [path for path in (tmp_path / "runs.json.artifacts" / "objects").rglob("*") if path.is_file()]

    assert len(stored) == 1
    assert len(artifacts(uri)) == 2


def test_use_is_recorded(trial: TrialLogger) -> None:
    """A trial says which artifacts it used, once each."""
    trial.log_artifact(b"a", "data")
    trial.log_artifact(b"b", "data")

    used = trial.use_artifact("data:v0")
    trial.use_artifact("data:latest")
    trial.use_artifact("data:v0")

    assert used.read_bytes() == b"a"
    assert [(use["name"], use["version"]) for use in trial.trial.metadata["uses"]] == [("data", 0), ("data", 1)]
    assert trial.trial.metadata["uses"][0]["digest"] == used.digest


def test_bytes_need_a_name(trial: TrialLogger) -> None:
    """Bytes have no file name to take."""
    with pytest.raises(InvalidEvent, match="no name of their own"):
        trial.log_artifact(b"a")


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../up", "a/../../b", "a//b", ".", "a/.", "nul\0"])
def test_names_that_climb_are_refused(trial: TrialLogger, model: Path, name: str) -> None:
    """An artifact's name can never lead out of the folder to which it is downloaded."""
    with pytest.raises(UnsafePath):
        trial.log_file(model, name=name)
    with pytest.raises(UnsafePath):
        trial.log_artifact(b"x", name)


def test_damaged_content_is_found(tmp_path: Path, model: Path) -> None:
    """Bytes that are not those that were stored are not returned, and not written."""
    kept = logged(start(f"file:{tmp_path}/runs.json").log_file(model))
    stored = tmp_path / "runs.json.artifacts" / kept.uri
    stored.write_bytes(b"WEIGHTS")

    with pytest.raises(CorruptArtifact, match=r"model\.bin"):
        kept.read_bytes()
    with pytest.raises(CorruptArtifact, match="not what was stored"):
        kept.download(tmp_path / "back.bin")
    assert not (tmp_path / "back.bin").exists()


def test_content_that_is_gone_is_named(tmp_path: Path, model: Path) -> None:
    """A store whose folder was removed says so."""
    kept = logged(start(f"file:{tmp_path}/runs.json").log_file(model))
    (tmp_path / "runs.json.artifacts" / kept.uri).unlink()

    with pytest.raises(NotFound, match=r"'model\.bin' is not at \w+://.*objects"):
        kept.open()


def test_content_that_was_cut_is_stored_again(tmp_path: Path, model: Path) -> None:
    """A file of the store that lost its end, as after a loss of power, is mended by the next upload."""
    trial = start(f"file:{tmp_path}/runs.json")
    kept = logged(trial.log_file(model))
    (tmp_path / "runs.json.artifacts" / kept.uri).write_bytes(b"")

    trial.log_file(model)

    assert kept.read_bytes() == b"weights"


def test_store_moves_with_its_artifacts(tmp_path: Path, model: Path) -> None:
    """A record and the folder beside it are read where they were moved to."""
    trial = start(f"file:{tmp_path}/runs.json")
    trial.log_file(model)
    trial.save()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "runs.json").rename(tmp_path / "elsewhere" / "runs.json")
    (tmp_path / "runs.json.artifacts").rename(tmp_path / "elsewhere" / "runs.json.artifacts")

    assert find(f"file:{tmp_path}/elsewhere/runs.json", "model.bin").read_bytes() == b"weights"


def test_place_is_chosen_by_the_configuration(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment says where files go; what lies beside the store is still read."""
    uri = f"file:{tmp_path}/runs.json"
    start(uri).log_file(model)
    monkeypatch.setenv("TRACK_ARTIFACTS_URL", str(tmp_path / "files"))

    kept = logged(start(uri).log_artifact(b"new", "new"))

    assert kept.uri.startswith(f"file://{tmp_path}/files/objects/")
    assert find(uri, "new").read_bytes() == b"new"
    assert find(uri, "model.bin").read_bytes() == b"weights"


def test_place_with_a_password_is_refused() -> None:
    """A URL that is recorded for others to read holds no credentials."""
    trial = start("ephemeral:?artifacts=s3://key:secret@bucket/files")

    with pytest.raises(InvalidUri, match=r"s3://key:\*\*\*@bucket.*holds credentials"):
        trial.log_artifact(b"x", "x")


def test_place_of_a_server_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database has nothing beside it: files go to the user's data folder, and that is said."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    store = EphemeralProtocol("ephemeral:")
    store.uri = "cockroach://db/track"

    assert place_of(store).url == f"{tmp_path}/track/artifacts"


def test_store_in_memory_takes_its_files_along(model: Path) -> None:
    """Artifacts of a store in memory are in a temporary folder of the process."""
    kept = logged(start("ephemeral:").log_file(model))

    assert "track-artifacts-" in kept.uri
    assert kept.read_bytes() == b"weights"


def test_reference_to_a_file_stays_where_it_is(trial: TrialLogger, model: Path) -> None:
    """Data that is only named is not copied; that it has changed since is found out."""
    kept = logged(trial.log_artifact(f"file://{model}"))

    assert (kept.name, kept.uri, kept.size, kept.is_reference) == ("model.bin", f"file://{model}", 7, True)
    assert kept.read_bytes() == b"weights"
    model.write_bytes(b"changed now")
    with pytest.raises(CorruptArtifact, match="has changed since"):
        kept.open()


@pytest.mark.parametrize(
    "url", ["s3://key:secret@bucket/x", "s3://token@bucket/x", "https://example.org/x?X-Amz-Security-Token=secret"]
)
def test_reference_with_credentials_is_refused(trial: TrialLogger, url: str) -> None:
    """A URL is recorded for others to read, so it holds no secret."""
    with pytest.raises(InvalidUri, match="holds credentials") as refused:
        trial.log_artifact(url)

    assert "secret" not in str(refused.value)
    assert trial.trial.artifacts == []


def test_reference_to_an_object_of_a_store_is_one(trial: TrialLogger, model: Path, tmp_path: Path) -> None:
    """Data that lies where artifacts lie is still only named."""
    place = tmp_path / "other" / "objects" / "ab"
    place.mkdir(parents=True)
    (place / ("ab" * 32)).write_bytes(b"weights")

    kept = logged(trial.log_artifact(f"file://{place}/{'ab' * 32}"))

    assert kept.is_reference
    assert kept.read_bytes() == b"weights"


def test_reference_to_nothing_is_an_error(trial: TrialLogger, tmp_path: Path) -> None:
    """A reference names data that is there."""
    with pytest.raises(NotFound, match="nothing is at"):
        trial.log_artifact(f"file://{tmp_path}/none.bin")


def test_method_backend_keeps_artifacts_as_metadata(model: Path) -> None:
    """A backend of methods that knows no manifests is told of the file in its own words."""

    class Listening(Protocol):
        def __init__(self, uri: str) -> None:
            self.told: dict[str, Any] = {}

        def new_trial(self, trial: Trial, auto_increment: bool = False) -> Trial | None:
            return trial

        def log_trial_metadata(self, trial: Trial, /, aggregator: Any = None, **kwargs: Any) -> None:
            self.told |= kwargs

    backend = Listening("listening:")
    register("listening", lambda uri: backend)
    try:
        trial = TrackClient("listening:").new_trial(parameters={})
        kept = logged(trial.log_artifact(b"weights", "model"))
    finally:
        unregister("listening")

    assert backend.told["artifact.model"]["digest"] == kept.digest


class _Bar:
    """What tqdm is, as far as it is used."""

    made: ClassVar[list[_Bar]] = []

    def __init__(self, total: int, desc: str, **kwargs: Any) -> None:
        self.total, self.moved, self.is_closed = total, 0, False
        self.made.append(self)

    def update(self, count: int) -> None:
        self.moved += count

    def close(self) -> None:
        self.is_closed = True


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        """Be one."""
        return True


def test_transfer_is_shown(trial: TrialLogger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar is told of every byte, of uploads and downloads."""
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(9 << 20))
    _Bar.made = []
    monkeypatch.setitem(sys.modules, "tqdm", SimpleNamespace(tqdm=_Bar))
    monkeypatch.setattr("sys.stderr", _Terminal())

    kept = logged(trial.log_file(path))
    kept.download(tmp_path / "back.bin")

    assert [(bar.total, bar.moved, bar.is_closed) for bar in _Bar.made] == [(9 << 20, 9 << 20, True)] * 2


def test_missing_file_is_an_error(trial: TrialLogger, tmp_path: Path) -> None:
    """A name that is wrong is a mistake in the program, and raises."""
    for text in ("notes", "a long note. " * 1_000):
        with pytest.raises(FileNotFoundError, match="text is given as bytes"):
            trial.log_artifact(text, "notes.txt")
    with pytest.raises(FileNotFoundError):
        trial.log_file(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        trial.log_directory(tmp_path / "none")


@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "device"])
def test_what_is_no_file_is_refused(trial: TrialLogger, tmp_path: Path, kind: str) -> None:
    """Folders, pipes, sockets and devices are no files; nothing waits for them."""
    path = tmp_path / "odd"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    else:
        path = Path(os.devnull)
    expected = {"folder": "a folder", "pipe": "a pipe", "socket": "a socket", "device": "a device"}[kind]

    with pytest.raises(UnsafePath, match=expected):
        trial.log_file(path)


def test_empty_file_and_link_are_files(trial: TrialLogger, tmp_path: Path) -> None:
    """No bytes are content too; a link that is named is what it leads to."""
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to("empty")

    trial.log_file(tmp_path / "empty")
    trial.log_file(tmp_path / "link")

    assert [(found.name, found.size, found.read_bytes()) for found in artifacts(trial)] == [
        ("empty", 0, b""),
        ("link", 0, b""),
    ]


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="needs /proc")
def test_file_that_tells_no_size_is_stored_whole(trial: TrialLogger) -> None:
    """The files of /proc say that they are empty, and are not."""
    trial.log_file("/proc/version")

    (kept,) = artifacts(trial)
    assert kept.read_bytes() == Path("/proc/version").read_bytes()
    assert kept.size == len(kept.read_bytes()) > 0


def test_executable_stays_executable(trial: TrialLogger, tmp_path: Path) -> None:
    """A directory's scripts can be run after a download."""
    (tmp_path / "tools").mkdir()
    script = tmp_path / "tools" / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)

    logged(trial.log_directory(tmp_path / "tools")).download(tmp_path / "back")

    assert (tmp_path / "back" / "run.sh").stat().st_mode & stat.S_IXUSR


def test_artifact_of_a_step(trial: TrialLogger, tmp_path: Path) -> None:
    """A file, a folder and bytes may be of a step, which is with them when they are found; versions are as without."""
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "a.txt").write_text("plot")
    for epoch in range(2):
        logged(trial.log_artifact(b"weights %d" % epoch, "model", step=epoch))
    logged(trial.log_file(tmp_path / "plots" / "a.txt", "plot", step="final"))
    kept = logged(trial.log_directory(tmp_path / "plots", step=(1, 2)))

    found = artifacts(trial)

    assert [(one.name, one.step, one.version) for one in found] == [
        ("model", 0, 0), ("model", 1, 1), ("plot", "final", 0), ("plots", (1, 2), 0),
    ]  # fmt: skip
    assert kept.step == (1, 2)
    assert len(set(found)) == len(found)


def test_artifact_of_a_step_that_is_none_is_not_stored(trial: TrialLogger) -> None:
    """What cannot be the step of a metric cannot be that of a file; nothing is stored."""
    with pytest.raises(InvalidEvent, match="cannot be a key"):
        trial.log_artifact(b"weights", "model", step={"epoch": 1})

    assert artifacts(trial) == []
