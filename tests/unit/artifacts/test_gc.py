"""What nobody names is removed; what somebody names, or is about to name, never is."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import msgspec
import pytest

from tests.children import die, run
from tests.unit.artifacts.test_artifacts import logged, start
from track import TrackClient
from track.artifacts import artifacts, find, gc
from track.artifacts.keys import OBJECTS
from track.artifacts.leases import condemn, hold_lease, live_leases, read_condemned
from track.artifacts.local import LocalFolder
from track.artifacts.location import open_folder, place_of, protocol_of
from track.artifacts.recording import Recorder
from track.artifacts.store import ArtifactStore
from track.cli import main
from track.errors import BackendUnavailable, NotFound
from track.persistence.protocol import Protocol
from track.utils.system import process_identity


@pytest.fixture(params=["local", "memory"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give a store with its artifacts in a folder, or behind fsspec."""
    if request.param == "local":
        return f"file:{tmp_path}/runs.json"
    pytest.importorskip("fsspec", reason="needs fsspec: run pip install .[fsspec]")
    return f"file:{tmp_path}/runs.json?artifacts=memory://{tmp_path.name}/files"


def _store(uri: str) -> ArtifactStore:
    return ArtifactStore(open_folder(place_of(protocol_of(uri)).url))


def _garbage(uri: str, content: bytes = b"garbage") -> str:
    """Store bytes that no trial names, and return their key."""
    store = _store(uri)
    with store.storing() as lease:
        return store.put_bytes(content, lease).key


def test_files_of_a_deleted_trial_stay_until_it_is_forgotten(uri: str) -> None:
    """A deleted trial may be restored, with its files; of one that is forgotten only what others have, too, stays."""
    trials = [start(uri, lr=lr) for lr in (1, 2)]
    for trial in trials:
        trial.log_artifact(b"shared", "data")
        trial.finish()
    own = logged(trials[0].log_artifact(b"weights", "model"))
    client = TrackClient(uri)
    client.delete_trial(trials[0])

    assert gc(uri) == ([], 0, 0)
    assert artifacts(uri, {"deleted": True})[1].read_bytes() == b"weights"
    assert [found.name for found in artifacts(uri)] == ["data"]
    assert client.protocol.forget_trials().trials == [trials[0].trial.uid]
    swept = gc(uri)

    assert (swept.size, own.uri.endswith(swept.removed[0])) == (7, True)
    assert find(uri, "data").read_bytes() == b"shared"


def test_what_nobody_names_is_removed(uri: str, tmp_path: Path) -> None:
    """Garbage goes, with its size; what trials name stays."""
    trial = start(uri)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("a")
    trial.log_artifact(b"weights", "model")
    trial.log_directory(tmp_path / "data")
    key = _garbage(uri)

    swept = gc(uri)

    assert (swept.removed, swept.size, swept.waiting) == ([key], 7, 0)
    assert find(uri, "model").read_bytes() == b"weights"
    assert find(uri, "data").read_bytes("a.txt") == b"a"
    assert gc(uri) == ([], 0, 0)


def test_dry_run_only_tells(uri: str) -> None:
    """Nothing is removed, and nothing written."""
    start(uri).log_artifact(b"weights", "model")
    key = _garbage(uri)

    swept = gc(uri, dry_run=True)

    assert swept.removed == [key]
    assert _store(uri).folder.read(key) == b"garbage"
    assert read_condemned(_store(uri).folder) == []


