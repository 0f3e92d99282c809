"""Whatever a track server acknowledges, every store can show, save and open again."""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.deliveries import rounds
from track.errors import InvalidEvent
from track.persistence import get_protocol
from track.persistence.protocol import Protocol
from track.persistence.server.backend import decide, read_events, touched
from track.serialization import from_json, to_json
from track.utils.system import hostname

pytestmark = pytest.mark.network

HUGE = 10**400
ODD_NUMBERS = st.sampled_from(
    [0, -1, 1e308, -1e308, 5e-324, 2**62, 2**63, -(2**63) - 1, 2**64, HUGE, 1.5, True, -0.0, 253402300799, 1e12]
)
ODD_TEXTS = st.sampled_from(
    [
        "",
        "a",
        "\0",
        "a\0b",
        "\ud800",
        "\x1b[2J",
        "a\nb",
        "$ne",
        "a.b",
        "_resumes",
        "_update_count",
        "late_events",
        "é" * 50,
    ]
) | st.sampled_from(["x" * 3000, "\x01" * 900, "é" * 12_000, "." * 500])
TAGGED = st.builds(
    lambda dtype, value: {"dtype": dtype, "value": value},
    st.sampled_from(
        ["int", "float", "bytes", "dict", "series", "steps", "ring", "stat", "value", "sum", "ndarray", "x"]
    ),
    st.sampled_from(["1", "nan", "-inf", "9" * 5000, "0x" + "f" * 5000, "a", {}, [], 3, None, [1, "a"], {"value": 1}]),
)
STATES = st.builds(
    lambda dtype, arguments, value, at, more: {
        "dtype": dtype,
        "arguments": arguments,
        "value": value,
        "at": at,
        **more,
    },
    st.sampled_from(["ring", "stat", "statstream", "series", "steps", "min", "value", "sum", "Own"]),
    st.sampled_from([[], [3, "d"], [1 << 20, "f"], [-1], ["a"], [1e300], 3, None]),
    st.sampled_from([1.0, "a", [1.0, 2.0], [1, "a", None], {}, None, {"dtype": "int", "value": "5"}, [[1]]]),
    st.sampled_from([[1.0, 2.0], [1.0], [], "a", [1.0, "a"], [1e300, 1.0], None]),
    st.sampled_from([{}, {"step": [1, 2]}, {"step": [1]}, {"step": [[1], {}]}, {"sum_sqr": "a"}, {"avg": 1}]),
)


def nested(depth: int) -> Any:
    """Return lists in dictionaries, so deep."""
    found: Any = 1
    for level in range(depth):
        found = [found] if level % 2 else {"a": found}
    return found


