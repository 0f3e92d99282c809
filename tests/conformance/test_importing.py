"""Runs of sacred's MongoObserver from a server: over the wire, with the driver's own types, faults and passwords."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pymongo
import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, ObjectId, Regex, Timestamp
from gridfs import GridFS

import track
from tests.servers import mongo
from tests.servers.postgres import free_port
from tests.servers.proxy import FaultProxy
from tests.unit.importing import written
from track.artifacts import artifacts
from track.cli import main
from track.errors import BackendUnavailable, InvalidUri
from track.importing import import_runs
from track.importing.mongo import opened

Documents = dict[str, list[dict[str, Any]]]


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store that is not there yet."""
    return f"file:{tmp_path}/report.json"


def _write(uri: str, made: Documents) -> None:
    """Write the documents of `written.observed` as a MongoObserver would."""
    with mongo.connected(uri) as database:
        fs = GridFS(database)
        for file in made["fs.files"]:
            fs.put(file["data"], _id=file["_id"], filename=file["filename"], md5=file.get("md5"))
        for name in ("runs", "metrics"):
            if made[name]:
                database[name].insert_many(copy.deepcopy(made[name]))


def _through(proxy: FaultProxy, uri: str, options: str = "") -> str:
    return f"mongodb://127.0.0.1:{proxy.port}/{uri.rpartition('/')[2].partition('?')[0]}{options}"


@pytest.fixture
def proxy(mongo_server: str) -> Iterator[FaultProxy]:
    """Give a way to the server that can be cut."""
    if "TRACK_TEST" in mongo_server or not mongo_server.startswith("mongodb://127.0.0.1:"):
        pytest.skip("needs a server of this machine")
    found = FaultProxy(int(mongo_server.partition("127.0.0.1:")[2].partition("/")[0]))
    yield found
    found.close()


def test_a_run_of_a_server_is_a_trial(mongo_uri: str, store: str) -> None:
    """What is in its documents and in GridFS, a file of several chunks too; a second import adds nothing."""
    made = written.observed()
    large = bytes(range(256)) * 3000
    made["fs.files"][1]["data"] = large
    _write(mongo_uri, made)

    report = import_runs("sacred", mongo_uri, store)
    again = import_runs("sacred", mongo_uri, store)

    (trial,) = track.fetch(store)
    assert trial.metrics["loss"] == trial.metrics["val/acc"] == {0: 1.0, 5: 0.5}
    assert list(trial.metrics["loss"].points.times()) == [1700000001.5, 1700000002.5]
    assert (trial.parameters["lr"], trial.tags, str(trial.status)) == (0.1, {"good": True}, "exception")
    assert {one.name: one.read_bytes() for one in artifacts(store)} == {
        "cout.txt": b"hello\n",
        "note.txt": large,
        "code/main.py": b"pass\n",
        "resources/data/old.csv": b"1,2",
    }
    assert report.damages == 1
    assert (again.runs, any(again.taken.values())) == ({"present": ["digits-1"]}, False)