def test_file_of_an_unnamed_directory_is_garbage(uri: str, tmp_path: Path) -> None:
    """A listing nobody names goes with its files, but for those that are named otherwise."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("a")
    (tmp_path / "data" / "b.txt").write_text("b")
    start(uri).log_artifact(b"a", "a")
    store = _store(uri)
    with store.storing() as lease:
        store.put_tree(str(tmp_path / "data"), True, lease)

    swept = gc(uri)

    assert len(swept.removed) == 2
    assert find(uri, "a").read_bytes() == b"a"


def test_running_upload_is_waited_for(uri: str) -> None:
    """What an upload found or stored before `gc` began is kept until it has ended."""
    trial = start(uri)
    key = _garbage(uri)
    store = _store(uri)
    with store.storing() as lease:
        kept = store.put_bytes(b"garbage", lease)

        during = gc(uri)

        assert (during.removed, during.waiting) == ([], 1)
        trial.protocol.log_trial_artifact(trial.trial, "model", kept.key, kept.digest, kept.size)
    after = gc(uri)
    assert (after.removed, after.waiting) == ([], 0)
    assert store.folder.read(key) == b"garbage"
    assert read_condemned(store.folder) == []


def test_what_is_condemned_is_stored_again_elsewhere(uri: str) -> None:
    """An upload that begins later bases nothing on what is about to go."""
    trial = start(uri)
    key = _garbage(uri)
    store = _store(uri)
    with store.storing():
        gc(uri)
        kept = logged(trial.log_artifact(b"garbage", "model"))

    swept = gc(uri)

    assert swept.removed == [key]
    assert kept.uri.endswith(f"{key}.1")
    assert kept.read_bytes() == b"garbage"


def test_later_uploads_do_not_hold_it_up(uri: str) -> None:
    """Only those uploads are waited for that were there when it was condemned."""
    start(uri)
    key = _garbage(uri)
    store = _store(uri)
    with store.storing():
        assert gc(uri).waiting == 1
    with store.storing():
        assert gc(uri).removed == [key]


def test_upload_between_the_looks_is_seen(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that is made between the first look at the manifests and the condemnation saves its content."""
    trial = start(uri)
    _garbage(uri)
    condemned = gc.__globals__["_condemn_new"]

    def store_first(*arguments: object) -> object:
        trial.log_artifact(b"garbage", "model")
        return condemned(*arguments)

    monkeypatch.setitem(gc.__globals__, "_condemn_new", store_first)
    swept = gc(uri)

    assert swept.removed == []
    assert find(uri, "model").read_bytes() == b"garbage"


def test_store_that_is_new_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracking store that begins to use the folder meanwhile is asked before anything goes."""
    place = f"?artifacts={tmp_path}/files"
    first, second = f"file:{tmp_path}/a.json{place}", f"file:{tmp_path}/b.json{place}"
    start(first)
    _garbage(first)
    condemned = gc.__globals__["_condemn_new"]

    def store_first(*arguments: object) -> object:
        start(second).log_artifact(b"garbage", "model")
        return condemned(*arguments)

    monkeypatch.setitem(gc.__globals__, "_condemn_new", store_first)

    assert gc(first).removed == []
    assert find(second, "model").read_bytes() == b"garbage"


def test_stores_that_share_a_folder_are_all_asked(tmp_path: Path) -> None:
    """What one names, `gc` of the other keeps; one that cannot be asked is an error, and nothing goes."""
    place = f"?artifacts={tmp_path}/files"
    first, second = f"file:{tmp_path}/a.json{place}", f"file:{tmp_path}/b.json{place}"
    start(first).log_artifact(b"first", "model")
    start(second).log_artifact(b"second", "model")
    key = _garbage(first)

    assert gc(first).removed == [key]
    key = _garbage(first)
    for path in tmp_path.glob("b.json*"):
        path.unlink()
    with pytest.raises(NotFound, match=r"file://.*/b\.json keeps artifacts in file://.*/files too"):
        gc(first)

    assert _store(first).folder.read(key) == b"garbage"
    assert find(first, "model").read_bytes() == b"first"


def test_server_that_is_away_is_named_with_its_note(tmp_path: Path) -> None:
    """Who cleans up a file reads why a server is asked at all, and that nothing goes while it is away."""
    first = f"file:{tmp_path}/a.json?artifacts={tmp_path}/files"
    start(first).log_artifact(b"first", "model")
    key, note = _garbage(first), tmp_path / "files" / "stores" / "0123456789abcdef.json"
    note.write_text('{"uri": "socket://127.0.0.1:1", "id": "%s"}' % ("0" * 32))

    with pytest.raises(BackendUnavailable, match=r"socket://127.*0123456789abcdef\.json, keeps artifacts here too"):
        gc(first)

    assert _store(first).folder.read(key) == b"garbage"


def test_folder_beside_a_store_belongs_to_it(tmp_path: Path) -> None:
    """A store that keeps its files in the folder beside another does not remove the other's."""
    first = f"file:{tmp_path}/a.json"
    second = f"file:{tmp_path}/b.json?artifacts={tmp_path}/a.json.artifacts"
    start(first).log_artifact(b"first", "model")
    start(second).log_artifact(b"second", "model")

    assert gc(second).removed == []
    assert gc(first).removed == []
    assert find(first, "model").read_bytes() == b"first"


