"""What was made before, in bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

_MOST = 1 << 28


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
