"""What the buckets of many trials are made of, read from the rows of a database in few statements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from track.persistence.buckets import Question
from track.persistence.sql.database import Row
from track.persistence.sql.where import MOST
from track.persistence.state import Measured
from track.plain import restore

Rows = Callable[..., list[Row]]
"""Returns the rows that a statement with parameters selects."""
_decode = msgspec.json.decode


def stamps_of(rows: Rows, is_numbered: bool, uids: Sequence[str]) -> dict[str, Any]:
    """Return by uid what is another one after each change of a trial; those that are not stored are left out."""
    number = "changed" if is_numbered else "0"
    return {uid: stamp for uid, *stamp in _chosen(rows, f"uid, points, {number}", uids)}


def measured_of(
    rows: Rows, columns_of: Callable[..., dict[str, Any]], question: Question, uids: Sequence[str]
) -> dict[str, Measured]:
    """Return the metrics of trials that a question is about, and when each was started, where that matters."""
    containers = {name: columns_of(name, uids, question.x in {"time", "wall"}) for name in question.names}
    started: dict[str, float] = {}
    if question.x == "time":
        for uid, document in _chosen(rows, "uid, document", uids):
            started[uid] = float(restore((_decode(document).get("timestamps") or {}).get("started", 0.0)))
    return {
        uid: Measured({name: found[uid] for name, found in containers.items() if uid in found}, started.get(uid, 0.0))
        for uid in uids
    }


def _chosen(rows: Rows, columns: str, uids: Sequence[str]) -> Iterator[Row]:
    """Yield columns of the rows of some trials."""
    for begin in range(0, len(uids), MOST):
        part = uids[begin : begin + MOST]
        marks = ", ".join("?" * len(part))
        yield from rows(f"SELECT {columns} FROM trials WHERE uid IN ({marks})", *part)  # noqa: S608
