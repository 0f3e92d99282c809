"""A snapshot and a journal that do not belong together: nothing is doubled, lost or overwritten that is not told."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import track
from tests.children import run
from track import TrackClient
from track.errors import BackendUnavailable
from track.persistence import get_protocol
from track.persistence.file import FileStore
from track.persistence.file.folding import Folding

FILES = ("r.json", "r.json.journal", "r.json.lock")


@pytest.fixture(autouse=True)
def _journal_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a process that ends keep its journal, as one that is killed, or shares the store, does."""
    monkeypatch.setattr(Folding, "remove_journal", lambda self: None)


def _values(path: Path) -> dict[str, list[float]]:
    """Return the numbers of each trial."""
    return {trial.name: list(trial.metrics.get("loss", {}).values()) for trial in track.fetch(f"file://{path}")}


def _log(path: Path, name: str, values: int = 3, is_saved: bool = True, is_cut: bool = False) -> None:
    """Log a trial, in a process of its own, which leaves its journal."""

    def child() -> None:
        client = TrackClient(f"file://{path}")
        client.set_project(name="digits")
        trial = client.new_trial(name=name, parameters={"name": name})
        for step in range(values):
            trial.log_metrics(step=step, loss=float(step))
        store = client.protocol.store  # type: ignore[attr-defined]
        if is_saved:
            store.save()
        if is_cut:
            store.folding.cut()
        os._exit(0)

    assert run(child) == 0


def _states(path: Path) -> Iterator[dict[str, bytes]]:
    """Yield the files of a store, each time that something has happened to it."""
    for number in range(3):
        _log(path, f"saved{number}", is_saved=True)
        yield {name: (path.parent / name).read_bytes() for name in FILES}
        _log(path, f"logged{number}", is_saved=False)
        yield {name: (path.parent / name).read_bytes() for name in FILES}
        _log(path, f"cut{number}", is_saved=True, is_cut=True)
        yield {name: (path.parent / name).read_bytes() for name in FILES}


def test_files_copied_one_after_the_other_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever happens between two files, in whichever order they are copied: no number twice, and a gap is said."""
    (tmp_path / "run").mkdir()
    states = list(_states(tmp_path / "run" / "r.json"))

    def values(snapshot: int, journal: int) -> dict[str, list[float]]:
        copy = tmp_path / f"{snapshot}-{journal}" / "r.json"
        shutil.rmtree(copy.parent, ignore_errors=True)
        copy.parent.mkdir()
        copy.write_bytes(states[snapshot]["r.json"])
        Path(f"{copy}.journal").write_bytes(states[journal]["r.json.journal"])
        return _values(copy)

    moments = [values(number, number) for number in range(len(states))]
    assert "r.json" not in caplog.text
    for snapshot, journal in itertools.product(range(len(states)), repeat=2):
        caplog.clear()
        seen = values(snapshot, journal)

        assert all(numbers == [0.0, 1.0, 2.0] for numbers in seen.values() if numbers), (snapshot, journal, seen)
        assert seen in moments or "is older than" in caplog.text, (snapshot, journal, seen)


def test_older_snapshot_is_told_and_its_journal_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A snapshot put back alone, older than the journal: what is missing between is said, and the journal is kept."""
    path = tmp_path / "r.json"
    _log(path, "one", is_cut=True)
    older = path.read_bytes()
    _log(path, "two", is_cut=True)
    _log(path, "three", is_saved=False)
    journal = Path(f"{path}.journal").read_bytes()
    path.write_bytes(older)

    assert _values(path)["three"] == [0.0, 1.0, 2.0]
    assert f"{path} is older than {path}.journal" in caplog.text
    _log(path, "four")

    assert sorted(_values(path)) == ["four", "one", "three"]
    assert Path(f"{path}.journal.left-0").read_bytes().startswith(journal)


def test_journal_of_before_is_not_added_twice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A journal put back that is older than the snapshot: its lines are in the snapshot, and it is put aside."""
    path = tmp_path / "r.json"
    _log(path, "one")
    older = Path(f"{path}.journal").read_bytes()
    _log(path, "two", is_cut=True)
    _log(path, "three")
    Path(f"{path}.journal").write_bytes(older)

    assert _values(path) == {name: [0.0, 1.0, 2.0] for name in ("one", "two", "three")}
    assert f"{path}.journal is older than the snapshot" in caplog.text
    _log(path, "four")

    assert _values(path) == {name: [0.0, 1.0, 2.0] for name in ("one", "two", "three", "four")}
    assert Path(f"{path}.journal.left-0").read_bytes() == older


def test_snapshot_of_another_store_is_not_mixed_with_the_journal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Another store's file put in place of the snapshot is that store; the journal is told, kept, and not read."""
    path, other = tmp_path / "r.json", tmp_path / "other" / "r.json"
    other.parent.mkdir()
    _log(path, "one", is_saved=True)
    _log(path, "two", is_saved=False)
    _log(other, "another")
    journal = Path(f"{path}.journal").read_bytes()
    os.replace(other, path)

    assert list(_values(path)) == ["another"]
    assert f"{path}.journal does not belong to {path}" in caplog.text
    _log(path, "three")

    assert list(_values(path)) == ["another", "three"]
    assert Path(f"{path}.journal.left-0").read_bytes() == journal


