"""Engines start workers as the page about sweeps shows it: each experiment runs once."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from pathlib import Path

import pytest

from tests.children import ROOT, ended, python, start_program
from tests.sweeps import LOG, bodies, shell_set

pytest.importorskip("yaml")
_PAGE = (ROOT / "docs" / "howto" / "sweeps.rst").read_text(encoding="utf-8")
_BLOCKS = [
    textwrap.dedent(block) for block in re.findall(r"code-block:: (?:py|bash)\n\n((?:(?:   [^\n]*)?\n)+)", _PAGE)
]
_SBATCH = """#!/bin/bash
# A stand-in: runs the script for each number of the array.
range="$(sed -n 's/^#SBATCH --array=//p' "$1")"
for number in $(seq "${range%-*}" "${range#*-}"); do SLURM_ARRAY_TASK_ID=$number bash "$1" & done
wait
"""


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work beside a set of four experiments, which is called as on the page."""
    monkeypatch.setenv(LOG, str(tmp_path / "bodies"))
    monkeypatch.setenv(
        "PATH", f"{tmp_path}{os.pathsep}{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    )
    monkeypatch.chdir(tmp_path)
    shell_set(tmp_path / "runs", "{number: 1 | 2 | 3 | 4}")


def _block(beginning: str) -> str:
    (found,) = [block for block in _BLOCKS if block.startswith(beginning)]
    return found


def _assert_each_ran_once() -> None:
    ran = {name: len(of_one) for name, of_one in bodies(Path("bodies")).items()}
    assert ran == {f"number={number}": 1 for number in range(1, 5)}


@pytest.mark.parametrize(
    ("engine", "package"),
    [("processes", "track"), ("submitit", "submitit"), ("dask", "distributed"), ("ray", "ray"), ("joblib", "joblib")],
)
def test_engine_shares_the_work(engine: str, package: str) -> None:
    """The program of the page says how many its workers ran in all, which is all there were."""
    pytest.importorskip(package)
    Path("program.py").write_text(_block(f"# {engine}\n"))

    done = python("program.py")

    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["4"]), done.stderr
    _assert_each_ran_once()


def test_xargs_shares_the_work() -> None:
    """So does whatever starts programs."""
    done = ended(start_program("bash", "-c", _block("# xargs\n")))

    assert done.returncode == 0, done.stderr
    _assert_each_ran_once()


def test_a_slurm_array_shares_the_work(tmp_path: Path) -> None:
    """The script of the page asks for the array and the warning, and runs; by a stand-in for sbatch, not by Slurm."""
    script = _block("#!/bin/bash\n#SBATCH --array=0-1\n#SBATCH --signal=B:USR1@120\nexec ")
    Path("job.sh").write_text(script)
    (tmp_path / "sbatch").write_text(_SBATCH)
    (tmp_path / "sbatch").chmod(0o755)

    done = ended(start_program("sbatch", "job.sh"))

    assert done.returncode == 0, done.stderr
    _assert_each_ran_once()
