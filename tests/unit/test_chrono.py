"""ChronoContext: seconds of a block, callbacks in order, exceptions untouched."""

from __future__ import annotations

import logging
import threading
from itertools import count

import pytest

import track.chrono
from track.chrono import ChronoContext, Timers
from track.errors import NotFound


@pytest.fixture
def _ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that tells 0, 1, 2, ... seconds."""
    ticks = count()
    monkeypatch.setattr(track.chrono, "perf_counter", lambda: float(next(ticks)))


@pytest.mark.usefixtures("_ticking")
def test_seconds_are_appended() -> None:
    """The block gets the aggregator, and the aggregator the time between start and end."""
    times: list[float] = []

    with ChronoContext(times) as acc:  # type: ignore[arg-type]
        before = list(times)

    assert acc is times
    assert (before, times) == ([], [1.0])


def test_callbacks_run_once_outside_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start callback precedes the clock's start; the end callback precedes its stop."""
    story: list[str] = []
    monkeypatch.setattr(track.chrono, "perf_counter", lambda: story.append("clock") or 0.0)
    times: list[float] = []

    with ChronoContext(times, lambda: story.append("start"), lambda: story.append("end")):  # type: ignore[arg-type]
        story.append("block")

    assert story == ["start", "clock", "block", "end", "clock"]


def test_exception_passes_unchanged_and_is_not_timed() -> None:
    """The very exception comes out, nothing is appended, and the end callback has run."""
    error = KeyError("message")
    times: list[float] = []
    ended: list[int] = []

    with (
        pytest.raises(KeyError, match="message") as caught,
        ChronoContext(times, end_callback=lambda: ended.append(1)),  # type: ignore[arg-type]
    ):
        raise error

    assert caught.value is error
    assert (times, ended) == ([], [1])


def test_failing_end_callback_does_not_hide_the_exception(caplog: pytest.LogCaptureFixture) -> None:
    """The exception of the block comes out; that of the callback is logged."""

    def fail() -> None:
        raise ZeroDivisionError

    with (
        caplog.at_level(logging.ERROR),
        pytest.raises(KeyError, match="first"),
        ChronoContext([], end_callback=fail),  # type: ignore[arg-type]
    ):
        raise KeyError("first")

    assert "end callback" in caplog.text


@pytest.mark.usefixtures("_ticking")
def test_nested_blocks_have_their_own_clocks() -> None:
    """Contexts with one aggregator do not share a start."""
    times: list[float] = []

    with ChronoContext(times), ChronoContext(times):  # type: ignore[arg-type]
        pass

    assert times == [1.0, 3.0]


def test_has_no_room_for_anything_else() -> None:
    """It is made for every batch of a training, so it stays small."""
    with pytest.raises(AttributeError, match="extra"):
        ChronoContext([]).extra = 1  # type: ignore[arg-type, attr-defined]


@pytest.mark.usefixtures("_ticking")
def test_timers_of_one_name_nest() -> None:
    """The innermost timer of a name stops first, and gives back what its own start was given."""
    timers = Timers()
    timers.start("ab_0", "batch", "outer", None, None)
    timers.start("ab_0", "batch", "inner", None, None)

    stopped = [timers.stop("ab_0", "batch", has_raised=False) for _ in range(2)]

    assert stopped == [(1.0, "inner"), (3.0, "outer")]


def test_timer_of_a_block_that_raised_has_no_seconds(caplog: pytest.LogCaptureFixture) -> None:
    """Its end callback is called all the same, and what that raises is logged."""
    timers = Timers()
    timers.start("ab_0", "batch", None, None, {}.popitem)

    assert timers.stop("ab_0", "batch", has_raised=True) == (None, None)
    assert "end callback" in caplog.text


def test_timer_of_another_thread_is_not_found() -> None:
    """Threads that use one name do not stop each other's timers."""
    timers = Timers()
    thread = threading.Thread(target=timers.start, args=("ab_0", "batch", None, None, None))
    thread.start()
    thread.join()

    with pytest.raises(NotFound, match="no timer 'batch' was started in this thread"):
        timers.stop("ab_0", "batch", has_raised=False)
