"""What is found out of the machine, the packages and the repository."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from track.utils import environment
from track.utils.environment import PARTS, environment_of, find_git, find_gpus, find_packages, find_user, read_parts
from track.utils.masking import mask_command


@pytest.mark.parametrize(
    ("chosen", "parts"),
    [
        (True, PARTS),
        (False, ()),
        ("all", PARTS),
        ("1", PARTS),
        ("none", ()),
        ("", ()),
        ([], ()),
        ("Git, packages", ("git", "packages")),
        (["packages", "argv"], ("argv", "packages")),
        ("-argv,-user", tuple(part for part in PARTS if part not in ("argv", "user"))),
    ],
)
def test_parts_are_chosen_by_name(chosen: Any, parts: tuple[str, ...]) -> None:
    """All, none, some, or all but some; in one order."""
    assert read_parts(chosen) == parts


@pytest.mark.parametrize("chosen", ["gti", "git,-argv", "all,git", ["everything"], "-all"])
def test_part_that_does_not_exist_is_refused(chosen: Any) -> None:
    """The error names those that do."""
    with pytest.raises(ValueError, match="argv,python,host"):
        read_parts(chosen)


@pytest.mark.parametrize(
    ("words", "masked"),
    [
        (["--password", "x", "--lr", "0.1"], ["--password", "***", "--lr", "0.1"]),
        (["--password=x"], ["--password=***"]),
        (["--hf_token", "-x"], ["--hf_token", "***"]),
        (["--api-key", "--verbose"], ["--api-key", "--verbose"]),
        (["db.password=x", "+wandb.key=y"], ["db.password=***", "+wandb.key=***"]),
        (["SECRET=x", "python"], ["SECRET=***", "python"]),
        (["postgres://ann:pw@db/x?token=y"], ["postgres://***@db/x?token=***"]),
        (["--url=https://ghp_abcdefghij0123@github.com/x"], ["--url=https://***@github.com/x"]),
        (["git@github.com:a/b.git"], ["git@github.com:a/b.git"]),
        (['{"api_key": "x", "lr": 1}'], ['{"api_key": ***, "lr": 1}']),
        (["Authorization: Bearer abc.def"], ["Authorization: Bearer ***"]),
        (["sk-abcdefghijklmnop0123"], ["***"]),
        (["AKIAABCDEFGHIJKLMNOP"], ["***"]),
        (["eyJhbGciOi.eyJzdWIiOi.abc"], ["***"]),
        (["--tokenizer", "bert", "--max_tokens=512", "--num-tokens", "3"], None),
        (["--lr=0.1", "-v", "task.name=sk-learn", "--out=a=b", ""], None),
    ],
)
def test_secrets_of_a_command_are_masked(words: list[str], masked: list[str] | None) -> None:
    """Passwords, tokens and keys are told by name and by what they are like; what is none stays."""
    assert mask_command(words) == (words if masked is None else masked)


def test_packages_are_read_from_the_names_of_their_records(tmp_path: Path) -> None:
    """The first folder counts, names are normal, and what is no record is passed over."""
    for name in (
        "first/NumPy-2.1.0.dist-info",
        "first/scikit_learn-1.5.0.dist-info",
        "first/old-1.0-py3.11.egg-info",
        "first/broken.dist-info",
        "first/numpy",
        "second/numpy-1.0.dist-info",
        "second/zope.interface-7.0.dist-info",
    ):
        (tmp_path / name).mkdir(parents=True)

    found = find_packages([str(tmp_path / "first"), str(tmp_path / "none"), str(tmp_path / "second")])

    assert found.splitlines() == ["numpy==2.1.0", "old==1.0", "scikit-learn==1.5.0", "zope-interface==7.0"]


def test_packages_are_those_that_are_installed() -> None:
    """The versions are those that the packages themselves say."""
    from importlib.metadata import version

    found = dict(line.split("==") for line in find_packages().splitlines())

    assert {name: found[name] for name in ("pytest", "msgspec")} == {
        name: version(name) for name in ("pytest", "msgspec")
    }


def _write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the root of a machine with GPUs of two makers, of which the process has three."""
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for minor in range(3):
        said = f"Model: \t\t NVIDIA A100 {minor}\nIRQ: 5\nDevice Minor: \t {minor}\n"
        _write(tmp_path / f"proc/driver/nvidia/gpus/0000:0{minor}:00.0/information", said)
    for name in ("nvidia0", "nvidia2", "nvidia7", "nvidiactl", "nvidia-uvm", "kfd"):
        _write(tmp_path / "dev" / name)
    for node, simds in (("0", 0), ("1", 256)):
        _write(
            tmp_path / f"sys/class/kfd/kfd/topology/nodes/{node}/properties", f"cpu_cores_count 8\nsimd_count {simds}\n"
        )
        _write(tmp_path / f"sys/class/kfd/kfd/topology/nodes/{node}/name", "gfx90a\n")
    return tmp_path


