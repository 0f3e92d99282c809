"""The variables of the program that runs a loop, looked at when somebody asks, and not kept."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from inspect import CO_OPTIMIZED
from types import CodeType, FrameType
from typing import Any, TypeVar

from track.shown import text_of

logger = logging.getLogger(__name__)
Result = TypeVar("Result")
# Of the frame, of our variable, and of the argument of getrefcount.
_OWN_REFERENCES = 3


def with_variables(frame: FrameType, use: Callable[[Mapping[str, Any]], Result]) -> Result:
    """Return what `use` makes of the local variables of a frame; they live no longer for it.

    Before Python 3.13 a frame that was asked for its variables keeps a dictionary of them: the last batch would live
    until it is asked again. It is emptied, unless the program has it too (``locals()``), or it is the very namespace
    of a module, a class or an ``exec``.
    """
    is_copy, namespace = frame.f_code.co_flags & CO_OPTIMIZED, frame.f_locals
    del frame
    try:
        return use(namespace)
    finally:
        if is_copy and type(namespace) is dict and sys.getrefcount(namespace) <= _OWN_REFERENCES:
            namespace.clear()


def frame_of(code: CodeType) -> FrameType | None:
    """Return the innermost frame that runs this code, in this thread; None where none does."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame


def names_in(code: CodeType) -> tuple[str, ...] | None:
    """Return the names of all local variables of a function; None for other code, whose names are found as it runs."""
    if not code.co_flags & CO_OPTIMIZED:
        return None
    return tuple(dict.fromkeys((*code.co_varnames, *code.co_cellvars, *code.co_freevars)))


def tell_nothing_found(code: CodeType) -> None:
    """Warn that a loop is not run by the code that made it."""
    logger.warning(
        "the loop that was made in %s is run in another thread, or somewhere else: its variables are not found. "
        "Put the monitor around the outermost iterator, as in m(prefetch(loader))",
        text_of(code.co_name),
    )
