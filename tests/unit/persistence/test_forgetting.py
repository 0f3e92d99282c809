"""What is forgotten leaves nothing behind; and who may not decide that cannot say it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.servers.track import serving
from track import TrackClient
from track.errors import InvalidEvent, InvalidQuery, RPCCallFailure
from track.events import decode, encode
from track.persistence import get_protocol
from track.persistence.contract.checks import trial_created
from track.persistence.delivery.creations import Creations
from track.persistence.ephemeral import EphemeralProtocol
from track.persistence.local import FileProtocol
from track.persistence.query import parse_query
from track.persistence.rpc.remote import RemoteStore
from track.persistence.server import calls
from track.persistence.sqlite import SqliteProtocol
from track.persistence.state import hidden, update
from track.persistence.users import Users
from track.structure import FORGOTTEN, Project, Trial, TrialGroup


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    monkeypatch.setenv("TRACK_SOCKET_FOLDER", str(tmp_path / "server"))


def _logged(protocol: Any, name: str) -> Trial:
    protocol.new_project(Project(name="digits"))
    group = protocol.new_trial_group(TrialGroup(name="g", project_id="digits"))
    trial = protocol.new_trial(Trial(name=name, parameters={"secret": "hunter2"}, project_id="digits"))
    protocol.add_group_trial(group, trial)
    protocol.log_trial_metrics(trial, step=0, hunter2=0.5)
    protocol.log_trial_time(trial, "hunter2", 0.5)
    protocol.log_trial_metadata(trial, note="hunter2")
    protocol.log_trial_artifact(trial, "hunter2", "objects/aa")
    protocol.set_trial_status(trial, "exception", "hunter2")
    return trial  # type: ignore[no-any-return]


def test_event_is_bytes_that_mean_the_same() -> None:
    """Hiding is a fact like others, and says the same when it is read."""
    event = hidden("ab_0", True, 1.0)
    trial = Trial("ab")

    update(trial, decode(encode(event)))

    assert (trial.deleted, trial.moments) == (True, {"deleted": {"deleted": 1.0}})


def test_nothing_is_left_in_the_file(tmp_path: Path) -> None:
    """Neither the snapshot nor the journal has anything of it once the store is closed."""
    protocol = FileProtocol(f"file:{tmp_path}/runs.json")
    trial = _logged(protocol, "hunter2")
    protocol.commit()
    protocol.delete_trial(trial)

    protocol.forget_trials()
    protocol.close()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs.json", "runs.json.lock"]
    assert b"hunter2" not in (tmp_path / "runs.json").read_bytes()


def test_forgotten_stays_so_through_journal_and_snapshot(tmp_path: Path) -> None:
    """Reopened from the journal, from the snapshot, and in a copy, it is what it was."""
    protocol = FileProtocol(f"file:{tmp_path}/runs.json")
    trial = _logged(protocol, "a")
    protocol.apply(hidden(trial.uid, True, 1e10), hidden(trial.uid, FORGOTTEN, 1e10), hidden(trial.uid, False, 2e10))

    for _ in range(2):
        (left,) = FileProtocol(protocol.uri).fetch_trials({"deleted": FORGOTTEN})
        assert (left.uid, left.name, left.parameters, left.artifacts) == (trial.uid, None, {}, [])
        protocol.commit()
    protocol.commit(file_name_override=str(tmp_path / "copy.json"))
    copy = FileProtocol(f"file:{tmp_path}/copy.json")
    assert (copy.fetch_trials(), copy.revisions(trial.hash)) == ([], {0})


def test_copy_of_a_store_keeps_what_is_hidden(tmp_path: Path) -> None:
    """``save("copy.json")`` of any backend has hidden trials, in their groups once they are restored."""
    protocol = SqliteProtocol(f"sqlite:{tmp_path}/runs.db")
    trial = _logged(protocol, "a")
    protocol.delete_trial(trial)

    protocol.commit(file_name_override=str(tmp_path / "copy.json"))

    copy = FileProtocol(f"file:{tmp_path}/copy.json")
    assert copy.fetch_trials() == []
    copy.restore_trial(trial)
    assert [list(group.trials) for group in copy.fetch_groups()] == [[trial.uid]]
    assert copy.fetch_trials()[0].metrics["hunter2"] == {0: 0.5}


def test_no_row_is_left_in_the_database(tmp_path: Path) -> None:
    """But for that of the uid."""
    protocol = SqliteProtocol(f"sqlite:{tmp_path}/runs.db")
    trial = _logged(protocol, "hunter2")
    protocol.delete_trial(trial)

    protocol.forget_trials()
    protocol.close()

    tables = ("trials", "series", "metrics", "times", "parameters", "members")
    with sqlite3.connect(tmp_path / "runs.db") as database:
        rows = {table: database.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
    assert {table: len(found) for table, found in rows.items()} == {
        "trials": 1, "series": 1, "metrics": 0, "times": 0, "parameters": 0, "members": 0
    }  # fmt: skip
    assert "hunter2" not in str(rows)


def test_what_is_created_again_after_a_gap_stays_forgotten() -> None:
    """A client that tells a store again what it has created does not bring a trial back."""
    protocol = EphemeralProtocol()
    trial = _logged(protocol, "a")
    creations = Creations()
    creations.note(trial_created(trial, 1.0))
    protocol.delete_trial(trial)
    protocol.forget_trials()

    creations.send(protocol.receive)

    assert protocol.fetch_trials({"deleted": {"$in": [True, False]}}) == []


# servers


@pytest.mark.network
def test_only_an_admin_forgets(tmp_path: Path) -> None:
    """Who may write hides and restores; to remove something for good is an admin's call."""
    users = Users(tmp_path / "users.json", cost={"n": 2**4, "r": 8, "p": 1})
    for role in ("write", "admin"):
        users.add(role, "secret-word", role)
    with serving(f"file:{tmp_path}/runs.json", users=str(tmp_path / "users.json")) as port:
        writer, admin = (get_protocol(f"socket://{role}:secret-word@127.0.0.1:{port}") for role in ("write", "admin"))
        trial = _logged(writer, "a")
        writer.delete_trial(trial)
        writer.flush()

        with pytest.raises(RPCCallFailure, match="who may admin"):
            writer.forget_trials()
        assert writer.fetch_trials({"deleted": True}) == [trial]
        assert admin.forget_trials() == ([trial.uid], 0, 0)
        for protocol in (writer, admin):
            protocol.close()


