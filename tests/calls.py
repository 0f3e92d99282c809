"""The tables of "Their calls, and ours": what they say, and our column typed row by row."""

from __future__ import annotations

import contextvars
import re
from pathlib import Path
from typing import Any

import track
from tests import pages
from track.structure import Trial

PAGE = "coming_from/calls.rst"
NOTHING = "–"
STORE = "file://report.json"
_TEXT = (pages.DOCS / PAGE).read_text(encoding="utf-8")
BEGIN = "".join(map(pages.code, pages.BLOCK.finditer(_TEXT)))
"""The program before the tables."""
PACKAGES = {
    name: (version, imports)
    for name, version, imports in re.findall(r"^Of ``(\w+)`` ([\d.]+), after ``(.+?)``", _TEXT, re.MULTILINE)
}
"""The version of each package, and what is imported before its rows."""
THEIRS, OURS = 0, 1
INSTEAD = {
    "wandb.Api()": "mock.create_autospec(wandb.Api, instance=True)",  # asks the server
    "writer.add_graph(model)": "writer.add_graph",  # takes a model of torch
    "@ex.main": "@ex.main\ndef main(_run):",
    "with trial:": "trial.__enter__()",
}
"""What is typed instead of what cannot be, or is the beginning of more lines than one."""


class Figure:
    """What counts as a figure of plotly."""

    __module__ = "plotly.graph_objects"

    def to_json(self) -> str:
        return "{}"


def calls(package: str, column: int) -> list[str]:
    """Return the calls of a column of a package's table, ready to be run."""
    cells = [row[column] for row in pages.rows(package, PAGE)]
    written = [pages.literal(cell) for cell in cells if cell != NOTHING]
    for call, instead in INSTEAD.items():
        written = [one.replace(call, instead) for one in written]
    return written


def files() -> None:
    """Make those that the page speaks of."""
    Path("plot.png").write_bytes(b"picture")
    Path("plots").mkdir()
    Path("plots/1.png").write_bytes(b"another")


def facts(trials: list[Trial]) -> set[tuple[Any, ...]]:
    """Return what trials have, each with its kind and its name."""
    found: set[tuple[Any, ...]] = set()
    for trial in trials:
        found |= {("parameter", *item) for item in trial.parameters.items()}
        found |= {("tag", *item) for item in trial.tags.items()}
        metadata = trial.metadata | trial.metadata.get("summary", {}) | trial.metadata.get("info", {})
        found |= {("fact", name, metadata[name]) for name in ("best", "epochs") if name in metadata}
        found |= {("group", trial.group_id)} - {("group", None)}
        found |= {("status", str(trial.status))} & {("status", "exception")}
        if "parent" in trial.metadata:
            found.add(("parent", trial.metadata["parent"] in {other.uid for other in trials}))
        for name, metric in trial.metrics.items():
            steps, values = (column.tolist() for column in metric.to_numpy())
            found |= {("metric", name, step, round(value, 6)) for step, value in zip(steps, values, strict=True)}
        shown = {one.name: one for one in trial.media()}
        found |= {("media", one.name, one.kind) for one in shown.values()}
        # Width and height of a PNG.
        found |= {("image", one.name, one.read_bytes()[16:24]) for one in shown.values() if one.kind == "image"}
        found |= {("file", one["name"], one["size"]) for one in trial.artifacts if one["name"] not in shown}
    return found


def typed(package: str) -> set[tuple[Any, ...]]:
    """Type our column into a program in the working directory, and return what is there in the end.

    Each row changes the store, or finds something in it.
    """
    files()
    # A trial whose block is begun is the parent of others only here.
    contextvars.copy_context().run(_type, calls(package, OURS))
    return facts(track.fetch(STORE))


def _type(rows: list[str]) -> None:
    scope: dict[str, Any] = {"figure": Figure()}
    exec(BEGIN, scope)
    before = _state()
    for call in rows:
        if call.startswith("track.fetch"):
            assert eval(call, scope), f"{call} finds nothing"
            continue
        exec(call, scope)
        after = _state()
        # A trial without parameters is stored with its first number.
        assert after != before or "client" in call.split("(")[0], f"{call} changes nothing"
        before = after


def _state() -> str:
    """Return all of the store but the times at which it changed."""
    trials = track.fetch(STORE)
    return repr(
        [(*sorted(map(repr, facts([one]))), one.uid, one.status, one.metadata.get("_alerts")) for one in trials]
    )
