"""With which code the program ends.

Python tells nobody: `atexit` hooks are called alike after ``sys.exit(3)`` and after the last line of a script.
So ``sys.exit``, and the ``exit`` and ``quit`` that are for people, are watched while somebody wants to know, and where
one was called from is compared with where the program ended: a call whose ``SystemExit`` was caught did not end it.
"""

from __future__ import annotations

import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

_users: set[weakref.ref[Any]] = set()
_original: Any = sys.exit
_is_installed = False
_seen: tuple[SystemExit, FrameType, int] | None = None


def watch(user: Any) -> None:
    """Take notice of ``sys.exit`` from now on, until `unwatch` by the last user, or until nobody refers to it."""
    global _is_installed, _original  # noqa: PLW0603 - one for the process, as sys.exit is
    # A replacement by somebody else may call ours: installed once more, the two would call each other for ever.
    if sys.exit is not _exit and (not _is_installed or sys.exit is _original):
        _original, sys.exit = sys.exit, _exit
    _is_installed = True
    _watch_quitters()
    _users.add(weakref.ref(user, _forget))


def unwatch(user: Any) -> None:
    """Leave ``sys.exit`` as it was, once nobody wants to know; a replacement by somebody else stays."""
    _forget(weakref.ref(user))


def last_exit() -> SystemExit | None:
    """Return the exit that the main thread ends with; None where ``sys.exit`` was not called, or caught.

    The same object until it is called again: who has begun after an exit can tell that it is an old one.
    """
    if _seen is None:
        return None
    error, frame, instruction = _seen
    # What has caught it went on to another instruction, if only to return.
    return error if frame.f_lasti == instruction else None


def _forget(reference: weakref.ref[Any]) -> None:
    global _is_installed, _seen  # noqa: PLW0603
    _users.discard(reference)
    if not _users:
        _seen = None
        if sys.exit is _exit:
            sys.exit, _is_installed = _original, False
        for kind, call in _quitters.items():
            kind.__call__ = call
        _quitters.clear()


_quitters: dict[Any, Any] = {}


def _watch_quitters() -> None:
    """Watch `exit` and `quit`, where they are those that Python puts there for people."""
    import builtins

    kind = type(getattr(builtins, "exit", None))
    if kind.__module__ != "_sitebuiltins" or kind in _quitters:
        return
    call = _quitters[kind] = kind.__call__

    def quit_watched(self: Any, code: Any = None) -> Any:
        note_exit(code)
        return call(self, code)

    kind.__call__ = quit_watched  # type: ignore[method-assign]


def _exit(*status: Any) -> Any:
    note_exit(*status)
    return _original(*status)


def note_exit(*status: Any) -> None:
    """Note that the main thread leaves from where it is, with this code."""
    global _seen  # noqa: PLW0603
    if threading.current_thread() is threading.main_thread():
        frame = sys._getframe()
        while frame.f_back is not None:
            frame = frame.f_back
        _seen = (SystemExit(*status), frame, frame.f_lasti)
