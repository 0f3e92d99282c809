"""``track watch --on``: what happens to trials is told once, and a command is run with it."""

from __future__ import annotations

import json
import os
import re
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.unit.cli.waiting import happens
from track import TrackClient
from track.cli import main
from track.cli.alerting import command_of
from track.cli.happenings import Happenings, read_kinds
from track.errors import BackendUnavailable, InvalidCall
from track.logger import TrialLogger
from track.persistence.ephemeral import EphemeralProtocol
from track.rows import Row, make_rows

ALL = "failed,nan,silent,alert,done"
# Writes what it was given to a file.
COMMAND = (
    "import json, os, sys; "
    "told = {name: text for name, text in os.environ.items() if name.startswith('TRACK_EVENT')}; "
    "open(sys.argv[1], 'a').write(json.dumps([sys.argv[2:], told, json.load(sys.stdin)]) + chr(10))"
)


@pytest.fixture(params=["file", "sqlite"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> TrackClient:
    """Give a client of a store."""
    return TrackClient(f"{request.param}:{tmp_path}/runs")


def _begun(client: TrackClient, name: str = "live") -> TrialLogger:
    """Return a trial that runs."""
    trial = client.new_trial(name=name, parameters={"name": name}, force=True)
    trial.start()
    client.protocol.flush()
    return trial


def _steps(monkeypatch: pytest.MonkeyPatch, client: TrackClient, *actions: Callable[[], object]) -> None:
    """Let something happen each time that the program waits, and be stored."""

    def stored(action: Callable[[], object]) -> Callable[[], object]:
        return lambda: (action(), client.protocol.flush())

    happens(monkeypatch, "track.cli.alerting._sleep", *map(stored, actions))


def _fail(trial: TrialLogger, text: str = "too large") -> None:
    trial.finish(ValueError, ValueError(text), None)


def _events(out: str) -> list[str]:
    return [line.split()[1] for line in out.splitlines()]


def test_each_thing_is_told_once(
    client: TrackClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the beginning of the watching on: an alert, a number that is none, a failure, an end."""
    _fail(_begun(client, "before"))
    trial = _begun(client)
    trial.alert("earlier")
    client.protocol.flush()
    actions = (
        lambda: trial.alert("disk", "is full"),
        lambda: trial.log_metrics(step=3, loss=float("nan"), acc=float("inf")),
        lambda: trial.log_metrics(step=4, loss=float("nan")),
        lambda: _fail(trial),
        lambda: None,
    )
    _steps(monkeypatch, client, *actions)

    assert main(["watch", client.protocol.uri, "--on", ALL]) == 130
    out = capsys.readouterr().out
    assert _events(out) == ["alert", "nan", "failed", "done"]
    assert [line.split(maxsplit=2)[2] for line in out.splitlines()] == [
        "live/0: disk: is full",
        "live/0: loss is nan at 3",
        "live/0 failed: ValueError: too large",
        "live/0 ended: exception",
    ]


def test_alerts_that_nobody_has_seen_are_counted(
    client: TrackClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of more alerts between two looks than are kept it is told once how many are missing; so does `track show`."""
    trial = _begun(client)
    for number in range(150):
        trial.alert(f"earlier {number}")
    client.protocol.flush()

    def tell(count: int) -> Callable[[], object]:
        return lambda: [trial.alert(f"now {number}") for number in range(count)]

    _steps(monkeypatch, client, tell(3), tell(1234), tell(2), lambda: None)

    assert main(["watch", client.protocol.uri, "--on", "alert"]) == 130
    said = [line.split(maxsplit=2)[2] for line in capsys.readouterr().out.splitlines()]
    assert len(said) == 3 + 1 + 100 + 2
    assert said[3:5] == ["live/0: 1,134 earlier alerts are not kept", "live/0: now 1134"]
    assert main(["show", client.protocol.uri, "live"]) == 0
    assert re.search(r"1,289 earlier +not kept\n", capsys.readouterr().out)


def test_only_what_is_asked_for(
    client: TrackClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The kinds choose, a filter chooses trials, and it ends with the last one."""
    trial, other = _begun(client), _begun(client, "other")
    _steps(monkeypatch, client, lambda: other.alert("not this"), lambda: _fail(other), trial.finish)

    assert main(["watch", client.protocol.uri, "name:live", "--until-done", "--on", "done,failed"]) == 0
    assert _events(capsys.readouterr().out) == ["done"]


def test_command_gets_the_facts(client: TrackClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the places of whole arguments, in the environment, and as JSON; what is hostile in them does nothing."""
    name = "-x $(touch pwned) `id` \x1b[2J {uid}"
    trial = _begun(client, name)
    _steps(monkeypatch, client, lambda: _fail(trial, "a\0b"))
    told = tmp_path / "told"
    command = [sys.executable, "-c", COMMAND, str(told), "{name}", "{event}", "-{name}", "{}", "{status}", "--on", "-n"]

    assert main(["watch", client.protocol.uri, "--once", "--on=failed", *command]) == 0
    arguments, environment, document = json.loads(told.read_text())
    label = r"-x $(touch pwned) `id` \x1b[2J {uid}/0"
    assert arguments == [f" {label}", "failed", "-{name}", "{}", "exception", "--on", "-n"]
    assert environment["TRACK_EVENT"] == document["event"] == "failed"
    assert environment["TRACK_EVENT_NAME"] == document["name"] == label
    assert environment["TRACK_EVENT_TEXT"] == document["text"] == rf"{label} failed: ValueError: a\x00b"
    assert environment["TRACK_EVENT_UID"] == document["trial"]["uid"] == trial.trial.uid


def test_secrets_of_the_store_are_not_told(client: TrackClient) -> None:
    """A command may send what it is given anywhere: the store's password is not among it."""
    from track.cli.alerting import facts_of
    from track.cli.happenings import Notice

    trial = _begun(client)
    (row,) = make_rows([trial.trial], dict)
    trial.finish()

    facts = facts_of(Notice("failed", row, "x"), "socket://ann:hunter2@host:8123")

    assert "hunter2" not in str(facts)


@pytest.mark.parametrize(
    ("script", "timeout", "said"),
    [
        ("import sys; sys.exit(3)", "60s", "ended with 3"),
        ("import os; os.kill(os.getpid(), 9)", "60s", "was ended by SIGKILL"),
        ("import os; os.kill(os.getpid(), 40)", "60s", "was ended by signal 40"),
        ("import time; time.sleep(600)", "0.5s", "was killed: it took more than 500ms"),
    ],
)
def test_command_that_fails_or_hangs(
    client: TrackClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: str,
    timeout: str,
    said: str,
) -> None:
    """That is said, and the watching goes on; one that takes too long is killed."""
    trials = [_begun(client, name) for name in ("first", "second")]
    _steps(monkeypatch, client, lambda: _fail(trials[0]), lambda: _fail(trials[1]))
    words = ["watch", client.protocol.uri, "--timeout", timeout, "--until-done", "--on", "failed"]

    assert main([*words, sys.executable, "-c", script]) == 0
    out, err = capsys.readouterr()
    assert _events(out) == ["failed", "failed"]
    assert err.splitlines() == [f"track watch: {sys.executable} {said}"] * 2


def test_what_a_command_has_started_is_killed_too(tmp_path: Path) -> None:
    """A shell that hangs leaves no child behind."""
    from track.cli.alerting import run_command
    from track.cli.happenings import Notice
    from track.structure import Trial

    notice = Notice("failed", Row(Trial(name="a")), "x")
    pid = tmp_path / "pid"

    said = run_command(["sh", "-c", f"sleep 600 & echo $! > {pid}; wait"], notice, "file:x", 2.0)

    assert said.startswith("was killed")
    with suppress(ProcessLookupError):
        descriptor = os.pidfd_open(int(pid.read_text()))
        try:
            assert select.select([descriptor], [], [], 30)[0]
        finally:
            os.close(descriptor)


def test_once_says_how_its_command_ended(client: TrackClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """For scripts: 1 when the command failed."""
    trial = _begun(client)
    _steps(monkeypatch, client, lambda: trial.alert("now"))
    words = ["watch", client.protocol.uri, "--once", "--on", "alert", sys.executable, "-c", "raise SystemExit(4)"]

    assert main(words) == 1
    trial.finish()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--on", "failled"], "did you mean 'failed'?"),
        (["--on", ","], "takes some of failed"),
        (["--on", "failed", "no-such-program-1b7"], "there is no command 'no-such-program-1b7'"),
        (["--on", "failed", "--once"], "options come before it"),
        (["--silent", "soon", "--on", "silent"], "'soon' is no age"),
    ],
)
def test_mistakes(client: TrackClient, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    """They are said at once, and not when something has happened."""
    _begun(client).finish()
    try:
        code = main(["watch", client.protocol.uri, *words])
    except SystemExit as error:
        code = int(str(error.code))

    assert code == 2
    assert said in capsys.readouterr().err


def test_json(client: TrackClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """For programs: a document for each thing that happens."""
    trial = _begun(client)
    _steps(monkeypatch, client, lambda: trial.alert("disk", level="error"), trial.finish)

    assert main(["watch", client.protocol.uri, "--json", "--until-done", "--on", "alert,done"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["schema"], one["event"], one["level"], one["trial"]["status"]) for one in found] == [
        (1, "alert", "error", "running"),
        (1, "done", "info", "completed"),
    ]


def test_store_that_is_away_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What happened meanwhile is told once the store is there again; both are said once."""
    client = TrackClient(f"file:{tmp_path}/runs")
    trial = _begun(client)
    away: list[int] = []
    kind = type(client.protocol)
    real = kind.changes

    def changes(self: object, since: str | None = None) -> object:
        if away:
            raise BackendUnavailable("no answer from db")
        return real(self, since)  # type: ignore[arg-type]

    monkeypatch.setattr(kind, "changes", changes)
    _steps(monkeypatch, client, lambda: away.append(1), lambda: _fail(trial), lambda: None, away.clear, lambda: None)

    assert main(["watch", client.protocol.uri, "--on", "failed"]) == 130
    out, err = capsys.readouterr()
    assert _events(out) == ["failed"]
    assert err.splitlines() == [
        "the store is away, and waited for (no answer from db)",
        "the store is there again",
    ]


# what happens, without a store that others change


@pytest.fixture
def watched() -> TrackClient:
    """Give a client of a store in memory."""
    client = TrackClient("ephemeral:")
    client.set_project(name="digits")
    return client


def _rows(client: TrackClient) -> list[Row]:
    return make_rows(client.protocol.brief_trials(), dict)


def _looks(client: TrackClient, happenings: Happenings, now: float) -> list[str]:
    return [notice.event for notice in happenings.look(_rows(client), now)]


def test_silence_is_told_once_each(watched: TrackClient) -> None:
    """After so many seconds without an event; and again where it spoke meanwhile."""
    protocol = watched.protocol
    assert isinstance(protocol, EphemeralProtocol)
    start = protocol.clock()
    trial = _begun(watched)
    happenings = Happenings(read_kinds("silent"), 60.0)
    found = [_looks(watched, happenings, start + after) for after in (1, 59, 62, 200)]
    trial.log_metadata(phase="evaluation")
    found += [_looks(watched, happenings, start + after) for after in (201, 260, 262)]
    trial.finish()
    found.append(_looks(watched, happenings, start + 900))

    assert found == [[], [], ["silent"], [], [], [], ["silent"], []]


def test_what_says_that_a_process_lives_is_no_word_of_the_training(watched: TrackClient) -> None:
    """A training that hangs is silent, though its machine is looked at, and its worker gives heartbeats for it."""
    start = watched.protocol.clock()
    trial = _begun(watched)
    happenings = Happenings(read_kinds("silent"), 60.0)
    found = []
    for after in range(10, 100, 10):
        watched.protocol.log_trial_metrics(trial.trial, None, None, **{"system/cpu": 1.0, "system/cpu.peak": 1.0})
        trial.heartbeat()
        found.append(_looks(watched, happenings, start + after))
    trial.finish()

    assert found.index(["silent"]) == 6
    assert sum(map(len, found)) == 1


@pytest.mark.parametrize(
    "say",
    [
        lambda trial: trial.log_metrics(loss=0.5),
        lambda trial: trial.log_metrics(step=0, nan=float("nan")),
        lambda trial: trial.log_metadata(phase=2),
        lambda trial: trial.alert("now"),
        lambda trial: trial.add_tags(paper="v2"),
        lambda trial: trial.note_output("_output", [0, 0, [["stdout", "x"]]], None),
    ],
)
def test_any_word_ends_a_silence(watched: TrackClient, say: Callable[[TrialLogger], object]) -> None:
    """A number, a note, an alert, a tag, a line of output: all of it is heard."""
    start = watched.protocol.clock()
    trial = _begun(watched)
    happenings = Happenings(read_kinds("silent"), 60.0)
    found = [_looks(watched, happenings, start + 50)]
    say(trial)
    found += [_looks(watched, happenings, start + after) for after in (55, 114, 116)]
    trial.finish()

    assert found == [[], [], [], ["silent"]]


def test_run_that_is_silent_and_no_number_already(watched: TrackClient) -> None:
    """What is so when the watching begins, and goes on, is told; what is over is not."""
    _fail(_begun(watched, "over"))
    trial = _begun(watched)
    trial.log_metrics(step=0, loss=float("nan"))
    trial.alert("earlier")
    now = watched.protocol.clock() + 3600

    assert _looks(watched, Happenings(read_kinds(ALL), 60.0), now) == ["nan", "silent"]
    trial.finish()


def test_end_that_is_no_number(watched: TrackClient) -> None:
    """A run whose last number before its end is NaN has gone NaN, if nobody has looked between the two."""
    happenings = Happenings(read_kinds("nan"))
    _looks(watched, happenings, 0.0)
    with watched.new_trial(parameters={"lr": 1}) as trial:
        trial.log_metrics(step=0, loss=float("-inf"))

    assert [_looks(watched, happenings, 1.0), _looks(watched, happenings, 2.0)] == [["nan"], []]
    assert _looks(watched, Happenings(read_kinds("nan")), 3.0) == []


def test_next_attempt_is_told_again(watched: TrackClient) -> None:
    """A trial that goes on after a failure, and fails again, is told twice; its alerts once."""
    trial = _begun(watched)
    happenings = Happenings(read_kinds(ALL))
    now = watched.protocol.clock()
    found = [_looks(watched, happenings, now)]
    for lr in range(2):
        trial.start()
        if not lr:
            trial.alert("once")
        _fail(trial)
        found.append(_looks(watched, happenings, now))

    assert found == [[], ["alert", "failed", "done"], ["failed", "done"]]


def test_many_trials_that_begin_and_end_between_two_looks(watched: TrackClient) -> None:
    """A trial that is new and over at a look is told, too."""
    happenings = Happenings(read_kinds("failed"))
    _looks(watched, happenings, 0.0)
    for number in range(5):
        _fail(_begun(watched, f"t{number}"))

    assert _looks(watched, happenings, 1.0) == ["failed"] * 5
    assert _looks(watched, happenings, 2.0) == []


def test_kinds_in_any_case() -> None:
    """They are words with commas."""
    assert read_kinds("Failed, nan,") == {"failed", "nan"}
    with pytest.raises(InvalidCall, match="is none of failed, nan, silent, alert, done"):
        read_kinds("crashed")


def test_command_itself_is_never_replaced() -> None:
    """Nobody who names a trial names a program."""
    assert command_of(["{name}", "{name}"], {"name": "reboot"}) == ["{name}", "reboot"]
