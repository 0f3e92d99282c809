"""All ranks of a training of torch write to one trial."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import track
from tests.children import ended, start_python
from track.structure import Status

pytest.importorskip("torch")

_PROGRAM = """
import sys
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from track.integrations.torch import shared_trial

distributed.init_process_group("gloo")
rank = distributed.get_rank()
fields = dict.fromkeys(sys.argv[2:], "x")
with shared_trial(name="ranks", parameters={"lr": 0.1}, **fields) as trial:
    model = DistributedDataParallel(torch.nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(3):
        loss = model(torch.full((2, 4), rank + 1.0)).square().mean()
        loss.backward()
        optimizer.step()
        trial.log_metrics(step=step, **{f"loss_{rank}": loss.item()})
    distributed.barrier()
    if sys.argv[1] == str(rank):
        raise ArithmeticError(f"rank {rank} has no loss today")
distributed.destroy_process_group()
"""


def _trained(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "train.py").write_text(_PROGRAM)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return ended(start_python(*launcher, "train.py", *arguments, cwd=folder), seconds=100)


def test_ranks_have_one_trial(uri: str, tmp_path: Path) -> None:
    """It has the numbers of both, and completes when both have."""
    done = _trained(tmp_path, "none")

    assert done.returncode == 0, done.stderr
    (trial,) = track.fetch(uri)
    assert (trial.name, trial.status, len(trial.processes)) == ("ranks", Status.Completed, 2)
    assert {name: [*trial.metrics[name]] for name in ("loss_0", "loss_1")} == {"loss_0": [0, 1, 2], "loss_1": [0, 1, 2]}


def test_rank_that_fails_is_the_end_of_the_trial(uri: str, tmp_path: Path) -> None:
    """The trial has the worst end of its ranks, with the text of the error."""
    done = _trained(tmp_path, "1")

    assert done.returncode != 0
    (trial,) = track.fetch(uri)
    assert trial.status is Status.Exception
    assert "rank 1 has no loss today" in str(trial.errors)


def test_rank_that_cannot_open_the_trial_leaves_nobody_waiting(uri: str, tmp_path: Path) -> None:
    """Both ranks end, and say why."""
    done = _trained(tmp_path, "none", "nmae")

    assert done.returncode != 0
    assert "nmae" in done.stderr
    assert not (tmp_path / "runs.json").exists()
