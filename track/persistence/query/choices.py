"""The operand of ``$in`` and ``$nin``: many values, among which one is found without looking at each."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from track.shown import text_of
from track.structure import CustomStatus, Status
from track.utils.once import cached_property

_FIELDS = ("name", "value")
_ORDINARY = 2**60


class Choices(list[Any]):
    """The values to choose from, in their order."""

    def __init__(self, values: Iterable[Any]) -> None:
        super().__init__(values)

    def has(self, value: Any) -> bool:
        """Return whether one of the choices equals `value`; a number is found among strings by its text."""
        if is_status(value):
            return self._has_status(value)
        if _key(value) in self._keys:
            return True
        return self._is_text and value is not None and (False, text_of(value)) in self._keys

    @cached_property
    def _keys(self) -> frozenset[Any]:
        return frozenset(_key(choice) for choice in self)

    @cached_property
    def _is_text(self) -> bool:
        return bool(self) and all(isinstance(choice, str) for choice in self)

    @cached_property
    def _statuses(self) -> tuple[frozenset[Any], frozenset[Any], frozenset[Any]]:
        """What statuses are called in any case, their codes, and what else must be equal of them."""
        names = {choice.lower() for choice in self if isinstance(choice, str)}
        codes = {_frozen(choice) for choice in self if isinstance(choice, int)}
        whole: set[Any] = {((0, choice.name), (1, _frozen(choice.value))) for choice in self if is_status(choice)}
        for choice in self:
            if isinstance(choice, Mapping):
                fields = ((place, name) for place, name in enumerate(_FIELDS) if name in choice)
                whole.add(tuple((place, _frozen(choice[name])) for place, name in fields))
        return frozenset(names), frozenset(codes), frozenset(whole)

    def _has_status(self, status: Any) -> bool:
        names, codes, whole = self._statuses
        name, code = (0, status.name), (1, _frozen(status.value))
        if str(status.name).lower() in names or code[1] in codes:
            return True
        if any(fields in whole for fields in ((name, code), (name,), (code,), ())):
            return True
        return self._is_text and (False, text_of(status)) in self._keys


def is_status(value: Any) -> bool:
    """Return whether a value is a status of a trial."""
    return issubclass(type(value), (Status, CustomStatus))


def _key(value: Any) -> Hashable:
    """Return what is equal for values that are equal; true is not 1."""
    return isinstance(value, bool), _frozen(value)


def _frozen(value: Any) -> Hashable:
    if isinstance(value, (int, float)) and _ORDINARY <= abs(value) < math.inf:
        # Python's hash of a number is its rest by 2**61 - 1: there are lists in which all have the same one.
        return "number", hex(int(value))
    if isinstance(value, Mapping):
        return "mapping", frozenset((key, _frozen(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return type(value).__name__, tuple(map(_frozen, value))
    try:
        hash(value)
    except TypeError:
        return "id", id(value)
    return value  # type: ignore[no-any-return]
