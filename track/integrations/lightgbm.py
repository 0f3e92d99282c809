"""Trials of LightGBM: ``lightgbm.train(..., callbacks=[TrackCallback()])``, ``cv`` and the estimators too."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from typing import Any

import lightgbm  # noqa: F401 - who imports this module without it is told

from track.client import TrackClient
from track.integrations._recording import LoopLeft, Recorded, Recording, checked_checkpoints, safely
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
    checkpoints: {"best", "last"}, optional
        Whether the model is kept with the trial when that ends well: as ``checkpoint-best`` up to the best round, which
        early stopping says, else the first number of other data than that of the training; or as ``checkpoint-last``
        with all rounds that there are, of which LightGBM itself forgets those after its early stopping's best.
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
        checkpoints: str | None = None,
        hooks: Iterable[Hook] = (),
        **fields: Any,
    ) -> None:
        self._recording = Recording(trial, client, key, fields, hooks)
        self._checkpoints = checked_checkpoints(checkpoints)
        self._best: _Best | None = None

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
        if self._best is not None:
            self._best.see(env)
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
        self._best = None
        if self._checkpoints is not None:
            self._best = best = _Best()
            self._recording.at_end(lambda: self._keep(env.model, best))

    def _keep(self, model: Any, best: _Best) -> None:
        rounds = -1
        if self._checkpoints == "best":
            stopped = model.best_iteration
            rounds = stopped if isinstance(stopped, int) and stopped > 0 else best.rounds
        with tempfile.TemporaryDirectory() as folder:
            model.save_model(f"{folder}/model.txt", num_iteration=rounds)
            self._recording.keep(f"{folder}/model.txt", str(self._checkpoints))


class _Best:
    """After how many rounds the first number of data that is not trained with was best: -1 where there is none.

    In the last round it is what early stopping says, after everybody else was called.
    """

    def __init__(self) -> None:
        self.rounds = -1
        self._height: float | None = None

    def see(self, env: Any) -> None:
        """Look at a round."""
        trained = getattr(env.model, "_train_data_name", "train")
        for data, _, value, is_higher_better, *_ in (tuple(one) for one in env.evaluation_result_list or ()):
            if data != trained:
                height = value if is_higher_better else -value
                if self._height is None or height > self._height:
                    self._height, self.rounds = height, env.iteration + 1
                return


def _outcome(noted: dict[str, Any]) -> BaseException | None:
    """Return how a training ended that has not come to its last round: None where it was stopped early."""
    best = noted.get("best_iteration", 0)
    is_stopped = isinstance(best, int) and best > 0
    return None if is_stopped else LoopLeft()
