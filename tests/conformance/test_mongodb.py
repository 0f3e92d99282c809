"""The MongoDB backend keeps the contract on a MongoDB-wire server (SecantusDB), with and without transactions."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.children import run
from tests.servers import mongo
from tests.servers.postgres import free_port
from track.errors import BackendUnavailable, CorruptJournal, InvalidUri, MissingExtra
from track.events import (
    Event,
    FieldsMerged,
    GroupCreated,
    MetricsLogged,
    ProjectCreated,
    StatusChanged,
    TimeLogged,
    TrialAttached,
    TrialCreated,
)
from track.persistence import get_protocol
from track.persistence.contract.checks import trial_created
from track.persistence.mongo.buckets import SLOTS
from track.persistence.mongodb import MongoProtocol, make_mongodb
from track.persistence.protocol import Protocol
from track.structure import Project, Status, Trial
from track.testing import ProtocolTests
from track.testing.model import Model, answers

pytestmark = pytest.mark.network


@pytest.mark.parametrize("name", ["uid", "hash"])
def test_list_longer_than_the_store_is_one_question(mongo_uri: str, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Among more values than there are trials, these are looked at once, and not asked for by each part of a list."""
    protocol = MongoProtocol(mongo_uri)
    made = [protocol.new_trial(Trial(parameters={"n": number})) for number in range(3)]
    asked: list[str] = []
    find = protocol.mongo.find
    monkeypatch.setattr(protocol.mongo, "find", lambda *given, **named: asked.append(given[0]) or find(*given, **named))
    choices = [*(f"{number:064x}_0" for number in range(100_000)), getattr(made[2], name), getattr(made[0], name)]

    found = protocol.fetch_trials({name: {"$in": choices}, "parameters.n": {"$lt": 2}})

    assert [trial.parameters["n"] for trial in found] == [0]
    assert asked.count("trials") == 1
    protocol.close()


class TestMongo(ProtocolTests):
    """A new database a test, without the delivery layer, in transactions."""

    has_transactions: bool | None = None

    @pytest.fixture
    def protocol(self, mongo_uri: str) -> Iterator[Protocol]:
        """Give an empty store."""
        self.opened: list[Protocol] = []
        self.mongo_uri = mongo_uri
        yield self.reopen(None)
        for protocol in self.opened:
            protocol.close()

    def reopen(self, protocol: Protocol | None) -> Protocol:
        """Return a protocol with connections of its own."""
        self.opened.append(MongoProtocol(self.mongo_uri, self.has_transactions))
        return self.opened[-1]


class TestMongoStandalone(TestMongo):
    """The same as on a server that has no transactions."""

    has_transactions = False


class TestMongoDelivered(TestMongo):
    """The same as a user gets it: behind the delivery layer."""

    @pytest.fixture
    def protocol(self, mongo_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Protocol]:
        """Give an empty store, with a spill of its own."""
        monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
        self.opened, self.mongo_uri = [], mongo_uri
        protocol = get_protocol(mongo_uri)
        yield protocol
        for one in [protocol, *self.opened]:
            one.close()

    def reopen(self, protocol: Protocol | None) -> Protocol:
        """Return a protocol that reads what was delivered."""
        assert protocol is not None
        protocol.flush()
        return super().reopen(protocol)


@pytest.fixture(params=[None, False], ids=["transactions", "standalone"])
def store(request: pytest.FixtureRequest, mongo_uri: str) -> Iterator[Callable[[], MongoProtocol]]:
    """Give what opens the same database again and again."""
    opened: list[MongoProtocol] = []

    def open_again() -> MongoProtocol:
        opened.append(MongoProtocol(mongo_uri, request.param))
        return opened[-1]

    yield open_again
    for protocol in opened:
        protocol.close()


# interruptions


