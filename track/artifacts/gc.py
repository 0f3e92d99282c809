"""Mark and sweep: remove what no manifest names, and never what one does, also while others are storing.

1. What no trial names is *condemned*: written down where every later upload sees it, and bases nothing on it.
2. Uploads that were going on at that moment may have; they are waited for, each by its lease.
3. Only then are the manifests read again, and what still nobody names is removed.

So nothing depends on clocks or on how long an upload takes. What must wait is removed by the next `gc`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from track.artifacts.folder import Folder, Unfinished
from track.artifacts.inplace import SCHEME
from track.artifacts.keys import OBJECTS, STORES, TREES, split_uri
from track.artifacts.leases import Condemned, condemn, live_leases, pending_keys, read_condemned
from track.artifacts.location import SUFFIX, beside, open_folder, place_of, protocol_of, store_uri
from track.artifacts.store import ArtifactStore
from track.errors import NotFound
from track.persistence.utils import file_of, is_stored, mask_secrets

logger = logging.getLogger(__name__)
_ABANDONED = 7 * 24 * 3600.0


class Swept(NamedTuple):
    """What `gc` did.

    Parameters
    ----------
    removed: list of str
        Keys of the store that were removed, or would be.
    size: int
        Bytes of them, and of what broken transfers had left.
    waiting: int
        How many files nobody names that wait for uploads to end.
    """

    removed: list[str]
    size: int
    waiting: int


def gc(source: Any, also: str | Iterable[str] = (), dry_run: bool = False) -> Swept:
    """Remove from a store's artifacts what no trial names.

    Parameters
    ----------
    source: str, TrackClient or Protocol
        A tracking store.
    also: str or iterable of str
        URIs of other tracking stores that keep their artifacts in the same place, where they need a password.
    dry_run: bool
        Whether only to tell.

    Raises
    ------
    NotFound
        Another tracking store keeps its artifacts here and cannot be asked. Nothing is removed.
    """
    protocol = protocol_of(source)
    also = [also] if isinstance(also, str) else list(also)
    folder = open_folder(place_of(protocol).url)
    # Before the leases are looked at: a transfer that begins later is not in it.
    unfinished = folder.unfinished()
    sizes = {found.key: found.size for kind in (OBJECTS, TREES) for found in folder.files(kind)}
    manifests = _Manifests(folder)
    unnamed = sizes.keys() - manifests.named(owners(folder, protocol, also))
    manifests.tell_elsewhere(sizes.keys())
    if dry_run:
        return Swept(sorted(unnamed), sum(sizes[key] for key in unnamed), 0)
    own: list[Condemned] = []
    done: frozenset[str] | set[str] = frozenset()
    try:
        own += _adopt(folder)
        own.append(_condemn_new(folder, unnamed - _keys(own)))
        leases = live_leases(folder)
        own = [_with_leases(folder, note, leases) for note in own]
        # After the leases: whoever was storing has recorded it, or is waited for; so has a store that is new.
        named = manifests.named(owners(folder, protocol, also))
        removed = _keys([note for note in own if not (note.waits_for or set()) & leases]) - named
        # A directory goes before its files.
        folder.remove(sorted(removed, key=lambda key: (key.startswith(OBJECTS), key)))
        done = removed | named
    finally:
        waiting = sum(_settle(folder, note, done) for note in own)
    folder.remove(manifests.arrived)
    freed = _drop_broken(folder, unfinished, leases)
    return Swept(sorted(removed), sum(sizes.get(key, 0) for key in removed) + freed, waiting)


def _keys(notes: list[Condemned]) -> frozenset[str]:
    return frozenset[str]().union(*(note.keys for note in notes))


class _Manifests:
    """What trials name, and what is on its way to be named."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._store = ArtifactStore(folder)
        self._listed: dict[str, list[str]] = {}
        self._said: set[tuple[str, str]] = set()
        self.arrived: list[str] = []
        """The notes on records that are in their trials' manifests now."""

    def named(self, protocols: list[Any]) -> set[str]:
        """Return all keys that must stay, as these tracking stores say."""
        # First what is on its way: it may arrive in between.
        pending = pending_keys(self._folder)
        self._said = {found for protocol in protocols for found in _said(protocol)}
        said = {key for key, _ in self._said}
        self.arrived = [note for note, key in pending.items() if key in said]
        roots = said | set(pending.values())
        return roots.union(*(self._files_of(key) for key in roots if key.startswith(TREES)))

    def _files_of(self, key: str) -> list[str]:
        if key not in self._listed:
            try:
                self._listed[key] = [entry.key for entry in self._store.listing(key, None).entries]
            except FileNotFoundError:
                if (key, self._folder.url) in self._said:
                    logger.warning("the directory %s/%s is named by a trial, and is not there", self._folder.url, key)
                self._listed[key] = []
        return self._listed[key]

    def tell_elsewhere(self, here: Collection[str]) -> None:
        """Say which other places trials name, besides those of the same files under another path."""
        places = {place for key, place in self._said if key not in here} - {self._folder.url, ""}
        for place in sorted(place for place in places if not place.startswith(f"{SCHEME}:")):
            logger.warning("trials name content in %s: to clean up there, give ?artifacts=", mask_secrets(place))


