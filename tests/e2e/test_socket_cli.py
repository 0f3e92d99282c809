"""The page "A server for a team", step by step, as a newcomer types it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.children import ROOT, python
from tests.e2e.served import killable
from track.persistence.server.listener import LIMITS

pytestmark = pytest.mark.network

SCRIPT = """
from track import TrackClient
client = TrackClient()
client.set_project(name="digits")
trial = client.new_trial(parameters={"lr": 0.1})
with trial:
    for step in range(100):
        trial.log_metrics(step=step, loss=1 / (step + 1))
"""
READ = """
import sys, track
for trial in track.fetch(sys.argv[1]):
    print(trial.project_id, trial.status.name, len(trial.metrics["loss"]), trial.metrics["loss"].last())
"""


def _add_user(users: Path, name: str, role: str) -> None:
    done = python(
        "-m", "track", "user", "add", name, "--role", role, "--users", str(users), "--password-stdin", given="right\n"
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep everything that a user has in a folder of the test, and return it."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    monkeypatch.setenv("TRACK_SOCKET_FOLDER", str(tmp_path / "server"))
    monkeypatch.setenv("TRACK_SOCKET_KNOWN_HOSTS", str(tmp_path / "known_hosts"))
    return tmp_path


def test_team_of_two(settings: Path) -> None:
    """Ann logs and Bob reads, through a server with users and AES; Bob cannot log, and nobody else comes in."""
    users = settings / "users.json"
    _add_user(users, "ann", "write")
    _add_user(users, "bob", "read")

    with killable(f"file:{settings}/runs.json", "--security-layer", "AES", "--users", str(users)) as server:
        assert server.lines[1] == f"users: {users}"
        fingerprint = re.search(r"fingerprint=(\S+)", server.lines[2])
        assert fingerprint
        uri = f"@127.0.0.1:{server.port}?security_layer=AES&fingerprint={fingerprint[1]}"
        logged = python("-c", SCRIPT, TRACK_LOG_BACKEND_NAME=f"socket://ann:right{uri}")
        read = python("-c", READ, f"socket://bob:right{uri}")
        forbidden = python("-c", SCRIPT, TRACK_LOG_BACKEND_NAME=f"socket://bob:right{uri}")
        unknown = python("-c", READ, f"socket://bob:wrong{uri}")
        code, _ = server.end()

    assert (logged.returncode, logged.stderr) == (0, "")
    assert (read.stdout, read.stderr) == ("digits Completed 100 0.01\n", "")
    assert "user 'bob' may read" in forbidden.stderr
    assert "wrong user name or password" in unknown.stderr
    assert "wrong:" not in unknown.stderr
    assert code == 0


def test_server_alone(settings: Path) -> None:
    """A server without users and encryption says so, whatever address it is given."""
    with killable("ephemeral:", "--host", "0.0.0.0") as server:
        assert server.lines[0] == f"serving ephemeral: on 127.0.0.1:{server.port}"
        assert server.lines[1].startswith("no users: clients on this machine only")
        assert server.lines[2].startswith("not encrypted")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("flie:runs.json",), "did you mean 'file:'"),
        (("file:runs.json?eager=0",), "eager=0"),
        (("ephemeral:", "--limit", "clints=3"), "unknown option 'clints'"),
        (("ephemeral:", "--limit", "clients=many"), "clients='many'"),
        *((("ephemeral:", "--limit", f"clients={number}"), "1 to 1,000,000") for number in (0, -1, 10**12)),
        *((("ephemeral:", "--limit", f"frame={number}"), "8,192 to") for number in (0, 100, 1 << 40)),
        *((("ephemeral:", "--limit", f"waiting={number}"), "65,536 to") for number in (0, -5)),
        *((("ephemeral:", "--limit", f"failure_delay={text}"), "0.001 to") for text in ("0", "-1", "nan", "inf")),
        *((("ephemeral:", "--limit", f"idle_timeout={text}"), "it should be") for text in ("0", "-1", "nan", "1e300")),
        (("ephemeral:", "--port", "70000"), "70000"),
        (("ephemeral:", "--port", "-1"), "-1"),
        (("ephemeral:", "--security-layer", "TLS"), "certificate"),
        (("ephemeral:", "--host", "256.0.0.1", "--users", "nobody.json"), "256.0.0.1"),
    ],
)
def test_wrong_usage(settings: Path, arguments: tuple[str, ...], named: str) -> None:
    """What cannot be served is said on one line, with the way out, and the exit code is 2."""
    done = python("-m", "track", "serve", "--port", "0", *arguments)

    assert done.returncode == 2
    assert named in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_limits_are_documented() -> None:
    """The table of limits names what the server reads, with its defaults."""
    text = (ROOT / "docs" / "howto" / "server.rst").read_text(encoding="utf-8")
    table = text.partition(".. limits-begin")[2].partition(".. limits-end")[0]

    rows = re.findall(r"\* - ``(\w+)``\n     - (\S+)", table)

    assert dict(rows) == {name: str(default) for name, (_, default) in LIMITS.items()}


def test_options_are_documented() -> None:
    """The table of a client's options names all of them."""
    from track.persistence.rpc.client import OPTIONS

    text = (ROOT / "docs" / "howto" / "server.rst").read_text(encoding="utf-8")
    table = text.partition("Options of a ``socket:`` URI")[2].partition("What the server stores")[0]

    documented = re.findall(r"``(\w+)", "".join(re.findall(r"\* - (.*)", table)))

    assert sorted(documented) == sorted(OPTIONS)
