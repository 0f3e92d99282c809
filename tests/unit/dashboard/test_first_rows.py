"""Of very many runs the latest are there at once; the others follow."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.dashboard.asking import rows_in
from track.dashboard import watching
from track.dashboard.watching import Watched
from track.persistence.ephemeral import EphemeralProtocol
from track.persistence.state import views
from track.structure import Trial


def _store(count: int) -> EphemeralProtocol:
    store = EphemeralProtocol()
    for number in range(count):
        store.new_trial(Trial(name=f"run{number}", parameters={"number": number}))
    return store


def _told(watched: Watched, cursor: str | None) -> dict[str, Any]:
    """Return what is said, with the names of the runs."""
    said = watched.since(cursor)
    assert said is not None
    found: dict[str, Any] = rows_in(said)
    return found | {"names": [run["name"] for run in found["runs"]]}


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let more than four runs be very many."""
    monkeypatch.setattr(watching, "_MANY", 4)
    monkeypatch.setattr(watching, "_LATEST", 2)


def test_latest_rows_are_there_before_the_others() -> None:
    """Who asks on gets all; and so does, from then on, everybody who begins."""
    watched = Watched(_store(6))

    first = _told(watched, None)
    rest = _told(watched, first["cursor"])

    assert (first["names"], first["all"], first["more"]) == (["run4", "run5"], True, True)
    assert rest["names"] == [f"run{number}" for number in range(6)]
    assert rest["all"] is True
    assert "more" not in rest
    assert watched.since(rest["cursor"]) is None
    assert _told(watched, None)["names"] == rest["names"]


def test_few_rows_are_there_at_once() -> None:
    """Nobody has to ask twice."""
    said = _told(Watched(_store(4)), None)

    assert len(said["names"]) == 4
    assert "more" not in said


def test_all_rows_are_there_once_they_were_read_ahead() -> None:
    """What has been read by then need not be waited for."""
    watched = Watched(_store(6))
    watched.first_charts()

    said = _told(watched, None)

    assert len(said["names"]) == 6
    assert "more" not in said


@pytest.mark.parametrize("looked_before", [False, True])
def test_rows_that_could_not_be_read_are_read_at_the_next_look(
    monkeypatch: pytest.MonkeyPatch, looked_before: bool
) -> None:
    """A store that is away for a moment loses no run of the page, neither at its first look nor at a later one."""
    store = _store(2)
    watched = Watched(store, 0)
    cursor = _told(watched, None)["cursor"] if looked_before else None
    store.new_trial(Trial(name="new", parameters={"number": 9}))
    with monkeypatch.context() as patch:
        patch.setattr(store, "brief_trials", _fail)
        with pytest.raises(OSError, match="away"):
            watched.since(cursor)

    assert _told(watched, cursor)["names"][-1:] == ["new"]


def test_replaced_store_that_could_not_be_read_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of the store before are gone once it can be asked which are there."""
    store = _store(2)
    watched = Watched(store, 0)
    cursor = _told(watched, None)["cursor"]
    brief = store.brief_trials
    other = EphemeralProtocol()
    other.new_trial(Trial(name="other", parameters={"number": 7}))
    store.store = other.store
    with monkeypatch.context() as patch:
        # The new rows are read, and then it is away.
        patch.setattr(store, "brief_trials", lambda query=None: brief(query) if query is None else _fail())
        patch.setattr(watching, "_FEW", 0)
        with pytest.raises(OSError, match="away"):
            watched.since(cursor)

    said = _told(watched, cursor)
    assert (said["names"], len(said["gone"])) == (["other"], 2)


def _fail(*_: Any) -> Any:
    raise OSError("the store is away")


def test_trials_that_are_named_are_found_without_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of their creation; those with other uids are not looked at."""
    store = _store(6)
    uids = [trial.uid for trial in store.fetch_trials()]
    looked: list[str] = []
    shown = views.shown_fields

    def count(trial: Trial, *rest: Any) -> Any:
        looked.append(trial.uid)
        return shown(trial, *rest)

    monkeypatch.setattr("track.persistence.state.state.shown_fields", count)

    found = store.brief_trials({"uid": {"$in": [uids[5], "none_0", uids[2], uids[5]]}})

    assert [trial.uid for trial in found] == [uids[2], uids[5]] == looked
