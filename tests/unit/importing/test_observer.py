"""Documents of sacred's MongoObserver: their runs as trials, and what is damaged or hostile in the report."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import track
from tests.unit.importing import written
from track.artifacts import artifacts
from track.errors import BackendUnavailable, InvalidCall, MissingExtra, NothingThere
from track.importing import import_runs, observer
from track.importing.mongo import Documents, codec
from track.importing.report import Report
from track.persistence.ephemeral import EphemeralProtocol

bson = pytest.importorskip("bson", reason="needs pymongo")

URI = "mongodb://ann:hidden@127.0.0.1/sacred"


class Made(Documents):
    """Collections of documents that are made here; `limit` calls are answered, then the server is away."""

    def __init__(self, made: dict[str, list[dict[str, Any]]], limit: int = 1 << 30) -> None:
        super().__init__(None, "mongodb://here/sacred", {"collection": "", "collection_prefix": ""})
        self.made, self.left, self.longest = made, limit, 0

    def _find(self, collection: str, uid: Any) -> dict[str, Any] | None:
        self.left -= 1
        if self.left < 0:
            raise BackendUnavailable("it is away")
        found = (one for one in self.made.get(collection, []) if repr(one["_id"]) == repr(uid))
        return copy.deepcopy(next(found, None))

    def names(self) -> list[str]:
        return sorted(self.made)

    def ids(self, collection: str) -> Iterator[Any]:
        return iter([one["_id"] for one in self.made.get(collection, [])])

    def one(self, collection: str, uid: Any, *fields: str) -> dict[str, Any] | None:
        found = self._find(collection, uid)
        return found and {name: said for name, said in found.items() if not fields or name in fields}

    def part(self, collection: str, uid: Any, lists: tuple[str, ...], begin: int, count: int) -> dict[str, Any] | None:
        found = self._find(collection, uid)
        for name in lists:
            if found and isinstance(found.get(name), list):
                found[name] = found[name][begin : begin + count]
                self.longest = max(self.longest, len(found[name]))
        return found

    def counts(self, collection: str, owner: str, name: str) -> Iterator[tuple[Any, Any, int]]:
        for one in self.made.get(collection, []):
            yield one["_id"], one.get(owner), len(one[name]) if isinstance(one.get(name), list) else 0

    def file_of(self, filename: str, md5: str) -> Any:
        found = (one for one in self.made.get("fs.files", []) if (one["filename"], one.get("md5")) == (filename, md5))
        return next((one["_id"] for one in found), None)

    def download(self, uid: Any, path: str) -> None:
        found = self._find("fs.files", uid)
        if found is None:
            raise ValueError("no file")
        Path(path).write_bytes(found["data"])


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Made], Made]:
    """Give what makes a database the one that is opened."""

    def serve(made: Made) -> Made:
        @contextmanager
        def opened(*given: Any) -> Iterator[Made]:
            yield made

        monkeypatch.setattr(observer, "opened", opened)
        return made

    return serve


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store that is not there yet."""
    return f"file:{tmp_path}/report.json"


def _with(**fields: Any) -> Made:
    """Return the documents with other fields of the run; ``metric__x`` is the field ``x`` of its first metric."""
    made = written.observed()
    for name, said in fields.items():
        where = made["metrics"][0] if name.startswith("metric__") else made["runs"][0]
        where[name.removeprefix("metric__")] = said
    return Made(made)


def _reasons(report: Report) -> set[tuple[str, str]]:
    return {(one.kind, one.first) for one in report.left}


