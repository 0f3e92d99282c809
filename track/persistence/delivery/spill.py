"""Events on their way to a server: local journals, and how much of them the server has acknowledged.

A process writes a spill of its own for each server: ``<folder>/<name>-000000.journal``. Beside a journal,
``.sent`` says how far it was sent, and ``.refused`` keeps what the server will never take. Events are numbered
by their place in their journal, so sending them again changes nothing. A journal that has grown and was sent
is followed by the next one, so that the disk does not fill.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import logging
import os
import secrets
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from track.configuration import options
from track.errors import CorruptJournal
from track.events import Event
from track.persistence.delivery.segment import Claim, Segment
from track.persistence.file import Journal
from track.persistence.utils import file_of, mask_secrets
from track.utils.files import absolute_path, replace_file, user_folder

logger = logging.getLogger(__name__)
_TRIES, _PAUSE = 3, 0.005
_NOTE = "uri"
_BESIDE = ".spill"


def spill_folder(uri: str) -> Path:
    """Return the folder of the spills of a server, the same for every process of this user that can write to it."""
    return spill_places(uri)[0]


def spill_places(uri: str) -> list[Path]:
    """Return the folders where spills of a server may be, as absolute paths, the best one first.

    One that is configured, or in the user's home; where that cannot be written to, beside a database that is a file;
    else, where none is configured, in the folder of temporary files.
    """
    identity = mask_secrets(uri).partition("?")[0]
    name = hashlib.sha256(identity.encode()).hexdigest()[:16]
    found = [root / name for root in _roots()]
    if path := file_of(uri):
        # Before the temporary one, which is gone at the next start of the machine, perhaps.
        found.insert(len(found) - (found[-1].parent == _temporary()), Path(f"{path}{_BESIDE}"))
    return found


def spill_folders() -> list[tuple[str, Path]]:
    """Return the servers that have spills here, as masked URIs, and their folders; but for those beside databases."""
    found = []
    for note in sorted(note for root in _roots() for note in root.glob(f"*/{_NOTE}")):
        with contextlib.suppress(OSError):
            found.append((note.read_text(encoding="utf-8"), note.parent))
    return found


def _roots() -> list[Path]:
    """Return the user's folders of spills: the one that is configured, or those in the home and the temporary one."""
    configured = options("log.spill.folder", "")
    if configured:
        return [Path(absolute_path(configured))]
    cache = user_folder("XDG_CACHE_HOME", ".cache")
    return [*([Path(cache) / "track" / "spill"] if cache else []), _temporary()]


def _temporary() -> Path:
    return Path(tempfile.gettempdir()) / f"track-spill-{os.getuid()}"


def _make_folder(folder: Path) -> None:
    """Make the folder of a server's spills; OSError where this user cannot write to it, or another one made it."""
    if folder.name.endswith(_BESIDE):
        # Whoever shares the database sends what is left here.
        folder.mkdir(parents=True, exist_ok=True)
    else:
        # What is logged is nobody else's to read.
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.parent == _temporary() and folder.parent.lstat().st_uid != os.getuid():
        raise PermissionError(errno.EPERM, "it is another user's", str(folder.parent))


class _LiveJournal(Journal):
    """A journal that goes on in another file while threads may be writing to it."""

    def move_to(self, path: str) -> weakref.ref[object]:
        """Go on in another file, which is there, and return what is alive as long as a thread writes to the old one."""
        old_path, old = self.path, self._file
        assert old is not None
        self.path = path
        try:
            self._take(self._open_named(os.O_RDWR))
        except BaseException:
            self.path = old_path
            raise
        return weakref.ref(old)

    def leave_to(self, write: Callable[[bytes], int]) -> weakref.ref[object] | None:
        """Write no more to the file: late lines go to `write`; return what is alive while a thread still writes."""
        old = self._file
        self._write, self._file, self.identity = write, None, ""
        return None if old is None else weakref.ref(old)


