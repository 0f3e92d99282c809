"""The backends that the docs show pass the suite that they offer."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.track import serving
from track import TrackClient, fetch
from track.artifacts import find, gc
from track.persistence import get_protocol, register, unregister
from track.persistence.protocol import Protocol
from track.testing import ProtocolTests

EXAMPLES = Path(__file__).parents[2] / "examples"


def _example(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestLines(ProtocolTests):
    """The example of docs/howto/extending.rst."""

    @pytest.fixture
    def protocol(self, tmp_path: Path) -> Protocol:
        """Give an empty store."""
        return _example("own_backend_events").LinesBackend(f"lines:{tmp_path}/facts.jsonl")

    def reopen(self, protocol: Any) -> Protocol:
        """Return what a new process would see."""
        return _example("own_backend_events").LinesBackend(protocol.uri)


@pytest.fixture
def lines() -> Iterator[None]:
    """Let ``lines:`` be served by the example."""
    register("lines", _example("own_backend_events").LinesBackend)
    yield
    unregister("lines")


class TestServedLines(ProtocolTests):
    """The same backend behind a server."""

    @pytest.fixture
    def protocol(self, tmp_path: Path, lines: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Protocol]:
        """Give a client of an empty server."""
        monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
        with serving(f"lines:{tmp_path}/facts.jsonl") as port:
            self.opened = [get_protocol(f"socket://127.0.0.1:{port}")]
            yield self.opened[0]
            for protocol in self.opened:
                protocol.close()

    def reopen(self, protocol: Protocol) -> Protocol:
        """Return another client, once everything is delivered."""
        protocol.flush()
        self.opened.append(get_protocol(protocol.uri))
        return self.opened[-1]


@pytest.mark.parametrize("uri", ["multi:?to=lines:{at}&to=file:{other}", "multi:?to=file:{other}&to=lines:{at}"])
def test_backend_of_ones_own_is_mirrored_and_mirrors(tmp_path: Path, lines: None, uri: str) -> None:
    """Whether it decides or follows, it has the same trial, at the same times, as a backend of ours."""
    at, other = tmp_path / "facts.jsonl", tmp_path / "runs.json"
    client = TrackClient(uri.format(at=at, other=other))
    with client.new_trial(parameters={"lr": 0.1}) as trial:
        trial.log_metrics(step=0, loss=0.5)
    client.protocol.close()

    ((own,), (ours,)) = fetch(f"lines:{at}"), fetch(f"file:{other}")

    assert own.uid == ours.uid
    assert own.timestamps == ours.timestamps
    assert dict(own.metrics["loss"]) == dict(ours.metrics["loss"]) == {0: 0.5}


def test_backend_of_ones_own_has_artifacts_beside_it(tmp_path: Path, lines: None) -> None:
    """A store that says which file it is has its artifacts beside that file, and they are found and collected there."""
    uri = f"lines:{tmp_path}/facts.jsonl"
    (tmp_path / "model.bin").write_bytes(b"weights")
    with TrackClient(uri).new_trial(parameters={"lr": 0.1}) as trial:
        trial.log_file(str(tmp_path / "model.bin"))

    assert find(uri, "model.bin").read_bytes() == b"weights"
    assert gc(uri).removed == []
    assert (tmp_path / "facts.jsonl.artifacts" / "objects").is_dir()


class TestCsv(ProtocolTests):
    """The backend by methods of docs/howto/extending.rst, as users get it, without what it does not refuse."""

    @pytest.fixture
    def protocol(self, tmp_path: Path) -> Iterator[Protocol]:
        """Give an empty store."""
        register("csv", _example("own_backend_methods").CsvBackend)
        yield get_protocol(f"csv:{tmp_path}/numbers.csv")
        unregister("csv")

    test_unknown_trial_is_refused = None  # type: ignore[assignment]
    test_artifact_of_an_unknown_trial_is_refused = None  # type: ignore[assignment]
    test_unknown_status_is_refused = None  # type: ignore[assignment]
    test_metric_that_is_no_number_is_refused = None
    test_group_needs_its_project = None  # type: ignore[assignment]
    test_project_created_again_stays_as_it_is = None  # type: ignore[assignment]
    test_group_created_again_is_returned = None  # type: ignore[assignment]
