"""What a worker hears: that it is to end, or that its trial was taken by another one."""

from __future__ import annotations

import logging
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple

from track.configuration import options
from track.errors import TrackError
from track.utils.signal import as_before, of_program, take_out

logger = logging.getLogger(__name__)
_HEARD = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)
_BEATS = 4
"""Signs of life in the time after which silence means death."""


class Notice:
    """Hears the signals that end a worker, while it works in the main thread.

    They are noted, and passed on to the body that runs, if there is one; what the program itself does about them, or
    the engine that has started it, is done once the trial was given back.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._previous: dict[int, Any] = {}
        self._then: Callable[[int, Any], None] | None = None
        self._is_over = False

    def __enter__(self) -> Notice:
        # Of an engine whose signal it is; it kills whoever does not handle it.
        used = [number for number in (signal.SIGUSR2,) if callable(signal.getsignal(number))]
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        if threading.current_thread() is threading.main_thread() and options("process.hooks", True):
            for number in (*_HEARD, *used):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._previous[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        for number, previous in self._previous.items():
            take_out(self._hear, number, previous)
        self._is_over = True
        os.close(self._woken)
        os.close(self._waker)

    @property
    def is_told(self) -> bool:
        """Whether the worker is to end."""
        return self.signum is not None

    def _hear(self, signum: int, frame: Any) -> None:
        if self._is_over:
            # Called by a handler that somebody has installed since, and which keeps this one.
            as_before(self._previous[signum], signum, frame)
            return
        self.signum = signum
        try:
            os.write(self._waker, b".")
        except BlockingIOError:
            pass
        if self._then is not None:
            self._then(signum, frame)

    @contextmanager
    def passing(self, then: Callable[[int, Any], None]) -> Iterator[None]:
        """Call something with each signal, and the frame that it interrupts, and with one that came before."""
        self._then = then
        try:
            if self.signum is not None:
                then(self.signum, None)
            yield
        finally:
            self._then = None

    def pause(self, seconds: float) -> None:
        """Wait, no longer than until a signal comes."""
        select.select([self._woken], [], [], seconds)

    def pass_on(self) -> None:
        """Do what would have been done about the signal without this worker; nothing, where that is to die."""
        previous = of_program(self._previous.get(self.signum or 0))
        if callable(previous):
            previous(self.signum, None)


class Heartbeats:
    """Says that a trial runs, as long as its body is silent, and notices that another worker has taken it.

    One thread does so for all bodies of a worker, one after the other: it begins with the first one.
    """

    def __init__(self) -> None:
        self._body: _Body | None = None
        self._turn = threading.Lock()
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def of(self, beat: Callable[[], bool], lost: Callable[[], None]) -> Iterator[None]:
        """Say it for a body, during the block.

        Parameters
        ----------
        beat: callable
            Says it, and returns whether the trial still belongs to this worker.
        lost: callable
            Is called, once, when it does not any more, unless the body has ended.
        """
        self._body = _Body(beat, lost)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="track-heartbeats", daemon=True)
            self._thread.start()
        try:
            yield
        finally:
            with self._turn:
                self._body = None

    def end(self) -> None:
        """Say no more."""
        self._is_over.set()

    def _run(self) -> None:
        while not self._is_over.wait(float(options("log.heartbeat_timeout", 900.0)) / _BEATS):
            body = self._body
            if body is not None and not self._is_ours(body):
                with self._turn:
                    if self._body is body:
                        self._body = None
                        body.lost()

    def _is_ours(self, body: _Body) -> bool:
        try:
            return body.beat()
        except TrackError as error:
            logger.debug("no sign of life was given: %s", error)
            return True


class _Body(NamedTuple):
    beat: Callable[[], bool]
    lost: Callable[[], None]