def test_a_run_is_a_trial(serve: Callable[[Made], Made], store: str) -> None:
    """Its points with steps and times, its configuration, notes, tags, files, traceback and end."""
    serve(Made(written.observed()))

    report = import_runs("sacred", URI, store)

    (trial,) = track.fetch(store)
    assert (trial.name, trial.project_id, trial.description) == ("digits-1", "digits", "look at this")
    assert trial.metadata["alias"] == {"sacred": "digits/1@2023-11-14T22:13:20.500000"}
    assert trial.metrics["loss"] == trial.metrics["val/acc"] == {0: 1.0, 5: 0.5}
    assert list(trial.metrics["loss"].points.times()) == [1700000001.5, 1700000002.5]
    assert (trial.parameters, trial.tags) == ({"lr": 0.1, "api_key": "***", "seed": 7}, {"good": True})
    assert (str(trial.status), trial.errors[0].splitlines()[-1]) == ("exception", "ValueError: boom")
    assert (trial.timestamps["created"], trial.timestamps["finished"]) == (1700000000.5, 1700000010.5)
    assert trial.metadata["repositories"] == [{"url": "https://***@host/digits", "commit": "abc", "dirty": False}]
    assert (trial.metadata["host"], trial.metadata["info"]) == ({"hostname": "here"}, {"best": 0.5})
    assert {one.name: one.read_bytes() for one in artifacts(store)} == {
        "cout.txt": b"hello\n",
        "note.txt": b"note",
        "code/main.py": b"pass\n",
        "resources/data/old.csv": b"1,2",
    }
    assert _reasons(report) >= {("damaged", "code/gone.py: no file"), ("resource", "['/data/new.csv', 'other']")}


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("COMPLETED", "completed"),
        ("FAILED", "exception"),
        ("INTERRUPTED", "interrupted"),
        ("TIMEOUT", "interrupted"),
        ("RUNNING", "broken"),
        ("QUEUED", "submitted"),
        ("MY_OWN", "broken"),
        (None, "broken"),
    ],
)
def test_a_run_ends_as_it_ended_there(said: Any, status: str, serve: Callable[[Made], Made], store: str) -> None:
    """One without an end ended at its last heartbeat; what sacred does not say is in the report."""
    made = serve(_with(status=said))
    del made.made["runs"][0]["stop_time"]

    report = import_runs("sacred", URI, store)

    (trial,) = track.fetch(store)
    assert (str(trial.status), trial.timestamps.get("finished")) == (status, None if said == "QUEUED" else 1700000002.5)
    assert any(one.kind == "status" for one in report.left) == (status in ("broken", "submitted"))


def test_the_password_of_a_uri_is_masked(serve: Callable[[Made], Made], store: str) -> None:
    """In the report, and in the error that nothing is there."""
    serve(Made(written.observed()))
    report = import_runs("sacred", URI, store)
    serve(Made({"runs": []}))

    with pytest.raises(NothingThere) as caught:
        import_runs("sacred", URI, store)

    assert report.path == "mongodb://ann:***@127.0.0.1/sacred"
    assert "hidden" not in f"{caught.value} {report.to_json()}"


@pytest.mark.parametrize("source", ["wandb", "mlflow", "csv"])
def test_other_sources_are_not_read_from_a_database(source: str) -> None:
    """The URI is an error, without its password."""
    with pytest.raises(InvalidCall, match=r"mongodb://ann:\*\*\*@127.0.0.1/sacred is no path"):
        import_runs(source, URI, "ephemeral:")


def test_without_the_driver_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is needed for a database only."""
    monkeypatch.setitem(sys.modules, "pymongo", None)

    with pytest.raises(MissingExtra, match=r"pip install \"\.\[mongodb\]\""):
        import_runs("sacred", URI, "ephemeral:")


@pytest.mark.parametrize(
    ("uri", "direct"),
    [
        ("mongodb://ann:hidden@one/x", True),
        ("mongodb://one:7,two:8/x", None),
        ("mongodb://one/x?replicaSet=rs", None),
        ("mongodb://one/x?directConnection=false", None),
        ("mongodb+srv://ann:hidden@one.example/x", None),
    ],
)
def test_a_host_alone_is_the_only_one_that_is_asked(
    uri: str, direct: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever hosts it names; the driver waits no longer than is said."""
    made: list[Any] = []

    def client(*given: Any, **named: Any) -> Any:
        made.append((given, named))
        raise ValueError("no connection here")

    monkeypatch.setattr("pymongo.MongoClient", client)

    with pytest.raises(BackendUnavailable, match="no connection here") as caught:
        import_runs("sacred", uri, "ephemeral:")

    ((given, named),) = made
    assert (given, named.get("directConnection")) == ((uri,), direct)
    assert (named["serverSelectionTimeoutMS"], named["connectTimeoutMS"], named["socketTimeoutMS"]) == (
        2500,
        2500,
        30000,
    )
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("limit", range(8))
def test_a_server_that_goes_away_is_no_damage(limit: int, serve: Callable[[Made], Made], store: str) -> None:
    """The import ends with an error; the next one stores what is missing, once."""
    serve(Made(written.observed(), limit))
    with pytest.raises(BackendUnavailable, match="it is away"):
        import_runs("sacred", URI, store)
    serve(Made(written.observed()))

    report = import_runs("sacred", URI, store)

    (trial,) = track.fetch(store)
    assert list(report.runs) == ["imported" if limit == 0 else "completed"]
    assert trial.metrics["loss"] == trial.metrics["val/acc"] == {0: 1.0, 5: 0.5}
    assert str(trial.status) == "exception"
    assert len(trial.artifacts) == 4


