"""The tables of "Their calls, and ours": each row is typed, theirs with the real package, and the same is there."""

from __future__ import annotations

import contextvars
import importlib.metadata
import importlib.util
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

import track
from tests import pages
from tests.trackers import programs
from track.importing import import_runs
from track.structure import Trial

PAGE = "coming_from/calls.rst"
NOTHING = "–"
READY = """
import matplotlib
from pathlib import Path
matplotlib.use("agg")
from matplotlib.figure import Figure
figure = Figure()
figure.gca().plot([1, 2])
Path("plot.png").write_bytes(b"picture")
Path("plots").mkdir()
Path("plots/1.png").write_bytes(b"another")
"""
"""What a reader has beside what the page says before the tables."""
BEFORE = {
    "wandb": "from unittest import mock\nwandb.setup(wandb.Settings(reinit='finish_previous', mode='offline'))",
    "neptune": "import os\nos.environ['NEPTUNE_MODE'] = 'offline'",
    "comet_ml": "import functools\ncomet_ml.start = functools.partial(comet_ml.start, online=False)",
}
"""Lines that keep a tracker from looking for its server, and let one program begin several runs."""
AFTER = {"sacred": "ex.run()", "tensorboardX": "writer.close()"}
INSTEAD = {
    "wandb.Api()": "mock.create_autospec(wandb.Api, instance=True)",  # asks the server
    "writer.add_graph(model)": "writer.add_graph",  # takes a model of torch
    "@ex.main": "@ex.main\ndef main(_run):",
    "with trial:": "trial.__enter__()",
}
IMPORTED = {
    "wandb": ("wandb", "."),
    "mlflow": ("mlflow", "mlflow.db"),
    "tensorboardX": ("tensorboard", "logs"),
    "trackio": ("trackio", "."),
    "sacred": ("sacred", "runs"),
    "aim": ("aim", "."),
    "dvclive": ("dvclive", "."),
}
"""The source as which the runs of a package are imported, and what it has written; those of the others cannot be."""
OTHER = {
    # Its `save` makes a link, which is not followed; a parameter that comes late is one there.
    "wandb": {"plot.png", "epochs", "requirements.txt"},
    # A text and a table are files there, and so is each of a folder.
    "mlflow": {"note", "note.txt", "errors", "errors.json", "plots", "1.png"},
    # A run for each name of add_scalars; a figure is made of pixels; a text gets a longer name.
    "tensorboardX": {"loss", "loss/train", "loss/val", "curve", "note", "note/text_summary"},
    "trackio": set(),
    "sacred": {"seed", "cout.txt", "code/typed.py"},
    "aim": set(),
    # The last image, a file; what DVC keeps.
    "dvclive": {"sample", "plots/images/sample.png", "plot.png"},
}
"""Names of what is not the same where the runs of a package are imported."""

PACKAGES = {
    name: (version, imports)
    for name, version, imports in re.findall(
        r"^Of ``(\w+)`` ([\d.]+)[^\n]*, after ``(.+?)``", (pages.DOCS / PAGE).read_text(encoding="utf-8"), re.MULTILINE
    )
}


def _calls(package: str, column: int) -> list[str]:
    """Return the calls of a column of a package's table, ready to be run."""
    cells = [row[column] for row in pages.rows(package, PAGE)]
    calls = [pages.literal(cell) for cell in cells if cell != NOTHING]
    for written, instead in INSTEAD.items():
        calls = [call.replace(written, instead) for call in calls]
    return calls


def _begin() -> str:
    blocks = pages.BLOCK.finditer((pages.DOCS / PAGE).read_text(encoding="utf-8"))
    return READY + "".join(map(pages.code, blocks))


def _program(package: str) -> str:
    """Return a program of the calls of a package; what follows one that begins a block is in it."""
    lines, indent = [], ""
    for call in _calls(package, 0):
        lines.append(textwrap.indent(call, indent))
        indent = "    " if call.endswith(":") else indent
    _, imports = PACKAGES[package]
    return "\n".join([_begin(), imports, BEFORE.get(package, ""), *lines, AFTER.get(package, "")])


