"""Experiments as programs: every flag, every mistake, in a process of its own or in this one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.children import ended, python, start_program
from track import Experiment, fetch
from track.experiment_utils import load_param

pytest.importorskip("yaml")

PROGRAM = '''
import os, sys
from track.experiment import Experiment


class Train(Experiment):
    """Train 100% of it."""

    lr: float = 0.1  # @p the step, in %
    depth: int = 3  # @p levels
    fast: bool = False  # @p whether to hurry
    name: str = "x"  # @p a name
    layers: list = [1, 2]  # @p widths
    options: dict = {"a": 1, "b": 2.0}  # @p more
    seed = None  # @p of the generator
    learning_rate: float = 1.0  # @p another

    def debug(self):
        self.depth = 1
        return self

    def run(self):
        print("running", self.lr, self.depth, self.fast, repr(self.name), self.layers, self.options, self.seed)
        print("to stderr", file=sys.stderr)
        if self.name == "log":
            self.trial.log_metrics(step=0, error=self.lr)
            print(self.trial.trial.metrics["error"], self.trial.trial.parameters["depth"])
        if self.name == "fail":
            raise RuntimeError("failed")
        return self.lr


if __name__ == "__main__":
    Train().main()
'''


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a directory with nothing but the program, which has a blank and a quote in its name."""
    folder = tmp_path / "it's a $(folder)"
    folder.mkdir()
    monkeypatch.chdir(folder)
    # What a script calls python3 is this one.
    monkeypatch.setenv("PATH", f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}")
    Path("train.py").write_text(PROGRAM)


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return python("train.py", *words)


def test_without_flags_it_says_what_it_is() -> None:
    """The docstring, with the parameters, and nothing is made."""
    done = _run()

    assert done.returncode == 0
    assert done.stdout.startswith("Train 100% of it.\n\nParameters:\n    lr: float=0.1 ~ the step, in %\n")
    assert done.stdout.endswith("\nFor more help use --help.\n")
    assert os.listdir() == ["train.py"]


def test_help_shows_flags_and_parameters() -> None:
    """Of the library, and those of the experiment."""
    done = _run("--help")

    assert done.returncode == 0
    for text in ("--execute", "--restart", "--lr VALUE", "lr: float=0.1 ~ the step, in %", "--learning-rate"):
        assert text in done.stdout


def test_it_runs_in_a_folder() -> None:
    """Flags of parameters are YAML, as their defaults ask."""
    words = ["--lr", "-1e-3", "--depth", "2.0", "--fast", "true", "--name", "012", "--layers", "[3, 4]", "--seed", "7"]
    done = _run(*words, "--options", "{a: 5}", "--learning-rate", "2", "-p", "to", "see", "-x", "runs/a")

    assert (done.returncode, done.stderr) == (0, "to stderr\n")
    assert done.stdout == "running -0.001 2 True '012' [3, 4] {'a': 5, 'b': 2.0} 7\n"
    found = load_param("runs/a")
    assert (found["_status"], found["_purpose"], found["learning_rate"]) == ("finished", "to see", 2.0)


def test_updates_are_mappings_or_files() -> None:
    """In the order in which they are given; a text stays as it is written, quotes may hold anything."""
    assert _run("-x", "runs/a", "--lr", "0.5", "--name", "first").returncode == 0

    done = _run("-u", "runs/a/params.yml", "{depth: 5, name: 012}", "-u", "layers: [3, 4]", "-x", "runs/b")
    assert done.stdout == "running 0.5 5 False '012' [3, 4] {'a': 1, 'b': 2.0} None\n"

    done = _run("-u", "{name: 'a | b: $(touch owned)\n', lr: 1e-3, seed: }", "-x", "runs/c")
    assert done.stdout.startswith("running 0.001 3 False 'a | b: $(touch owned) ' [1, 2]")
    assert not Path("owned").exists()


def test_without_a_folder_nothing_is_written() -> None:
    """It runs, and that is all."""
    done = _run("--lr", "2", "--execute")

    assert done.stdout.startswith("running 2.0")
    assert os.listdir() == ["train.py"]


def test_a_run_without_a_folder_has_a_trial() -> None:
    """What logs to its trial runs as it would in a folder; the numbers are gone with the run."""
    done = _run("--lr", "2", "--name", "log", "--execute")

    assert (done.returncode, done.stdout.splitlines()[1:]) == (0, ["{0: 2.0} 3"])
    assert done.stderr == "to stderr\n"
    assert os.listdir() == ["train.py"]


