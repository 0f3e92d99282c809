"""``track exp`` for programs: documents apart from what experiments print, and conditions on what they have said."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("yaml")

from track.cli import main
from track.manager import ExperimentManager
from track.manager.members import trials_of

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Give what runs a verb: exit code, what it and its children printed, and complained."""

    def call(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(["exp", *words])
        said = capfd.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def folder(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a set of two experiments, one of which fails; it is ``set`` in the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("defaults.yml").write_text("number: 0\n")
    Path("script.sh").write_text('echo printed\ngrep -q "number: 1" "$1"\n')
    assert run("init", "-r", "set")[0] == 0
    assert run("link", "-r", "set", "-u", "{number: 1 | 2}")[0] == 0
    return tmp_path / "set"


def _say(root: Path, **messages: dict[str, Any]) -> None:
    manager = ExperimentManager(root)
    trials = trials_of(manager._set)
    for name, said in messages.items():
        metadata = {f"messages.{key}": value for key, value in said.items()}
        manager._set.protocol.log_trial_metadata(trials[name.replace("_", "=")], **metadata)
    manager.close()


def test_what_experiments_print_is_apart_from_the_document(folder: Path, run: Run) -> None:
    """Standard output is the document alone; what was printed is on standard error, of workers and commands."""
    code, printed, said = run("run", "--json", "-r", "set", "*", "bash")
    assert (code, said.count("printed")) == (1, 2)
    assert json.loads(printed) == {"schema": 1, "root": str(folder), "codes": [0, 1], "failed": 1}

    run("reset", "-r", "set", "*")
    code, printed, said = run("work", "set", "--json")
    assert (code, said.count("printed")) == (1, 2)
    assert json.loads(printed) == {"schema": 1, "root": str(folder), "ran": 2, "failed": 1}


def test_program_in_python_is_run_with_its_own_flags(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The document says how it ended; without ``--json`` before the name that is a flag of the program."""
    monkeypatch.chdir(tmp_path)
    Path("greets.py").write_text("def greet(root, a: int = 1):\n    print('greeted', a)\n")
    assert run("python", "--add", "greets", "greet")[0] == 0

    code, printed, said = run("python", "--json", "greet", "--a", "3", "-x")

    assert (code, "greeted 3" in said, json.loads(printed)["code"]) == (0, True, 0)
    assert run("python", "greet", "--json")[0] == 2


def test_who_says_no_is_told_in_the_document(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The question is no part of it, and the exit code is 1."""
    monkeypatch.setattr("sys.stdin", _Terminal("n\nn\n"))
    assert json.loads(run("unlink", "-r", "set", "number=1", "--json")[1])["experiments"] == ["number=1"]

    code, printed, said = run("clean", "-r", "set", "--json")
    assert (code, json.loads(printed)["deleted"]) == (1, [])
    assert "Go on?" in said

    code, printed, _ = run("rm", "set", "--json")
    assert (code, json.loads(printed)["deleted"], folder.exists()) == (1, False, True)


class _Terminal(io.StringIO):
    """What a person types."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def test_one_experiment_is_data_too(folder: Path, run: Run) -> None:
    """The folder of one is its ``params.yml`` in each form."""
    document = json.loads(run("list", "set/number=2", "--json")[1])
    line = json.loads(run("list", "set/number=2", "--jsonl")[1])
    (row,) = csv.DictReader(io.StringIO(run("list", "set/number=2", "--csv")[1]))

    assert document["path"] == str(folder / "number=2" / "params.yml")
    assert document["params"] == line
    assert (line["number"], line["_status"], row["number"]) == (2, "registered", "2")


def test_list_that_is_empty_is_an_empty_list(folder: Path, run: Run) -> None:
    """No experiment is no line, and a document with none."""
    nothing = ("list", "set", "-f", "number == 7")

    assert run(*nothing, "--jsonl")[:2] == (0, "")
    assert json.loads(run(*nothing, "--json")[1])["experiments"] == []


def test_list_by_what_was_said(folder: Path, run: Run) -> None:
    """A condition on a message leaves out those that fail it or have not said so; with ``-p`` it is a column."""
    _say(folder, number_1={"accuracy": 0.93, "stage": "warm up"}, number_2={"accuracy": 0.7})

    shown = [
        json.loads(line) for line in run("list", "set", "-p", "messages.accuracy > 0.9", "--jsonl")[1].splitlines()
    ]
    assert shown == [{"root": "set", "name": "number=1", "messages.accuracy": 0.93}]
    assert run("list", "set", "-f", "messages.stage == warm up", "number < 5")[1].splitlines()[0].split() == [
        "root", "name"
    ]  # fmt: skip
    assert json.loads(run("list", "set", "-p", "messages.acc.* < 0.9", "_status == registered", "--json")[1])[
        "experiments"
    ] == [{"root": "set", "name": "number=2", "messages.accuracy": 0.7}]
    assert run("list", "set", "-p", "number", "--jsonl")[1].count("accuracy") == 0


def test_slip_in_the_name_of_a_message_is_told(folder: Path, run: Run) -> None:
    """The names that there are come with it, and nothing of a condition is run."""
    _say(folder, number_1={"accuracy": 0.93})

    assert run("list", "set", "-p", "messages.acuracy > 0.9")[1] == (
        "no experiment has a message 'messages.acuracy'; did you mean 'messages.accuracy'? "
        "(there are: messages.accuracy)\n"
    )
    assert run("list", "set", "-p", "messages.accuracy > 1 and exit()")[:2] == (0, "no experiment matches\n")
