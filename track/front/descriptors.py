"""Standard output and error as all of a process writes to them: C code and child processes, too.

Both descriptors lead to a file in memory meanwhile, and not into a pipe: nobody who writes ever waits for a reader, so
code that holds the interpreter's lock cannot stop the thread that would read. A program of its own (`showing`) shows
what is written where it was to go, also after this process is killed. What is read here is the same text.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import fcntl
import logging
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from track.front.showing import KEPT
from track.utils.lifecycle import at_fork

logger = logging.getLogger(__name__)
NAMES = {"stdout": 1, "stderr": 2}
_PATIENCE, _PAUSE = 5.0, 0.05
_PIECE = 1 << 16
_PLACES = struct.Struct("<QQ")
Heard = Callable[[str, str], None]
"""Takes the name of a stream, and a text that was written to it."""


class _Spool:
    """A file that descriptors lead to, how far it was read, and how far it is shown."""

    def __init__(self, *names: str) -> None:
        self._names = names
        self._writing, self.reading = _new_file()
        # Held until the last process that has it, as one of its standard streams, is gone.
        fcntl.flock(self._writing, fcntl.LOCK_SH)
        self.target = os.dup(NAMES[names[0]])
        self.shown = self._read = 0
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def put_in_place(self) -> None:
        for name in self._names:
            os.dup2(self._writing, NAMES[name])

    def give_back(self) -> None:
        for name in self._names:
            os.dup2(self.target, NAMES[name])

    def forget_writing(self) -> None:
        """Leave it to the descriptors to be written to."""
        os.close(self._writing)

    def size(self) -> int:
        return os.fstat(self.reading).st_size

    def read(self, listening: list[Heard]) -> None:
        """Let what is new be heard; of what is far behind, its end."""
        size = self.size()
        self._read = max(self._read, size - KEPT)
        while self._read < size:
            text = os.pread(self.reading, min(_PIECE, size - self._read), self._read)
            self._read += len(text)
            said = self._decode(text)
            for heard in listening:
                heard(self._names[0], said)

    def show(self) -> None:
        """Show what nobody else has shown."""
        with contextlib.suppress(OSError):
            while text := os.pread(self.reading, _PIECE, self.shown):
                self.shown += os.write(self.target, text)

    def close(self) -> None:
        os.close(self.reading)
        os.close(self.target)


def _new_file() -> tuple[int, int]:
    """Return a file that has no name, to append to and to read, as two that know nothing of one another."""
    if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
        made = os.memfd_create("track-output")
        path = f"/proc/self/fd/{made}"
    else:
        made, path = tempfile.mkstemp(prefix="track-output-")
    try:
        writing = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            return writing, os.open(path, os.O_RDWR)
        except OSError:
            os.close(writing)
            raise
    finally:
        os.close(made)
        if not path.startswith("/proc/"):
            os.unlink(path)


class _Redirection:
    """The descriptors of this process, for all who listen."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.listening: list[Heard] = []
        self._reading = threading.RLock()
        self._is_told = threading.Condition()
        self._is_alone = False
        self._is_over = threading.Event()
        # Where both lead to one place, what is written to them stays in order.
        names = [("stdout", "stderr")] if os.path.sameopenfile(1, 2) else [("stdout",), ("stderr",)]
        self._spools = [_Spool(*some) for some in names]
        flush()
        try:
            self._told = _start(self._spools)
        except BaseException:
            for spool in self._spools:
                spool.forget_writing()
                spool.close()
            raise
        for spool in self._spools:
            spool.put_in_place()
            spool.forget_writing()
        threading.Thread(target=self._run, name="track-output-read", daemon=True).start()

    def _run(self) -> None:
        left = b""
        while said := self._receive():
            left += said
            whole = len(left) // _PLACES.size * _PLACES.size
            if whole:
                places = _PLACES.unpack(left[whole - _PLACES.size : whole])
                left = left[whole:]
                with self._is_told:
                    for spool, place in zip(self._spools, places, strict=False):
                        spool.shown = place
                    self._is_told.notify_all()
            self.read()
        with self._is_told:
            self._is_alone = True
            self._is_told.notify_all()
        while not self._is_over.wait(_PAUSE):
            # Who showed it was killed.
            self.read()

    def _receive(self) -> bytes:
        try:
            return self._told.recv(_PIECE)
        except OSError:
            return b""

    def read(self) -> None:
        """Let all who listen hear what is new, and show it where nobody else does."""
        with self._reading:
            for spool in self._spools:
                spool.read(list(self.listening))
                if self._is_alone:
                    spool.show()

    def close(self) -> None:
        """Let the descriptors lead where they did, once what was written before is shown."""
        flush()
        for spool in self._spools:
            spool.give_back()
        ends = [spool.size() for spool in self._spools]
        try:
            with self._is_told:
                self._is_told.wait_for(lambda: self._is_alone or all(map(_is_shown, self._spools, ends)), _PATIENCE)
        finally:
            # Also where somebody is in a hurry, and interrupts it again.
            self._let_go()

    def _let_go(self) -> None:
        self._is_over.set()
        with self._reading:
            self.read()
            spools, self._spools = self._spools, []
            for spool in spools:
                spool.close()
        with contextlib.suppress(OSError):
            self._told.shutdown(socket.SHUT_RDWR)
        self._told.close()


def _is_shown(spool: _Spool, end: int) -> bool:
    return spool.shown >= end


def _start(spools: list[_Spool]) -> socket.socket:
    """Start who shows what is written, and return where it says how far that is."""
    ours, theirs = socket.socketpair()
    with theirs:
        told = [theirs.fileno(), *(one for spool in spools for one in (spool.reading, spool.target))]
        program = [sys.executable, "-I", "-S", str(Path(__file__).with_name("showing.py"))]
        nothing = subprocess.DEVNULL
        try:
            subprocess.run(
                [*program, *map(str, told)], pass_fds=told, stdin=nothing, stdout=nothing, stderr=nothing, check=True
            )
        except BaseException:
            ours.close()
            raise
    return ours


def flush() -> None:
    """Write what is in the buffers of Python, and in those of C."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
    ctypes.CDLL(None).fflush(None)


# A signal handler may end a trial in the middle of another one's end.
_changing = threading.RLock()
_now: _Redirection | None = None


def _after_fork() -> None:
    """Let a child have its own: another thread may have been in the middle of it."""
    global _changing  # noqa: PLW0603 - a lock that a thread of the parent holds is never given back
    _changing = threading.RLock()


at_fork(_after_fork)


def listen(heard: Heard) -> bool:
    """Let what is written to both descriptors be heard, until `unlisten`; return whether that is possible."""
    global _now  # noqa: PLW0603 - a process has one standard output
    with _changing:
        if _now is None or _now.pid != os.getpid():
            try:
                _now = _Redirection()
            except (OSError, subprocess.SubprocessError, RuntimeError) as error:
                logger.warning("what child processes print is not captured: %s", error)
                return False
        _now.read()
        _now.listening.append(heard)
        return True


def unlisten(heard: Heard) -> None:
    """End what `listen` began; the last one gives the descriptors back. A child of a fork leaves them as they are."""
    global _now
    with _changing:
        if _now is None or _now.pid != os.getpid() or heard not in _now.listening:
            return
        flush()
        if len(_now.listening) > 1:
            _now.read()
            _now.listening.remove(heard)
            return
        now, _now = _now, None
        now.close()
