"""What is computed once for each object, in a program that forks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

Result = TypeVar("Result")


class cached_property(Generic[Result]):  # noqa: N801 - as that of functools, whose place it takes
    """A property that is computed at its first use: as that of `functools` is from Python 3.12 on.

    Before, that one takes a lock for all objects of a class, and a process that is forked meanwhile waits for it for
    ever.

    Parameters
    ----------
    method: callable
        Computes it.
    """

    def __init__(self, method: Callable[[Any], Result]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> cached_property[Result]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Result: ...

    def __get__(self, instance: object | None, owner: type) -> cached_property[Result] | Result:
        if instance is None:
            return self
        # From now on it is found before this.
        value = vars(instance)[self._name] = self._method(instance)
        return value