def test_a_large_metric_comes_in_parts(mongo_uri: str, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every point is there, at its step."""
    monkeypatch.setattr("track.importing.observer._PART", 300)
    count = 1000
    made = written.observed()
    at = datetime(2023, 11, 14, 22, 13, 21, tzinfo=timezone.utc)
    columns = {"values": [step / 7 for step in range(count)], "steps": list(range(count)), "timestamps": [at] * count}
    made["metrics"][0] |= columns
    _write(mongo_uri, made)

    import_runs("sacred", mongo_uri, store)

    assert track.fetch(store)[0].metrics["loss"] == dict(enumerate(columns["values"]))


ODD = [
    None,
    Decimal128("1.5"),
    Int64(7),
    float("nan"),
    MaxKey(),
    Regex("a*"),
    Code("while (true) {}"),
    Binary(b"\xff", 4),
    Timestamp(1, 1),
    ObjectId(),
    datetime(1, 1, 1, tzinfo=timezone.utc),
    datetime(9999, 12, 31, tzinfo=timezone.utc),
    {"$where": "1"},
    [[[{}]]],
    "x" * 100_000,
    list(range(5000)),
]
FIELDS = ["status", "start_time", "stop_time", "experiment", "config", "host", "info", "captured_out", "artifacts"]
FIELDS += ["resources", "fail_trace", "omniboard", "result", "meta", "command"]


def test_odd_values_of_a_run_end_in_the_report(mongo_uri: str, store: str) -> None:
    """Whatever type stands in the place of a field: the run is there, with its points, or said to be refused."""
    (run,), metrics = written.observed()["runs"], written.observed()["metrics"]
    runs = [
        {**run, "_id": number, FIELDS[number % len(FIELDS)]: ODD[number // len(FIELDS)]}
        for number in range(len(FIELDS) * len(ODD))
    ]
    metrics = [{**metrics[0], "_id": f"of-{one['_id']}", "run_id": one["_id"]} for one in runs]
    _write(mongo_uri, {"runs": runs, "metrics": metrics, "fs.files": []})

    report = import_runs("sacred", mongo_uri, store)

    assert (len(report.runs.pop("imported")), report.runs) == (len(runs), {})
    assert report.taken["points"] == 2 * len(runs)
    assert {str(trial.metrics["loss"]) for trial in track.fetch(store)} == {str(track.fetch(store)[0].metrics["loss"])}


@pytest.mark.parametrize("field", ["run_id", "name", "values", "steps", "timestamps"])
def test_odd_values_of_a_metric_end_in_the_report(field: str, mongo_uri: str, store: str) -> None:
    """Another metric of the run is taken as it is."""
    made = written.observed()
    good, metric = made["metrics"]
    odd = [*ODD, [None, 1], [{"value": 3}, "x"]]
    made["metrics"] = [good, *({**metric, "_id": f"odd-{number}", field: said} for number, said in enumerate(odd))]
    _write(mongo_uri, made)

    report = import_runs("sacred", mongo_uri, store)

    assert track.fetch(store)[0].metrics["loss"] == {0: 1.0, 5: 0.5}
    assert report.runs == {"imported": ["digits-1"]}


@pytest.mark.parametrize(
    "change",
    [
        {"length": 10**15},
        {"length": -1},
        {"length": "x"},
        {"length": float("inf")},
        {"chunkSize": 0},
        {"chunkSize": -5},
        {"chunkSize": None},
        {"chunkSize": 1},
    ],
)
def test_a_damaged_file_is_not_taken(change: dict[str, Any], mongo_uri: str, store: str) -> None:
    """It is in the report, and the others are stored."""
    _write(mongo_uri, written.observed())
    with mongo.connected(mongo_uri) as database:
        database["fs.files"].update_one({"_id": "file-note"}, {"$set": change})

    report = import_runs("sacred", mongo_uri, store)

    names = {one.name: one.read_bytes() for one in artifacts(store)}
    assert names.pop("note.txt", b"") == b""
    assert set(names) == {"cout.txt", "code/main.py", "resources/data/old.csv"}
    assert report.damages == (1 if change == {"length": -1} else 2)


@pytest.mark.parametrize("change", [{"data": 7}, {"data": b"xx"}, {"n": 3}])
def test_a_damaged_chunk_is_not_taken(change: dict[str, Any], mongo_uri: str, store: str) -> None:
    """Nor a file of which one is missing."""
    _write(mongo_uri, written.observed())
    with mongo.connected(mongo_uri) as database:
        database["fs.chunks"].update_one({"files_id": "file-note"}, {"$set": change})
        database["fs.chunks"].delete_one({"files_id": "file-main"})

    report = import_runs("sacred", mongo_uri, store)

    assert {one.name for one in artifacts(store)} == {"cout.txt", "resources/data/old.csv"}
    assert report.damages == 3


def test_an_id_that_is_a_question_finds_nothing(mongo_uri: str, store: str) -> None:
    """A document may say ``{"$gt": ""}`` where the id of a file is meant, which would be any file."""
    made = written.observed()
    made["runs"][0] |= {"artifacts": [{"name": "note.txt", "file_id": {"$gt": ""}}], "captured_out": None}
    made["runs"][0]["experiment"]["sources"] = [["main.py", {"$ne": None}]]
    made["runs"][0]["resources"] = [[{"$gt": ""}, {"$gt": ""}], [{"$gt": ""}, "md5"]]
    _write(mongo_uri, made)

    report = import_runs("sacred", mongo_uri, store)

    assert list(artifacts(store)) == []
    assert report.damages == 2


def test_only_the_host_of_the_uri_is_connected_to(proxy: FaultProxy, mongo_uri: str) -> None:
    """The server says that it is to be found at another port: nobody looks there."""
    _write(mongo_uri, written.observed())
    with opened(_through(proxy, mongo_uri), {}) as documents:
        names = documents.names()
        nodes = documents._database.client.nodes

    assert "runs" in names
    assert nodes == {("127.0.0.1", proxy.port)}


@pytest.mark.parametrize("count", [500, 2000, 4000, 6000, 8000, 12_000])
def test_a_connection_that_breaks_loses_nothing(count: int, proxy: FaultProxy, mongo_uri: str, store: str) -> None:
    """The import says so, or the driver asks once more; when it is run again, everything is there, once."""
    _write(mongo_uri, written.observed())
    uri = _through(proxy, mongo_uri, "?connect_timeout=1")
    proxy.cut_after("s2c", count)
    with suppress(BackendUnavailable):
        import_runs("sacred", uri, store)
    proxy.heal()

    import_runs("sacred", uri, store)

    (trial,) = track.fetch(store)
    assert trial.metrics["loss"] == trial.metrics["val/acc"] == {0: 1.0, 5: 0.5}
    assert (str(trial.status), len(trial.artifacts)) == ("exception", 4)


def test_a_server_that_is_silent_is_not_waited_for(proxy: FaultProxy, mongo_uri: str, store: str) -> None:
    """As long as the URI says."""
    proxy.blackhole()
    started = time.monotonic()

    with pytest.raises(BackendUnavailable, match="cannot be used"):
        import_runs("sacred", _through(proxy, mongo_uri, "?connect_timeout=0.5&timeout=0.5"), store)

    assert time.monotonic() - started < 20


def test_a_uri_that_cannot_be_used_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """Without its password: nobody listens, it names no database, an option is not known."""
    port = free_port()
    uris = [f"mongodb://ann:hidden@127.0.0.1:{port}{rest}" for rest in ("/x?connect_timeout=0.5", "/", "/x?tiemout=3")]

    codes = [main(["import", "sacred", uri, "--to", "file:x.json"]) for uri in uris]

    said = capsys.readouterr().err
    assert codes == [3, 2, 2]
    assert [word in said for word in ("cannot be used", "names no database", "tiemout")] == [True] * 3
    assert (said.count("\n"), "hidden" in said) == (3, False)
    with pytest.raises(InvalidUri, match="names no database"):
        import_runs("sacred", "mongodb://127.0.0.1/a.b.c", "ephemeral:")


def test_a_user_who_may_only_read_is_enough(store: str) -> None:
    """Nothing is written; a wrong password, and a database that is another's, say what to do."""
    pytest.importorskip("secantus")
    server = mongo.MongoWire(durable=True)
    try:
        _write(f"{server.uri}sacred", written.observed())
        with pymongo.MongoClient[dict[str, Any]](server.uri) as client:
            client["sacred"].command("createUser", "ann", pwd="p/w hidden", roles=["read"])
        server.restart("--auth")
        uri = server.uri.replace("//", "//ann:p%2Fw%20hidden@")

        report = import_runs("sacred", f"{uri}sacred", store)
        with pytest.raises(BackendUnavailable, match="role read on") as caught:
            import_runs("sacred", f"{uri}other?authSource=sacred", store)
        with pytest.raises(BackendUnavailable, match="give user and password"):
            import_runs("sacred", f"{server.uri}sacred", store)
    finally:
        server.close()

    assert report.taken["points"] == 4
    assert "hidden" not in f"{caught.value} {report.to_json()}"