LEAVES = st.none() | st.booleans() | ODD_NUMBERS | ODD_TEXTS | TAGGED | STATES
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ODD_TEXTS, inner, max_size=3), max_leaves=6
) | st.sampled_from([nested(depth) for depth in (30, 200, 255, 300, 600)])
PACKED = st.builds(
    lambda typecode, data, odd: {"typecode": typecode, "data": data, "odd": odd},
    st.sampled_from(["d", "q", "d", "q", "f"]),
    st.sampled_from(["AAAAAAAA8D8AAAAAAAD4/w==", "AAAAAAAAAIAAAAAAAAAAAA==", "AAAAAAAA8D8=", "", "a", 3]),
    st.dictionaries(st.sampled_from(["0", "1", "2", "-1", "a"]), VALUES, max_size=2),
)
CELLS = PACKED | st.lists(VALUES, min_size=2, max_size=2) | st.just([1, 2]) | VALUES
COLUMNS = st.builds(
    lambda given: {"name": "loss", "size": 2, "value": [1.5, 2]} | given,
    st.fixed_dictionaries(
        {},
        optional={
            "name": ODD_TEXTS,
            "size": st.sampled_from([0, 1, 4097, 2**70, "a"]),
            "value": CELLS,
            "step": CELLS | st.none(),
            "first": ODD_NUMBERS,
            "stride": ODD_NUMBERS,
            "at": st.sampled_from(["AAAAAAAA8D8AAAAAAADwPw==", "AAAAAAAA8D8AAAAAAAD4/w==", "a", "", 3]),
        },
    ),
)
UIDS = st.sampled_from(["ab_0", "ab_1", "cd_0", "p", "g", "nobody"]) | ODD_TEXTS
TIMES = st.sampled_from([1.0, 1e9, 1.7e9]) | ODD_NUMBERS
SPECIFICATIONS = st.none() | st.lists(
    st.sampled_from(["series", "ring", "stat", "min", "max", "sum", "value", "Own", "dict"]) | LEAVES, max_size=4
)
PROCESSES = st.none() | st.dictionaries(
    st.sampled_from(["host", "pid", "started", "machine", "status", "at", "began", "signal", "parent", "x"]), VALUES
)
STATUSES = st.none() | st.tuples(
    st.sampled_from(["Running", "Completed", "own", "Broken", None]) | LEAVES,
    st.sampled_from([101, 302, None]) | LEAVES,
)
FIELDS: dict[str, Any] = {
    "uid": UIDS,
    "trial": UIDS,
    "hash": st.sampled_from(["ab", "cd", "ab_0"]) | ODD_TEXTS,
    "revision": st.sampled_from([0, 1, -1]) | ODD_NUMBERS,
    "at": TIMES,
    "name": st.none() | ODD_TEXTS | st.sampled_from(["loss", "runtime"]) | LEAVES,
    "description": st.none() | ODD_TEXTS,
    "version": st.none() | ODD_TEXTS,
    "metadata": st.dictionaries(ODD_TEXTS, VALUES, max_size=3) | VALUES,
    "tags": st.dictionaries(ODD_TEXTS, VALUES, max_size=3) | VALUES,
    "parameters": st.dictionaries(ODD_TEXTS, VALUES, max_size=3) | VALUES,
    "metrics": st.dictionaries(ODD_TEXTS, STATES | VALUES, max_size=3) | VALUES,
    "chronos": st.dictionaries(ODD_TEXTS, STATES | VALUES, max_size=3) | VALUES,
    "errors": st.lists(VALUES, max_size=2),
    "artifacts": st.lists(st.dictionaries(st.sampled_from(["name", "uri", "x"]), VALUES) | TAGGED, max_size=2),
    "timestamps": st.dictionaries(st.sampled_from(["created", "finished"]), TIMES, max_size=2),
    "process": PROCESSES,
    "processes": st.lists(PROCESSES, max_size=2),
    "project_id": st.sampled_from(["p", None]) | VALUES,
    "group_id": st.sampled_from(["g", None]) | VALUES,
    "status": STATUSES,
    "error": st.none() | ODD_TEXTS,
    "attempt": st.none() | ODD_NUMBERS,
    "changes": ODD_NUMBERS,
    "is_set": st.booleans(),
    "kind": st.sampled_from(["trial", "group", "project"]) | ODD_TEXTS,
    "owner": UIDS,
    "field": st.sampled_from(["metadata", "parameters", "tags", "name", "_uid", "metrics", "deleted"]),
    "values": st.dictionaries(st.sampled_from(["loss", "acc"]) | ODD_TEXTS, ODD_NUMBERS | LEAVES, max_size=3)
    | st.dictionaries(ODD_TEXTS, VALUES, max_size=3)
    | st.builds(lambda value: {"deleted": value}, st.sampled_from([True, False, "forgotten"]) | VALUES),
    "step": st.none() | ODD_NUMBERS | VALUES,
    "aggregator": SPECIFICATIONS,
    "columns": st.none() | COLUMNS | VALUES,
    "seconds": ODD_NUMBERS | VALUES,
    "uri": ODD_TEXTS,
    "digest": st.none() | ODD_TEXTS,
    "size": st.none() | ODD_NUMBERS,
    "media": st.none() | st.dictionaries(ODD_TEXTS, VALUES, max_size=3) | VALUES,
}
WANTED: dict[str, tuple[set[str], set[str]]] = {
    "project_created": ({"uid", "at"}, {"name", "description", "metadata", "tags"}),
    "group_created": ({"uid", "at"}, {"name", "description", "metadata", "project_id"}),
    "trial_created": (
        {"hash", "revision", "at"},
        {
            *("name", "description", "tags", "version", "group_id", "project_id", "parameters", "metadata", "metrics"),
            *("chronos", "errors", "status", "changes", "timestamps", "process", "artifacts", "attempt", "processes"),
            "is_set",
        },
    ),
    "trial_attached": ({"trial", "kind", "owner", "at"}, set()),
    "fields_merged": ({"kind", "uid", "field", "values", "at"}, {"aggregator"}),
    "metrics": ({"trial", "values", "at"}, {"step", "aggregator", "columns"}),
    "time": ({"trial", "name", "seconds", "at"}, {"aggregator"}),
    "status": ({"trial", "status", "at"}, {"error", "process", "attempt"}),
    "artifact": ({"trial", "name", "uri", "at"}, {"digest", "size", "step", "media"}),
}
USUAL: dict[str, Any] = {
    "uid": "ab_0",
    "trial": "ab_0",
    "hash": "ab",
    "revision": 0,
    "at": 1.0,
    "kind": "trial",
    "owner": "p",
    "field": "metadata",
    "values": {"loss": 0.5},
    "name": "n",
    "seconds": 1.0,
    "status": ["Running", 101],
    "uri": "file:a",
}


