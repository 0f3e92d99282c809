"""Functions that run less often than they are called."""

from __future__ import annotations

import weakref

import pytest

from track.utils.throttle import (
    Throttler,
    ThrottleRepeatedCalls,
    TimeThrottler,
    is_throttled,
    throttle_repeated,
    throttled,
)


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def _runs(throttler: object, calls: int = 100) -> list[int]:
    return [i for i in range(calls) if throttler(i) is not None]  # type: ignore[operator]


def test_every_fifth_of_100_calls_makes_20() -> None:
    """The first call runs, then each fifth after it."""
    assert _runs(throttled(str, throttle=5)) == list(range(0, 100, 5))


def test_throttle_of_one_runs_every_call() -> None:
    """One call in one is all of them."""
    assert len(_runs(Throttler(str, 1))) == 100


def test_period_of_five_calls_makes_20() -> None:
    """A hundred calls 10 ms apart run 20 times when the period is 50 ms."""
    times = iter(i * 0.0101 for i in range(100))

    assert len(_runs(TimeThrottler(str, 0.05, clock=lambda: next(times)))) == 20


def test_first_timed_call_runs_at_any_time() -> None:
    """A clock that starts at zero does not delay the first run."""
    assert TimeThrottler(str, 10, clock=lambda: 0.0)(1) == "1"


def test_no_limit_gives_the_function_itself() -> None:
    """Without a limit there is nothing to wrap."""
    assert throttled(str) is str


def test_seconds_win_over_calls() -> None:
    """With both limits only the time counts."""
    assert isinstance(throttled(str, throttle=2, every=3), TimeThrottler)


def test_arguments_and_result_pass_through() -> None:
    """A call that runs is the plain call."""
    assert throttled(int, throttle=2)("ff", base=16) == 255


def test_is_throttled_knows_the_two_throttlers() -> None:
    """A function throttled per argument is not throttled as such."""
    assert is_throttled(throttled(str, throttle=2))
    assert is_throttled(throttled(str, every=2))
    assert not is_throttled(str)
    assert not is_throttled(throttle_repeated(str))


def test_repeated_arguments_run_once_per_period() -> None:
    """Each distinct set of arguments has a period of its own."""
    clock = _Clock()
    said = throttle_repeated(lambda *a, **k: (a, k), every=5, clock=clock)

    first = [said(1), said(1), said(2), said(1, x=1), said(1, x=1), said(1, x=2)]
    clock.now = 5.0

    assert [result is not None for result in first] == [True, False, True, True, False, True]
    assert said(1) == ((1,), {})


def test_arguments_that_cannot_be_hashed_are_told_apart() -> None:
    """Lists and dicts are fine as arguments."""
    said = ThrottleRepeatedCalls(str, 5, clock=_Clock())

    assert [said([1]), said([1]), said([2])] == ["[1]", None, "[2]"]


def test_default_period_is_ten_seconds() -> None:
    """None asks for the default."""
    assert throttle_repeated(str).every == 10  # type: ignore[attr-defined]


class _Argument:
    """One that is like no other."""


def test_memory_of_arguments_is_bounded() -> None:
    """A loop with ever new arguments does not grow for ever."""
    said = ThrottleRepeatedCalls(id, 1e9, clock=_Clock())
    remembered: weakref.WeakSet[_Argument] = weakref.WeakSet()

    for _ in range(5000):
        argument = _Argument()
        remembered.add(argument)
        said(argument)

    assert len(remembered) <= 1024 + 1


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"throttle": 0}, "number of calls >= 1, not 0"),
        ({"every": -1}, "number of seconds >= 0, not -1"),
        ({"every": float("nan")}, "number of seconds"),
    ],
)
def test_impossible_limits_are_refused(limits: dict[str, float], message: str) -> None:
    """A limit that can never be met is a mistake."""
    with pytest.raises(ValueError, match=message):
        throttled(str, **limits)  # type: ignore[arg-type]
