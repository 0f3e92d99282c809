"""The helpers of the original's `utils`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import track.utils
from tests.children import ended, printed_by, start_program
from track import experiment_utils
from track.experiment_utils import (
    IncompatibleYmlException,
    TypedMeta,
    dic_from_yml,
    dic_to_yaml,
    dics_to_pandas,
    flatten,
    get_git,
    get_meta,
    get_run_script,
    get_size,
    get_version,
    load_param,
    load_params,
    save_param,
)
from track.utils import machine

pytest.importorskip("yaml")


def test_parameters_are_loaded_with_comments(tmp_path: Path) -> None:
    """What is loaded and saved again is the same file."""
    text = "a: 1  # first\nb: x\n"
    (tmp_path / "params.yml").write_text(text)
    found = load_param(tmp_path)

    save_param(found, tmp_path)
    save_param({"c": 2}, tmp_path, "other.yml")

    assert (found, found.comments) == ({"a": 1, "b": "x"}, {"a": "first"})
    assert (tmp_path / "params.yml").read_text() == text
    assert load_params([tmp_path, str(tmp_path)]) == [{"a": 1, "b": "x"}] * 2
    assert load_param(tmp_path, "other.yml") == {"c": 2}


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """As for any file."""
    with pytest.raises(FileNotFoundError):
        load_param(tmp_path)


def test_dictionaries_are_texts_and_back() -> None:
    """In a line each, or in one."""
    dic = {"a": {"b": [1, 2]}, "c": None}

    assert dic_to_yaml(dic) == "a:\n  b: [1, 2]\nc:\n"
    assert dic_to_yaml(dic, default_flow_style=True) == '{"a": {"b": [1, 2]}, "c": null}\n'
    for flow in (True, False):
        assert dic_from_yml(string=dic_to_yaml(dic, default_flow_style=flow)) == dic


def test_one_text_or_one_file_is_read(tmp_path: Path) -> None:
    """Both, or none, is an error; a file that is no YAML is one of its own."""
    (tmp_path / "a.yml").write_text("a: 1")

    assert dic_from_yml(path=tmp_path / "a.yml") == {"a": 1}
    for both in ({}, {"string": "a: 1", "path": "x"}):
        with pytest.raises(AssertionError, match="one of them"):
            dic_from_yml(**both)
    with pytest.raises(IncompatibleYmlException):
        dic_from_yml(string="a: [")


@pytest.mark.parametrize(
    ("dic", "flat"),
    [
        ({"a": {"b": {"c": 1}}}, {"a_b_c": 1}),
        ({1: {2: 3}, None: 4}, {"1_2": 3, "None": 4}),
        ({"a": {}, "b": [{"c": 1}]}, {"a": {}, "b": [{"c": 1}]}),
    ],
)
def test_nested_keys_are_joined(dic: dict[Any, Any], flat: dict[str, Any]) -> None:
    """Of any type; lists stay as they are."""
    assert flatten(dic) == flat


def test_separator_and_prefix_are_chosen() -> None:
    """As they are asked for."""
    assert flatten({"a": {"b": 1}}, "p", ".") == {"p.a.b": 1}


def test_dictionaries_are_a_table() -> None:
    """A row each, with the keys that match; what is missing is NaN."""
    pytest.importorskip("pandas")
    table = dics_to_pandas([{"a": {"b": 1}, "c": 2}, {"a": {"d": 3}}], "a_.*")

    assert list(table.columns) == ["a_b", "a_d"]
    assert table.isna().to_numpy().tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (10, "10.00B"),
        (1253656, "1.20MB"),
        (1253656678, "1.17GB"),
        (2**50, "1.00PB"),
        (2**60, "1.00EB"),
        (2**90, "1024.00YB"),
    ],
)
def test_sizes_are_scaled(count: int, text: str) -> None:
    """To a unit that a person reads, however large they are."""
    assert get_size(count) == text


def test_names_are_in_utils_too() -> None:
    """Where the original had them; what is not there is an error as always."""
    missing = [
        name for name in experiment_utils.__all__ if getattr(track.utils, name) is not getattr(experiment_utils, name)
    ]

    assert not missing
    with pytest.raises(AttributeError, match="nothing"):
        _ = track.utils.nothing  # type: ignore[attr-defined]
    assert printed_by("import sys, track.utils; print('track.experiment_utils' in sys.modules)") == "False"


# versions


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Give a repository with one commit and a module in it."""
    folder = tmp_path / "a repo"
    folder.mkdir()
    (folder / "made.py").write_text("def f(root): pass\nclass C: pass\n")
    for command in (
        ["init", "-qb", "main"],
        ["add", "."],
        ["-c", "user.name=x", "-c", "user.email=x", "commit", "-qm", "one"],
    ):
        subprocess.run(["git", "-C", str(folder), *command], check=True)
    return folder


