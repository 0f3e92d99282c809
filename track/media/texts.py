"""Texts, and pages of HTML."""

from __future__ import annotations

import os
import re
from typing import Any

from track.errors import InvalidEvent
from track.media.content import Content, check_size, read_path, refuse

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; base-uri 'none'; form-action 'none'"
)
# What no policy of contents forbids: to connect ahead, as browsers do for a link that is clicked, and to say how a page
# is read.
_REACHING = re.compile(r"<(?=(?:a|area|link|meta|base|form|i?frame|object|embed)\b)", re.IGNORECASE)


def text_content(name: str, text: Any) -> Content:
    """Return what is stored of a text; InvalidEvent where it is none."""
    return Content("text", _bytes_of(f"text {name!r}", text), "text/plain")


def html_content(name: str, page: Any) -> Content:
    """Return what is stored of a page of HTML; InvalidEvent where it is none."""
    return Content("html", _bytes_of(f"html {name!r}", page), "text/html")


def framed(page: str) -> str:
    """Return a page of HTML for a frame with an empty ``sandbox``: beside running nothing it asks nobody for anything.

    Its styles are kept, and its images where they are in it. Elements that may reach out in spite of a policy are
    comments.

    Examples
    --------
    >>> framed("<b>bold</b><link rel=preconnect href=https://example.org>").partition("<b>")[2]
    'bold</b><!link rel=preconnect href=https://example.org>'
    """
    head = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    head += '<meta http-equiv="x-dns-prefetch-control" content="off">'
    return f"<!doctype html>{head}{_REACHING.sub('<!', page)}"


def _bytes_of(what: str, text: Any) -> bytes:
    if isinstance(text, os.PathLike):
        data = read_path(what, text)
    elif isinstance(text, str):
        data = check_size(what, text.encode(errors="backslashreplace"))
    elif isinstance(text, (bytes, bytearray)):
        data = check_size(what, bytes(text))
    else:
        raise refuse(what, text, "give a text, or a pathlib.Path of a file of one")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise InvalidEvent(f"{what}: it is no text in UTF-8: trial.log_artifact stores any bytes") from error
    return data