@st.composite
def hostile_events(draw: Any) -> dict[str, Any]:
    """Return the JSON of an event that is as usual but for a few fields."""
    tag = draw(st.sampled_from(sorted(WANTED)))
    required, optional = WANTED[tag]
    odd = draw(st.sets(st.sampled_from(sorted(required | optional)), max_size=3))
    usual = USUAL | ({"kind": "project"} if tag == "trial_attached" else {})
    given = {name: usual[name] for name in required} | {name: draw(FIELDS[name]) for name in sorted(odd)}
    return {"event": tag, **given}


def _line(event: Any) -> bytes:
    """Return the bytes a client might send, whatever the library's own would do."""
    return json.dumps(event).encode() + b"\n"


_SEED = [
    {"event": "project_created", "uid": "p", "at": 1.0, "name": "p"},
    {"event": "group_created", "uid": "g", "at": 1.0, "name": "g", "project_id": "p"},
    {"event": "trial_created", "hash": "ab", "revision": 0, "at": 1.0, "project_id": "p", "group_id": "g"},
    {"event": "trial_attached", "trial": "ab_0", "kind": "group", "owner": "g", "at": 1.0},
    {"event": "metrics", "trial": "ab_0", "values": {"loss": 0.5}, "at": 1.0, "step": 0},
]


SEED = b"".join(map(_line, _SEED))


def _shown(store: Protocol) -> dict[str, Any]:
    """Return all that a store has, looked at in every way a reader looks at it."""
    found: dict[str, Any] = {}
    for kind in ("fetch_projects", "fetch_groups", "fetch_trials"):
        for one in getattr(store, kind)():
            document = (
                to_json(one) if kind != "fetch_projects" else [one.name, to_json(one.metadata), to_json(one.tags)]
            )
            msgspec.json.encode(document)
            msgspec.json.encode(to_json(one, short=True) if kind == "fetch_trials" else None)
            repr(one), one._repr_html_() if kind == "fetch_trials" else None
            if kind == "fetch_trials":
                from_json(document)
                one.metrics.to_dict()
                for container in (*one.metrics.values(), *one.chronos.values()):
                    repr(container)
            found[f"{kind} {one.uid}"] = document
    for query in (
        {"metrics.loss": {"$gt": 0}},
        {"parameters.a": 1},
        {"status": "running"},
        {"metadata.a": {"$in": ["1"]}},
    ):
        store.fetch_trials(query)
    return found


