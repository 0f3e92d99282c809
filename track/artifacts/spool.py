"""Packs on their way to a bucket, where no file grows: they grow here, and go there whole.

A pack is sent once it is full or a minute old, and at the end of its trial. One that a killed process has left is sent
by the next one that logs to the same place, and by ``track sync``.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterable

import msgspec

from track.artifacts.folder import Folder, Kept
from track.artifacts.local import LocalFolder
from track.artifacts.location import open_folder
from track.artifacts.packs import Pack, append_to
from track.artifacts.store import ArtifactStore
from track.configuration import options
from track.errors import BackendUnavailable
from track.persistence.utils import mask_secrets
from track.utils.files import absolute_path, user_folder
from track.utils.system import is_process_alive, process_identity

logger = logging.getLogger(__name__)
_FULL = 8 * 1024 * 1024
_OLD = 60.0
_NOTES = "sent-to"
_guard = threading.Lock()
_packs: dict[tuple[str, str], Pack] = {}
_looked: set[str] = set()


class _Note(msgspec.Struct):
    """Where a pack goes, and the process that writes it."""

    key: str
    url: str
    owner: dict[str, object]


def spool_folder() -> LocalFolder | None:
    """Return the folder of packs that are on their way; None where this user has no place for one."""
    configured = str(options("log.spill.folder", "") or "")
    if configured:
        return LocalFolder(os.path.join(absolute_path(configured), "packs"))
    cache = user_folder("XDG_CACHE_HOME", ".cache")
    return None if cache is None else LocalFolder(os.path.join(cache, "track", "packs"))


def put_spooled(target: Folder, spool: LocalFolder, owner: str, data: bytes, ending: str) -> tuple[Kept, int]:
    """Append content to a pack that will be sent; return the pack and where in it the content begins."""
    with _guard:
        is_first = target.url not in _looked
        _looked.add(target.url)
        pack = _packs.get((target.url, owner))
        is_over = pack is not None and (pack.size >= pack.full or time.monotonic() - pack.began > _OLD)
        sent = pack if is_over else None
        if pack is None or is_over or pack.pid != os.getpid():
            pack = _packs[target.url, owner] = Pack(_FULL)
            note = _Note(pack.key, target.url, dict(process_identity()))
            spool.write(_note_key(pack.key), msgspec.json.encode(note))
    if is_first:
        send_left([target.url])
    if sent is not None and sent.pid == os.getpid():
        _try_to_send(spool, target, sent)
    return append_to(pack, spool, hashlib.sha256(data).hexdigest(), data, ending)


def finish_spooled(owner: str) -> None:
    """Send what a trial has logged to buckets, and is not there yet; what cannot be sent is kept, and said."""
    with _guard:
        own = [(url, pack) for (url, whose), pack in _packs.items() if whose == owner and pack.pid == os.getpid()]
        for url, _ in own:
            del _packs[url, owner]
    spool = spool_folder() if own else None
    for url, pack in own:
        if spool is not None:
            _try_to_send(spool, open_folder(url), pack)
    if own:
        send_left(url for url, _ in own)


def send_left(urls: Iterable[str] | None = None) -> tuple[int, int]:
    """Send packs of processes that are gone, to these places or to all; return how many were, and how many wait."""
    spool = spool_folder()
    wanted = None if urls is None else set(urls)
    sent = waiting = 0
    for found in [] if spool is None else spool.files(_NOTES):
        assert spool is not None
        try:
            note = msgspec.json.decode(spool.read(found.key), type=_Note)
        except (OSError, msgspec.MsgspecError):
            continue
        if _note_key(note.key) != found.key or (wanted is not None and note.url not in wanted):
            continue
        if not _is_left(note):
            continue
        try:
            _send(spool, open_folder(note.url), note.key)
            sent += 1
        except (BackendUnavailable, OSError) as error:
            waiting += 1
            _tell(note.url, error)
    return sent, waiting


def _note_key(key: str) -> str:
    return f"{_NOTES}/{key.rpartition('/')[2].removesuffix('.tar')}.json"


def _try_to_send(spool: LocalFolder, target: Folder, pack: Pack) -> None:
    try:
        with pack.lock:
            _send(spool, target, pack.key)
    except (BackendUnavailable, OSError) as error:
        # It stays: this process tries again at the end of its next trial, others once it is gone.
        _tell(target.url, error)


def _is_left(note: _Note) -> bool:
    """Return whether nobody appends to a pack any more: its process is gone, or is this one, and has given it up."""
    if note.owner == process_identity():
        return note.key not in {pack.key for pack in list(_packs.values())}
    return is_process_alive(note.owner) is False


def _send(spool: LocalFolder, target: Folder, key: str) -> None:
    if spool.size(key) is not None:
        with ArtifactStore(target).storing():
            try:
                target.write(key, spool.read(key))
            except BaseException:
                # A place that is full may have kept the first half.
                with contextlib.suppress(BackendUnavailable, OSError):
                    target.remove([key])
                raise
    spool.remove([key, _note_key(key)])


def _tell(url: str, error: Exception) -> None:
    text = "images and the like of this machine wait to be sent to %s (track sync sends them): %s"
    logger.warning(text, mask_secrets(url), error)
