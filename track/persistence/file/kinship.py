"""Whether a snapshot and a journal belong together, and whether a store is a copy of one that is still there.

A snapshot says how far it holds which journal, with a sum of the bytes before that place. A journal says of which store
it is and which place of which journal it goes on from. So a file that was put back alone, or copied while a run wrote,
is known for what it is.
"""

from __future__ import annotations

import contextlib
import enum
import os
import re
import zlib
from collections.abc import Sequence
from typing import Any

import msgspec

from track.errors import BackendUnavailable
from track.persistence.state import read_head
from track.utils.mounts import keeps_numbers, numbers_of

_HEAD = 1 << 16
_TAIL = 1 << 12
_STORE = re.compile(rb'"store"\s*:\s*"([0-9a-f]{32})"')


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """A place in a journal: its id, a byte offset, its number among those of the store, a sum of what is before."""

    id: str = ""
    offset: int = 0
    number: int = 0
    tail: str = ""


class Header(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="event", tag="journal"):
    """The first line of a journal: which one it is, in which format, of which store, and what it goes on from.

    `home`, `origin`: where the store was, and by which numbers its files were known, if there was no snapshot yet.
    `number`: among the journals of the store; 0 in those of before they were numbered. `follows`: the journal before
    it, up to where the snapshot holds that.
    """

    format: int
    id: str
    store: str = ""
    home: str = ""
    number: int = 0
    follows: Place | None = None
    origin: dict[str, str] = {}


class Kin(enum.Enum):
    """How a journal is related to the snapshot beside it."""

    SAME = "is held by the snapshot up to some place"
    NEXT = "goes on from where the snapshot ends"
    LATER = "goes on from a newer snapshot than this one"
    SHORT = "has lost its end, which the snapshot holds"
    OLDER = "is older than the snapshot, which holds what was in it"
    STRANGER = "is another store's, or of a copy that has gone its own way"

    @property
    def is_read(self) -> bool:
        """Whether what it holds is added to what the snapshot holds."""
        return self not in (Kin.OLDER, Kin.STRANGER)

    def warning(self, path: str) -> str:
        """Return what a person must know, and can do; '' where all is as it should be."""
        journal = f"{path}.journal"
        aside = f"the next run keeps it as {journal}.left-N; put the {os.path.basename(path)} back that it belongs to"
        return {
            Kin.LATER: (
                f"{path} is older than {journal}: what was logged in between is in neither; if you have the newer "
                f"{os.path.basename(path)}, put it back before the next run"
            ),
            Kin.OLDER: f"{journal} {self.value}, {path}: it is not read; {aside}, if not",
            Kin.STRANGER: f"{journal} does not belong to {path}: it {self.value}; it is not read; {aside}, if not",
        }.get(self, "")


def kinship(held: Place, names: Sequence[str], header: Header, size: int, descriptor: int) -> Kin:
    """Return how a journal is related to a snapshot.

    `held`: what the snapshot holds. `names`: the ids of its store, its own first; empty where it has none. `size`,
    `descriptor`: of the journal.
    """
    if header.store and names and header.store not in names:
        return Kin.STRANGER
    if not held.id:
        # What `save` wrote to another name holds nobody knows how much of a journal of the store that it is a copy of.
        if header.store and names and header.store != names[0]:
            return Kin.STRANGER
        # Emptied: the one that the journal goes on from said what it holds.
        return Kin.NEXT if header.follows is None else Kin.LATER
    if held.id == header.id:
        if held.offset > size:
            return Kin.SHORT
        return Kin.SAME if held.tail in ("", tail_of(descriptor, held.offset)) else Kin.STRANGER
    if header.follows is not None and header.follows.id == held.id:
        if header.follows.offset == held.offset:
            return Kin.NEXT
        return Kin.LATER if header.follows.offset > held.offset else Kin.STRANGER
    # One of them is of before there were numbers.
    if not (header.number and held.number):
        return Kin.NEXT
    if header.number == held.number:
        return Kin.STRANGER
    return Kin.LATER if header.number > held.number else Kin.OLDER


def replaced_in_use(path: str) -> BackendUnavailable:
    """Return the error of a store whose snapshot was replaced while a process writes to its journal."""
    return BackendUnavailable(
        f"{path} was replaced while a process writes to {path}.journal: end that process, or move the file away, and "
        "it writes its own again"
    )


def tail_of(descriptor: int, offset: int) -> str:
    """Return a sum of the bytes of a journal before an offset, the last few thousand."""
    start = max(0, offset - _TAIL)
    return f"{zlib.crc32(os.pread(descriptor, offset - start, start)):08x}"


def place_of(document: Any) -> Place:
    """Return what a snapshot says that it holds; nothing, where it does not say so in our words."""
    with contextlib.suppress(msgspec.MsgspecError):
        place = msgspec.convert(document, Place)
        return place if place.offset >= 0 else Place()
    return Place()


def head_of(path: str) -> tuple[str, Place]:
    """Return the id of the store that a snapshot is of, and what it holds, as the beginning of its file says."""
    head = read_head(path)
    return str(head.get("store", "")), place_of(head)


def is_copy(path: str, home: str, identity: str) -> bool:
    """Return whether a store is a copy: the file that it was made as is another one, and still there."""
    if not home or home == path or not identity or _is_same(path, home):
        return False
    if os.path.exists(home):
        return head_of(home)[0] == identity
    found = _STORE.search(_beginning(f"{home}.journal").partition(b"\n")[0])
    return found is not None and found[1].decode() == identity


def origin_of(path: str, kind: str, snapshot: str = "") -> dict[str, str]:
    """Return the numbers by which the files of a store are known, where this kind of file system keeps them.

    `snapshot`: the file that takes the place of the one at `path`.
    """
    if not keeps_numbers(kind):
        return {}
    path = os.path.realpath(path)
    return numbers_of(os.path.dirname(path), snapshot=snapshot or path, journal=f"{path}.journal", lock=f"{path}.lock")


def _is_same(one: str, other: str) -> bool:
    """Return whether two paths lead to one store, as where a folder or a file is mounted twice."""
    if os.path.basename(one) == os.path.basename(other):
        one, other = os.path.dirname(one), os.path.dirname(other)
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _beginning(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(_HEAD)
    except OSError:
        return b""