class Store:
    """A store behind a server, that is opened again."""

    def __init__(self, make: Callable[[], str]) -> None:
        self._make = make

    def check(self, batches: list[bytes]) -> list[bool]:
        """Offer each batch as a client does, look at all then, and after a restart; return what was taken."""
        uri = self._make()
        store = get_protocol(uri)
        with _nothing_is_skipped():
            taken = [_offer(store, number, lines) for number, lines in enumerate([SEED, *batches])]
            before = _shown(store)
            store.commit()
            store.close()
            if not uri.startswith("ephemeral"):
                again = get_protocol(uri)
                assert _plain(_shown(again)) == _plain(before)
                again.close()
        return taken[1:]


def _offer(store: Protocol, number: int, lines: bytes) -> bool:
    """Return whether a batch is taken, which then is in the store: decided, or logged."""
    try:
        events = read_events(f"w{number}", 0, lines)
    except InvalidEvent:
        return False
    if number % 2:
        if decide(store, f"w{number}", 0, [], lines):
            touched(store, events)
    else:
        store.receive(f"w{number}", 0, events, lines)
        assert store.last(f"w{number}") == len(events) - 1
    return True


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@contextmanager
def _nothing_is_skipped() -> Iterator[None]:
    """Fail where a store says that it leaves out what it was told: that was acknowledged."""
    heard = _Heard()
    logging.getLogger("track").addHandler(heard)
    try:
        yield
    finally:
        logging.getLogger("track").removeHandler(heard)
    assert [text for text in heard.texts if "makes no sense" in text] == []


def _plain(value: Any) -> Any:
    """Return data that can be compared."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return repr(value) if isinstance(value, float) else value


@pytest.fixture(params=["ephemeral", "file", "sqlite", "postgresql", "mongodb"])
def store(request: pytest.FixtureRequest, own_folders: Path) -> Store:
    """Give a way to try a server's calls on empty stores of each kind."""
    makes: dict[str, Callable[[], str]] = {
        "ephemeral": lambda: "ephemeral:",
        "file": lambda: f"file:{own_folders}/{secrets.token_hex(6)}.json",
        "sqlite": lambda: f"sqlite:{own_folders}/{secrets.token_hex(6)}.db",
    }
    if request.param == "postgresql":
        return Store(request.getfixturevalue("fast_server").new_database)
    if request.param == "mongodb":
        server = request.getfixturevalue("mongo_servers")[False]
        return Store(server.new_database)
    return Store(makes[request.param])


@settings(max_examples=rounds(40, 3000), suppress_health_check=list(HealthCheck))
@given(batches=st.lists(st.lists(hostile_events(), min_size=1, max_size=3), min_size=1, max_size=6))
def test_whatever_is_taken_is_shown_saved_and_opened(store: Store, batches: list[list[Any]]) -> None:
    """What a server acknowledges can be fetched and saved after it, also when the store is opened again."""
    store.check([b"".join(map(_line, batch)) for batch in batches])


# one by one


def _with(tag: str, **fields: Any) -> bytes:
    required, _ = WANTED[tag]
    usual = USUAL | ({"kind": "project"} if tag == "trial_attached" else {})
    return _line({"event": tag, **{name: usual[name] for name in required}, **fields})


def _raw(tag: str, name: str, json: bytes) -> bytes:
    """Return an event with the bytes of one field as they are given."""
    return _with(tag, **{name: "HERE"}).replace(b'"HERE"', json)


RUNNING = {"host": hostname(), "pid": os.getpid(), "started": "x"}
FOREIGN = {"hash": "cd", "metadata": {"_resumes": {"dtype": "series", "value": ["a"], "at": [1.0]}}}
SERIES = {"dtype": "series", "value": [1.0], "at": [1.0]}
STEPS = {"dtype": "steps", "step": [1, 2], "value": [1.0], "at": [1.0]}
ONE = {"name": "loss", "size": 1, "value": [1.0]}
DOUBLE = "AAAAAAAA8D8="

