"""A program that shows what others write to two files, until none of them has the files open any more.

It is started by `track.front.descriptors` with descriptors as arguments: of the files, of where they are shown, and of
a socket on which it says how far it is. It imports nothing of this package, and is nobody's child: a program that waits
for all of its children does not wait for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import struct
import sys

KEPT = 4 << 20
"""Bytes of a file that stay there for who reads it, too."""
_PIECE = 1 << 16
_MOST_BEHIND = 64 << 20
_QUICK, _SLOW = 0.02, 0.1
_PUNCH_HOLE_KEEP_SIZE = 3


class Spool:
    """A file that others append to, and where it is shown."""

    def __init__(self, file: int, shown: int) -> None:
        self.file = file
        self.shown: int | None = shown
        self.place = self.size = self._freed = 0

    def look(self) -> bool:
        """Return whether there is more than before."""
        size = os.fstat(self.file).st_size
        is_more, self.size = size > self.size, size
        return is_more

    def show(self) -> bool:
        """Show what is new, as far as it is taken, and return whether that was something."""
        before = self.place
        while self.place < self.size and self.shown is not None and self._is_ready(self.shown):
            text = os.pread(self.file, _PIECE, self.place)
            try:
                self.place += os.write(self.shown, text)
            except BlockingIOError:
                break
            except OSError:
                # Whoever looked is gone: the file is read on, so that it stays short.
                self.shown = None
        if self.shown is None:
            self.place = self.size
        self._free()
        return self.place > before

    def _is_ready(self, shown: int) -> bool:
        poll = select.poll()
        poll.register(shown, select.POLLOUT)
        return bool(poll.poll(0))

    def _free(self) -> None:
        """Give back the room of what was shown long ago; what nobody looks at for too long is not shown."""
        if self.size - self.place > _MOST_BEHIND and self.shown is not None:
            left, self.place = self.size - KEPT - self.place, self.size - KEPT
            with contextlib.suppress(OSError):
                os.write(self.shown, b"\n[track: %d bytes were too many to be shown]\n" % left)
        end = (self.place - KEPT) // _PIECE * _PIECE
        if end > self._freed:
            _free_room(self.file, end)
            self._freed = end

    def is_over(self) -> bool:
        """Return whether nobody can write to it any more, and all of it is shown."""
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        fcntl.flock(self.file, fcntl.LOCK_UN)
        self.look()
        return self.place >= self.size


def _free_room(file: int, end: int) -> None:
    """Free a file's room up to a place, which stays where it is; elsewhere than on Linux nothing is freed."""
    if sys.platform.startswith("linux"):
        call = ctypes.CDLL(None, use_errno=True).fallocate
        call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
        call(file, _PUNCH_HOLE_KEEP_SIZE, 0, end)


def main(descriptors: list[str]) -> None:
    """Show, and say how far that is, until all is over."""
    said, *pairs = map(int, descriptors)
    if os.fork():
        os._exit(0)
    os.setsid()
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP", "SIGTTOU", "SIGPIPE", "SIGUSR1", "SIGUSR2"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    os.chdir("/")
    os.set_blocking(said, False)
    spools = [Spool(*pair) for pair in zip(pairs[::2], pairs[1::2], strict=True)]
    is_new, pause = True, _QUICK
    while not all(spool.is_over() for spool in spools):
        # All are looked at before one is shown.
        looked = [spool.look() for spool in spools]
        shown = [spool.show() for spool in spools]
        is_new = is_new or any(looked) or any(shown)
        if is_new:
            is_new = not tell(said, spools)
        pause = _QUICK if any(looked) or any(shown) else min(pause * 1.2, _SLOW)
        select.select([], [], [], pause)
    tell(said, spools)


def tell(said: int, spools: list[Spool]) -> bool:
    """Say how far all are shown, and return whether that was taken."""
    try:
        os.write(said, struct.pack("<QQ", spools[0].place, spools[-1].place))
    except BlockingIOError:
        return False
    except OSError:
        # Whoever wanted to know is gone.
        return True
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
