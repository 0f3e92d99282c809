"""The connection to a place that fsspec opens: the one file that imports it (the extra ``fsspec``)."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import stat
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO, cast

from track.artifacts.content import CHUNK
from track.errors import BackendUnavailable, CorruptArtifact, InvalidUri, MissingExtra, NotFound, TrackError, UnsafePath
from track.persistence.utils import mask_secrets, uri_path

_SETTINGS = ("AWS_", "FSSPEC_", "GOOGLE_", "GCS_", "AZURE_")
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "created")


def describe(url: str) -> dict[str, Any]:
    """Return what the place of a URL tells of the data there; NotFound where there is none."""
    fs, path = connected(url)
    try:
        with translated(url):
            return dict(fs.info(path))
    except FileNotFoundError as error:
        if _is_trouble(error.__cause__):
            raise _unavailable(url, error.__cause__) from error
        raise NotFound(f"nothing is at {mask_secrets(url)}") from error


def _is_trouble(cause: BaseException | None) -> bool:
    """Return whether a place that says "not found" has not been asked: fsspec says so of any error of HTTP."""
    if isinstance(cause, OSError):
        return not isinstance(cause, FileNotFoundError)
    return getattr(cause, "status", 404) not in (404, 410)


def open_url(url: str) -> BinaryIO:
    """Return the data at a URL, to read."""
    fs, path = connected(url)
    return open_path(fs, path, url)


def open_path(fs: Any, path: str, url: str) -> BinaryIO:
    """Return a file of a file system, to read and seek in; its errors are ours."""
    with translated(url):
        if "memory" in schemes_of(fs):
            # What it opens is the stored object itself, with one position for all readers.
            return io.BytesIO(fs.cat_file(path))
        opened = fs.open(path, "rb", block_size=4 << 20, cache_type="readahead")
    return cast("BinaryIO", io.BufferedReader(_Reader(opened, url), CHUNK))


class _Reader(io.RawIOBase):
    """A file of fsspec whose errors are ours."""

    def __init__(self, opened: Any, url: str) -> None:
        self._opened = opened
        self._url = url

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with translated(self._url):
            data = self._opened.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._opened.seek(offset, whence))

    def tell(self) -> int:
        return int(self._opened.tell())

    def close(self) -> None:
        if not self.closed:
            self._opened.close()
        super().close()


def connected(url: str) -> tuple[Any, str]:
    """Return fsspec's file system for a URL, and the path in it.

    Raises
    ------
    MissingExtra
        fsspec, or the package behind the URL's scheme, is not installed.
    InvalidUri
        fsspec does not know the scheme.
    BackendUnavailable
        The place cannot be connected to.
    """
    kind = _kind_of(url.partition("://")[0])
    settings = {name: value for name, value in os.environ.items() if name.startswith(_SETTINGS)}
    with translated(url):
        # Some schemes have their host in the URL.
        told = tuple(sorted(kind._get_kwargs_from_urls(url).items()))
        fs, strip = _file_system(kind, told, os.getpid(), tuple(sorted(settings.items())))
    return fs, str(strip(url))


@functools.cache
def _kind_of(scheme: str) -> Any:
    """Return fsspec's class of a scheme."""
    try:
        import fsspec  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise MissingExtra(f'{scheme}:// needs fsspec: pip install "track[fsspec]"') from error
    try:
        return fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        raise MissingExtra(f"{scheme}:// needs a package that fsspec names: {error}") from error
    except ValueError as error:
        raise InvalidUri(f"fsspec knows no {scheme}://: is it spelled right?") from error


@functools.lru_cache(maxsize=8)
def _file_system(
    kind: Any, told: tuple[tuple[str, Any], ...], pid: int, settings: tuple[tuple[str, str], ...]
) -> tuple[Any, Any]:
    """Return a file system: one a process and place, and one for each set of settings."""
    # Listings must be true now: others write here too.
    fs = kind(**dict(told), skip_instance_cache=True, use_listings_cache=False)
    return fs, fs._strip_protocol


def schemes_of(fs: Any) -> set[str]:
    """Return the schemes that a file system serves."""
    return {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)


@contextlib.contextmanager
def translated(url: str) -> Iterator[None]:
    """Raise BackendUnavailable for whatever a file system raises; FileNotFoundError stays what it is."""
    try:
        yield
    except (FileNotFoundError, TrackError):
        raise
    except Exception as error:  # each backend of fsspec has errors of its own
        raise _unavailable(url, error) from error


@contextlib.contextmanager
def reached(url: str) -> Iterator[None]:
    """Raise BackendUnavailable also for FileNotFoundError, where it is the place itself that is not there."""
    try:
        with translated(url):
            yield
    except FileNotFoundError as error:
        raise _unavailable(url, error) from error


def _unavailable(url: str, error: BaseException | None) -> BackendUnavailable:
    return BackendUnavailable(f"{mask_secrets(url)} cannot be used: {type(error).__name__}: {error}")


def age_of(known: dict[str, Any]) -> float:
    """Return how many seconds ago a file was written, from what its place tells; 0 where it does not."""
    moment = next((known[name] for name in _TIMES if known.get(name)), None)
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    if isinstance(moment, datetime):
        moment = moment.timestamp()
    return 0.0 if moment is None else max(0.0, time.time() - float(moment))


_MARKS = ("ETag", "etag", "md5Hash", "crc32c", "content_md5", "checksum")


def absolute(url: str) -> str:
    """Return a URL that means the same from any folder: a ``file:`` URL may be relative."""
    return f"file://{os.path.abspath(uri_path(url))}" if url.startswith("file:") else url


def look_up(url: str) -> tuple[str | None, int | None]:
    """Return ``etag:`` and what names the present state of some data, and its size in bytes; None where unknown.

    Raises
    ------
    NotFound
        Nothing is there.
    UnsafePath
        A ``file:`` URL names no file.
    """
    if url.startswith("file:"):
        return _look_up_file(url)

    information = describe(url)
    if information.get("type") == "directory":
        return None, None
    mark = next((str(information[name]).strip('"') for name in _MARKS if information.get(name)), None)
    if mark is None:
        mark = next((str(information[name]) for name in _TIMES if information.get(name)), None)
    size = information.get("size")
    return None if mark is None else f"etag:{mark}", None if size is None else int(size)


def _look_up_file(url: str) -> tuple[str, int]:
    try:
        status = os.stat(uri_path(url))
    except FileNotFoundError as error:
        raise NotFound(f"nothing is at {url}") from error
    if not stat.S_ISREG(status.st_mode):
        raise UnsafePath(f"{url} is no file")
    return f"etag:{status.st_mtime_ns}-{status.st_size}", status.st_size


def open_reference(url: str, digest: str | None, size: int | None) -> BinaryIO:
    """Return the data to read.

    Raises
    ------
    NotFound
        Nothing is there any more.
    CorruptArtifact
        It is not what it was when it was logged.
    UnsafePath
        It is a folder.
    """
    now = look_up(url)
    if any(was is not None and was != is_now for was, is_now in zip((digest, size), now, strict=True)):
        raise CorruptArtifact(f"{mask_secrets(url)} has changed since it was logged: {(digest, size)}, now {now}")
    if url.startswith("file:"):
        return open(uri_path(url), "rb")

    if now == (None, None) and describe(url).get("type") == "directory":
        raise UnsafePath(f"{mask_secrets(url)} is a folder: read its files with fsspec")
    opened: Any = open_url(url)
    return cast("BinaryIO", opened)
