"""What was measured is read alike from every backend: as arrays, and as frames."""

from __future__ import annotations

import math
from typing import Any

import pytest

from track.persistence.protocol import Protocol
from track.structure import Trial
from track.testing.backend import BackendTests


class ReadingTests(BackendTests):
    """What was measured is read alike from every backend: as arrays, and as frames."""

    @pytest.mark.parametrize("values", [[0.5, 1.5, 2.5], [1, 2, 3], [0.5, 1, math.inf], [True, False, True]], ids=str)
    def test_arrays_say_what_was_logged(self, protocol: Protocol, trial: Trial, values: list[Any]) -> None:
        """A metric with steps and one without are arrays of numbers, of the same type everywhere."""
        numpy = pytest.importorskip("numpy")
        for step, value in enumerate(values):
            protocol.log_trial_metrics(trial, step=step, loss=value)
            protocol.log_trial_metrics(trial, cost=value)

        metrics = self.stored(protocol, trial).metrics

        for name in ("loss", "cost"):
            steps, found, at = metrics[name].to_numpy(times=True)
            assert (steps.tolist(), found.tolist()) == ([0, 1, 2], values)
            assert [array.dtype for array in (steps, found)] == [numpy.int64, numpy.array(values).dtype]
            assert (numpy.diff(at) >= 0).all()
            assert at[0] > 0

    def test_step_logged_again_is_one_row_of_the_arrays(self, protocol: Protocol, trial: Trial) -> None:
        """The value logged last at a step counts, where the step first was."""
        pytest.importorskip("numpy")
        for step, value in ((3, 0.9), (1, 0.5), (3, 0.8), ("end", 0.1)):
            protocol.log_trial_metrics(trial, step=step, loss=value)

        steps, values = self.stored(protocol, trial).metrics["loss"].to_numpy()

        assert (steps.tolist(), values.tolist()) == ([3, 1, "end"], [0.8, 0.5, 0.1])

    def test_arrays_stay_while_the_trial_goes_on(self, protocol: Protocol, trial: Trial) -> None:
        """What is logged later neither shows in arrays that somebody holds nor is stopped by them."""
        pytest.importorskip("numpy")
        protocol.log_trial_metrics(trial, step=0, loss=0.9)
        held = protocol.get_trial(trial)[0].metrics["loss"].to_numpy(times=True)

        for step in range(1, 4):
            protocol.log_trial_metrics(trial, step=step, loss=float(step))

        assert [len(array) for array in held] == [1, 1, 1]
        assert protocol.get_trial(trial)[0].metrics["loss"].to_numpy()[1].tolist() == [0.9, 1.0, 2.0, 3.0]
