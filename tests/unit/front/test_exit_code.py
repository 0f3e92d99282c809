"""Watching ``sys.exit``: put back, left alone when somebody else has replaced it."""

from __future__ import annotations

import gc
import sys
from typing import Any

import pytest

from track.utils._exit_code import ExitWatch


class User:
    """Somebody who wants to know."""


def test_sys_exit_is_put_back_by_the_last_user() -> None:
    """While somebody watches it is ours; afterwards it is what it was."""
    exits = ExitWatch()
    before: Any = sys.exit
    first, second = User(), User()

    exits.add(first)
    exits.add(second)
    exits.discard(first)
    during: Any = sys.exit
    exits.discard(second)

    assert during is not before
    assert sys.exit is before


def test_sys_exit_is_put_back_when_nobody_is_left() -> None:
    """Who is forgotten without having said goodbye watches no more."""
    exits = ExitWatch()
    before: Any = sys.exit
    user = User()
    exits.add(user)
    during: Any = sys.exit

    del user
    gc.collect()

    assert during is not before
    assert sys.exit is before


def test_replacement_by_somebody_else_stays() -> None:
    """Whoever has replaced sys.exit after us keeps it, and may call ours; nothing is installed twice."""
    exits = ExitWatch()
    before: Any = sys.exit
    user = User()
    exits.add(user)
    ours: Any = sys.exit

    def other(*status: Any) -> None:
        """Do as ours does."""
        ours(*status)

    replaced: Any = sys
    replaced.exit = other
    try:
        exits.discard(user)
        exits.add(user)
        after = replaced.exit
        with pytest.raises(SystemExit):
            sys.exit(3)
    finally:
        replaced.exit = before
    exits.add(user)
    again = replaced.exit
    exits.discard(user)

    assert (after, again, replaced.exit) == (other, ours, before)


@pytest.mark.parametrize("status", [(), (None,), (0,), (3,), ("no data",)])
def test_watched_exit_raises_as_before(status: tuple[Any, ...]) -> None:
    """The exception and its code are Python's; caught, it is no end."""
    exits = ExitWatch()
    user = User()
    exits.add(user)

    with pytest.raises(SystemExit) as caught:
        sys.exit(*status)
    left = exits.last()
    exits.discard(user)

    assert caught.value.code == (status[0] if status else None)
    # The outermost instruction, the one that runs pytest, is still the same.
    assert left is not None
    assert left.code == caught.value.code
    assert exits.last() is None
