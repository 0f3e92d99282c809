"""Users of a server: who gets in, who does not, and the file they are kept in."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.children import ended, start_python
from track.errors import CorruptJournal, NotFound
from track.persistence import users as module
from track.persistence.users import ROLES, Users

CHEAP = {"n": 2, "r": 1, "p": 1}
"""Spares the tests the cost that an attacker has to bear."""


@pytest.fixture
def users(tmp_path: Path) -> Users:
    """Give users of whom one is stored: ann, who may write."""
    made = Users(tmp_path / "users.json", cost=CHEAP)
    made.add("ann", "correct horse", "write")
    return made


# who gets in


@pytest.mark.parametrize("role", ROLES)
def test_right_password_gives_the_role(users: Users, role: str) -> None:
    """A user is let in with what was said at the time."""
    users.add("bob", "battery staple", role)

    assert [users.check("bob", "battery staple") for _ in range(3)] == [role] * 3


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ann", "Correct horse"),
        ("ann", ""),
        ("ann", "correct horse "),
        ("ANN", "correct horse"),
        ("", ""),
        ("eve", "correct horse"),
        ("\x00", "\ud800"),
        ("ann", "x" * 100_000),
        ("ann", None),
        (None, "x"),
        (["ann"], {}),
    ],
)
def test_anything_else_gives_nothing(users: Users, name: Any, password: Any) -> None:
    """A wrong password and an unknown name are answered alike, also after the right one was given."""
    first = users.check(name, password)
    users.check("ann", "correct horse")

    assert (first, users.check(name, password)) == (None, None)


def test_unknown_user_costs_as_much_as_a_known_one(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can tell from the work done whether a name exists."""
    work: list[dict[str, Any]] = []

    def counted(password: bytes, **cost: Any) -> bytes:
        work.append({name: value for name, value in cost.items() if name != "salt"})
        return scrypt(password, **cost)

    scrypt = hashlib.scrypt
    monkeypatch.setattr(hashlib, "scrypt", counted)

    users.check("ann", "wrong")
    users.check("eve", "wrong")

    assert len(work) == 2
    assert work[0] == work[1]


