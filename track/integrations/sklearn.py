"""Trials of scikit-learn: ``estimator.set_callbacks(TrackCallback())`` from 1.9 on, `log_search` for searches."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sklearn.base import BaseEstimator

from track.client import TrackClient
from track.integrations._recording import Recorded, Recording, numbers, safely
from track.logger import TrialLogger

__all__ = ["TrackCallback", "log_search"]


class TrackCallback(Recorded):
    """Records a fit, with the parameters of the estimator; of a search each candidate as a trial of its own.

    What an estimator does step by step, as the iterations of ``LogisticRegression``, is counted as ``seconds``, and
    scored where that is asked for; what it knows in the end is recorded as metadata: ``n_iter_``, ``best_score_``,
    ``best_params_``.

    Parameters
    ----------
    trial: TrialLogger, optional
        Where to; by default the trial whose block the program is in, else one of its own, which begins and ends with
        the fit.
    client: TrackClient, optional
        In whose store, project and group its own trial is made; by default the store that is configured.
    score: callable, optional
        ``score(estimator, X, y)``, called after each step with an estimator that is ready to predict.
    **fields
        Of its own trial: ``name="baseline"``, ``tags={...}``.

    Raises
    ------
    InvalidCall
        There is no such field, or what is given is no trial, no client.
    """

    def __init__(
        self,
        trial: TrialLogger | None = None,
        *,
        client: TrackClient | None = None,
        score: Callable[[Any, Any, Any], float] | None = None,
        **fields: Any,
    ) -> None:
        self._recording = Recording(trial, client, None, fields)
        self._score = score
        self._began = 0.0

    @safely
    def setup(self, estimator: Any, context: Any) -> None:
        """Begin the trial."""
        self._recording.begin({"estimator": type(estimator).__name__, **estimator.get_params()})
        self._began = time.perf_counter()

    @safely
    def on_fit_task_begin(self, estimator: Any, context: Any, **kwargs: Any) -> None:
        """Do nothing."""

    @safely
    def on_fit_task_end(
        self,
        estimator: Any,
        context: Any,
        *,
        X: Any = None,  # noqa: N803 - its name there
        y: Any = None,
        fitted_estimator: Any = None,
        **kwargs: Any,
    ) -> None:
        """Record a step."""
        if context.parent is None:
            return
        values = {"seconds": time.perf_counter() - self._began}
        if self._score is not None and fitted_estimator is not None and X is not None:
            values["score"] = self._score(fitted_estimator, X, y)
        self._recording.log(values)

    @safely
    def teardown(self, estimator: Any, context: Any) -> None:
        """End the trial, where it is the callback's own: well, or by the exception that left the fit."""
        error = self._recording.left_by()
        names = ("n_iter_", "best_score_", "best_params_", "best_index_")
        facts = {name: getattr(estimator, name) for name in names if hasattr(estimator, name)}
        if facts:
            self._recording.note(**facts)
        if hasattr(estimator, "cv_results_") and self._recording.trial is not None:
            log_search(estimator, self._recording.client(), parent=self._recording.trial)
        self._recording.end(error)


def log_search(
    search: BaseEstimator, client: TrackClient | None = None, *, parent: TrialLogger | None = None, **fields: Any
) -> list[TrialLogger]:
    """Record each candidate of a search that was fitted (``GridSearchCV``, ...) as a trial, and return them.

    With its parameters, and of each number of ``cv_results_`` its value: ``mean_test_score``, ``std_test_score``,
    ``rank_test_score``, and ``test_score`` with a value for each split.

    Parameters
    ----------
    search: estimator
        With ``cv_results_``.
    client: TrackClient, optional
        In whose store, project and group they are made; by default the store that is configured.
    parent: TrialLogger, optional
        The trial of the search.
    **fields
        Of each trial: ``tags={...}``.

    Raises
    ------
    InvalidCall
        There is no such field.
    AttributeError
        The search was not fitted.
    """
    recording = Recording(None, client, None, fields)
    results = search.cv_results_
    made = []
    for number, parameters in enumerate(results["params"]):
        trial = recording.new_trial({"estimator": type(search.estimator).__name__, **parameters})
        with trial:
            if parent is not None:
                trial.log_metadata(None, parent=parent._created().uid, candidate=number)
            whole = {
                name: values[number] for name, values in results.items() if not name.startswith(("param", "split"))
            }
            trial.log_metrics(numbers(whole))
            splits = {name.partition("_")[2] for name in results if name.startswith("split")}
            for name in sorted(splits):
                of_splits = [key for key in results if key.startswith("split") and key.partition("_")[2] == name]
                for split, key in enumerate(sorted(of_splits, key=lambda key: int(key[5 : key.index("_")]))):
                    trial.log_metrics(numbers({name: results[key][number]}), step=split)
        made.append(trial)
    return made
