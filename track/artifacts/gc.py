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

from track.artifacts.folder import Folder, Unfinished
from track.artifacts.inplace import SCHEME
from track.artifacts.keys import OBJECTS, PACKS, TREES, digest_of_key, is_content_key, split_uri
from track.artifacts.leases import Condemned, condemn, drop_damaged, live_leases, read_condemned, read_pending
from track.artifacts.location import beside, open_folder, place_of, protocol_of
from track.artifacts.owners import close_opened, owners, register_store
from track.artifacts.store import ArtifactStore
from track.errors import CorruptJournal
from track.persistence.query import ALSO_DELETED
from track.persistence.utils import mask_secrets

logger = logging.getLogger(__name__)
_ABANDONED = 7 * 24 * 3600.0
_SHOWN = 5


class Swept(NamedTuple):
    """What `gc` did.

    Parameters
    ----------
    removed: list of str
        Keys of the store that were removed, or would be.
    size: int
        Bytes of them, and of what broken transfers had left.
    waiting: int
        How many files nobody names that wait: for uploads to end, or for a tracking store that cannot be asked here.
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
        Another tracking store keeps its artifacts here and is not where it was. Nothing is removed.
    BackendUnavailable
        The server or database of one that keeps its artifacts here is away. Nothing is removed.
    CorruptArtifact
        The listing of a directory is not what was stored, or a note in the place of artifacts is damaged, so that
        nobody knows what it keeps. Nothing is removed.
    CorruptJournal
        A tracking store has a line that cannot be read, which may name what would be removed. Nothing is removed.
    """
    protocol = protocol_of(source)
    try:
        return _sweep(protocol, [also] if isinstance(also, str) else list(also), dry_run)
    finally:
        if isinstance(source, str):
            close_opened([protocol])


def _sweep(protocol: Any, also: list[Any], dry_run: bool) -> Swept:
    folder = open_folder(place_of(protocol).url)
    # Before the leases are looked at: a transfer that begins later is not in it.
    unfinished = folder.unfinished()
    sizes = {
        found.key: found.size
        for kind in (OBJECTS, TREES, PACKS)
        for found in folder.files(kind)
        if is_content_key(found.key)
    }
    if sizes and not dry_run and protocol.former_identities():
        # What it was copied from must know that it names the same content.
        register_store(folder, protocol)
    manifests = _Manifests(folder)
    with owners(folder, protocol, also) as known:
        unnamed = sizes.keys() - manifests.named(known.asked)
    manifests.tell_elsewhere(sizes.keys())
    if known.away:
        # They name what we cannot see: all of it may be theirs.
        return Swept([], 0 if dry_run else _drop_broken(folder, unfinished, live_leases(folder), sizes), len(unnamed))
    if dry_run:
        return Swept(sorted(unnamed), sum(sizes[key] for key in unnamed), 0)
    drop_damaged(folder)
    own: list[Condemned] = []
    done: frozenset[str] | set[str] = frozenset()
    try:
        own += _adopt(folder)
        own.append(_condemn_new(folder, unnamed - _keys(own)))
        leases = live_leases(folder)
        own = [_with_leases(folder, note, leases) for note in own]
        # After the leases: whoever was storing has recorded it, or is waited for; so has a store that is new.
        with owners(folder, protocol, also) as known:
            named = manifests.named(known.asked) | (sizes.keys() if known.away else set())
        removed = _keys([note for note in own if not (note.waits_for or set()) & leases]) - named
        # A directory goes before its files.
        folder.remove(sorted(removed, key=lambda key: (key.startswith(OBJECTS), key)))
        done = removed | named
    finally:
        waiting = sum(_settle(folder, note, done) for note in own)
    folder.remove(manifests.arrived)
    freed = _drop_broken(folder, unfinished, leases, sizes)
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
        """The notes on records that are in their trials' manifests now, or never will be."""

    def named(self, protocols: list[Any]) -> set[str]:
        """Return all keys that must stay, as these tracking stores say."""
        # First what is on its way: it may arrive in between.
        pending = read_pending(self._folder)
        own = [protocol.identity() for protocol in protocols]
        by_store = [(_ids(protocol, own), set(_said(protocol))) for protocol in protocols]
        self._said = {found for _, said in by_store for found in said}
        said = {key for key, _ in self._said}
        # That another store names the same content says nothing of the record that is on its way.
        arrived = {(store, key) for ids, found in by_store for key, _ in found for store in ids}
        self.arrived = [note for note, one in pending.items() if one.is_lost or (one.store, one.key) in arrived]
        roots = said | {one.key for one in pending.values() if not one.is_lost}
        return roots.union(*(self._files_of(key) for key in roots if key.startswith(TREES)))

    def _files_of(self, key: str) -> list[str]:
        if key not in self._listed:
            try:
                self._listed[key] = [entry.key for entry in self._store.listing(key, digest_of_key(key)).entries]
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


def _ids(protocol: Any, asked: Collection[str]) -> set[str]:
    """Return what notes call a store, one of some that are asked; those of before stores had ids call it nothing."""
    # What is on its way to the store that it was copied from is that one's.
    return {protocol.identity(), *(set(protocol.former_identities()) - set(asked)), ""}


def _said(protocol: Any) -> Iterator[tuple[str, str]]:
    """Yield the keys that trials name, and where they say that these are."""
    unread = protocol.unread()
    if unread:
        raise CorruptJournal(
            f"{'; '.join(unread[:_SHOWN])} cannot be read, and may name what would be removed: nothing is removed. Put "
            "the file back from a copy, or make a new store of what can be read (track copy)"
        )
    folder = beside(protocol)
    home = "" if folder is None else open_folder(folder).url
    # Those that are hidden may be restored.
    for trial in protocol.fetch_trials(ALSO_DELETED):
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


def _drop_broken(folder: Folder, unfinished: list[Unfinished], leases: set[str], there: Collection[str]) -> int:
    dead = [left for left in unfinished if _is_broken(left, leases, there)]
    folder.drop(dead)
    return sum(left.size for left in dead)


def _is_broken(left: Unfinished, leases: set[str], there: Collection[str]) -> bool:
    if left.owner:
        return left.owner not in leases
    # What could be gone on with is kept for a while, unless the content came another way.
    return left.age > _ABANDONED or (left.target in there and not leases)