def test_record_on_its_way_keeps_its_content(tmp_path: Path) -> None:
    """Content whose record waits in memory until it is saved is kept, and the note of it goes when it is there."""
    uri = f"file:{tmp_path}/runs.json?eager=0"
    start(f"file:{tmp_path}/runs.json").log_artifact(b"other", "other")
    client = TrackClient(uri)
    client.set_project(name="digits")
    trial = client.new_trial(parameters={"later": 1})
    kept = logged(trial.log_artifact(b"weights", "model"))

    assert gc(f"file:{tmp_path}/runs.json").removed == []
    client.save()
    assert gc(f"file:{tmp_path}/runs.json").removed == []

    assert kept.read_bytes() == b"weights"
    assert _store(uri).folder.files("pending") == []


def test_notes_go_when_a_server_has_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that delivers leaves no more notes than records that are on their way."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    trial = start(f"sqlite://{tmp_path}/runs.db")
    for number in range(3):
        trial.log_artifact(bytes([number]), "model")
        trial.protocol.flush()

    notes = LocalFolder(f"{tmp_path}/runs.db.artifacts").files("pending")

    assert len(notes) == 1
    trial.protocol.close()


def _die_before_the_record(uri: str) -> None:
    """Store content, and be killed before its record is made."""

    def log_and_die() -> None:
        Recorder._tell = lambda *_: die()  # type: ignore[assignment,method-assign]
        start(uri).log_artifact(b"weights", "model")

    assert run(log_and_die) == -signal.SIGKILL


