"""A regular expression of a filter keeps nobody waiting, whatever it is and whatever runs are called."""

from __future__ import annotations

import time

import pytest

from track.errors import InvalidQuery
from track.filters import parse_filter
from track.patterns import LONGEST, Pattern
from track.rows import Row
from track.structure import Trial

ENDLESS = (
    "(a+)+$",
    "(a|a)*$",
    "(a|ab)*c",
    "(a*)*b",
    "(?:a?){30}a{30}",
    "a?" * 30 + "a" * 30,
    "(.*)(.*)(.*)(.*)(.*)x",
    "(?=(a+)+b)a",
    "((a+)?)+(?(1)b|c)",
    r"(\w+\s?)*!",
)


@pytest.mark.parametrize("written", ENDLESS)
def test_what_could_take_for_ever_is_refused_at_once(written: str) -> None:
    """Patterns that double their work with each letter are told in a sentence, before any name is looked at."""
    with pytest.raises(InvalidQuery, match="too many ways"):
        parse_filter(f'name~"{written}"'.replace("\\", "\\\\"))


@pytest.mark.parametrize(
    ("written", "is_there"),
    [
        ("^base", True),
        ("line.*/.*4", True),
        (r"-\d+/(\d{2})+$", True),
        ("(base|wide)+", True),
        ("(?i)BASELINE", True),
        (r"(?=.*-7).*lin", True),
        (".*x.*y.*z", False),
        (r"([a-z])\1", False),
    ],
)
def test_what_people_write_is_found(written: str, is_there: bool) -> None:
    """Usual patterns mean what they mean to Python."""
    assert Pattern(written).is_in("baseline-7/1234") is is_there


def test_the_beginning_of_a_long_text_is_searched() -> None:
    """Only so much of a text is looked at, so that its length is no work."""
    pattern = Pattern("b$|c")

    assert pattern.is_in("a" * (LONGEST - 1) + "b" + "x" * 1_000_000)
    assert not pattern.is_in("a" * LONGEST + "c")


def test_a_long_pattern_is_refused() -> None:
    """A pattern is as long as somebody types."""
    with pytest.raises(InvalidQuery, match="at most 200 characters"):
        Pattern("a" * (LONGEST + 1))


def test_slow_searches_end_after_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is slow for each of many runs is given up, and said."""
    clock = iter(number * 0.3 for number in range(1000))
    monkeypatch.setattr("track.patterns.time.thread_time", lambda: next(clock))
    chosen = parse_filter("name~a.*b")
    row = Row(Trial(name="a"))

    for _ in range(4):
        assert not chosen.matches(row)
    with pytest.raises(InvalidQuery, match="takes too long"):
        chosen.matches(row)


def test_quick_searches_are_never_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who watches runs for days asks the same pattern each second."""
    clock = iter(number * 0.0005 for number in range(100_000))
    monkeypatch.setattr("track.patterns.time.thread_time", lambda: next(clock))
    pattern = Pattern("b")

    assert not any(pattern.is_in("a") for _ in range(10_000))


def test_the_worst_that_is_tried_is_done_within_a_second() -> None:
    """Of thousands of names that were chosen to be slow, the answer, or the refusal, comes soon."""
    pattern, started = Pattern("a.*a.*a.*[^a]"), time.thread_time()

    with pytest.raises(InvalidQuery, match="takes too long"):
        [pattern.is_in("a" * LONGEST) for _ in range(10_000)]

    # Processor time of this thread: ten thousand searches to their ends would take minutes of it.
    assert time.thread_time() - started < 20
