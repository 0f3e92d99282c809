"""What data in a file may look like that anybody may have written: how large, how deep, how often repeated."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from track.errors import CorruptJournal

MOST_YAML = 64 << 20
"""Bytes of YAML that another program wrote: reading it takes a second a megabyte."""
_DEEPEST = 100
_MOST_REPEATED = 1_000_000
# Longer numbers, whose parts YAML multiplies by 60, take for ever.
_LONGEST_NUMBER = 5000


def checked(data: Any, text: bytes, place: str) -> Any:
    """Return data that were read from a text of JSON; CorruptJournal where they are nested too deeply."""
    # There are at least as many brackets as levels.
    if text.count(b"{") + text.count(b"[") <= _DEEPEST:
        return data
    level, depth = [data], 0
    while level := [item for value in level for item in _items(value)]:
        depth += 1
        if depth > _DEEPEST:
            raise _too_deep(place)
    return data


def _items(value: Any) -> Iterable[Any]:
    found = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [item for item in found if isinstance(item, (dict, list))]


def _too_deep(place: str) -> CorruptJournal:
    return CorruptJournal(f"{place} cannot be read: it is nested more than {_DEEPEST} levels deep")


def check_events(events: Iterable[Any], place: str) -> None:
    """Raise CorruptJournal where a text of YAML, as PyYAML's events, stands for more than a program should hold.

    An alias counts as all that it stands for: "a billion laughs" are a few lines, and so are maps that are merged.
    """
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    total = repeated = 0
    for event in events:
        kind = type(event).__name__
        anchor = getattr(event, "anchor", None)
        if kind.endswith("EndEvent") and kind[0] in "SM" and not kind.startswith("Stream"):
            name, before = open_nodes.pop()
            if name is not None:
                sizes[name] = total - before
        elif kind in ("SequenceStartEvent", "MappingStartEvent"):
            if len(open_nodes) >= _DEEPEST:
                raise _too_deep(place)
            open_nodes.append((anchor, total))
            if anchor is not None:
                sizes.pop(anchor, None)
            total += 1
        elif kind == "AliasEvent":
            if any(name == anchor for name, _ in open_nodes):
                raise CorruptJournal(f"{place} cannot be read: *{anchor} contains itself")
            size = sizes.get(anchor or "", 1)
            total, repeated = total + size, repeated + size
            if repeated > _MOST_REPEATED:
                raise CorruptJournal(f"{place} cannot be read: its aliases repeat more than {_MOST_REPEATED:,} values")
        elif kind == "ScalarEvent":
            _check_scalar(event.value, place)
            total += 1
            if anchor is not None:
                sizes[anchor] = 1


def _check_scalar(text: str, place: str) -> None:
    if len(text) > _LONGEST_NUMBER and not text.strip("0123456789:_.+-"):
        raise CorruptJournal(f"{place} cannot be read: a number in it has {len(text):,} digits")
