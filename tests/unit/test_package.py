"""``import track``: the names people use, and nothing else happens."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path

import pytest

import track
from tests.children import python


@pytest.mark.parametrize(
    "name", ["TrackClient", "Project", "TrialGroup", "Trial", "Status", "TrialLogger", "fetch", "to_pandas"]
)
def test_names_are_there(name: str) -> None:
    """The names of the front are attributes of the package, and listed."""
    assert getattr(track, name).__name__ == name
    assert name in dir(track)
    assert name in track.__all__


@pytest.mark.parametrize("name", ["version", "descr", "license", "author", "author_email", "copyright", "url"])
def test_facts_about_the_package(name: str) -> None:
    """The published attributes are text."""
    assert isinstance(getattr(track, f"__{name}__"), str)


def test_star_import_works() -> None:
    """``from track import *`` gives exactly what is public."""
    names: dict[str, object] = {}

    exec("from track import *", names)

    assert set(track.__all__) <= names.keys()


def test_unknown_name_is_an_attribute_error() -> None:
    """A name that is not there is named."""
    with pytest.raises(AttributeError, match="module 'track' has no attribute 'TrackCleint'"):
        _ = track.TrackCleint


def test_git_version_of_a_file_in_no_repository(tmp_path: Path) -> None:
    """Outside of a repository there is no version."""
    file = tmp_path / "train.py"
    file.touch()

    assert track.get_git_version(str(file)) is None


def test_git_version_is_a_commit_and_a_date(tmp_path: Path) -> None:
    """Inside a repository it is the commit, in 20 digits, and its date."""
    file = tmp_path / "train.py"
    file.touch()
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.invalid", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", tmp_path, *arguments], check=True, capture_output=True)

    commit, date = track.get_git_version(str(file))

    assert len(commit) == 20
    assert isinstance(date, (datetime.datetime, str))


def test_import_touches_nothing(tmp_path: Path) -> None:
    """Importing prints nothing, installs no signal handler, starts no thread and writes no file."""
    script = (
        "import signal, threading, logging\n"
        "before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), "
        "logging.getLogRecordFactory(), list(logging.getLogger().handlers)\n"
        "import track; track.TrackClient, track.fetch\n"
        "after = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), "
        "logging.getLogRecordFactory(), list(logging.getLogger().handlers)\n"
        "assert before == after, after; assert threading.active_count() == 1"
    )

    done = python("-W", "error", "-c", script, cwd=tmp_path, PATH="")

    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert list(tmp_path.iterdir()) == []
