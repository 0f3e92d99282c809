"""A throw-away MongoDB-wire server (SecantusDB, on WiredTiger). It is named as that, never as MongoDB."""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.servers import start_server
from tests.servers.postgres import free_port

_numbers = itertools.count()
# The server looks at every write that may be sent again, of the last half hour, for each new one.
_PROGRAM = """
import sys
from secantus import transactions
from secantus.cli import main
transactions._RETRYABLE_RECORD_MAX = 100
sys.exit(main())
"""


def is_installed() -> bool:
    """Return whether there is a server to start."""
    return importlib.util.find_spec("secantus") is not None


class MongoWire:
    """One server in a process of its own, with its data in a temporary folder.

    Parameters
    ----------
    durable: bool
        Whether an acknowledged write survives the server's being killed.
    is_kept: bool
        Whether data are on disk, so that they outlive the server.
    arguments: str
        More of the server's options: ``--standalone``, ``--auth``.
    """

    def __init__(self, *arguments: str, durable: bool = False, is_kept: bool = True) -> None:
        self._base = tempfile.mkdtemp(prefix="mongo")
        self._storage = f"{self._base}/data" if is_kept else ":memory:"
        self._arguments = [*arguments, *(["--sync-on-commit"] if durable else [])]
        self.port = free_port()
        self.start()

    def start(self) -> None:
        """Start the server, on the port it has, and return once it answers."""
        program = [sys.executable, "-c", _PROGRAM]
        command = [*program, "--port", str(self.port), "--storage-path", self._storage, *self._arguments]
        self._process = start_server(command, self._base, self._is_ready, signal.SIGTERM)

    def _is_ready(self, _: int) -> bool:
        import pymongo
        import pymongo.errors

        with pymongo.MongoClient(
            f"mongodb://127.0.0.1:{self.port}/?directConnection=true", serverSelectionTimeoutMS=100
        ) as client:
            try:
                client.admin.command("hello")
            except pymongo.errors.PyMongoError:
                return False
            return True

    @property
    def uri(self) -> str:
        """Where the server is."""
        return f"mongodb://127.0.0.1:{self.port}/"

    def new_database(self) -> str:
        """Return the URI of a new, empty database."""
        return new_database(self.uri)

    def kill(self) -> None:
        """Kill the server, as a loss of power would."""
        self._process.kill()
        self._process.wait()

    def restart(self, *arguments: str) -> None:
        """Kill the server and start it with other options."""
        self.kill()
        self._arguments = list(arguments)
        self.start()

    def close(self) -> None:
        """Stop the server and remove its data."""
        if self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self._base, ignore_errors=True)


def new_database(server: str) -> str:
    """Return the URI of an empty database on a server, given its URI."""
    head, question, options = server.partition("?")
    scheme, _, rest = head.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}/track_{os.getpid()}_{next(_numbers)}{question}{options}"


@contextmanager
def connected(uri: str) -> Iterator[Any]:
    """Give pymongo's view of a database, to look at what is stored."""
    import pymongo

    with pymongo.MongoClient(uri) as client:
        yield client.get_default_database()
