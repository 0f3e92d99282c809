"""A trial's logger in another process: what is pickled of it, and how it gets to its store there."""

from __future__ import annotations

import functools
import os
import re
import sys
from typing import Any

from track.configuration import options
from track.errors import InvalidCall
from track.persistence.protocol import Protocol
from track.persistence.registry import _opened_uris, get_protocol
from track.persistence.utils import mask_secrets, parse_uri
from track.structure import Trial, split_uid

_NOWHERE_ELSE = {"ephemeral", "none"}


def pickled_uri(protocol: Protocol) -> str:
    """Return the URI by which another process gets to the store, without passwords where it may be kept.

    A child that `multiprocessing` is starting gets it whole: nobody else reads what goes to it.

    Raises InvalidCall: the store is the memory of this process.
    """
    uri = _opened_uris.get(protocol) or protocol.uri
    parsed = parse_uri(uri)
    if parsed["scheme"] in _NOWHERE_ELSE or not uri:
        raise InvalidCall(
            f"a trial in {uri or repr(protocol)!r} cannot be reached from another process, so its logger cannot be "
            "pickled: give the client a store, as in TrackClient('file:runs.json')"
        )
    if protocol.file is not None:
        # The other process may be in another folder.
        question, query = uri.partition("?")[1:]
        uri = f"{parsed['scheme']}:{protocol.file}{question}{query}"
    return uri if _is_spawning() else mask_secrets(uri)


def attach(uri: str, uid: str) -> tuple[Trial, Protocol]:
    """Return a trial, and its store: one for all loggers of a URI that this process has unpickled."""
    return Trial(*split_uid(uid)), _opened(with_password(uri), os.getpid())


@functools.cache
def _opened(uri: str, pid: int) -> Protocol:
    return get_protocol(uri)


def with_password(masked: str) -> str:
    """Return a URI with the secrets that this process has for it; without any where it has none."""
    if "***" not in masked:
        return masked
    known = [*_opened_uris.values(), str(options("log.backend.name", None))]
    whole = next((uri for uri in known if mask_secrets(uri) == masked), None)
    # The driver may know of another way, as a file of passwords.
    return whole or re.sub(r"[?&][^=&]*=\*\*\*", "", masked.replace(":***@", "@"))


def _is_spawning() -> bool:
    context: Any = sys.modules.get("multiprocessing.context")
    return context is not None and context.get_spawning_popen() is not None