def _batches() -> list[list[Event]]:
    """Return batches that touch every kind of document, and buckets at their beginning, middle and end."""
    full = [MetricsLogged("aa_0", {"loss": float(step)}, 3.0, step) for step in range(1, SLOTS - 1)]
    across = [MetricsLogged("aa_0", {"loss": -float(step), "acc": 2**80}, 4.0, step) for step in range(2001, 2007)]
    return [
        [
            ProjectCreated("p1", 1.0, "p1"),
            GroupCreated("g1", 1.0, "g1", project_id="p1"),
            TrialCreated("aa", 0, 1.0, parameters={"lr": 0.1}, metrics={"old": [1.0, 2.0]}),
            TrialCreated("bb", 0, 1.0),
            MetricsLogged("aa_0", {"loss": 0.5}, 2.0, 0),
        ],
        full,
        [
            FieldsMerged("group", "g1", "metadata", {"a": 1}, 4.0),
            TrialAttached("aa_0", "group", "g1", 4.0),
            *across,
            TimeLogged("bb_0", "batch", 0.5, 4.0, ["series"]),
            FieldsMerged("trial", "bb_0", "metadata", {"queue": 1}, 4.0, ["series"]),
            FieldsMerged("trial", "bb_0", "metadata", {"queue": 2}, 4.0, ["series"]),
            StatusChanged("bb_0", ("Exception", 202), 5.0, "boom"),
        ],
    ]


def _sent(protocol: MongoProtocol, batches: list[list[Event]], slices: int | None = None) -> None:
    """Send batches as one writer, each in slices of some size."""
    first = 0
    for batch in batches:
        size = slices or len(batch)
        for start in range(0, len(batch), size):
            part = batch[start : start + size]
            protocol.receive("writer", first + start, part)
        first += len(batch)


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    """Return answers in which aggregators are their values."""
    for trial in found["trials"].values():
        trial["metadata"] = {name: getattr(value, "val", value) for name, value in trial["metadata"].items()}
    return found


class _Interrupted(Exception):
    """The process died here."""