def _said(protocol: Any) -> Iterator[tuple[str, str]]:
    """Yield the keys that trials name, and where they say that these are."""
    folder = beside(protocol)
    home = "" if folder is None else open_folder(folder).url
    for trial in protocol.fetch_trials(None):
        for record in trial.artifacts:
            # Wherever it says that the key is: the same folder may have another path on another machine.
            place, key = split_uri(str(record.get("uri") or ""))
            if key:
                yield key, place or home


def _adopt(folder: Folder) -> list[Condemned]:
    """Go on with what earlier runs had to leave, or were killed over."""
    adopted = []
    for note in read_condemned(folder):
        if note.is_owned:
            continue
        key = condemn(folder, note.keys, None)
        # Had somebody else adopted it, its files may be gone, and there again, for whoever stores something now.
        waits_for = None if folder.size(note.key) is None else note.waits_for
        folder.remove([note.key])
        adopted.append(Condemned(key, note.keys, waits_for, True))
    return adopted


def _condemn_new(folder: Folder, keys: Iterable[str]) -> Condemned:
    chosen = frozenset(keys)
    return Condemned(condemn(folder, chosen, None) if chosen else "", chosen, None, True)


def _with_leases(folder: Folder, note: Condemned, leases: set[str]) -> Condemned:
    if not note.keys:
        return note
    waits_for = frozenset(leases) if note.waits_for is None else note.waits_for
    condemn(folder, note.keys, waits_for, note.key)
    return note._replace(waits_for=waits_for)


def _settle(folder: Folder, note: Condemned, done: set[str] | frozenset[str]) -> int:
    """Keep a note for the next run with what must wait, and return how much that is."""
    left = note.keys - done
    if left:
        condemn(folder, left, note.waits_for, note.key, is_owned=False)
    elif note.key:
        folder.remove([note.key])
    return len(left)


def _drop_broken(folder: Folder, unfinished: list[Unfinished], leases: set[str]) -> int:
    dead = [left for left in unfinished if _is_broken(left, leases)]
    folder.drop(dead)
    return sum(left.size for left in dead)


def _is_broken(left: Unfinished, leases: set[str]) -> bool:
    if left.owner:
        return left.owner not in leases
    # What could be gone on with is kept for a while.
    return left.age > _ABANDONED and not leases


def owners(folder: Folder, protocol: Any, also: Iterable[str]) -> list[Any]:
    """Return the backends of `protocol` and all stores noted in a folder; NotFound where one cannot be opened here."""
    own = store_uri(protocol, folder)
    given = {store_uri(other, folder): other for other in map(protocol_of, also)}
    asked = {own: protocol, **given}
    for found in folder.files(STORES):
        uri = str(msgspec.json.decode(folder.read(found.key))["uri"])
        if uri not in asked:
            asked[uri] = _opened(uri, folder, found.key)
    return list(asked.values())


def _opened(uri: str, folder: Folder, note: str) -> Any:
    path = file_of(uri)
    if uri.startswith("beside:"):
        scheme = uri.partition(":")[2]
        path = folder.url.removeprefix("file://").removesuffix(SUFFIX)
        uri = f"{scheme}://{path}"
    is_there = is_stored(path) if path else "***" not in uri
    if not is_there:
        raise NotFound(
            f"the tracking store {mask_secrets(uri)} keeps artifacts in {folder.url} too and cannot be asked: give its "
            f"URI with its password, or, if it is gone for good, remove {folder.url}/{note}"
        )
    return protocol_of(uri)