def test_a_trial_without_a_folder_ends_with_its_run() -> None:
    """It says how the run ended, and the next run has another one."""
    taken = []

    class Failing(Experiment):
        def run(self) -> None:
            taken.append(self.trial)
            raise RuntimeError("failed")

    experiment = Failing()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="failed"):
            experiment.main(["--execute"])

    assert taken[0] is not taken[1]
    assert [trial.trial.status.name for trial in taken] == ["Exception", "Exception"]
    assert experiment.trial is None


def test_parameters_without_execute_say_that_nothing_was_run() -> None:
    """A program that is given parameters only does not end as if it had run."""
    done = _run("--lr", "2")

    assert (done.returncode, done.stdout) == (0, "")
    assert "nothing was run: --execute DIR" in done.stderr


def test_debug_chooses_small_parameters() -> None:
    """They are chosen first: what is given counts."""
    assert _run("-d", "-x").stdout.startswith("running 0.1 1 ")
    assert _run("-d", "--depth", "2", "-x").stdout.startswith("running 0.1 2 ")


def test_output_is_kept() -> None:
    """Standard output and error are in ``out.txt``, of a run after a run, and in the trial."""
    store = "file:" + os.path.join(os.getcwd().replace(" ", "%20").replace("$", "%24"), "store.json")
    for words in (["-x", "runs/a"], ["-x", "runs/a", "-f"]):
        done = python("train.py", "-t", *words, TRACK_LOG_BACKEND_NAME=store)
        assert (done.returncode, done.stderr) == (0, "to stderr\n")

    text = "running 0.1 3 False 'x' [1, 2] {'a': 1, 'b': 2.0} None\nto stderr\n"
    assert Path("runs/a/out.txt").read_text() == text * 2
    (trial,) = fetch(store)
    assert {artifact["name"] for artifact in trial.artifacts} == {"out.txt"}


def test_registered_experiment_is_run_from_its_file() -> None:
    """Once: what is finished is run again only when that is said."""
    script = "import train; train.Train('runs/a', lr=0.5)"
    assert python("-c", f"import sys; sys.path.insert(0, '.'); {script}").returncode == 0

    first, second = _run("-x", "runs/a/params.yml"), _run("-x", "runs/a/params.yml")
    third = _run("-x", "runs/a/params.yml", "-f")

    assert first.stdout.startswith("running 0.5")
    assert second.returncode == 2
    assert "is finished: --restart runs it again" in second.stderr
    assert third.stdout.startswith("running 0.5")
    assert os.listdir("runs") == ["a"]


def test_parameters_of_a_registered_experiment_stay() -> None:
    """Others that are asked for are named; what it is for may be said again."""
    script = "import train; train.Train('runs/a', 'once', lr=0.5, depth=2)"
    assert python("-c", f"import sys; sys.path.insert(0, '.'); {script}").returncode == 0

    done = _run("--lr", "0.7", "--depth", "2", "-p", "twice", "-x", "runs/a/params.yml")

    assert done.stdout.startswith("running 0.5 2")
    assert "keeps its own parameters; these were asked for: lr\n" in done.stderr
    assert load_param("runs/a")["_purpose"] == "twice"


def test_copies_of_a_job_run_an_experiment_once() -> None:
    """Of several that are started at once one runs it; the others say so, and end well."""
    store = "file:" + os.path.join(os.getcwd().replace(" ", "%20").replace("$", "%24"), "store.json")
    script = "import sys; sys.path.insert(0, '.'); import train; train.Train('runs/a', lr=0.5)"
    assert python("-c", script, TRACK_LOG_BACKEND_NAME=store).returncode == 0
    words = [sys.executable, "train.py", "-x", "runs/a/params.yml"]

    started = [start_program(*words, TRACK_LOG_BACKEND_NAME=store) for _ in range(4)]
    done = [ended(process) for process in started]

    ran = [one for one in done if one.stdout]
    late = [one for one in done if not one.stdout]
    assert [(one.returncode, one.stdout[:11]) for one in ran] == [(0, "running 0.5")]
    # Who comes when it is over is told how to run it again.
    assert {one.returncode for one in late} <= {0, 2}
    assert all("another process" in one.stderr or "--restart" in one.stderr for one in late)
    assert [trial.attempt for trial in fetch(store)] == [1]


