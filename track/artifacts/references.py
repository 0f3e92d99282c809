"""Data that stays where it is: what its place tells of it, and whether that is still so."""

from __future__ import annotations

import os
import stat
from typing import Any, BinaryIO, cast

from track.errors import CorruptArtifact, NotFound, UnsafePath
from track.persistence.utils import mask_secrets, uri_path

__all__ = ["absolute", "look_up", "open_reference"]

_MARKS = ("ETag", "etag", "md5Hash", "crc32c", "content_md5", "checksum")
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "created")


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
    from track.artifacts.connecting import describe

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
    from track.artifacts.connecting import describe, open_url

    if now == (None, None) and describe(url).get("type") == "directory":
        raise UnsafePath(f"{mask_secrets(url)} is a folder: read its files with fsspec")
    opened: Any = open_url(url)
    return cast("BinaryIO", opened)