def test_copies_that_went_their_own_ways_are_not_mixed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The snapshot of a copy, put beside the journal that both had and one has gone on in: seen by what is in it."""
    path, copy = tmp_path / "desk" / "r.json", tmp_path / "laptop" / "r.json"
    path.parent.mkdir()
    _log(path, "both", is_saved=True)
    shutil.copytree(path.parent, copy.parent)
    hidden = path.parent.rename(tmp_path / "elsewhere")
    _log(copy, "laptop", values=5)
    hidden.rename(path.parent)
    _log(path, "desk", values=200, is_saved=False)
    shutil.copy(copy, path)

    assert sorted(_values(path)) == ["both", "laptop"]
    assert f"{path}.journal does not belong to {path}" in caplog.text


@pytest.mark.parametrize("is_saved", [True, False])
def test_copy_in_place_of_the_snapshot_is_not_mixed_with_the_journal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_saved: bool
) -> None:
    """What `save` wrote to another name, put over the snapshot of a killed run: no number twice, no journal lost."""
    path, copy = tmp_path / "r.json", tmp_path / "copy.json"

    def child() -> None:
        client = TrackClient(f"file://{path}")
        trial = client.new_trial(name="run", parameters={})
        for value in (0.0, 1.0):
            trial.log_metrics(plain=value)
        client.save(str(copy))
        if is_saved:
            client.save()
        trial.log_metrics(plain=2.0)
        os._exit(0)

    assert run(child) == 0
    shutil.copy(copy, path)

    (trial,) = track.fetch(f"file://{path}")
    assert trial.metrics["plain"].val == [0.0, 1.0]
    assert "does not belong to" in caplog.text
    _log(path, "more")
    assert [trial.metrics["plain"].val for trial in track.fetch(f"file://{path}", {"name": "run"})] == [[0.0, 1.0]]
    assert b"2.0" in (tmp_path / "r.json.journal.left-0").read_bytes()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format": 1, "projects": []}'])
def test_snapshot_that_was_emptied_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes) -> None:
    """An empty file in place of the snapshot that a journal goes on from: what was in it is said to be missing."""
    path = tmp_path / "r.json"
    _log(path, "first", is_cut=True)
    _log(path, "second", is_saved=False)
    path.write_bytes(content)

    assert _values(path) == {"second": [0.0, 1.0, 2.0]}
    assert "what was logged in between is in neither" in caplog.text
    _log(path, "third")
    assert set(_values(path)) == {"second", "third"}
    assert (tmp_path / "r.json.journal.left-0").exists()


@pytest.mark.parametrize("how", ["cp", "mv"])
@pytest.mark.parametrize("what", ["other", "git"])
def test_file_put_over_an_open_store_is_kept(
    tmp_path: Path, how: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A running process notices a foreign file in place of its snapshot: it is kept aside, and the run is complete."""
    path, given = tmp_path / "r.json", tmp_path / "given.json"
    _log(given if what == "other" else path, "given", is_cut=True)
    if what == "git":
        shutil.copy(path, given)
        _log(path, "two", is_cut=True)
    client = TrackClient(f"file://{path}")
    client.set_project(name="digits")
    trial = client.new_trial(name="run", parameters={"n": 1})
    trial.log_metrics(step=0, loss=0.0)
    client.save()
    client.protocol.store.folding.cut()  # type: ignore[attr-defined]
    before = set(_values(path))
    content = given.read_bytes()
    shutil.copy(given, path) if how == "cp" else os.replace(given, path)

    trial.log_metrics(step=1, loss=1.0)
    trial.finish()
    client.protocol.close()

    assert set(_values(path)) == before
    assert _values(path)["run"] == [0.0, 1.0]
    assert Path(f"{path}.left-0").read_bytes() == content
    assert f"{path} was replaced by another program" in caplog.text


def test_store_whose_snapshot_was_replaced_refuses_another_writer(tmp_path: Path) -> None:
    """While a process writes to the journal of a snapshot that was replaced, another one begins nothing beside it."""
    path = tmp_path / "r.json"
    client = TrackClient(f"file://{path}")
    client.set_project(name="digits")
    client.save()
    _log(tmp_path / "other.json", "other")
    os.replace(tmp_path / "other.json", path)

    other = FileStore(str(path), 1.0)
    with pytest.raises(BackendUnavailable, match="was replaced while a process writes"):
        other.start_writing()


