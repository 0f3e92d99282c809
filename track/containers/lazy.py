"""A set that is computed at the first look."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableSet
from itertools import islice
from typing import Any

from track.shown import shown


class LazySet(MutableSet[Any]):
    """The members of something large, fetched when somebody looks.

    `load`: returns the members; called once.

    Examples
    --------
    >>> members = LazySet(lambda: ["a", "b"])
    >>> "a" in members, len(members)
    (True, 2)
    """

    def __init__(self, load: Callable[[], Iterable[Any]]) -> None:
        self._load: Callable[[], Iterable[Any]] | None = load
        self._members: dict[Any, None] = {}

    def _loaded(self) -> dict[Any, None]:
        if self._load is not None:
            self._members, self._load = dict.fromkeys(self._load()), None
        return self._members

    def __contains__(self, member: object) -> bool:
        return member in self._loaded()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._loaded())

    def __len__(self) -> int:
        return len(self._loaded())

    def add(self, value: Any) -> None:
        self._loaded()[value] = None

    def discard(self, value: Any) -> None:
        self._loaded().pop(value, None)

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> set[Any]:
        return set(it)

    def __reduce__(self) -> tuple[type, tuple[set[Any]]]:
        return set, (set(self),)

    def __repr__(self) -> str:
        if self._load is not None:
            return "<a set in a store, read when it is looked at>"
        return shown(set(islice(self._members, 9)), 200) + (
            f" ({len(self._members):,})" if len(self._members) > 8 else ""
        )
