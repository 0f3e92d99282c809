"""The program: every command has help and is documented, and its exit codes say what happened."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import pytest

from tests.children import printed_by, python
from tests.servers import wait_until
from track.cli import main, make_parser
from track.persistence.delivery.segment import Segment
from track.persistence.registry import get_protocol
from track.persistence.sqlite import SqliteProtocol
from track.structure import Trial

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reference" / "cli.rst").read_text(encoding="utf-8")


def _commands() -> dict[str, argparse.ArgumentParser]:
    (verbs,) = [action for action in make_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(verbs.choices)


def _logged(tmp_path: Path, count: int) -> str:
    """Leave a spill behind, as a killed process does, and return the URI of its store."""
    uri = f"sqlite:{tmp_path}/runs.db"
    trial = SqliteProtocol(uri).new_trial(Trial(parameters={"lr": 1}))
    script = f"""
import os
from track.persistence.registry import get_protocol
from track.structure import Trial
protocol = get_protocol({uri!r})
assert protocol.get_trial(Trial({trial.hash!r}))
def away(*_):
    raise ConnectionError("away")
protocol.server.receive = protocol.server.receive_after = away
for number in range({count}):
    protocol.log_trial_metrics(Trial({trial.hash!r}), step=number, n=number)
os._exit(0)
"""
    assert printed_by(script) == ""
    return uri


@pytest.mark.parametrize("name", _commands())
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``--help`` says what a command does, and what each of its arguments means."""
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])

    assert ended.value.code == 0
    assert f"track {name}" in capsys.readouterr().out
    assert _commands()[name].description
    assert all(action.help for action in _commands()[name]._actions)


def test_commands_are_listed_in_a_line_each() -> None:
    """``track --help`` names each command once, with what it does in the same line."""
    lines = make_parser().format_help().splitlines()
    listed = lines[lines.index("commands:") + 1 :]

    assert [line.split()[0] for line in listed] == list(_commands())
    assert all(len(line.split()) > 3 for line in listed)


@pytest.mark.parametrize("name", _commands())
def test_every_command_is_documented(name: str) -> None:
    """The page has a section for each command, and names each of its options."""
    assert f"\n{name}\n{'-' * len(name)}\n" in PAGE
    for action in _commands()[name]._actions:
        for option in action.option_strings:
            assert option in PAGE


def test_documented_commands_exist() -> None:
    """The page names no command that is gone."""
    lines = PAGE.splitlines()
    headings = [line for line, under in itertools.pairwise(lines) if under and set(under) == {"-"}]

    assert sorted(headings) == sorted([*_commands(), "Filters", "JSON"])


def test_wrong_usage_is_two(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that does not exist, or none, is wrong usage."""
    for arguments in ([], ["snyc"], ["sync", "--sttus"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
    assert "usage: track" in capsys.readouterr().err


@pytest.mark.parametrize("uri", ["file:report.json", "nowhere:"])
def test_uri_of_no_server_is_two(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A URI that nothing can be sent to is wrong usage, and says why."""
    assert main(["sync", uri]) == 2
    assert "track sync:" in capsys.readouterr().err


def test_nothing_to_send_is_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no process left anything, all is well."""
    assert main(["sync"]) == 0
    assert main(["sync", f"sqlite:{tmp_path}/runs.db"]) == 0
    assert main(["sync", "--status"]) == 0
    assert "nothing is waiting" in capsys.readouterr().out


def test_sync_sends_and_is_safe_to_repeat(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was left is listed, sent once, and then gone."""
    uri = _logged(tmp_path, 50)

    listed = main(["sync", "--status"])
    sent = main(["sync"])
    again = main(["sync", uri])
    out = capsys.readouterr().out

    assert (listed, sent, again) == (1, 0, 0)
    assert "50 events unsent" in out
    assert "sent 50 events" in out
    (trial,) = SqliteProtocol(uri).fetch_trials()
    assert list(trial.metrics["n"].values()) == list(range(50))


@pytest.mark.parametrize("is_resumed", [False, True])
def test_lines_that_cannot_be_read_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_resumed: bool
) -> None:
    """What is damaged, or of a newer version, is not removed with what was sent, whoever has read it first."""
    uri = _logged(tmp_path, 50)
    (journal,) = (tmp_path / "spill").glob("*/*.journal")
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[7] = b'{"event":"of a newer version","at":1.0}\n'
    journal.write_bytes(b"".join(lines))
    if is_resumed:
        with monkeypatch.context() as patched:
            patched.setattr(Segment, "remove", Segment.close)
            assert main(["sync", uri]) == 0

    code = main(["sync", uri])

    assert code == 0
    assert len(_numbers(SqliteProtocol(uri))) == 49
    (kept,) = (tmp_path / "spill").glob("*/*.unread")
    assert lines[7] in kept.read_bytes()
    assert list((tmp_path / "spill").glob("*/*.journal")) == []
    assert main(["sync", "--status"]) == 0
    assert "but for lines that could not be read" in capsys.readouterr().out


