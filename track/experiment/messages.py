"""Which message is kept when there is one already, the latest, the least, the greatest; and which notes there are."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from track.errors import InvalidCall, InvalidKeep
from track.plain import to_number
from track.shown import shown, text_of

logger = logging.getLogger(__name__)
KEEPS = ("latest", "min", "max")


class Offer(NamedTuple):
    """Messages that are stored where the rule says so; `leader` decides for all, else each for itself."""

    values: Mapping[str, Any]
    keep: str
    leader: str | None
    step: Any = None

    @property
    def groups(self) -> list[tuple[str, dict[str, Any]]]:
        """What is stored together, or not, each with the name of the one that decides."""
        if self.leader is not None:
            return [(self.leader, dict(self.values))]
        return [(name, {name: value}) for name, value in self.values.items()]


def make_offer(messages: Any, keep: str, leader: str | None, step: Any = None) -> Offer:
    """Return messages as they are kept: numbers, texts, truth values and nothing.

    Raises InvalidKeep: there is no such rule; InvalidCall (a ValueError): the leader is none of the messages, or they
    are no mapping.
    """
    if keep not in KEEPS:
        raise InvalidKeep(f"keep is one of {', '.join(KEEPS)}, not {keep!r}")
    try:
        given = dict(messages)
    except (TypeError, ValueError) as error:
        raise InvalidCall(
            f"message takes values by subject, as in message({{'loss': 0.5}}), not {shown(messages)}"
        ) from error
    values = {text_of(name): _as_message(value) for name, value in given.items()}
    if leader is not None and leader not in values:
        raise InvalidCall(f"the leader {leader!r} is none of the messages: {', '.join(values) or 'there are none'}")
    return Offer(values, keep, leader, step)


def _as_message(value: Any) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    number = to_number(value)
    if number is not None:
        return number
    if isinstance(value, str):
        return str.__str__(value)
    try:
        return float(value)
    except Exception:  # noqa: BLE001 - whatever an object does when it is asked; its text is kept
        return text_of(value)


def is_kept(new: Any, stored: Any, keep: str) -> bool:
    """Return whether a message takes the place of the one that is stored, None for none.

    A tie is taken; NaN never beats a number, and any number beats it; where two cannot be compared, the latest counts.

    Examples
    --------
    >>> nan = float("nan")
    >>> is_kept(1, 1.0, "max"), is_kept(1, 2, "max"), is_kept(nan, 1, "min"), is_kept(1, nan, "min")
    (True, False, False, True)
    """
    if keep == "latest" or stored is None or stored != stored:
        return True
    if new is None or new != new:
        return False
    if isinstance(new, str) != isinstance(stored, str):
        logger.warning("the message %r cannot be compared with %r, which was kept: the latest is", new, stored)
        return True
    return bool(new <= stored if keep == "min" else new >= stored)


def applied(offer: Offer, stored: dict[str, Any]) -> dict[str, Any]:
    """Return what of an offer is kept, given what is stored; nothing is changed."""
    kept: dict[str, Any] = {}
    for name, group in offer.groups:
        if is_kept(group[name], stored.get(name), offer.keep):
            kept |= group
    return kept


def query_of(new: Any, path: str, keep: str) -> dict[str, Any] | None:
    """Return the query that a trial matches where `is_kept` says so of what is stored at a path; None for always."""
    if keep == "latest":
        return None
    if new is None or new != new:
        # It takes the place of nothing, and of another NaN: what is not comparable with zero.
        return {"$not": {"$or": [{path: {"$lte": 0}}, {path: {"$gte": 0}}, {path: {"$gte": ""}}]}}
    return {"$not": {path: {"$gt" if keep == "max" else "$lt": new}}}


def changed_notes(known: list[str], text: str, remove: bool) -> tuple[list[str], bool]:
    """Return notes with one more, or less, and whether that could be done."""
    if not remove:
        return [*known, text], True
    if text not in known:
        return known, False
    return [note for note in known if note != text], True
