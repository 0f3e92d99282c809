"""What a result tracker is: a map of results under each key."""

from __future__ import annotations

import abc
import time
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from track.errors import ResultTimeout
from track.plain import to_number
from track.shown import shown

KeyType: TypeAlias = int | str
"""A key; the number 1 and the text "1" are the same one."""

ResultType: TypeAlias = int | float | str
"""A result; a text has at most 1,024 bytes in UTF-8."""

_LONGEST = 1024


class ResultTracker(abc.ABC):
    """A store of results; subclasses say where, with `put` and `get`.

    ``tracker[key]`` is ``tracker.get(key)``, and ``tracker[key] = {"loss": 0.5}`` is
    ``tracker.put(key, loss=0.5)``. A slash in a result's name (``loss/mean``, ``loss/sem``) is part of the name.
    Iterating yields the keys. Between processes nothing is promised but what the store promises.
    """

    def __getitem__(self, key: KeyType) -> dict[str, ResultType]:
        return self.get(key)

    def __setitem__(self, key: KeyType, results: Mapping[str, ResultType]) -> None:
        if not isinstance(results, Mapping):
            raise TypeError(f"results are a mapping of names to values, not {type(results).__name__}")
        for name in results:
            if not isinstance(name, str):
                raise TypeError(f"{shown(name)} is no name of a result: it must be a str")
        self.put(key, **results)

    def __iter__(self) -> Iterator[str]:
        # Without this, Python would ask for the keys 0, 1, 2, and so on, and always be given a map.
        return self.keys()

    def __contains__(self, key: KeyType) -> bool:
        return bool(self.get(key))

    @abc.abstractmethod
    def put(self, key: KeyType, /, **results: ResultType) -> None:
        """Store the results under ``str(key)``, in place of those that were there.

        Parameters
        ----------
        **results
            Number, or text of at most 1,024 bytes in UTF-8, by name.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def get(self, key: KeyType) -> dict[str, ResultType]:
        """Return the results under ``str(key)`` as they are now; empty where there are none."""
        raise NotImplementedError

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that begin with `prefix`, sorted.

        Raises
        ------
        NotImplementedError
            This tracker cannot list.
        """
        raise NotImplementedError(f"{type(self).__name__} does not list its keys")

    def items(self, prefix: str = "") -> Iterator[tuple[str, dict[str, ResultType]]]:
        """Yield each key that begins with `prefix`, and its results, sorted by key."""
        for key in self.keys(prefix):
            yield key, self.get(key)

    def wait(self, key: KeyType, timeout: float = 60.0, interval: float = 0.5) -> dict[str, ResultType]:
        """Return the results under a key once there are some.

        Parameters
        ----------
        timeout: float
            Seconds to wait at most; 0 looks once.
        interval: float
            Seconds between two looks, > 0.

        Raises
        ------
        ResultTimeout
            There are none in time (a LookupError and a TimeoutError).
        ValueError
            A time is no number of seconds, or the interval not above 0.
        """
        _check_seconds("timeout", timeout)
        _check_seconds("interval", interval)
        if interval <= 0:
            raise ValueError(f"interval is a number of seconds above 0, not {shown(interval)}")
        deadline = time.monotonic() + timeout
        while not (results := self.get(key)):
            left = deadline - time.monotonic()
            if left <= 0:
                raise ResultTimeout(f"nothing was put under key {str(key)!r} within {timeout:g} s")
            time.sleep(min(interval, left))
        return results


def _check_seconds(name: str, value: Any) -> None:
    if to_number(value) is None:
        raise ValueError(f"{name} is a number of seconds, not {shown(value)}")


def checked_results(results: dict[str, Any]) -> dict[str, ResultType]:
    """Return plain values; TypeError for no number and no text, ValueError for a text longer than 1,024 bytes."""
    return {name: _checked(name, value) for name, value in results.items()}


def _checked(name: str, value: Any) -> ResultType:
    if type(value) is float:
        return value
    if isinstance(value, str):
        size = len(value.encode("utf-8", "surrogatepass"))
        if size > _LONGEST:
            raise ValueError(f"result {shown(name)} is a text of {size:,} bytes: at most {_LONGEST:,} are stored")
        return str(value)
    number = to_number(value)
    if number is None:
        raise TypeError(f"result {shown(name)} is of type {type(value).__name__}: it must be an int, a float or a str")
    return number
