"""The benchmarks run, at small sizes: what they measure is looked at by people, not here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.children import ROOT, python

FOLDER = ROOT / "benchmarks"
ALONE = sorted(path.stem for path in FOLDER.glob("[!_]*.py") if path.stem not in ("all", "peers"))
# First and last column of a table that is not of `_common.Row`.
HEADERS = {"walks": ("walk", "statements")}


def _run(name: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return python(FOLDER / f"{name}.py", "--quick", *options, cwd=folder, seconds=110)


@pytest.mark.parametrize("name", ALONE)
def test_benchmark_prints_its_table(name: str, tmp_path: Path) -> None:
    """Each script ends well, whatever it measures, and prints a header and rows."""
    ended = _run(name, tmp_path)

    assert ended.returncode == 0, ended.stderr
    _, title, _, header, rule, *rows = ended.stdout.splitlines()
    assert title
    assert (header.split()[0], header.split()[-1]) == HEADERS.get(name, ("what", "verdict"))
    assert set(rule) == {"-", " "}
    assert rows


def test_benchmark_leaves_nothing_behind(tmp_path: Path) -> None:
    """A script removes the stores that it wrote, from the folder it was given too."""
    ended = _run("log_call", tmp_path, "--folder", str(tmp_path))

    assert ended.returncode == 0, ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_all_runs_every_benchmark() -> None:
    """``all.py`` names each script in this folder."""
    text = (FOLDER / "all.py").read_text(encoding="utf-8")

    assert [name for name in [*ALONE, "peers"] if f'"{name}"' not in text] == []


@pytest.mark.slow
def test_peers_prints_its_table(tmp_path: Path) -> None:
    """Trackers that are installed are measured, the others are named; track keeps every point."""
    ended = _run("peers", tmp_path)

    assert ended.returncode == 0, ended.stderr
    row = next(line for line in ended.stdout.splitlines() if line.startswith("track "))
    assert row.endswith("met")
