"""``import track``: the names people use, and nothing else happens."""

from __future__ import annotations

import datetime
import re
import subprocess
from pathlib import Path

import pytest

import track
from tests.children import python
from track.errors import DISTRIBUTION

ROOT = Path(__file__).parents[2]


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


@pytest.mark.parametrize("name", ["artifacts", "em", "errors", "media", "reading", "tracking"])
def test_modules_are_there_without_an_import(name: str) -> None:
    """``import track`` is enough for what the documentation calls ``track.artifacts.find``."""
    done = python("-c", f"import track; print(track.{name}.__name__)")

    assert (done.stdout, done.stderr) == (f"track.{name}\n", "")


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


def test_kit_for_backends_names_its_extra(tmp_path: Path) -> None:
    """Without pytest, `track.testing` says which extra it needs."""
    script = (
        "import sys; sys.modules['pytest'] = None\n"
        "from track.errors import MissingExtra\n"
        "try:\n    import track.testing\n"
        "except MissingExtra as error:\n    print(error)"
    )

    done = python("-W", "error", "-c", script, cwd=tmp_path)

    assert done.stdout == 'track.testing needs pytest: run pip install ".[testing]" in a checkout of track-trials\n'


def test_distribution_is_named_once() -> None:
    """What an installer calls the library is said in one place, which setup.py reads; the import stays `track`."""
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")

    assert DISTRIBUTION == "track-trials"
    assert 'name=written("DISTRIBUTION", "track/errors.py")' in setup
    assert _lines_with(rf"[\"']{DISTRIBUTION}[\"']") == [f'track/errors.py: DISTRIBUTION = "{DISTRIBUTION}"']


def test_nobody_is_told_to_install_a_stranger() -> None:
    """The index's ``track`` is another project: no message, page or docstring says to install it."""
    assert (
        _lines_with(r"\btrack(-trials)?\[|pip3? install (?!.*checkout of)[^\n]*(?<![\w./-])track(-trials)?(?![\w./-])")
        == []
    )


def _lines_with(pattern: str) -> list[str]:
    """Return the lines of the project's texts in which a pattern is, tests left out."""
    folders = [ROOT / name for name in ("track", "docs", "examples", "benchmarks", ".ci")]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in {".py", ".rst", ".md", ""}]
    named = [path for path in files if path.is_file() and "_build" not in path.parts]
    return [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in sorted([*named, ROOT / "README.md", ROOT / "setup.py", ROOT / "requirements.txt"])
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(pattern, line)
    ]