def test_spill_that_cannot_be_read_is_not_called_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody knows how many events are in a file that is damaged at its beginning: it is named, and waits."""
    uri = _logged(tmp_path, 50)
    (journal,) = (tmp_path / "spill").glob("*/*.journal")
    journal.write_bytes(b"damaged\n" + journal.read_bytes()[8:])

    codes = [main(["sync", uri, "--status"]), main(["sync", uri])]

    said = capsys.readouterr()
    assert codes == [1, 1]
    assert "cannot be read" in said.out
    assert "nothing is waiting" not in said.out
    assert "0 events" not in said.out + said.err
    assert "is no journal" in said.err


def test_refused_events_want_the_password_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was refused is not said to be sent by a command that cannot send it."""
    folder = tmp_path / "spill" / "one"
    folder.mkdir(parents=True)
    (folder / "uri").write_text("cockroach://ann:***@db/track")
    (folder / "w-000000.refused").write_text('{"number":0,"error":"no","event":{}}\n')

    code = main(["sync", "--refused"])

    assert code == 1
    assert "give the URI with its password" in capsys.readouterr().err


def test_store_that_cannot_be_asked_is_not_said_to_have_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What waits for another address may be for the store that is named: whether it is, is asked, or said."""
    _logged(tmp_path, 5)

    code = main(["sync", "socket://127.0.0.1:1?connect_timeout=0.1"])

    assert code == 1
    assert "what waits for other addresses may be for it" in capsys.readouterr().err


def test_next_process_sends(tmp_path: Path) -> None:
    """Whoever logs to the same server next sends what was left."""
    uri = _logged(tmp_path, 50)
    protocol = get_protocol(uri)
    reader = SqliteProtocol(uri)

    (trial,) = protocol.fetch_trials()
    protocol.add_trial_tags(trial, paper=True)
    wait_until(lambda: "n" in reader.fetch_trials()[0].metrics and len(_numbers(reader)) == 50)
    protocol.close()

    assert _numbers(reader) == list(range(50))
    assert main(["sync", "--status"]) == 0


def _numbers(reader: SqliteProtocol) -> list[int]:
    return list(reader.fetch_trials()[0].metrics["n"].values())


def test_server_that_wants_a_password_must_be_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note beside a spill holds no password, and the message says what to do."""
    _logged(tmp_path, 5)
    (note,) = (tmp_path / "spill").glob("*/uri")
    note.write_text("cockroach://ann:***@db/track")

    code = main(["sync"])

    assert code == 1
    assert "give the URI with its password to send 5 events" in capsys.readouterr().err


def test_runs_as_a_module() -> None:
    """``python -m track`` is the program."""
    done = python("-m", "track", "sync", "--help")

    assert done.returncode == 0
    assert "usage: track sync" in done.stdout
