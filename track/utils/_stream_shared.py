"""The state of a `StatStream` in shared memory, for several processes."""

from __future__ import annotations

import ctypes
from multiprocessing import get_context
from multiprocessing.context import get_spawning_popen
from typing import Any

from track.utils._stream_state import FIELDS

_C_TYPES: dict[Any, Any] = {float: ctypes.c_double, int: ctypes.c_longlong}


class StatStreamStruct(ctypes.Structure):
    """The eight fields of a stream, as they lie in shared memory."""

    _fields_ = [(name, _C_TYPES[kind]) for name, kind in FIELDS.items()]


def new_shared() -> tuple[Any, Any]:
    """Return an empty struct and its lock, both fit for forked and for spawned workers."""
    # Only a lock of the spawn context can be handed to both. It is recursive because a signal handler may
    # read the stream in the middle of an update.
    context = get_context("spawn")
    return context.RawValue(StatStreamStruct), context.RLock()


def is_spawning() -> bool:
    """Return whether what is being pickled goes to a new worker of this process."""
    return get_spawning_popen() is not None
