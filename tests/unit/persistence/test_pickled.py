"""Old ``pickled:`` files: read once, safely."""

from __future__ import annotations

import collections
import contextlib
import datetime
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
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


@settings(deadline=None)
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
