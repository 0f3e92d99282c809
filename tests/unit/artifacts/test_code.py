"""The code of a trial: the script, the commit, and what is not committed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.children import python
from tests.unit.artifacts.test_artifacts import start
from track.artifacts import artifacts, find
from track.artifacts.code import describe_code, describe_repository
from track.reading import fetch
from track.utils.git import ask_git

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def _git(folder: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *settings, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a repository with one commit of a script."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "train.py").write_text("print('training')\n")
    _git(folder, "init", "-q")
    _git(folder, "add", ".")
    _git(folder, "commit", "-q", "-m", "first")
    return folder


def test_repository_is_described(repository: Path) -> None:
    """Commit, branch and that nothing is changed."""
    facts, difference = describe_repository(str(repository))

    assert facts == {"commit": _git(repository, "rev-parse", "HEAD"), "branch": "main", "is_changed": False}
    assert difference == b""


@pytest.mark.parametrize(
    ("remote", "shown"),
    [
        ("https://ann:secret@example.org/ann/code.git", "https://***@example.org/ann/code.git"),
        ("https://token@example.org/ann/code.git", "https://***@example.org/ann/code.git"),
        ("https://example.org/ann/code.git", "https://example.org/ann/code.git"),
        ("git@example.org:ann/code.git", "git@example.org:ann/code.git"),
        ("ssh://git@example.org/ann/code.git", "ssh://git@example.org/ann/code.git"),
    ],
)
def test_credentials_of_the_remote_are_masked(repository: Path, remote: str, shown: str) -> None:
    """A password or a token in a remote's URL is not recorded."""
    _git(repository, "remote", "add", "origin", remote)

    assert describe_repository(str(repository))[0]["remote"] == shown


def test_uncommitted_work_is_a_patch(repository: Path, tmp_path: Path) -> None:
    """The patch, applied to the commit, gives what ran, binary files included."""
    (repository / "train.py").write_text("print('other')\n")
    (repository / "data.bin").write_bytes(bytes(range(256)))
    _git(repository, "add", "data.bin")

    facts, difference = describe_repository(str(repository))

    assert facts["is_changed"]
    _git(tmp_path, "clone", "-q", str(repository), "copy")
    (tmp_path / "patch").write_bytes(difference)
    _git(tmp_path / "copy", "apply", str(tmp_path / "patch"))
    assert (tmp_path / "copy" / "train.py").read_text() == "print('other')\n"
    assert (tmp_path / "copy" / "data.bin").read_bytes() == bytes(range(256))


def test_repository_runs_no_program(repository: Path, tmp_path: Path) -> None:
    """A repository's own settings make nothing run when it is looked at."""
    mark = tmp_path / "ran"
    for name in ("diff.external", "core.fsmonitor", "diff.evil.textconv"):
        _git(repository, "config", name, f"touch {mark}; true")
    (repository / ".gitattributes").write_text("*.py diff=evil\n")
    (repository / "train.py").write_text("print('other')\n")

    _, difference = describe_repository(str(repository))

    assert b"other" in difference
    assert not mark.exists()


def test_folder_without_a_repository(tmp_path: Path) -> None:
    """Where there is none, nothing is said."""
    assert describe_repository(str(tmp_path)) == ({}, b"")


def test_script_that_cannot_be_read(tmp_path: Path) -> None:
    """No script, no code."""
    assert describe_code(str(tmp_path / "none.py")) is None


def test_code_of_a_program_is_stored(repository: Path, tmp_path: Path) -> None:
    """The script that runs, and what is not committed of it, are artifacts of the trial; the facts are metadata."""
    uri = f"file:{tmp_path}/runs.json"
    text = (
        "import sys\nfrom track import TrackClient\n"
        "trial = TrackClient(sys.argv[1]).new_trial(parameters={}).log_code()\n"
        "assert 'log_code' in trial.code\n"
    )
    (repository / "train.py").write_text(text)

    done = python("train.py", uri, cwd=repository)

    assert done.returncode == 0, done.stderr
    assert {found.name for found in artifacts(uri)} == {"code/train.py", "code/uncommitted.diff"}
    assert find(uri, "code/train.py").read_bytes().decode() == text
    assert b"+trial = TrackClient" in find(uri, "code/uncommitted.diff").read_bytes()
    (trial,) = fetch(uri)
    assert trial.metadata["code"]["commit"] == _git(repository, "rev-parse", "HEAD")
    assert trial.metadata["code"]["script"] == str(repository / "train.py")


