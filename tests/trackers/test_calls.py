"""The tables of "Their calls, and ours": theirs are typed with the real package, and what ours leave is there."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

import track
from tests import calls, pages
from tests.calls import PACKAGES
from tests.trackers import programs
from track.importing import import_runs

READY = f"""
from pathlib import Path
import matplotlib
matplotlib.use("agg")
from matplotlib.figure import Figure
figure = Figure()
figure.gca().plot([1, 2])
{inspect.getsource(calls.files)}
files()
"""
"""What a reader has beside what the page says before the tables."""
BEFORE = {
    "wandb": "from unittest import mock\nwandb.setup(wandb.Settings(reinit='finish_previous', mode='offline'))",
    "neptune": "import os\nos.environ['NEPTUNE_MODE'] = 'offline'",
    "comet_ml": "import functools\ncomet_ml.start = functools.partial(comet_ml.start, online=False)",
}
"""Lines that keep a tracker from looking for its server, and let one program begin several runs."""
AFTER = {"sacred": "ex.run()", "tensorboardX": "writer.close()"}
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


packages = pytest.mark.parametrize("package", PACKAGES)


def _program(package: str) -> str:
    """Return a program of the calls of a package; what follows one that begins a block is in it."""
    lines, indent = [], ""
    for call in calls.calls(package, calls.THEIRS):
        lines.append(textwrap.indent(call, indent))
        indent = "    " if call.endswith(":") else indent
    _, imports = PACKAGES[package]
    return "\n".join([READY, calls.BEGIN, imports, BEFORE.get(package, ""), *lines, AFTER.get(package, "")])


def _same(package: str, facts: set[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
    """Return those that are the same here and there."""
    return {fact for fact in facts if fact[1] not in OTHER[package] and not str(fact[1]).startswith("system/")}


def _skip_without(*needed: str) -> None:
    for package in needed:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


@packages
def test_rows_can_be_typed(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their calls exist, and a run of theirs that is imported has what ours leave behind."""
    _skip_without(package, "matplotlib")
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    (tmp_path / "theirs" / "typed.py").write_text(_program(package), encoding="utf-8")

    programs.run(tmp_path / "theirs", "typed.py")

    if package in IMPORTED:
        source, place = IMPORTED[package]
        store = f"file:{tmp_path}/imported.json"
        report = import_runs(source, tmp_path / "theirs" / place, store)
        assert report.is_complete, report.to_json()
        monkeypatch.chdir(tmp_path / "ours")
        assert _same(package, calls.facts(track.fetch(store))) == _same(package, calls.typed(package))


@packages
def test_versions_are_those_that_are_installed(package: str) -> None:
    """The page names the version whose calls are typed."""
    _skip_without(package)
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
