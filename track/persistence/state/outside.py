"""The files ``report.json.points-N`` beside a snapshot, which hold the points that it names."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterable, Sequence

import msgspec

from track.containers import chunks
from track.containers.chunks import ChunkFile, FileHead, Named, StoredChunk
from track.containers.stored import Stored
from track.errors import CorruptJournal
from track.utils.files import OpenFile, is_named, keep_aside, name_aside, replacing, share_alike

logger = logging.getLogger(__name__)
_HEADER = 4096


class PointsFiles:
    """The points files of one snapshot: those that it names, and the one that more is appended to.

    Parameters
    ----------
    path: str
        The snapshot's.
    named: sequence of (int, int)
        The number and size of each file that it names, the last one last.
    stores: sequence of str
        The ids of its store, its own first: a file of another one is not taken.
    """

    def __init__(self, path: str, named: Sequence[Sequence[int]] = (), stores: Sequence[str] = ()) -> None:
        self.path = path
        self.stores = list(stores)
        self.files: dict[int, ChunkFile] = {}
        """Those that the next snapshot names."""
        self._known: dict[int, ChunkFile] = {}
        self.lacking: set[int] = set()
        """The numbers of files that are missing, shorter than they are named, or of another store."""
        self._sizes = {pair[0]: pair[1] for pair in named}
        self._scratch: ChunkFile | None = None
        for number, size in named:
            file = self.files[number] = self._known[number] = self._open(number)
            if file.size < size:
                self.lacking.add(number)

    @property
    def is_used(self) -> bool:
        """Whether points are outside."""
        return bool(self.files)

    def name(self, number: int) -> str:
        """Return the path of a file."""
        return f"{self.path}.points-{number}"

    def _open(self, number: int, mode: int = os.O_RDONLY) -> ChunkFile:
        path = self.name(number)
        try:
            file = OpenFile.at(path, mode)
        except OSError:
            return ChunkFile(path, number, None)
        return ChunkFile(path, number, file if self._is_ours(file, number) else None)

    def _is_ours(self, file: OpenFile, number: int) -> bool:
        first = os.pread(file.fileno(), _HEADER, 0).partition(b"\n")[0]
        try:
            head = msgspec.json.decode(first, type=FileHead)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return False
        if head.format > chunks.FORMAT:
            path = self.name(number)
            raise CorruptJournal(
                f"{path} has format {head.format}, this version of track reads up to {chunks.FORMAT}: upgrade track"
            )
        return head.store in self.stores and head.number == number

    def stored(self, trial: str, metric: str, names: Iterable[Sequence[int]]) -> Stored:
        """Return the points of a metric that are in chunks of these names."""
        return Stored(trial, metric, [self._chunk(Named(*name)) for name in names])

    def _chunk(self, named: Named) -> StoredChunk:
        file = self._known.get(named.number)
        if file is None:
            file = self._known[named.number] = self._open(named.number)
        chunk = StoredChunk(file, named)
        if named.number in self.lacking:
            chunk.is_lost = named.offset + named.size > file.size
        return chunk

    def named(self) -> list[tuple[int, int]]:
        """Return the number and size of each file, for a snapshot that names them."""
        # One that is not whole keeps the size that it had.
        return [(number, max(file.size, self._sizes.get(number, 0))) for number, file in self.files.items()]

    # writing

    def kept(self) -> list[ChunkFile]:
        """Return the files whose chunks may be named; those of others are copied. One that is missing may come back."""
        return [file for file in self.files.values() if file.file is None or is_named(file.file.fileno(), file.path)]

    def are_gone(self) -> bool:
        """Return whether a file was removed or replaced in use: what it held must be written again."""
        gone = [file.number for file in self.files.values() if file not in self.kept()]
        for number in gone:
            del self.files[number]
        return bool(gone)

    def begin_again(self) -> None:
        """Let what is named next be in a new file."""
        taken = (int(file.rpartition("-")[2]) for file in points_files(self.path))
        number = max([*self.files, *taken], default=0) + 1
        self.files = {}
        self.create(number)

    def target(self) -> ChunkFile:
        """Return the file that chunks are appended to, which is made where there is none; the caller has the lock.

        One that is not whole is left as it is: it may be put back.
        """
        last = max(self.files, default=0)
        file = self.files.get(last)
        if file is not None and last not in self.lacking and self._reopen(file):
            return file
        number = last + 1
        if os.path.lexists(self.name(number)):
            # Of a fold that did not come to its end; or of somebody else.
            found = self._open(number, os.O_RDWR)
            if found.file is not None:
                self.files[number] = self._known[number] = found
                return found
        return self.create(number)

    def _reopen(self, file: ChunkFile) -> bool:
        """Open a file to append to it; return False where it is not the one any more that has the name."""
        assert file.file is not None
        if not is_named(file.file.fileno(), file.path):
            return False
        if isinstance(file.file, OpenFile) and file.file.mode == "rb":
            opened = OpenFile.at(file.path, os.O_RDWR)
            if not os.path.samestat(os.fstat(opened.fileno()), os.fstat(file.file.fileno())):
                return False
            file.file = opened
        return True

    def create(self, number: int) -> ChunkFile:
        """Return a new file, with its head, with owner, group and mode of the snapshot."""
        path = self.name(number)
        if os.path.lexists(path):
            logger.warning("%s is of another store: it is kept as %s", path, keep_aside(path))
        self._sizes.pop(number, None)
        head = msgspec.json.encode(FileHead(chunks.FORMAT, self.stores[0], number)) + b"\n"
        with replacing(path, temporary=f"{path}.tmp") as file:
            with contextlib.suppress(FileNotFoundError):
                share_alike(file.fileno(), os.stat(self.path))
            file.write_all(head)
        made = self.files[number] = self._known[number] = ChunkFile(path, number, file)
        return made

    def scratch(self) -> ChunkFile:
        """Return a file without a name, for points that must not stay in memory; it is gone with those who read it."""
        if self._scratch is None:
            descriptor, path = tempfile.mkstemp(prefix="track-")
            os.unlink(path)
            self._scratch = ChunkFile(path, 0, OpenFile(descriptor, "r+"))
        return self._scratch

    def after_fork(self) -> None:
        """In a child: the parent goes on in its scratch file."""
        self._scratch = None

    def flush(self) -> None:
        """Make what was appended survive a loss of power."""
        for file in self.files.values():
            file.flush()


def points_files(path: str) -> list[str]:
    """Return the points files beside a snapshot, whoever names them."""
    folder, begin = os.path.dirname(path), f"{os.path.basename(path)}.points-"
    with contextlib.suppress(OSError):
        names = [name for name in os.listdir(folder or ".") if name.startswith(begin)]
        return sorted(os.path.join(folder, name) for name in names if name.removeprefix(begin).isdecimal())
    return []


def put_aside_points(path: str) -> list[str]:
    """Give the points files beside a snapshot that is gone a name that nobody reads, ``*.left-N``; return these."""
    left = []
    for file in points_files(path):
        left.append(name_aside(file))
        os.rename(file, left[-1])
    return left
