"""Rows of the table as columns: numbers as they are in memory, words once each, and nothing for what is not there."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec

from track.dashboard.answers import little_endian, plain_number
from track.dashboard.rows import FACTS, Kept, Plain, is_seed_name, name_of, value_of

_encode = msgspec.json.Encoder(enc_hook=str).encode
_LARGEST = 2**53
_PARTS = (("last", "last"), ("min", "least"), ("max", "greatest"), ("count", "count"))
_RARE = 8
"""What fewer than one of so many runs have is sent run by run."""
_NONE = type(None)


def packed(rows: Sequence[Kept], about: Plain) -> bytes:
    """Return rows as a line of JSON and planes of numbers behind it.

    The line says `about`, how many `rows` there are, and of each of the `columns` whose it is (`of`, `name`, `part`,
    whether it is a `seed`) and its `kind`: ``number`` has a plane of doubles, NaN where a run has none or ``odd``
    says, by row, what it is instead; ``word`` a plane of 32 bits with places in ``values``, from 1 on, 0 for none;
    ``list`` has all ``values`` in the line, ``one`` the ``value`` of all, ``few`` those of some ``rows``, and ``as``
    is the column at a ``place``. A plane begins at a multiple of 8 bytes, as the first one does: the line ends in
    spaces.
    """
    table = _Table(len(rows))
    for place, name in enumerate(FACTS):
        table.add({"of": "run", "name": name}, [row.facts[place] for row in rows])
    for section, values in (("parameters", [row.parameters for row in rows]), ("tags", [row.tags for row in rows])):
        for name, found in _by_name(values):
            of = {"of": section, "name": name_of(name)}
            table.add({**of, "seed": True} if section == "parameters" and is_seed_name(name) else of, found)
    for name, briefs in _by_name([row.metrics for row in rows]):
        first = len(table.columns)
        known: list[Any] = []
        for part, field in _PARTS:
            field_of = attrgetter(field)
            found = _mapped(field_of, briefs)
            same = next((place for place, one in enumerate(known) if one == found), None)
            known.append(found)
            of = {"of": "metrics", "name": name_of(name), "part": part}
            if same is None or len(table.columns) != first + len(known) - 1:
                table.add(of, found)
            else:
                table.columns.append({**of, "kind": "as", "place": first + same})
    head = _encode({**about, "rows": len(rows), "columns": table.columns})
    return b"".join([head, b" " * (-(len(head) + 1) % 8), b"\n", *table.planes])


Found = list[Any] | dict[int, Any]
"""A value a row, None for none; or the values of few rows."""


class _Word:
    """A value that equals what is written as it is."""

    __slots__ = ("key", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.key = (isinstance(value, bool), value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Word) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


class _Table:
    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.columns: list[Plain] = []
        self.planes: list[bytes] = []

    def add(self, of: Plain, values: Found) -> None:
        """Add a column, unless nothing is in it."""
        if isinstance(values, dict):
            places = [place for place, value in values.items() if value is not None]
            if places:
                known = [value_of(values[place]) for place in places]
                self.columns.append({**of, "kind": "few", "rows": places, "values": known})
            return
        kinds = set(map(type, values)) - {_NONE}
        if kinds:
            self.columns.append({**of, **(self._numbers(values) if kinds <= {int, float} else self._words(values))})

    def _numbers(self, values: list[Any]) -> Plain:
        first = values[0]
        if type(first) in {int, float} and abs(first) < _LARGEST and values.count(first) == len(values):
            return {"kind": "one", "value": first}
        numbers, odd = _doubles(values)
        self.planes.append(little_endian(numbers))
        return {"kind": "number", "odd": odd} if odd else {"kind": "number"}

    def _words(self, values: list[Any]) -> Plain:
        if set(map(type, values)) - {_NONE} != {str}:
            # What is equal to Python may be two things: true and 1.
            values = [None if value is None else _Word(value_of(value)) for value in values]
        different = [value for value in dict.fromkeys(values) if value is not None]
        if len(different) == 1 and values.count(different[0]) == len(values):
            return {"kind": "one", "value": _said(different[0])}
        if 2 * len(different) > len(values):
            return {"kind": "list", "values": [_said(value) for value in values]}
        places = {value: place for place, value in enumerate([None, *different])}
        plane = little_endian(array("I", map(places.__getitem__, values)))
        self.planes.append(plane + bytes(-len(plane) % 8))
        return {"kind": "word", "values": [_said(value) for value in different]}


def _doubles(values: list[Any]) -> tuple[array[float], dict[int, Any]]:
    """Return numbers as doubles, and what is none or too long to be exact as the browser has it, by row."""
    missing = values.count(None)
    numbers = values if not missing else [math.nan if value is None else value for value in values]
    try:
        plane = array("d", numbers)
        if sum(map(math.isfinite, plane)) == len(values) - missing and max(map(abs, plane), default=0) < _LARGEST:
            return plane, {}
    except OverflowError:
        pass
    said = [None if value is None else plain_number(value) for value in values]
    is_plain = [type(value) in {int, float} for value in said]
    odd = {row: value for row, value in enumerate(said) if value is not None and not is_plain[row]}
    plane = array("d", [math.nan]) * len(said)
    for row, value in enumerate(said):
        if is_plain[row]:
            plane[row] = value  # type: ignore[assignment]
    return plane, odd


def _said(value: Any) -> Any:
    return value.value if isinstance(value, _Word) else value_of(value)


def _mapped(field_of: Any, briefs: Found) -> Found:
    if isinstance(briefs, dict):
        return {row: field_of(brief) for row, brief in briefs.items()}
    if None in briefs:
        return [None if brief is None else field_of(brief) for brief in briefs]
    return list(map(field_of, briefs))


def _by_name(rows: Sequence[Mapping[str, Any]]) -> Iterable[tuple[str, Found]]:
    """Return what is known by each name, in the order in which they first appear."""
    counted = Counter(chain.from_iterable(rows))
    rare: dict[str, dict[int, Any]] = {name: {} for name, count in counted.items() if count * _RARE < len(rows)}
    if rare:
        for place, row in enumerate(rows):
            for name in row:
                if name in rare:
                    rare[name][place] = row[name]
    for name in counted:
        yield name, rare[name] if name in rare else [row.get(name) for row in rows]
