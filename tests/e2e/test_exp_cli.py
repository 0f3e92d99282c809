"""Sets of experiments from a shell: each verb, every mistake, and the flow of the documentation as it is written."""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("yaml")

from tests.children import ROOT, python
from track import cli, home
from track.cli import exp
from track.experiment_utils import load_param, save_param
from track.manager import ExperimentManager

HELLO = '''
from track.experiment import Experiment


class HelloWorld(Experiment):
    """Greet."""

    a: str = "Hello"  # @p what to say
    b: str = "World"  # @p to whom

    def run(self):
        print(f"{self.a} {self.b}")
        self.message({"a": self.a, "b": self.b})
        if self.a == "fail":
            raise RuntimeError("as asked")
'''
NAMES = ["a=Hello__b=World", "a=Hello__b=Planet", "a=Bye__b=World", "a=Bye__b=Planet"]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a program in it; its name is one that a shell would take apart."""
    place = tmp_path / "it's a $(touch pwned)\n folder"
    place.mkdir()
    (place / "hello.py").write_text(HELLO)
    monkeypatch.chdir(place)
    monkeypatch.setenv("PATH", f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return place


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Give what runs a verb in this process: exit code, what it and its children printed, and complained."""

    def call(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        try:
            code = exp.main(words, "exp")
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capfd.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def greetings(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the root of a set of four greetings, now the working directory."""
    assert run("python", "--add", "hello", "HelloWorld")[0] == 0
    assert run("init", "-n", "HelloWorld", "-r", "my runs")[0] == 0
    monkeypatch.chdir(folder / "my runs")
    assert run("link", "-u", "{a: Hello | Bye, b: World | Planet}")[:2] == (0, "".join(f"{name}\n" for name in NAMES))
    return folder / "my runs"


@pytest.fixture
def shell_set(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the root of a set of a program of bash, now the working directory, which is not in the list of all sets."""
    root = folder / "of bash"
    root.mkdir()
    (root / "script.sh").write_text('#!/bin/bash\ngrep -E "^(x|name):" "${1}"\n')
    (root / "defaults.yml").write_text("_created: x\nx: 1  # x: int=1 ~ a number\nname: ann\n")
    monkeypatch.chdir(root)
    return root


def _statuses(root: Path) -> list[str]:
    return [str(load_param(path)["_status"]) for path in ExperimentManager(root, headless=True).experiments]


def _lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


# the flow


def test_flow_of_the_documentation(greetings: Path, run: Run, folder: Path) -> None:
    """Four experiments are listed, run once, not run again, and run again after a reset."""
    code, listed, _ = run("list", "-ds", "-p", ".*")
    assert code == 0
    assert listed.splitlines()[0].split() == ["root", "name", "created", "status", "a", "b"]
    assert [line[-3:] for line in _lines(listed)[1:5]] == [
        ["registered", "Hello", "World"],
        ["registered", "Hello", "Planet"],
        ["registered", "Bye", "World"],
        ["registered", "Bye", "Planet"],
    ]
    assert listed.splitlines()[-1].startswith("Roots relative to: ")

    code, printed, _ = run("run", "*", "bash")
    assert code == 0
    assert [line for line in printed.splitlines() if "EXPERIMENT" not in line] == [
        "Hello World", "Hello Planet", "Bye World", "Bye Planet"
    ]  # fmt: skip
    assert _statuses(greetings) == ["finished"] * 4
    assert load_param(greetings / NAMES[3])["_messages"] == {"a": "Bye", "b": "Planet"}

    code, printed, _ = run("run", "*", "bash")
    assert (code, printed.count("\n")) == (0, 1)
    assert "nothing to run" in printed

    assert run("reset", "*")[0] == 0
    assert _statuses(greetings) == ["registered"] * 4
    assert "Bye Planet" in run("run", "*", "bash")[1]
    # No name was ever taken for more than a name.
    assert not list(folder.rglob("pwned"))


def test_program_of_bash_is_an_experiment(shell_set: Path, run: Run) -> None:
    """A script that is given the path of a params.yml, and a defaults.yml, are a set."""
    assert run("init")[0] == 0
    assert run("register", "-u", "{x: 2 | 3}", "-p", "of", "bash")[0] == 0

    code, printed, _ = run("run", "*", "bash")

    assert code == 0
    assert [line for line in printed.splitlines() if "EXPERIMENT" not in line] == [
        "x: 2  # x: int=1 ~ a number", "name: ann", "x: 3  # x: int=1 ~ a number", "name: ann"
    ]  # fmt: skip
    assert _statuses(shell_set) == ["finished"] * 2
    assert load_param(shell_set / "x=2")["_purpose"] == "of bash"


def test_program_is_the_same_by_every_name(greetings: Path) -> None:
    """``python -m track exp`` is the program, whose own name is in what it says."""
    done = python("-m", "track", "exp", "list", "-s")
    program = "import sys; sys.argv[0] = '/bin/xmen'; from track.cli.exp import main; sys.exit(main())"
    wrong = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, check=False, cwd=greetings.parent, timeout=60,
    )  # fmt: skip

    assert done.stdout.count("registered") == 4
    assert done.stderr == ""
    assert wrong.returncode == 0
    assert wrong.stdout.startswith("usage: xmen ")


def test_console_scripts_name_the_program() -> None:
    """``exp`` and ``xmen`` are installed as the same function, and `track exp` calls it."""
    assert "exp = track.cli.exp:main" in (ROOT / "setup.py").read_text(encoding="utf-8")
    assert "xmen = track.cli.exp:main" in (ROOT / "setup.py").read_text(encoding="utf-8")
    assert cli.main(["exp"]) == 0


# beginning, declaring


def test_unknown_name_leaves_no_root(run: Run, folder: Path) -> None:
    """A name that nobody knows is told before anything is made."""
    assert run("init", "-n", "Hello", "-r", "runs")[0] == 2
    assert not (folder / "runs").exists()


def test_defaults_are_changed_when_a_set_begins(run: Run, folder: Path) -> None:
    """``init -u`` has other defaults, of the types that they have, for a class and for files."""
    run("python", "-a", "hello", "HelloWorld")

    assert run("init", "-n", "HelloWorld", "-r", "runs", "-u", "{b: 7}", "--purpose", "to", "see")[0] == 0

    defaults = load_param(folder / "runs", "defaults.yml")
    assert (defaults["a"], defaults["b"]) == ("Hello", "7")
    assert ExperimentManager(folder / "runs", headless=True).purpose == "to see"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["init", "-r", "runs", "-n", "Hello"], "no experiment in Python is called 'Hello'"),
        (["init", "-n", "HelloWorld", "-d", "x"], "give one of them"),
        (["init", "-r", "runs", "-d", "nowhere.yml"], "there is no "),
        (["init", "-n", "HelloWorld", "-r", "runs", "-u", "{c: 1}"], "'c'"),
        (["init", "-n", "HelloWorld", "-r", "runs", "-u", "{a: 1 | 2}"], "a default is one value"),
        (["python", "--add", "nowhere", "X"], "there is no module 'nowhere'"),
        (["python", "Hello"], "no experiment in Python is called 'Hello'"),
        (["python", "--remove", "Hello"], "no experiment in Python is called 'Hello'"),
        (["frobnicate"], "invalid choice: 'frobnicate'"),
    ],
)
def test_what_cannot_begin_is_one_sentence(words: list[str], reason: str, run: Run, folder: Path) -> None:
    """A mistake is a sentence that names the thing, without a traceback, and exit code 2; there is no set."""
    run("python", "--add", "hello", "HelloWorld")

    code, _, complaint = run(*words)

    assert code == 2
    assert complaint.count("\n") == 1
    assert reason in complaint
    assert not (folder / "runs" / "experiment.yml").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["link", "-u", "{c: 1}"], "'c'"),
        (["link", "-u", "{a: 1"], "{a: 1"),
        (["link"], "say which"),
        (["link", "-u", "{a: !!python/object/apply:os.getcwd []}"], "!!python/object"),
        (["link", "-u", f"a: {'|'.join(2000 * 'x')}, b: {'|'.join(2000 * 'y')}"], "these are 4,000,000 combinations"),
        (["sweep", "-u", "{a: x}", "-t", "0"], "trials is a whole number"),
        (["run", "*"], "say what starts each run.sh"),
        (["run", "nobody", "bash"], "no experiment in"),
        (["run", "*", "no-such-program-here"], "no-such-program-here"),
        (["reset", "*", "-s", "done"], "done"),
        (["reset", "nobody"], "no experiment in"),
        (["note", "nobody", "x"], "no experiment in"),
        (["note", "a", "b", "c"], "a note is one text, in quotes"),
        (["unlink", "nobody"], "no experiment in"),
        (["init", "-n", "HelloWorld"], "is a set already"),
        (["list", "-p", "a < b < c < d"], "has 3 operators"),
        (["list", "-p", "a <"], "lacks a value"),
        (["list", "-m", "("], "no regular expression"),
        (["list", "-i", "-1"], "seconds"),
        (["work", "-n", "many"], "a number of workers, or gpus"),
        (["clean", "-y", "--recursive"], "unrecognized arguments"),
    ],
)
def test_mistake_in_a_set_is_one_sentence(words: list[str], reason: str, greetings: Path, run: Run) -> None:
    """A mistake changes nothing; it is a sentence that names the thing, and exit code 2."""
    code, _, complaint = run(*words)

    assert code == 2
    assert complaint.count("\n") == 1
    assert reason in complaint
    assert _statuses(greetings) == ["registered"] * 4
    assert sorted(path.parent.name for path in greetings.glob("*/params.yml")) == sorted(NAMES)


