"""Events that a store did not take: they are kept beside the spill, and are sent again when somebody asks for that."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from track.persistence.delivery.segment import Claim
from track.persistence.file import Journal


class _Note(msgspec.Struct):
    number: int
    error: str
    event: msgspec.Raw
    store: str = ""


class Refused:
    """A file of events that a store refused, each with its number and the reason.

    `path`: ``<writer>.refused``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def notes(self) -> Iterator[tuple[bytes, str]]:
        """Yield the line of each event, and why it was refused."""
        for note in self._notes():
            yield bytes(note.event) + b"\n", note.error

    @property
    def store(self) -> str:
        """The id of the store that refused them, ``""`` where it is not noted."""
        return next((note.store for note in self._notes()), "")

    def _notes(self) -> Iterator[_Note]:
        for line in self.path.read_bytes().splitlines():
            # One that is torn is in the spill still.
            with contextlib.suppress(msgspec.MsgspecError):
                yield msgspec.json.decode(line, type=_Note)

    def reasons(self) -> dict[str, int]:
        """Return how many events were refused for each reason."""
        found: dict[str, int] = {}
        for _, reason in self.notes():
            found[reason] = found.get(reason, 0) + 1
        return found

    def release(self) -> bool:
        """Make it a spill that waits to be sent, and return whether that was done: not while its process lives."""
        name = self.path.name.rpartition("-")[0]
        claim = Claim.take(self.path.parent / f"{name}.lock")
        if claim is None:
            return False
        try:
            self._make_spill()
        finally:
            claim.give_back(remove=not list(self.path.parent.glob(f"{name}-*.journal")))
        return True

    def _make_spill(self) -> None:
        # The writer is named by what it has: should this end in the middle, it is the same one the next time.
        writer = hashlib.sha256(self.path.read_bytes()).hexdigest()[:16]
        target = self.path.parent / f"{writer}-000000.journal"
        unfinished = Path(f"{target}.new")
        unfinished.unlink(missing_ok=True)
        journal = Journal(str(unfinished))
        journal.store = self.store
        journal.open()
        for line, _ in self.notes():
            journal.append(line)
        is_whole = not journal.backlog
        journal.close()
        if not is_whole:
            unfinished.unlink()
            raise OSError(f"there is no room for {target}")
        os.replace(unfinished, target)
        self.path.unlink()


def refused_in(folder: Path) -> list[Refused]:
    """Return the files of refused events in a folder of spills."""
    return [Refused(path) for path in sorted(folder.glob("*.refused"))]