def _facts(trials: list[Trial]) -> set[tuple[Any, ...]]:
    """Return what trials have, each with its name."""
    facts: set[tuple[Any, ...]] = set()
    for trial in trials:
        facts |= {("parameter", *item) for item in trial.parameters.items()}
        facts |= {("tag", *item) for item in trial.tags.items()}
        metadata = trial.metadata | trial.metadata.get("summary", {}) | trial.metadata.get("info", {})
        facts |= {("fact", name, metadata[name]) for name in ("best", "epochs") if name in metadata}
        facts |= {("group", trial.group_id)} - {("group", None)}
        facts |= {("status", str(trial.status))} & {("status", "exception")}
        if "parent" in trial.metadata:
            facts.add(("parent", trial.metadata["parent"] in {other.uid for other in trials}))
        for name, metric in trial.metrics.items():
            steps, values = (column.tolist() for column in metric.to_numpy())
            facts |= {("metric", name, step, round(value, 6)) for step, value in zip(steps, values, strict=True)}
        shown = {one.name: one for one in trial.media()}
        facts |= {("media", one.name, one.kind) for one in shown.values()}
        # Width and height of a PNG.
        facts |= {("image", one.name, one.read_bytes()[16:24]) for one in shown.values() if one.kind == "image"}
        facts |= {("file", one["name"], one["size"]) for one in trial.artifacts if one["name"] not in shown}
    return facts


def _state() -> str:
    """Return all of the store but the times at which it changed."""
    trials = track.fetch("file://report.json")
    stored = [(*sorted(map(repr, _facts([one]))), one.uid, one.status, one.metadata.get("_alerts")) for one in trials]
    return repr(stored)


@pytest.fixture
def ours(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[tuple[Any, ...]]:
    """Type our column, row by row: each changes something, or finds something. What is there in the end."""
    pytest.importorskip("matplotlib")
    (tmp_path / "ours").mkdir()
    monkeypatch.chdir(tmp_path / "ours")
    # A trial whose block is begun is the parent of others only here.
    contextvars.copy_context().run(_type, _calls(package, 1))
    return _facts(track.fetch("file://report.json"))


def _type(calls: list[str]) -> None:
    namespace: dict[str, Any] = {}
    exec(_begin(), namespace)
    before = _state()
    for call in calls:
        if call.startswith("track.fetch"):
            assert eval(call, namespace), f"{call} finds nothing"
            continue
        exec(call, namespace)
        after = _state()
        assert after != before or "client" in call.split("(")[0], f"{call} changes nothing"
        before = after


packages = pytest.mark.parametrize("package", PACKAGES)


@packages
def test_rows_can_be_typed(package: str, ours: set[tuple[Any, ...]], tmp_path: Path) -> None:
    """Ours does what is written there; theirs exists, and leaves the same behind."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed (requirements-trackers.txt)")
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "typed.py").write_text(_program(package), encoding="utf-8")

    programs.run(folder, "typed.py")

    if package in IMPORTED:
        source, place = IMPORTED[package]
        store = f"file:{tmp_path}/imported.json"
        report = import_runs(source, folder / place, store)
        assert report.is_complete, report.to_json()
        found = {fact for fact in _facts(track.fetch(store)) if not str(fact[1]).startswith("system/")}
        same = [{fact for fact in facts if fact[1] not in OTHER[package]} for facts in (found, ours)]
        assert same[0] == same[1]


@packages
def test_versions_are_those_that_are_installed(package: str) -> None:
    """The page names the version whose calls are typed."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed (requirements-trackers.txt)")
    (distribution,) = set(importlib.metadata.packages_distributions()[package])

    assert importlib.metadata.version(distribution).startswith(f"{PACKAGES[package][0]}.")


def test_every_package_is_in_the_requirements() -> None:
    """What the page does not say was only tried by hand is typed by these tests."""
    needed = (pages.ROOT / "requirements-trackers.txt").read_text(encoding="utf-8")
    typed = set(re.findall(r"^(\w+)(?:-skinny)?==", needed, re.MULTILINE))

    assert set(PACKAGES) - typed == {"neptune", "comet_ml"}


ELSEWHERE = {
    "neptune": {"init_run", "append", "stop"},
    "comet_ml": {"log_parameters", "log_other", "log_asset", "log_asset_folder"},
    "clearml": {"Task", "report_scalar", "upload_artifact"},
    "lightning": {"log_hyperparams"},
}
"""Verbs of packages that requirements-trackers.txt does not have."""


def test_verbs_that_are_translated_exist() -> None:
    """What the short table calls a verb of theirs is one of a tracker."""
    wandb = pytest.importorskip("wandb")
    mlflow = pytest.importorskip("mlflow")
    aim = pytest.importorskip("aim")
    tensorboard = pytest.importorskip("tensorboardX")
    dvclive = pytest.importorskip("dvclive")
    objects = [wandb, wandb.Run, wandb.Api, mlflow, mlflow.MlflowClient, aim, aim.Run, aim.Repo]
    objects += [tensorboard, tensorboard.SummaryWriter, dvclive.Live]

    verbs = {verb for row in pages.rows("verbs", "coming_from/others.rst") for verb in re.findall(r"``(\w+)``", row[0])}

    known = set().union(*ELSEWHERE.values())
    assert {verb for verb in verbs if not any(hasattr(one, verb) for one in objects)} == known
