"""Identities: the hash of a configuration, the version of a file, the commit of a repository."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
from typing import TYPE_CHECKING, Any

from track.shown import shown
from track.utils._canonical import encode
from track.utils.files import read_chunks, stamp_of
from track.utils.git import ask_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from types import ModuleType

__all__ = [
    "HASH_VERSION",
    "compute_hash",
    "compute_version",
    "default_version_hash",
    "get_file_version",
    "get_git_version",
    "is_iterable",
]

HASH_VERSION = 1
"""Version of the encoding behind `compute_hash`, to be stored beside every hash."""

_COMMIT_DIGITS = 20


def compute_hash(*args: Any, **kwargs: Any) -> str:
    """Return 64 hexadecimal digits that name these values: the same in every process, on every machine.

    The order of keywords, dict keys and set items does not matter. Arguments that are None are left out.

    Examples
    --------
    >>> compute_hash("train", lr=0.1, layers=[64, 10]) == compute_hash("train", layers=(64, 10), lr=0.1)
    True
    >>> len({compute_hash(1), compute_hash(1.0), compute_hash(True), compute_hash("1")})
    4
    """
    positional = [value for value in args if value is not None]
    named = {name: value for name, value in kwargs.items() if value is not None}
    return hashlib.sha256(encode(positional) + encode(named)).hexdigest()


def compute_version(files: Iterable[str | os.PathLike[str]]) -> str:
    """Return the SHA-256 digest, in hexadecimal, of the contents of `files` joined in the given order.

    Raises
    ------
    FileNotFoundError
        One of the files does not exist.
    TypeError
        `files` is a single name instead of a list of names.
    """
    if isinstance(files, (str, bytes, os.PathLike)):
        raise TypeError(f"compute_version takes a list of files: [{shown(files)}]")
    digest = hashlib.sha256()
    for name in files:
        for chunk in read_chunks(os.fspath(name)):
            digest.update(chunk)
    return digest.hexdigest()


def get_file_version(file_name: str | os.PathLike[str]) -> str:
    """Return the SHA-256 digest, in hexadecimal, of a file: it also changes with edits never committed.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    """
    return compute_version([file_name])


def default_version_hash() -> str:
    """Return the digest of the script being executed, or "interactive" where there is none; never raises.

    The script is the file of ``__main__``. Where that has none (an embedded interpreter, ``python -c``), it
    is the outermost file on the call stack that is neither installed nor part of this library.
    """
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    return _version_of(main) or _version_of(_outermost_own_file()) or "interactive"


def _version_of(file: Any) -> str | None:
    try:
        return None if file is None else _version_as_of(file, stamp_of(file))
    except (OSError, TypeError, ValueError):
        return None


@functools.lru_cache(maxsize=1)
def _version_as_of(file: Any, _: tuple[int, int, int] | None) -> str:
    """Return the digest of a file, which each trial asks for; it is read again where the stamp is another."""
    return get_file_version(file)


def _outermost_own_file() -> str | None:
    foreign = (os.path.dirname(os.path.abspath(__file__)) + os.sep, os.path.dirname(os.__file__) + os.sep)
    found = None
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        is_installed = file.startswith(foreign) or "site-packages" in file or "dist-packages" in file
        if not is_installed and os.path.isfile(file):
            found = file
        frame = frame.f_back  # type: ignore[assignment]
    return found


def get_git_version(module: ModuleType | str | os.PathLike[str]) -> tuple[str, datetime] | tuple[None, None]:
    """Return the commit (20 digits) and its commit time for the repository that holds `module`.

    Two None where there is no repository, no commit, or no working ``git``; never raises.

    Parameters
    ----------
    module: ModuleType or path
        An imported module, or a file.
    """
    file = getattr(module, "__file__", module)
    if not isinstance(file, (str, os.PathLike)):
        return None, None
    return _parse_commit(ask_text(os.path.dirname(os.path.abspath(file)), "log", "-1", "--format=%H %ct %ci"))


def _parse_commit(answer: str) -> tuple[str, datetime] | tuple[None, None]:
    from datetime import datetime, timedelta, timezone

    try:
        commit, seconds, _, _, offset = answer.split()
        sign = -1 if offset.startswith("-") else 1
        zone = timezone(sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[3:5])))
        return commit[:_COMMIT_DIGITS], datetime.fromtimestamp(int(seconds), zone)
    except (ValueError, OverflowError, OSError):
        return None, None


def is_iterable(iterable: object) -> bool:
    """Return whether `iter` accepts the object."""
    try:
        iter(iterable)  # type: ignore[call-overload]
    except TypeError:
        return False
    return True