def test_taken_folder_gets_a_number() -> None:
    """As from a program; which, is said."""
    first, second = (_run("-x", "runs/a") for _ in range(2))

    assert (first.returncode, second.returncode) == (0, 0)
    assert "already" not in first.stderr
    assert "there is an experiment in runs/a already: this one is in" in second.stderr
    assert sorted(os.listdir("runs")) == ["a", "a_0"]


def test_root_of_a_set_runs_experiments() -> None:
    """``script.sh params.yml`` runs the experiment of that file, from anywhere, whatever the folder is called."""
    assert _run("--lr", "0.5", "--to_root", "my set").returncode == 0
    assert sorted(os.listdir("my set")) == ["defaults.yml", "script.sh", "train.Train"]
    assert load_param("my set", "defaults.yml")["lr"] == 0.5
    script = f"import sys; sys.path.insert(0, {os.getcwd()!r}); import train; train.Train('my set/a b', lr=0.25)"
    assert python("-c", script).returncode == 0

    done = ended(start_program(os.path.abspath("my set/script.sh"), os.path.abspath("my set/a b/params.yml"), cwd="/"))

    assert (done.returncode, done.stderr) == (0, "to stderr\n")
    assert done.stdout.startswith("running 0.25")
    assert load_param("my set/a b")["_status"] == "finished"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--nothing"], "unrecognized arguments: --nothing"),
        (["--l", "1"], "unrecognized arguments"),
        (["-u", "{lrr: 1}", "-x"], "did you mean 'lr'"),
        (["-u", "{_status: finished}", "-x"], "has no parameter '_status'"),
        (["-u", "{lr: !!python/object/apply:os.system [touch owned]}", "-x"], "os.system"),
        (["-u", "{lr: ", "-x"], "no YAML"),
        (["-u", "nowhere/params.yml", "-x"], "nowhere/params.yml"),
        (["-u", "nowhere.yml", "-x"], "a params.yml that is there, not 'nowhere.yml'"),
        (["-u", "lr", "-x"], "--update takes a mapping"),
        (["-u", "{lr:1}", "-x"], "a blank after each colon: 'lr: 1'"),
        (["--lr", "fast", "-x"], "lr is float, and 'fast' is not"),
        (["--depth", "true", "-x"], "depth is int"),
        (["--fast", "2", "-x"], "fast is bool"),
        (["--layers", "[1]", "-x"], "layers has 2 elements, not 1"),
        (["--options", "{z: 1}", "-x"], "options has no z"),
        (["-x", "train.py/a"], "Not a directory"),
        (["-x", "no/params.yml"], "No such file"),
        (["-x", "a" * 300], "File name too long"),
    ],
)
def test_a_mistake_is_one_sentence(words: list[str], said: str) -> None:
    """It names what is wrong; the exit code is 2, nothing is run, and nothing made."""
    done = _run(*words)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("train.py: error: ")
    assert "[Errno" not in done.stderr
    assert said in done.stderr
    assert os.listdir() == ["train.py"]


def test_a_run_that_fails_exits_with_1() -> None:
    """The traceback is the program's own."""
    done = _run("--name", "fail", "-x", "runs/a")

    assert done.returncode == 1
    assert done.stderr.endswith("RuntimeError: failed\n")
    assert load_param("runs/a")["_status"] == "error"


class Made(Experiment):
    """Made here."""

    a: int = 1  # @p one
    execute: str = "x"  # @p called like a flag

    def run(self) -> int:
        """Return a."""
        return self.a


def test_main_takes_what_was_parsed() -> None:
    """It is not read again; words can be given, too, and the result of the run is returned."""
    made = Made()
    parsed = made.parse_args(["-u", "{a: 3, execute: y}", "-x", "runs/a"])
    assert (made.a, made.execute, made.status, parsed.execute) == (3, "y", "default", "runs/a")

    assert made.main(parsed) == 3
    assert Made().main(["--a", "4", "-x"]) == 4
    assert made.status == "finished"


def test_what_is_no_data_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    """A function, as default, is no text's business."""

    class Acts(Made):
        act = len  # @p a function

    with pytest.raises(SystemExit, match="2"):
        Acts().main(["--act", "print", "-x"])
    assert "act is <built-in function len>, which no text can say" in capsys.readouterr().err


def test_words_of_the_program_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``exp.main(exp.parse_args())`` is written."""
    monkeypatch.setattr("sys.argv", ["made.py", "--a", "5", "-x"])
    made = Made()
    args: Any = made.parse_args()

    assert made.main(args) == 5
    assert Made().main() == 5
