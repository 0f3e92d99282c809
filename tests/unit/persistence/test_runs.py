"""Log calls that are alike are applied in columns: nobody can tell that from one by one."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from track import TrackClient
from track.events import MetricsLogged, TrialCreated, decode_records, encode, encode_plain
from track.metrics import metrics_to_plain
from track.persistence.file.memory import MemoryStore
from track.persistence.state import State
from track.persistence.state.runs import run_of

_UID = "ab_0"
_numbers = some.one_of(
    some.floats(),
    some.integers(-3, 3),
    some.just(2**70),
    some.booleans(),
    some.just({"dtype": "float", "value": "nan"}),
)
_steps = some.one_of(some.none(), some.integers(-2, 40), some.just(2**70))


def _calls(names: tuple[str, ...], steps: Any, numbers: Any) -> Any:
    made = some.builds(
        lambda values, step, at: MetricsLogged(_UID, dict(zip(names, values, strict=True)), at, step),
        some.tuples(*[numbers] * len(names)),
        steps,
        some.floats(0, 100).map(float),
    )
    return some.lists(made, min_size=16, max_size=40)


_alike = some.sampled_from([("loss",), ("loss", "acc"), ("loss", "é"), ()]).flatmap(
    lambda names: some.sampled_from([some.none(), some.integers(-2, 40), _steps]).flatmap(
        lambda steps: some.sampled_from([some.floats(), _numbers]).flatmap(
            lambda numbers: _calls(names, steps, numbers)
        )
    )
)
_before = some.lists(
    some.builds(
        MetricsLogged,
        some.just(_UID),
        some.dictionaries(some.sampled_from(["loss", "acc"]), some.floats(), max_size=2),
        some.floats(0, 100).map(float),
        _steps,
        some.sampled_from([None, None, ["min"], ["stat", 0]]),
    ),
    max_size=3,
)


def _state_of(lists: list[list[Any]]) -> dict[str, Any]:
    state = State()
    for events in lists:
        state.apply(events)
    (trial,) = state.find_trials()
    plain = metrics_to_plain(trial.metrics)
    metadata = {name: value for name, value in trial.metadata.items() if value == value}
    marks = (state.count, dict(state.marks), set(state.changed))
    return {"metrics": repr(plain), "metadata": metadata, "latest": trial.latest, "marks": marks}


@given(_before, _alike, _alike)
def test_applied_at_once_is_applied_one_by_one(before: list[Any], calls: list[Any], more: list[Any]) -> None:
    """Values, steps, times, order, counts and marks are the same, whatever was there before."""
    begin = [TrialCreated("ab", 0, 1.0), *before]
    together = _state_of([begin, calls, more])
    apart = _state_of([[event] for event in (*begin, *calls, *more)])

    assert together == apart


def test_log_calls_that_are_alike_are_one_run() -> None:
    """What the test above compares is really made in another way."""
    calls = [MetricsLogged(_UID, {"loss": 0.5, "acc": 1.0}, float(step), step) for step in range(20)]

    run = run_of(calls)

    assert run is not None
    assert (run.trial, list(run.values), len(run.times)) == (_UID, ["loss", "acc"], 20)


_ALIKE = [MetricsLogged(_UID, {"loss": 0.5}, 1.0, step) for step in range(20)]


@pytest.mark.parametrize(
    "odd",
    [
        MetricsLogged("cd_0", {"loss": 0.5}, 1.0, 20),
        MetricsLogged(_UID, {"acc": 0.5}, 1.0, 20),
        MetricsLogged(_UID, {"loss": 0.5, "acc": 0.5}, 1.0, 20),
        MetricsLogged(_UID, {"loss": 0.5}, 1.0),
        MetricsLogged(_UID, {"loss": 0.5}, 1.0, "a"),
        MetricsLogged(_UID, {"loss": 0.5}, 1.0, 20, ["min"]),
        MetricsLogged(_UID, {"loss": 0.5}, 1.0, 20, None, 1),
        TrialCreated("ab", 0, 1.0),
    ],
    ids=repr,
)
def test_what_is_not_alike_is_no_run(odd: Any) -> None:
    """Another trial, name, kind of step, an aggregator or an attempt: these are applied one by one."""
    assert run_of([*_ALIKE, odd]) is None
    assert run_of([odd, *_ALIKE]) is None


def test_interrupted_drain_loses_and_doubles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while columns are made leaves the log calls where they wait."""
    store = MemoryStore()
    store.apply([TrialCreated("ab", 0, 1.0)])
    for step in range(30):
        store.keep(MetricsLogged(_UID, {"loss": 0.5}, 1.0, step))
    prepared = State.prepared

    def interrupted(state: State, records: list[Any]) -> Any:
        prepared(state, records)
        monkeypatch.setattr(State, "prepared", prepared)
        raise KeyboardInterrupt

    with store.reading() as state:
        assert state.count == 31
    for step in range(30, 60):
        store.keep(MetricsLogged(_UID, {"loss": 0.5}, 1.0, step))
    monkeypatch.setattr(State, "prepared", interrupted)
    with pytest.raises(KeyboardInterrupt), store.reading():
        pass
    with store.reading() as state:
        (trial,) = state.find_trials()

    assert list(trial.metrics["loss"]) == list(range(60))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2**70, True, 3, -0.0])
def test_numbers_of_a_log_call_are_kept_exactly(value: float) -> None:
    """What JSON cannot say, and what is no double, comes back from memory as it was given."""
    with TrackClient("ephemeral:").new_trial() as trial:
        for step in range(600):
            trial.log_metrics(step=step, loss=value, acc=0.5)

    assert {repr(found) for found in trial.trial.metrics["loss"].values()} == {repr(value)}


@given(_alike)
def test_lines_without_the_search_are_the_same(calls: list[Any]) -> None:
    """What `encode_plain` writes of an event of JSON-safe data is what `encode` does, to the byte."""
    safe = decode_records(b"".join(map(encode, calls)))

    assert list(map(encode_plain, safe)) == list(map(encode, safe))
