"""What a trial has measured as one text of its document, which a listing reads instead of a part for each name.

The text is JSON: the version of the document that it was written with, the times of the trial, and what its metrics
come to, by name; null is what only the points say. Where the document has another version, a version of the library
that does not write the text has changed it since.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from track.briefs import Brief, brief_from_plain
from track.persistence.mongo.client import Document

_decode = msgspec.json.Decoder(tuple[int, dict[str, Any], dict[str, Any]]).decode
_FIELDS = {"times": "state", "metrics": "brief"}


def measured_text(version: int, series: Iterable[Document]) -> str:
    """Return what is known of a trial's names as one text, for a document of this version."""
    found: dict[str, list[str]] = {kind: [] for kind in _FIELDS}
    for known in series:
        kind = known["kind"]
        # All of it is JSON already.
        said = known.get(_FIELDS[kind]) if known.get("briefed") == known["count"] else None
        found[kind].append(f"{known['name']}:{said or 'null'}")
    times, metrics = (",".join(found[kind]) for kind in _FIELDS)
    return f"[{version},{{{times}}},{{{metrics}}}]"


def is_measured(document: Document) -> bool:
    """Return whether a document says in its text what the trial has measured."""
    return str(document.get("measured", "")).startswith(f"[{document['version']},")


def times_said(measured: str) -> dict[str, Any] | None:
    """Return the times of a trial as plain data; None where the points must be read."""
    times = _decode(measured)[1]
    return None if None in times.values() else times


def briefs_said(measured: str) -> dict[str, Brief] | None:
    """Return what the metrics of a trial come to; None where the points must be read."""
    briefs = _decode(measured)[2]
    return None if None in briefs.values() else {name: brief_from_plain(plain) for name, plain in briefs.items()}
