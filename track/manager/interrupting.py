"""Interrupting a body that runs in this process, between two calls of this library: inside one it may hold a lock."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

_LIBRARY = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")
_PAUSE = 0.005


class Lost(KeyboardInterrupt):
    """The trial that this thread runs was taken by another worker."""


def run_body(experiment: Any) -> Any:
    """Run an experiment, in code that can be interrupted."""
    return experiment()


class Interruption:
    """Interrupts the body that this thread runs: where its code is its own, or at the end of its next message."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._waiting: Callable[[], NoReturn] | None = None
        self.is_over = False

    def check(self) -> None:
        """Interrupt the body here, where that is due: called by it when it holds nothing."""
        action, self._waiting = self._waiting, None
        if action is not None and not self.is_over:
            action()

    def lose(self) -> None:
        """Raise `Lost` in the body; called in another thread, which waits until that can be done."""

        def interrupt() -> NoReturn:
            raise Lost

        self._waiting = interrupt
        if self._await():
            self._waiting = None
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), ctypes.py_object(Lost))

    def call(self, action: Callable[[], NoReturn], signum: int, frame: FrameType | None) -> None:
        """Call what raises, in a handler of a signal; or soon, where that is in the middle of a call."""
        if self.is_over:
            return
        if _is_between_calls(frame):
            self._waiting = None
            action()
        if self._waiting is None:
            self._waiting = action
            threading.Thread(target=self._send_again, args=(signum,), name="track-interrupt", daemon=True).start()

    def _send_again(self, signum: int) -> None:
        if self._await():
            signal.pthread_kill(self._thread, signum)

    def _await(self) -> bool:
        """Wait until the body is in code of its own, and return whether it is; it may have been interrupted since."""
        while not self.is_over and self._waiting is not None:
            if _is_between_calls(sys._current_frames().get(self._thread)):
                return True
            time.sleep(_PAUSE)
        return False


def _is_between_calls(frame: FrameType | None) -> bool:
    """Return whether a thread runs code of a body that is not in a call of this library."""
    are_ours = []
    while frame is not None and frame.f_code is not run_body.__code__:
        are_ours.append(frame.f_code.co_filename.startswith(_LIBRARY))
        frame = frame.f_back
    # The outermost ones call the body.
    while are_ours and are_ours[-1]:
        are_ours.pop()
    return frame is not None and bool(are_ours) and not any(are_ours)
