"""The connection to a place that fsspec opens: the one file that imports it (the extra ``fsspec``)."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO, cast

from track.artifacts.hashing import CHUNK
from track.errors import BackendUnavailable, MissingExtra, NotFound, TrackError
from track.persistence.utils import mask_secrets

__all__ = ["age_of", "connected", "describe", "open_path", "open_url", "schemes_of", "translated"]

_SETTINGS = ("AWS_", "FSSPEC_", "GOOGLE_", "GCS_", "AZURE_")
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "created")


def describe(url: str) -> dict[str, Any]:
    """Return what the place of a URL tells of the data there; NotFound where there is none."""
    fs, path = connected(url)
    try:
        with translated(url):
            return dict(fs.info(path))
    except FileNotFoundError as error:
        raise NotFound(f"nothing is at {mask_secrets(url)}") from error


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
    """
    settings = {name: value for name, value in os.environ.items() if name.startswith(_SETTINGS)}
    fs, strip = _file_system(url.partition("://")[0], os.getpid(), tuple(sorted(settings.items())))
    return fs, str(strip(url))


@functools.lru_cache(maxsize=8)
def _file_system(scheme: str, pid: int, settings: tuple[tuple[str, str], ...]) -> tuple[Any, Any]:
    """Return fsspec's file system of a scheme: one a process, and one for each set of settings."""
    try:
        import fsspec  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise MissingExtra(f'{scheme}:// needs fsspec: pip install "track[fsspec]"') from error
    try:
        # Listings must be true now: others write here too.
        fs = fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False)
    except ImportError as error:
        raise MissingExtra(f"{scheme}:// needs a package that fsspec names: {error}") from error
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
        raise BackendUnavailable(f"{mask_secrets(url)} cannot be used: {type(error).__name__}: {error}") from error


def age_of(known: dict[str, Any]) -> float:
    """Return how many seconds ago a file was written, from what its place tells; 0 where it does not."""
    moment = next((known[name] for name in _TIMES if known.get(name)), None)
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    if isinstance(moment, datetime):
        moment = moment.timestamp()
    return 0.0 if moment is None else max(0.0, time.time() - float(moment))
