"""Trials of PyTorch-Ignite: ``TrackLogger().attach_output_handler(trainer, ...)`` as of its other loggers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from ignite import distributed
from ignite.engine import Engine, Events
from ignite.handlers import global_step_from_engine
from ignite.handlers.base_logger import BaseLogger, BaseOptimizerParamsHandler, BaseOutputHandler

from track.client import TrackClient
from track.integrations._recording import LoopLeft, Recorded, Recording, checked_checkpoints, safely
from track.logger import TrialLogger
from track.monitor import Hook

__all__ = ["OptimizerParamsHandler", "OutputHandler", "TrackLogger", "global_step_from_engine"]


class TrackLogger(Recorded, BaseLogger):  # type: ignore[misc, unused-ignore]
    """Records the output and metrics of engines, in the process of rank zero.

    Parameters
    ----------
    trial: TrialLogger, optional
        Where to; by default the trial whose block the program is in, else one of its own, which begins and ends with
        the engine that is attached by `attach_engine`, or ends with `close`, a ``with`` block or the program.
    client: TrackClient, optional
        In whose store, project and group its own trial is made; by default the store that is configured.
    key: str, optional
        Of its own trial, as for `TrackClient.open_trial`.
    parameters: mapping, optional
        Of its own trial.
    checkpoints: {"best", "last"}, optional
        Which of the checkpoints of `attach_checkpoint` is kept with the trial at its end: the one of the highest score
        as ``checkpoint-best``, or the newest as ``checkpoint-last``, which is the default.
    hooks: iterable of Hook
        Of `track.monitor`, called with the numbers: ``hooks=[Pruner("^training/loss$@1s")]``.
    **fields
        Of its own trial: ``name="baseline"``, ``tags={...}``.

    Raises
    ------
    InvalidCall
        There is no such field, or what is given is no trial, no client, no hook.
    """

    def __init__(
        self,
        trial: TrialLogger | None = None,
        *,
        client: TrackClient | None = None,
        key: str | None = None,
        parameters: Any = None,
        checkpoints: str | None = None,
        hooks: Iterable[Hook] = (),
        **fields: Any,
    ) -> None:
        self._recording = Recording(trial, client, key, fields, hooks)
        self._parameters = parameters
        self._checkpoints, self._saver = checked_checkpoints(checkpoints) or "last", None
        self._ends_with_engine = False
        self._error: BaseException | None = None

    def attach_engine(self, engine: Engine) -> None:
        """Let the trial begin and end with an engine: well, or by the exception that leaves it."""
        self._ends_with_engine = True
        engine.add_event_handler(Events.STARTED, self._started)
        engine.add_event_handler(Events.COMPLETED, self._completed)
        self._watch(engine)

    def attach(self, engine: Engine, *arguments: Any, **named: Any) -> Any:
        """Record at an event of an engine, as Ignite's own loggers do, and take note of an exception that leaves it."""
        self._watch(engine)
        return super().attach(engine, *arguments, **named)

    def attach_checkpoint(self, checkpoint: Any) -> None:
        """Keep what a ``Checkpoint`` or ``ModelCheckpoint`` has written to disk with the trial, at its end."""
        self._saver = checkpoint

    @safely
    def log(self, values: dict[str, Any], step: Any = None) -> None:
        """Record numbers."""
        if self._recording.trial is None:
            self._begin()
        self._recording.log(values, step=step, done={} if step is None else {"step": int(step)})

    def close(self) -> None:
        """End the trial, where it is the logger's own."""
        self._end(None)

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        self._end(error)

    @safely
    def _started(self, engine: Engine) -> None:
        self._error = None
        self._begin()
        if engine.state.iteration:
            self._recording.resume(engine.state.iteration + 1)

    @safely
    def _begin(self) -> None:
        if distributed.get_rank() == 0:
            self._recording.begin(self._parameters, end=self._outcome)

    def _outcome(self) -> BaseException | None:
        # Without `attach_engine` nothing says that the training has ended.
        return self._error or (LoopLeft() if self._ends_with_engine else None)

    @safely
    def _end(self, error: BaseException | None) -> None:
        if error is None and self._saver is not None:
            self._keep(self._saver)
        self._recording.end(error)

    def _keep(self, saver: Any) -> None:
        # By priority, the highest last.
        saved = saver.state_dict()["_saved"]
        newest = saver.last_checkpoint
        name = saved[-1][1] if saved and self._checkpoints == "best" else newest
        if name is not None:
            self._recording.keep(os.path.join(getattr(saver.save_handler, "dirname", ""), name), self._checkpoints)

    def _watch(self, engine: Engine) -> None:
        if not engine.has_event_handler(self._failed, Events.EXCEPTION_RAISED):
            engine.add_event_handler(Events.EXCEPTION_RAISED, self._failed)

    def _failed(self, engine: Engine, error: BaseException) -> None:
        self._error = error
        if len(engine._event_handlers[Events.EXCEPTION_RAISED]) > 1:
            # The program has a handler, which decides whether the training goes on.
            return
        if self._ends_with_engine:
            self._end(error)
        # Ignite takes an exception that has a handler for handled.
        raise error

    def _completed(self, engine: Engine) -> None:
        self._end(self._error if engine.should_terminate else None)

    def _create_output_handler(self, *arguments: Any, **named: Any) -> OutputHandler:
        return OutputHandler(*arguments, **named)

    def _create_opt_params_handler(self, *arguments: Any, **named: Any) -> OptimizerParamsHandler:
        return OptimizerParamsHandler(*arguments, **named)


class OutputHandler(BaseOutputHandler):  # type: ignore[misc, unused-ignore]
    """Records an engine's output and metrics, ``tag/name``, at the engine's own count of the event."""

    def __call__(self, engine: Engine, logger: TrackLogger, event_name: Any) -> None:
        """Record what there is at an event."""
        values = self._setup_output_metrics_state_attrs(engine, key_tuple=False)
        transform: Callable[..., int] = self.global_step_transform
        logger.log(values, step=transform(engine, event_name))


class OptimizerParamsHandler(BaseOptimizerParamsHandler):  # type: ignore[misc, unused-ignore]
    """Records a parameter of an optimizer, its learning rate by default."""

    def __call__(self, engine: Engine, logger: TrackLogger, event_name: Any) -> None:
        """Record what there is at an event."""
        tag = f"{self.tag}/" if self.tag else ""
        groups = self.optimizer.param_groups
        values = {f"{tag}{self.param_name}/group_{number}": one[self.param_name] for number, one in enumerate(groups)}
        logger.log(values, step=engine.state.get_event_attrib_value(event_name))
