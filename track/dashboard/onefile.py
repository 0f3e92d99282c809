"""Trials in one file that is looked at without a program: what the page would ask for, thinned until it fits."""

from __future__ import annotations

import base64
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from track.dashboard.bundle import document
from track.dashboard.curves import MOST_PIECES, Planes, curves_of, pieces_for
from track.dashboard.filed import Filed
from track.dashboard.rows import Plain, page_of
from track.dashboard.source import Source, stored
from track.metrics import briefs_of
from track.persistence.protocol import Protocol
from track.rows import Row
from track.shown import cut
from track.structure import Trial

LIMIT = 5_000_000
"""Bytes of a file."""
_SPARE = 5_000
# What is packed has so many bytes, and takes so much of its room, at least; and what a curve takes beside its points.
_LEAST_ROOM, _FULL, _CURVE, _POINT = 10_000, 0.85, 25, 16
_LEAST_PIECES = 60
"""A curve in fewer pieces says too little: rather fewer runs."""
_TEXTS = (200_000, 20_000, 4_000, 1_000, 200)
"""How many letters of an output or an error are kept: the first of these with which all of them take no more than this
part of the room."""
_PART, _MOST = 0.4, 0.75
"""And what all that is not curves takes at most, before runs are left out."""
Noted = Callable[[int], tuple[str, str]]
"""Returns what is noted of a file whose long curves are in so many pieces, and the same shorter."""
_encode = msgspec.json.Encoder(enc_hook=str).encode


@dataclass(frozen=True)
class Written:
    """A document, and how much of what there is is in it.

    Attributes
    ----------
    html: str
        The document.
    runs, total: int
        How many runs it has, of how many.
    pieces: int
        In how many pieces a curve is at most; 0 where all have all of their points.
    note: str
        The same in words.
    """

    html: str
    runs: int
    total: int
    pieces: int
    note: str