def test_fields_of_a_newer_version_are_kept(tmp_path: Path) -> None:
    """What this version does not know, in a file of its own format, is there after it has saved."""
    path = tmp_path / "r.json"
    _log(path, "one")
    Path(f"{path}.journal").unlink()
    document = json.loads(path.read_bytes())
    document["novel"] = {"a": [1, None]}
    document["projects"][0]["novel"] = 2
    document["projects"][0]["groups"] = [
        {"dtype": "trial_group", "uid": "g", "name": "g", "project_id": "digits", "novel": 3}
    ]
    document["projects"][0]["trials"][0]["novel"] = "text"
    path.write_text(json.dumps(document), encoding="utf-8")

    client = TrackClient(f"file://{path}")
    client.set_project(name="digits")
    client.set_trial(uid=document["projects"][0]["trials"][0]["uid"])
    client.log_metrics(step=9, loss=9.0)
    client.save()

    saved = json.loads(path.read_bytes())
    assert saved["novel"] == {"a": [1, None]}
    assert saved["projects"][0]["novel"] == 2
    assert saved["projects"][0]["groups"][0]["novel"] == 3
    assert saved["projects"][0]["trials"][0]["novel"] == "text"
    assert _values(path)["one"][-1] == 9.0


def test_snapshot_overwritten_in_place_gives_no_wrong_numbers(tmp_path: Path) -> None:
    """A file that `cp` wrote over while a reader had it open: the reader says so, and invents nothing."""
    path = tmp_path / "r.json"
    _log(path, "long", values=3_000, is_cut=True)
    (trial,) = track.fetch(f"file://{path}")
    path.write_bytes(path.read_bytes().replace(b"7", b"8"))

    with pytest.raises(track.errors.CorruptJournal, match="overwritten in place"):
        trial.metrics["loss"].values()


def test_saved_copy_is_a_store_of_its_own(tmp_path: Path) -> None:
    """What `save` writes to another name has an id of its own, and knows whose copy it is."""
    path = tmp_path / "r.json"
    _log(path, "one")
    client = TrackClient(f"file://{path}")
    client.save(str(tmp_path / "copy.json"))
    copy = get_protocol(f"file://{tmp_path}/copy.json")

    assert copy.identity() != client.protocol.identity() != ""
    assert copy.former_identities() == [client.protocol.identity()]


def test_journal_with_lines_of_a_newer_version_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A line that cannot be read is said, and the journal that has it is kept when it is folded and cut."""
    path = tmp_path / "r.json"
    _log(path, "one", is_saved=False)
    with open(f"{path}.journal", "ab") as journal:
        journal.write(b'{"event":"novel","at":1.0}\n')
    content = Path(f"{path}.journal").read_bytes()

    _log(path, "two", is_cut=True)

    assert _values(path) == {"one": [0.0, 1.0, 2.0], "two": [0.0, 1.0, 2.0]}
    assert Path(f"{path}.journal.left-0").read_bytes().startswith(content)
    assert not Path(f"{path}.journal.left-1").exists()


def test_state_is_not_built_again_from_a_foreign_file(tmp_path: Path) -> None:
    """A running process that has to read its files again does not take another store's for its own."""
    path = tmp_path / "r.json"
    client = TrackClient(f"file://{path}")
    client.set_project(name="digits")
    trial = client.new_trial(name="run", parameters={"n": 1})
    client.save()
    _log(tmp_path / "other.json", "other")
    content = path.read_bytes()
    os.replace(tmp_path / "other.json", path)
    store = client.protocol.store  # type: ignore[attr-defined]
    store._known.is_whole = False

    with pytest.raises(BackendUnavailable, match="was replaced while a process writes"):
        client.protocol.fetch_trials()
    trial.log_metrics(step=0, loss=0.0)
    path.write_bytes(content)

    assert _values(path) == {"run": [0.0]}
    trial.finish()
    assert _values(path) == {"run": [0.0]}


def test_damaged_description_of_the_journal_opens(tmp_path: Path) -> None:
    """What a person has changed in the head of the file, so that it makes no sense, hides no trial."""
    path = tmp_path / "r.json"
    _log(path, "one")
    Path(f"{path}.journal").unlink()
    document = json.loads(path.read_bytes())
    document["journal"] = {"id": "x", "offset": -1, "former": 3, "store": None}
    path.write_text(json.dumps(document), encoding="utf-8")

    _log(path, "two")

    assert _values(path) == {"one": [0.0, 1.0, 2.0], "two": [0.0, 1.0, 2.0]}
