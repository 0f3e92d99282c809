"""A store whose points are outside of its JSON answers as one that never folded."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as some

from tests.reopening import reopened
from track.containers import chunks
from track.events import Event
from track.metrics import briefs_of
from track.persistence.ephemeral import EphemeralProtocol
from track.persistence.file import replaying
from track.persistence.local import FileProtocol
from track.persistence.protocol import Protocol
from track.persistence.query import ALSO_DELETED
from track.persistence.state import placing
from track.testing import ProtocolTests
from track.testing.model import Model, answers
from track.testing.strategies import event_lists

_counter = itertools.count()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all points leave the JSON, in chunks of three, and memory after a few lines."""
    monkeypatch.setattr(placing, "FROM", 0)
    monkeypatch.setattr(placing, "SMALLEST", 1)
    monkeypatch.setattr(chunks, "LARGEST", 3)
    monkeypatch.setattr(replaying, "SLICE", 300)


def _columns(protocol: Any) -> dict[Any, Any]:
    """Return everything that the points of each metric come to."""
    found = {}
    for trial in protocol.fetch_trials(ALSO_DELETED):
        for name, points in protocol.fetch_points(trial.uid).items():
            container = trial.metrics[name]
            arrays = [(array.dtype.name, repr(array.tolist())) for array in container.to_numpy(times=True)]
            values = [repr(value) for value in (container.values() if hasattr(container, "values") else container)]
            tail = protocol.fetch_points(trial.uid, [name], 2)[name]
            found[trial.uid, name] = repr(points), repr(tail), arrays, values, len(container), repr(container.last())
            brief = msgspec.structs.astuple(briefs_of(trial.metrics)[name])
            found[trial.uid, name, "brief"] = ["nan" if field != field else field for field in brief]
    return found


class TestFolded(ProtocolTests):
    """The whole contract, when every question is asked of a store that has just been folded."""

    @pytest.fixture
    def protocol(self, tmp_path: Path) -> Protocol:
        """Give a store in a new folder."""
        return FileProtocol(f"file:{tmp_path}/runs.json")

    def reopen(self, protocol: Protocol) -> Protocol:
        """Fold, and read what is outside of the JSON."""
        protocol.compact()
        assert isinstance(protocol, FileProtocol)
        return reopened(protocol)


@settings(
    max_examples=150,
    phases=[Phase.generate],
)
@given(events=event_lists(), moments=some.lists(some.sampled_from(["", "", "fold", "open", "look"])))
def test_folding_at_any_moment_changes_nothing(tmp_path: Path, events: list[Event], moments: list[str]) -> None:
    """Wherever it is folded, opened again or looked at, a store answers like the model, and like one in memory."""
    protocol = FileProtocol(f"file:{tmp_path}/{next(_counter)}.json")
    memory = EphemeralProtocol()
    memory.apply(*events)

    for event, moment in itertools.zip_longest(events, moments[: len(events)], fillvalue=""):
        protocol.apply(event)
        if moment == "fold":
            protocol.commit()
        elif moment == "open":
            protocol = reopened(protocol)
        elif moment == "look":
            _columns(protocol)
    protocol.commit()
    protocol = reopened(protocol)

    model = Model()
    model.apply(*events)
    assert answers(protocol) == model.answers()
    assert _columns(protocol) == _columns(memory)