class Spill:
    """The events that this process has for one server.

    `uri`: the server's. `places`: where it may be, the best one first. `store`: the id of the store there, if known.
    """

    def __init__(self, uri: str, places: list[Path] | None = None, store: str = "") -> None:
        self.uri = uri
        self._places = places or spill_places(uri)
        self.folder = self._places[0]
        self.name = secrets.token_hex(8)
        self.journal = _LiveJournal(self._path(0))
        self.journal.store = store
        self.segments: list[Segment] = []
        # The file before those, which was sent: should the server lose what it has. And what of older ones it had.
        self._kept: Segment | None = None
        self._had: dict[str, int] = {}
        self._claim: Claim | None = None
        # The numbers of the file that is written and of the first one that is kept; they change together with the
        # files. A signal handler may ask for them in the middle of that.
        self._count = 0
        self._finished = 0
        self._lock = threading.RLock()

    def _path(self, number: int) -> str:
        return str(self.folder / f"{self.name}-{number:06}.journal")

    @property
    def is_open(self) -> bool:
        """Whether there is a file to write to; before that, events wait in memory."""
        return self.journal.is_open

    def open(self) -> None:
        """Create the file, and note whose it is: the masked URI, for people; OSError where that cannot be."""
        self._claim = self._claim or self._find_place()
        # After the claim, which keeps the folder: whoever removes the note of an empty one looks for claims again.
        if not (self.folder / _NOTE).exists():
            _write_note(self.folder, mask_secrets(self.uri).encode())
        self.journal.open()
        try:
            self.segments.append(Segment.open(self.journal.path))
        except BaseException:
            # What was written meanwhile is found when it is opened again.
            self.journal.close()
            raise

    def _find_place(self) -> Claim | None:
        """Take the first place that can be written to; OSError, of the best one, where none can."""
        first: OSError | None = None
        for place in self._places:
            try:
                self.folder = place
                claim = self._take_claim()
            except OSError as error:
                first = first or error
                continue
            self.journal.path = self._path(0)
            if first is not None:
                _tell_place(self.uri, self.folder, f"{self._places[0]} cannot be written to ({first.strerror})")
            return claim
        self.folder = self._places[0]
        assert first is not None
        raise first

    def _take_claim(self) -> Claim | None:
        for _ in range(_TRIES):
            _make_folder(self.folder)
            # The folder may be removed, by a process that has sent everything, until there is a claim in it.
            with contextlib.suppress(FileNotFoundError):
                return Claim.take(self.folder / f"{self.name}.lock", is_own=True)
        return Claim.take(self.folder / f"{self.name}.lock", is_own=True)

    def rotate(self) -> None:
        """Go on in another file; the old one is done when it was sent and the last thread has left it."""
        path = self._path(self._count + 1)
        new = Journal(path)
        new.store = self.journal.store
        new.open()
        segment = Segment.open(path)
        with self._lock:
            self.segments[-1].writers = self.journal.move_to(path)
            self._count += 1
            self.segments.append(segment)

    def drop_first(self) -> None:
        """Leave the oldest file, which was sent; it is kept until the next one is sent too."""
        self.forget_kept()
        with self._lock:
            self._kept = self.segments.pop(0)
            self._finished += 1

    def forget_kept(self) -> None:
        """Remove the file that was sent and is kept."""
        with self._lock:
            kept, self._kept = self._kept, None
        if kept is not None:
            self._had[kept.writer] = kept.stored
            kept.remove()

    def rewind(self) -> None:
        """Begin again with the oldest event that is kept: the server does not have all that it had acknowledged."""
        with self._lock:
            if self._kept is not None:
                self.segments.insert(0, self._kept)
                self._kept = None
                self._finished -= 1
            for segment in self.segments:
                segment.rewind()

    def count_lost(self, last: Callable[[str], int]) -> int:
        """Return how many events were sent and are not there any more, and not here either; each is counted once.

        `last`: returns the number of the last event that the server has of a writer.
        """
        lost = 0
        for writer, stored in self._had.items():
            present = min(stored, last(writer))
            lost += stored - present
            self._had[writer] = present
        return lost

    # how far

    @property
    def end(self) -> tuple[int, int]:
        """Where the next event goes: the number of the file, and a byte offset."""
        with self._lock:
            return self._count, self.journal.size if self.is_open else 0

    @property
    def acknowledged(self) -> tuple[int, int]:
        """How far the server has everything: the number of the file, and a byte offset."""
        with self._lock:
            return self._finished, self.segments[0].position[1] if self.segments else 0

    @property
    def is_waiting(self) -> bool:
        """Whether events wait in memory, because there is no room on the disk."""
        return len(self.journal.backlog) > 0

    @property
    def is_sent(self) -> bool:
        """Whether the server has acknowledged everything."""
        return self.acknowledged >= self.end and not self.is_waiting

    @property
    def size(self) -> int:
        """Bytes on the disk, without those of the file that is only kept."""
        return sum([segment.size for segment in list(self.segments)])

    @property
    def size_of_kept(self) -> int:
        """Bytes of the file that was sent and is kept."""
        with self._lock:
            return self._kept.size if self._kept is not None else 0

    def count_unsent(self) -> int:
        """Return how many events are not acknowledged, those that had to be given up included."""
        return sum(segment.count_unsent() for segment in list(self.segments)) + self.journal.backlog.unsaved

    def everything(self, start: tuple[int, int, int]) -> Iterator[tuple[int, int, list[Event], int]]:
        """Yield what is on the disk from a file, event and offset on: file, number of the first, events, offset."""
        with self._lock:
            segments, finished = list(self.segments), self._finished
        for file, segment in enumerate(segments, finished):
            number, offset = (start[1], max(start[2], segment.start)) if file == start[0] else (0, segment.start)
            if file >= start[0]:
                for events, _, after in segment.read(offset):
                    yield file, number, events, after
                    number += len(events)

    # life

    def close(self, late: Callable[[bytes], int]) -> None:
        """Leave the spill: it is removed when everything was sent; lines that come late go to `late`."""
        if not self.is_open:
            return
        self.segments[-1].writers = self.journal.leave_to(late)
        done = not self.is_waiting and all(segment.is_done() for segment in self.segments)
        self.forget_kept()
        for segment in self.segments:
            if done:
                segment.remove()
            else:
                segment.close()
        self.segments = []
        if self._claim is not None:
            self._claim.give_back(remove=done)
        if done:
            _forget_if_empty(self.folder)

    def after_fork(self) -> None:
        """In a child: the spill is the parent's."""
        self.journal.after_fork()
        for segment in [*self.segments, *([] if self._kept is None else [self._kept])]:
            segment.close()
        self.segments, self._kept = [], None
        if self._claim is not None:
            self._claim.after_fork()


