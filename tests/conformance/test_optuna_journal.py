"""A study of Optuna in a store of any kind is what it is in Optuna's own journal."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.children import ended, start_python
from tests.servers.track import serving
from track import TrackClient

optuna = pytest.importorskip("optuna")

from optuna.storages import JournalStorage  # noqa: E402 - once Optuna is there
from optuna.storages.journal import JournalFileBackend  # noqa: E402

from track.integrations.optuna import TrackJournal  # noqa: E402

TRIALS = 50
Opened = Callable[[str], TrackClient]
_WORKER = """
import sys
from tests.conformance.test_optuna_journal import TRIALS, optimize
from track import TrackClient
from track.integrations.optuna import TrackJournal
optimize(TrackJournal(TrackClient(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3]))
"""


def optimize(backend: Any, trials: int, seed: int, dies_at: int | None = None) -> Any:
    """Work on the study, which others may work on."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=JournalStorage(backend), study_name="squares", load_if_exists=True,
        sampler=optuna.samplers.RandomSampler(seed=seed),
    )  # fmt: skip

    def objective(trial: Any) -> float:
        x: float = trial.suggest_float("x", -1, 1)
        kind = trial.suggest_categorical("kind", ["a", None, 3])
        trial.report(x, 0)
        trial.set_user_attr("note", {"of": [kind, "\u00e4"]})
        if trial.number == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if x > 0.9:
            raise optuna.TrialPruned
        return x**2

    study.optimize(objective, n_trials=trials)
    return study


@pytest.fixture(params=["file", "sqlite", "postgresql", "mongodb", "socket"])
def uri(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give the URI of an empty store of each kind."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    monkeypatch.setenv("TRACK_SOCKET_KNOWN_HOSTS", str(tmp_path / "known_hosts"))
    if request.param == "socket":
        with serving(f"file:{tmp_path}/runs.json", None) as port:
            yield f"socket://127.0.0.1:{port}?security_layer=None"
        return
    made = {"postgresql": "sql_uri", "mongodb": "mongo_uri"}.get(request.param)
    yield f"{request.param}:{tmp_path}/runs" if made is None else request.getfixturevalue(made)


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Open stores, which are closed before their servers."""
    clients: list[TrackClient] = []

    def opened(uri: str) -> TrackClient:
        clients.append(TrackClient(uri))
        return clients[-1]

    yield opened
    for client in clients:
        client.protocol.close()


def _told(study: Any) -> list[Any]:
    """Return what a study says of its trials, but for when."""
    return [
        (one.number, one.state, one.values, one.params, one.intermediate_values, one.user_attrs, one.distributions)
        for one in study.trials
    ]


@pytest.mark.network
def test_study_of_two_workers_is_that_of_one_journal(uri: str, opened: Opened, tmp_path: Path) -> None:
    """Each trial has a number of its own, and replaying what is stored into Optuna's own journal gives the same."""
    (tmp_path / "worker.py").write_text(_WORKER)
    trials = TRIALS if ":" not in uri.partition("//")[2] else 15
    workers = [start_python("worker.py", uri, str(trials), str(seed), cwd=tmp_path) for seed in (1, 2)]
    assert [ended(worker).returncode for worker in workers] == [0, 0]

    journal = TrackJournal(opened(uri))
    study = optimize(journal, 0, 1)
    own = JournalFileBackend(str(tmp_path / "optuna.log"))
    own.append_logs(list(journal.read_logs(0)))

    told = _told(study)
    assert [number for number, *_ in told] == list(range(2 * trials))
    assert told == _told(optimize(own, 0, 1))
    assert all(state.is_finished() for _, state, *_ in told)
    lines = list(journal.read_logs(0))
    reader = TrackJournal(opened(uri))
    assert [list(reader.read_logs(begin)) == lines[begin:] for begin in (130, 0, 70, 64)] == [True] * 4


def test_study_of_one_worker_is_that_of_optunas_own_journal(opened: Opened, tmp_path: Path) -> None:
    """The same seed gives the same trials, whichever journal they are in."""
    journal = TrackJournal(opened(f"file:{tmp_path}/runs.json"))

    found = optimize(journal, TRIALS, 1)

    assert _told(found) == _told(optimize(JournalFileBackend(str(tmp_path / "optuna.log")), TRIALS, 1))


def test_worker_that_is_killed_leaves_a_study_that_others_go_on_with(opened: Opened, tmp_path: Path) -> None:
    """What it has written is there, and the trial it was in is running, as Optuna has it."""
    uri = f"file:{tmp_path}/runs.json"
    (tmp_path / "worker.py").write_text(_WORKER.replace("int(sys.argv[3])", "1, dies_at=20"))
    assert ended(start_python("worker.py", uri, str(TRIALS), "1", cwd=tmp_path)).returncode == -signal.SIGKILL

    study = optimize(TrackJournal(opened(uri)), 5, 2)

    assert [one.number for one in study.trials] == list(range(26))
    assert [one.number for one in study.trials if not one.state.is_finished()] == [20]
    assert study.trials[20].user_attrs


def test_journal_is_in_no_list_of_trials(opened: Opened, tmp_path: Path) -> None:
    """It floods nothing: there is no trial, and few groups."""
    client = opened(f"file:{tmp_path}/runs.json")
    optimize(TrackJournal(client), TRIALS, 1)

    assert client.protocol.fetch_trials({"deleted": {"$exists": True}}) == client.protocol.fetch_trials() == []
    assert len(client.protocol.fetch_groups()) <= 1 + 6 * TRIALS // TrackJournal.LINES
