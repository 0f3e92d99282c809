"""Content that is small enough to be named by itself: a ``data:`` URI in the manifest of its trial."""

from __future__ import annotations

import base64
import binascii

from track.artifacts.keys import INLINE
from track.errors import CorruptArtifact
from track.shown import cut


def inline_uri(data: bytes, kind: str) -> str:
    """Return the URI that is this content; `kind` is its type, as in ``text/plain``."""
    return f"{INLINE}{kind};base64,{base64.b64encode(data).decode()}"


def inline_data(uri: str) -> bytes:
    """Return the content that a URI is; CorruptArtifact where it is none."""
    head, comma, text = uri.partition(",")
    try:
        if not comma or not head.endswith(";base64"):
            raise ValueError("it is not in base64")
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise CorruptArtifact(f"{cut(uri, 60)!r} holds no content: {error}") from error
