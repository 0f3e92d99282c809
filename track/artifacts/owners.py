"""Which tracking stores name what is in a place of artifacts: noted there by their ids, and asked by `gc`."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from track.artifacts.folder import Folder
from track.artifacts.keys import STORES, split_uri, uri_at
from track.artifacts.location import beside, open_folder, protocol_of
from track.errors import BackendUnavailable, CorruptArtifact, NotFound
from track.persistence.contract import identity_of_place
from track.persistence.utils import ARTIFACTS, file_of, is_stored, mask_secrets

logger = logging.getLogger(__name__)
_BESIDE = "beside:"


class _Note(msgspec.Struct, omit_defaults=True):
    uri: str
    id: str = ""


class Owners(NamedTuple):
    """The tracking stores of a place: those to be asked, and the URIs of those that are away; `opened` to be closed."""

    asked: list[Any]
    away: list[str]
    opened: list[Any]

    def __enter__(self) -> Owners:
        return self

    def __exit__(self, *exception: object) -> None:
        close_opened(self.opened)


_decode = msgspec.json.Decoder(_Note).decode


def close_opened(protocols: Iterable[Any]) -> None:
    """Close what was opened to ask; but a file is shared with all who have it open in this process."""
    for protocol in protocols:
        if protocol.file is None:
            protocol.close()


def register_store(folder: Folder, protocol: Any) -> None:
    """Note in a folder of artifacts which tracking store names what is in it, or where that is now."""
    uri, identity = _store_uri(protocol, folder), identity_of(protocol)
    note = msgspec.json.encode(_Note(uri, identity))
    key = f"{STORES}/{hashlib.sha256((identity or uri).encode()).hexdigest()[:16]}.json"
    # Always looked at: the folder may have been removed meanwhile, or the note cut short by a loss of power.
    try:
        is_known = folder.read(key) == note
    except FileNotFoundError:
        is_known = False
    if not is_known:
        folder.write(key, note)


def identity_of(protocol: Any) -> str:
    """Return the id of a tracking store; empty where it has none, or cannot be asked now."""
    try:
        return str(protocol.identity())
    except BackendUnavailable:
        # A server that is away, and was not asked before: its place must do.
        return ""


def shared(records: list[dict[str, Any]], source: Any, target: Any) -> tuple[list[dict[str, Any]], set[str]]:
    """Return the lines of a manifest as another store says them, and the places in which the content is.

    The other store is noted where the content is, so that `gc` there asks it too; nothing is written where there is
    none, whatever a record says.
    """
    home = beside(source)
    home = None if home is None else open_folder(home).url
    lines: list[dict[str, Any]] = []
    places: set[str] = set()
    for record in records:
        root, key = split_uri(str(record.get("uri") or ""))
        root = root or home or ""
        if key and root:
            if root not in places and open_folder(root).size(key) is not None:
                register_store(open_folder(root), target)
                places.add(root)
            record = {**record, "uri": uri_at(root, str(record["uri"]))}  # noqa: PLW2901 - the caller's stays as it is
        lines.append(record)
    return lines, places


def owners(folder: Folder, protocol: Any, also: Sequence[Any]) -> Owners:
    """Return the backends of `protocol`, of `also`, and of all stores noted in a folder.

    Where another store is at the place of a note, the one that is meant is away: on another host, or put aside. A store
    that is given answers for its note only where none is at that place: a copy has the id of what it is a copy of.
    NotFound where there is none, CorruptArtifact where a note cannot be read.
    """
    given = [protocol, *map(protocol_of, also)]
    opened = [one for one, named in zip(given[1:], also, strict=True) if isinstance(named, str)]
    known = {_store_uri(one, folder): one for one in given}
    ids = {one.identity() for one in given}
    asked, away = dict(known), []
    for found in folder.files(STORES):
        note = _read(folder, found.key)
        if note.uri not in known:
            try:
                known[note.uri] = _opened(note.uri, folder, found.key)
                opened.append(known[note.uri])
            except NotFound:
                if note.id and note.id in ids:
                    continue
                raise
        there = known[note.uri]
        try:
            is_meant = _is_meant(note, there, folder)
        except BackendUnavailable as error:
            if there in given:
                raise
            raise BackendUnavailable(f"{_said_of(note, folder, found.key)} cannot be asked now ({error})") from error
        if is_meant:
            asked[note.uri] = there
        elif note.id not in ids:
            away.append(_tell_away(folder, found.key, note))
    return Owners(list(asked.values()), away, opened)


def _is_meant(note: _Note, there: Any, folder: Folder) -> bool:
    """Return whether the store that is at the place of a note is the one that has written it."""
    own = there.identity()
    # Some backends know nothing of their store but its place.
    if note.id in ("", own) or own == identity_of_place(there.uri):
        return True
    # A copy does not answer for what it was: that may be on another machine. But a folder that is beside a store, and
    # is not mounted there, was copied with it, and nobody else has it.
    is_beside = note.uri.startswith(_BESIDE) and not os.path.ismount(folder.url.removeprefix("file://"))
    return is_beside and note.id in there.former_identities()


def _said_of(note: _Note, folder: Folder, key: str) -> str:
    uri = mask_secrets(_full_uri(note.uri, folder))
    return f"the tracking store {uri}, noted in {folder.url}/{key}, keeps artifacts here too. Nothing is removed: it"


def _tell_away(folder: Folder, key: str, note: _Note) -> str:
    uri = mask_secrets(_full_uri(note.uri, folder))
    logger.warning(
        "the tracking store %s, noted in %s/%s, keeps artifacts here too, and at its place there is another: nothing "
        "is removed. Where it is elsewhere now, name it (also=, --also); where it is gone for good, or was moved and "
        "is the one that is there, remove that note",
        uri, folder.url, key,
    )  # fmt: skip
    return uri


def _read(folder: Folder, key: str) -> _Note:
    try:
        return _decode(folder.read(key))
    except ValueError as error:
        raise CorruptArtifact(
            f"{folder.url}/{key} is damaged: it says which tracking store keeps artifacts here too. Nothing is "
            "removed: remove that note, and log an artifact from each store, which notes it again"
        ) from error


def _store_uri(protocol: Any, folder: Folder) -> str:
    """Return how a folder of artifacts calls a tracking store: ``beside:`` for the one that it moves with."""
    own = beside(protocol)
    uri = mask_secrets(protocol.uri or repr(protocol))
    scheme = uri.partition(":")[0]
    if own is not None and f"file://{own}" == folder.url:
        return f"{_BESIDE}{scheme}"
    return uri.partition("?")[0] if protocol.file is None else f"{scheme}://{protocol.file}"


def _full_uri(uri: str, folder: Folder) -> str:
    if not uri.startswith(_BESIDE):
        return uri
    path = folder.url.removeprefix("file://").removesuffix(ARTIFACTS)
    return f"{uri.removeprefix(_BESIDE)}://{path}"


def _opened(uri: str, folder: Folder, note: str) -> Any:
    uri = _full_uri(uri, folder)
    path = file_of(uri)
    is_there = is_stored(path) if path else "***" not in uri
    if not is_there:
        raise NotFound(
            f"the tracking store {mask_secrets(uri)} keeps artifacts in {folder.url} too and cannot be asked: name it "
            "where it is now, with its password (also=, --also), or, if it is gone for good, remove "
            f"{folder.url}/{note}"
        )
    return protocol_of(uri)