def test_code_of_no_program_is_nothing(tmp_path: Path) -> None:
    """Where there is no script, as in an interactive session, nothing is stored, and that is said."""
    command = "from track import TrackClient; t = TrackClient('ephemeral:').new_trial(parameters={}).log_code(); "
    command += "assert t.code is None and t.trial.artifacts == []"

    done = python("-c", command)

    said = "log_code finds no script or notebook cells to store: this is no program in a file\n"
    assert (done.returncode, done.stderr) == (0, said)


def test_patch_does_not_depend_on_settings(repository: Path, tmp_path: Path) -> None:
    """Whatever the user prefers to see, the patch is of the whole repository and can be applied."""
    for name, value in (("diff.noprefix", "true"), ("diff.relative", "true"), ("color.diff", "always")):
        _git(repository, "config", name, value)
    (repository / "sub").mkdir()
    (repository / "train.py").write_text("print('other')\n")

    _, difference = describe_repository(str(repository / "sub"))

    assert b"diff --git a/train.py b/train.py" in difference


def test_files_that_git_does_not_know_are_named(repository: Path) -> None:
    """They are not in the patch, so the record says that there is more."""
    (repository / "helper.py").write_text("x = 1\n")
    (repository / "data").mkdir()
    (repository / "data" / "a.csv").write_text("1\n")

    facts, difference = describe_repository(str(repository))

    assert facts["untracked"] == ["data/", "helper.py"]
    assert (facts["is_changed"], difference) == (False, b"")


def test_unknown_difference_is_not_denied(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where git does not answer, nothing is said of changes."""
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncase " $* " in *" diff "*) exit 1; esac\nexec {shutil.which("git")} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)

    facts, _ = describe_repository(str(repository))

    assert "is_changed" not in facts
    assert "commit" in facts


def test_repository_that_git_does_not_open_is_said(repository: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As one of another user, or one that is damaged."""
    (repository / ".git" / "HEAD").write_text("nonsense")

    assert describe_repository(str(repository / "sub")) == ({}, b"")

    assert f"git tells nothing of the repository in {repository}" in caplog.text


class _Shell:
    """What IPython gives of its session."""

    def __init__(self, *cells: str) -> None:
        self.history_manager = self
        self._cells = cells

    def get_range(self, *, raw: bool, output: bool) -> list[tuple[int, int, str]]:
        assert raw
        assert not output
        return [(0, number, cell) for number, cell in enumerate(self._cells, 1)]


def test_cells_of_a_notebook_are_stored(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was run in this session is stored, in its order, with what git knows of the folder."""
    shell = _Shell("a = 1", "%time b = 2", "trial.log_code()")
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    monkeypatch.chdir(repository)
    trial = start(f"file:{tmp_path}/runs.json")

    trial.log_code()

    text = "# In[1]:\na = 1\n\n# In[2]:\n%time b = 2\n\n# In[3]:\ntrial.log_code()\n"
    assert trial.code == text
    assert find(trial, "code/cells.py").read_bytes() == text.encode()
    assert trial.trial.metadata["code"]["cells"] == 3
    assert trial.trial.metadata["code"]["commit"] == _git(repository, "rev-parse", "HEAD")


_SESSION = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in ("a = 1", "from track import TrackClient\\nt = TrackClient('file://runs.json').new_trial(parameters={})"):
    shell.run_cell(cell, store_history=True)
shell.run_cell("t.log_code()", store_history=True)
"""


def test_cells_of_ipython_itself(tmp_path: Path) -> None:
    """The real one gives its cells as we ask for them."""
    pytest.importorskip("IPython", reason="needs IPython: pip install ipython")

    python("-c", _SESSION, cwd=tmp_path)

    stored = find(f"file:{tmp_path}/runs.json", "code/cells.py").read_bytes()
    assert stored.startswith(b"# In[1]:\na = 1\n\n# In[2]:\nfrom track")
    assert stored.endswith(b"# In[3]:\nt.log_code()\n")


def test_patch_has_a_largest_size(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A patch of more is not stored, which the metadata and a warning say."""
    (repository / "train.py").write_text("x = 1\n" * 500_000)
    monkeypatch.setattr("track.artifacts.code._LARGEST", 1 << 20)

    facts, difference = describe_repository(str(repository))

    assert (facts["is_changed"], facts["difference_not_stored"], difference) == (True, "more than 1 MiB", b"")
    assert "is more than 1 MiB: the patch is not stored, commit it" in caplog.text


def test_answer_of_git_is_read_up_to_a_limit(repository: Path) -> None:
    """No more of it than the limit, and one byte that says so, is in memory."""
    (repository / "train.py").write_text("x = 1\n" * 500_000)

    assert len(ask_git(str(repository), "diff", "HEAD", limit=1000) or b"") == 1001
    assert len(ask_git(str(repository), "diff", "HEAD", limit=10**8) or b"") > 3_000_000
