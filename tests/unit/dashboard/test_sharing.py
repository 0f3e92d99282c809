"""Answers that several ask for."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from track.dashboard.sharing import Shared


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        """Return the moment."""
        return self.now


def test_who_asks_for_what_is_being_made_is_given_that() -> None:
    """Nobody makes what another one is making, and what is asked meanwhile about something else is answered."""
    shared = Shared(10.0)
    begun, may_end = threading.Event(), threading.Event()

    def make() -> bytes:
        begun.set()
        assert may_end.wait(30)
        return b"made once"

    with ThreadPoolExecutor() as pool:
        first = pool.submit(shared.get, "chart", 1, make)
        assert begun.wait(30)
        second = pool.submit(shared.get, "chart", 1, lambda: pytest.fail("it is made twice"))
        other = shared.get("another", 1, lambda: b"other")
        may_end.set()

        assert (first.result(), second.result(), other) == (b"made once", b"made once", b"other")


def test_answers_are_given_again_while_they_are_true_and_new() -> None:
    """Another stamp or too long a time makes another answer."""
    clock = Clock()
    shared = Shared(10.0, clock)
    made: list[int] = []

    def ask(stamp: int) -> bytes:
        def make() -> bytes:
            made.append(stamp)
            return b"%d" % len(made)

        return shared.get("chart", stamp, make)

    assert (ask(1), ask(1), ask(2), ask(2)) == (b"1", b"1", b"2", b"2")
    clock.now = 10.0
    assert ask(2) == b"2"
    clock.now = 10.1
    assert ask(2) == b"3"


def test_what_fails_is_said_to_all_who_wait_and_asked_again() -> None:
    """An error is no answer: who asks next may have one."""
    shared = Shared(10.0)

    def fail() -> bytes:
        raise OSError("the store is away")

    with pytest.raises(OSError, match="away"):
        shared.get("chart", 1, fail)

    assert shared.get("chart", 1, lambda: b"there") == b"there"


def test_answers_are_bounded() -> None:
    """Where they are many the oldest are forgotten, and what is too large at once."""
    shared = Shared(10.0)
    for number in range(300):
        shared.get(number, 1, lambda: b"small")
    shared.get("huge", 1, lambda: bytes(1 << 26))

    asked = {key: shared.get(key, 1, lambda: b"again") for key in (299, 0, "huge")}
    assert asked == {299: b"small", 0: b"again", "huge": b"again"}