def _die_at(protocol: MongoProtocol, count: int, is_written: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the protocol die at one of its writes: before it, or after it."""
    write, seen = protocol.mongo.write, iter(range(1000))

    def dying(collection: str, operations: list[Any]) -> bool:
        is_last = next(seen) == count
        if is_last and not is_written:
            raise _Interrupted
        done = write(collection, operations)
        if is_last:
            raise _Interrupted
        return done

    monkeypatch.setattr(protocol.mongo, "write", dying)


@pytest.fixture(scope="module")
def expected(mongo_server: str) -> dict[str, Any]:
    """Give the answers after all batches, when nothing is interrupted."""
    protocol = MongoProtocol(mongo.new_database(mongo_server))
    _sent(protocol, _batches())
    found = _plain(answers(protocol))
    protocol.close()
    return found


@pytest.mark.parametrize("slices", [None, 3], ids=["same batch", "smaller batches"])
@pytest.mark.parametrize("is_written", [False, True], ids=["before", "after"])
def test_interrupted_batch_is_stored_once(
    mongo_server: str,
    expected: dict[str, Any],
    is_written: bool,
    slices: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without transactions, a batch that was interrupted before or after any write is complete when sent again."""
    batches = _batches()
    for which in range(len(batches)):
        count, is_interrupted = 0, True
        while is_interrupted:
            uri = mongo.new_database(mongo_server)
            protocol = MongoProtocol(uri, has_transactions=False)
            _sent(protocol, batches[:which])
            with monkeypatch.context() as patch:
                _die_at(protocol, count, is_written, patch)
                try:
                    protocol.receive("writer", sum(map(len, batches[:which])), batches[which])
                    is_interrupted = False
                except _Interrupted:
                    count += 1
            again = MongoProtocol(uri, has_transactions=False)

            # The large batch is not cut up: its own writes are few.
            first = sum(map(len, batches[:which]))
            size = slices if slices and which != 1 else len(batches[which])
            for start in range(0, len(batches[which]), size):
                again.receive("writer", first + start, batches[which][start : start + size])
            for rest in range(which + 1, len(batches)):
                again.receive("writer", sum(map(len, batches[:rest])), batches[rest])

            assert _plain(answers(again)) == expected, (which, count)
            protocol.close()
            again.close()
        assert count >= 3


def test_expected_answers_are_the_models(expected: dict[str, Any]) -> None:
    """What interrupted batches are compared with is what the model says."""
    model = Model()
    events = [event for batch in _batches() for event in batch]
    model.apply(*[event for event in events if not isinstance(event, TrialCreated) and not _is_appended(event)][:2])
    model.apply(TrialCreated("aa", 0, 1.0, parameters={"lr": 0.1}), TrialCreated("bb", 0, 1.0))
    model.apply(*[event for event in events[4:] if not _is_appended(event)])
    modelled = model.answers()
    modelled["trials"]["aa_0"]["metrics"]["old"] = ["1.0", "2.0"]
    modelled["trials"]["bb_0"]["metadata"]["queue"] = [1, 2]
    modelled["trials"]["bb_0"]["changes"] += 2

    assert expected == modelled


def _is_appended(event: Event) -> bool:
    return isinstance(event, FieldsMerged) and event.aggregator is not None


def test_batch_sent_again_changes_nothing(store: Callable[[], MongoProtocol]) -> None:
    """All batches sent twice, the second time in other slices, are stored once."""
    protocol = store()
    _sent(protocol, _batches())
    before = answers(protocol)

    _sent(store(), _batches(), slices=700)

    assert _plain(answers(store())) == _plain(before)
    assert protocol.last("writer") == sum(map(len, _batches())) - 1


def test_interrupted_transaction_leaves_nothing(mongo_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a transaction, a batch that dies at its last write has changed nothing."""
    protocol = MongoProtocol(mongo_uri)
    _sent(protocol, _batches()[:1])
    before = _plain(answers(protocol))

    with monkeypatch.context() as patch:
        _die_at(protocol, 4, True, patch)
        with pytest.raises(_Interrupted):
            protocol.receive("writer", 5, _batches()[2])

    assert _plain(answers(protocol)) == before
    protocol.close()


def test_two_writers_of_one_trial_take_turns(store: Callable[[], MongoProtocol]) -> None:
    """Batches that two clients send at once for the same trial are both stored, each in its order."""
    store().receive("maker", 0, [TrialCreated("aa", 0, 1.0)])

    def send(writer: str) -> None:
        protocol = store()
        for first in range(0, 100, 10):
            values = [{writer: float(n + 1), "both": float(n)} for n in range(first, first + 10)]
            protocol.receive(writer, first, [MetricsLogged("aa_0", named, 2.0) for named in values])

    threads = [threading.Thread(target=send, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    metrics = store().fetch_trials()[0].metrics
    assert metrics["one"].val == metrics["two"].val == [float(n + 1) for n in range(100)]
    assert sorted(metrics["both"].val) == sorted([float(n) for n in range(100)] * 2)


@pytest.fixture(scope="module")
def failing_server() -> Iterator[mongo.MongoWire]:
    """Give a server that can be told to break connections."""
    pytest.importorskip("secantus", reason="needs a MongoDB-wire server: pip install SecantusDB")
    server = mongo.MongoWire("--enable-test-commands")
    yield server
    server.close()


@pytest.mark.parametrize(
    ("has_transactions", "command"),
    [(None, "update"), (None, "commitTransaction"), (False, "insert"), (False, "update"), (False, "findAndModify")],
)
def test_broken_connection_is_made_again(
    failing_server: mongo.MongoWire, has_transactions: bool | None, command: str
) -> None:
    """A connection that breaks at any command, without the driver's own retries, costs and doubles nothing."""
    uri = failing_server.new_database()
    protocol = MongoProtocol(f"{uri}?retryWrites=false&retryReads=false", has_transactions)
    trial = protocol.new_trial(Trial("aa"))
    assert trial is not None
    fault = {"failCommands": [command], "closeConnection": True}

    with mongo.connected(uri) as database:
        for action in (
            lambda: protocol.receive("w", 0, [TrialCreated("bb", 0, 1.0), MetricsLogged("aa_0", {"loss": 1.0}, 1.0)]),
            lambda: protocol.new_trial(Trial("aa"), auto_increment=True),
        ):
            database.client.admin.command({"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": fault})
            action()
            database.client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})

    found = protocol.fetch_trials()
    protocol.close()
    assert [one.uid for one in found] == ["aa_0", "bb_0", "aa_1"]
    assert found[0].metrics["loss"].val == [1.0]


