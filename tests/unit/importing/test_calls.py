"""The page that has the calls of other trackers beside ours: ours run, wherever those are installed or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import track
from tests import calls, pages


def test_each_tracker_has_a_table() -> None:
    """Those whose runs are imported, and two more."""
    known = {"wandb", "mlflow", "tensorboardX", "trackio", "sacred", "aim", "dvclive"}
    assert set(calls.PACKAGES) == {*known, "neptune", "comet_ml"}


@pytest.mark.parametrize("package", calls.PACKAGES)
def test_our_calls_run(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In the order of the table, in a program as the page begins: each stores or finds something, and none warns."""
    monkeypatch.chdir(tmp_path)

    assert calls.typed(package)
    assert not [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_what_a_verb_is_called_here_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call of the short table, with what it speaks of."""
    monkeypatch.chdir(tmp_path)
    calls.files()
    Path("play.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    block = next(pages.BLOCK.finditer((pages.DOCS / "coming_from/others.rst").read_text(encoding="utf-8")))
    scope: dict[str, Any] = {
        "track": track,
        "figure": calls.Figure(),
        "html": "<b>x</b>",
        "text": "hello",
        "rows": [[1]],
    }
    scope |= {"image": np.zeros((4, 4)), "values": np.arange(9.0), "samples": np.zeros(8), "epoch": 3, "loss": 0.5}

    exec(pages.code(block), scope)
    for _, ours in pages.rows("verbs", "coming_from/others.rst"):
        exec(pages.literal(ours).replace("TrackClient(...)", "client"), scope)

    (trial,) = track.fetch(calls.STORE, {"metadata.gpu": "V100"})
    assert {one.kind for one in trial.media()} == {
        "image",
        "figure",
        "histogram",
        "table",
        "text",
        "audio",
        "video",
        "html",
    }
