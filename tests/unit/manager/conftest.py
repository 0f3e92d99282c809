"""Sets of experiments for the tests: a program of bash with defaults of every kind, and where bodies write lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from track.manager import ExperimentManager

DEFAULTS = """\
_created: 06:58PM September 16, 2019
a: 1  # a: int=1 ~ how many
b: 0.5
text: adam
flag: true
none:
pair: [1, 2.0]
opt: {x: 1, y: q}
"""
SCRIPT = '#!/bin/bash\ncat "${1}"\n'


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder, now the working directory, with a program that runs with parameters."""
    monkeypatch.delenv("TRACK_LOG_BACKEND_NAME", raising=False)
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "defaults.yml").write_text(DEFAULTS)
    (folder / "script.sh").write_text(SCRIPT)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def manager(program: Path, tmp_path: Path) -> ExperimentManager:
    """Give a set that is initialised, in a root whose name a shell would take apart."""
    made = ExperimentManager(tmp_path / "it's a $(root)", headless=True)
    made.initialise(purpose="to see")
    return made


# sets whose bodies write lines


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a root with what a shell would take for something else in its name."""
    return tmp_path / 'a $(set) of "them"'
