"""Old ``pickled:`` files: read once, safely."""

from __future__ import annotations

import collections
import contextlib
import datetime
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from track import TrackClient, fetch
from track.errors import CorruptJournal
from track.persistence import get_protocol
from track.persistence.pickled import load_plain_pickle
from track.structure import Status

TRIAL = {
    "dtype": "trial",
    "hash": "ab",
    "revision": 0,
    "name": "first",
    "project_id": "p",
    "parameters": {"lr": 0.1},
    "metrics": {"loss": {"0": 1.0}},
    "status": {"name": "Completed", "value": 302},
}


class _Exploit:
    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('code in a pickle was run')",))


@pytest.mark.parametrize(
    "value",
    [
        {"lr": [0.1, None, True, "x", b"y", 2**80]},
        {1, 2},
        frozenset("ab"),
        collections.OrderedDict(a=1),
        datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc),
        datetime.timedelta(1),
        1j,
    ],
)
@pytest.mark.parametrize("protocol", [3, 5])
def test_plain_data_is_read(value: Any, protocol: int) -> None:
    """Containers, numbers, text and dates come back, in the format of the original and in the newest."""
    assert load_plain_pickle(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (pickle.dumps(_Exploit()), "builtins.exec, and only plain data is read"),
        (pickle.dumps(Path("x")), "and only plain data is read"),
        (pickle.dumps(print), "builtins.print"),
        (b"\x80\x04nonsense", "not a pickle of plain data"),
        (b"", "not a pickle of plain data"),
        (b"\x80\x02\x82\x01.", "a registered extension"),
        (b"\x80\x05\x96\x00\x00\x00\x00\x80\x00\x00\x00.", "not a pickle of plain data"),
        (b"\x80\x02Px\n.", "not a pickle of plain data"),
    ],
    ids=["exploit", "object", "function", "damaged", "empty", "extension", "claimed size", "persistent"],
)
def test_anything_else_is_refused(data: bytes, reason: str) -> None:
    """No class is made and no function is called, whatever a file asks for."""
    with pytest.raises(CorruptJournal, match=reason):
        load_plain_pickle(data)


def test_few_bytes_do_not_take_all_memory() -> None:
    """A number that only looks large costs nothing: here, place 4,294,967,295 of the pickle's memory."""
    assert load_plain_pickle(b"\x80\x04Nr\xff\xff\xff\xff.") is None


@given(st.binary(max_size=60), st.integers(0, 200), st.binary(min_size=1, max_size=3))
def test_any_bytes_are_plain_data_or_refused(start: bytes, place: int, change: bytes) -> None:
    """Random bytes, and a store with a few bytes changed, are read as plain data or refused in our words."""
    whole = bytearray(pickle.dumps([{"dtype": "project", "trials": [TRIAL]}]))
    whole[place : place + len(change)] = change

    for data in (start, b"\x80\x04" + start, bytes(whole)):
        with contextlib.suppress(CorruptJournal):
            assert _is_plain(load_plain_pickle(data))


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, [*value, *value.values()]))
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(_is_plain, value))
    plain = (str, bytes, int, float, complex, datetime.datetime, datetime.timedelta, datetime.timezone)
    return value is None or isinstance(value, plain) or value in (complex, frozenset, set, collections.OrderedDict)


@pytest.mark.parametrize("form", ["{}", "pickled:{}", "pickled://{}", "pickleddb:{}"])
@pytest.mark.parametrize(
    "content",
    [
        [{"dtype": "project", "name": "p", "trials": [TRIAL], "groups": []}],
        {"projects": [{"name": "p"}], "trials": [TRIAL]},
    ],
    ids=["projects", "collections"],
)
def test_old_file_is_converted(form: str, content: Any, tmp_path: Path) -> None:
    """An old file opens by each form of its name, becomes a file store, and the pickle is kept beside it."""
    path = tmp_path / "runs.pkl"
    path.write_bytes(pickle.dumps(content))
    uri = form.format(path) if ":" in form else f"pickled:{path}"

    trials = get_protocol(uri).fetch_trials()

    assert [(trial.name, trial.status, dict(trial.metrics["loss"])) for trial in trials] == [
        ("first", Status.Completed, {0: 1.0})
    ]
    assert (tmp_path / "runs.pkl.pickle").read_bytes() == pickle.dumps(content)
    assert path.read_bytes().lstrip()[:1] in (b"[", b"{")


def test_store_is_used_like_any_other(tmp_path: Path) -> None:
    """What is logged to a ``pickled:`` store is read again."""
    uri = f"pickled:{tmp_path}/runs.pkl"
    client = TrackClient(uri)
    client.new_trial(parameters={"lr": 0.1}).log_metrics(step=0, loss=1.0)

    assert dict(fetch(uri)[0].metrics["loss"]) == {0: 1.0}


