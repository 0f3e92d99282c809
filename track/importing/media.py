"""What other trackers have to be looked at: images, histograms, texts, ..., as the verbs of a trial store them."""

from __future__ import annotations

import math
import os
from typing import Any

from track.errors import InvalidEvent, UnsafePath
from track.importing.files import open_file, read_json
from track.importing.masking import masked_text
from track.media import (
    Content,
    audio_content,
    histogram_content,
    html_content,
    image_content,
    table_content,
    text_content,
    video_content,
)
from track.plain import utf8

_LARGEST = 64 * 1024 * 1024
_LONGEST_TEXT = 1 << 20
_MOST_BINS = 512
_PLOTLY = "application/vnd.plotly.v1+json"


def content_of(kind: str, name: str, said: Any) -> Content:
    """Return what is stored of a medium, as a path, bytes, a text, or counts and edges.

    Raises InvalidEvent: it is none of its kind that can be shown.
    """
    data = _read(said) if isinstance(said, str) and kind != "text" else said
    if kind == "text":
        if len(said) > _LONGEST_TEXT:
            raise InvalidEvent(f"has more than {_LONGEST_TEXT:,} letters")
        return text_content(name, masked_text(utf8(said)))
    if kind == "histogram":
        return histogram_content(name, None, *said)
    if kind == "table":
        return table_content(name, *_table(data))
    if kind == "figure":
        return Content("figure", data, _PLOTLY)
    if kind == "image":
        return image_content(name, data)[0]
    if kind == "audio":
        return audio_content(name, data, None)
    if kind in ("video", "html"):
        return (video_content if kind == "video" else html_content)(name, data)
    raise InvalidEvent(f"there is no kind {kind!r} of media")


def medium_name(name: str, kind: str) -> str:
    """Return what a medium is called here: no part of it leads elsewhere.

    Examples
    --------
    >>> medium_name("../val//sample", "image"), medium_name("", "image")
    ('val/sample', 'image')
    """
    return "/".join(part for part in name.split("/") if part not in ("", ".", "..")) or kind


def counted(lefts: list[float], rights: list[float], counts: list[float]) -> tuple[list[Any], list[float]]:
    """Return counts and rising edges of bins, without the empty ones at both ends; InvalidEvent where they have none.

    Examples
    --------
    >>> counted([0, 1, 2, 3], [1, 2, 3, 4], [0, 2, 5, 0])
    ([2, 5], [1.0, 2.0, 3.0])
    """
    numbers = [*lefts, *rights, *counts]
    if not all(map(math.isfinite, numbers)):
        raise InvalidEvent("a histogram has no numbers")
    bins = [one for one in zip(lefts, rights, counts, strict=True) if one[1] > one[0] or one[2]]
    while bins and not bins[-1][2]:
        bins.pop()
    first = next((place for place, one in enumerate(bins) if one[2]), None)
    if first is None:
        raise InvalidEvent("a histogram has no values")
    bins = bins[first:]
    every = math.ceil(len(bins) / _MOST_BINS)
    groups = [bins[place : place + every] for place in range(0, len(bins), every)]
    found = [sum(one[2] for one in group) for group in groups]
    edges = [float(group[0][0]) for group in groups] + [float(bins[-1][1])]
    if len(edges) == 2 and edges[0] >= edges[1]:
        # All of its values are one.
        half = max(0.5, abs(edges[0]) * 1e-6)
        edges = [edges[0] - half, edges[0] + half]
    return [int(count) if float(count).is_integer() else count for count in found], edges


def _read(path: str) -> bytes:
    try:
        with open_file(path) as file:
            if os.fstat(file.fileno()).st_size > _LARGEST:
                raise InvalidEvent(f"has more than {_LARGEST:,} bytes")
            return file.read(_LARGEST)
    except UnsafePath as error:
        raise InvalidEvent(str(error)) from error


def _table(data: Any) -> tuple[Any, Any]:
    """Return rows and names of columns, of a table of wandb or of rows."""
    if isinstance(data, bytes):
        try:
            data = read_json(data)
        except (ValueError, RecursionError) as error:
            raise InvalidEvent(f"a table is no JSON: {error}") from error
    if isinstance(data, dict) and isinstance(data.get("columns"), list):
        return data.get("data"), data["columns"]
    return data, None
