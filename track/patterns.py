"""Regular expressions that somebody else has written: none of them keeps the program busy.

Python's own search goes through all the ways in which a pattern may fit; ``(a+)+$`` has so many that a name of forty
letters takes hours, and nothing can interrupt it. Here patterns and texts are short, the ways are counted before, and
what is slow all the same ends after a second.
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterable
from typing import Any

from track.errors import InvalidQuery
from track.shown import cut

try:
    from re import _parser as _reading  # type: ignore[attr-defined]
except ImportError:
    # Python 3.10.
    import sre_parse as _reading

LONGEST = 200
"""Characters of a pattern, and of the beginning of a text that it is looked for in."""
_SECONDS, _QUICK = 1.0, 0.001
_MOST_WAYS = 10_000_000


class Pattern:
    """A regular expression that is looked for in short texts; all slow searches together have a second.

    Raises
    ------
    InvalidQuery
        It is no regular expression, is too long, or has too many ways to fit.

    Examples
    --------
    >>> Pattern("b.*d").is_in("abcd")
    True
    """

    def __init__(self, written: str) -> None:
        if len(written) > LONGEST:
            raise InvalidQuery(f"a regular expression of a filter has at most {LONGEST} characters")
        try:
            # Of a pattern that Python may read in another way one day it warns, to standard error.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ways = _ways_of(_reading.parse(written))
                self._pattern = re.compile(written)
        except (re.error, RecursionError, OverflowError) as error:
            raise InvalidQuery(f"{cut(written)} is no regular expression: {error}") from error
        if ways > _MOST_WAYS:
            raise InvalidQuery(
                f"{cut(written)} fits in too many ways to be tried: it repeats what repeats, as (a+)+, or too much"
            )
        self._written = written
        self._left = _SECONDS

    def is_in(self, text: str) -> bool:
        """Return whether it is found in the first 200 characters of a text.

        Raises
        ------
        InvalidQuery
            It has been looked for too long.
        """
        if self._left < 0:
            raise InvalidQuery(f"looking for {cut(self._written)} takes too long: a simpler expression is quicker")
        started = time.thread_time()
        is_found = self._pattern.search(text[:LONGEST]) is not None
        took = time.thread_time() - started
        # One that is quick is so for ever: who watches runs for days asks it again and again.
        self._left -= took if took > _QUICK else 0.0
        return is_found


def _ways_of(parts: Iterable[tuple[Any, Any]]) -> float:
    """Return in how many ways a parsed pattern may fit a text, at most."""
    ways = 1.0
    for kind, what in parts:
        ways *= _ways_of_one(str(kind), what)
    return ways


def _ways_of_one(kind: str, what: Any) -> float:
    if kind in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        least, most, part = what
        least, most = min(int(least), LONGEST), min(int(most), LONGEST)
        inside = _ways_of(part)
        try:
            return float((most - least + 1) * inside**most)
        except OverflowError:
            return float("inf")
    if kind == "SUBPATTERN":
        return _ways_of(what[-1])
    if kind == "ATOMIC_GROUP":
        return _ways_of(what)
    if kind in ("ASSERT", "ASSERT_NOT"):
        return _ways_of(what[1])
    if kind == "GROUPREF_EXISTS":
        return sum(_ways_of(part) for part in what[1:] if part is not None)
    if kind == "BRANCH":
        choices = [_ways_of(part) for part in what[1]]
        return max(choices) if _are_told_apart(what[1]) else sum(choices)
    return 1.0


def _are_told_apart(choices: Iterable[Any]) -> bool:
    """Return whether the first letter says which of some alternatives it can be."""
    firsts = [str(part[0]) if len(part) and str(part[0][0]) == "LITERAL" else "" for part in choices]
    return "" not in firsts and len(set(firsts)) == len(firsts)
