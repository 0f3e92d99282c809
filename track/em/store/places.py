"""Where an upload store keeps its bytes: a directory. Names have slashes between their parts."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from track.errors import BackendUnavailable, InvalidUri, TrackError
from track.persistence.file import StoreLock
from track.persistence.utils import mask_secrets
from track.tracking.places import open_fsspec
from track.utils.files import is_temporary, replace_file

CHUNK = 1 << 20
"""Bytes that are in memory at a time, about."""
_LOCK = ".lock"
_PATIENCE = 30.0


class StorePlace(Protocol):
    """What an upload store needs: small records that change in one step, and large content that never changes."""

    def check(self) -> None:
        """Return if the place answers; ConnectionError when not, ValueError when it refuses the key."""

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Return a record and the tag of its state; None when there is none."""

    def create(self, name: str, record: bytes) -> bool:
        """Write a record that does not exist yet; return False when somebody was faster."""

    def swap(self, name: str, record: bytes, tag: str) -> bool:
        """Replace a record that is still in this state; return False when it is not."""

    def children(self, name: str) -> list[str]:
        """Return the names directly below this one, sorted."""

    def put(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write content of any size under a new name."""

    def get(self, name: str) -> Iterator[bytes]:
        """Yield content, some of it at a time; FileNotFoundError when there is none."""

    def remove(self, name: str) -> None:
        """Remove content, if it is there."""


class DirectoryPlace:
    """A directory; it may be shared by machines.

    Parameters
    ----------
    root: str
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(os.path.expanduser(root))
        self._store_lock = StoreLock(os.path.join(self.root, _LOCK), _PATIENCE)
        self._pid = os.getpid()

    @property
    def _lock(self) -> StoreLock:
        if self._pid != os.getpid():
            # What the parent of this process holds is no business of it.
            self._pid = os.getpid()
            self._store_lock.reset_after_fork()
        return self._store_lock

    def check(self) -> None:
        """Make the directory; its parent must be there, or a disk is not mounted."""
        try:
            if not os.path.isdir(self.root):
                os.mkdir(self.root)
        except OSError as error:
            raise unreachable(f"the upload store {self.root} cannot be reached: {error}") from error

    def _path(self, name: str) -> str:
        return os.path.join(self.root, *name.split("/"))

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Return a record and the digest of it."""
        try:
            with open(self._path(name), "rb") as file:
                record = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return record, hashlib.sha256(record).hexdigest()

    def create(self, name: str, record: bytes) -> bool:
        """Write a record under the lock; it appears whole."""
        path = self._path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with self._lock:
            if os.path.lexists(path):
                return False
            replace_file(path, [record], sync=False, follow=False)
        return True

    def swap(self, name: str, record: bytes, tag: str) -> bool:
        """Replace a record under the lock."""
        with self._lock:
            found = self.read(name)
            if found is None or found[1] != tag:
                return False
            replace_file(self._path(name), [record], sync=False, follow=False)
        return True

    def children(self, name: str) -> list[str]:
        """Return the entries of a directory, sorted."""
        try:
            found = os.listdir(self._path(name))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(child for child in found if not is_temporary(child) and child != _LOCK)

    def put(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write content beside its name, and give it the name once it is on the disk."""
        path = self._path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temporary = os.path.join(os.path.dirname(path), f".track-{secrets.token_hex(8)}.tmp")
        try:
            with open(temporary, "xb") as file:
                file.writelines(chunks)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def get(self, name: str) -> Iterator[bytes]:
        """Yield the content of a file."""
        with open(self._path(name), "rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def remove(self, name: str) -> None:
        """Remove a file, and its directory when that is empty then."""
        path = self._path(name)
        with contextlib.suppress(OSError):
            os.unlink(path)
            os.rmdir(os.path.dirname(path))


_REFUSALS = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412", "409"}
_DRIVERS = ("aiohttp", "aiobotocore", "botocore", "urllib3", "google", "azure")
_in_turn = threading.RLock()
"""Held by the threads of this process where the store itself has no conditional writes."""


class RemotePlace:
    """A URL that fsspec opens.

    On S3 a record changes by a conditional PUT: of several clients one wins. Other stores are asked and then
    written to, which is the same unless two clients meet within the milliseconds between.

    Parameters
    ----------
    url: str
        Without credentials and options.
    settings: dict
        What the file system gets.
    """

    def __init__(self, url: str, settings: dict[str, Any]) -> None:
        self.url = url
        # Of its own: another one, of the same settings, may have a cache of what was there before.
        kept = {"skip_instance_cache": True, "use_listings_cache": False} if url.startswith(("s3:", "s3a:")) else {}
        try:
            with _translating(url):
                self._fs, root = open_fsspec(url, **settings, **kept)
        except TypeError as error:
            # Options are arguments of the file system's class.
            raise InvalidUri(f"{mask_secrets(url)!r} cannot be opened: {error}") from error
        self._root = root.rstrip("/")
        self._is_conditional = bool(kept)

    def check(self) -> None:
        """Ask whether the bucket is there, and lets us in."""
        try:
            with _translating(self.url):
                if self._is_conditional:
                    self._fs.call_s3("head_bucket", Bucket=self._root.partition("/")[0])
                else:
                    self._fs.exists(self._root)
        except FileNotFoundError as error:
            raise unreachable(f"the upload store {mask_secrets(self.url)} does not exist: {error}") from error

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Return a record and its tag, which is read first: the record is never older."""
        path = self._path(name)
        try:
            with _translating(self.url):
                tag = self._fs.info(path)["ETag"] if self._is_conditional else ""
                record: bytes = self._fs.cat_file(path)
        except (FileNotFoundError, IsADirectoryError):
            return None
        return record, tag or hashlib.sha256(record).hexdigest()

    def create(self, name: str, record: bytes) -> bool:
        """Write a record that does not exist."""
        with _in_turn:
            if not self._is_conditional:
                if self.read(name) is not None:
                    return False
                self._write(name, record)
                return True
            return self._write_if(name, record, IfNoneMatch="*")

    def swap(self, name: str, record: bytes, tag: str) -> bool:
        """Replace a record."""
        with _in_turn:
            if self._is_conditional:
                return self._write_if(name, record, IfMatch=tag)
            found = self.read(name)
            if found is None or found[1] != tag:
                return False
            self._write(name, record)
            return True

    def _write(self, name: str, record: bytes) -> None:
        path = self._path(name)
        with _translating(self.url):
            self._fs.makedirs(self._fs._parent(path), exist_ok=True)
            self._fs.pipe_file(path, record)

    def _write_if(self, name: str, record: bytes, **condition: str) -> bool:
        try:
            self._fs.pipe_file(self._path(name), record, **condition)
        except Exception as error:
            if not _is_refusal(error):
                raise _translated(error, self.url) from error
            # A request that was sent again, because its answer was lost, is refused for its own effect.
            found = self.read(name)
            return found is not None and found[0] == record
        return True

    def children(self, name: str) -> list[str]:
        """Return what is directly below a name, sorted."""
        try:
            with _translating(self.url):
                self._fs.invalidate_cache()
                found = self._fs.ls(self._path(name), detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        # Some stores list a folder in itself.
        paths = {str(path).strip("/") for path in found} - {self._path(name).strip("/")}
        return sorted(path.rpartition("/")[2] for path in paths)

    def put(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write content in parts, with bounded memory."""
        path = self._path(name)
        with _translating(self.url):
            if not self._is_conditional:
                self._fs.makedirs(self._fs._parent(path), exist_ok=True)
            with self._fs.open(path, "wb") as file:
                for chunk in chunks:
                    file.write(chunk)

    def get(self, name: str) -> Iterator[bytes]:
        """Yield content."""
        with _translating(self.url), self._fs.open(self._path(name), "rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def remove(self, name: str) -> None:
        """Remove content."""
        with contextlib.suppress(FileNotFoundError), _translating(self.url):
            self._fs.rm_file(self._path(name))


def _is_refusal(error: BaseException) -> bool:
    """Return whether this is how S3 says that the condition of a write does not hold."""
    response = getattr(error.__cause__ or error, "response", None) or {}
    return response.get("Error", {}).get("Code") in _REFUSALS


@contextmanager
def _translating(url: str) -> Iterator[None]:
    """Raise our errors for the driver's; a file that is not there stays what it is."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, TrackError):
        raise
    except Exception as error:
        raise _translated(error, url) from error


def _translated(error: Exception, url: str) -> Exception:
    place = mask_secrets(url)
    if isinstance(error, PermissionError) or type(error).__name__ == "NoCredentialsError":
        return ValueError(f"Invalid API Key: {place} refuses it ({error})")
    # What the drivers raise for a network that fails has no base in common.
    if isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _DRIVERS:
        return unreachable(f"{place} does not answer: {error}")
    return error


def unreachable(message: str) -> Exception:
    """Return the error of a store that does not answer: a ConnectionError, and with requests an HTTPError of theirs."""
    try:
        from requests import HTTPError  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return BackendUnavailable(message)

    class Unreachable(BackendUnavailable, HTTPError):  # type: ignore[misc, unused-ignore]
        """The store cannot be reached."""

    return Unreachable(message)
