"""No accepted call makes a store unreadable, and all stores answer the same: random calls with hostile values."""

from __future__ import annotations

import collections
import contextlib
import datetime
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.servers.mongo import new_database
from tests.servers.track import serving
from track import CustomStatus, Project, Status, Trial, TrialGroup
from track.aggregators.aggregator import (
    MaxAggregator,
    MinAggregator,
    RingAggregator,
    StatAggregator,
    SumAggregator,
    TimeSeriesAggregator,
    ValueAggregator,
)
from track.containers.series import Series
from track.errors import TrackError
from track.persistence import get_protocol
from track.persistence.cockroach import Cockroach
from track.persistence.ephemeral import EphemeralProtocol
from track.persistence.eventprotocol import EventProtocol
from track.persistence.local import FileProtocol
from track.persistence.mongodb import MongoProtocol
from track.persistence.sqlite import SqliteProtocol
from track.plain import to_plain
from track.report import report_text
from track.serialization import to_json

Call = Callable[[EventProtocol, Trial], None]
_counter = itertools.count()


class _Broken:
    """Raises at whatever it is asked."""

    def __init__(self, kind: type[Exception]) -> None:
        self.kind = kind

    def __getattribute__(self, name: str) -> Any:
        if name in ("__class__", "kind"):
            return object.__getattribute__(self, name)
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise self.kind("no repr")

    __str__ = __repr__


def _circle() -> list[Any]:
    circle: list[Any] = [1]
    circle.append(circle)
    return circle


_texts = st.one_of(
    st.sampled_from(["loss", "acc", "a.b", "dtype", "value", "step ", "1", "$gt", "\0", "caf\udce9"]),
    st.text(max_size=5),
)
_numbers: st.SearchStrategy[Any] = st.one_of(
    st.floats(),
    st.integers(-(2**70), 2**70),
    st.builds(pow, st.sampled_from([10, -10]), st.sampled_from([400, 5001])),
    st.sampled_from([True, -0.0, 2**63, -(2**63)]),
    st.sampled_from([numpy.float32(0.1), numpy.longdouble(1.5), numpy.int64(3), numpy.float16(65504), numpy.ma.masked]),
)
_odd: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.binary(max_size=4),
    st.datetimes(),
    st.builds(_Broken, st.sampled_from([RuntimeError, RecursionError])),
    st.builds(_circle),
    st.sampled_from([1j, object, datetime.timedelta(1), range(3), {3, "a"}, numpy.zeros(2), numpy.datetime64("NaT")]),
)
_leaves = st.one_of(_texts, _numbers, _odd)
_keys = st.one_of(_texts, st.integers(0, 2), st.none(), st.binary(max_size=2))
_values = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(_keys, inner, max_size=3),
        st.builds(collections.deque, st.lists(inner, max_size=2)),
        st.fixed_dictionaries({"dtype": st.sampled_from(["float", "series", "stat", "steps"]), "value": inner}),
    ),
    max_leaves=6,
)
_steps = st.one_of(
    st.none(), st.integers(-3, 6), _texts, _numbers, st.binary(max_size=2), st.tuples(_texts, st.tuples(_numbers))
)
_factories = st.sampled_from(
    [
        MaxAggregator.lazy(),
        MinAggregator.lazy(),
        SumAggregator.lazy(),
        StatAggregator.lazy(0),
        ValueAggregator.lazy(),
        TimeSeriesAggregator.lazy(),
        RingAggregator.lazy(2, "b"),
        RingAggregator.lazy(2, "d"),
    ]
)
_named = st.dictionaries(_texts.filter(lambda name: "\udce9" not in name), _values, max_size=3)


def _metrics(values: dict[str, Any], step: Any, factory: Any) -> Call:
    return lambda protocol, trial: protocol.log_trial_metrics(trial, step, factory, **values)


def _metadata(values: dict[str, Any], factory: Any) -> Call:
    chosen = {} if factory is None else {"aggregator": factory}
    return lambda protocol, trial: protocol.log_trial_metadata(trial, **chosen, **values)


def _fields(method: str, values: dict[str, Any]) -> Call:
    return lambda protocol, trial: getattr(protocol, method)(trial, **values)


def _status(status: Any, error: Any) -> Call:
    return lambda protocol, trial: protocol.set_trial_status(trial, status, error)


def _group(values: dict[str, Any]) -> Call:
    return lambda protocol, trial: protocol.set_group_metadata(TrialGroup(name="g", project_id="p"), **values)


def _trial(fields: dict[str, Any]) -> Call:
    return lambda protocol, trial: protocol.new_trial(Trial("bb", **fields), auto_increment=True) and None


def _artifact(name: Any, size: Any) -> Call:
    return lambda protocol, trial: protocol.log_trial_artifact(trial, name, "file:x", None, size)


_statuses = st.one_of(st.sampled_from([*Status, "failed", 7]), st.builds(CustomStatus, _values, _values))
_calls: st.SearchStrategy[list[Call]] = st.lists(
    st.one_of(
        st.builds(_metrics, st.dictionaries(st.sampled_from(["loss", "best"]), _numbers), _steps, st.none()),
        st.builds(_metrics, st.dictionaries(st.sampled_from(["loss", "best"]), _numbers), _steps, _factories),
        st.builds(_metrics, st.dictionaries(_texts, _numbers, max_size=2), _steps, st.none()),
        st.builds(_metadata, _named, st.one_of(st.none(), _factories)),
        st.builds(_fields, st.sampled_from(["add_trial_tags", "log_trial_arguments"]), _named),
        st.builds(_status, _statuses, _values),
        st.builds(_group, _named),
        st.builds(_artifact, _values, st.one_of(st.none(), st.integers(0, 2**40))),
        st.builds(
            _trial,
            st.fixed_dictionaries(
                {},
                optional={
                    "name": _values,
                    "description": _values,
                    "version": _texts.filter(lambda text: "\0" not in text),
                    "tags": _values,
                    "metadata": _values,
                    "parameters": _named,
                    "errors": _values,
                },
            ),
        ),
    ),
    max_size=12,
)