@pytest.mark.parametrize(
    "words",
    [
        ["link", "-u", "{a: 1}"], ["sweep", "-u", "{a: 1}", "-t", "1"], ["run", "*", "bash"], ["note", "x"],
        ["reset", "*"], ["unlink"], ["relink"], ["relink", "--recursive"], ["clean", "-y"], ["rm", "-y", "."], ["list"],
        ["work"], ["run", "-r", "nowhere", "*", "bash"],
    ],
)  # fmt: skip
def test_outside_of_a_set_nothing_is_created(words: list[str], run: Run, folder: Path) -> None:
    """Each verb says that there is no set, and how to begin one."""
    code, _, complaint = run(*words)

    assert code == 2
    assert "Try init?" in complaint
    assert [path.name for path in folder.iterdir()] == ["hello.py"]


def test_repeats_and_names(greetings: Path, run: Run) -> None:
    """``-x`` makes several of each, ``-n`` names them, and names that are taken are numbered."""
    assert run("link", "-u", "a: Hello", "-x", "2")[1] == "a=Hello\na=Hello_1\n"
    assert run("register", "-n", "best")[1] == "best\n"
    assert run("link", "-n", "best", "-u", "{b: x}")[1] == "best_1\n"


def test_values_that_a_shell_would_run_are_values(greetings: Path, run: Run, folder: Path) -> None:
    """``$(...)``, quotes, semicolons and newlines in a value come out as they are."""
    value = """$(touch pwned); `touch pwned` "x" 'y' | z"""
    quoted = value.replace("'", "''")

    assert run("link", "-u", f"{{a: '{quoted}'}}", "-n", "odd")[0] == 0
    printed = run("run", "odd", "bash")[1]

    assert f"{value} World" in printed
    assert run("list", "-p", f'a == "{value}"'.replace('"x"', '\\"x\\"'), "--csv")[1].count("\n") == 2
    assert not list(folder.rglob("pwned"))


