"""With which code the program ends.

Python tells nobody: `atexit` hooks are called alike after ``sys.exit(3)`` and after the last line of a script.
So ``sys.exit``, and the ``exit`` and ``quit`` that are for people, are watched while somebody wants to know, and where
one was called from is compared with where the program ended: a call whose ``SystemExit`` was caught did not end it.
"""

from __future__ import annotations

import builtins
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType


class ExitWatch:
    """Takes notice of ``sys.exit``, `exit` and `quit` while it has users, and forgets those that nobody refers to."""

    def __init__(self) -> None:
        self._users: set[weakref.ref[Any]] = set()
        self._ours = self._exit
        self._original: Any = sys.exit
        self._is_installed = False
        self._quitters: dict[Any, tuple[Any, Any]] = {}
        self._watched: Any = None
        self._seen: tuple[SystemExit, FrameType, int] | None = None

    def add(self, user: Any) -> None:
        """Take notice from now on, until the last user is discarded."""
        # A replacement by somebody else may call ours: installed once more, the two would call each other for ever.
        if sys.exit is not self._ours and (not self._is_installed or sys.exit is self._original):
            self._original, sys.exit = sys.exit, self._ours
        self._is_installed = True
        self._watch_quitters()
        self._users.add(weakref.ref(user, self._forget))

    def discard(self, user: Any) -> None:
        """Leave ``sys.exit`` as it was, once there is no user; a replacement by somebody else stays."""
        self._forget(weakref.ref(user))

    def last(self) -> SystemExit | None:
        """Return the exit that the main thread ends with; None where ``sys.exit`` was not called, or caught.

        The same object until it is called again: who has begun after an exit can tell that it is an old one.
        """
        if self._seen is None:
            return None
        error, frame, instruction = self._seen
        # What has caught it went on to another instruction, if only to return.
        return error if frame.f_lasti == instruction else None

    def note(self, *status: Any) -> None:
        """Note that the main thread leaves from where it is, with this code."""
        if threading.current_thread() is threading.main_thread():
            frame = sys._getframe()
            while frame.f_back is not None:
                frame = frame.f_back
            self._seen = (SystemExit(*status), frame, frame.f_lasti)

    def _exit(self, *status: Any) -> Any:
        self.note(*status)
        return self._original(*status)

    def _watch_quitters(self) -> None:
        """Watch `exit` and `quit`, where they are those that Python puts there for people."""
        kind: Any = type(getattr(builtins, "exit", None))
        if kind is self._watched or kind.__module__ != "_sitebuiltins":
            return
        current = kind.__call__
        if kind not in self._quitters or self._quitters[kind][0] is not current:
            self._quitters[kind] = current, self._watched_call(current)
        kind.__call__ = self._quitters[kind][1]
        self._watched = kind

    def _watched_call(self, call: Any) -> Any:
        def quit_watched(quitter: Any, code: Any = None) -> Any:
            if self._users:
                self.note(code)
            return call(quitter, code)

        return quit_watched

    def _leave_quitters(self) -> None:
        kind, self._watched = self._watched, None
        if kind is not None:
            original, ours = self._quitters[kind]
            # A replacement by somebody else stays.
            if kind.__call__ is ours:
                kind.__call__ = original

    def _forget(self, reference: weakref.ref[Any]) -> None:
        self._users.discard(reference)
        if self._users:
            return
        self._seen = None
        if sys.exit is self._ours:
            sys.exit, self._is_installed = self._original, False
        self._leave_quitters()


exits = ExitWatch()
"""The one of this process."""
