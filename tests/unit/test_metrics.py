"""What a trial measured: containers by name."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from track.aggregators.aggregator import RingAggregator, StatAggregator, TimeSeriesAggregator
from track.containers.series import Series
from track.errors import NotFound
from track.metrics import Metrics, container_from_plain, container_to_plain, metrics_to_plain, step_from_text


def _shown(container: Any) -> Any:
    return dict(container) if isinstance(container, Series) else getattr(container, "val", container)


@pytest.mark.parametrize(
    ("logs", "expected"),
    [
        ([(0, None), (1, None), (0, None)], {0: 2.0, 1: 1.0}),
        ([(None, None), (None, None)], [0.0, 1.0]),
        ([(4, None), (None, None)], {4: 0.0, 5: 1.0}),
        ([(None, None), (None, None), (1, None), (7, None), (None, None)], {0: 0.0, 1: 2.0, 7: 3.0, 8: 4.0}),
        ([(None, ["max"]), (3, None), (1, ["max"])], 2.0),
        ([(None, ["value"]), (None, None)], 1.0),
        ([(None, ["ring", 2, "d"]), (None, ["value"]), (None, None)], [1.0, 2.0]),
        ([(0, ["value"]), (1, ["value"])], {0: 0.0, 1: 1.0}),
    ],
    ids=[
        "steps",
        "series",
        "steps then none",
        "series then steps",
        "aggregated then steps",
        "value",
        "first aggregator counts",
        "step wins",
    ],
)
def test_first_use_chooses_the_container(logs: list[Any], expected: Any) -> None:
    """Steps make a mapping, an aggregator itself, nothing a series; the first use of a name decides."""
    metrics = Metrics()

    for value, (step, spec) in enumerate(logs):
        metrics.log_values({"x": float(value)}, step, spec, 1.0)

    assert _shown(metrics["x"]) == expected


def test_names_are_in_the_order_of_their_first_use() -> None:
    """A mapping that remembers when each name was first logged."""
    metrics = Metrics()
    for name in ("b", "a", "b", "c"):
        metrics.log_values({name: 1.0}, None, None, 1.0)

    assert (list(metrics), len(metrics), "a" in metrics) == (["b", "a", "c"], 3, True)


def test_it_is_a_dictionary() -> None:
    """Containers may be put in and taken out."""
    metrics = Metrics()
    metrics["a"] = 4

    assert (metrics == {"a": 4}, repr(metrics)) == (True, "{'a': 4}")
    del metrics["a"]
    assert dict(metrics) == {}


def test_times_are_statistics_by_default() -> None:
    """The first time is left out unless another aggregator is given."""
    metrics = Metrics()
    for seconds in (5.0, 1.0, 3.0):
        metrics.log_time("batch", seconds, None, 1.0)
        metrics.log_time("last", seconds, ["value"], 1.0)

    assert (metrics["batch"].avg, metrics["batch"].count, metrics["last"].val) == (2.0, 2, 3.0)


@pytest.mark.parametrize(("name", "expected"), [("runtime", 3.5), ("other", 1.0)])
def test_number_as_it_is_goes_on(name: str, expected: float) -> None:
    """A bare number of an old file goes on: the run time adds up, any other time is the latest."""
    metrics = Metrics()
    metrics[name] = 2.5

    metrics.log_time(name, 1.0, ["sum"], 1.0)

    assert metrics[name].val == expected


# looking


def test_state_is_decoded_at_the_first_look() -> None:
    """A listing does not pay for metrics that nobody looks at."""
    calls: list[int] = []
    metrics = Metrics(lambda: calls.append(1) or {"cost": [1, 2]})  # type: ignore[func-returns-value]
    before = (metrics.is_loaded, list(calls))

    values = metrics["cost"].val

    assert before == (False, [])
    assert (values, metrics.is_loaded, calls) == ([1, 2], True, [1])


@pytest.mark.parametrize("look_first", [True, False])
def test_stored_state_goes_on(look_first: bool) -> None:
    """Values logged to a stored state join it, whether somebody has looked or not."""
    metrics = Metrics(lambda: {"loss": {"0": 1.0}})
    if look_first:
        len(metrics)

    metrics.log_values({"loss": 0.5}, 1, None, 1.0)

    assert dict(metrics["loss"]) == {0: 1.0, 1: 0.5}


@pytest.mark.parametrize("spec", [None, ["stat", 0], ["ring", 3, "d"], ["value"]], ids=str)
@pytest.mark.parametrize("step", [None, 0])
def test_view_stays(spec: Any, step: Any) -> None:
    """A view does not change with what is logged later, for any container."""
    metrics = Metrics()
    metrics.log_values({"x": 1.0}, step, spec, 1.0)
    view = metrics.view()
    before = repr(view)

    metrics.log_values({"x": 2.0, "y": 2.0}, None if step is None else 1, spec, 1.0)

    assert repr(view) == before


# plain data


@pytest.mark.parametrize("spec", [None, ["stat", 0], ["ring", 3, "d"], ["value"], ["min"], ["sum"]], ids=str)
@pytest.mark.parametrize("value", [1.0, math.inf, 2])
def test_full_state_comes_back(spec: Any, value: Any) -> None:
    """Every container survives JSON."""
    metrics = Metrics()
    for _ in range(2):
        metrics.log_values({"x": value}, None, spec, 1.0)
        metrics.log_values({"y": value}, 0.5, None, 1.0)

    text = json.dumps(metrics_to_plain(metrics), allow_nan=False)

    assert repr(dict(Metrics(lambda: json.loads(text)))) == repr(dict(metrics))


def test_pairs_of_earlier_versions_are_steps() -> None:
    """A series in which a value with a step was stored as a pair is read as what it is now: one with steps."""
    plain = {"dtype": "series", "value": [1.0, [0, 2.0], [5, 3.0], 4.0], "at": [1.0, 2.0, 3.0, 4.0]}

    assert dict(Metrics(lambda: {"x": plain})["x"]) == {0: 2.0, 5: 3.0, 6: 4.0}


@pytest.mark.parametrize(
    ("plain", "expected"),
    [
        ({"0": 1.5, "2": 0.5}, {0: 1.5, 2: 0.5}),
        ({"0.5": 1, "warm": 2}, {0.5: 1, "warm": 2}),
        ({}, {}),
        ([1, {"dtype": "float", "value": "inf"}], [1, math.inf]),
        (3.5, 3.5),
        ("text", "text"),
        (None, None),
        ({"dtype": "float", "value": "inf"}, math.inf),
        ({"avg": 1.0, "min": 1.0}, {"avg": 1.0, "min": 1.0}),
        ({"a": "b"}, {"a": "b"}),
    ],
    ids=repr,
)
def test_containers_of_the_original(plain: Any, expected: Any) -> None:
    """Files of the original: steps as text, series as lists, times as numbers; anything else as it is."""
    assert _shown(container_from_plain(plain)) == expected


@pytest.mark.parametrize(
    ("container", "dtype"),
    [
        (Series(), "steps"),
        (TimeSeriesAggregator(), "series"),
        (RingAggregator(2), "ring"),
        (StatAggregator(), "statstream"),
    ],
)
def test_containers_say_what_they_are(container: Any, dtype: str) -> None:
    """The stored form of a container is tagged."""
    assert container_to_plain(container)["dtype"] == dtype


@pytest.mark.parametrize(
    ("text", "step"),
    [("1", 1), ("-3", -3), ("0.5", 0.5), ("1e-05", 1e-05), ("010", "010"), ("1_000", "1_000"), ("+1", "+1"), ("", "")],
)
def test_canonical_numbers_are_steps_again(text: str, step: Any) -> None:
    """A key that is exactly how a number prints is that number; other text stays text."""
    assert repr(step_from_text(text)) == repr(step)


@pytest.mark.parametrize(("name", "said"), [("los", "did you mean 'loss'"), (7, "7"), ("x", "there are: acc, loss")])
def test_unknown_metric_is_named_with_what_is_there(name: Any, said: str) -> None:
    """Who asks for a metric that nobody has logged is told which there are, by an error that is a KeyError, too."""
    metrics = Metrics()
    metrics.log_values({"loss": 0.5, "acc": 1.0}, 0, None, 1.0)

    with pytest.raises(NotFound, match=f"nothing was measured as .*{said}") as found:
        metrics[name]

    assert isinstance(found.value, KeyError)
    assert (metrics.get(name), metrics.get(name, 3), name in metrics, metrics.pop(name, 4)) == (None, 3, False, 4)
