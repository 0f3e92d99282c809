"""Figures of matplotlib and of plotly."""

from __future__ import annotations

import io
import sys
import types
from typing import Any

from track.errors import InvalidEvent
from track.media.content import Content, check_size, is_made_by, refuse
from track.media.sketch import sketch_of

_THUMB = 320
_LARGEST_SVG = 2 * 1024 * 1024
_WAY_OUT = (
    "a figure is one of matplotlib or plotly; trial.log_image is for pixels and files, trial.log_html for what other "
    "packages draw"
)


def figure_content(name: str, figure: Any) -> Content:
    """Return what is stored of a figure: SVG and a small PNG, or the JSON of plotly and a sketch of it.

    InvalidEvent where it is none.
    """
    what = f"figure {name!r}"
    if isinstance(figure, types.ModuleType) and hasattr(figure, "gcf"):
        figure = figure.gcf()
    try:
        if is_made_by(figure, "plotly"):
            data = check_size(what, figure.to_json().encode())
            drawn = sketch_of(data)
            thumb = None if drawn is None else Content("figure", drawn, "image/svg+xml")
            return Content("figure", data, "application/vnd.plotly.v1+json", thumb=thumb)
        if is_made_by(figure, "matplotlib", "seaborn"):
            # Of axes, and of a grid of them, too.
            return _drawn(what, figure if hasattr(figure, "savefig") else figure.figure)
    except InvalidEvent:
        raise
    except Exception as error:
        raise InvalidEvent(f"{what} cannot be drawn: {type(error).__name__}: {error}") from error
    raise refuse(what, figure, _WAY_OUT)


def _drawn(what: str, figure: Any) -> Content:
    # A text stays one, and the same figure is the same bytes.
    with sys.modules["matplotlib"].rc_context({"svg.fonttype": "none", "svg.hashsalt": "track"}):
        made = _saved(figure, format="svg", metadata={"Date": None})
    width, height = (float(length) for length in figure.get_size_inches())
    thumb = _saved(figure, format="png", dpi=_THUMB / max(width, height), metadata={"Software": None})
    small = Content("figure", thumb, "image/png")
    facts = {"width": round(width * 72), "height": round(height * 72)}
    if len(made) <= _LARGEST_SVG:
        return Content("figure", made, "image/svg+xml", facts, thumb=small)
    # Of very many points pixels are less than lines.
    pixels = check_size(what, _saved(figure, format="png", dpi=150, metadata={"Software": None}))
    return Content("figure", pixels, "image/png", facts, thumb=small)


def _saved(figure: Any, **options: Any) -> bytes:
    made = io.BytesIO()
    figure.savefig(made, **options)
    return made.getvalue()
