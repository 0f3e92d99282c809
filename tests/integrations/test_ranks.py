"""Of several processes that train together, one records."""

from __future__ import annotations

from pathlib import Path

import pytest

import track
from tests.children import ended, start_python
from tests.integrations import frameworks
from track.structure import Status

_PROGRAM = """
import sys
from pathlib import Path
from torch import distributed
from tests.integrations import frameworks

name, folder = sys.argv[1], Path(sys.argv[2])
framework = frameworks.load(name)
if name in ("ignite", "fastai"):
    distributed.init_process_group("gloo")
framework.fit(framework.callback(name="together"), folder, 4)
print("trained", flush=True)
"""


@pytest.mark.parametrize("name", ["accelerate", "fastai", "ignite", "lightning", "transformers"])
def test_rank_zero_alone_records(name: str, uri: str, tmp_path: Path) -> None:
    """There is one trial, with every number once."""
    try:
        framework = frameworks.load(name)
    except ModuleNotFoundError as error:
        pytest.skip(f"{name} needs {error.name}, which is not installed")
    (tmp_path / "train.py").write_text(_PROGRAM)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

    done = ended(start_python(*launcher, "train.py", name, tmp_path / "out", cwd=tmp_path), seconds=110)

    assert done.stdout.count("trained") == 2, done.stderr
    (trial,) = track.fetch(uri)
    assert (trial.name, trial.status, len(trial.processes)) == ("together", Status.Completed, 1)
    assert list(trial.metrics[framework.METRIC]) == framework.expected(4)