# running


def test_failed_experiment_is_told_by_the_exit_code(greetings: Path, run: Run) -> None:
    """Where one fails the exit code is 1, and the others have run."""
    run("link", "-u", "{a: fail}")

    code, _, complaint = run("run", "all", "bash")

    assert code == 1
    assert "as asked" in complaint
    assert _statuses(greetings) == ["finished"] * 4 + ["error"]


def test_command_keeps_its_own_flags(greetings: Path, run: Run) -> None:
    """What comes after the pattern is the command's, also what looks like a flag of ours."""
    code, printed, _ = run("run", "-j", "2", "a=Hello*", "env", "-u", "PWD", "bash", "-e")

    assert code == 0
    assert printed.count("EXPERIMENT FINISHED!") == 2


def test_work_runs_what_waits(greetings: Path, run: Run) -> None:
    """``work`` runs all that wait, in processes of their own, and says how many."""
    run("unlink", "a=Bye*")

    assert run("work", "-t", "1")[:2] == (0, "Hello World\n1 experiment ran here\n")
    assert run("work", str(greetings), "-n", "2")[1].splitlines()[-1] == "1 experiment ran here"
    assert run("work")[1] == "0 experiments ran here\n"
    assert _statuses(greetings) == ["finished"] * 2


def test_condition_on_a_parameter_that_nobody_has_is_told(greetings: Path, run: Run) -> None:
    """A slip in a name is no empty answer: the name is said, and those that there are."""
    assert (
        run("list", "-p", "bb == World")[1]
        == "no experiment has a parameter 'bb'; did you mean 'b'? (there are: a, b)\n"
    )
    assert run("list", "-f", "a = Hello")[1] == "no experiment has a parameter 'a = Hello' (there are: a, b)\n"