@pytest.mark.parametrize("content", [_Exploit(), 3, {"users": []}], ids=["exploit", "number", "other"])
def test_file_of_something_else_is_left_as_it_is(content: Any, tmp_path: Path) -> None:
    """A pickle that is no old store is an error that names it; nothing is changed."""
    path = tmp_path / "runs.pkl"
    path.write_bytes(pickle.dumps(content))

    with pytest.raises(CorruptJournal, match=r"runs.pkl was left as it is"):
        get_protocol(f"pickled:{path}")

    assert path.read_bytes() == pickle.dumps(content)
    assert not (tmp_path / "runs.pkl.pickle").exists()


# few bytes that become much


def _doubled(make: Any, times: int = 60) -> Any:
    found: Any = make([1, 2])
    for _ in range(times):
        found = make([found, found])
    return found


def _cyclic() -> Any:
    lists: list[Any] = [[] for _ in range(30)]
    for one in lists:
        one.extend(lists)
    return [{"name": "p", "metadata": {"a": lists}}]


LARGE: dict[str, bytes] = {
    "lists in lists": pickle.dumps([{"name": "p", "metadata": {"a": _doubled(list)}}]),
    "one text again and again": pickle.dumps(["x" * 10_000] * 100_000),
    "dictionaries": pickle.dumps(_doubled(lambda two: dict(enumerate(two)))),
    "what contains itself": pickle.dumps(_cyclic()),
    # (a, a) of (b, b) of ..., which is a key.
    "tuples in a key": b"\x80\x04}K\x01"
    + b"\x94h\x00\x86"
    + b"".join(b"\x94h%c\x86" % n for n in range(1, 60))
    + b"Ns.",
    "key of a million levels": b"\x80\x04}K\x01" + b"\x85" * 1_000_000 + b"Ns.",
    "copies of a set": b"\x80\x04]("
    + b"".join(b"M%c%c" % (n % 256, n // 256) for n in range(60_000))
    + b"e\x940"
    + b"]\x94("
    + b"cbuiltins\nset\nh\x00\x85R" * 20_000
    + b"e.",
}


@pytest.mark.parametrize("case", LARGE)
def test_few_bytes_that_become_much_are_refused(case: str, tmp_path: Path) -> None:
    """A pickle that expands to far more than its file, or contains itself, is refused, and left as it is."""
    path = tmp_path / "runs.pkl"
    path.write_bytes(LARGE[case])

    with pytest.raises(CorruptJournal, match=r"runs.pkl was left as it is.*(far larger|contains itself|levels deep)"):
        get_protocol(f"pickled:{path}")

    assert path.read_bytes() == LARGE[case]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["runs.pkl", "runs.pkl.lock"]


def test_data_that_is_shared_is_read() -> None:
    """What a program has put in several places is in all of them."""
    tags = {f"tag{number}": [number] for number in range(50)}
    shared = [{"name": f"p{number}", "tags": tags, "key": {(1, "a"): frozenset({1})}} for number in range(500)]

    assert load_plain_pickle(pickle.dumps(shared)) == shared


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        [{"name": 3}],
        [{"name": "p", "trials": [3]}],
        [{"name": "p", "trials": [{"uid": "nonsense", "dtype": "trial"}]}],
        [{"name": "p", "groups": 5}],
        {"projects": [None]},
        {"trials": ["x"]},
        {"groups": [{"uid": [], "name": "g"}]},
    ],
)
def test_file_that_would_not_open_afterwards_is_left_as_it_is(content: Any, tmp_path: Path) -> None:
    """A pickle is replaced only by a store that opens."""
    path = tmp_path / "runs.pkl"
    path.write_bytes(pickle.dumps(content))

    with pytest.raises(CorruptJournal, match=r"runs.pkl was left as it is"):
        get_protocol(f"pickled:{path}").fetch_trials()

    assert path.read_bytes() == pickle.dumps(content)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["runs.pkl", "runs.pkl.lock"]


def test_pickle_of_before_is_not_overwritten(tmp_path: Path) -> None:
    """A second pickle at the same place is kept beside the first."""
    path = tmp_path / "runs.pkl"
    for name in ("first", "second"):
        path.write_bytes(pickle.dumps([{"name": name}]))
        get_protocol(f"pickled:{path}").close()

    kept = [pickle.loads((tmp_path / f"runs.pkl.{end}").read_bytes())[0]["name"] for end in ("pickle", "pickle-1")]
    assert kept == ["first", "second"]