REFUSED: dict[str, bytes] = {
    **{
        f"{field} of a trial that are {nothing.decode()}": _raw("trial_created", field, nothing)
        for field in ("metrics", "chronos")
        for nothing in (b"null", b"[]", b'""', b"0", b"false")
    },
    "much that is said of an artifact": _with("artifact", media={"a": "x" * 5000}),
    "deep media": _raw("artifact", "media", b'{"a":' * 300 + b"1" + b"}" * 300),
    "step of an artifact that is a dictionary": _with("artifact", step={"a": 1}),
    "series of text": _with("metrics", columns=ONE | {"value": ["a"]}),
    "series of text beside its numbers": _with(
        "metrics", columns=ONE | {"value": {"typecode": "d", "data": DOUBLE, "odd": {"0": "a"}}}
    ),
    "series of two lengths": _with("metrics", columns=ONE | {"step": [1, 2]}),
    "series that is too long": _with("metrics", columns=ONE | {"size": 5000, "value": [1] * 5000}),
    "series without an end": _with("metrics", columns=ONE | {"size": 2**62, "first": 0}),
    "step of a series that is a dictionary": _with("metrics", columns=ONE | {"step": [{"a": 1}]}),
    "step beside a series that is a dictionary": _with(
        "metrics", columns=ONE | {"step": {"typecode": "d", "data": DOUBLE, "odd": {"0": [{}]}}}
    ),
    "deep step of a series": _with("metrics", columns=ONE | {"step": [nested(300)]}),
    "steps of a series past their end": _with("metrics", columns=ONE | {"first": 2**63}),
    "time of a series that is none": _with("metrics", columns=ONE | {"at": "AAAAAAAA+H8="}),
    "huge time of a series": _with("metrics", columns=ONE | {"at": "nHUAiDzkN34="}),
    "long name of a series": _with("metrics", columns=ONE | {"name": "\x01" * 1000}),
    "time that is none": _raw("metrics", "at", b"NaN"),
    "time without end": _raw("metrics", "at", b"1e999"),
    "huge time": _with("metrics", at=1e300),
    "time before all years": _with("status", at=-1e300),
    "time of a trial": _with("trial_created", hash="cd", timestamps={"created": 1e300}),
    "lone surrogate": _raw("metrics", "values", b'{"\\ud800 ": 1.0}'),
    "bytes that are no text": _raw("metrics", "values", b'{"\xff": 1.0}'),
    "NUL in a uid": _with("project_created", uid="a\0b"),
    "NUL in the uid of what is measured": _with("metrics", trial="a\0b"),
    "NUL in a hash": _with("trial_created", hash="a\0b"),
    "NUL in a version": _with("trial_created", hash="cd", version="a\0b"),
    "NUL in a status": _with("status", status=["a\0b", 5]),
    "deep metadata": _raw("fields_merged", "values", b'{"a":' * 300 + b"1" + b"}" * 300),
    "deeper than the stack": _raw("fields_merged", "values", b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
    "deep step": _raw("metrics", "step", b"[" * 300 + b"]" * 300),
    "step that is a dictionary": _with("metrics", step={"a": 1}),
    "metric that is text": _with("metrics", values={"loss": "0.5"}),
    "metric that is nothing": _with("metrics", values={"loss": None}),
    "metric that is a list": _with("metrics", values={"loss": [0.5]}),
    "time that is text": _with("time", seconds="1"),
    "long name of a metric": _with("metrics", values={"x" * 10_000_000: 1.0}),
    "long name in an index": _with("metrics", values={"\x01" * 1000: 1.0}),
    "long name of a time": _with("time", name="x" * 10_000),
    "long uid": _with("project_created", uid="x" * 10_000_000),
    "long name of a project": _with("project_created", uid="q", name="x" * 10_000_000),
    "long owner": _with("trial_attached", owner="x" * 10_000),
    "long dotted name": _with("fields_merged", field="parameters", values={"a" * 1500: {"b" * 1500: 1}}),
    "millions of names": _with("metrics", values={str(number): 1.0 for number in range(1_000_000)}),
    "many parameters": _with("trial_created", hash="cd", parameters={str(number): 1 for number in range(100_000)}),
    "huge revision": _raw("trial_created", "revision", b"9" * 30),
    "huge size": _raw("artifact", "size", b"9" * 30),
    "huge attempt": _raw("status", "attempt", b"9" * 30),
    "status that is a number": _with("status", status=5),
    "status that is a pair of lists": _with("status", status=[[], {}]),
    "status of three": _with("status", status=["Running", 101, 1]),
    "pid that is a path": _with("status", status=["Running", 101], process={**RUNNING, "pid": "../../etc/passwd"}),
    "pid that is huge": _with("status", status=["Running", 101], process={**RUNNING, "pid": 10**12}),
    "host that is a list": _with("status", status=["Running", 101], process={"host": [], "pid": 1, "started": {}}),
    "process of a trial": _with("trial_created", hash="cd", process={"host": {}}, status=["Running", 101]),
    "processes of a trial": _with(
        "trial_created",
        hash="cd",
        status=["Running", 101],
        processes=[{"host": [], "status": ["Running", 101], "at": 1.0, "began": 1.0}],
    ),
    "resume that is text": _with("fields_merged", values={"_resumes": "a"}, aggregator=["series"]),
    "resume in a new trial": _with("trial_created", metrics={"loss": STEPS}, **FOREIGN),
    "columns of two lengths": _with("trial_created", hash="cd", metrics={"loss": STEPS}),
    "times that are text": _with("trial_created", hash="cd", metrics={"loss": {**SERIES, "at": ["a"]}}),
    "metrics that are a list": _with("trial_created", hash="cd", metrics=[1]),
    "metadata that is a number": _with("trial_created", hash="cd", metadata=5),
    "metadata that becomes one": _with("project_created", uid="q", metadata={"dtype": "int", "value": "5"}),
    "metadata of a group": _with("group_created", uid="q", metadata={"dtype": "bytes", "value": ""}),
    "tags that become a number": _with("project_created", uid="q", tags={"dtype": "float", "value": "1"}),
    "parameters that become a number": _with("trial_created", hash="cd", parameters={"dtype": "int", "value": "5"}),
    "group whose project is a list": _with("group_created", uid="q", project_id=["p"]),
    "trial whose project is a dictionary": _with("trial_created", hash="cd", project_id={"a": 1}),
    "parameters of a project": _with("fields_merged", kind="project", uid="p", field="parameters"),
    "tags of a group": _with("fields_merged", kind="group", uid="g", field="tags"),
    "forgetting, which is a call": _with("fields_merged", field="deleted", values={"deleted": "forgotten"}),
    "half hidden": _with("fields_merged", field="deleted", values={"deleted": 1}),
    "hidden, and more": _with("fields_merged", field="deleted", values={"deleted": True, "a": True}),
    "hidden group": _with("fields_merged", kind="group", uid="g", field="deleted", values={"deleted": True}),
    "field that is none": _with("fields_merged", field="_uid"),
    "owner of a kind": _with("trial_attached", kind="trial"),
    "aggregator without a kind": _with("metrics", values={"new": 1.0}, aggregator=[]),
    "aggregator without its arguments": _with("metrics", values={"new": 1.0}, aggregator=["ring"]),
    "aggregator of odd arguments": _with("metrics", values={"new": 1.0}, aggregator=["ring", {"a": []}]),
    "aggregator of a negative size": _with("metrics", values={"new": 1.0}, aggregator=["ring", -1]),
    "aggregator that is huge": _with("metrics", values={"new": 1.0}, aggregator=["ring", 10**9]),
    "aggregator of half a value": _with("time", aggregator=["stat", 0.5]),
    "aggregator of a project": _with("fields_merged", kind="project", uid="p", aggregator=["value"]),
    "artifact without fields": _with("trial_created", hash="cd", artifacts=[{"dtype": "int", "value": "5"}]),
}
TAKEN: dict[str, bytes] = {
    "odd series": _with("metrics", columns=ONE | {"name": "a\0b", "step": [[1, "a"]]})
    + _with("metrics", columns=ONE | {"value": [True], "step": [None], "at": DOUBLE})
    + _with(
        "metrics", columns=ONE | {"value": [{"dtype": "int", "value": "0x" + "f" * 10_000}], "first": -(2**63) + 1}
    ),
    "series of an aggregator": _with("metrics", columns=ONE | {"name": "new"}, aggregator=["ring", 2, "d"]),
    "the same trial twice": _with("trial_created") + _with("trial_created", name="other"),
    "huge code": _raw("status", "status", b'["own", ' + b"9" * 30 + b"]"),
    "the same project twice": _with("project_created", uid="q") + _with("project_created", uid="q", name="x"),
    "project in itself": _with("group_created", uid="self", project_id="self")
    + _with("trial_created", hash="cd", project_id="cd_0", group_id="cd_0"),
    "parents in a circle": _with("trial_created", hash="cd", metadata={"parent": "ef_0"})
    + _with("trial_created", hash="ef", metadata={"parent": "cd_0"}),
    "trial that belongs to itself": _with("trial_attached", trial="ab_0", owner="ab_0"),
    "huge numbers": _raw("metrics", "values", b'{"loss": %s}' % (b"9" * 400))
    + _with("metrics", values={"loss": {"dtype": "int", "value": "0x" + "f" * 100_000}}),
    "huge step": _raw("metrics", "step", b"9" * 400) + _with("metrics", step=2**63) + _with("metrics", step=[1, "a"]),
    "huge number in metadata": _raw("fields_merged", "values", b'{"a": %s}' % (b"9" * 4000)),
    "number that only looks like one": _with("fields_merged", values={"a": {"dtype": "int", "value": "9" * 5000}}),
    "NUL in what is named": _with("metrics", values={"a\0b": 1.0})
    + _with("fields_merged", field="parameters", values={"a\0b": "c\0d"})
    + _with("project_created", uid="q", name="a\0b"),
    "hidden trial": _with("fields_merged", field="deleted", values={"deleted": True}) + _with("metrics"),
    "as deep as it goes": _raw("fields_merged", "values", b'{"a":' * 250 + b"1" + b"}" * 250),
    "names of databases": _with("metrics", values={"$ne": 1.0, "a.b": 1.0, "": 1.0, "_id": 1.0}),
    "names of our own": _with("fields_merged", values={"_update_count": "a", "_last_change": [], "late_events": "b"})
    + _with("metrics"),
    "large ring": _with("metrics", values={"new": 1.0}, aggregator=["ring", 1 << 20, "d"]),
    "unknown aggregator": _with("metrics", values={"new": 1.0}, aggregator=["Own", 1]) + _with("metrics", step=1),
    "odd status": _with("status", status=["own", -(2**62)]) + _with("status", status=[None, None]),
    "oldest time": _with("metrics", at=-1.0) + _with("metrics", at=0.0),
    "many keys": _with("fields_merged", values={str(number): number for number in range(50_000)}),
    "series of another store": _with("trial_created", hash="cd", metrics={"loss": SERIES}, chronos={"runtime": 5.0}),
    "state that is none": _with("fields_merged", values={"a": {"dtype": "ring", "arguments": [-1], "value": 3}})
    + _with("trial_created", hash="cd", metrics={"a": {"dtype": "ring", "arguments": ["x"], "value": 3}}),
}


def test_events_that_no_store_must_see(store: Store) -> None:
    """What some store could not apply, save or show is refused, by each of them, and changes nothing."""
    taken = store.check(list(REFUSED.values()))

    assert [name for name, was_taken in zip(REFUSED, taken, strict=True) if was_taken] == []


@pytest.mark.parametrize("case", TAKEN)
def test_odd_events_are_taken_by_every_store(store: Store, case: str) -> None:
    """What is odd and harmless is taken, and comes back as it is from every store."""
    assert store.check([TAKEN[case], TAKEN[case]]) == [True, True]