# decisions


def test_trials_created_at_once_have_revisions_of_their_own(store: Callable[[], MongoProtocol]) -> None:
    """Clients that create the same trial at once get different revisions, none left out."""
    made: list[int] = []

    def create() -> None:
        protocol = store()
        for _ in range(4):
            trial = protocol.new_trial(Trial(parameters={"lr": 1}), auto_increment=True)
            assert trial is not None
            made.append(trial.revision)

    _at_once(create, 4)

    assert sorted(made) == list(range(16))


def test_a_trial_is_given_to_one_worker(store: Callable[[], MongoProtocol]) -> None:
    """Workers that take the next trial at once never get the same one."""
    protocol = store()
    for n in range(8):
        protocol.new_trial(Trial(parameters={"n": n}))
    taken: list[str] = []

    def work() -> None:
        worker = store()
        for _ in range(2):
            wanted = {"status": "CreatedGroup"}
            taken.append(worker.fetch_and_update_trial(wanted, "set_trial_status", Status.Suspended).uid)

    _at_once(work, 4)

    assert len(set(taken)) == 8


def _at_once(action: Callable[[], None], count: int) -> None:
    problems: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


# points


def test_large_metric_is_kept_in_full_buckets(store: Callable[[], MongoProtocol], mongo_uri: str) -> None:
    """20,000 points make ten full buckets, no document is above 1 MiB, and the trial's does not grow."""
    protocol = store()
    protocol.new_trial(Trial("aa"))
    sizes = []

    with mongo.connected(mongo_uri) as database:
        for first in range(0, 20_000, 2_500):
            steps = range(first, first + 2_500)
            protocol.receive("writer", first, [MetricsLogged("aa_0", {"loss": n + 0.5}, 1e9 + n, n) for n in steps])
            sizes.append(len(_encoded(database["trials"].find_one())))
        buckets = list(database["buckets"].find())

    assert sorted(bucket["size"] for bucket in buckets) == [SLOTS] * 10
    assert max(len(_encoded(bucket)) for bucket in buckets) < 100_000
    assert max(sizes) - sizes[0] < 50
    assert dict(store().fetch_trials()[0].metrics["loss"]) == {step: step + 0.5 for step in range(20_000)}


def test_points_of_a_slow_logger_are_few_parts(store: Callable[[], MongoProtocol], mongo_uri: str) -> None:
    """Points that come one by one become one part of their bucket from time to time; none is lost or moved."""
    protocol = store()
    protocol.receive("writer", 0, [TrialCreated("aa", 0, 1.0)])
    for n in range(100):
        protocol.receive("writer", 1 + n, [MetricsLogged("aa_0", {"loss": n + 0.5}, 1e9 + n, n)])

    with mongo.connected(mongo_uri) as database:
        (bucket,) = database["buckets"].find()
    metric = store().fetch_trials()[0].metrics["loss"]

    assert len(bucket["parts"]) <= 33
    assert metric.rows() == [(n, n + 0.5, 1e9 + n) for n in range(100)]


