"""The file backend keeps the contract, with a new reader at every question."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.reopening import reopened
from track import TrackClient
from track.errors import BackendUnavailable, InvalidUri
from track.persistence import get_protocol
from track.persistence.file.journal import Journal
from track.persistence.local import FileProtocol
from track.persistence.protocol import Protocol
from track.persistence.utils import parse_uri
from track.structure import Project
from track.testing import ProtocolTests
from track.testing.clocks import ClockTests


class TestFile(ProtocolTests):
    """One JSON file and its journal."""

    @pytest.fixture
    def protocol(self, tmp_path: Path) -> Protocol:
        """Give a store in a new folder."""
        return FileProtocol(f"file:{tmp_path}/runs.json")

    def reopen(self, protocol: Protocol) -> Protocol:
        """Return a protocol whose state is read from the disk again."""
        assert isinstance(protocol, FileProtocol)
        return reopened(protocol)


class TestFileAfterSave(TestFile):
    """The same when every question is asked of the saved JSON file alone."""

    def reopen(self, protocol: Protocol) -> Protocol:
        """Save, and read the snapshot."""
        protocol.commit()
        return super().reopen(protocol)


class TestFileInMemory(ProtocolTests):
    """``file:`` without a path is in memory."""

    @pytest.fixture
    def protocol(self) -> Protocol:
        """Give an empty store."""
        return FileProtocol("file:")


class TestFileLazy(ProtocolTests):
    """``?eager=0`` keeps everything in memory until it is saved."""

    @pytest.fixture
    def protocol(self, tmp_path: Path) -> Protocol:
        """Give an empty store."""
        return FileProtocol(f"file:{tmp_path}/runs.json?eager=0")


class TestFileOfSeveralHosts(ClockTests):
    """A file that is used as on a network file system, which has a clock of its own."""

    @pytest.fixture
    def protocol(self, tmp_path: Path) -> Protocol:
        """Give a store in a new folder."""
        return FileProtocol(f"file:{tmp_path}/runs.json?lock=always")

    def reopen(self, protocol: Protocol) -> Protocol:
        """Return another client of the store."""
        return FileProtocol(protocol.uri)


@pytest.mark.parametrize("scheme", ["file", "pickled", "sqlite"])
def test_folder_in_place_of_the_file_is_refused(scheme: str, tmp_path: Path) -> None:
    """A store that names a folder is an error that shows a file in it; nothing is created."""
    with pytest.raises(InvalidUri, match=rf"{scheme}:{tmp_path} is a folder: name a file in it"):
        TrackClient(f"{scheme}:{tmp_path}")

    assert list(tmp_path.iterdir()) == []


def test_decision_asks_the_system_few_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new trial looks at open files no more often than it has something to learn from it."""
    client = TrackClient(f"file:{tmp_path}/runs.json")
    client.set_project(name="p")
    client.new_trial(parameters={"number": 1})
    asked, fstat = [], os.fstat
    monkeypatch.setattr(os, "fstat", lambda descriptor: asked.append(descriptor) or fstat(descriptor))

    client.new_trial(parameters={"number": 2}, force=True)

    # Is it long, is it the lock of that name, what have others added, what was added here, is the project there?
    assert len(asked) <= 5


def test_folder_that_takes_no_files_is_an_error_at_once(tmp_path: Path) -> None:
    """A file system that refuses the lock file is not waited for as if another process held it."""
    protocol = FileProtocol(f"file:{tmp_path}/runs.json?lock_timeout=1000")
    (tmp_path / "runs.json.lock").symlink_to(tmp_path / "nowhere" / "lock")

    with pytest.raises(BackendUnavailable, match=r"runs\.json cannot be written \(No such file"):
        protocol.new_project(Project(name="digits"))


def test_option_of_orion_is_taken_and_kept(tmp_path: Path) -> None:
    """Orion names its objective in the URI: it opens, and stays in what the store says of itself."""
    uri = f"file://{tmp_path}/runs.json?objective=loss"

    protocol = get_protocol(uri)

    assert protocol.file == f"{tmp_path}/runs.json"
    assert (protocol.uri, parse_uri(protocol.uri)["query"]) == (uri, {"objective": "loss"})


def test_other_options_that_are_unknown_stay_errors(tmp_path: Path) -> None:
    """A slip in an option is told, with the options that there are."""
    with pytest.raises(InvalidUri, match="unknown option 'objektive'"):
        get_protocol(f"file://{tmp_path}/runs.json?objektive=loss")


def test_store_that_another_thread_closes_meanwhile_has_nothing_to_lose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What asks how much is not on the disk, while the journal is given back by another thread, is told nothing."""
    with TrackClient(f"file:{tmp_path}/r.json").new_trial() as trial:
        trial.log_metrics(step=0, loss=1.0)
    protocol = trial.protocol
    protocol.commit()
    is_current = Journal.is_current

    def closing(journal: Journal) -> bool:
        monkeypatch.setattr(Journal, "is_current", is_current)
        protocol.close()
        return False

    monkeypatch.setattr(Journal, "is_current", property(closing))

    assert protocol.unsaved() == 0
    assert len(get_protocol(f"file:{tmp_path}/r.json").fetch_trials()) == 1
