"""Git is asked in one way: it waits for nobody, and remotes are told without their credentials."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from track.utils.git import ask_git, ask_text, head_of, remote_of
from track.utils.masking import mask_remote

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a repository without a commit."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    subprocess.run(["git", "init", "-q", "-b", "main", str(tmp_path)], check=True)
    return tmp_path


def _configure(repository: Path, **settings: str) -> None:
    for name, value in settings.items():
        subprocess.run(["git", "-C", repository, "config", name.replace("__", "."), value], check=True)


def test_repository_without_a_commit(repository: Path) -> None:
    """There is a branch, and no commit and no remote."""
    assert head_of(str(repository)) == ("", "main")
    assert remote_of(str(repository), "main") == ""


def test_remote_is_that_of_the_branch(repository: Path) -> None:
    """Then comes ``origin``, then the first one; without a branch it is always that, by name."""
    found = []
    for name in ("first", "origin", "mine"):
        _configure(repository, **{f"remote__{name}__url": f"https://example.org/{name}"})
        found.append(remote_of(str(repository), "main"))
    _configure(repository, branch__main__remote="mine")
    found.append(remote_of(str(repository), "main"))

    found.append(remote_of(str(repository)))

    assert [url.rpartition("/")[2] for url in found] == ["first", "origin", "origin", "mine", "first"]


def test_shorthand_of_a_remote_is_written_out(repository: Path) -> None:
    """The URL is the one that git goes to."""
    _configure(repository, remote__origin__url="short:x.git")
    _configure(repository, **{"url__https://ann:secret@example.org/__insteadOf": "short:"})

    assert remote_of(str(repository)) == "https://***@example.org/x.git"


def test_command_that_fails_says_nothing(repository: Path) -> None:
    """Neither an unknown command nor a time limit that is over is an error."""
    assert ask_git(str(repository), "no-such-command") is None
    assert ask_text(str(repository), "no-such-command") == ""
    assert ask_git(str(repository), "status", timeout=1e-9) is None


def test_status_runs_no_program_of_the_repository(repository: Path, tmp_path: Path) -> None:
    """What the repository's owner has set is not run by whoever looks at it."""
    mark = tmp_path / "ran"
    _configure(repository, core__fsmonitor=f"touch {mark}; true")

    answer = ask_git(str(repository), "status", "--porcelain")

    assert answer is not None
    assert not mark.exists()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ann:secret@example.org/x.git", "https://***@example.org/x.git"),
        ("https://ann:se/cret@example.org/x.git", "https://***@example.org/x.git"),
        ("https://git:secret@example.org/x.git", "https://***@example.org/x.git"),
        ("https://token@example.org/a@b.git", "https://***@example.org/a@b.git"),
        ("https://example.org/x.git?private_token=1", "https://example.org/x.git?private_token=***"),
        ("ssh://git@example.org/x.git", "ssh://git@example.org/x.git"),
        ("git@example.org:x.git", "git@example.org:x.git"),
        ("/srv/x.git", "/srv/x.git"),
    ],
)
def test_credentials_of_a_remote_are_masked(url: str, shown: str) -> None:
    """A password, and a token that stands where a user does."""
    assert mask_remote(url) == shown