def test_buckets_of_a_version_before_are_read_and_go_on(store: Callable[[], MongoProtocol], mongo_uri: str) -> None:
    """Arrays that were stored stand before the new parts, also once they are one part with them."""
    protocol = store()
    protocol.receive("writer", 0, [TrialCreated("aa", 0, 1.0)])
    protocol.receive("writer", 1, [MetricsLogged("aa_0", {"loss": n + 0.5}, 1e9 + n, n) for n in range(3)])
    with mongo.connected(mongo_uri) as database:
        arrays = {"step": [0, 1, None], "value": [0.5, 1.5, None], "at": [1e9, 1e9 + 1, 1e9 + 2]}
        odd = [[2, '{"step":"end","value":{"dtype":"float","value":"nan"}}']]
        database["buckets"].update_one({}, {"$set": {**arrays, "odd": odd}, "$unset": {"parts": ""}})
        unset = {f"series.0.{name}": "" for name in ("brief", "briefed", "state", "parts")}
        database["trials"].update_one({}, {"$unset": unset | {"measured": ""}})

    found = store().brief_trials()[0]
    shown = [repr(list(found.metrics["loss"].items())), found.metrics.briefs()["loss"].greatest]
    for n in range(40):
        protocol.receive("writer", 4 + n, [MetricsLogged("aa_0", {"loss": 7.5 + n}, 2e9 + n, 7 + n)])
    (found,) = store().brief_trials()

    assert shown == ["[(0, 0.5), (1, 1.5), ('end', nan)]", 1.5]
    assert list(found.metrics["loss"]) == [0, 1, "end", *range(7, 47)]
    assert found.metrics.briefs()["loss"].greatest == 46.5


def test_listing_in_brief_is_one_question(store: Callable[[], MongoProtocol], monkeypatch: pytest.MonkeyPatch) -> None:
    """What metrics come to, and times, come with the trials: nobody asks for the parts of each name."""
    writer = store()
    for number in range(3):
        trial = writer.new_trial(Trial(parameters={"n": number}))
        writer.log_trial_start(trial)
        writer.log_trial_metrics(trial, step=number, loss=number / 2)
        writer.log_trial_finish(trial, None, None, None)
    reader = store()
    reader.brief_trials(limit=1)
    asked: list[tuple[str, tuple[str, ...]]] = []
    find = reader.mongo.find

    def heard(collection: str, *args: Any, **kwargs: Any) -> Any:
        asked.append((collection, kwargs.get("only") or args[-1]))
        return find(collection, *args, **kwargs)

    monkeypatch.setattr(reader.mongo, "find", heard)
    found = reader.brief_trials()

    assert [trial.metrics.briefs()["loss"].last for trial in found] == [0.0, 0.5, 1.0]
    assert all(trial.chronos["runtime"].val >= 0 for trial in found)
    assert [collection for collection, _ in asked] == ["projects", "trials"]
    assert "series" not in asked[-1][1]


def test_listing_believes_no_text_of_before(store: Callable[[], MongoProtocol], mongo_uri: str) -> None:
    """A version that knows nothing of the text of briefs may go on with a trial: its points are seen all the same."""
    protocol = store()
    protocol.receive("writer", 0, [TrialCreated("aa", 0, 1.0), TrialCreated("bb", 0, 1.0)])
    protocol.receive("writer", 2, [MetricsLogged(f"{one}_0", {"loss": 0.5}, 1e9, 0) for one in ("aa", "bb")])
    with mongo.connected(mongo_uri) as database:
        before = database["trials"].find_one({"_id": "aa_0"})["measured"]
    protocol.receive("writer", 4, [MetricsLogged("aa_0", {"loss": 7.5}, 1e9 + 1, 1)])
    with mongo.connected(mongo_uri) as database:
        database["trials"].update_one({"_id": "aa_0"}, {"$set": {"measured": before}})

    found = store().brief_trials()

    assert [trial.metrics.briefs()["loss"].last for trial in found] == [7.5, 0.5]
    assert dict(found[0].metrics["loss"]) == {0: 0.5, 1: 7.5}


