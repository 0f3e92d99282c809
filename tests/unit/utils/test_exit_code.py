"""With which code the program ends, as far as it can be seen."""

from __future__ import annotations

import builtins
import sys

import pytest

from track.utils._exit_code import ExitWatch


class _User:
    """Somebody who wants to know."""


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> ExitWatch:
    """One of its own, which leaves nothing behind."""
    kind = type(builtins.exit)
    monkeypatch.setattr(kind, "__call__", kind.__call__)
    monkeypatch.setattr(sys, "exit", sys.exit)
    return ExitWatch()


def _leave() -> None:
    with pytest.raises(SystemExit):
        builtins.exit(3)


def test_exit_is_seen_while_somebody_wants_to_know(watch: ExitWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before, between and after there is nobody, and nothing is kept."""
    seen: list[object] = []
    monkeypatch.setattr(watch, "note", lambda *status: seen.append(status))
    # It closes standard input.
    monkeypatch.setattr(sys, "stdin", None)
    users = _User(), _User()

    for user in users:
        _leave()
        watch.add(user)
        _leave()
        watch.discard(user)
        _leave()

    assert seen == [(3,), (3,)]


def test_replacement_of_somebody_else_stays(watch: ExitWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a program has put in the place of `exit` is there after the last user, too."""
    user = _User()
    watch.add(user)
    own = lambda quitter, code=None: None  # noqa: E731 - as a program would
    monkeypatch.setattr(type(builtins.exit), "__call__", own)

    watch.discard(user)

    assert type(builtins.exit).__call__ is own
