"""The files that runs have logged, to download: by digest, of a run, verified while they are sent."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO
from urllib.parse import quote

from track.artifacts import Artifact, artifacts
from track.dashboard.answers import Answer, Refused, json_answer
from track.errors import NotFound, TrackError
from track.media import said_of
from track.persistence.protocol import Protocol
from track.persistence.utils import mask_secrets
from track.shown import cut

logger = logging.getLogger(__name__)
_PIECE = 1 << 20
_MOST_AT_ONCE = 16
_MOST_LISTED = 5_000
_LONGEST_NAME = 300
_PICTURES = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))
_SHOWN = {"image/svg+xml", "audio/wav", "audio/mpeg", "audio/ogg", "audio/flac", "video/mp4", "video/webm"}
"""What a page shows without running anything of it, in the elements that are for it."""
_WEB = re.compile(r"(?:^|::)https?:", re.IGNORECASE)
_HEADERS = (
    # What somebody has logged is nothing that a browser runs, or shows as a page of ours.
    ("Content-Security-Policy", "default-src 'none'; sandbox; frame-ancestors 'none'"),
    # The same digest is the same content.
    ("Cache-Control", "private, max-age=31536000, immutable"),
)
_room = threading.BoundedSemaphore(_MOST_AT_ONCE)


def file_answer(protocol: Protocol, uid: str, digest: str, file: str = "") -> Answer:
    """Return a file that a run has logged, as a download; what is a picture says which kind it is.

    Parameters
    ----------
    uid, digest: str
        Of the run, and of what it has logged.
    file: str
        The digest of a file in it, where it is a folder.

    Raises
    ------
    Refused
        The run has no such file, the file is not where it was, or is not what was logged.
    """
    if not _room.acquire(blocking=False):
        raise Refused(503, "too many files at once: try again in a moment", (("Retry-After", "2"),))
    try:
        found = of_run(protocol, uid, digest)
        name, opened = _opened(found, file)
        sent = _Sent(name, opened, file or digest)
    except BaseException as error:
        _room.release()
        if isinstance(error, (TrackError, OSError)):
            raise Refused(404 if isinstance(error, NotFound) else 502, mask_secrets(str(error))) from error
        raise
    headers = (("Content-Disposition", _disposition(name)), *_HEADERS)
    return Answer(200, sent, _kind_of(sent.first, found.media), headers)


def listing_answer(protocol: Protocol, uid: str, digest: str) -> Answer:
    """Return the files of a folder that a run has logged.

    Raises
    ------
    Refused
        The run has no such folder, or it is not where it was.
    """
    found = of_run(protocol, uid, digest)
    try:
        entries = found.entries()
    except (TrackError, OSError) as error:
        raise Refused(404 if isinstance(error, NotFound) else 502, mask_secrets(str(error))) from error
    shown = [
        {"name": cut(_name_of(entry.name), _LONGEST_NAME), "size": entry.size, "digest": entry.digest}
        for entry in entries[:_MOST_LISTED]
    ]
    return json_answer({"files": shown, "left": len(entries) - len(shown)})


def of_run(protocol: Protocol, uid: str, digest: str, kind: str = "") -> Artifact:
    """Return what a run has logged: who writes to the store has chosen where it is said to be."""
    same = [found for found in artifacts(protocol, {"uid": uid}) if found.digest == digest] if digest else []
    # The same bytes may be several things: that comes first which is looked at as this kind.
    for found in sorted(same, key=lambda one: (said := said_of(one.media)) is None or kind not in ("", said.kind)):
        if is_elsewhere(found):
            raise Refused(404, f"{_name_of(found.name)} was not stored, only named: track artifacts download brings it")
        return found
    raise Refused(404, "this run has no such file")


def is_elsewhere(found: Artifact) -> bool:
    """Return whether it may be any file of this machine, or any address that this machine reaches."""
    return found.is_reference or _WEB.search(found.uri) is not None


def _opened(found: Artifact, file: str) -> tuple[str, BinaryIO]:
    if not found.is_directory:
        return found.name, found.open()
    for entry in found.entries() if file else ():
        if entry.digest == file:
            return entry.name, found.open(entry.name)
    raise Refused(404, "this folder has no such file")


def _name_of(name: str) -> str:
    """Return a name as text: that of a file may be any bytes."""
    return name.encode(errors="replace").decode()


def _disposition(name: str) -> str:
    """Return what makes a browser keep a file, by its name, and not show it."""
    name = _name_of(os.path.basename(name)) or "file"
    plain = "".join(letter if (letter.isascii() and letter.isalnum()) or letter in "._- " else "_" for letter in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _kind_of(first: bytes, media: Any) -> str:
    """Return what a content is, of the few kinds that are pictures and nothing else; its name may say anything."""
    if first[:4] == b"RIFF" and first[8:12] == b"WEBP":
        return "image/webp"
    kind = next((kind for mark, kind in _PICTURES if first.startswith(mark)), "application/octet-stream")
    said = said_of(media)
    return said.type if said is not None and said.type in _SHOWN else kind


class _Sent:
    """A content in pieces. The last one is held back until all of them are what was logged: else it breaks off."""

    def __init__(self, name: str, file: BinaryIO, digest: str) -> None:
        self._file, self._name, self._digest = file, name, digest
        self._is_open = True
        try:
            self.length = file.seek(0, os.SEEK_END)
            file.seek(0)
            self._sum = hashlib.sha256()
            self.first = self._next(self.length)
        except BaseException:
            file.close()
            raise

    def _next(self, left: int) -> bytes:
        """Return the next piece of what is left; an OSError where it is not what was logged."""
        piece = self._file.read(min(left, _PIECE))
        self._sum.update(piece)
        is_last = len(piece) >= left
        if (not piece and left) or (is_last and self._sum.hexdigest() != self._digest):
            raise OSError(f"{_name_of(self._name)} is not what was logged any more: its content was changed")
        return piece

    def __iter__(self) -> Iterator[bytes]:
        piece, left = self.first, self.length
        while True:
            yield piece
            left -= len(piece)
            if not left:
                return
            try:
                piece = self._next(left)
            except OSError as error:
                # The length was said: who receives it sees that something is missing.
                logger.warning("a download broke off: %s", error)
                raise

    def close(self) -> None:
        """Close the file, and make room for another one."""
        if self._is_open:
            self._is_open = False
            self._file.close()
            _room.release()
