"""What only Ignite has: events, of which a program may handle that of an exception, and more engines than one."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import track
from tests.children import python
from track.structure import Status

pytest.importorskip("ignite")

from ignite.engine import Engine, Events

from track.integrations.ignite import TrackLogger

_DATA = [1.0, 2.0, 3.0]
_ONE_LINE = """
from ignite.engine import Engine, Events
from track.integrations.ignite import TrackLogger

def update(engine, value):
    if value == {fails_at}:
        raise ArithmeticError("no loss today")
    return value

trainer = Engine(update)
at = Events.ITERATION_COMPLETED
TrackLogger().attach_output_handler(trainer, at, tag="training", output_transform=lambda loss: {{"loss": loss}})
try:
    trainer.run([1.0, 2.0, 3.0])
except ArithmeticError:
    pass
"""


def _record(logger: TrackLogger, engine: Engine, tag: str) -> None:
    logger.attach_output_handler(
        engine, Events.ITERATION_COMPLETED, tag=tag, output_transform=lambda loss: {"loss": loss}
    )


def _fails_at(value: float) -> Engine:
    def update(engine: Engine, batch: float) -> float:
        if batch == value:
            raise ArithmeticError("no loss today")
        return batch

    return Engine(update)


@pytest.mark.parametrize(("fails_at", "status"), [(None, Status.Completed), (2.0, Status.Exception)])
def test_one_line_is_enough(fails_at: float | None, status: Status, uri: str, tmp_path: Any) -> None:
    """Without `attach_engine` the trial ends with the program: well, or by the exception that left an engine."""
    (tmp_path / "train.py").write_text(_ONE_LINE.format(fails_at=fails_at))

    done = python("train.py", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    (trial,) = track.fetch(uri)
    assert trial.status is status
    assert ("no loss today" in str(trial.errors)) == (fails_at is not None)


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("stops", [True, False])
def test_handler_of_the_program_decides_about_an_exception(stops: bool, is_first: bool, uri: str) -> None:
    """It is called, and what it handles goes no further; a training that it stops was ended by the exception."""
    handled: list[BaseException] = []

    def handle(engine: Engine, error: BaseException) -> None:
        handled.append(error)
        if stops:
            engine.terminate()

    trainer, logger = _fails_at(2.0), TrackLogger()
    if is_first:
        trainer.add_event_handler(Events.EXCEPTION_RAISED, handle)
    logger.attach_engine(trainer)
    _record(logger, trainer, "training")
    if not is_first:
        trainer.add_event_handler(Events.EXCEPTION_RAISED, handle)
    trainer.run(_DATA, max_epochs=2)

    (trial,) = track.fetch(uri)
    assert len(handled) == (1 if stops else 2)
    assert trial.status is (Status.Exception if stops else Status.Completed)


def test_what_is_evaluated_after_the_training_is_of_its_trial(uri: str, caplog: pytest.LogCaptureFixture) -> None:
    """The last evaluation is no trial of its own."""
    trainer, evaluator, logger = _fails_at(0.0), _fails_at(0.0), TrackLogger(parameters={"rate": 0.1})
    logger.attach_engine(trainer)
    _record(logger, trainer, "training")
    _record(logger, evaluator, "test")
    with caplog.at_level(logging.WARNING):
        trainer.run(_DATA)
        evaluator.run(_DATA)

    (trial,) = track.fetch(uri)
    assert trial.status is Status.Completed
    assert {name: list(trial.metrics[name]) for name in trial.metrics} == {
        "training/loss": [1, 2, 3], "test/loss": [1, 2, 3]
    }  # fmt: skip