@functools.cache
def _tell_place(uri: str, folder: Path, reason: str) -> None:
    logger.warning("events for %s are kept in %s until they are sent, for %s", mask_secrets(uri), folder, reason)


class Leftover:
    """The spill of a process that is gone, taken by this one."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name

    def __repr__(self) -> str:
        return f"the spill {self.folder / self.name}"

    def paths(self) -> list[Path]:
        """Return its files, oldest first."""
        return sorted(self.folder.glob(f"{self.name}-*.journal"))

    @property
    def store(self) -> str:
        """The id of the store that its events are for, as far as that is noted."""
        for path in self.paths():
            with contextlib.suppress(OSError, CorruptJournal):
                segment = Segment.open(str(path))
                segment.close()
                if segment.store:
                    return segment.store
        return ""

    @property
    def age(self) -> float:
        """Seconds since something was last written to it."""
        newest = 0.0
        for path in self.paths():
            with contextlib.suppress(FileNotFoundError):
                newest = max(newest, path.stat().st_mtime)
        return max(0.0, time.time() - newest) if newest else 0.0

    def is_alive(self) -> bool:
        """Return whether a process works on it now."""
        if not self.folder.exists():
            return False
        claim = self._take()
        if claim is not None:
            claim.give_back(remove=False)
        return claim is None

    def problem(self) -> str:
        """Return why a file of it cannot be read, ``""`` where all can."""
        for path in self.paths():
            try:
                Segment.open(str(path)).close()
            except FileNotFoundError:
                # Sent meanwhile, or never written to.
                continue
            except (OSError, CorruptJournal) as error:
                return str(error)
        return ""

    def count_unsent(self) -> int:
        """Return how many events were not acknowledged, as far as that is noted."""
        total = 0
        for path in self.paths():
            try:
                segment = Segment.open(str(path))
            except (OSError, CorruptJournal):
                continue
            total += segment.count_unsent()
            segment.close()
        return total

    @contextlib.contextmanager
    def taken(self) -> Iterator[list[Segment] | None]:
        """Give its files, oldest first, or None when somebody else has the spill."""
        claim = self._take()
        for _ in range(_TRIES):
            if claim is None:
                # Somebody may only be looking whether it is taken.
                time.sleep(_PAUSE)
                claim = self._take()
        if claim is None:
            yield None
            return
        segments: list[Segment] = []
        try:
            # Read only now: the one who had it before may have sent and removed it.
            segments += [Segment.open(str(path)) for path in self.paths()]
            yield segments
        finally:
            for segment in segments:
                segment.close()
            claim.give_back(remove=not self.paths())
            _forget_if_empty(self.folder)

    def _take(self) -> Claim | None:
        # Without its folder it was sent, by somebody else.
        with contextlib.suppress(FileNotFoundError):
            return Claim.take(self.folder / f"{self.name}.lock")
        return None


def _forget_if_empty(folder: Path) -> None:
    """Remove a folder where nothing is left but the note whose it is."""
    note = folder / _NOTE
    try:
        if [path.name for path in folder.iterdir()] != [note.name]:
            return
        text = note.read_bytes()
        note.unlink()
    except OSError:
        return
    try:
        folder.rmdir()
    except OSError:
        # Another process has begun a spill in it since, and took the note to be there.
        with contextlib.suppress(OSError):
            _write_note(folder, text)


def _write_note(folder: Path, text: bytes) -> None:
    """Write whose spills these are."""
    replace_file(str(folder / _NOTE), [text], sync=False)


def count_left_behind(places: Iterable[Path], is_ours: Callable[[str], bool]) -> int:
    """Return how many events wait in folders of spills that no process is sending, but for those of other stores."""
    return sum(left.count_unsent() for left in leftovers(*places) if not left.is_alive() and is_ours(left.store))


def _journals(folder: Path) -> list[Path]:
    try:
        return list(folder.glob("*-??????.journal"))
    except FileNotFoundError:
        # Another process has sent all that was in it, and has deleted it just now.
        return []


def leftovers(*folders: Path, own: str = "") -> list[Leftover]:
    """Return the spills of folders but for one's own, whether their processes live or not."""
    found = {(folder, path.name.rpartition("-")[0]) for folder in folders for path in _journals(folder)}
    return [Leftover(folder, name) for folder, name in sorted(found) if name != own]
