"""What runs have logged to be looked at: a list of it, and what of it a browser cannot read by itself."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from track.artifacts import artifacts
from track.dashboard.answers import Answer, Refused, json_answer, plain_number
from track.dashboard.files import of_run
from track.errors import CorruptArtifact, NotFound, TrackError
from track.media import Histogram, Medium, framed, media_in, said_of
from track.persistence.protocol import Protocol
from track.persistence.utils import mask_secrets
from track.shown import cut, text_of
from track.structure import Trial

_MOST = 5_000
_LONGEST_NAME = 300
_LONGEST_TEXT = 100_000
_MOST_ROWS = 200
_LONGEST_CELL = 200
_MOST_COLUMNS = 60
_LARGEST = 64 << 20
_ACROSS = 120
_DOWN = 48
_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; frame-ancestors 'self'"
)


def listed(trial: Trial) -> tuple[list[dict[str, Any]], int]:
    """Return what a run has logged last to be looked at, in its order, each with what tells the page how.

    And how many came before these, which are too many for a page.
    """
    found = []
    sketches: dict[tuple[str, int], Any] = {}
    for line in trial.artifacts:
        said = said_of(line.get("media")) if isinstance(line, dict) else None
        if said is None:
            continue
        place = (str(line.get("name")), said.index)
        if said.thumb:
            # It comes before what it is of.
            sketches[place] = line.get("digest")
            continue
        thumb = None if said.type.startswith("image/") else sketches.get(place)
        found.append(({} if thumb is None else {"thumb": thumb}) | {
            "name": cut(text_of(line.get("name")), _LONGEST_NAME),
            "kind": said.kind,
            "type": said.type,
            "step": plain_number(line.get("step")),
            "caption": said.caption,
            "digest": line.get("digest"),
        })  # fmt: skip
    return found[-_MOST:], max(0, len(found) - _MOST)


def medium_answer(protocol: Protocol, uid: str, digest: str) -> Answer:
    """Return a text, or the first rows of a table, that a run has logged; `Refused` where there is none."""
    medium = _medium(protocol, uid, digest)
    try:
        return json_answer(shown_of(medium))
    except (TrackError, OSError, ValueError) as error:
        raise _refused(error) from error


def shown_of(medium: Medium) -> dict[str, Any]:
    """Return what is shown of a text, or of a table; TrackError or ValueError where it cannot be read."""
    if medium.kind != "table":
        return {"text": cut(medium.text, _LONGEST_TEXT)}
    columns, rows, left = medium.first_rows(_MOST_ROWS, _MOST_COLUMNS)
    return {"columns": columns, "rows": [list(map(_cell, row)) for row in rows], "left": left}


def html_answer(protocol: Protocol, uid: str, digest: str) -> Answer:
    """Return a page that a run has logged, for a frame in which it may do nothing; `Refused` where there is none."""
    medium = _medium(protocol, uid, digest, "html")
    if medium.kind != "html":
        raise Refused(404, "this is no page")
    try:
        data = framed(medium.text).encode()
    except (TrackError, OSError) as error:
        raise _refused(error) from error
    headers = (("Content-Security-Policy", _POLICY), ("X-Frame-Options", "SAMEORIGIN"))
    return Answer(200, data, "text/html; charset=utf-8", headers)


def histograms_answer(protocol: Protocol, uid: str, name: str) -> Answer:
    """Return the histograms of a name in one grid: a row of counts a step, between the least and the greatest edge."""
    trial = next(iter(protocol.brief_trials({"uid": uid})), None)
    lines = artifacts(protocol, {"uid": uid})
    try:
        found = [] if trial is None else media_in(trial, name, lines)
        return json_answer(grid_of(found))
    except (TrackError, OSError) as error:
        raise _refused(error) from error


def grid_of(found: Iterable[Medium]) -> dict[str, Any]:
    """Return histograms in one grid: a row of counts a step, between the least and the greatest edge."""
    kept = [medium for medium in found if medium.kind == "histogram" and (medium.size or 0) < _LARGEST]
    every = max(1, -(-len(kept) // _ACROSS))
    chosen = [*kept[::every], *([kept[-1]] if kept and (len(kept) - 1) % every else [])]
    read = [(medium.step, one) for medium in chosen if (one := _histogram(medium)) is not None]
    if chosen and not read:
        raise CorruptArtifact(f"none of the histograms {chosen[0].name!r} can be read")
    low = min((one.edges[0] for _, one in read), default=0.0)
    high = max((one.edges[-1] for _, one in read), default=1.0)
    rows = [_on_grid(one, low, high) for _, one in read]
    return {"steps": [plain_number(step) for step, _ in read], "low": low, "high": high, "rows": rows}


def _histogram(medium: Medium) -> Histogram | None:
    """Return a histogram; None where it is not what it was, or not there: the others are shown."""
    try:
        return medium.histogram
    except (CorruptArtifact, NotFound):
        return None


def _cell(value: Any) -> str:
    return cut(text_of("" if value is None else value), _LONGEST_CELL)


def _on_grid(found: Histogram, low: float, high: float) -> list[float]:
    """Return how much of a histogram is in each of some equal parts: what lies in two is shared out."""
    total = sum(found.counts) or 1
    below, so_far = [0.0], 0.0
    for count in found.counts:
        so_far += count
        below.append(so_far / total)

    def under(x: float) -> float:
        place = bisect_left(found.edges, x)
        if place <= 0 or place >= len(found.edges):
            return 0.0 if place <= 0 else 1.0
        before, after = found.edges[place - 1], found.edges[place]
        return below[place - 1] + (below[place] - below[place - 1]) * (x - before) / (after - before)

    marks = [under(low + (high - low) * place / _DOWN) for place in range(_DOWN)] + [1.0]
    return [round(after - before, 5) for before, after in pairwise(marks)]


def _medium(protocol: Protocol, uid: str, digest: str, kind: str = "") -> Medium:
    artifact = of_run(protocol, uid, digest, kind)
    if said_of(artifact.media) is None:
        raise Refused(404, "this is a file, and nothing to look at")
    if (artifact.size or 0) > _LARGEST:
        raise Refused(404, "this is too large to look at: download it")
    found = media_in(Trial(), None, [artifact])
    if not found:
        raise Refused(404, "this is a small picture of something else")
    return found[0]


def _refused(error: Exception) -> Refused:
    return Refused(404 if isinstance(error, NotFound) else 502, mask_secrets(str(error)))
