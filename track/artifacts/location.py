"""Where the artifacts of a tracking store are: what its URI says, else the configuration, else beside it."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
import shutil
import tempfile
from typing import Any, NamedTuple

import msgspec

from track.artifacts.folder import Folder
from track.artifacts.inplace import SCHEME, InPlaceFolder
from track.artifacts.keys import STORES, split_uri
from track.artifacts.local import LocalFolder
from track.configuration import options
from track.errors import InvalidUri
from track.persistence.protocol import Protocol
from track.persistence.utils import fixed_place, is_url, mask_secrets, uri_path
from track.reading import open_stored
from track.utils.files import user_folder
from track.utils.lifecycle import at_exit

logger = logging.getLogger(__name__)

SUFFIX = ".artifacts"
"""What the folder beside a store is called, after the store's own name."""
_registered: set[tuple[int, str, str]] = set()


class Place(NamedTuple):
    """Where a tracking store's artifacts are; those beside it are recorded by their keys, and move with it."""

    url: str
    is_beside: bool


def protocol_of(source: Any) -> Protocol:
    """Return the backend behind a URI, a client, a trial's logger, or a backend.

    Raises NotFound: the URI is that of a file which does not exist.
    """
    if isinstance(source, str):
        source = open_stored(source)
    protocol: Protocol = source if isinstance(source, Protocol) else source.protocol
    return protocol.main


def place_of(protocol: Protocol) -> Place:
    """Return where the artifacts of a backend are.

    Raises InvalidUri: the URL holds credentials.
    """
    chosen = protocol.artifacts or str(options("artifacts.url", "") or "")
    if chosen:
        return Place(fixed_place(check_url(chosen)), False)
    folder = beside(protocol)
    return Place(folder, True) if folder is not None else Place(_default(protocol), False)


def beside(protocol: Protocol) -> str | None:
    """Return the folder beside a store that is a file; None for others."""
    return None if protocol.file is None else f"{protocol.file}{SUFFIX}"


def check_url(url: str) -> str:
    """Return a URL that may be recorded for others to read.

    Raises InvalidUri: it holds a user, a password or a token.
    """
    user = "@" in re.split(r"[/?#]", url.partition("//")[2], maxsplit=1)[0]
    if is_url(url) and (user or mask_secrets(url) != url):
        raise InvalidUri(
            f"{mask_secrets(url)!r} holds credentials: give them to fsspec's backend instead, not in the URL"
        )
    return url


def _default(protocol: Protocol) -> str:
    if protocol.uri.partition(":")[0] in {"ephemeral", "ephemeraldb", "none", "file"}:
        return _temporary(os.getpid())
    data = user_folder("XDG_DATA_HOME", ".local", "share")
    if data is None:
        raise InvalidUri(
            f"{mask_secrets(protocol.uri)}: this user has no home, where artifacts would be: name another place, as in "
            "?artifacts=/data/artifacts or TRACK_ARTIFACTS_URL"
        )
    folder = os.path.join(data, "track", "artifacts")
    _say_where(mask_secrets(protocol.uri or repr(protocol)), folder)
    return folder


@functools.cache
def _say_where(store: str, folder: str) -> None:
    logger.warning(
        "artifacts of %s are kept on this machine, in %s: give a place that all machines see, as in "
        "?artifacts=s3://bucket/folder or TRACK_ARTIFACTS_URL",
        store,
        folder,
    )


@functools.cache
def _temporary(pid: int) -> str:
    """Return a folder of this process, gone at its end as a store in memory is."""
    folder = tempfile.mkdtemp(prefix="track-artifacts-")

    def remove() -> None:
        if os.getpid() == pid:
            shutil.rmtree(folder, ignore_errors=True)

    at_exit(remove)
    return folder


def open_folder(url: str) -> Folder:
    """Return the folder at a path or URL.

    Raises MissingExtra: the URL needs fsspec, or the package behind one of its schemes.
    """
    if url.startswith(f"{SCHEME}:"):
        return InPlaceFolder(url)
    if not is_url(url):
        return LocalFolder(url)
    if url.startswith("file:"):
        return LocalFolder(uri_path(url))
    from track.artifacts.remote import RemoteFolder

    return RemoteFolder(url)


def register_store(folder: Folder, protocol: Protocol) -> None:
    """Note in a folder of artifacts which tracking store names what is in it: `gc` asks them all."""
    uri = store_uri(protocol, folder)
    known = (os.getpid(), folder.url, uri)
    if known in _registered:
        return
    key = f"{STORES}/{hashlib.sha256(uri.encode()).hexdigest()[:16]}.json"
    if folder.size(key) is None:
        folder.write(key, msgspec.json.encode({"uri": uri}))
    _registered.add(known)


def shared(records: list[dict[str, Any]], source: Protocol, target: Protocol) -> tuple[list[dict[str, Any]], set[str]]:
    """Return the lines of a manifest as another store says them, and the places in which the content is.

    The other store is noted where the content is, so that `gc` there asks it too.
    """
    home = beside(source)
    home = None if home is None else open_folder(home).url
    lines, places = [], set()
    for record in records:
        root, key = split_uri(str(record.get("uri") or ""))
        root = root or home or ""
        if key and root:
            register_store(open_folder(root), target)
            places.add(root)
            record = {**record, "uri": f"{root}/{key}"}  # noqa: PLW2901 - the caller's stays as it is
        lines.append(record)
    return lines, places


def store_uri(protocol: Any, folder: Folder) -> str:
    """Return how a folder of artifacts calls a tracking store: ``beside:`` for the one that it moves with."""
    own = beside(protocol)
    uri = mask_secrets(protocol.uri or repr(protocol))
    scheme = uri.partition(":")[0]
    if own is not None and f"file://{own}" == folder.url:
        return f"beside:{scheme}"
    return uri.partition("?")[0] if protocol.file is None else f"{scheme}://{protocol.file}"
