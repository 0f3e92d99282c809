"""Hooks for SIGTERM, SIGINT and the end of the interpreter that leave everybody else's hooks in place.

One dispatcher serves the whole process. It calls every live handler, newest first, and then whatever was
installed before it. A process forked from this one starts without the handlers of its parent: what it does,
or how it ends, says nothing about the parent's work.

Each block of a trial installs and takes out handlers: by `_signal`, as `signal` makes an enum of each of them first.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found, unused-ignore]
import logging
import os
import signal
import sys
import weakref
from typing import TYPE_CHECKING, Any

from track.utils._exit_code import exits
from track.utils.lifecycle import at_exit, at_fork

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["SignalHandler", "as_before", "is_handled", "of_program", "take_out"]

logger = logging.getLogger(__name__)

_EXIT_BY_SIGNAL = 128
_DEADLY = (signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
"""End a process without a word, unless it handles them: a closed terminal, a scheduler's warning."""
_NOTICED = (signal.SIGTERM, signal.SIGINT, *_DEADLY)
_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)


class SignalHandler:
    """Base class of objects that want to know when the process is told to stop, and when it ends.

    A new object is registered until `close`, or until nobody refers to it. Made outside the main thread,
    where Python cannot install signal handlers, it hears of signals only once another one was made in it.
    """

    def __init__(self) -> None:
        _dispatcher.register(self)

    def sigterm(self, signum: int, frame: FrameType | None) -> None:
        """React to SIGTERM; afterwards `SystemExit` (143) is raised, or an earlier handler called.

        Raises
        ------
        NotImplementedError
            Always; for subclasses to define.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what to do at SIGTERM")

    def sigint(self, signum: int, frame: FrameType | None) -> None:
        """React to SIGINT; afterwards `KeyboardInterrupt` is raised, or an earlier handler called.

        Raises
        ------
        NotImplementedError
            Always; for subclasses to define.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what to do at SIGINT")

    def atexit(self) -> None:
        """React to the end of the interpreter; does nothing unless a subclass defines it."""
        return

    def close(self) -> None:
        """Unregister; the last one puts back the signal handlers found at the beginning."""
        _dispatcher.unregister(self)


class _Link:
    """Our handler of one signal, which knows what was installed before it.

    A handler installed after this one may call it, and may itself be what the next link calls: links form a
    chain that is walked once per signal, never a circle.
    """

    def __init__(self, dispatcher: _Dispatcher, method: str, previous: Any) -> None:
        self._dispatcher = dispatcher
        self._method = method
        self.previous = previous

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        with self._dispatcher.delivery(signum) as is_first:
            if is_first:
                self._dispatcher.tell_all(self._method, signum, frame)
            as_before(self.previous, signum, frame)


def as_before(previous: Any, signum: int, frame: FrameType | None) -> None:
    """Do about a signal what was done before a handler was installed, `previous`; the process may end."""
    if callable(previous):
        previous(signum, frame)
    elif signum == signal.SIGINT:
        signal.default_int_handler(signum, frame)
    elif signum in _DEADLY:
        # As it would be without us: the process dies of it, at once.
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)
    elif previous != signal.SIG_IGN:
        # Not a plain death by signal: `finally` clauses and context managers get to run.
        exits.note(_EXIT_BY_SIGNAL + signum)
        raise SystemExit(_EXIT_BY_SIGNAL + signum)


def take_out(handler: Any, signum: int, previous: Any) -> None:
    """Put back what was there before a handler, also where one of this library was installed after it."""
    current = signal.getsignal(signum)
    if current == handler:
        signal.signal(signum, previous)
    while isinstance(current, _Link):
        if current.previous == handler:
            current.previous = previous
        current = current.previous


def of_program(handler: Any) -> Any:
    """Return what a program, or an engine that runs it, does about a signal, given what is installed: past our own."""
    while isinstance(handler, _Link):
        handler = handler.previous
    return handler