def test_long_steps_do_not_fill_a_document(store: Callable[[], MongoProtocol], mongo_uri: str) -> None:
    """Steps of many letters are spread over more buckets."""
    protocol = store()
    protocol.new_trial(Trial("aa"))
    steps = [letter * size for letter in "ab" for size in (10, 300, 5_000, 200_000, 700_000, 1)] + ["s" * 1000] * 1100
    events: list[Event] = [MetricsLogged("aa_0", {"loss": 0.5 + n}, 1e9, step) for n, step in enumerate(steps)]

    for first in range(0, len(events), 500):
        protocol.receive("writer", first, events[first : first + 500])

    with mongo.connected(mongo_uri) as database:
        assert max(len(_encoded(bucket)) for bucket in database["buckets"].find()) < 2**20
    points = store().fetch_trials()[0].metrics["loss"].points
    assert (points.steps(), points.values()) == (steps, [0.5 + n for n in range(len(steps))])


def test_a_reader_sees_the_points_there_were(store: Callable[[], MongoProtocol]) -> None:
    """Metrics that are looked at late show as many points as there were when the trial was fetched."""
    protocol = store()
    protocol.new_trial(Trial("aa"))
    protocol.apply(MetricsLogged("aa_0", {"loss": 0.5}, 1.0, 0))
    held = protocol.fetch_trials()[0]

    protocol.apply(MetricsLogged("aa_0", {"loss": 0.25, "acc": 1.0}, 1.0, 1))

    assert dict(held.metrics) == {"loss": {0: 0.5}}


def test_stored_point_that_is_missing_is_passed_over(store: Callable[[], MongoProtocol], mongo_uri: str) -> None:
    """A place that no writer has filled yet is no point; filling it later puts the point in its place."""
    protocol = MongoProtocol(mongo_uri, has_transactions=False)
    protocol.receive("one", 0, [TrialCreated("aa", 0, 1.0)])
    lost = [MetricsLogged("aa_0", {"loss": 1.0}, 2.0, 1)]
    write = protocol.mongo.write

    def lose(collection: str, operations: list[Any]) -> bool:
        if collection == "buckets":
            raise _Interrupted
        return write(collection, operations)

    protocol.mongo.write = lose  # type: ignore[method-assign]
    with pytest.raises(_Interrupted):
        protocol.receive("one", 1, lost)
    reader = store()
    reader.receive("two", 0, [MetricsLogged("aa_0", {"loss": 2.0}, 2.0, 2)])
    between = dict(reader.fetch_trials()[0].metrics["loss"])
    protocol.mongo.write = write  # type: ignore[method-assign]
    protocol.receive("one", 1, lost)
    protocol.close()

    assert between == {2: 2.0}
    assert list(reader.fetch_trials()[0].metrics["loss"].items()) == [(1, 1.0), (2, 2.0)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"metrics.loss": {"$lt": 3}}, ["a", "c"]),
        ({"metrics.loss": {"$gte": 3}}, ["b"]),
        ({"metrics.loss": True}, ["c"]),
        ({"metrics.loss": 1}, []),
        ({"metrics.loss.0": 9.0}, ["a"]),
        ({"metrics.x.y": {"$gt": 0}}, ["d"]),
        ({"metrics.pair": {"$gt": 0}}, ["d"]),
        ({"metrics.low": {"$lte": 1}}, ["d"]),
        ({"parameters.big": {"$gt": 5}}, ["b", "c", "d"]),
        ({"parameters.big": {"$lt": 5}}, ["a"]),
        ({"parameters.a.b": "text"}, ["a"]),
        ({"parameters.$odd": 1}, ["b"]),
        ({"project_id": {"$in": ["7"]}}, ["b"]),
        ({"status": {"$in": ["createdgroup", Status.Broken]}}, ["a", "b", "c", "d"]),
    ],
)
def test_filters_hold_for_every_match(mongo_uri: str, query: Any, expected: list[str]) -> None:
    """What the server narrows by never hides a trial that matches."""
    protocol = MongoProtocol(mongo_uri)
    parameters: dict[str, dict[str, Any]] = {
        "a": {"big": 1, "a.b": "text"},
        "b": {"big": 2**1100, "$odd": 1},
        "c": {"big": float("inf")},
        "d": {"big": 7.5, "a": {"b": 1}},
    }
    for name, values in parameters.items():
        trial = Trial(name, name=name, parameters=values, project_id=7 if name == "b" else None)
        protocol.apply(trial_created(trial, 1.0))
    protocol.apply(
        MetricsLogged("a_0", {"loss": 9.0}, 1.0, 0),
        MetricsLogged("a_0", {"loss": 2.0}, 1.0, 1),
        MetricsLogged("b_0", {"loss": 2**70}, 1.0, 1),
        MetricsLogged("c_0", {"loss": True}, 1.0, 1),
        MetricsLogged("d_0", {"x.y": 1.0, "pair": 1.0}, 1.0),
        MetricsLogged("d_0", {"pair": 2.0}, 1.0, 1),
        MetricsLogged("d_0", {"low": 1.0}, 1.0, None, ["min"]),
        MetricsLogged("d_0", {"low": 5.0}, 1.0, None, ["min"]),
    )

    found = [trial.name for trial in protocol.fetch_trials(query)]

    protocol.close()
    assert found == expected