def written(source: Source, limit: int = LIMIT, now: float | None = None) -> Written:
    """Return trials as a document of at most `limit` bytes: where not all of them have room, the newest.

    Raises
    ------
    ValueError
        The limit has no room for the page.
    """
    now = time.time() if now is None else now
    place = source.place
    page = len(document("", place).encode())
    room = (limit - page - _SPARE) * 3 // 4
    if room < _LEAST_ROOM:
        raise ValueError(f"limit={limit:,} has no room for the page: {page + _SPARE + 2 * _LEAST_ROOM:,} is the least")
    pages = _pages(source, now)
    total = len(pages)
    while True:
        runs, head = _listed(source, pages, room, now)
        kept = list(source.trials[total - runs :])
        counts = [brief.count for trial in kept for brief in briefs_of(trial.metrics).values()]
        pieces = pieces_for(counts, room - len(zlib.compress(_encode(head), 1)) - _CURVE * len(counts))
        if pieces >= _LEAST_PIECES or runs <= 1:
            break
        pages = pages[-max(1, runs * 3 // 4) :]
    media = _put_media(source, kept, head, counts, room)
    pieces = min(pieces, pieces_for(counts, room - len(zlib.compress(_encode(head), 1)) - _CURVE * len(counts)))
    noted = partial(_noted, runs, total, counts, now, media)
    made = _fitted(source, kept, head, noted, pieces, room)
    if max(counts, default=0) > 2 * made[0] and len(made[1]) < _FULL * room:
        # It packs better than most: there is room for more.
        more = min(MOST_PIECES, int(made[0] * 0.95 * room / len(made[1])))
        made = max(made, _fitted(source, kept, head, noted, more, room))
    pieces, packed, note = made
    title = f"{place}: {_counted(runs)}" if place else _counted(runs)
    html = document(base64.b64encode(packed).decode(), title, note)
    return Written(html, runs, total, pieces if max(counts, default=0) > 2 * pieces else 0, note)


def _put_media(
    source: Source, trials: Sequence[Trial], head: dict[str, Any], counts: Sequence[int], room: int
) -> tuple[str, str]:
    """Put into the pages what there is to look at, and return what is noted of it, and the same shorter."""
    if not any(page["media"] for page in head["pages"]):
        return "", ""
    left = room - len(zlib.compress(_encode(head), 1)) - _CURVE * len(counts)
    # Curves have half of it, and no more than all of their points take.
    shared = max(left // 2, left - _POINT * sum(counts))
    made = Filed(source, trials, head["pages"], int(max(0, shared) * _FULL))
    for page, media in zip(head["pages"], made.lists, strict=True):
        page["media"] = media
    if made.held == made.total:
        return "", ""
    part = f"{made.held:,} of {made.total:,}"
    return f"{part} images, tables and the like{', evenly over their steps' * made.is_thinned}", f"{part} media"


def _fitted(  # noqa: PLR0917 - what it is of
    source: Source, trials: list[Trial], head: dict[str, Any], noted: Noted, pieces: int, room: int
) -> tuple[int, bytes, str]:
    """Return in how many pieces long curves are, so many or as few as have room; the packed data; and what is noted."""
    while True:
        planes = Planes()
        note, short = noted(pieces)
        said = head["said"] | {"still": [short, note]}
        curves = curves_of(source, trials, pieces, planes)
        packed = _packed(head | {"said": said, "curves": curves, "planes": planes.about}, planes)
        if len(packed) <= room or pieces <= 2:
            return pieces, packed, note
        pieces = max(2, int(pieces * 0.95 * room / len(packed)))


def as_document(protocol: Protocol, trials: Sequence[Trial], limit: int = LIMIT) -> Written:
    """Return trials of a store, as `Protocol.brief_trials` returns them, as a document; see `written`."""
    return written(stored(protocol, trials), limit)


def _listed(source: Source, pages: list[Plain], room: int, now: float) -> tuple[int, dict[str, Any]]:
    """Return how many of the newest runs have room, and all that is shown of them but their curves."""
    runs = len(pages)
    while True:
        for longest in _TEXTS:
            head = _head(source, pages[len(pages) - runs :], longest, now)
            size = len(zlib.compress(_encode(head), 1))
            if size <= _PART * room:
                return runs, head
        if size <= _MOST * room or runs <= 1:
            return runs, head
        runs = max(1, min(runs - 1, int(runs * 0.95 * _MOST * room / size)))


def _pages(source: Source, now: float) -> list[Plain]:
    """Return what is known of each run, but its curves."""
    pages = []
    for trial in source.trials:
        page = page_of(trial, source.group_name, source.environment(trial))
        page |= {"host": (trial.process or {}).get("host"), "seconds": Row(trial, now=now).seconds}
        pages.append(page)
    return pages


def _head(source: Source, pages: list[Plain], longest: int, now: float) -> dict[str, Any]:
    """Return the runs as they are in the file, their texts no longer than that, and lists of packages once each."""
    packages = {"{}": 0}
    made = []
    for page in pages:
        installed = _encode(page["packages"]).decode()
        texts = {
            "packages": packages.setdefault(installed, len(packages)),
            "output": _end(page["output"], longest),
            "errors": [_end(error, longest) for error in page["errors"]],
            "description": cut(page["description"], longest),
        }
        made.append(page | texts)
    said = {"cursor": "still", "all": True, "gone": [], "store": source.place}
    return {"said": said, "pages": made, "packages": [msgspec.json.decode(one) for one in packages], "moment": now}


def _end(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"...{text[-longest:]}"


def _packed(head: dict[str, Any], planes: Planes) -> bytes:
    said = _encode(head)
    return zlib.compress(b"".join((struct.pack("<I", len(said)), said, *planes.parts)), 9)


def _noted(  # noqa: PLR0917 - all that is said
    runs: int, total: int, counts: Sequence[int], now: float, media: tuple[str, str], pieces: int
) -> tuple[str, str]:
    """Return what somebody should know of the file, and the same shorter."""
    day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    long, short = [f"as it was on {day}"], [f"as of {day}"]
    if runs < total:
        long.append(f"the newest {runs:,} of {total:,} runs: more had no room")
        short.append(f"the newest {runs:,} of {total:,} runs")
    thinned = sum(count > 2 * pieces for count in counts)
    if thinned:
        long.append(
            f"{thinned:,} of {len(counts):,} curves have more than {2 * pieces:,} points and are in {pieces:,} pieces, "
            "each with its least, mean and greatest value"
        )
        short.append(f"long curves in {pieces:,} pieces")
    return "; ".join(filter(None, [*long, media[0]])), " · ".join(filter(None, [*short, media[1]]))


def _counted(runs: int) -> str:
    return "1 run" if runs == 1 else f"{runs:,} runs"
