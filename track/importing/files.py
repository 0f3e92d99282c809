"""Reading a folder that anybody may have written: no link is followed, no pipe is opened, no length is believed."""

from __future__ import annotations

import io
import json
import os
import stat
import zlib
from collections.abc import Iterator
from typing import Any

import msgspec

from track.errors import IncompatibleYmlException, MissingExtra, TrackError, UnsafePath
from track.importing.report import Report
from track.shape import MOST_YAML
from track.shape import checked as checked_shape
from track.utils.files import is_below

_MOST_FILES = 1_000_000
_DEEPEST = 64
_CHUNK = 1 << 18


class Folder:
    """A folder and what is below it, for reading; links with an expected name are passed over without a word."""

    def __init__(self, path: str, report: Report, expected: frozenset[str] = frozenset()) -> None:
        self.path = path
        self._report = report
        self._expected = expected

    def files(self, below: str = "") -> list[str]:
        """Return the paths of the files below a path in the folder, relative and in order."""
        found: list[str] = []
        self._walk(below, _DEEPEST, found)
        return found

    def _walk(self, below: str, deepest: int, found: list[str]) -> None:
        for entry in self.entries(below):
            name = f"{below}/{entry.name}" if below else entry.name
            if entry.is_symlink():
                if entry.name not in self._expected:
                    self._report.leave("file", "is a link, and none is followed", name)
            elif entry.is_dir(follow_symlinks=False):
                if deepest:
                    self._walk(name, deepest - 1, found)
                else:
                    self._report.leave("folder", f"is more than {_DEEPEST} folders deep", name)
            elif not entry.is_file(follow_symlinks=False):
                self._report.leave("file", "is a pipe, a socket or a device", name)
            elif len(found) >= _MOST_FILES:
                self._report.leave("file", f"is one of more than {_MOST_FILES:,}", name)
            else:
                found.append(name)

    def entries(self, below: str = "") -> list[os.DirEntry[str]]:
        """Return what is in a folder, by name; nothing where it cannot be read, which is counted."""
        try:
            with os.scandir(self.at(below) if below else self.path) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except (OSError, UnsafePath) as error:
            self._report.damage(_reason(error), below)
            return []

    def folders(self, below: str = "") -> list[str]:
        """Return the names of the folders in a folder, in order."""
        found = []
        for entry in self.entries(below):
            if entry.is_symlink():
                self._report.leave("file", "is a link, and none is followed", f"{below}/{entry.name}".lstrip("/"))
            elif entry.is_dir(follow_symlinks=False):
                found.append(entry.name)
        return found

    def at(self, name: str) -> str:
        """Return the path of a name in the folder; UnsafePath where it, or a link, leads out."""
        path = os.path.join(self.path, name)
        if "\0" in name or os.path.isabs(name) or ".." in name.split("/") or not is_below(self.path, path):
            raise UnsafePath(f"{name!r} leads out of the source")
        return path

    def has(self, name: str) -> bool:
        """Return whether a file is there, and no link."""
        try:
            return stat.S_ISREG(os.lstat(self.at(name)).st_mode)
        except (OSError, UnsafePath):
            return False

    def size(self, name: str) -> int:
        """Return the bytes of a file, 0 where it is not there."""
        try:
            return os.lstat(self.at(name)).st_size
        except (OSError, UnsafePath):
            return 0

    def open(self, name: str) -> io.BufferedReader:
        """Return an open file; OSError or UnsafePath where it is no file."""
        return open_file(self.at(name))

    def read(self, name: str, most: int = MOST_YAML) -> bytes | None:
        """Return what is in a file; None where it is not there, or cannot be read, which is counted."""
        try:
            with self.open(name) as file:
                if os.fstat(file.fileno()).st_size > most:
                    self._report.damage(f"has more than {most:,} bytes", name)
                    return None
                return file.read(most)
        except FileNotFoundError:
            return None
        except (OSError, UnsafePath) as error:
            self._report.damage(_reason(error), name)
            return None

    def json(self, name: str) -> Any:
        """Return the data of a file of JSON, None where there is none."""
        text = self.read(name)
        if text is None:
            return None
        try:
            return read_json(text, name)
        except (ValueError, RecursionError):
            self._report.damage("is no JSON", name)
            return None

    def yaml(self, name: str, is_needed: bool = False) -> Any:
        """Return the plain data of a file of YAML, None where there is none.

        Raises MissingExtra: PyYAML is not installed, and the file is needed.
        """
        from track.yaml12 import load

        text = self.read(name)
        if text is None:
            return None
        try:
            return load(text.decode("utf-8-sig"), name)
        except MissingExtra:
            if is_needed:
                raise
            self._report.leave("file", "is YAML, which needs PyYAML (the extra experiments)", name)
            return None
        except (IncompatibleYmlException, UnicodeDecodeError) as error:
            self._report.damage("is no YAML of plain data", f"{name}: {error}")
            return None


def open_file(path: str) -> io.BufferedReader:
    """Return an open file; OSError where it is a link, UnsafePath where it is a pipe or a device."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnsafePath(f"{path} is no file")
    return io.BufferedReader(io.FileIO(descriptor, "r"), 1 << 20)


def checksum_of(path: str) -> str:
    """Return what is another one once the content of a file is; '' where it cannot be read."""
    found = 0
    try:
        with open_file(path) as file:
            while chunk := file.read(_CHUNK):
                found = zlib.crc32(chunk, found)
    except (OSError, UnsafePath):
        return ""
    return f"{found:08x}"


def lines(file: Any, longest: int) -> Iterator[bytes | None]:
    """Yield the lines of a file; None for one that is longer than `longest` bytes."""
    rest, is_long = b"", False
    while chunk := file.read(_CHUNK):
        first, *others = chunk.split(b"\n")
        rest += first
        if len(rest) > longest:
            rest, is_long = b"", True
        if not others:
            continue
        yield None if is_long else rest
        is_long = False
        rest = others.pop()
        yield from others
    if rest or is_long:
        yield None if is_long else rest


def read_json(text: bytes | str, place: str = "the text") -> Any:
    """Return the data of a text of JSON, with NaN and Infinity as Python writes them; ValueError where it is none."""
    raw = text.encode() if isinstance(text, str) else text
    try:
        data = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        data = json.loads(raw)
    try:
        return checked_shape(data, raw, place)
    except TrackError as error:
        raise ValueError(str(error)) from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "leads out of the source, or is no file"
