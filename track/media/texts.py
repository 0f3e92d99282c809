"""Texts, and pages of HTML."""

from __future__ import annotations

import os
from typing import Any

from track.errors import InvalidEvent
from track.media.content import Content, check_size, read_path, refuse


def text_content(name: str, text: Any) -> Content:
    """Return what is stored of a text; InvalidEvent where it is none."""
    return Content("text", _bytes_of(f"text {name!r}", text), "text/plain")


def html_content(name: str, page: Any) -> Content:
    """Return what is stored of a page of HTML; InvalidEvent where it is none."""
    return Content("html", _bytes_of(f"html {name!r}", page), "text/html")


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
