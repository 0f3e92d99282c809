"""Who is uploading now: what an upload has sent before its record names it is somebody's, for as long as that lives."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec

from track.objectstore import Aged, ObjectStore
from track.utils.system import is_process_alive, process_identity

UPLOADING = "uploading"
_SILENT = 24 * 3600.0
_RENEWAL = 600.0


class _Owner(msgspec.Struct):
    """The process that uploads, as `process_identity` says it; anybody may have written it."""

    host: str | None = None
    pid: Annotated[int, msgspec.Meta(ge=1, lt=1 << 31)] | None = None
    started: str | None = None
    machine: str | None = None


class Lease:
    """Says that what has the token in its name is being uploaded, from the first use until `close`."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._token = ""
        self._renewed = 0.0

    @property
    def token(self) -> str:
        """What the names of contents end with."""
        if not self._token:
            self._token = secrets.token_hex(8)
            self._write()
        return self._token

    def _write(self) -> None:
        self._objects.write(f"{UPLOADING}/{self._token}/lease", msgspec.json.encode(process_identity()))
        self._renewed = time.monotonic()

    def renewing(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield what is sent, and say now and then that it goes on."""
        for chunk in chunks:
            if time.monotonic() - self._renewed > _RENEWAL:
                self._write()
            yield chunk

    def close(self) -> None:
        """Say that the upload is over."""
        if self._token:
            with contextlib.suppress(OSError, RuntimeError, ValueError):
                self._objects.remove(f"{UPLOADING}/{self._token}/lease")


def live_tokens(objects: ObjectStore, found: Iterable[Aged]) -> tuple[set[str], list[Aged]]:
    """Return the tokens of uploads that go on, and the leases of those that do not; of another machine, for a day."""
    live, dead = set(), []
    for lease in found:
        content = objects.read(lease.name)
        if content is not None and _is_alive(content, lease.age):
            live.add(lease.name.split("/")[1])
        elif content is not None:
            dead.append(lease)
    return live, dead


def _is_alive(content: bytes, silence: float) -> bool:
    try:
        alive = is_process_alive(msgspec.to_builtins(msgspec.json.decode(content, type=_Owner)))
    except ValueError:
        alive = None
    return silence < _SILENT if alive is None else alive
