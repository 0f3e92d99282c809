"""What was made before, in bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

_MOST = 1 << 28
Made = TypeVar("Made")


class Cache:
    """What was made of metrics, the oldest of it forgotten when it is more than so many bytes.

    It is good for as long as the stamp of what it was made of is the same.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._known: OrderedDict[Hashable, tuple[Any, Any, int]] = OrderedDict()
        self._lock = threading.Lock()
        self.nbytes = 0
        """How many bytes it has."""

    def get(self, key: Hashable, stamp: Any) -> Any:
        """Return what is known of something; None where that is nothing, or of something else."""
        with self._lock:
            found = self._known.get(key)
            if found is None:
                return None
            if found[0] != stamp:
                self._drop(key)
                return None
            self._known.move_to_end(key)
            return found[1]

    def put(self, key: Hashable, stamp: Any, what: Any, nbytes: int) -> None:
        """Remember something, unless it is too large."""
        if nbytes > self._most:
            return
        with self._lock:
            self._drop(key)
            self._known[key] = stamp, what, nbytes
            self.nbytes += nbytes
            while self.nbytes > self._most:
                self._drop(next(iter(self._known)))

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._known.clear()
            self.nbytes = 0

    def _drop(self, key: Hashable) -> None:
        if key in self._known:
            self.nbytes -= self._known.pop(key)[2]


class Kept:
    """What a cache knows of one metric, which had a stamp; without a cache nothing is kept."""

    def __init__(self, cache: Cache | None = None, key: tuple[Hashable, ...] = (), stamp: Any = None) -> None:
        self._cache, self._key, self._stamp = cache, key, stamp

    def made(self, name: Hashable, make: Callable[[], Made], size: Callable[[Made], int]) -> Made:
        """Return what was made before under a name, else make it. `size`: returns how many bytes it has."""
        if self._cache is None:
            return make()
        key = (*self._key, name)
        found: Made | None = self._cache.get(key, self._stamp)
        if found is None:
            found = make()
            self._cache.put(key, self._stamp, found, size(found))
        return found