def _run(protocol: EventProtocol, calls: list[Call]) -> None:
    protocol.new_project(Project(name="p"))
    protocol.new_trial_group(TrialGroup(name="g", project_id="p"))
    trial = protocol.new_trial(Trial("aa", name="innocent", parameters={"lr": 0.1}, project_id="p"))
    assert trial is not None
    protocol.log_trial_metrics(trial, step=0, safe=0.5)
    for call in calls:
        # What is refused is refused by an error of ours, and nothing else.
        with contextlib.suppress(TrackError):
            call(protocol, trial)
    protocol.flush()


def _seen(protocol: EventProtocol) -> str:
    """Return everything that is stored, as text; the times differ between stores."""
    shown = []
    for trial in protocol.fetch_trials():
        json.loads(report_text(trial))
        json.dumps([to_json(trial), trial.metrics.to_dict()])
        assert len(repr(trial)) < 300 > len(repr(trial.metrics))
        names = ("uid", "name", "description", "tags", "version", "parameters", "errors", "artifacts", "status")
        fields = [getattr(trial, name) for name in names[:-2]]
        fields += [str(trial.status), [artifact["name"] for artifact in trial.artifacts]]
        metadata = {name: _shown(value) for name, value in trial.metadata.items() if name != "_last_change"}
        shown.append([*fields, metadata, [(name, _shown(container)) for name, container in trial.metrics.items()]])
    groups = [(group.uid, group.description, group.metadata) for group in protocol.fetch_groups()]
    return json.dumps(to_plain([shown, groups]), indent=1, sort_keys=True)


def _shown(container: Any) -> Any:
    return list(container.items()) if isinstance(container, Series) else getattr(container, "val", container)


def _check(store: Callable[[], EventProtocol], folder: Path, calls: list[Call]) -> None:
    """Check that a store answers as one in memory does: at once, reopened, and from a copy."""
    memory = EphemeralProtocol()
    _run(memory, calls)
    expected = _seen(memory)
    protocol = store()

    _run(protocol, calls)

    copy = str(folder / f"{next(_counter)}.json")
    assert _seen(protocol) == expected
    protocol.commit()
    protocol.commit(file_name_override=copy)
    protocol.close()
    reopened = store()
    assert _seen(reopened) == expected
    reopened.close()
    assert _seen(FileProtocol(f"file:{copy}")) == expected


_settings = settings(max_examples=60, suppress_health_check=list(HealthCheck))
_on_servers = settings(max_examples=15, suppress_health_check=list(HealthCheck))


@_settings
@given(calls=_calls)
def test_nothing_accepted_makes_a_file_unreadable(tmp_path: Path, calls: list[Call]) -> None:
    """Whatever was accepted, everything can be fetched, saved and opened again, and is what a store in memory has."""
    path = tmp_path / f"{next(_counter)}.json"
    _check(lambda: FileProtocol(f"file:{path}"), tmp_path, calls)


@_settings
@given(calls=_calls)
def test_nothing_accepted_makes_sqlite_unreadable(tmp_path: Path, calls: list[Call]) -> None:
    """The same in one SQLite file."""
    path = tmp_path / f"{next(_counter)}.db"
    _check(lambda: SqliteProtocol(f"sqlite:{path}"), tmp_path, calls)


@pytest.fixture
def new_sql_uri(sql_server: Any) -> Callable[[], str]:
    """Give what makes an empty database, in place of the one before."""
    made: list[str] = []

    def new_uri() -> str:
        if made:
            sql_server.drop_database(made.pop())
        made.append(sql_server.new_database())
        return made[-1]

    return new_uri


@pytest.mark.network
@_on_servers
@given(calls=_calls)
def test_nothing_accepted_makes_a_sql_server_unreadable(
    new_sql_uri: Callable[[], str], tmp_path: Path, calls: list[Call]
) -> None:
    """The same on PostgreSQL, which stands in for CockroachDB."""
    uri = new_sql_uri()
    _check(lambda: Cockroach(uri), tmp_path, calls)


@pytest.mark.network
@_on_servers
@given(calls=_calls)
def test_nothing_accepted_makes_mongodb_unreadable(mongo_server: str, tmp_path: Path, calls: list[Call]) -> None:
    """The same on a MongoDB-wire server (SecantusDB)."""
    uri = new_database(mongo_server)
    _check(lambda: MongoProtocol(uri), tmp_path, calls)


@_on_servers
@given(calls=_calls)
def test_nothing_accepted_stays_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[Call]) -> None:
    """The same as a user gets SQLite: behind the delivery layer, where an event that no store takes would block all."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    path = tmp_path / f"{next(_counter)}.db"
    _check(lambda: get_protocol(f"sqlite:{path}"), tmp_path, calls)  # type: ignore[arg-type, return-value]


@pytest.mark.network
@_on_servers
@given(calls=_calls)
def test_nothing_accepted_stops_a_track_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[Call]
) -> None:
    """The same through a server, which reads what clients send it."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    monkeypatch.setenv("TRACK_SOCKET_FOLDER", str(tmp_path / "server"))
    with serving("ephemeral:") as port:
        uri = f"socket://127.0.0.1:{port}?security_layer=None"
        _check(lambda: get_protocol(uri), tmp_path, calls)  # type: ignore[arg-type, return-value]