def is_handled(signum: int) -> bool:
    """Return whether the program handles a signal itself, or ignores it; that this library notes it is nothing."""
    current = signal.getsignal(signum)
    return current is not signal.SIG_DFL and not isinstance(current, _Link)


class _Delivery:
    """Context manager that tells the outermost link of a signal from those it calls."""

    def __init__(self, active: set[int], signum: int) -> None:
        self._active = active
        self._signum = signum
        self._is_first = signum not in active

    def __enter__(self) -> bool:
        self._active.add(self._signum)
        return self._is_first

    def __exit__(self, *_: object) -> None:
        if self._is_first:
            self._active.discard(self._signum)


class _Dispatcher:
    """The live handlers, and the links installed for them.

    No lock: it would have to be taken inside signal handlers and across forks. The table of handlers is
    changed by single operations and copied before it is walked.
    """

    # Their numbers, as to hash an enum costs more than to look for a signal.
    _METHODS = tuple((int(number), "sigint" if number == signal.SIGINT else "sigterm") for number in _NOTICED)

    def __init__(self) -> None:
        # Keyed by the id of the reference: references compare like the objects, which may say they are equal.
        self._handlers: dict[int, weakref.ref[SignalHandler]] = {}
        self._active: set[int] = set()
        # Those taken out last that stood before nothing of the program's, by signal: the next block takes them again.
        self._spare: dict[int, _Link] = {}
        self._is_hooked = False

    def register(self, handler: SignalHandler) -> None:
        reference = weakref.ref(handler, self._forget)
        self._handlers[id(reference)] = reference
        self._hook()
        self._install()

    def unregister(self, handler: SignalHandler) -> None:
        for reference in tuple(self._handlers.values()):
            if reference() is handler:
                self._forget(reference)

    def tell_all(self, method: str, *arguments: Any) -> None:
        for reference in reversed(tuple(self._handlers.values())):
            handler = reference()
            try:
                if handler is not None:
                    getattr(handler, method)(*arguments)
            except Exception:
                logger.exception("%s of %r raised", method, handler)

    def delivery(self, signum: int) -> _Delivery:
        return _Delivery(self._active, signum)

    def _hook(self) -> None:
        if not self._is_hooked:
            self._is_hooked = True
            at_exit(self._at_exit, is_early=True)
            at_fork(self._start_afresh)

    def _install(self) -> None:
        try:
            for signum, method in self._METHODS:
                current = _signal.getsignal(signum)
                spare = self._spare.get(signum)
                if spare is not None and spare.previous is current:
                    _signal.signal(signum, spare)
                    continue
                # Those that a program may use for something else are noticed only where they kill. None is a handler
                # of C code, which cannot be called from here.
                is_usual = callable(current) and not isinstance(current, _Link) and signum not in _DEADLY
                if is_usual or current == signal.SIG_DFL:
                    _signal.signal(signum, _Link(self, method, current))
        except ValueError:  # outside the main thread
            return

    def _restore(self) -> None:
        try:
            for signum, _ in self._METHODS:
                current = _signal.getsignal(signum)
                if isinstance(current, _Link):
                    _signal.signal(signum, current.previous)
                    if self._spare.get(signum) is not current and current.previous in _DEFAULTS:
                        self._spare[signum] = current
        except ValueError:  # outside the main thread
            return

    def _forget(self, reference: weakref.ref[SignalHandler]) -> None:
        was_known = self._handlers.pop(id(reference), None) is not None
        # At shutdown the modules needed below may be gone, and nobody is left to care.
        if was_known and not self._handlers and not sys.is_finalizing():
            self._restore()

    def _at_exit(self) -> None:
        self.tell_all("atexit")
        self._handlers.clear()

    def _start_afresh(self) -> None:
        self._handlers.clear()
        self._active.clear()
        self._restore()


_dispatcher = _Dispatcher()
