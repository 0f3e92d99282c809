"""References: what the service behind a URL tells of the data there, and whether they are what was logged."""

from __future__ import annotations

import os
import stat
from typing import Any, BinaryIO

from track.errors import CorruptArtifact, NotFound, UnsafePath
from track.persistence.utils import mask_secrets, uri_path
from track.utils.filesystem import TIMES, connect, open_url, translated, unavailable

_MARKS = ("ETag", "etag", "md5Hash", "crc32c", "content_md5", "checksum")


def describe(url: str) -> dict[str, Any]:
    """Return what the place of a URL tells of the data there; NotFound where there is none."""
    fs, path = connect(url)
    try:
        with translated(url):
            return dict(fs.info(path))
    except FileNotFoundError as error:
        if _is_trouble(error.__cause__):
            raise unavailable(url, error.__cause__) from error
        raise NotFound(f"nothing is at {mask_secrets(url)}") from error


def _is_trouble(cause: BaseException | None) -> bool:
    """Return whether a place that says "not found" has not been asked: fsspec says so of any error of HTTP."""
    if isinstance(cause, OSError):
        return not isinstance(cause, FileNotFoundError)
    return getattr(cause, "status", 404) not in (404, 410)


def absolute(url: str) -> str:
    """Return a URL that means the same from any folder: a ``file:`` URL may be relative."""
    return f"file://{os.path.abspath(uri_path(url))}" if url.startswith("file:") else url


def look_up(url: str) -> tuple[str | None, int | None]:
    """Return what marks data (``etag:...``) and its bytes, None where unknown; NotFound, UnsafePath for no file."""
    if url.startswith("file:"):
        return _look_up_file(url)
    information = describe(url)
    if information.get("type") == "directory":
        return None, None
    mark = next((str(information[name]).strip('"') for name in _MARKS if information.get(name)), None)
    if mark is None:
        mark = next((str(information[name]) for name in TIMES if information.get(name)), None)
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
    """Return the data to read; NotFound, CorruptArtifact where it has changed since, UnsafePath for a folder."""
    now = look_up(url)
    if any(was is not None and was != is_now for was, is_now in zip((digest, size), now, strict=True)):
        raise CorruptArtifact(f"{mask_secrets(url)} has changed since it was logged: {(digest, size)}, now {now}")
    if url.startswith("file:"):
        return open(uri_path(url), "rb")
    if now == (None, None) and describe(url).get("type") == "directory":
        raise UnsafePath(f"{mask_secrets(url)} is a folder: read its files with fsspec")
    return open_url(url)
