"""A fit of scikit-learn is a trial, and so is each candidate of a search."""

from __future__ import annotations

from typing import Any

import pytest

import track
from track import TrackClient
from track.structure import Status

sklearn = pytest.importorskip("sklearn", minversion="1.5")

from sklearn.datasets import load_iris  # noqa: E402 - once it is there
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402

from track.integrations.sklearn import TrackCallback, log_search  # noqa: E402

_has_callbacks = pytest.mark.skipif(
    not hasattr(LogisticRegression, "set_callbacks"), reason="callbacks are there from scikit-learn 1.9 on"
)


@pytest.fixture
def data() -> Any:
    """Give inputs and targets."""
    return load_iris(return_X_y=True)


def test_candidates_of_a_search_are_trials(data: Any, uri: str) -> None:
    """With their parameters, the mean over the splits, and the score of each split."""
    search = GridSearchCV(LogisticRegression(max_iter=500), {"C": [0.1, 1.0]}, cv=3).fit(*data)

    made = log_search(search, TrackClient(uri), tags={"by": "grid"})

    found = track.fetch(uri)
    assert len(made) == 2
    assert [trial.parameters["C"] for trial in found] == [0.1, 1.0]
    assert {(trial.status, trial.tags["by"]) for trial in found} == {(Status.Completed, "grid")}
    means = [trial.metrics["mean_test_score"][0] for trial in found]
    assert means == [pytest.approx(mean) for mean in search.cv_results_["mean_test_score"]]
    assert [list(trial.metrics["test_score"]) for trial in found] == [[0, 1, 2]] * 2


@_has_callbacks
def test_search_with_the_callback_is_a_trial_above_those_of_its_candidates(data: Any, uri: str) -> None:
    """The candidates name the trial of the search, which has the best of them."""
    search = GridSearchCV(LogisticRegression(max_iter=500), {"C": [0.1, 1.0]}, cv=3)
    search.set_callbacks(TrackCallback(name="search"))

    search.fit(*data)

    (above,) = track.fetch(uri, {"name": "search"})
    below = [trial for trial in track.fetch(uri) if trial.uid != above.uid]
    assert above.status is Status.Completed
    assert above.metadata["best_params_"] == search.best_params_
    assert {trial.metadata["parent"] for trial in below} == {above.uid}
    assert len(below) == 2


@_has_callbacks
def test_fit_that_fails_is_a_failed_trial(data: Any, uri: str) -> None:
    """The exception that leaves the fit is the end of the trial."""
    model = LogisticRegression().set_callbacks(TrackCallback(name="fit"))

    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(data[0], data[1][:5])
    model.fit(*data)

    found = track.fetch(uri)
    assert [trial.status for trial in found][-1] is Status.Completed
    assert found[-1].parameters["C"] == 1.0
