"""``track compare`` says which lines of code differ between trials."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.children import python
from track import TrackClient
from track.cli import main
from track.cli.codes import changed_lines

SCRIPT = """
import sys
from track import TrackClient
client = TrackClient(sys.argv[1], environment="none")
with client.new_trial(name=sys.argv[2], parameters={"lr": 1}, force=True) as trial:
    trial.log_code()
"""


def _git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """A store with two runs of one script of a repository, which was changed in between, as was another file."""
    folder = tmp_path / "project"
    folder.mkdir()
    script, module = folder / "train.py", folder / "model.py"
    script.write_text(SCRIPT)
    module.write_text("depth = 3\nwidth = 8\n")
    _git(folder, "init", "-q")
    _git(folder, "add", ".")
    _git(folder, "commit", "-qm", "first")
    made = f"file:{tmp_path}/runs.json"
    for name in ("one", "two"):
        assert python(script, made, name).returncode == 0
        script.write_text(f"# a line more\n{SCRIPT}# \x1b[31mred\n")
        module.write_text("depth = 4\nwidth = 8\n")
    return made


def _json(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_lines_that_differ_are_shown(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The script's own lines, and those of a file that was not committed; nothing in them speaks to a terminal."""
    assert main(["compare", uri, "one", "two"]) == 0
    out = capsys.readouterr().out

    assert "train.py (+2 -0)" in out
    assert "  +# a line more" in out
    assert "model.py (+2 -0, not committed)" in out
    assert "+-depth = 3" in out
    assert "++depth = 4" in out
    assert "\x1b" not in out


def test_counts_are_a_row_of_the_table(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each trial has how many lines differ from those of the first."""
    assert main(["compare", uri, "two", "one", "two", "--json"]) == 0
    document = _json(capsys)

    assert document["code"]["train.py"] == [None, "+0 -2", None]
    assert [len(some) for some in document["difference"]] == [0, 2, 0]
    (script, module) = document["difference"][1]
    assert (script["kind"], script["added"], script["removed"]) == ("script", 0, 2)
    assert "-# a line more" in script["lines"]
    assert (module["name"], module["kind"]) == ("model.py", "uncommitted")


def test_code_that_was_not_stored_is_no_difference(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a trial without its code nothing is claimed."""
    client = TrackClient(uri)
    with client.new_trial(name="bare", parameters={"lr": 1}, force=True):
        pass
    client.protocol.close()

    assert main(["compare", uri, "one", "bare", "--json"]) == 0
    assert _json(capsys)["difference"] == [[], []]


def test_code_that_is_gone_is_said(uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the content of a file is lost nothing is claimed of it, and the rest is compared all the same."""
    stored = [path for path in tmp_path.rglob("*") if path.is_file() and "project" not in path.parts]
    (script,) = [path for path in stored if path.read_bytes().startswith(b"# a line more")]
    script.unlink()

    assert main(["compare", uri, "one", "two", "--json"]) == 0
    said = capsys.readouterr()
    assert "cannot be read" in said.err
    assert [one["name"] for one in json.loads(said.out)["difference"][1]] == ["model.py", "train.py"]


def test_texts_too_long_to_compare_are_counted() -> None:
    """Nobody waits for a comparison of a hundred thousand lines."""
    assert changed_lines(["a"] * 30_000, ["b"]) == ["-(30,000 lines)", "+(1 lines)"]
    assert changed_lines(["a"], ["a"]) == []
