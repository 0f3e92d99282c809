"""What a person may change on the page, and that nobody else can."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import track
from tests.unit.dashboard.asking import HOST, Asker, enter
from track import TrackClient
from track.dashboard import Dashboard
from track.dashboard.editing import STATUSES
from track.dashboard.security import MOST_BYTES
from track.persistence.users import Users

BROWSER = {"HTTP_ORIGIN": f"http://{HOST}", "HTTP_SEC_FETCH_SITE": "same-origin"}


@pytest.fixture
def writing(uri: str) -> Dashboard:
    """The page, with ``--write``."""
    return Dashboard(uri, "secret", interval=0, writes=True)


@pytest.fixture
def editor(writing: Dashboard) -> Asker:
    """Somebody who has come in."""
    return enter(writing, "secret")


def _uid(uri: str) -> str:
    return str(track.fetch(uri, "@last")[0].uid)


def _state(uri: str) -> dict[str, str]:
    folder = Path(uri.removeprefix("file://")).parent
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def test_tags_note_and_status_are_changed(editor: Asker, uri: str) -> None:
    """What is sent is stored, and shown at once to all who look."""
    uid = _uid(uri)
    cursor = editor.runs()["cursor"]
    said = {"uid": uid, "tags": {"paper": "v2", "good": True}, "note": "Best so far.\n<b>", "status": "pruned"}

    editor.ask("/api/edit", "POST", said, **BROWSER)

    assert editor.status == 200
    (row,) = editor.runs(cursor)["runs"]
    assert (row["tags"], row["status"]) == ({"paper": "v2", "good": True}, "pruned")
    assert editor.json(f"/api/run?uid={uid}")["note"] == "Best so far.\n<b>"
    trial = track.fetch(uri, "@last")[0]
    assert (trial.tags, str(trial.status), trial.metadata["note"]) == (said["tags"], "pruned", said["note"])


def test_people_who_edit_at_once_are_all_answered(uri: str, tmp_path: Path) -> None:
    """None is told that a change waits to be stored, because that of another one is on its way."""
    database = f"sqlite:{tmp_path}/runs.db"
    with TrackClient(database).new_trial(name="one", parameters={"lr": 1}):
        pass
    page, uid = Dashboard(database, "secret", interval=0, writes=True), _uid(database)
    editors = [enter(page, "secret") for _ in range(12)]

    def write(number: int) -> None:
        editors[number].ask("/api/edit", "POST", {"uid": uid, "tags": {f"tag{number}": number}}, **BROWSER)

    with ThreadPoolExecutor(len(editors)) as pool:
        list(pool.map(write, range(len(editors))))

    assert {one.status for one in editors} == {200}
    assert track.fetch(database, "@last")[0].tags == {f"tag{number}": number for number in range(12)}


def test_tags_are_taken_away(editor: Asker, uri: str) -> None:
    """A tag that is taken away is on no page, in no list, and found by no filter; it may come again."""
    uid = _uid(uri)
    for tags in ({"a": 1, "b": True}, {"a": None}):
        editor.ask("/api/edit", "POST", {"uid": uid, "tags": tags}, **BROWSER)

    assert editor.json(f"/api/run?uid={uid}")["row"]["tags"] == {"b": True}
    assert editor.json("/api/find?q=tag:a")["uids"] == []
    editor.ask("/api/edit", "POST", {"uid": uid, "tags": {"a": "again"}}, **BROWSER)
    assert editor.json("/api/find?q=tag:a")["uids"] == [uid]


def test_the_page_knows_whether_it_may_write(editor: Asker, asker: Asker, uri: str) -> None:
    """A page that is only read shows nothing to edit with."""
    uid = _uid(uri)

    assert editor.json(f"/api/run?uid={uid}")["statuses"] == list(STATUSES)
    assert "statuses" not in asker.json(f"/api/run?uid={uid}")


def test_without_write_nothing_changes(asker: Asker, uri: str) -> None:
    """By default the page reads only, whoever asks however rightly."""
    before = _state(uri)

    said = asker.ask("/api/edit", "POST", {"uid": _uid(uri), "note": "x"}, **BROWSER)

    assert (asker.status, b"--write" in said) == (403, True)
    assert _state(uri) == before


@pytest.mark.parametrize(
    "tell",
    [
        {"HTTP_ORIGIN": None},
        {"HTTP_SEC_FETCH_SITE": None},
        {"HTTP_ORIGIN": None, "HTTP_SEC_FETCH_SITE": None},
        {"HTTP_ORIGIN": "https://evil.example"},
        {"HTTP_ORIGIN": "http://127.0.0.1:9999"},
        {"HTTP_ORIGIN": "null"},
        {"HTTP_SEC_FETCH_SITE": "cross-site"},
        {"HTTP_SEC_FETCH_SITE": "same-site"},
        {"HTTP_SEC_FETCH_SITE": "none"},
        {"HTTP_COOKIE": ""},
        {"HTTP_COOKIE": "track-8124=0"},
        {"HTTP_HOST": "evil.example"},
        {"REMOTE_ADDR": "10.0.0.7"},
    ],
)
def test_changes_come_from_the_page_itself(editor: Asker, uri: str, tell: dict[str, Any]) -> None:
    """Without the cookie, the origin or the browser's word that it is this page, nothing is changed."""
    uid, before = _uid(uri), _state(uri)

    editor.ask("/api/edit", "POST", {"uid": uid, "note": "x"}, **{**BROWSER, **tell})

    assert editor.status == 403
    assert _state(uri) == before


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; a=b"])
def test_forms_change_nothing(editor: Asker, uri: str, kind: str) -> None:
    """What a form of another site can send is no change."""
    editor.ask("/api/edit", "POST", {"uid": _uid(uri), "note": "x"}, **{**BROWSER, "CONTENT_TYPE": kind})

    assert editor.status == 415


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_post_changes(editor: Asker, method: str) -> None:
    """A link, or a method that a browser may ask about, changes nothing."""
    editor.ask("/api/edit", method, **BROWSER)

    assert editor.status == 405


