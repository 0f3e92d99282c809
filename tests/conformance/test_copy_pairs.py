"""``track copy`` from any kind of store to any: every fact of a rich store is there, to the last bit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.children import python
from tests.conformance.conftest import sql_database
from tests.servers import mongo
from tests.servers.track import serving
from track import CustomStatus, TrackClient, Trial, fetch
from track.aggregators.aggregator import RingAggregator, StatAggregator, ValueAggregator
from track.artifacts import artifacts_in
from track.cli import main
from track.persistence import get_protocol
from track.persistence.query import ALSO_DELETED
from track.serialization import to_json

pytestmark = pytest.mark.network

KINDS = ["file", "sqlite", "pickled", "cockroach", "mongodb", "socket", "encrypted"]
_DIES = "import os, sys, track; t = track.TrackClient(sys.argv[1]).new_trial(name='dies', parameters={'x': 1}); "
_DIES += "t.start(); t.log_metrics(step=0, loss=1.0); os._exit(9)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder for all stores here."""
    return tmp_path_factory.mktemp("pairs")


@pytest.fixture(autouse=True)
def _own_folders(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _keep_in(folder, monkeypatch)


def _keep_in(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Keep spills, certificates and known servers in a folder."""
    for name in ("LOG_SPILL_FOLDER", "SOCKET_FOLDER", "SOCKET_KNOWN_HOSTS", "HOME"):
        patch.setenv(f"TRACK_{name}", str(folder / name.lower()))


@pytest.fixture(scope="module")
def rich(folder: Path) -> str:
    """Give a file in which is what runs can have."""
    uri = f"file:{folder}/rich/runs.json"
    with pytest.MonkeyPatch.context() as patch:
        _keep_in(folder, patch)
        client = TrackClient(uri)
        client.set_project(name="zähler/数", description="of people", tags={"team": "a"}, metadata={"a.b": 1})
        client.set_group(name="idea", metadata={"why": [1, None, math.inf]})
        _log_much(client)
        _log_ends(client)
        _log_odd(client)
        client.save()
        assert python("-c", _DIES, uri).returncode == 9
    return uri


def _log_much(client: TrackClient) -> None:
    """A run of two lives with all kinds of metrics, media and files, and its output."""
    parameters = {"lr": 0.1, "opt": {"name": "ädäm", "betas": (0.9, 0.999), "none": None, "deep": {"a.b": [1, {}]}}}
    first = client.new_trial(name="much \U0001f680", description="a\nnote", parameters=parameters, tags={"paper": "v2"})
    first.capture_output()
    first.start()
    print("printed ü")
    for step, loss in enumerate([0.5, math.nan, math.inf, -math.inf, -0.0, 2**70, 2**53 + 1, True, 0.1]):
        first.log_metrics(step=step, loss=loss)
    first.log_metrics(step=3, loss=4.0)
    first.log_series("series", [0.5, 2**70, True, math.nan], range(4), [1e8, 2e8, 3e8, 3e8])
    first.log_series("plain", range(300))
    for step in ("a", (1, "b"), 0.5, -3):
        first.log_metrics(step=step, odd=1.0)
    for number in (3.0, 4.0, 8.0):
        first.log_metrics(aggregator=StatAggregator.lazy(0), stat=number)
        first.log_metrics(aggregator=RingAggregator.lazy(2, "d"), ring=number)
        first.log_metrics(aggregator=ValueAggregator.lazy(), value=number)
        with first.chrono("batch"):
            pass
        first.log_metrics(no_steps=number)
    first.log_metadata(note="größer", raw=b"\0\xff", nothing=None, nested={"x": [1, 2]})
    for step in range(3):
        first.log_image("val/sample", [[step, 255], [0, 1]], step=step, caption="a <b>")
        first.log_histogram("weights", [0.0, 1.0, float(step)], step=step)
    first.log_text("text", "ü", step="end")
    first.log_table("table", [{"a": 1, "b": None}])
    first.log_audio("voice", [0.0, 1.0], rate=2)
    first.log_artifact(b"weights" * 100, "model", step=7)
    first.log_artifact(b"better weights", "model", step=8)
    client.protocol.log_trial_artifact(first.trial, "elsewhere", "s3://bucket/data.csv", "etag:1", 3)
    first.set_status("suspended")
    first.finish()
    second = client.set_trial(uid=first.trial.uid, force=True)
    second.start()
    second.resume_from(5)
    second.log_metrics(step=5, loss=0.25)
    second.add_tags(new=None, paper="v3")
    second.log_artifact(b"last", "model", step=9)
    second.finish()


def _log_ends(client: TrackClient) -> None:
    """A run of every end, each the next revision of the same parameters, and one that nobody has begun."""
    for error in (None, ValueError("nö"), KeyboardInterrupt()):
        trial = client.new_trial(force=True, parameters={"lr": 0.2})
        trial.start()
        trial.log_metrics(loss=1.0)
        trial.finish(type(error) if error else None, error)
    for status in ("pruned", CustomStatus("half", 377), "broken", "interrupted", "completed"):
        trial = client.new_trial(force=True, parameters={"lr": 0.2})
        trial.start()
        trial.set_status(status, "by hand")
        trial.finish()
    client.new_trial(force=True, parameters={"waits": True})


def _log_odd(client: TrackClient) -> None:
    """Runs in two groups, in none, of another project, and two that are deleted."""
    protocol = client.protocol
    other = client.set_group(name="ablation", force=True)
    for trial in fetch(protocol.uri, {"name": "much \U0001f680"}):
        protocol.add_group_trial(other, trial)
    gone = [client.new_trial(force=True, name=f"mistake {number}", parameters={"x": number}) for number in (0, 1)]
    for trial in gone:
        trial.log_metrics(step=0, loss=1.0)
        trial.log_image("gone", [[1, 2]])
        trial.finish()
        client.delete_trial(trial.trial.uid)
    client.restore_trial(gone[1].trial.uid)
    client.delete_trial(gone[1].trial.uid)
    restored = client.new_trial(force=True, name="restored", parameters={"x": 2})
    restored.finish()
    client.delete_trial(restored.trial.uid)
    client.restore_trial(restored.trial.uid)
    protocol.new_trial(Trial(name="lonely", parameters={"x": 3}))


_numbers = itertools.count()


@pytest.fixture(scope="module")
def new_store(request: pytest.FixtureRequest, folder: Path) -> Iterator[Callable[[str], str]]:
    """Give what makes an empty store of a kind; servers are shared, or in this process."""
    with ExitStack() as stack:

        def new_store(kind: str) -> str:
            place = f"{folder}/{next(_numbers)}/runs"
            if kind == "cockroach":
                return stack.enter_context(sql_database(request))
            if kind == "mongodb":
                return mongo.new_database(request.getfixturevalue("mongo_server"))
            if kind == "socket":
                return f"socket://127.0.0.1:{stack.enter_context(serving('ephemeral:'))}"
            if kind == "encrypted":
                with pytest.MonkeyPatch.context() as patch:
                    _keep_in(folder, patch)
                    port = stack.enter_context(serving(f"sqlite:{place}.db", "AES"))
                return f"socket://127.0.0.1:{port}?security_layer=AES"
            return f"{kind}:{place}.json"

        yield new_store


@pytest.fixture(scope="module")
def sources(rich: str, new_store: Callable[[str], str]) -> dict[str, str]:
    """Give the copies of the rich file in a store of each kind, once they are made."""
    return {}


def _facts(uri: str) -> tuple[Any, ...]:
    """Return all that a store says: of each trial the whole document, with when what was given."""
    protocol = get_protocol(uri)
    trials = {trial.uid: to_json(trial) for trial in protocol.fetch_trials(ALSO_DELETED)}
    groups = {group.uid: to_json(group) for group in protocol.fetch_groups()}
    projects = {
        owner.uid: (owner.name, owner.description, owner.metadata, owner.tags, owner.moments)
        for owner in protocol.fetch_projects()
    }
    order = [trial.uid for trial in protocol.fetch_trials()]
    protocol.close()
    return trials, groups, projects, order


def _contents(uri: str) -> list[Any]:
    """Return what is in all files and media of a store."""
    protocol = get_protocol(uri)
    lines = [line for trial in protocol.fetch_trials(ALSO_DELETED) for line in artifacts_in(protocol, trial)]
    found = [
        (line.name, line.step, line.media, line.at, line.read_bytes()) for line in lines if line.name != "elsewhere"
    ]
    protocol.close()
    return found


def _as_elsewhere(facts: tuple[Any, ...], place: str) -> tuple[Any, ...]:
    """Return the facts of a file store with its files named from outside."""
    for trial in facts[0].values():
        for line in trial.get("artifacts", []):
            if ":" not in line["uri"]:
                line["uri"] = f"{place}/{line['uri']}"
    return facts


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_everything_is_there(
    rich: str, sources: dict[str, str], new_store: Callable[[str], str], folder: Path, source: str, target: str
) -> None:
    """Groups, parameters, numbers of any kind, ends, attempts, deleted runs, files, media and times are equal."""
    if source not in sources:
        sources[source] = new_store(source)
        assert main(["copy", rich, sources[source], "--running"]) == 0
    made = new_store(target)

    code = main(["copy", sources[source], made, "--running"])

    assert code == 0
    expected = _as_elsewhere(_facts(rich), f"file://{folder}/rich/runs.json.artifacts")
    assert _facts(made) == expected
    assert _contents(made) == _contents(rich)
