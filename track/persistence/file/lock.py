"""Locks: one between threads and processes for decisions, one that tells whether a file has other users."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from track.errors import BackendUnavailable, LockTimeout
from track.utils.files import is_named

try:
    import fcntl
except ImportError as error:
    raise ImportError("track keeps files on POSIX systems only (Linux, macOS)", name=__name__) from error

logger = logging.getLogger(__name__)
_NETWORK_TYPES = {
    "9p", "acfs", "afs", "beegfs", "beegfs_nodev", "ceph", "cifs", "coda", "davfs", "dvs", "gfs2", "glusterfs", "gpfs",
    "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "prl_fs", "pvfs2", "smb3", "smbfs", "vboxsf",
    "virtiofs", "vmhgfs", "wekafs",
}  # fmt: skip
# What is behind other file systems in user space, nobody can tell: they count as network file systems.
_LOCAL_FUSE = {
    "fuse.bindfs", "fuse.cryfs", "fuse.encfs", "fuse.fuse-overlayfs", "fuse.fuse2fs", "fuse.gocryptfs", "fuse.lxcfs",
    "fuse.mergerfs", "fuse.ntfs", "fuse.ntfs-3g", "fuse.squashfuse", "fuse.unionfs",
}  # fmt: skip
_POLL = 0.005
_MEANWHILE = 0.05


_Given = TypeVar("_Given")


class Held(AbstractContextManager[_Given]):
    """A block in which a lock is held, given what a call returns inside; made anew for each block.

    `lock`: one that the same thread may take again.
    """

    __slots__ = ("_give", "_lock")

    def __init__(self, lock: AbstractContextManager[Any], give: Callable[[], _Given]) -> None:
        self._lock = lock
        self._give = give

    def __enter__(self) -> _Given:
        self._lock.__enter__()
        try:
            return self._give()
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise

    def __exit__(self, *_: object) -> None:
        self._lock.__exit__(None, None, None)


class StoreLock:
    """A lock between threads and between processes; the same thread may take it again.

    `path`: the lock file; it is created when needed and never deleted. None locks between threads only. `timeout`:
    seconds to wait for other threads and processes, > 0.
    """

    def __init__(self, path: str | None, timeout: float) -> None:
        self.path = path
        self.timeout = min(timeout, threading.TIMEOUT_MAX)
        self._thread = threading.RLock()
        self._depth = 0
        self._descriptor: int | None = None
        self._waiter: _Waiter | None = None
        self._noted = ""
        self.meanwhile: Callable[[], Callable[[], None] | None] = _nothing
        """Returns what is called now and then while another process has the lock, or None."""

    @property
    def is_held(self) -> bool:
        """Whether the lock is held, by whichever thread of this process."""
        return self._depth > 0

    def __enter__(self) -> StoreLock:
        self._acquire(self.timeout)
        return self

    def try_acquire(self) -> bool:
        """Take the lock if nobody has it, and return whether it was taken; ``with`` or `__exit__` gives it back."""
        try:
            self._acquire(0.0)
        except LockTimeout:
            return False
        return True

    def _acquire(self, timeout: float) -> None:
        # Most often nobody has it, and to ask without a timeout is cheaper.
        if not (self._thread.acquire(blocking=False) or self._thread.acquire(timeout=timeout)):
            raise LockTimeout(f"{self.path} was held by another thread for {timeout} s")
        try:
            if self._depth == 0 and self.path is not None:
                self._acquire_file(timeout)
            self._depth += 1
        except BaseException:
            # A signal may have raised this after the file was locked.
            if self._depth == 0:
                self._release_file()
            self._thread.release()
            raise

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        # The depth changes while the thread lock is held, and the file goes first: nobody sees a half-open lock.
        self._depth -= 1
        try:
            if self._depth == 0:
                self._release_file()
        finally:
            self._thread.release()

    def note(self) -> str:
        """Return what was noted in the lock's file; '' where nothing was."""
        if self.path is None:
            return ""
        try:
            return Path(self.path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def write_note(self, text: str) -> None:
        """Note something in the lock's file, as far as it can be written to; the caller holds the lock."""
        if self._descriptor is None or self._noted == text:
            return
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, os.pwrite(self._descriptor, text.encode(), 0))
            self._noted = text

    def _acquire_file(self, timeout: float) -> None:
        assert self.path is not None
        deadline = time.monotonic() + timeout
        while not self._has_locked(self.path):
            self._release_file()
            left = deadline - time.monotonic()
            if left <= 0:
                raise LockTimeout(
                    f"{self.path} was held by another process for {timeout} s: is one stuck? "
                    "(option log.backend.lock_timeout)"
                )
            if self._wait(self.path, left):
                return

    def _wait(self, path: str, seconds: float) -> bool:
        """Wait for the lock in the kernel, which wakes one at a time, and return whether it was taken."""
        try:
            self._waiter = _Waiter(path)
        except RuntimeError:
            # No thread can be started while the interpreter ends.
            time.sleep(_POLL)
            return False
        try:
            self._descriptor = self._waiter.descriptor_within(seconds, self.meanwhile() or _nothing)
        finally:
            self._waiter = None
        # Somebody may have deleted the file that was locked.
        if self._descriptor is not None and is_named(self._descriptor, path):
            return True
        self._release_file()
        return False

    def _has_locked(self, path: str) -> bool:
        # Imported at first use: filelock is half of what `import track` may cost.
        import filelock

        self._descriptor = _open_lock(path)
        try:
            is_locked = filelock.lock_descriptor(self._descriptor, blocking=False)
        except OSError as error:
            raise BackendUnavailable(
                f"{path} cannot be locked ({error.strerror}), as on some network file systems: choose another folder, "
                "or add ?lock=never where one process at a time uses it, as in file:///data/report.json?lock=never"
            ) from error
        # Somebody may have deleted the file that was locked.
        return is_locked and is_named(self._descriptor, path)

    def _release_file(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            import filelock

            # Closing is not enough: a child that was forked meanwhile has the file open too.
            with contextlib.suppress(OSError):
                filelock.unlock_descriptor(descriptor)
        finally:
            # Whatever a signal raised: a lock that nobody knows of would never be given back.
            os.close(descriptor)

    def reset_after_fork(self) -> None:
        """Forget what the parent held: a child starts with a lock of its own."""
        if self._descriptor is not None:
            # Unlocking would unlock it for the parent too.
            os.close(self._descriptor)
        if self._waiter is not None:
            # The thread is the parent's.
            os.close(self._waiter.descriptor)
            self._waiter = None
        self._thread = threading.RLock()
        self._depth = 0
        self._descriptor = None


def _nothing() -> None:
    """Do nothing."""


class _Waiter:
    """A thread that waits for a lock, so that who wants it can give up; it gives back at once what comes too late.

    `path`: the file. Raises RuntimeError: no thread can be started.
    """

    def __init__(self, path: str) -> None:
        self.descriptor = _open_lock(path)
        self._ended = threading.Event()
        self._handing_over = threading.Lock()
        self._is_locked = self._is_given_up = False
        try:
            threading.Thread(target=self._run, name="track-lock", daemon=True).start()
        except RuntimeError:
            os.close(self.descriptor)
            raise

    def _run(self) -> None:
        is_locked = False
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX)
            is_locked = True
        except OSError as error:
            logger.debug("a lock cannot be waited for: %s", error)
            time.sleep(_POLL)
        with self._handing_over:
            self._is_locked = is_locked
            if self._is_given_up or not is_locked:
                self._give_back()
        self._ended.set()

    def _give_back(self) -> None:
        self._is_locked = False
        let_go(self.descriptor)
        os.close(self.descriptor)

    def descriptor_within(self, seconds: float, meanwhile: Callable[[], None]) -> int | None:
        """Return the descriptor once it holds the lock; None where that takes longer.

        `meanwhile`: called now and then.
        """
        deadline = time.monotonic() + seconds
        try:
            while not self._ended.wait(min(_MEANWHILE, deadline - time.monotonic())) and time.monotonic() < deadline:
                meanwhile()
        except BaseException:
            with self._handing_over:
                self._is_given_up = True
                if self._is_locked:
                    self._give_back()
            raise
        with self._handing_over:
            self._is_given_up = True
            return self.descriptor if self._is_locked else None