@pytest.mark.network
@pytest.mark.parametrize("value", [FORGOTTEN, 1, None, "yes", {"dtype": "dict", "value": []}])
def test_server_takes_no_other_word_for_it(value: Any) -> None:
    """An event can hide a trial or show it, and nothing else."""
    with serving("ephemeral:") as port:
        protocol: Any = get_protocol(f"socket://127.0.0.1:{port}")
        trial = _logged(protocol, "a")
        protocol.flush()

        with pytest.raises(InvalidEvent, match="hidden or not"):
            protocol.receive("w", 0, [hidden(trial.uid, value, 1e10)])
        assert protocol.fetch_trials() == [trial]
        protocol.close()


@pytest.mark.network
def test_server_of_before_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not know the word is asked without it, so that all goes on as before."""

    def parse(query: Any, kind: type) -> Any:
        parsed = parse_query(query, kind)
        if parsed.asks_for_deleted:
            raise InvalidQuery("a Trial has no attribute 'deleted'")
        return parsed

    with serving("ephemeral:") as port:
        protocol: Any = get_protocol(f"socket://127.0.0.1:{port}")
        assert isinstance(protocol.remote, RemoteStore)
        trial = _logged(protocol, "a")
        monkeypatch.setattr(calls, "parse_query", parse)

        assert protocol.get_trial(trial) == [trial]
        assert protocol.fetch_trials() == protocol.fetch_trials({"deleted": False, "name": "a"}) == [trial]
        assert protocol.fetch_trials({"deleted": True}) == []
        protocol.close()


def test_client_in_memory_hides(tmp_path: Path) -> None:
    """A backend that only listens has its trials hidden in the copy in memory that answers for it."""
    pytest.importorskip("tensorboardX", reason="needs tensorboardX: pip install .[tensorboard]")
    client = TrackClient(f"tensorboard:{tmp_path}/events")
    with client.new_trial(name="a", parameters={"lr": 1}) as trial:
        trial.log_metrics(loss=0.5)

    client.delete_trial(trial)

    assert client.protocol.fetch_trials() == []
    assert client.restore_trial("a") == trial.trial