def test_set_of_a_class_in_the_working_directory(folder: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """``init -n module.Class`` finds it where the program was started; what fails leaves nothing behind."""
    (folder / "with_a_class.py").write_text(
        "from track import Experiment\n\n\nclass Mine(Experiment):\n    a: int = 1  # @p x\n\n    def run(self): ...\n"
    )
    monkeypatch.chdir(folder)
    before = sorted(os.listdir(folder))

    failed = [run("init", "-r", "new"), run("init", "-n", "with_a_class.Other", "-r", "new")]
    after = sorted(set(os.listdir(folder)) - {"__pycache__"})
    made = run("init", "-n", "with_a_class.Mine", "-r", "new")

    assert [code for code, *_ in failed] == [2, 2]
    assert after == before
    assert made[0] == 0
    assert (folder / "new" / "with_a_class.Mine").exists()


def test_work_says_how_many_have_failed(shell_set: Path, run: Run) -> None:
    """One that fails makes the exit code 1, as of ``run``, and is counted."""
    (shell_set / "script.sh").write_text("exit 3\n")
    run("init")
    run("link", "-n", "one")

    assert run("work")[:2] == (1, "1 experiment ran here, and 1 failed\n")


def test_sweep_registers_random_experiments(shell_set: Path, run: Run) -> None:
    """A range needs no grid: so many experiments are chosen by chance, the same for the same seed."""
    run("init")

    code, printed, _ = run("sweep", "-u", "{x: 1 .. 1000}", "-t", "3", "--seed", "7")

    assert code == 0
    assert len(set(printed.split())) == 3
    assert "gives ranges" in run("link", "-u", "{x: 1 .. 1000}")[2] or "trials" in run("link", "-u", "{x: 1 .. 9}")[2]


def test_python_runs_an_experiment_with_its_own_flags(run: Run) -> None:
    """What comes after the name is for the experiment; its exit code is ours."""
    run("python", "--add", "hello", "HelloWorld")

    assert run("python", "HelloWorld", "--a", "Good day", "-x")[:2] == (0, "Good day World\n")
    assert run("experiments", "HelloWorld", "--help")[1].startswith("usage: hello.HelloWorld")
    assert run("python", "HelloWorld", "--c", "1")[0] == 2
    assert run("python", "--list")[1].startswith("HelloWorld: ")
    assert run("python", "--remove", "HelloWorld")[0] == 0
    assert "is known yet" in run("python")[1]


# notes, letting go


def test_notes_are_of_experiments_or_of_the_set(greetings: Path, run: Run) -> None:
    """With a pattern the experiments are annotated, without one the set; ``-d`` removes a note."""
    assert run("note", "a=Bye*", "too loud")[0] == 0
    assert run("note", "first try")[0] == 0

    assert [load_param(greetings / name)["_notes"] for name in NAMES] == [None, None, ["too loud"], ["too loud"]]
    assert ExperimentManager(greetings, headless=True).notes == ["first try"]
    assert run("list", "-N")[1].splitlines()[-2:] == ["Notes:   first try", "         too loud"]

    run("note", "-d", "*", "too loud")
    assert load_param(greetings / NAMES[3])["_notes"] is None


def test_clean_deletes_what_was_let_go_once_it_is_allowed(
    greetings: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal nothing is deleted unasked; at one a person decides; ``-y`` decides; others stay."""
    run("unlink", "a=Bye*")
    (greetings / "mine").mkdir()

    assert run("clean")[0] == 2
    assert len(list(greetings.glob("a=Bye*"))) == 2

    monkeypatch.setattr("sys.stdin", _Terminal("n\n"))
    assert run("clean")[:1] == (1,)
    assert len(list(greetings.glob("a=Bye*"))) == 2

    assert run("clean", "-y")[0] == 0
    assert sorted(
        path.name for path in greetings.iterdir() if path.is_dir() and not path.name.startswith(".")
    ) == sorted([*NAMES[:2], "mine"])


def test_prompting_that_is_off_asks_nobody(greetings: Path, run: Run) -> None:
    """``config --disable_prompt`` is as good as ``-y``, for scripts."""
    run("config", "--disable_prompt")

    assert run("rm", str(greetings))[0] == 0
    assert not greetings.exists()
    assert home.read()["experiments"] == {}


class _Terminal(io.StringIO):
    """What a person types."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def test_purpose_is_asked_for_at_a_terminal(greetings: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is there and wants to be asked says what experiments are for."""
    monkeypatch.setattr("sys.stdin", _Terminal("to compare\n"))

    run("link", "-u", "{a: x}")

    assert load_param(greetings / "a=x")["_purpose"] == "to compare"


def test_relink_takes_experiments_and_moved_sets_again(
    greetings: Path, run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``-e`` manages folders again; without it, a set that was moved is known where it is, and runs there."""
    run("unlink", "a=Bye*")
    assert run("relink", "-e", NAMES[2])[:2] == (0, f"{NAMES[2]}\n")

    monkeypatch.chdir(folder)
    moved = folder / "elsewhere" / "the set"
    moved.parent.mkdir()
    greetings.rename(moved)
    assert run("relink", "-r", "elsewhere", "--recursive")[0] == 0

    assert str(moved) in home.read()["experiments"]
    code, printed, _ = run("run", "-r", str(moved), "*", "bash")
    assert (code, printed.count("EXPERIMENT FINISHED!")) == (0, 3)
    run("config", "--clean")
    assert list(home.read()["experiments"]) == [str(moved)]


# list


def test_list_shows_what_is_asked_for(greetings: Path, run: Run) -> None:
    """Each flag is a column or more, each condition leaves out those that fail it."""
    run("run", "a=Hello*", "bash")

    assert run("list")[1].splitlines()[0].split() == ["root", "name"]
    assert run("list", "-m")[1].splitlines()[0].split() == ["root", "name", "a", "b"]
    assert run("list", "-m", "a")[1].splitlines()[0].split() == ["root", "name", "a"]
    assert {"host", "user"} <= set(run("list", "-M")[1].splitlines()[0].split())
    assert run("list", "-P")[1].splitlines()[0].split() == ["root", "name", "purpose"]
    rows = _lines(run("list", "-p", "a == Bye", "b != World")[1])
    assert rows[1][-3:] == [NAMES[3], "Bye", "Planet"]
    assert rows[2] == []
    assert _lines(run("list", "-f", "_status == finished", "b == World")[1])[1][-1] == NAMES[0]
    assert run("list", "-f", "a == nobody")[:2] == (0, "no experiment matches\n")
    assert run("list", "-n", "Other")[1] == "no experiment matches\n"
    assert run("list", "-p", "a.* <= 1 and exit()")[:2] == (0, "no experiment matches\n")
    assert run("list", "--load_defaults", "-s", "-p", "a")[1].splitlines()[0].split() == ["root", "name", "a"]
    assert run("list", "--max_rows", "1")[1].splitlines()[2] == "... and 3 more"
    assert run("list", "--max_width", "8")[1].splitlines()[1].split()[-1] == "a=Hel..."


def test_list_finds_sets_by_folders_and_globs(
    greetings: Path, run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder means the sets in it and below, a glob roots or experiments, the folder of one its params.yml."""
    monkeypatch.chdir(folder)

    assert len(_lines(run("list")[1])) == 7
    assert len(_lines(run("list", "my runs")[1])) == 7
    assert len(_lines(run("list", "my*")[1])) == 7
    assert len(_lines(run("list", "my runs/a=Hello*")[1])) == 5
    assert "a: Hello" in run("list", f"my runs/{NAMES[0]}")[1]
    assert run("list", "nowhere")[0] == 2

    link = folder / "link"
    link.symlink_to(greetings)
    assert len(_lines(run("list", "link")[1])) == 7
    monkeypatch.chdir(link)
    assert len(_lines(run("list")[1])) == 7


def test_experiments_are_sorted_and_data(greetings: Path, run: Run) -> None:
    """By a parameter or a fact, forth and back; JSON is one document of what is shown."""
    shown = ("--json", "-s", "-p", ".*")
    first = json.loads(run("list", "--sort", "b", *shown)[1])
    last = json.loads(run("list", "--sort", "b", "--reverse", *shown)[1])

    assert first["schema"] == 1
    assert [one["b"] for one in first["experiments"]] == ["Planet", "Planet", "World", "World"]
    assert [one["b"] for one in last["experiments"]] == ["World", "World", "Planet", "Planet"]
    assert {one["status"] for one in first["experiments"]} == {"registered"}
    assert run("list", "--sort", "status")[0] == 0
    code, _, complaint = run("list", "--sort", "nothing")
    assert (code, complaint.count("\n")) == (2, 1)


def test_csv_is_whole(greetings: Path, run: Run) -> None:
    """Nothing is cut or lost, whatever is in a value."""
    run("link", "-n", "long", "-u", f'{{a: "{"x" * 100},\\n\\"y\\""}}')

    rows = list(csv.DictReader(io.StringIO(run("list", "--csv", "-s", "-p", ".*")[1])))

    assert len(rows) == 5
    assert rows[-1] == {
        "root": "my runs",
        "name": "long",
        "status": "registered",
        "a": f'{"x" * 100},\n"y"',
        "b": "World",
    }


def test_table_stays_in_its_lines(greetings: Path, run: Run) -> None:
    """Control characters and long values are shown in one line, and do nothing to the terminal."""
    run("link", "-n", "odd", "-u", '{a: "\\x1b[2J\\nx"}')

    printed = run("list", "-p", "a")[1]

    assert "\x1b" not in printed
    assert "\\x1b[2J\\nx" in printed
    assert len(printed.splitlines()) == 8


def test_set_is_listed_that_is_not_known(shell_set: Path, run: Run) -> None:
    """A set that somebody else has made, or that is headless, is listed where it is."""
    manager = ExperimentManager(shell_set, headless=True)
    manager.initialise()
    manager.register(string_params="{x: 2 | 3}")

    assert [line[-1] for line in _lines(run("list", "-p", "x")[1])[1:3]] == ["2", "3"]
    assert home.read()["experiments"] == {}


def test_live_list_ends_with_ctrl_c(greetings: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """``-i`` prints again and again, until somebody has seen enough."""
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", wait)

    code, printed, _ = run("list", "-i", "0.5")

    assert (code, waits, printed.count("Roots relative to")) == (130, [0.5, 0.5], 2)


def test_reader_that_has_seen_enough_is_no_error(greetings: Path) -> None:
    """``exp list | head`` says nothing about its pipe."""
    program = f"{sys.executable} -m track exp list -p . | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=False, timeout=60)

    assert (done.stdout, done.stderr) == ("0\n", "")


# config


def test_settings_are_changed_and_shown(run: Run, folder: Path) -> None:
    """Each switch is stored; a header may be a file; accounts are accepted, and nobody is asked."""
    (folder / "header.txt").write_text("#SBATCH --gpus=1\n")

    assert run("config", "--disable_requeue", "--enable_stdout_to_txt", "-H", "header.txt")[:2] == (0, "")
    assert "there are no accounts" in run("config", "--register_user", "--server_host", "example.invalid")[1]

    found: dict[str, Any] = home.read()
    assert (found["requeue"], found["redirect_stdout"], found["header"]) == (False, True, "#SBATCH --gpus=1\n")
    assert "requeue: false" in run("config", "--list")[1]
    assert run("config", "--enable_prompt", "--disable_prompt")[0] == 2


def test_header_of_the_settings_is_in_each_run(greetings: Path, run: Run) -> None:
    """Unless ``-H`` gives another one."""
    run("config", "-H", "#SBATCH --gpus=1")

    run("link", "-n", "with")
    run("link", "-n", "other", "-H", "#SBATCH --gpus=2")

    assert "#SBATCH --gpus=1\n" in (greetings / "with" / "run.sh").read_text()
    assert "#SBATCH --gpus=2\n" in (greetings / "other" / "run.sh").read_text()
    assert "gpus=1" not in (greetings / "other" / "run.sh").read_text()


def test_output_is_kept_where_the_settings_say_so(greetings: Path, run: Run) -> None:
    """``--enable_stdout_to_txt`` is ``--txt`` for all."""
    run("config", "--enable_stdout_to_txt")

    run("run", NAMES[0], "bash")

    assert (greetings / NAMES[0] / "out.txt").read_text() == "Hello World\n"


def test_environment_is_listed_where_the_settings_say_so(greetings: Path, run: Run) -> None:
    """``--enable_save_conda`` has each experiment write what is installed, as conda reads it; by default none does."""
    run("run", NAMES[0], "bash")
    run("config", "--enable_save_conda")

    run("run", NAMES[1], "bash")

    assert not (greetings / NAMES[0] / "environment.yml").exists()
    python_version, pip, packages = load_param(greetings / NAMES[1], "environment.yml")["dependencies"]
    assert (python_version, pip) == (f"python={platform.python_version()}", "pip")
    assert any(one.startswith("msgspec==") for one in packages["pip"])


def test_broken_settings_are_one_sentence(run: Run) -> None:
    """A file of settings that is none is named; it is not replaced."""
    os.makedirs(home.folder())
    Path(home.path()).write_text("prompt: [")

    code, _, complaint = run("config", "--list")

    assert code == 2
    assert complaint.count("\n") == 1
    assert "experiments.yml" in complaint


def test_edited_folder_is_as_its_store_says(greetings: Path, run: Run) -> None:
    """A status that somebody writes into params.yml is not what `list` shows: the trial is."""
    params = load_param(greetings / NAMES[0])
    params["_status"] = "finished"
    save_param(params, greetings / NAMES[0])

    assert run("list", "-s", "-f", "_status == finished")[1] == "no experiment matches\n"