def test_git_is_described(repository: Path, tmp_path: Path) -> None:
    """Root, remote, commit and branch; None for each that there is not, {} without a repository."""
    commit = subprocess.run(
        ["git", "-C", str(repository), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )

    assert get_git(repository / "made.py") == {
        "local": str(repository),
        "remote": None,
        "commit": commit.stdout.strip(),
        "branch": "main",
    }
    subprocess.run(
        ["git", "-C", str(repository), "remote", "add", "origin", "https://me:secret@host/x.git"], check=True
    )
    subprocess.run(["git", "-C", str(repository), "checkout", "-q", "--detach"], check=True)
    found = get_git(repository)
    assert (found["branch"], found["remote"]) == (None, "https://***@host/x.git")
    assert get_git(tmp_path) == get_git("/nowhere") == {}


def test_version_is_of_one_thing(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path, a class or a function; none, or two, is an error."""
    monkeypatch.syspath_prepend(str(repository))
    made: Any = __import__("made")

    of_class, of_function = get_version(cls=made.C), get_version(fn=made.f)
    del sys.modules["made"]

    assert (of_class["module"], of_class["class"], of_class["git"]["branch"]) == ("made", "C", "main")
    assert (of_function["function"], of_function["path"]) == ("f", str(repository / "made.py"))
    assert get_version(path=repository)["git"]["local"] == str(repository)
    assert get_version(cls=dict) == {"module": "builtins", "class": "dict", "path": None}
    for wrong in ({}, {"path": "x", "cls": dict}):
        with pytest.raises(ValueError, match="one of"):
            get_version(**wrong)


@pytest.mark.parametrize("is_path", [True, False])
def test_run_script_runs(repository: Path, is_path: bool) -> None:
    """A program that imports the module from wherever it is, and is the experiment's command line."""
    text = get_run_script(str(repository / "made.py") if is_path else "made", "f", shell=sys.executable)
    assert text.startswith(f"#!{sys.executable}\n# File generated on the ")
    assert ("# GIT:\n# - repo " in text) == is_path
    script = repository / "run me"
    script.write_text(text)

    done = ended(start_program(sys.executable, script, "-x", "folder", cwd=repository))

    assert (done.returncode, done.stderr) == (0, "")
    assert load_param(repository / "folder")["_status"] == "finished"


# the machine


def test_machine_is_described() -> None:
    """Always by name, user and home; by more where it is asked for, and can be found out."""
    assert set(get_meta()) == {"mac", "host", "user", "home"}
    found = get_meta(*[True] * 10)
    assert {"system", "cpu", "disks", "network", "environ", "virtual", "swap"} <= set(found)
    assert found["system"]["system"] == os.uname().sysname
    assert found["cpu"]["total"] == os.cpu_count()
    assert set(found["virtual"]) == {"total", "free", "used", "percentage"}


def test_machine_is_described_without_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    """From what the system says."""
    monkeypatch.setitem(sys.modules, "psutil", None)

    found = get_meta(get_cpu=True, get_memory=True, get_network=True)

    assert found["cpu"] == {"total": os.cpu_count()}
    assert found["virtual"]["total"].endswith("B")
    assert found["network"]


def test_what_fails_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drivers and containers fail in many ways."""

    def fail() -> Any:
        raise RuntimeError("no")

    monkeypatch.setattr(machine, "cpu", lambda live: fail())
    monkeypatch.setattr(machine, "memory", fail)

    found = get_meta(get_cpu=True, get_memory=True, get_platform=True)

    assert "cpu" not in found
    assert "virtual" not in found
    assert "system" in found


def test_environment_tells_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of GPUs, schedulers and paths; what is named like a secret, or is a URL with one, is masked."""
    for name, value in {
        "CUDA_VISIBLE_DEVICES": "0",
        "SLURM_JOB_ID": "7",
        "SLURM_TOKEN": "abc",
        "TRACK_X": "mongodb://ann:hidden@db/x",
        "AWS_SECRET": "s",
        "CUDA_NOTE": "sk-abcdefghijklmnopqrstuvwxyz",
        "MY_OWN": "x",
    }.items():
        monkeypatch.setenv(name, value)

    found = get_meta(get_environ=True, get_slurm=True)

    assert found["environ"]["CUDA_VISIBLE_DEVICES"] == "0"
    assert found["environ"]["TRACK_X"] == "mongodb://***@db/x"
    assert found["environ"]["CUDA_NOTE"] == "***"
    assert found["environ"]["SLURM_TOKEN"] == found["slurm"]["token"] == "***"
    assert {"AWS_SECRET", "MY_OWN"}.isdisjoint(found["environ"])
    assert machine.environment(lambda name: name.startswith(("MY_", "AWS_")))["MY_OWN"] == "x"
    assert machine.environment(lambda name: name == "AWS_SECRET")["AWS_SECRET"] == "***"


def test_typed_meta_is_that_of_experiments() -> None:
    """The seed's example: the class's documentation has its parameters."""

    class MyClass(metaclass=TypedMeta):
        """Do something."""

        a: int = 3  # @p My first attribute
        b: int = 5  # @p My second attribute

    assert MyClass.__doc__ == (
        "Do something.\n\nParameters:\n    a: int=3 ~ My first attribute\n    b: int=5 ~ My second attribute\n"
    )
