"""``track user``: users are added, changed, removed and listed; a password is never an argument."""

from __future__ import annotations

import functools
import getpass
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from track.cli import main, user
from track.persistence.users import Users


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the tests the cost that an attacker has to bear."""
    monkeypatch.setattr(user, "Users", functools.partial(Users, cost={"n": 2, "r": 1, "p": 1}))


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Give a file of users, which is not there yet."""
    return str(tmp_path / "users.json")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        """Be one."""
        return True


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Give what a person at a terminal types, and ask for all of it."""
    answers: list[str] = []
    monkeypatch.setattr("sys.stdin", _Terminal())
    monkeypatch.setattr(getpass, "getpass", lambda _: answers.pop(0))
    yield answers
    assert answers == []


def _pipe(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_user_is_added_from_a_terminal(path: str, typed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The password is typed twice and shown nowhere; the role is to write unless said."""
    typed += ["correct horse", "correct horse"]

    code = main(["user", "add", "ann", "--users", path])

    assert code == 0
    assert Users(path).check("ann", "correct horse") == "write"
    shown = capsys.readouterr()
    assert shown.out == f"added ann (write) in {path}\n"
    assert "horse" not in shown.err


def test_two_different_passwords_change_nothing(
    path: str, typed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A slip of the finger is noticed."""
    typed += ["correct horse", "correct house"]

    assert main(["user", "add", "ann", "--users", path]) == 2
    assert "the two passwords differ" in capsys.readouterr().err
    assert not os.path.exists(path)


@pytest.mark.parametrize("end", ["\n", "\r\n", "", "\nmore\n"])
def test_password_comes_from_standard_input(path: str, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script hands over one line; spaces belong to it, its end does not."""
    _pipe(monkeypatch, f" correct horse {end}")

    assert main(["user", "add", "ann", "--role", "read", "--password-stdin", "--users", path]) == 0
    assert Users(path).check("ann", " correct horse ") == "read"


def test_without_a_terminal_the_way_out_is_said(
    path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script that forgot the option is told, and does not wait."""
    _pipe(monkeypatch, "correct horse\n")

    assert main(["user", "add", "ann", "--users", path]) == 2
    assert "use --password-stdin" in capsys.readouterr().err


def test_users_are_changed_listed_and_removed(
    path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Adding again changes password and role."""
    for password, role in (("old", "read"), ("new", "admin")):
        _pipe(monkeypatch, password)
        main(["user", "add", "ann", "--role", role, "--password-stdin", "--users", path])
    changed = Users(path).check("ann", "new")
    codes = [main(["user", *words, "--users", path]) for words in (["list"], ["remove", "ann"], ["list"])]

    assert changed == "admin"
    assert codes == [0, 0, 0]
    assert capsys.readouterr().out.splitlines() == [
        f"added ann (read) in {path}",
        f"changed ann (admin) in {path}",
        "ann  admin",
        f"removed ann from {path}",
        f"{path} has no users",
    ]


@pytest.mark.parametrize(
    ("words", "problem", "code"),
    [
        (["remove", "eve"], "no user 'eve'", 1),
        (["add", "a b", "--password-stdin"], "'a b' cannot be the name", 2),
        (["add", "ann", "--password-stdin"], "the password of 'ann' is empty", 2),
    ],
)
def test_mistakes_are_said(
    words: list[str],
    problem: str,
    code: int,
    path: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is not there is exit code 1, what cannot be done is wrong usage; both say why."""
    _pipe(monkeypatch, "")

    assert main(["user", *words, "--users", path]) == code
    assert f"track user: {problem}" in capsys.readouterr().err


def test_broken_file_is_said(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of something else is left as it is."""
    Path(path).write_text("nonsense")

    assert main(["user", "list", "--users", path]) == 2
    assert "is no file of users" in capsys.readouterr().err
    assert Path(path).read_text() == "nonsense"


@pytest.mark.parametrize(
    "words", [["add", "ann", "secret"], ["add", "ann", "--password", "secret"], ["add", "ann"], []]
)
def test_password_is_never_an_argument(words: list[str], path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What stands on a command line is seen by everybody on the machine."""
    given = [*words, "--users", path] if len(words) > 2 else words

    with pytest.raises(SystemExit) as ended:
        main(["user", *given])

    assert ended.value.code == 2
    assert "usage: track" in capsys.readouterr().err
