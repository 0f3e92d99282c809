"""Where the artifacts of a tracking store are: what its URI says, else the configuration, else beside it."""

from __future__ import annotations

import functools
import logging
import os
import re
import shutil
import tempfile
from typing import Any, NamedTuple

from track.artifacts.folder import Folder
from track.artifacts.inplace import SCHEME, InPlaceFolder
from track.artifacts.local import LocalFolder
from track.configuration import options
from track.errors import InvalidCall, InvalidUri
from track.persistence.protocol import Protocol
from track.persistence.utils import artifact_places, artifacts_beside, fixed_place, is_url, mask_secrets, uri_path
from track.reading import Trials, open_stored
from track.structure import Trial
from track.utils.files import user_folder
from track.utils.lifecycle import at_exit

logger = logging.getLogger(__name__)
_PARTS = ("", ".journal", ".lock", "-wal", "-shm")


class Place(NamedTuple):
    """Where a tracking store's artifacts are; those beside it are recorded by their keys, and move with it."""

    url: str
    is_beside: bool


def protocol_of(source: Any) -> Protocol:
    """Return the backend behind a URI, a client, a trial's logger, or a backend.

    Raises NotFound: the URI is that of a file which does not exist. InvalidCall: it is none of these.
    """
    if isinstance(source, str):
        source = open_stored(source)
    protocol = source if isinstance(source, Protocol) else getattr(source, "protocol", None)
    if isinstance(protocol, Protocol):
        return protocol.main
    if isinstance(source, (Trial, Trials)):
        which = source.uid if isinstance(source, Trial) else "..."
        text = f"what was read says not in which store it is: give the store, as in find(URI, name, trial={which!r})"
        raise InvalidCall(text)
    raise InvalidCall(f"{source!r} is no store: give a URI, a client or a trial's logger")


def place_of(protocol: Protocol) -> Place:
    """Return where the artifacts of a backend are.

    Raises InvalidUri: the URL holds credentials, or it names the store itself.
    """
    chosen = protocol.artifacts or str(options("artifacts.url", "") or "")
    if chosen:
        return Place(_check_free(fixed_place(check_url(chosen)), protocol), False)
    folder = beside(protocol)
    return Place(folder, True) if folder is not None else Place(_default(protocol), False)


def _check_free(place: str, protocol: Protocol) -> str:
    file = protocol.file
    if file is not None and os.path.realpath(place) in {os.path.realpath(f"{file}{part}") for part in _PARTS}:
        raise InvalidUri(f"artifacts= names a file of the store itself, {place}: name another folder, or leave it out")
    return place


def beside(protocol: Protocol) -> str | None:
    """Return the folder beside a store that is a file; None for others."""
    return None if protocol.file is None else artifacts_beside(protocol.file)


def places_of(protocol: Protocol, recorded: str) -> tuple[str, ...]:
    """Return where content may be that was recorded in a place ('' for beside the store), in the order to look.

    What the URI says now comes first: the place may have moved, and a key is the same in all.
    """
    return in_order(*artifact_places(protocol.artifacts, protocol.file), recorded)


def in_order(chosen: str, home: str, recorded: str) -> tuple[str, ...]:
    """Return the places in the order to look: the one that is chosen, the recorded one, the one beside the store."""
    return tuple(dict.fromkeys(place for place in (chosen, recorded, home) if place))


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
