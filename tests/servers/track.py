"""Track servers for the tests: in this process, or in one of their own that can be killed."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.children import deadline, ended, start_python
from track.persistence.server.server import SocketServer
from track.persistence.socketed import server_uri


@contextmanager
def running(server: SocketServer) -> Iterator[int]:
    """Give the port of a server that runs in a thread of this process."""
    _, port = server.listen()
    thread = threading.Thread(target=server.run_server, name="track-server")
    thread.start()
    try:
        yield port
    finally:
        server.close()
        thread.join(30)
        assert not thread.is_alive()


@contextmanager
def serving(backend: str, layer: str | None = None, **options: Any) -> Iterator[int]:
    """Give the port of a server of a backend."""
    with running(SocketServer(server_uri(backend, "127.0.0.1", 0, layer, **options))) as port:
        yield port


class Process:
    """A server in a process of its own, always on the same port.

    Parameters
    ----------
    backend: str
    *arguments: str
        Of the command line, besides backend and port.
    """

    def __init__(self, backend: str, *arguments: str) -> None:
        self._backend = backend
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None
        self.port = 0
        self.lines: list[str] = []
        """What it printed when it started."""

    def start(self) -> None:
        """Start it, and return once clients may connect."""
        arguments = ("serve", self._backend, "--port", str(self.port), *self._arguments)
        self._process = start_python("-m", "track", *arguments, stderr=None, PYTHONUNBUFFERED="1")
        with deadline(self._process.pid) as printed:
            printed.extend(self._process.stdout.readline() for _ in range(3))  # type: ignore[union-attr]
        self.lines = [line.rstrip("\n") for line in printed]
        self.port = int(self.lines[0].rpartition(":")[2])

    @property
    def pid(self) -> int:
        """The process's number."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """Kill it: nothing is tidied up."""
        self.end(signal.SIGKILL)

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal, and return the exit code and what was printed after the first lines."""
        process, self._process = self._process, None
        if process is None:
            return 0, ""
        process.send_signal(number)
        done = ended(process)
        return done.returncode, done.stdout
