"""What is stored of a value: bytes, their type, and a few words for who displays them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from track.errors import InvalidEvent
from track.shown import shown

ENDINGS = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "image/svg+xml": ".svg",
    "audio/wav": ".wav",
    "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg",
    "audio/flac": ".flac",
    "video/mp4": ".mp4",
    "video/webm": ".webm",
    "text/plain": ".txt",
    "text/html": ".html",
    "application/json": ".json",
    "application/x-ndjson": ".jsonl",
    "application/vnd.apache.parquet": ".parquet",
    "application/vnd.plotly.v1+json": ".plotly.json",
}
"""What a file of each type is called at its end."""

_LARGEST = 64 * 1024 * 1024


@dataclass(frozen=True)
class Content:
    """What is stored of a value.

    Parameters
    ----------
    kind: str
        What it is: image, figure, histogram, table, text, audio, video, html.
    data: bytes
        Empty where `path` names a file.
    type: str
        As in ``image/png``.
    facts: dict
        Said of it in the trial's manifest, for who displays it: width and height, rows and columns.
    path: str or None
        The file that is the content.
    thumb: Content or None
        A small picture of it.
    """

    kind: str
    data: bytes
    type: str
    facts: dict[str, Any] = field(default_factory=dict)
    path: str | None = None
    thumb: Content | None = None

    @property
    def ending(self) -> str:
        """What a file of it is called at its end."""
        return ENDINGS.get(self.type, "")


def is_made_by(value: Any, *packages: str) -> bool:
    """Return whether the type of a value, or one that it is made of, is of one of these packages."""
    return any(kind.__module__.partition(".")[0] in packages for kind in type(value).__mro__)


def check_size(what: str, data: bytes) -> bytes:
    """Return what may be stored; InvalidEvent where it is too much to show."""
    if len(data) > _LARGEST:
        size, most = len(data) >> 20, _LARGEST >> 20
        raise InvalidEvent(
            f"{what} is of {size:,} MiB, more than the {most} that can be shown: trial.log_artifact stores any file"
        )
    return data


def read_path(what: str, path: Any) -> bytes:
    """Return what is in a file; FileNotFoundError or PermissionError where none is, InvalidEvent where too much."""
    with open(os.fspath(path), "rb") as file:
        return check_size(what, file.read(_LARGEST + 1))


def is_path(value: Any) -> bool:
    """Return whether a value names a file."""
    return isinstance(value, (str, os.PathLike))


def refuse(what: str, value: Any, way_out: str) -> InvalidEvent:
    """Return the error that says of a value that it cannot be shown as it is, and what can."""
    shape = getattr(value, "shape", None)
    of = f"{type(value).__name__} of shape {tuple(shape)}" if shape is not None else shown(value, 60)
    return InvalidEvent(f"{what}: {of} is none; {way_out}")