def _encoded(document: dict[str, Any]) -> bytes:
    """Return a document as it is stored."""
    import bson

    return bytes(bson.encode(document))


# bad input


def test_missing_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pymongo the error names the extra, when a backend is made."""
    monkeypatch.setitem(sys.modules, "pymongo", None)

    with pytest.raises(MissingExtra, match=r"'mongodb:' needs pymongo: run pip install \"\.\[mongodb\]\""):
        get_protocol("mongodb://127.0.0.1/track")


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "no-such-host.invalid:{port}"])
def test_server_that_is_away_is_an_error_soon(address: str) -> None:
    """A port where nobody listens, and a host that does not exist, are one error with the server's name."""
    protocol = MongoProtocol(f"mongodb://ann:secret@{address.format(port=free_port())}/runs?connect_timeout=1")
    started = time.monotonic()

    message = r"mongodb://ann:\*\*\*@.*cannot be used.*(running|host's name)"
    with pytest.raises(BackendUnavailable, match=message) as caught:
        protocol.new_project(Project(name="digits"))

    protocol.close()
    # A second or two where nothing else runs; the driver itself would wait for thirty.
    assert time.monotonic() - started < 20
    assert "secret" not in str(caught.value)


def test_newer_documents_are_refused(mongo_uri: str) -> None:
    """Documents of a newer version of the library are left alone."""
    with mongo.connected(mongo_uri) as database:
        database["format"].insert_one({"_id": "documents", "version": 99})
    protocol = MongoProtocol(mongo_uri)

    with pytest.raises(CorruptJournal, match=r"have version 99.*upgrade track"):
        protocol.fetch_trials()

    protocol.close()


@pytest.mark.parametrize("options", ["tiemout=3", "timeout=soon", "retryWrites=maybe"])
def test_option_that_is_not_known_is_refused(options: str) -> None:
    """Our options and pymongo's are checked when the backend is made."""
    with pytest.raises(InvalidUri, match=options.partition("=")[0]):
        get_protocol(f"mongodb://127.0.0.1/runs?{options}")


def test_options_of_the_driver_are_passed_on(mongo_server: str) -> None:
    """The driver gets its own options and ours do not reach it."""
    head, _, _ = mongo.new_database(mongo_server).partition("?")
    protocol = MongoProtocol(f"{head}?timeout=7&retryWrites=false&appname=mine")

    protocol.fetch_trials()

    options = protocol.mongo.client.options
    assert (options.retry_writes, options.pool_options.appname) == (False, "mine")
    assert options.pool_options.socket_timeout == 7.0
    protocol.close()