def _open_lock(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        # Another user's, who shares the folder but not this file: to lock it one need not write to it.
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        # Somebody removed the folder of a store that is in use.
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


def hold_shared(descriptor: int) -> None:
    """Say, as long as the descriptor is open, that somebody uses its file."""
    # A file system without such locks will not grant an exclusive one either.
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_SH)


def let_go(descriptor: int) -> None:
    """Hold a file no more. Closing is not enough: a child that was forked meanwhile has it open too."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def hold_exclusively(descriptor: int) -> bool:
    """Return whether this descriptor is the file's only user, and keep it so until `hold_shared`."""
    if claim(descriptor):
        return True
    # The attempt has given up the shared hold.
    hold_shared(descriptor)
    return False


def claim(descriptor: int, without_locks: bool = False) -> bool:
    """Return whether nobody else holds the file, and hold it exclusively then, as long as the descriptor is open.

    `without_locks`: the answer on a file system without locks, where nobody can tell.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        logger.debug("a file cannot be locked: %s", error)
        return without_locks
    return True


def is_of_network(kind: str) -> bool:
    """Return whether a kind of file system is one of a network, where appends of several hosts may mix."""
    return kind in _NETWORK_TYPES or (kind.partition(".")[0] == "fuse" and kind not in _LOCAL_FUSE)
