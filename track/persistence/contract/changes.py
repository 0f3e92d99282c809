"""Which trials have changed since somebody looked: by a sum of what each is, or by the numbers of their changes."""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from track.serialization import to_json
from track.structure import Status, Trial

Changes = tuple[str, list[str]]
"""A cursor, and the uids of the trials that changed, oldest first."""
_SUMS = "sums:"
_NAME, _SUM = 6, 6
_FIRST, _LONGEST, _FEW = 1 << 10, 1 << 16, 200
_encode = msgspec.json.Encoder(order="deterministic").encode


# by sums: correct for every backend, and as slow as a fetch of everything


def is_of_sums(cursor: str | None) -> bool:
    """Return whether a cursor is one of `changes_by_sums`."""
    return cursor is not None and cursor.startswith(_SUMS)


def changes_by_sums(since: str | None, trials: Iterable[Trial]) -> Changes:
    """Return which of all trials are not as they were; the cursor holds a sum of each, 16 characters a trial."""
    known = _known_sums(since)
    new, changed = bytearray(), []
    for trial in trials:
        name, total = _digest(trial.uid.encode(), _NAME), _digest(_content(trial), _SUM)
        new += name + total
        if known.get(name) != total:
            changed.append(trial.uid)
    return _SUMS + b64encode(new).decode(), changed


def _known_sums(since: str | None) -> dict[bytes, bytes]:
    if since is None or not since.startswith(_SUMS):
        return {}
    try:
        data = b64decode(since.removeprefix(_SUMS), validate=True)
    except (binascii.Error, ValueError):
        return {}
    places = range(0, len(data) - len(data) % (_NAME + _SUM), _NAME + _SUM)
    return {data[place : place + _NAME]: data[place + _NAME : place + _NAME + _SUM] for place in places}


def _digest(data: bytes, size: int) -> bytes:
    return hashlib.blake2b(data, digest_size=size).digest()


def _content(trial: Trial) -> bytes:
    document: dict[str, Any] = to_json(trial)
    # That a process died is no event: what it has said counts.
    said = [process.get("status") for process in trial.processes if isinstance(process, dict)]
    if not trial.is_set and any(status and status[0] == Status.Running.name for status in said):
        document["status"] = None
    return _encode(document)


# by numbers: each change takes the next one, outside of its transaction, and is seen when that ends


class _Window(NamedTuple):
    """What a reader has seen. Below `settled` no number will appear any more, below `middle` none from some time on.

    `at`: since when `middle` is the newest number, unix seconds. `seen`: a bit for each number after `settled`.
    """

    settled: int
    middle: int
    newest: int
    at: int
    seen: int

    def has_seen(self, number: int) -> bool:
        return bool(self.seen >> max(0, number - self.settled) & 1)


def changes_by_number(
    since: str | None,
    store: str,
    newest: int,
    read: Callable[[int, list[int]], list[tuple[str, int]]],
    *,
    now: float,
    settling: float,
) -> Changes:
    """Return the trials whose numbers somebody has not seen, and that of each change is one number, at least.

    A change may show later than others with higher numbers, as it is in a transaction until then; so those of the last
    while are looked at again, and the cursor has a bit for each that was seen.

    `store`: its id: with another one a cursor is not known. `newest`: the highest number that was given. `read`:
    returns the trials with numbers above one, or with some others, with these, oldest first. `now`: unix seconds.
    `settling`: seconds after which no transaction is still running; 0 where numbers appear in their order.
    """
    known = _window(since, store)
    if known is None or known.newest > newest:
        rows, seen = read(-1, []), 0
        uids = [uid for uid, _ in rows]
        settled, middle, at = max(0, newest - (_FIRST if settling else 0)), newest, int(now)
    else:
        missing = [number for number in range(known.settled + 1, known.newest + 1) if not known.has_seen(number)]
        # Many are missing where few trials change again and again: then few have such numbers.
        rows = read(known.newest, missing) if len(missing) <= _FEW else read(known.settled, [])
        uids = [uid for uid, number in rows if not known.has_seen(number)]
        settled, middle, at = known.settled, known.middle, known.at
        if now >= at + settling:
            settled, middle, at = (middle if settling else newest), newest, int(now)
        settled = max(settled, newest - _LONGEST)
        seen = known.seen >> settled - known.settled
    for number in {number for _, number in rows if number > settled}:
        seen |= 1 << number - settled
    seen &= ~1
    fields = (settled, max(settled, middle), newest, at, seen)
    return f"{store}:{':'.join(format(field, 'x') for field in fields)}", uids


def _window(since: str | None, store: str) -> _Window | None:
    of, _, fields = (since or "").partition(":")
    if of != store or not fields.isascii():
        return None
    try:
        settled, middle, newest, at, seen = (int(field, 16) for field in fields.split(":"))
    except ValueError:
        return None
    return _Window(settled, middle, newest, at, seen) if 0 <= settled <= middle <= newest and seen >= 0 else None
