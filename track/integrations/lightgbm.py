"""Trials of LightGBM: ``lightgbm.train(..., callbacks=[TrackCallback()])``, ``cv`` and the estimators too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import lightgbm  # noqa: F401 - who imports this module without it is told

from track.client import TrackClient
from track.integrations._recording import LoopLeft, Recorded, Recording, safely
from track.logger import TrialLogger
from track.monitor import Hook

__all__ = ["TrackCallback"]


class TrackCallback(Recorded):
    """Records what is evaluated after each round, with the parameters of the training.

    A number is named after its data and its metric, ``valid_0/l2`` (of ``cv`` also ``valid/l2-stdv``), at the number of
    its round, from 0 on. LightGBM does not say when early stopping has ended a training: its own trial is then ended by
    the next training, or with the program.

    Parameters
    ----------
    trial: TrialLogger, optional
        Where to; by default the trial whose block the program is in, else one of its own, which begins and ends with
        the training.
    client: TrackClient, optional
        In whose store, project and group its own trial is made; by default the store that is configured.
    key: str, optional
        Of its own trial, as for `TrackClient.open_trial`: a training that goes on with a booster (``init_model``) goes
        on with the trial of this key.
    hooks: iterable of Hook
        Of `track.monitor`, called with the numbers: ``hooks=[Pruner("^valid_0/l2$@1s")]``.
    **fields
        Of its own trial: ``name="baseline"``, ``tags={...}``.

    Raises
    ------
    InvalidCall
        There is no such field, or what is given is no trial, no client, no hook.
    """

    order = 20
    """Before early stopping, whose last round is recorded too."""
    before_iteration = False

    def __init__(
        self,
        trial: TrialLogger | None = None,
        *,
        client: TrackClient | None = None,
        key: str | None = None,
        hooks: Iterable[Hook] = (),
        **fields: Any,
    ) -> None:
        self._recording = Recording(trial, client, key, fields, hooks)

    @safely
    def __call__(self, env: Any) -> None:
        """Record what was evaluated in a round."""
        if env.iteration == env.begin_iteration:
            self._begin(env)
        found = {}
        for data, metric, value, *rest in (tuple(one) for one in env.evaluation_result_list or ()):
            found[f"{data}/{metric}"] = value
            if len(rest) > 1:
                found[f"{data}/{metric}-stdv"] = rest[1]
        self._recording.log(found, step=env.iteration, done={"step": env.iteration + 1})
        if env.iteration == env.end_iteration - 1:
            self._recording.end()

    def _begin(self, env: Any) -> None:
        # What is noted in the model, without the model: that may go before the program ends.
        noted = vars(env.model)
        self._recording.end_left()
        parameters = {name: value for name, value in env.params.items() if not callable(value)}
        self._recording.begin({**parameters, "num_iterations": env.end_iteration}, end=lambda: _outcome(noted))
        if env.begin_iteration:
            self._recording.resume(env.begin_iteration)


def _outcome(noted: dict[str, Any]) -> BaseException | None:
    """Return how a training ended that has not come to its last round: None where it was stopped early."""
    best = noted.get("best_iteration", 0)
    is_stopped = isinstance(best, int) and best > 0
    return None if is_stopped else LoopLeft()