def test_a_full_disk_is_no_damage(serve: Callable[[Made], Made], store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are copied to it on their way; once there is room, the next import stores them."""

    def download(*given: Any) -> None:
        raise OSError(28, "No space left on device")

    serve(Made(written.observed()))
    with monkeypatch.context() as patch:
        patch.setattr(Made, "download", download)
        with pytest.raises(BackendUnavailable, match=r"No space left.*TMPDIR"):
            import_runs("sacred", URI, store)

    import_runs("sacred", URI, store)

    assert len(track.fetch(store)[0].artifacts) == 4


@pytest.mark.parametrize("name", ["experiment", "host", "meta", "config", "captured_out", "artifacts", "resources"])
@pytest.mark.parametrize("said", [7, "text", [[1], None], {"a": {"b": 1}}, True, 1e308])
def test_a_field_of_another_type_is_in_the_report(name: str, said: Any, serve: Callable[[Made], Made]) -> None:
    """The rest of the run is taken."""
    kind = type(written.observed()["runs"][0][name])
    serve(_with(**{name: said}))

    report = import_runs("sacred", URI, "ephemeral:")

    assert report.taken["points"] == 4
    if not isinstance(said, kind):
        assert (f"a run has something else in the place of its {name}") in {one.reason for one in report.left}


@pytest.mark.parametrize(
    "fields",
    [
        {"metric__name": None},
        {"metric__name": {"$gt": ""}},
        {"metric__values": None},
        {"metric__steps": {"a": 1}},
        {"metric__timestamps": "now"},
        {"metric__values": [1.0]},
        {"metric__run_id": None},
        {"metric__run_id": {"$gt": 0}},
        {"metric___id": {"$gt": ""}},
        {"artifacts": [{"name": "note.txt"}]},
        {"artifacts": [{"name": 7, "file_id": "file-note"}]},
        {"artifacts": [{"name": "note.txt", "file_id": {"$gt": ""}}]},
        {"artifacts": [7]},
        {"experiment": {"sources": [["main.py"], "main.py"]}},
    ],
)
def test_what_is_damaged_is_counted(fields: dict[str, Any], serve: Callable[[Made], Made]) -> None:
    """And the import goes on: another metric is taken."""
    serve(_with(**{"experiment": {"name": "digits"}, **fields}))

    report = import_runs("sacred", URI, "ephemeral:")

    assert not report.is_complete
    assert report.taken["points"] in (2, 3, 4)
    assert report.taken["trials"] == 1


def test_a_metric_of_another_run_is_not_taken(serve: Callable[[Made], Made]) -> None:
    """Of a run that is not there it is counted; one that changes its run while it is read is damage."""
    other = serve(_with(metric__run_id=2))
    report = import_runs("sacred", URI, "ephemeral:")
    counts = list(other.counts("metrics", "run_id", "values"))
    changing = serve(_with(metric__run_id=2))
    changing.counts = lambda *given: iter([(uid, 1, count) for uid, _, count in counts])  # type: ignore[method-assign]

    changed = import_runs("sacred", URI, "ephemeral:")

    assert (report.taken["points"], _reasons(report) >= {("metric", "2")}) == (2, True)
    assert (changed.taken["points"], _reasons(changed) >= {("damaged", "metric-loss")}) == (2, True)


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "", "a\0b", "x" * 5000])
def test_a_name_that_leads_elsewhere_is_in_the_report(
    name: str, serve: Callable[[Made], Made], store: str, tmp_path: Path
) -> None:
    """No file is stored under it, nor written outside of the store."""
    serve(_with(artifacts=[{"name": name, "file_id": "file-note"}], captured_out="", resources=[], experiment={}))

    report = import_runs("sacred", URI, store)

    assert [one.name for one in artifacts(store)] == []
    assert "file" in {one.kind for one in report.left}
    assert {path.name.partition(".")[0] for path in tmp_path.iterdir()} == {"report"}


def test_values_that_are_no_numbers_are_counted(serve: Callable[[Made], Made], store: str) -> None:
    """NaN and infinite ones are numbers; texts, and steps and times that are none, do not stop the rest."""
    at = datetime(2023, 11, 14, 22, 13, 21, tzinfo=timezone.utc)
    values = [float("nan"), float("inf"), "1", None, {"value": 3.0}, 10**400, True]
    serve(_with(metric__values=values, metric__steps=[0, 1, 2, 3, "x", 5, float("nan")], metric__timestamps=[at] * 7))

    report = import_runs("sacred", URI, store)

    (trial,) = track.fetch(store)
    assert repr(dict(trial.metrics["loss"])[0]) == "nan"
    assert dict(trial.metrics["loss"])[1] == float("inf")
    assert sum(one.count for one in report.left if one.kind == "point") >= 2


def test_a_large_metric_is_read_in_parts(
    serve: Callable[[Made], Made], store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every point is there, in order, and no more than a part of them at once."""
    monkeypatch.setattr(observer, "_PART", 7)
    at = datetime(2023, 11, 14, 22, 13, 21, tzinfo=timezone.utc)
    made = serve(_with(metric__values=list(range(50)), metric__steps=list(range(50)), metric__timestamps=[at] * 50))

    import_runs("sacred", URI, store)

    assert track.fetch(store)[0].metrics["loss"] == {step: step for step in range(50)}
    assert made.longest == 7


def test_a_run_that_goes_on_is_continued(serve: Callable[[Made], Made], store: str) -> None:
    """Only what is new is stored, once; what was stored and is other now is said, and stays."""
    made = serve(_with(status="RUNNING"))
    del made.made["runs"][0]["stop_time"]
    import_runs("sacred", URI, store)
    metric = made.made["metrics"][0]
    for name, said in {"values": 0.25, "steps": 6, "timestamps": metric["timestamps"][1]}.items():
        metric[name] = [*metric[name], said]
    made.made["runs"][0] |= {"status": "COMPLETED", "omniboard": {"tags": ["good", "kept"]}}

    reports = [import_runs("sacred", URI, store) for _ in range(2)]
    metric["values"] = [7.0, *metric["values"]]
    changed = import_runs("sacred", URI, store)

    assert [(*report.runs, report.taken["points"]) for report in reports] == [("continued", 1), ("present", 0)]
    (trial,) = track.fetch(store)
    assert trial.metrics["loss"] == {0: 1.0, 5: 0.5, 6: 0.25}
    assert (str(trial.status), set(trial.tags)) == ("completed", {"good", "kept"})
    assert (list(changed.runs), changed.is_complete) == (["changed"], False)


def test_what_is_no_run_is_counted(serve: Callable[[Made], Made]) -> None:
    """Documents of others, ids that sacred does not make, and a run that says nothing of its start."""
    made = written.observed()
    del made["runs"][0]["start_time"]
    made["runs"] += [{"_id": 2, "title": "x"}, {"_id": {"a": 1}, "status": "FAILED"}, {"_id": "x" * 5000, "status": 1}]
    serve(Made(made))

    report = import_runs("sacred", URI, "ephemeral:")

    assert report.runs == {"imported": ["digits-1"]}
    assert {one.kind for one in report.left} >= {"run", "start", "damaged"}


def test_bytes_that_are_no_text_and_dates_of_no_year_are_read(serve: Callable[[Made], Made], store: str) -> None:
    """A document of which Python has no text and no date: the rest of the run is taken."""
    made = written.observed()
    raw = bson.encode(made["runs"][0] | {"captured_out": "QQQQ", "stop_time": bson.Int64(1 << 60)})
    raw = raw.replace(b"QQQQ", b"\xff\xfe\xfd\xfc").replace(b"\x12stop_time", b"\x09stop_time")
    made["runs"] = [bson.decode(raw, codec())]
    serve(Made(made))

    report = import_runs("sacred", URI, store)

    (trial,) = track.fetch(store)
    assert (report.runs, str(trial.status)) == ({"imported": ["digits-1"]}, "exception")
    assert trial.timestamps["created"] == 1700000000.5


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.integers(-(2**63), 2**63 - 1),
    st.text(max_size=20),
    st.binary(max_size=5),
    st.datetimes(timezones=st.just(timezone.utc)),
    st.sampled_from([bson.DatetimeMS(1 << 60), bson.Decimal128("1"), bson.ObjectId(), bson.Regex("a*"), bson.MaxKey()]),
    st.sampled_from(["../x", "$where", "a.b", "\0", "file-note", "QUEUED", "RUNNING"]),
)
ODDER = st.recursive(ODD, lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=5), one, max_size=3))


def _places(data: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where something is in documents, but for the ids."""
    keys = data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
    for key in keys:
        if key != "_id":
            yield (*above, key)
            yield from _places(data[key], (*above, key))


PLACES = [place for place in _places(written.observed()) if len(place) > 2 and place[0] != "fs.files"]


def _put(data: Any, place: tuple[Any, ...], said: Any) -> None:
    """Put something in the place of something else, where an earlier change has left it."""
    try:
        for key in place[:-1]:
            data = data[key]
        data[place[-1]] = said
    except (LookupError, TypeError):
        return


@settings(max_examples=100)
@given(changes=st.lists(st.tuples(st.sampled_from(PLACES), ODDER), min_size=1, max_size=4))
def test_any_documents_end_in_the_report(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    """Whatever stands in the place of anything: no traceback, and the trial can be looked at."""
    made = written.observed()
    for place, said in changes:
        _put(made, place, said)
    protocol = EphemeralProtocol("ephemeral:")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observer, "opened", contextmanager(lambda *given: iter([Made(made)])))

        report = import_runs("sacred", URI, protocol)

    assert len(protocol.fetch_trials()) == report.taken["trials"] <= 1
