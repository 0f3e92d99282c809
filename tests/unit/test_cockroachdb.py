"""Starting and stopping a CockroachDB node, with a small program that speaks as it does."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from track.distributed.cockroachdb import CockRoachDB
from track.errors import BackendUnavailable

SPEAKS_AND_WAITS = """
import pathlib, signal, sys
if sys.argv[1] == "sql":
    (pathlib.Path(__file__).parent / "sql").write_text("\\n".join(sys.argv[2:]))
    raise SystemExit(0)
options = dict(argument.split("=", 1) for argument in sys.argv[2:] if "=" in argument)
store = pathlib.Path(options["--store"])
store.mkdir(parents=True, exist_ok=True)
(store / "arguments").write_text("\\n".join(sys.argv[1:]))
pathlib.Path(options["--pid-file"]).write_text(str(__import__("os").getpid()))
print("*\\n* WARNING: RUNNING IN INSECURE MODE!\\n*")
print("CockroachDB node starting at 2026-11-21 (took 0.6s)")
print("build:               CCL v23.1.11")
print("webui:               http://127.0.0.1:8080")
print("sql:                 postgresql://root@" + options["--listen-addr"] + "/defaultdb?sslmode=disable")
print("client flags:        cockroach <client cmd> --host=" + options["--listen-addr"] + " --insecure")
print("status:              initialized new cluster")
print("nodeID:              1", flush=True)
signal.sigwait([signal.SIGTERM])
"""
SAYS_WHY_AND_ENDS = """
print("ERROR: cannot listen: address already in use", flush=True)
raise SystemExit(1)
"""


def program(folder: Path, source: str) -> str:
    """Return the path of an executable that runs this Python source."""
    path = folder / "cockroach"
    block = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])"
    path.write_text(f"#!{sys.executable}\n{block}\n{source}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_started_node_describes_itself(tmp_path: Path) -> None:
    """A started node says its id, build, addresses and status."""
    executable = program(tmp_path, SPEAKS_AND_WAITS)

    with CockRoachDB(str(tmp_path / "node"), "127.0.0.1:26257", executable=executable) as node:
        described = (node.node_id, node.build, node.webui, node.status)

    assert described == ("1", "CCL v23.1.11", "http://127.0.0.1:8080", "initialized new cluster")
    assert node.sql is not None
    assert node.sql.startswith("postgresql://root@127.0.0.1:26257/")


def test_started_node_has_the_database_and_the_user_of_clients(tmp_path: Path) -> None:
    """When `start` returns, what a ``cockroach:`` URI means by default is there; without a shell."""
    executable = program(tmp_path, SPEAKS_AND_WAITS)

    with CockRoachDB(str(tmp_path / "node"), "127.0.0.1:26257", executable=executable):
        told = (tmp_path / "sql").read_text().splitlines()

    assert told[:2] == ["--insecure", "--host=127.0.0.1:26257"]
    assert "CREATE USER IF NOT EXISTS track_client" in told[2]
    assert "CREATE DATABASE IF NOT EXISTS track" in told[2]
    assert "GRANT ALL ON DATABASE track TO track_client" in told[2]


def test_node_whose_database_cannot_be_made_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A node that is up but refuses the statements stays up, and what it said is said."""
    refuses = 'import sys\nif sys.argv[1] == "sql":\n    print("no quorum")\n    raise SystemExit(1)\n'
    executable = program(tmp_path, refuses + SPEAKS_AND_WAITS)

    with CockRoachDB(str(tmp_path / "node"), "127.0.0.1:26257", executable=executable) as node:
        assert node.node_id == "1"

    assert "no quorum" in caplog.text
    assert "CREATE DATABASE IF NOT EXISTS track" in caplog.text


def test_node_knows_nothing_before_it_starts(tmp_path: Path) -> None:
    """Before the start every property is None."""
    node = CockRoachDB(str(tmp_path / "node"), "127.0.0.1:26257")

    assert [node.node_id, node.build, node.client_flags, node.sql, node.status, node.webui] == [None] * 6


def test_joining_node_is_told_of_the_others(tmp_path: Path) -> None:
    """With addresses to join, the node is started as one of a cluster; a shell never sees them."""
    executable = program(tmp_path, SPEAKS_AND_WAITS)
    others = ["127.0.0.1:1", "127.0.0.1:2; touch gone-wrong"]
    node = CockRoachDB(str(tmp_path / "node"), "127.0.0.1:3", join=others, clean_on_exit=False, executable=executable)

    node.start()
    node.stop()

    arguments = (tmp_path / "node" / "store" / "arguments").read_text().splitlines()
    assert arguments[:2] == ["start", f"--join={','.join(others)}"]


def test_stop_removes_only_what_the_node_made(tmp_path: Path) -> None:
    """Cleaning takes the node's folders and leaves a stranger's file."""
    executable = program(tmp_path, SPEAKS_AND_WAITS)
    location = tmp_path / "node"
    location.mkdir()
    (location / "mine.txt").write_text("keep me")

    with CockRoachDB(str(location), "127.0.0.1:26257", executable=executable):
        pass

    assert os.listdir(location) == ["mine.txt"]


def test_stop_without_cleaning_keeps_the_data(tmp_path: Path) -> None:
    """Without clean_on_exit the data stays for the next start."""
    executable = program(tmp_path, SPEAKS_AND_WAITS)
    node = CockRoachDB(str(tmp_path / "node"), "127.0.0.1:26257", clean_on_exit=False, executable=executable)

    node.start()
    node.stop()

    assert (tmp_path / "node" / "store" / "arguments").exists()


def test_node_that_ends_says_why(tmp_path: Path) -> None:
    """A node that does not come up is an error with what it said."""
    executable = program(tmp_path, SAYS_WHY_AND_ENDS)
    node = CockRoachDB(str(tmp_path / "node"), "127.0.0.1:26257", executable=executable)

    with pytest.raises(BackendUnavailable, match="address already in use"):
        node.start()


def test_missing_program_says_what_to_do(tmp_path: Path) -> None:
    """A program that is not there is an error that says how to name one."""
    node = CockRoachDB(str(tmp_path / "node"), "127.0.0.1:26257", executable=str(tmp_path / "nowhere"))

    with pytest.raises(BackendUnavailable, match="executable="):
        node.start()


def test_stop_twice_is_fine(tmp_path: Path) -> None:
    """Stopping a stopped node does nothing, and waiting gives no exit code."""
    executable = program(tmp_path, SPEAKS_AND_WAITS)
    node = CockRoachDB(str(tmp_path / "node"), "127.0.0.1:26257", executable=executable)
    node.start()
    node.stop()

    node.stop()

    assert node.wait() is None


@pytest.mark.parametrize("line", ["", "\n", "no colon here", "* note: a comment"])
def test_lines_that_say_nothing_are_passed_over(line: str) -> None:
    """Blank lines, comments and lines without a colon add nothing."""
    properties: dict[str, str] = {}

    CockRoachDB("node", "127.0.0.1:26257").parse(properties, line)

    assert properties == {}


@pytest.mark.network
def test_real_node_starts_and_stops(tmp_path: Path) -> None:
    """The real program starts, says its id, and stops, where there is one."""
    if shutil.which("cockroach") is None:
        pytest.skip("needs the program cockroach on the PATH")

    with CockRoachDB(str(tmp_path / "node"), "127.0.0.1:0") as node:
        assert node.node_id == "1"
