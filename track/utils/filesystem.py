"""What fsspec opens (the extra ``fsspec``), and what its drivers mean when they fail; nobody else imports it."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, BinaryIO, TypeAlias, cast

from track.errors import BackendUnavailable, InvalidUri, MissingExtra, TrackError, missing_extra
from track.utils.masking import mask_secrets

CHUNK = 1 << 20
"""Bytes that are in memory at a time, about."""
_ADDRESS = re.compile(r"\[[0-9A-Fa-f:.]*\]")
TIMES = ("LastModified", "last_modified", "updated", "mtime", "created")
"""What file systems call the time at which a file was written."""
_SETTINGS = ("AWS_", "FSSPEC_", "GOOGLE_", "GCS_", "AZURE_")
Failed: TypeAlias = Callable[[str, BaseException | None], Exception]
"""Returns our error for one of a driver: `unavailable`, or what says more."""


def unavailable(url: str, error: BaseException | None) -> Exception:
    """Return the error of a service that cannot be used, as its driver says in another."""
    return BackendUnavailable(f"{mask_secrets(url)} cannot be used: {type(error).__name__}: {error}")


def connect(url: str, settings: Mapping[str, Any] | None = None, failed: Failed = unavailable) -> tuple[Any, str]:
    """Return fsspec's file system of a URL (or of a chain of them, with ``::`` between), and the path in it.

    Without settings, arguments of the file system's class, the URLs of one service have one file system. MissingExtra
    where fsspec, or a package that it needs, is not installed; InvalidUri where there is no such scheme, or the file
    system wants other settings; BackendUnavailable where the service cannot be connected to.
    """
    try:
        import fsspec  # type: ignore[import-untyped, unused-ignore]  # noqa: F401 - or nothing below works
    except ImportError as error:
        raise missing_extra(f"{mask_secrets(url)} needs fsspec", "fsspec") from error
    with translated(url, failed):
        if "::" in _ADDRESS.sub("", url):
            return _chained(url, settings or {})
        scheme, is_url, _ = url.partition("://")
        kind = _kind_of(scheme if is_url else "file")
        # Some schemes have their host in the URL.
        told = kind._get_kwargs_from_urls(url)
        fs = _shared(kind, *_state_of(told)) if settings is None else _with_settings(url, kind, {**told, **settings})
        return fs, str(fs._strip_protocol(url))


def _chained(url: str, settings: Mapping[str, Any]) -> tuple[Any, str]:
    import fsspec  # type: ignore[import-untyped, unused-ignore]

    try:
        return cast("tuple[Any, str]", fsspec.core.url_to_fs(url, **settings))
    except ImportError as error:
        raise MissingExtra(f"{mask_secrets(url)} needs another package: {error}") from error
    except (TypeError, ValueError) as error:
        raise InvalidUri(f"{mask_secrets(url)!r} cannot be opened: {error}") from error


@functools.cache
def _kind_of(scheme: str) -> Any:
    import fsspec  # type: ignore[import-untyped, unused-ignore]

    try:
        return fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        raise MissingExtra(f"{scheme}:// needs a package that fsspec names: {error}") from error
    except ValueError as error:
        raise InvalidUri(f"fsspec knows no {scheme}://: is it spelled right?") from error


def _state_of(told: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what makes a file system another one: host and such, the process, what the environment sets."""
    settings = {name: value for name, value in os.environ.items() if name.startswith(_SETTINGS)}
    return tuple(sorted(told.items())), os.getpid(), tuple(sorted(settings.items()))


@functools.lru_cache(maxsize=8)
def _shared(kind: Any, told: tuple[tuple[str, Any], ...], pid: int, settings: tuple[tuple[str, str], ...]) -> Any:
    return _opened(kind, dict(told))


def _with_settings(url: str, kind: Any, settings: dict[str, Any]) -> Any:
    try:
        return _opened(kind, settings)
    except (TypeError, ValueError) as error:
        raise InvalidUri(f"{mask_secrets(url)!r} cannot be opened: {error}") from error


def _opened(kind: Any, settings: dict[str, Any]) -> Any:
    # Of its own: another one, of the same settings, may have a cache of what was there before.
    fs = kind(**settings, skip_instance_cache=True)
    # Listings must be true now: others write here too.
    with contextlib.suppress(AttributeError):
        fs.dircache.use_listings_cache = False
    return fs


def schemes_of(fs: Any) -> set[str]:
    """Return the schemes that a file system serves."""
    return {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)


def age_of(known: dict[str, Any]) -> float:
    """Return how many seconds ago a file was written, from what its place tells; 0 where it does not."""
    moment = next((known[name] for name in TIMES if known.get(name)), None)
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    if isinstance(moment, datetime):
        moment = moment.timestamp()
    return 0.0 if moment is None else max(0.0, time.time() - float(moment))


def unfinished_parts(fs: Any, root: str) -> Iterator[tuple[str, str, float]]:
    """Yield the uploads in parts to S3 below a root that are going on or were broken off: path, id, age in seconds."""
    bucket, _, prefix = root.partition("/")
    marks: dict[str, str] = {}
    while True:
        answer = fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=f"{prefix}/" if prefix else "", **marks)
        for upload in answer.get("Uploads") or ():
            age = max(0.0, time.time() - float(upload["Initiated"].timestamp()))
            yield f"{bucket}/{upload['Key']}", str(upload["UploadId"]), age
        if not answer.get("IsTruncated"):
            return
        marks = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer.get("NextUploadIdMarker", "")}


@contextmanager
def translated(url: str, failed: Failed = unavailable) -> Iterator[None]:
    """Raise what `failed` says for whatever a file system raises, but FileNotFoundError where nothing is."""
    try:
        yield
    except (FileNotFoundError, TrackError):
        raise
    except (IsADirectoryError, NotADirectoryError) as error:
        raise FileNotFoundError(str(error)) from error
    except Exception as error:  # each driver has errors of its own
        raise failed(url, error) from error


@contextmanager
def reached(url: str) -> Iterator[None]:
    """Raise BackendUnavailable also for FileNotFoundError, where it is the store itself that is not there."""
    try:
        with translated(url):
            yield
    except FileNotFoundError as error:
        raise unavailable(url, error) from error


def open_url(url: str) -> BinaryIO:
    """Return the data at a URL, to read and seek in."""
    return open_path(*connect(url), url)


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