def test_gpus_are_those_of_the_process(machine: Path) -> None:
    """A container sees the devices that it was given, by their models; processors are no GPUs."""
    assert find_gpus(str(machine)) == {"names": ["NVIDIA A100 0", "NVIDIA A100 2", "NVIDIA GPU", "AMD gfx90a"]}


@pytest.mark.parametrize(("visible", "is_hidden"), [("0,1", False), ("", True), ("-1", True)])
def test_gpus_that_are_hidden(machine: Path, monkeypatch: pytest.MonkeyPatch, visible: str, is_hidden: bool) -> None:
    """What the environment says is recorded; where it hides all of them, none is."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    found = find_gpus(str(machine))

    assert found is not None
    assert (found["CUDA_VISIBLE_DEVICES"], "names" in found) == (visible, not is_hidden)


def test_machine_without_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to say."""
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)

    assert not find_gpus(str(tmp_path))


def _git(folder: Path, *arguments: str) -> str:
    settings = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
    done = subprocess.run(
        ["git", "-C", folder, *settings, *arguments],
        check=True,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Give a repository with one commit."""
    _write(tmp_path / "repository" / "train.py", "1")
    folder = tmp_path / "repository"
    _git(folder, "init", "-q")
    _git(folder, "add", ".")
    _git(folder, "commit", "-q", "-m", "first")
    return folder


def test_commit_and_branch(repository: Path) -> None:
    """Also from a folder inside; files that git does not know change nothing."""
    _write(repository / "runs" / "runs.json")

    found = find_git(str(repository / "runs"))

    assert found == {"commit": _git(repository, "rev-parse", "HEAD"), "branch": "main", "is_dirty": False}


def test_changed_file_is_told(repository: Path) -> None:
    """A file that git knows, and that has changed, makes the folder dirty."""
    _write(repository / "train.py", "2")

    found = find_git(str(repository))

    assert found is not None
    assert found["is_dirty"] is True


def test_commit_without_a_branch(repository: Path) -> None:
    """A commit that was checked out by itself has no branch."""
    _git(repository, "checkout", "-q", "--detach")

    found = find_git(str(repository))

    assert found is not None
    assert set(found) == {"commit", "is_dirty"}


def test_folder_without_a_repository(tmp_path: Path) -> None:
    """Nothing is started where there is none."""
    assert find_git(str(tmp_path)) is None


def test_repository_without_a_commit(tmp_path: Path) -> None:
    """It has none to name."""
    _git(tmp_path, "init", "-q")

    assert find_git(str(tmp_path)) == {"commit": "unknown"}


def _programs(folder: Path, script: str) -> str:
    """Return a path of programs on which git is a script."""
    _write(folder / "bin" / "git", f"#!/bin/sh\n{script}\n")
    (folder / "bin" / "git").chmod(0o755)
    return f"{folder / 'bin'}:{os.environ['PATH']}"


def test_git_that_takes_too_long_is_unknown(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program waits for git a second at most, here a twentieth; what is known until then is told."""
    monkeypatch.setattr(environment, "_PATIENCE", 0.5)
    monkeypatch.setenv(
        "PATH", _programs(tmp_path, 'case "$*" in *status*) exec sleep 60;; esac; printf "ab\\nmain\\n"')
    )

    assert find_git(str(repository)) == {"commit": "ab", "branch": "main", "is_dirty": "unknown"}


def test_git_is_asked_without_a_shell_a_prompt_or_a_lock(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes nothing to the repository, and asks nobody."""
    said = tmp_path / "said"
    script = f'echo "$GIT_OPTIONAL_LOCKS $GIT_TERMINAL_PROMPT $GIT_DIR" >> {said}; exit 1'
    monkeypatch.setenv("PATH", _programs(tmp_path, script))
    monkeypatch.setenv("GIT_DIR", "/elsewhere")

    find_git(str(repository))

    assert set(said.read_text().splitlines()) == {"0 0 "}


def test_git_leaves_the_repository_as_it_is(repository: Path) -> None:
    """The index is not refreshed, though a file was touched."""
    os.utime(repository / "train.py", (1, 1))
    before = {path: path.stat().st_mtime_ns for path in repository.rglob("*")}

    find_git(str(repository))

    assert {path: path.stat().st_mtime_ns for path in repository.rglob("*")} == before


def test_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may know no name for the user."""

    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)

    assert find_user() is None


def test_part_that_fails_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a machine is like, what can be found out is."""

    def fail() -> None:
        raise RuntimeError("odd")

    monkeypatch.setitem(environment._finders, "user", fail)
    monkeypatch.setattr(environment, "environment_of", environment_of.__wrapped__)

    found = environment.environment_of(("python", "user"))

    assert found.facts == {"python": ".".join(map(str, sys.version_info[:3]))}