@pytest.mark.parametrize(("length", "status"), [(str(MOST_BYTES + 1), 413), ("9" * 400, 413), ("", 411), ("-1", 411)])
def test_long_changes_are_refused_unread(editor: Asker, length: str, status: int) -> None:
    """A body of more than a megabyte, or of unknown length, is not read."""
    editor.ask("/api/edit", "POST", b"{}", **{**BROWSER, "CONTENT_LENGTH": length, "wsgi.input": None})

    assert editor.status == status


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"uid": "", "more": 1},
        {"uid": "UID", "tags": ["a"]},
        {"uid": "UID", "tags": {"a": {"b": 1}}},
        {"uid": "UID", "tags": {"": 1}},
        {"uid": "UID", "tags": {" ": 1}},
        {"uid": "UID", "tags": {"a" * 1001: 1}},
        {"uid": "UID", "tags": {"a": "b" * 1001}},
        {"uid": "UID", "tags": {str(number): 1 for number in range(101)}},
        {"uid": "UID", "note": "x" * 100_001},
        {"uid": "UID", "status": "running"},
        {"uid": "UID", "status": "created"},
        {"uid": "UID", "status": "of my own"},
        {"uid": "UID", "status": 302},
    ],
)
def test_what_a_person_may_not_set_is_refused_whole(editor: Asker, uri: str, asked: dict[str, Any]) -> None:
    """Anything that is wrong is said in a sentence, and nothing of the change is made."""
    uid, before = _uid(uri), _state(uri)
    asked = {name: uid if value == "UID" else value for name, value in asked.items()}

    said = editor.ask("/api/edit", "POST", asked, **BROWSER)

    assert (editor.status, bool(said.strip())) == (400, True)
    assert _state(uri) == before


def test_a_run_that_is_not_there_is_said(editor: Asker) -> None:
    """Nothing is made by editing."""
    editor.ask("/api/edit", "POST", {"uid": "no_0", "note": "x"}, **BROWSER)

    assert editor.status == 404


def test_a_store_that_cannot_be_written_to_is_said(
    editor: Asker, writing: Dashboard, uri: str, monkeypatch: Any
) -> None:
    """What is not stored is not called so."""
    uid = _uid(uri)
    monkeypatch.setattr(writing.open(), "unsaved", lambda: 1)

    said = editor.ask("/api/edit", "POST", {"uid": uid, "note": "x"}, **BROWSER)

    assert (editor.status, b"waits to be stored" in said) == (502, True)


def test_users_who_may_look_change_nothing(uri: str, tmp_path: Path) -> None:
    """The role of a user counts here, too."""
    users = Users(tmp_path / "users.json", cost={"n": 2, "r": 1, "p": 1})
    users.add("ann", "secret", "write")
    users.add("bob", "secret", "read")
    page, uid = Dashboard(uri, "", interval=0, writes=True, users=users), _uid(uri)

    for name, status in (("bob", 403), ("ann", 200)):
        asker = Asker(page)
        asker.sign_in(name, "secret")
        said = asker.json(f"/api/run?uid={uid}")
        asker.ask("/api/edit", "POST", {"uid": uid, "note": f"by {name}"}, **BROWSER)

        assert (asker.status, "statuses" in said) == (status, status == 200)
    assert track.fetch(uri, "@last")[0].metadata["note"] == "by ann"
