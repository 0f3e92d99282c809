"""Calls that run later, once, when somebody needs their result."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from track.errors import TrackError

__all__ = ["DelayedCall", "Future", "FutureIsNotReady", "delay_call", "is_delayed_call"]


class FutureIsNotReady(TrackError, AttributeError):
    """An attribute of a future was read before its call has run."""


class DelayedCall:
    """A call of `fun` that runs at the first use: when called, or when an attribute of the result is read.

    Afterwards it stands in for the result: calls and attributes go there. Names that start with an
    underscore never start the call, so that copying, pickling, `repr` and the probes of debuggers and
    notebooks are safe. Threads that meet at the first use get the same result. A call that raises has not
    run and can be repeated.

    Parameters
    ----------
    fun: Callable
        What to call.
    kwargs: dict
        Its keyword arguments known so far.
    """

    __slots__ = ("__weakref__", "_fun", "_has_run", "_is_running", "_kwargs", "_lock", "_result")

    def __init__(self, fun: Callable[..., Any], kwargs: dict[str, Any]) -> None:
        self._fun = fun
        self._kwargs = dict(kwargs)
        self._result: Any = None
        self._has_run = False
        self._is_running = False
        self._lock = threading.RLock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the result of the call; once it has run, call the result instead.

        Raises
        ------
        RuntimeError
            The call needs its own result.
        """
        if self._has_run:
            return self._result(*args, **kwargs)
        return self._run(args, kwargs)

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with self._lock:
            if self._has_run:
                return self._result
            # The lock lets its own thread in again, so whoever sees this flag is inside the call.
            if self._is_running:
                raise RuntimeError(f"Circular call: {self!r} needs its own result")
            self._is_running = True
            try:
                self._result = self._fun(*args, **{**self._kwargs, **kwargs})
                self._has_run = True
            finally:
                self._is_running = False
            return self._result

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the result, after running the call if it has not run."""
        is_special = name.startswith("__") and name.endswith("__")
        if is_special or name in DelayedCall.__slots__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if not self._has_run and name.startswith("_"):
            raise AttributeError(f"{self!r} has not run, and {name!r} does not make it run")
        return getattr(self._run((), {}), name)

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments known so far, as a copy."""
        with self._lock:
            return dict(self._kwargs)

    def add_arguments(self, **kwargs: Any) -> None:
        """Add keyword arguments to the call; later ones replace earlier ones.

        Raises
        ------
        RuntimeError
            The call has already run.
        """
        with self._lock:
            if self._has_run:
                raise RuntimeError(f"{self!r} has run: it takes no more arguments ({', '.join(kwargs)})")
            self._kwargs.update(kwargs)

    def get_future(self) -> Future:
        """Return a view of the result that never runs the call."""
        return Future(self)

    def __getstate__(self) -> dict[str, Any]:
        names = ("_fun", "_kwargs", "_result", "_has_run")
        return {name: getattr(self, name) for name in names} | {"_kwargs": dict(self._kwargs)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_fun"], state["_kwargs"])  # type: ignore[misc]
        self._result, self._has_run = state["_result"], state["_has_run"]

    def __repr__(self) -> str:
        name = getattr(self._fun, "__qualname__", type(self._fun).__name__)
        return f"<DelayedCall of {name}, {'done' if self._has_run else 'pending'}>"


class Future:
    """The result of a delayed call once it has run; reading it never runs the call.

    Parameters
    ----------
    promise: DelayedCall
        The call to watch.
    """

    __slots__ = ("_promise",)

    def __init__(self, promise: DelayedCall) -> None:
        self._promise = promise

    def get(self) -> Any:
        """Return the result, or None while the call has not run."""
        return self._promise._result

    def is_ready(self) -> bool:
        """Return whether the call has run."""
        return self._promise._has_run

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the result.

        Raises
        ------
        FutureIsNotReady
            The call has not run.
        """
        if name in Future.__slots__ or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if not self.is_ready():
            raise FutureIsNotReady(f"{name!r} was read before {self._promise!r} has run")
        return getattr(self.get(), name)


def delay_call(fun: Callable[..., Any], **kwargs: Any) -> DelayedCall:
    """Return a call of `fun` that has not run yet.

    Examples
    --------
    >>> power = delay_call(pow, base=2)
    >>> power.add_arguments(exp=3)
    >>> power()
    8
    """
    return DelayedCall(fun, kwargs)


def is_delayed_call(obj: object) -> bool:
    """Return whether `obj` is a delayed call that has not run."""
    return isinstance(obj, DelayedCall) and not obj._has_run
