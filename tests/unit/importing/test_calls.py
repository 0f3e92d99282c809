"""The page that has the calls of other trackers beside ours: ours run, wherever those are installed or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import calls


def test_each_tracker_has_a_table() -> None:
    """Those whose runs are imported, and two more."""
    known = {"wandb", "mlflow", "tensorboardX", "trackio", "sacred", "aim", "dvclive"}
    assert set(calls.PACKAGES) == {*known, "neptune", "comet_ml"}


@pytest.mark.parametrize("package", calls.PACKAGES)
def test_our_calls_run(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the table, in a program as the page begins: each stores something, or finds something."""
    monkeypatch.chdir(tmp_path)

    assert calls.typed(package)
