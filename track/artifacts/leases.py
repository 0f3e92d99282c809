"""Leases: who is storing something now, which is what `gc` waits for.

A lease is a small file that is there from before an upload looks for content that it need not send, until its
record is in the tracking store. A pending note stays until a record that is still on its way is seen there.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, NamedTuple

import msgspec

from track.artifacts.folder import Folder, Found
from track.artifacts.keys import CONDEMNED, LEASES, PENDING, is_content_key
from track.errors import CorruptArtifact
from track.utils.system import is_process_alive, process_identity

logger = logging.getLogger(__name__)
_SILENT = 24 * 3600.0
_RENEWAL = 600.0


class _Owner(msgspec.Struct):
    """The process that has written a note, as `process_identity` says it."""

    host: str | None = None
    pid: Annotated[int, msgspec.Meta(ge=1, lt=1 << 31)] | None = None
    started: str | None = None
    machine: str | None = None


class _Note(msgspec.Struct):
    keys: list[str]
    waits_for: list[str] | None = None
    owner: _Owner | None = None


class _Pending(msgspec.Struct, omit_defaults=True):
    key: str
    store: str = ""
    owner: _Owner | None = None
    spills: list[str] = []


_decode_note = msgspec.json.Decoder(_Note).decode
_decode_owner = msgspec.json.Decoder(_Owner).decode
_decode_pending = msgspec.json.Decoder(_Pending).decode


class Lease:
    """An upload that goes on; nothing is based on the keys to `avoid`, about to be removed when it began."""

    def __init__(self, uid: str, avoid: frozenset[str], write: Callable[[], None]) -> None:
        self.uid = uid
        self.avoid = avoid
        self._write = write
        self._renewed = time.monotonic()

    def heartbeat(self, count: int = 0) -> None:
        """Give a heartbeat to other machines, every ten minutes at most: called for every piece of the upload."""
        now = time.monotonic()
        if now - self._renewed > _RENEWAL:
            self._renewed = now
            with suppress(OSError):
                self._write()


class Condemned(NamedTuple):
    """A note of keys that a `gc` is about to remove, and the leases it waits for; None while it does not know them.

    Only the process that has written a note removes what is in it, so no note goes while somebody may still act on
    it; `is_owned` tells whether there is such a process.
    """

    key: str
    keys: frozenset[str]
    waits_for: frozenset[str] | None
    is_owned: bool


@contextmanager
def hold_lease(folder: Folder) -> Iterator[Lease]:
    """Give a lease, and release it."""
    uid = secrets.token_hex(8)
    key = f"{LEASES}/{uid}"
    content = msgspec.json.encode(process_identity())
    folder.write(key, content)
    try:
        # Only now: what is condemned later waits for this lease.
        avoid = frozenset[str]().union(*(found.keys for found in read_condemned(folder)))
        yield Lease(uid, avoid, lambda: folder.write(key, content))
    finally:
        # What is left behind holds up `gc` until the process has ended, and nothing else.
        with suppress(OSError):
            folder.remove([key])


def live_leases(folder: Folder) -> set[str]:
    """Return the leases of live processes, and remove others; of another machine, those renewed within a day live."""
    found = folder.files(LEASES)
    live = {lease.key for lease, content in _contents(folder, found) if _is_held(folder, lease, content)}
    folder.remove({lease.key for lease in found} - live)
    return {key.rpartition("/")[2] for key in live}


def _contents(folder: Folder, files: list[Found]) -> Iterator[tuple[Found, bytes]]:
    """Yield files and what is in them, but those that were removed meanwhile."""
    for found in files:
        try:
            content = folder.read(found.key)
        except FileNotFoundError:
            continue
        yield found, content


def _is_held(folder: Folder, lease: Found, content: bytes) -> bool:
    try:
        return _is_alive(_decode_owner(content), lease.age)
    except ValueError as error:
        # Nobody knows whose it is: as if it were another machine's.
        _tell_damaged(folder, lease.key, error)
        return lease.age < _SILENT


def _tell_damaged(folder: Folder, key: str, error: Exception | str) -> None:
    logger.warning("%s/%s is damaged, and not heeded: %s", folder.url, key, error)


def _is_alive(owner: _Owner, silence: float) -> bool:
    alive = is_process_alive(msgspec.to_builtins(owner))
    return silence < _SILENT if alive is None else alive


def read_condemned(folder: Folder) -> list[Condemned]:
    """Return what is about to be removed; a note that is none, or names what is no content, is said and left out."""
    passes = []
    for found, note in _notes(folder):
        if note is None:
            continue
        waits_for = None if note.waits_for is None else frozenset(note.waits_for)
        is_owned = note.owner is not None and _is_alive(note.owner, found.age)
        passes.append(Condemned(found.key, frozenset(note.keys), waits_for, is_owned))
    return passes


def drop_damaged(folder: Folder) -> None:
    """Remove notes of condemned keys that cannot be read: what was in them is condemned again, if it still may go."""
    folder.remove([found.key for found, note in _notes(folder) if note is None])


def _notes(folder: Folder) -> Iterator[tuple[Found, _Note | None]]:
    for found, content in _contents(folder, folder.files(CONDEMNED)):
        try:
            note = _decode_note(content)
            stray = next((key for key in note.keys if not is_content_key(key)), None)
            if stray is not None:
                raise ValueError(f"{stray!r} is no key of content")
        except ValueError as error:
            _tell_damaged(folder, found.key, error)
            yield found, None
        else:
            yield found, note


def condemn(
    folder: Folder, keys: Iterable[str], waits_for: Iterable[str] | None, key: str = "", is_owned: bool = True
) -> str:
    """Write down keys that are about to be removed, and return where."""
    key = key or f"{CONDEMNED}/{secrets.token_hex(8)}"
    waiting = None if waits_for is None else sorted(waits_for)
    note = _Note(sorted(keys), waiting, msgspec.convert(process_identity(), _Owner) if is_owned else None)
    folder.write(key, msgspec.json.encode(note))
    return key


class Pending(NamedTuple):
    """What keeps content whose record is on its way: its key, the id of the tracking store, and whether it is not.

    `is_lost`: this process is gone that was to make the record, and nothing of it waits to be sent.
    """

    key: str
    store: str
    is_lost: bool


def note_pending(folder: Folder, key: str, store: str, spills: list[str] | None) -> str:
    """Keep content whose record is on its way to the store of this id; return the note, to remove once it is there.

    `spills`: the folders in which the record may wait; None where nobody knows.
    """
    note = f"{PENDING}/{secrets.token_hex(8)}"
    owner = None if spills is None else msgspec.convert(process_identity(), _Owner)
    folder.write(note, msgspec.json.encode(_Pending(key, store, owner, spills or [])))
    return note


def _is_lost(pending: _Pending) -> bool:
    if pending.owner is None or is_process_alive(msgspec.to_builtins(pending.owner)) is not False:
        return False
    return all(map(_is_gone, pending.spills))


def _is_gone(path: str) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        # Somebody else's: nobody knows.
        return False
    return False


def read_pending(folder: Folder) -> dict[str, Pending]:
    """Return what records that are on their way are of, by note.

    Raises CorruptArtifact: a note cannot be read, so nobody knows what it keeps.
    """
    found = {}
    for note, content in _contents(folder, folder.files(PENDING)):
        try:
            # Earlier versions wrote the key alone.
            pending = _decode_pending(content) if content[:1] == b"{" else _Pending(content.decode())
        except ValueError:
            pending = _Pending("")
        if not is_content_key(pending.key):
            raise CorruptArtifact(
                f"{folder.url}/{note.key} is damaged: it keeps content whose record is on its way, and nobody knows "
                "which. Nothing is removed: send what waits (track sync), then remove that note"
            )
        found[note.key] = Pending(pending.key, pending.store, _is_lost(pending))
    return found
