"""The examples of the original's documentation, of the parts that are here, with other imports."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.children import python
from track import Experiment, Root
from track.experiment_utils import load_param
from track.functional import functional_experiment

pytest.importorskip("yaml")


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty directory."""
    monkeypatch.chdir(tmp_path)


class AnExperiment(Experiment):
    """Doc strings document the purpose of an experiment."""

    # parameters are attributes of the class with a tag in the comment
    a: str = "Hello"  # @p a parameter
    b: str = "World!"  # @p another parameter

    def run(self) -> None:
        """Greet."""
        print(f"{self.a} {self.b}")


def test_class_of_the_introduction(capsys: pytest.CaptureFixture[str]) -> None:
    """Two parameters, and what is done with them."""
    AnExperiment("runs/hello", b="Planet!")()

    assert capsys.readouterr().out == "Hello Planet!\n"
    assert AnExperiment.__doc__ is not None
    assert "    a: str='Hello' ~ a parameter\n    b: str='World!' ~ another parameter\n" in AnExperiment.__doc__


def test_function_with_a_root() -> None:
    """It writes into its folder, and says when."""

    def functional(root: Root, text: str = "Running experiment") -> None:  # what is written
        assert root.directory is not None
        Path(root.directory, "out").write_text(text)
        root.message({"time": time.time()})

    experiment = functional_experiment(functional)()
    experiment.register("runs/f")
    experiment()

    assert Path("runs/f/out").read_text() == "Running experiment"
    assert time.time() - 60 < load_param("runs/f")["_messages"]["time"] <= time.time()


@pytest.mark.parametrize(
    "call", ["exp = AnExperiment().main()", "exp = AnExperiment(); args = exp.parse_args(); exp.main(args)"]
)
def test_both_forms_of_a_program(call: str) -> None:
    """With and without the arguments in between."""
    Path("hello.py").write_text(
        "from track import Experiment\n"
        "class AnExperiment(Experiment):\n"
        "    a: str = 'Hello'   # @p a parameter\n"
        "    b: str = 'World!'  # @p another parameter\n"
        "    def run(self):\n"
        "        print(f'{self.a} {self.b}')\n"
        f"if __name__ == '__main__':\n    {call}\n"
    )

    done = python("hello.py", "-u", "{a: Bye}", "-x", "runs/x")

    assert (done.stdout, done.stderr) == ("Bye World!\n", "")
    assert load_param("runs/x")["a"] == "Bye"


def test_defaults_of_any_class_as_the_example_writes_them() -> None:
    """The example calls it ``to_yaml``."""
    AnExperiment().to_yaml("named")
    AnExperiment().to_defaults("root")

    assert os.listdir("named") == ["defaults.yml"]
    assert load_param("named", "defaults.yml")["a"] == load_param("root", "defaults.yml")["a"] == "Hello"


def test_defaults_of_any_class() -> None:
    """Any class of experiments can write its defaults."""
    AnExperiment().to_defaults("root")
    AnExperiment().to_root("root")

    assert {"defaults.yml", "script.sh"} < set(os.listdir("root"))
    assert os.access("root/script.sh", os.X_OK)


def test_messages_of_two_experiments() -> None:
    """Linked by root and name; each has its own."""
    ex1, ex2 = Experiment(), Experiment()
    ex1.link("tmp", "ex1")
    ex2.link("tmp", "ex2")
    seen: list[Any] = []
    y1 = y2 = 0
    for i in range(40):
        y1, y2 = y1 + 1, y2 + 2
        if y1 % 10 == 0:
            ex1.message({"y1": y1, "y2": y2})
            ex2.message({"y1": y1, "y2": y2})
        if i % 10 == 1:
            seen.append((ex1.messages.get("y1", None), ex2.messages.get("y2", None)))

    assert seen == [(None, None), (10, 20), (20, 40), (30, 60)]


def test_messages_with_a_leader() -> None:
    """The pair of the least value is kept."""
    ex = Experiment()
    ex.link("tmp", "ex")
    seen = []
    x = -50
    for i in range(100):
        x += 1
        y = x**2
        if (i + 1) % 10 == 0:
            ex.message({"y": y, "i": i}, keep="min", leader="y")
        if i % 10 == 1:
            seen.append([ex.messages.get(k, None) for k in ("i", "y")])

    assert seen == [[None, None], [9, 1600], [19, 900], [29, 400], [39, 100], *[[49, 0]] * 5]


def test_notes_are_left_and_removed(caplog: pytest.LogCaptureFixture) -> None:
    """``remove=True`` removes; where there is nothing to remove, that is said."""
    experiment = Experiment("runs/a")
    experiment.note("one")
    experiment.note("two")
    experiment.note("one", remove=True)
    with caplog.at_level(logging.WARNING):
        experiment.note("three", remove=True)

    assert load_param("runs/a")["_notes"] == experiment.notes == ["two"]
    assert "no note 'three'" in caplog.text
