"""A series is kept as if its values had been logged one by one."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from typing import Any

import pytest

from track.aggregators.aggregator import MaxAggregator, RingAggregator
from track.columns import MOST
from track.errors import InvalidCall, InvalidEvent
from track.persistence.protocol import Protocol
from track.structure import Trial
from track.testing.backend import BackendTests

_CASES: dict[str, tuple[Any, Any]] = {
    "floats": ([0.5, 0.25, 1e-320], range(3)),
    "integers": ([1, 2**53 + 1, -(2**63)], range(3)),
    "no numbers": ([math.nan, math.inf, -math.inf, -0.0, 0.0], range(5)),
    "mixed": ([0.5, 1, True, 2**80, -0.0, math.nan, 3], range(7)),
    "truths": ([True, False, True], range(3)),
    "large integers": ([2**80, -(2**64)], range(2)),
    "steps that count down": ([0.5, 0.25, 0.125], range(30, 0, -10)),
    "steps in disorder": ([0.5, 0.25, 0.125], [7, -3, 5]),
    "one step": ([0.5, 0.25, 0.125], [4, 4, 4]),
    "fractions as steps": ([0.5, 0.25, 0.125], [0.5, 1.5, 1.25]),
    "steps of many kinds": ([0.5, 0.25, 0.125, 2.0, 3.0], ["a", (1, (2, "b")), 3, 0.5, True]),
    "very large steps": ([0.5, 0.25, 0.125], [2**80, -(2**63), 2**63 - 1]),
    "some without a step": ([0.5, 0.25, 0.125], [None, 4, None]),
    "without steps": ([0.5, 2, 0.125], None),
    "one point": ([0.5], [3]),
    "nothing": ([], None),
    "nothing with steps": ([], []),
    "array": (array("f", [0.1, 0.2]), array("i", [1, 3])),
    "view of memory": (memoryview(array("d", [0.1, 0.2, 0.3, 0.4]))[::2], memoryview(array("q", [5, 6]))),
    "tuple": ((0.5, 0.25), (1, 2)),
}


def _seen(container: Any) -> Any:
    """Return all that is told of a metric, with the types."""
    if container is None:
        return None
    shown = list(container.items()) if hasattr(container, "items") else container.val
    points = getattr(container, "points", None)
    return repr(shown), type(container), None if points is None else (repr(points.steps()), repr(points.values()))


class SeriesTests(BackendTests):
    """What `log_trial_series` stores is what `log_trial_metrics` stores, called once for each value."""

    def both(self, protocol: Protocol, trial: Trial, values: Any, steps: Any, name: str = "loss") -> tuple[Any, Any]:
        """Log a series under a name, and its values one by one under another; return what is told of each."""
        protocol.log_trial_series(trial, name, values, steps)
        each = list(values)
        for step, value in zip([None] * len(each) if steps is None else steps, each, strict=True):
            one: Any = {f"{name} again": value}
            protocol.log_trial_metrics(trial, step=step, **one)
        metrics = self.stored(protocol, trial).metrics
        return _seen(metrics.get(name)), _seen(metrics.get(f"{name} again"))

    @pytest.mark.parametrize("case", _CASES)
    def test_series_is_its_values_one_by_one(self, protocol: Protocol, trial: Trial, case: str) -> None:
        """Values and steps come back exactly, with their types, in the same order."""
        series, one_by_one = self.both(protocol, trial, *_CASES[case])

        assert series == one_by_one

    @pytest.mark.parametrize("count", [MOST - 1, MOST, MOST + 1, 2 * MOST + 3])
    def test_long_series_is_whole(self, protocol: Protocol, trial: Trial, count: int) -> None:
        """However many events a series takes, each of its values is there, at its step."""
        values = [number / 3 for number in range(count)]

        protocol.log_trial_series(trial, "loss", values, range(5, 5 + count))
        protocol.log_trial_series(trial, "cost", values)

        metrics = self.stored(protocol, trial).metrics
        assert list(metrics["loss"].items()) == list(enumerate(values, 5))
        assert metrics["cost"].val == values

    @pytest.mark.parametrize("before", ["with steps", "without steps", "a maximum", "a ring"])
    @pytest.mark.parametrize("steps", [None, [1, 0, 7]], ids=["no steps", "steps"])
    def test_series_goes_on_with_a_metric(
        self, protocol: Protocol, trial: Trial, before: str, steps: list[int] | None
    ) -> None:
        """Steps that were there are replaced, values without one take the next; an aggregate takes each value."""
        factories: dict[str, Any] = {"a maximum": MaxAggregator.lazy(), "a ring": RingAggregator.lazy(2, "d")}
        step = 1 if before == "with steps" else None
        for name in ("loss", "loss again"):
            value: Any = {name: 2.5}
            protocol.log_trial_metrics(trial, step=step, aggregator=factories.get(before), **value)

        series, one_by_one = self.both(protocol, trial, [3.0, 0.5, 1.0], steps)

        assert series == one_by_one
        reader = self.reopen(protocol)
        for name in ("loss", "loss again"):
            more: Any = {name: 9.0}
            reader.log_trial_metrics(trial, **more)
        metrics = reader.get_trial(trial)[0].metrics
        assert _seen(metrics["loss"]) == _seen(metrics["loss again"])

    def test_times_of_a_series_are_kept(self, protocol: Protocol, trial: Trial) -> None:
        """Each value has the time that is given for it; the order is that of the times."""
        if not protocol.takes_times:
            pytest.skip("a backend of methods has no times")

        protocol.log_trial_series(trial, "loss", [1.0, 2.0, 3.0], [0, 1, 0], [1e9 + 0.25, 1e9, 1e9 - 7])

        points = self.stored(protocol, trial).metrics["loss"].points
        assert points.times() == [1e9 - 7, 1e9, 1e9 + 0.25]
        assert (points.steps(), points.values()) == ([0, 1, 0], [3.0, 2.0, 1.0])

    def test_series_of_now_is_of_now(self, protocol: Protocol, trial: Trial) -> None:
        """Without times, all values are of the time of the call."""
        before = protocol.clock()

        protocol.log_trial_series(trial, "loss", [1.0, 2.0])

        times = self.stored(protocol, trial).metrics["loss"].points.times()
        assert len(times) == 2
        assert all(before <= at <= protocol.clock() for at in times)

    def test_series_is_a_change_and_its_points_are_read_alone(self, protocol: Protocol, trial: Trial) -> None:
        """Who watches reads only what a series has added; a step of before makes another generation."""
        protocol.log_trial_series(trial, "loss", [3.0, 2.0], [0, 1])
        cursor, _ = protocol.changes()
        first = protocol.fetch_points(trial.uid, ["loss"])["loss"]

        protocol.log_trial_series(trial, "loss", [1.0, 0.5], [2, 3])
        added = protocol.fetch_points(trial.uid, ["loss"], 2)["loss"]
        cursor, changed = protocol.changes(cursor)
        protocol.log_trial_series(trial, "loss", [9.0, 0.25], [0, 4])
        replaced = protocol.fetch_points(trial.uid, ["loss"], 4)["loss"]

        assert (changed, protocol.changes(cursor)[1]) == ([trial.uid], [trial.uid])
        assert (added.steps, added.values, added.generation) == ([2, 3], [1.0, 0.5], first.generation)
        assert (replaced.steps, replaced.values) == ([4], [0.25])
        assert replaced.generation != first.generation

    def test_series_that_comes_late_makes_another_generation(self, protocol: Protocol, trial: Trial) -> None:
        """Points with times before those that were read move them."""
        if not protocol.takes_times:
            pytest.skip("a backend of methods has no times")
        for name in ("loss", "cost"):
            protocol.log_trial_series(trial, name, [3.0, 2.0], None, [1e9, 2e9])
        first = protocol.fetch_points(trial.uid)

        protocol.log_trial_series(trial, "loss", [1.0], None, [1.5e9])
        protocol.log_trial_series(trial, "cost", [1.0], None, [2e9])
        later = protocol.fetch_points(trial.uid)

        assert (later["loss"].values, later["cost"].values) == ([3.0, 1.0, 2.0], [3.0, 2.0, 1.0])
        assert later["loss"].generation != first["loss"].generation
        assert later["cost"].generation == first["cost"].generation

    def test_last_value_of_a_series_is_found(self, protocol: Protocol, trial: Trial) -> None:
        """A query compares the last value of a series."""
        protocol.log_trial_series(trial, "acc", [0.9, 0.1, 0.5], range(3))

        reader = self.reopen(protocol)

        assert [len(reader.fetch_trials({"metrics.acc": {"$gt": bound}})) for bound in (0.4, 0.6)] == [1, 0]

    def test_arrays_of_numpy(self, protocol: Protocol, trial: Trial) -> None:
        """Arrays of any type of numbers are taken, strided or not, float32 exactly."""
        numpy = pytest.importorskip("numpy")
        arrays = {
            **{kind: (numpy.arange(6)[::2] / 2).astype(kind) for kind in ("f2", "f4", "f8", ">f8")},
            **{kind: numpy.arange(6).astype(kind)[::-2] for kind in ("i1", "i4", "i8", ">i4", "u1", "u8")},
            "tenths": numpy.array([0.1, 0.2, numpy.nan], "f4"),
            "long": numpy.array([0.1, 0.5], numpy.longdouble),
            "large": numpy.array([1, 2**64 - 1], "u8"),
            "truths": numpy.array([True, False]),
            "objects": numpy.array([1, 0.5, 2**70], object),
            "masked": numpy.ma.array([1, 2, 3], mask=[False, True, False]),
        }
        for name, values in arrays.items():
            protocol.log_trial_series(trial, name, values, numpy.arange(len(values)) * 2)
            for place, value in enumerate(values):
                protocol.log_trial_metrics(trial, step=2 * place, **{f"{name} again": value})

        metrics = self.stored(protocol, trial).metrics

        assert {name: _seen(metrics[name]) for name in arrays} == {
            name: _seen(metrics[f"{name} again"]) for name in arrays
        }

    @pytest.mark.parametrize(
        ("values", "more", "said"),
        [
            ([1.0, 2.0], {"steps": [1]}, r"2 values and 1 steps: give one for each"),
            ([1.0], {"times": [1e9, 2e9]}, r"1 values and 2 times: give one for each"),
            ([1.0, "2"], {}, r"value 1 of series 'acc' is '2', of type str"),
            ([1.0, None], {}, r"value 1 of series 'acc' is None.*float\('nan'\)"),
            ([[1.0], [2.0]], {}, r"value 0 of series 'acc' is \[1.0\]"),
            (memoryview(bytes(8)).cast("B", (2, 4)), {}, r"has 2 dimensions: give one, as values\[:, 0\]"),
            ("0.5", {}, r"'0.5', of type str: give a list"),
            (b"0.5", {}, r"of type bytes: give a list"),
            ({0: 0.5}, {}, r"of type dict: give a list"),
            ({0.5}, {}, r"of type set: give a list"),
            (0.5, {}, r"is one number, 0.5: write log_metrics"),
            ((value for value in (1.0,)), {}, r"such as list\(values\)"),
            ([1.0], {"steps": 3}, r"steps of 'acc' is one number"),
            ([1.0], {"steps": [{}]}, r"step \{\} cannot be a key"),
            ([1.0], {"times": [math.nan]}, r"times are unix seconds"),
            ([1.0], {"times": ["now"]}, r"times are unix seconds"),
        ],
    )
    def test_what_is_no_series_is_refused_as_a_whole(
        self, protocol: Protocol, trial: Trial, values: Any, more: dict[str, Any], said: str
    ) -> None:
        """The error says what is wrong, and what to write; nothing of it is stored."""
        protocol.log_trial_metrics(trial, step=0, acc=1.0)

        with pytest.raises(InvalidEvent, match=said):
            protocol.log_trial_series(trial, "acc", values, **more)

        assert dict(self.stored(protocol, trial).metrics["acc"]) == {0: 1.0}

    def test_two_dimensions_and_dates_of_numpy_are_refused(self, protocol: Protocol, trial: Trial) -> None:
        """A table, complex numbers and dates are no series of numbers."""
        numpy = pytest.importorskip("numpy")
        days = numpy.array(["2024-01-01"], "M8[D]")
        attempts: list[Callable[[], None]] = [
            lambda: protocol.log_trial_series(trial, "acc", numpy.zeros((2, 2))),
            lambda: protocol.log_trial_series(trial, "acc", numpy.array(0.5)),
            lambda: protocol.log_trial_series(trial, "acc", numpy.array([1j])),
            lambda: protocol.log_trial_series(trial, "acc", numpy.array(["0.5"])),
            lambda: protocol.log_trial_series(trial, "acc", days),
            lambda: protocol.log_trial_series(trial, "acc", [0.5], None, days),
        ]

        for attempt in attempts:
            with pytest.raises(InvalidEvent):
                attempt()

        assert "acc" not in self.stored(protocol, trial).metrics

    @pytest.mark.parametrize("name", [[0.5], None, 3, "step", "aggregator"])
    def test_series_needs_a_name(self, protocol: Protocol, trial: Trial, name: Any) -> None:
        """What cannot be called so by `log_metrics` cannot here."""
        with pytest.raises(InvalidCall, match="metric"):
            protocol.log_trial_series(trial, name, [0.5])