@pytest.mark.parametrize("scheme", ["sqlite", "file"])
def test_note_of_a_killed_process_goes_when_nothing_of_it_waits(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was killed before it made a record keeps its content no longer than its events wait."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    uri = f"{scheme}:{tmp_path}/runs{'?eager=0' if scheme == 'file' else ''}"
    start(f"{scheme}:{tmp_path}/runs").protocol.close()
    _die_before_the_record(uri)
    folder = LocalFolder(f"{tmp_path}/runs.artifacts")
    assert len(folder.files("pending")) == 1
    (content,) = folder.files(OBJECTS)
    assert main(["sync"]) == 0

    assert gc(f"{scheme}:{tmp_path}/runs").removed == [content.key]
    assert folder.files("pending") == []


@pytest.mark.parametrize("is_seen", [True, False])
def test_note_of_a_killed_process_stays_while_its_record_may_wait(
    is_seen: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is a spill of it, or nobody may look whether there is, the record may still come."""
    uri = f"file:{tmp_path}/runs"
    start(uri)
    key, folder = _garbage(uri), _store(uri).folder
    gone = {**process_identity(), "started": "boot/namespace/0"}
    note = {"key": key, "store": "f" * 32, "owner": gone, "spills": [str(tmp_path / "spill" / "of it")]}
    folder.write("pending/gone", msgspec.json.encode(note))
    (tmp_path / "spill" / "of it").mkdir(parents=True)
    if not is_seen:
        (tmp_path / "spill" / "of it").rmdir()
        monkeypatch.setattr("os.lstat", _refuse)

    assert gc(uri).removed == []
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "spill")
    folder.write("pending/away", msgspec.json.encode({**note, "owner": {**gone, "host": "elsewhere"}}))
    assert gc(uri).removed == []
    folder.remove(["pending/away"])
    assert gc(uri).removed == [key]


def _refuse(path: str) -> None:
    raise PermissionError(path)


def test_file_that_was_removed_is_stored_again(tmp_path: Path) -> None:
    """A store does not believe that content is there because it has put it there once."""
    folder = LocalFolder(str(tmp_path / "files"))
    (tmp_path / "a.txt").write_text("a")
    status = (tmp_path / "a.txt").stat()
    stamp = status.st_size, status.st_mtime_ns, status.st_ino
    first = folder.put_known(str(tmp_path / "a.txt"), stamp, "lease", frozenset())
    assert first is not None
    folder.remove([first.key])

    again = folder.put_known(str(tmp_path / "a.txt"), stamp, "lease", frozenset())

    assert again == first
    assert folder.read(first.key) == b"a"


def test_dead_processes_are_not_waited_for(tmp_path: Path) -> None:
    """A lease of a process that is gone is removed; one of another machine is believed for a day."""
    folder = LocalFolder(str(tmp_path / "files"))
    gone = {**process_identity(), "started": "boot/namespace/0"}
    folder.write("leases/gone", msgspec.json.encode(gone))
    folder.write("leases/away", msgspec.json.encode({**gone, "host": "elsewhere"}))
    folder.write("leases/silent", msgspec.json.encode({**gone, "host": "elsewhere"}))
    os.utime(tmp_path / "files" / "leases" / "silent", (1.0, 1.0))

    assert live_leases(folder) == {"away"}
    assert [found.key for found in folder.files("leases")] == ["leases/away"]


def test_note_of_a_killed_gc_is_gone_on_with(tmp_path: Path) -> None:
    """What a `gc` that was killed had condemned is adopted, with nobody to wait for but those who are there now."""
    uri = f"file:{tmp_path}/runs.json"
    start(uri)
    key = _garbage(uri)
    folder = _store(uri).folder
    condemn(folder, [key], None, is_owned=False)

    with hold_lease(folder):
        assert gc(uri).waiting == 1
    assert gc(uri).removed == [key]


def test_note_of_a_running_gc_is_left_alone(tmp_path: Path) -> None:
    """Only who has written a note acts on it, and uploads heed it until then."""
    uri = f"file:{tmp_path}/runs.json"
    trial = start(uri)
    key = _garbage(uri)
    folder = _store(uri).folder
    note = condemn(folder, [key], [])

    gc(uri)

    assert [found.key for found in read_condemned(folder)] == [note]
    assert logged(trial.log_artifact(b"garbage", "model")).uri == f"{key}.1"


def test_broken_transfers_are_cleared_away(tmp_path: Path) -> None:
    """What a killed upload left goes; what a running one has collected stays."""
    uri = f"file:{tmp_path}/runs.json"
    start(uri).log_artifact(b"weights", "model")
    folder = _store(uri).folder
    root = tmp_path / "runs.json.artifacts"
    (root / "partial").mkdir(exist_ok=True)
    (root / "partial" / ".dead-1.1").write_bytes(b"12345")
    with hold_lease(folder) as lease:
        mine = root / OBJECTS / f".{lease.uid}-1.1"
        mine.write_bytes(b"123")

        swept = gc(uri)

        assert swept.size == 5
        assert mine.exists()
    assert not (root / "partial" / ".dead-1.1").exists()


def test_nothing_is_removed_when_manifests_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracking store that fails in the middle leaves everything as it is, for the next run."""
    uri = f"file:{tmp_path}/runs.json"
    trial = start(uri)
    trial.log_artifact(b"weights", "model")
    key = _garbage(uri)
    answers = [lambda: trial.protocol.fetch_trials(None)]

    class Failing(Protocol):
        uri = trial.protocol.uri
        file = f"{tmp_path}/runs.json"

        def fetch_trials(self, query: object = None) -> object:
            if answers:
                return answers.pop()()
            raise BackendUnavailable("away")

    with pytest.raises(BackendUnavailable, match="away"):
        gc(Failing())

    assert _store(uri).folder.read(key) == b"garbage"
    assert gc(uri).removed == [key]


def test_missing_directory_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A listing that somebody removed by hand does not stop the rest."""
    uri = f"file:{tmp_path}/runs.json"
    trial = start(uri)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("a")
    kept = logged(trial.log_directory(tmp_path / "data"))
    (tmp_path / "runs.json.artifacts" / kept.uri).unlink()

    swept = gc(uri)

    assert len(swept.removed) == 1
    assert "is named by a trial, and is not there" in caplog.text
    assert len(artifacts(uri)) == 1


def test_recorder_tells_where(tmp_path: Path) -> None:
    """A folder of artifacts knows the stores that name what is in it."""
    trial = start(f"file:{tmp_path}/runs.json")
    Recorder(trial.protocol, trial.trial).add_bytes(b"x", "x")

    (note,) = (tmp_path / "runs.json.artifacts" / "stores").iterdir()

    assert msgspec.json.decode(note.read_bytes()) == {"uri": "beside:file", "id": trial.protocol.identity()}
