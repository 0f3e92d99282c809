"""Figures of plotly: their JSON is kept as it is, and a sketch shows what common traces hold."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.unit.dashboard.test_onefile import unpacked
from track import TrackClient
from track.dashboard import as_document
from track.dashboard.media import listed
from track.media.sketch import sketch_of


class Figure:
    """Stands in for a figure of plotly: one is known by the package that its type is of."""

    __module__ = "plotly.graph_objects"

    def __init__(self, *traces: dict[str, Any], title: str = "") -> None:
        self.text = json.dumps({"data": traces, "layout": {"title": {"text": title}}})

    def to_json(self) -> str:
        """Return it as plotly writes it."""
        return self.text


def _packed(*values: float) -> dict[str, str]:
    return {"dtype": "f8", "bdata": base64.b64encode(struct.pack(f"<{len(values)}d", *values)).decode()}


_LINE = {"type": "scatter", "y": _packed(1.0, 3.0, 2.0)}
_SHAPES: list[tuple[dict[str, Any], str, int]] = [
    (_LINE, "polyline", 1),
    ({"type": "scatter", "mode": "markers", "x": ["2020-01-01", "2020-01-02"], "y": [1, None]}, "circle", 1),
    ({"type": "bar", "x": ["cat", "dog"], "y": [3, -1]}, "rect", 3),
    ({"type": "histogram", "x": list(range(100))}, "rect", 33),
    ({"type": "heatmap", "z": [[1, 2], [3, None]]}, "rect", 4),
    ({"type": "heatmap", "z": _packed(1.0, 2.0, 3.0, 4.0, 5.0, 6.0) | {"shape": "2, 3"}}, "rect", 7),
]


@pytest.mark.parametrize(("trace", "tag", "count"), _SHAPES)
def test_common_traces_are_drawn(trace: dict[str, Any], tag: str, count: int) -> None:
    """Lines, points, bars, counts and heat, of lists and of packed arrays; the drawing says that it is a sketch."""
    drawn = sketch_of(Figure(trace, title="<script>alert(1)</script>").to_json().encode())

    assert drawn is not None
    found = list(ElementTree.fromstring(drawn).iter())
    assert sum(one.tag.endswith(f"}}{tag}") for one in found) == count
    assert b"a sketch: the whole figure is its JSON" in drawn
    assert b"<script" not in drawn


@pytest.mark.parametrize(
    "data",
    [
        Figure({"type": "pie", "values": [1]}).text,
        Figure().text,
        Figure(_LINE, {"type": "heatmap", "z": [[1]]}).text,
        Figure({"type": "bar", "orientation": "h", "x": [1], "y": ["a"]}).text,
        Figure({"type": "scatter", "y": {"dtype": "f8", "bdata": "AAA"}}).text,
        Figure({"type": "scatter", "y": []}).text,
        Figure({"type": "heatmap", "z": [[]]}).text,
        '{"data": [[]]}',
        "[" * 100_000,
    ],
)
def test_what_is_not_drawn_is_no_error(data: str) -> None:
    """Of other kinds, and of what is no figure, there is no sketch: the JSON alone is stored."""
    assert sketch_of(data.encode()) is None


def test_page_notebook_and_file_show_the_sketch(tmp_path: Path) -> None:
    """The JSON stays what was logged; what shows it shows the sketch."""
    figure = Figure(_LINE)
    client = TrackClient(f"file:{tmp_path}/runs.json", environment="none")
    with client.new_trial(parameters={}) as trial:
        trial.log_figure("curve", figure, step=3)
        trial.log_figure("pie", Figure({"type": "pie", "values": [1]}))

    curve, pie = trial.media()
    seen = {one["name"]: one for one in listed(trial.trial)[0]}
    made = as_document(client.protocol, client.protocol.brief_trials())
    filed = {one["name"]: one for one in unpacked(made.html)[0]["pages"][0]["media"]}

    assert (curve.text, pie.thumb) == (figure.text, None)
    assert curve.thumb is not None
    assert seen["curve"]["thumb"] == curve.thumb.digest
    assert "thumb" not in seen["pie"]
    assert "data:image/svg+xml;base64," in curve._repr_html_()
    assert filed["curve"]["src"].startswith("data:image/svg+xml,<svg")
    assert "src" not in filed["pie"]
