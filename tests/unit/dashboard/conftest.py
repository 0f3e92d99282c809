"""A store with runs, its page, and who asks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.dashboard.asking import Asker, enter
from track import TrackClient
from track.dashboard import Dashboard


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """A file with three runs: two that went well, one that failed."""
    uri = f"file://{tmp_path}/report.json"
    client = TrackClient(uri)
    client.set_project(name="digits")
    for lr in (0.1, 0.01, 0.001):
        trial = client.new_trial(name="baseline", parameters={"lr": lr, "model": {"depth": 3}}, force=True)
        try:
            with trial:
                for step in range(100):
                    trial.log_metrics(step=step, loss=lr / (step + 1))
                trial.log_metrics(accuracy=1 - lr)
                if lr == 0.001:
                    raise RuntimeError("CUDA out of memory")
        except RuntimeError:
            pass
    client.save()
    return uri


@pytest.fixture
def page(uri: str) -> Dashboard:
    """The page of it."""
    return Dashboard(uri, "secret", interval=0)


@pytest.fixture
def asker(page: Dashboard) -> Asker:
    """Somebody who has come in."""
    return enter(page, "secret")


@pytest.fixture
def stranger(page: Dashboard) -> Asker:
    """Somebody who has not."""
    return Asker(page)