def test_database_is_track_by_default(tmp_path: Path) -> None:
    """A URI without a database means the one named track; the URI that is shown has no password."""
    protocol = make_mongodb("mongodb://ann:secret@127.0.0.1:1")

    assert isinstance(protocol.remote, MongoProtocol)
    assert protocol.remote.mongo.address.database == "track"
    assert repr(protocol) == "DeliveredProtocol('mongodb://ann:***@127.0.0.1:1')"
    protocol.close()


def test_standalone_server_has_no_transactions() -> None:
    """Whether there are transactions is asked of the server; one that wants a password says so."""
    pytest.importorskip("secantus")
    server = mongo.MongoWire("--standalone", "--auth")
    port = server.port
    try:
        with pytest.raises(BackendUnavailable, match="give user and password"):
            MongoProtocol(f"mongodb://127.0.0.1:{port}/runs").fetch_trials()
        with pytest.raises(BackendUnavailable, match="give user and password"):
            MongoProtocol(f"mongodb://ann:wrong@127.0.0.1:{port}/runs").fetch_trials()
    finally:
        server.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_forked_child_connects_on_its_own(store: Callable[[], MongoProtocol]) -> None:
    """A child writes through connections of its own; the parent's go on."""
    protocol = store()
    protocol.new_trial(Trial("aa"))

    code = run(protocol.apply, MetricsLogged("aa_0", {"child": 1.0}, 1.0, 0))
    protocol.apply(MetricsLogged("aa_0", {"parent": 1.0}, 1.0, 0))

    assert code == 0
    assert set(protocol.fetch_trials()[0].metrics) == {"child", "parent"}


def test_what_is_forgotten_holds_nobody_up(mongo_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forgotten store takes leave of its server, which may be silent, in no thread that does something else."""
    import pymongo

    closers: list[threading.Thread] = []
    is_closed = threading.Event()

    def close(client: Any) -> None:
        closers.append(threading.current_thread())
        close_client(client)
        is_closed.set()

    close_client = pymongo.MongoClient.close
    protocol = MongoProtocol(mongo_uri)
    assert protocol.fetch_trials() == []
    monkeypatch.setattr(pymongo.MongoClient, "close", close)

    del protocol
    gc.collect()

    assert is_closed.wait(60)
    assert threading.current_thread() not in closers


def test_server_killed_and_started_again_goes_on() -> None:
    """A write after the server came back is stored, and nothing before it is lost."""
    pytest.importorskip("secantus")
    server = mongo.MongoWire("--standalone", durable=True)
    try:
        protocol = MongoProtocol(server.new_database())
        protocol.receive("w", 0, [TrialCreated("aa", 0, 1.0), MetricsLogged("aa_0", {"loss": 1.0}, 1.0, 0)])
        assert not protocol.mongo.has_transactions
        server.kill()
        server.start()

        protocol.receive("w", 1, [MetricsLogged("aa_0", {"loss": n + 1.0}, 1.0, n) for n in range(2)])

        assert dict(protocol.fetch_trials()[0].metrics["loss"]) == {0: 1.0, 1: 2.0}
        protocol.close()
    finally:
        server.close()


def test_copy_of_a_database_is_a_store_of_its_own(mongo_uri: str) -> None:
    """A database copied under another name gets a new id at the first write; the original keeps its."""
    original = MongoProtocol(mongo_uri)
    original.new_project(Project(name="digits"))
    name = original.mongo.address.database
    client = original.mongo.client
    for collection in client[name].list_collection_names():
        if documents := list(client[name][collection].find()):
            client[f"{name}_copy"][collection].insert_many(documents)

    copy = MongoProtocol(mongo_uri.replace(name, f"{name}_copy"))
    assert copy.identity() == original.identity()
    copy.new_project(Project(name="faces"))

    assert copy.former_identities() == [original.identity()] != [copy.identity()]
    copy.close()
    original.close()
