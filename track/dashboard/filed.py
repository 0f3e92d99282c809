"""What runs have logged to be looked at, in a file that holds runs: as much as has room, evenly over its steps."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from track.artifacts import Artifact
from track.dashboard.files import is_elsewhere
from track.dashboard.media import grid_of, shown_of
from track.dashboard.rows import Plain
from track.dashboard.source import Source
from track.media import Medium, framed, type_of_image, type_of_recording
from track.structure import Trial

_LARGEST = 1 << 20
_LARGEST_DRAWING = 200_000
_LEAST = 100
_WHOLE = {"image", "audio", "video"}
_PLAIN = " !$&'()*+,-./:;<=>?@[]^_`{|}~"


class Filed:
    """What of the media of some runs is in a file of them.

    Attributes
    ----------
    lists: list of list of dict
        Of each run, as its page lists them: a picture with its content as ``src``, what else is in the file with
        what is shown of it as ``held``.
    held, total: int
        How many are in the file, of how many.
    is_thinned: bool
        Whether there is no room for all steps of a name.
    """

    def __init__(self, source: Source, trials: Sequence[Trial], pages: Sequence[Plain], room: int) -> None:
        self._source = source
        self._made: dict[tuple[Any, ...], tuple[Plain, int]] = {}
        self._groups = [_by_name(page["media"]) for page in pages]
        both = zip(trials, pages, strict=True)
        self._media = [_known(source, trial) if page["media"] else {} for trial, page in both]
        self.total = sum(len(entries) for groups in self._groups for entries in groups.values())
        most = max((len(entries) for groups in self._groups for entries in groups.values()), default=0)
        longest = most
        while most > 1 and self._said_size(most) > room:
            most = most * 3 // 4
        while most > 1 and self._size(most) > room:
            most = most * 3 // 4
        self.is_thinned = most < longest
        self.held, self.lists = self._filled(most, room)

    def _said_size(self, most: int) -> int:
        """Return how large that many of each name are, as the runs say: nothing is read for it."""
        chosen = (self._media[run].get((entry["kind"], entry["digest"])) for run, entry in self._chosen(most) if entry)
        sizes = (max(medium.size or 0, _LEAST) for medium in chosen if medium and medium.kind in _WHOLE)
        return sum(size for size in sizes if size <= _LARGEST)

    def _size(self, most: int) -> int:
        return sum(self._held(run, entry)[1] for run, entry in self._chosen(most))

    def _chosen(self, most: int) -> Iterator[tuple[int, Plain]]:
        for run, groups in enumerate(self._groups):
            for (_, kind), entries in groups.items():
                for entry in entries[-1:] if kind == "histogram" else _evenly(entries, most):
                    yield run, entry

    def _filled(self, most: int, room: int) -> tuple[int, list[list[Plain]]]:
        """Return how many are held, and the lists; where not even one of each name has room, of the newest runs."""
        held, lists = 0, []
        for run in reversed(range(len(self._groups))):
            made: list[Plain] = []
            for (_, kind), entries in self._groups[run].items():
                kept = []
                for entry in entries[-1:] if kind == "histogram" else _evenly(entries, most):
                    more, size = self._held(run, entry)
                    if more and size <= room:
                        room -= size
                        kept.append(entry | more)
                held += len(entries) if kept and kind == "histogram" else len(kept)
                made += kept or entries[-1:]
            lists.append(made)
        return held, lists[::-1]

    def _held(self, run: int, entry: Plain) -> tuple[Plain, int]:
        """Return what is said of a medium in the file, nothing where it is not there, and what it takes."""
        medium = self._media[run].get((entry["kind"], entry["digest"]))
        if medium is None:
            return {}, 0
        of = (run, entry["name"]) if medium.kind == "histogram" else ()
        key = (medium.kind, entry["digest"], *of)
        if key not in self._made:
            try:
                self._made[key] = self._read(run, medium)
            except Exception:  # noqa: BLE001 - whoever writes to a store has made it; the others are shown
                # It is not where it was, or is not what was logged: the page says that it is not in the file.
                self._made[key] = {}, 0
        return self._made[key]

    def _read(self, run: int, medium: Medium) -> tuple[Plain, int]:
        if medium.kind == "histogram":
            same = (one for one in self._media[run].values() if (one.kind, one.name) == ("histogram", medium.name))
            readable = [one for one in same if _content(one.artifact, _LARGEST)]
            return _answer(grid_of(readable)) if readable else ({}, 0)
        if medium.kind in ("image", "figure"):
            return _picture(medium)
        if medium.kind in ("audio", "video"):
            return _recording(medium)
        if medium.kind == "html" and (page := _content(medium.artifact, _LARGEST)):
            return _answer({"page": framed(page.decode())})
        if medium.kind in ("text", "table") and _content(medium.artifact, _LARGEST):
            return _answer(shown_of(medium))
        return {}, 0


def _answer(said: Plain) -> tuple[Plain, int]:
    return {"held": said}, len(zlib.compress(repr(said).encode(errors="replace"), 1)) + _LEAST


def _picture(medium: Medium) -> tuple[Plain, int]:
    for artifact in filter(None, (medium.artifact, medium.thumb)):
        data = _content(artifact, _LARGEST)
        kind = type_of_image(data)
        if kind == "image/svg+xml":
            if len(data) > _LARGEST_DRAWING and medium.thumb is not None:
                continue
            # As it is, it is packed; no script in it runs.
            size = len(zlib.compress(data, 1)) + _LEAST
            return {"src": f"data:{kind},{quote(data, safe=_PLAIN)}", "type": kind}, size
        if kind is not None:
            return _embedded(data, kind)
    return {}, 0


def _recording(medium: Medium) -> tuple[Plain, int]:
    """Return a sound or a video that is small; the type is what its bytes are, whatever was said of it."""
    data = _content(medium.artifact, _LARGEST)
    kind = type_of_recording(data)
    return _embedded(data, kind) if kind is not None else ({}, 0)


def _embedded(data: bytes, kind: str) -> tuple[Plain, int]:
    return {"src": f"data:{kind};base64,{base64.b64encode(data).decode()}", "type": kind}, len(data) + _LEAST


def _content(artifact: Artifact, most: int) -> bytes:
    """Return a content that was stored; nothing where it is larger: who writes to a store has said its size."""
    if is_elsewhere(artifact) or artifact.is_directory:
        return b""
    with artifact.open() as file:
        data = file.read(most + 1)
    return data if len(data) <= most and hashlib.sha256(data).hexdigest() == artifact.digest else b""


def _known(source: Source, trial: Trial) -> dict[tuple[str, str | None], Medium]:
    found: dict[tuple[str, str | None], Medium] = {}
    for medium in source.media(trial):
        found.setdefault((medium.kind, medium.artifact.digest), medium)
    return found


def _by_name(entries: Sequence[Plain]) -> dict[tuple[str, str], list[Plain]]:
    found: dict[tuple[str, str], list[Plain]] = {}
    for entry in entries:
        found.setdefault((entry["name"], entry["kind"]), []).append(entry)
    return found


def _evenly(entries: list[Plain], most: int) -> list[Plain]:
    """Return so many, the last one among them, and with two or more the first."""
    if len(entries) <= most:
        return entries
    if most <= 1:
        return entries[-1:]
    return [entries[place * (len(entries) - 1) // (most - 1)] for place in range(most)]
