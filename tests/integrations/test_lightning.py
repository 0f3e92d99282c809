"""What only Lightning has: two packages, Fabric, its command line, and checkpoints."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import Any

import pytest

import track
from tests.children import python
from track.errors import InvalidCall
from track.structure import Status

pytest.importorskip("lightning")

from tests.integrations.frameworks import lightning as framework

_MODULE = """
import torch
class Line({pl}.LightningModule):
    def __init__(self, rate: float = 0.1):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(4, 1)
    def training_step(self, batch, number):
        loss = self.layer(batch).square().mean()
        self.log("loss", loss)
        return loss
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams["rate"])
    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.ones(16, 4), batch_size=4)
"""
_QUIET = "accelerator='cpu', enable_progress_bar=False, enable_checkpointing=False, log_every_n_steps=1, max_epochs=1"
_PROGRAMS = {
    "pytorch_lightning": f"""
import pytorch_lightning as pl
{_MODULE.format(pl="pl")}
from track.integrations.lightning import TrackLogger
pl.Trainer(logger=TrackLogger(name="old"), {_QUIET}).fit(Line())
""",
    "LightningCLI": f"""
import lightning.pytorch as pl
from lightning.pytorch.cli import LightningCLI
{_MODULE.format(pl="pl")}
LightningCLI(Line, save_config_callback=None, trainer_defaults=dict({_QUIET}), args=[
    "fit", "--model.rate=0.2", "--trainer.logger=track.integrations.lightning.TrackLogger",
])
""",
    "Fabric": """
import torch
from lightning.fabric import Fabric
from track.integrations.lightning import TrackLogger
logger = TrackLogger(name="fabric")
fabric = Fabric(accelerator="cpu", loggers=[logger])
fabric.launch()
logger.log_hyperparams({"rate": 0.1})
for step in range(4):
    fabric.log("loss", torch.tensor(1 / (step + 1)), step=step)
logger.finalize("success")
""",
}


@pytest.mark.parametrize("kind", _PROGRAMS)
def test_program_of_each_kind_is_a_trial(kind: str, uri: str, tmp_path: Path) -> None:
    """With one line, or an option of the command line, the numbers and the parameters are there."""
    needs = {"pytorch_lightning": "pytorch_lightning", "LightningCLI": "jsonargparse"}.get(kind, "lightning")
    if importlib.util.find_spec(needs) is None:
        pytest.skip(f"{needs} is not installed")
    (tmp_path / "train.py").write_text(_PROGRAMS[kind])

    done = python("train.py", cwd=tmp_path, seconds=110)

    assert done.returncode == 0, done.stderr
    (trial,) = track.fetch(uri)
    assert (trial.status, trial.errors) == (Status.Completed, [])
    assert list(trial.metrics["loss"]) == [0, 1, 2, 3]
    assert trial.parameters["rate"] == (0.2 if kind == "LightningCLI" else 0.1)


@pytest.mark.parametrize("kind", ["best", "last", "all"])
def test_checkpoint_is_an_artifact_where_that_was_asked_for(kind: str, uri: str, tmp_path: Path) -> None:
    """The best, the last or each one of those that ``ModelCheckpoint`` saves."""
    logger = framework.callback(checkpoints=kind)

    framework.fit(logger, tmp_path / "out", 2)

    (trial,) = track.fetch(uri)
    names = {one["name"] for one in trial.artifacts}
    assert names == ({"checkpoint"} if kind == "all" else {f"checkpoint-{kind}"})


def test_checkpoint_of_no_kind_is_an_error_at_once() -> None:
    """As with the callbacks of the other frameworks."""
    with pytest.raises(InvalidCall, match="best"):
        framework.callback(checkpoints="bset")


def test_another_training_with_the_same_logger_is_another_trial(uri: str, tmp_path: Path) -> None:
    """It may be given to several trainers, each of which begins anew: the trials have their own parameters."""
    logger = framework.callback()
    for rate in (0.1, 0.2):
        framework.fit(logger, tmp_path / str(rate), 2, rate=rate)

    found = track.fetch(uri)
    assert [(trial.parameters["rate"], trial.status) for trial in found] == [
        (0.1, Status.Completed), (0.2, Status.Completed)
    ]  # fmt: skip


_SPAWNED = f"""
import lightning.pytorch as pl
{_MODULE.format(pl="pl")}
from track.integrations.lightning import TrackLogger
class Fails(pl.Callback):
    def on_train_batch_end(self, trainer, *arguments):
        if trainer.global_step == 2:
            raise ArithmeticError("no loss today")
if __name__ == "__main__":
    pl.Trainer(logger=TrackLogger(), strategy="ddp_spawn", devices=2, callbacks={{callbacks}}, {_QUIET}).fit(Line())
"""


@pytest.mark.parametrize(("callbacks", "status"), [("[]", Status.Completed), ("[Fails()]", Status.Exception)])
def test_ranks_may_be_spawned(callbacks: str, status: Status, uri: str, tmp_path: Path) -> None:
    """What every Trainer loads goes with it to the children, in which an exception is the end of the trial."""
    (tmp_path / "train.py").write_text(_SPAWNED.replace("{callbacks}", callbacks))

    done = python("train.py", cwd=tmp_path, seconds=110)

    (trial,) = track.fetch(uri)
    assert (trial.status, list(trial.metrics["loss"])) == (status, [0, 1] if callbacks == "[]" else [0])
    assert (done.returncode == 0) == (callbacks == "[]")
    assert ("no loss today" in str(trial.errors)) == (callbacks != "[]")


@pytest.mark.parametrize("kind", ["namespace", "omegaconf", "dataclass"])
def test_parameters_may_be_an_object(kind: str, uri: str, tmp_path: Path) -> None:
    """What a program calls its configuration is taken as it is."""
    logger = framework.callback()
    logger.log_hyperparams(_configuration(kind))
    logger.finalize("success")

    (trial,) = track.fetch(uri)
    assert trial.parameters == {"rate": 0.1, "model": {"size": 3}}


def _configuration(kind: str) -> Any:
    values = {"rate": 0.1, "model": {"size": 3}}
    if kind == "namespace":
        return argparse.Namespace(**values)
    if kind == "omegaconf":
        return pytest.importorskip("omegaconf").OmegaConf.create(values)
    import dataclasses

    return dataclasses.make_dataclass("Configuration", values)(**values)