def test_same_password_again_is_cheap(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many clients of one user come back at once without holding up the server."""
    users.check("ann", "correct horse")
    monkeypatch.setattr(hashlib, "scrypt", None)

    assert users.check("ann", "correct horse") == "write"


def test_guess_is_dear_by_default(tmp_path: Path) -> None:
    """What is kept of a password costs 16 MiB and five rounds to try."""
    made = Users(tmp_path / "users.json")
    made.add("ann", "correct horse", "write")

    kept = json.loads(made.path.read_bytes())["users"]["ann"]

    assert 128 * kept["n"] * kept["r"] >= 16 << 20
    assert kept["p"] >= 5
    assert made.check("ann", "correct horse") == "write"


def test_accented_letters_are_the_same_from_every_keyboard(users: Users) -> None:
    """Composed and decomposed letters are one password."""
    users.add("bob", unicodedata.normalize("NFD", "café"), "read")

    assert users.check("bob", unicodedata.normalize("NFC", "café")) == "read"


# changes


def test_change_by_another_process_is_seen(users: Users) -> None:
    """A server that runs sees who was added, changed and removed meanwhile."""
    server = Users(users.path)
    before = server.check("ann", "correct horse")

    users.add("ann", "new words", "admin")
    changed = server.check("ann", "correct horse"), server.check("ann", "new words")
    users.remove("ann")

    assert before == "write"
    assert changed == (None, "admin")
    assert server.check("ann", "new words") is None


def test_users_are_listed_by_name(users: Users) -> None:
    """The list has names and roles, and nothing that belongs to a password."""
    users.add("aaa", "x", "read")

    assert list(users.list().items()) == [("aaa", "read"), ("ann", "write")]


def test_no_file_has_no_users(tmp_path: Path) -> None:
    """Before the first user nobody gets in."""
    empty = Users(tmp_path / "users.json", cost=CHEAP)

    assert empty.list() == {}
    assert empty.check("ann", "x") is None


def test_unknown_user_cannot_be_removed(users: Users) -> None:
    """A name that is misspelled is said, and nothing is changed."""
    with pytest.raises(NotFound, match=r"no user 'anne' in .*users.json"):
        users.remove("anne")

    assert users.list() == {"ann": "write"}


@pytest.mark.parametrize(
    ("name", "password", "role", "problem"),
    [
        ("", "x", "read", "cannot be the name"),
        ("a b", "x", "read", "cannot be the name"),
        ("a\nb", "x", "read", "cannot be the name"),
        ("a" * 101, "x", "read", "cannot be the name"),
        ("bob", "", "read", "the password of 'bob' is empty"),
        ("bob", "x" * 1025, "read", "the password is too long"),
        ("bob", "x", "root", "one of read, write, admin"),
    ],
)
def test_mistakes_are_said(users: Users, name: str, password: str, role: str, problem: str) -> None:
    """What cannot be stored is refused before the file is touched."""
    before = users.path.read_bytes()

    with pytest.raises(ValueError, match=problem):
        users.add(name, password, role)

    assert users.path.read_bytes() == before


# the file


def test_file_is_private_and_holds_no_password(users: Users) -> None:
    """Only the owner reads it, and neither the password nor the same hash twice is in it."""
    users.add("bob", "correct horse", "write")
    kept = json.loads(users.path.read_bytes())["users"]

    assert stat.S_IMODE(users.path.stat().st_mode) == 0o600
    assert b"correct horse" not in users.path.read_bytes()
    assert kept["ann"]["hash"] != kept["bob"]["hash"]
    assert kept["ann"]["salt"] != kept["bob"]["salt"]


def test_file_that_others_could_read_is_private_again(users: Users) -> None:
    """A change gives a file that was copied together carelessly its mode back."""
    users.path.chmod(0o644)

    users.add("bob", "x", "read")

    assert stat.S_IMODE(users.path.stat().st_mode) == 0o600


def test_file_is_private_before_it_has_content(users: Users, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can open it in the moment between, whatever the mask of the process."""
    modes: list[int] = []

    def noted(path: str, pieces: Any, temporary: str) -> None:
        modes.append(stat.S_IMODE(os.stat(temporary).st_mode))
        replace(path, pieces, temporary)

    replace = module.replace_file
    monkeypatch.setattr(module, "replace_file", noted)
    mask = os.umask(0)
    try:
        Users(tmp_path / "new.json", cost=CHEAP).add("ann", "x", "read")
    finally:
        os.umask(mask)

    assert modes == [0o600]
    assert stat.S_IMODE((tmp_path / "new.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o664])
def test_file_that_others_can_write_lets_nobody_in(users: Users, mode: int) -> None:
    """Who can write the file could let himself in: it is refused, with the way out, and left as it is."""
    before = users.path.read_bytes()
    users.path.chmod(mode)

    for action in (lambda: users.check("ann", "correct horse"), users.list, lambda: users.add("bob", "x", "read")):
        with pytest.raises(CorruptJournal, match=r"can be written by others \(mode 6\d\d\).*chmod 600"):
            action()

    assert users.path.read_bytes() == before
    assert stat.S_IMODE(users.path.stat().st_mode) == mode


def test_file_that_others_can_read_is_said_once(users: Users, caplog: pytest.LogCaptureFixture) -> None:
    """Who can read the file can guess at home: that is said, once, and the users are let in."""
    users.path.chmod(0o640)

    found = [Users(users.path).check("ann", "correct horse") for _ in range(3)]

    assert found == ["write"] * 3
    assert [record.getMessage().partition(" (mode 640)")[0] for record in caplog.records] == [
        f"{users.path} can be read by others"
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
@pytest.mark.parametrize("is_link", [False, True], ids=["file", "link"])
def test_file_of_somebody_else_lets_nobody_in(users: Users, is_link: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, or a link, that belongs to another user than who runs the server is refused."""
    path = users.path
    if is_link:
        path = users.path.with_name("link.json")
        path.symlink_to(users.path)
    os.chown(path, 4242, -1, follow_symlinks=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(CorruptJournal, match=r"belongs to user 4242.*chown"):
        Users(path).check("ann", "correct horse")


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
def test_root_is_told_of_a_file_of_somebody_else(users: Users, caplog: pytest.LogCaptureFixture) -> None:
    """In a container everything may belong to a user of the host: for root it is said, and taken."""
    os.chown(users.path, 4242, -1)

    assert Users(users.path).check("ann", "correct horse") == "write"
    assert "belongs to user 4242" in caplog.text


def test_file_behind_a_link_is_changed_where_it_is(users: Users) -> None:
    """A link of one's own stays one; the file it leads to is changed."""
    link = users.path.with_name("link.json")
    link.symlink_to(users.path)

    Users(link, cost=CHEAP).add("bob", "x", "read")

    assert link.is_symlink()
    assert sorted(users.list()) == ["ann", "bob"]


@pytest.mark.parametrize("left", ["file", "link", "link to nothing"])
def test_what_a_killed_change_left_is_neither_used_nor_followed(users: Users, tmp_path: Path, left: str) -> None:
    """A `.new` beside the file, readable by all or a link to another file, is removed by the next change."""
    new, other = tmp_path / "users.json.new", tmp_path / "other"
    other.write_text("precious")
    if left == "file":
        new.write_text("half")
        new.chmod(0o666)
    else:
        new.symlink_to(other if left == "link" else tmp_path / "nothing")

    users.add("bob", "x", "read")

    assert sorted(users.list()) == ["ann", "bob"]
    assert other.read_text() == "precious"
    assert stat.S_IMODE(users.path.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "users.json", "users.json.lock"]


def test_pipe_in_place_of_the_file_blocks_nobody(tmp_path: Path) -> None:
    """What is no ordinary file is refused at once."""
    os.mkfifo(tmp_path / "users.json", 0o600)

    with pytest.raises(CorruptJournal, match="no ordinary file"):
        Users(tmp_path / "users.json").check("ann", "x")


def test_changes_at_once_are_all_kept(users: Users) -> None:
    """Threads and processes that add users at once lose none."""
    script = f"""
import sys
from track.persistence.users import Users
users = Users({str(users.path)!r}, cost={CHEAP})
for number in range(5):
    users.add(f"process{{sys.argv[1]}}.{{number}}", "x", "read")
"""
    children = [start_python("-c", script, str(number)) for number in range(2)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: users.add(f"thread{number}", "x", "read"), range(12)))
    codes = [ended(child).returncode for child in children]

    assert codes == [0, 0]
    assert len(Users(users.path).list()) == 1 + 12 + 2 * 5


def _file(**changes: Any) -> bytes:
    user = {"role": "write", "salt": "ab" * 16, "hash": "cd" * 64, "n": 2, "r": 1, "p": 1}
    return json.dumps({"format": 1, "users": {"ann": {**user, **changes}}}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        b"\xff\xfe",
        b"[]",
        b'{"format": 1}',
        b'{"format": 2, "users": {}}',
        b'{"format": 1, "users": {"ann": "secret"}}',
        b'{"format": 1, "users": {}, "more": 1}',
        b"[" * 100_000,
        _file(role="root"),
        _file(role=None),
        _file(salt=""),
        _file(hash=""),
        _file(hash="cd" * 63),
        _file(n=3),
        _file(n=1 << 30),
        _file(r=1 << 30),
        _file(p=0),
        _file(plain="x"),
    ],
)
def test_broken_file_is_one_clear_error(content: bytes, users: Users) -> None:
    """Nobody is let in by a file that cannot be understood, not even who was in before; it stays as it is."""
    users.check("ann", "correct horse")
    users.path.write_bytes(content)

    for _ in range(2):
        with pytest.raises(CorruptJournal, match=r"users.json"):
            users.check("ann", "correct horse")
    with pytest.raises(CorruptJournal, match=r"users.json"):
        users.add("bob", "x", "read")

    assert users.path.read_bytes() == content
    assert sorted(path.name for path in users.path.parent.iterdir()) == ["users.json", "users.json.lock"]


def test_place_that_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    """A folder in place of the file is said, and a file in place of its folder."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(CorruptJournal, match="is no file of users"):
        Users(tmp_path).check("ann", "x")
    with pytest.raises(CorruptJournal, match=r"users.json cannot be read"):
        Users(tmp_path / "file" / "users.json").check("ann", "x")


@given(position=st.integers(0), byte=st.integers(0, 255), cut=st.booleans())
def test_damaged_byte_lets_nobody_else_in(position: int, byte: int, cut: bool, tmp_path: Path) -> None:
    """Whatever happens to a byte of the file, a wrong password is refused and no other error is raised."""
    users = Users(tmp_path / "users.json", cost=CHEAP)
    content = bytearray(_file())
    position %= len(content)
    content[position:] = b"" if cut else bytes([byte]) + content[position + 1 :]
    users.path.write_bytes(content)

    assert _role(users) is None


def _role(users: Users) -> str | None:
    try:
        return users.check("ann", "x")
    except CorruptJournal:
        return None
