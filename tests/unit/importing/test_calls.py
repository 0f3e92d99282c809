"""The page that has the calls of other trackers beside ours: ours run."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

import track

PAGE = Path(__file__).parents[3] / "docs" / "coming_from" / "calls.rst"
_TABLE = re.compile(r"^(?P<name>\w+)\n-+\n\n\.\. list-table::\n(?P<rows>(?:[ ]{3}.*\n|\n)+)", re.MULTILINE)
_OURS = re.compile(r"^   \* - ``.+``\n     - ``(?P<call>.+)``\n     - .+\n", re.MULTILINE)
TABLES = {found["name"]: found["rows"] for found in _TABLE.finditer(f"{PAGE.read_text()}\n")}


class _Figure:
    """What counts as a figure of plotly."""

    __module__ = "plotly.graph_objects"

    def to_json(self) -> str:
        return "{}"


def test_each_tracker_has_a_table() -> None:
    """Those whose runs are imported, and two more."""
    known = {"wandb", "MLflow", "TensorBoard", "trackio", "sacred", "aim", "dvclive"}
    assert set(TABLES) == {*known, "Neptune", "Comet"}


@pytest.mark.parametrize("name", TABLES)
def test_our_calls_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the table, in a program as the page begins."""
    monkeypatch.chdir(tmp_path)
    Path("plot.png").write_bytes(b"pixels")
    os.mkdir("plots")
    Path("plots/one.txt").write_text("one")
    (begin,) = re.findall(r"code-block:: python\n\n((?:   .*\n|\n)+)", PAGE.read_text())
    scope: dict[str, Any] = {"track": track, "config": {"lr": 0.5}, "loss": 0.25, "step": 3, "figure": _Figure()}
    scope |= {"image": [[0.0, 1.0]], "values": [1.0, 2.0, 4.0], "rows": [[1], [2]], "samples": [0.0, 0.5], "rate": 8000}
    exec(re.sub(r"(?m)^   ", "", begin), scope)

    calls = [found["call"] for found in _OURS.finditer(TABLES[name])]
    for call in calls:
        exec(call, scope)

    assert len(calls) >= 5
    assert track.fetch("file://report.json")
