"""One CockroachDB node: start it, wait for it, describe it, stop it."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from track.errors import BackendUnavailable

__all__ = ["CockRoachDB"]

logger = logging.getLogger(__name__)

_FOLDERS = ("logs", "tmp", "extern")
_STORE_FILES = "store"
_TAIL = 20
# What `cockroach:` URIs use by default; the tables are made at a client's first connection.
_PREPARATION = (
    "CREATE USER IF NOT EXISTS track_client; CREATE DATABASE IF NOT EXISTS track; "
    "GRANT ALL ON DATABASE track TO track_client"
)
_PREPARING_LASTS = 30.0


class CockRoachDB:
    """A node of a CockroachDB cluster, whose data is in a folder of this machine.

    Alone it is a cluster of one; with `join` it is one of several. It listens without TLS: give loopback or
    private addresses.

    Parameters
    ----------
    location: str
        Folder of the node's data, made when missing.
    addrs: str
        ``host:port`` to listen on.
    join: str or list of str, optional
        Addresses of the cluster's nodes.
    clean_on_exit: bool
        Whether `stop` removes what this object made in the folder, the data too.
    executable: str
        The program; found on the PATH.

    Examples
    --------
    >>> node = CockRoachDB("/tmp/node-1", addrs="127.0.0.1:26257")
    >>> node.arguments()[:2]
    ['cockroach', 'start-single-node']
    """

    def __init__(
        self,
        location: str,
        addrs: str,
        join: str | Sequence[str] | None = None,
        clean_on_exit: bool = True,
        *,
        executable: str = "cockroach",
    ) -> None:
        self.location = Path(location)
        self.addrs = addrs
        self.join = [join] if isinstance(join, str) else list(join or [])
        self.clean_on_exit = clean_on_exit
        self.executable = executable
        self.properties: dict[str, str] = {}
        self._process: subprocess.Popen[str] | None = None
        self._said: list[str] = []
        self._is_up = threading.Event()
        self._reader: threading.Thread | None = None
        self._made_location = False

    def arguments(self) -> list[str]:
        """Return the command line, never given to a shell."""
        verb = ["start", f"--join={','.join(self.join)}"] if self.join else ["start-single-node"]
        return [
            self.executable,
            *verb,
            "--insecure",
            f"--listen-addr={self.addrs}",
            "--http-addr=127.0.0.1:0",
            f"--store={self.location / _STORE_FILES}",
            f"--external-io-dir={self.location / 'extern'}",
            f"--temp-dir={self.location / 'tmp'}",
            f"--log-dir={self.location / 'logs'}",
            f"--pid-file={self.location / 'cockroach_pid'}",
        ]

    def start(self, wait: bool = True, timeout: float = 60.0) -> None:
        """Start the node; once it is up, the database ``track`` and its user ``track_client`` are made.

        Parameters
        ----------
        wait: bool
            Whether to return only once it has said its node id, and the database is there.
        timeout: float
            Seconds to wait, > 0.

        Raises
        ------
        BackendUnavailable
            The program is not there, ended, or did not say its node id in time; with the end of what it said.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self._made_location = not self.location.exists()
        for name in _FOLDERS:
            (self.location / name).mkdir(parents=True, exist_ok=True)
        self._is_up.clear()
        self._said, self.properties = [], {}
        try:
            self._process = subprocess.Popen(
                self.arguments(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        except OSError as error:
            raise BackendUnavailable(
                f"{self.executable!r} cannot be started ({error.strerror}): install CockroachDB, or name the program "
                "with executable="
            ) from error
        self._reader = threading.Thread(target=self._read, args=(self._process,), name="cockroach-banner", daemon=True)
        self._reader.start()
        if wait:
            self._wait_until_up(timeout)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self._said = [*self._said[-_TAIL + 1 :], line.rstrip()]
                self.parse(self.properties, line)
                if "nodeID" in self.properties and not self._is_up.is_set():
                    self._prepare()
                    self._is_up.set()
        # The end of its output is the end of waiting, too.
        self._is_up.set()

    def _prepare(self) -> None:
        command = [self.executable, "sql", "--insecure", f"--host={self.addrs}", f"--execute={_PREPARATION}"]
        try:
            subprocess.run(
                command,
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_PREPARING_LASTS,
            )
        except (OSError, subprocess.SubprocessError) as error:
            said = (getattr(error, "stdout", None) or b"").decode(errors="replace").strip()
            text = "the node %s runs, but database and user could not be made (%s): %s"
            logger.warning(text, self.addrs, said or error, " ".join(command[1:4]) + f" --execute='{_PREPARATION}'")

    def _wait_until_up(self, timeout: float) -> None:
        answered = self._is_up.wait(timeout)
        if "nodeID" in self.properties:
            return
        problem = "ended" if answered else f"did not say its node id within {timeout} s"
        said = "\n".join(self._said) or "(it said nothing)"
        self.stop()
        raise BackendUnavailable(f"the node {self.addrs} {problem}; it said:\n{said}")

    def parse(self, properties: dict[str, str], line: str) -> None:
        """Add what a line of the node's banner says, ``key: value``, to `properties`.

        Lines that begin with ``*``, and lines without a colon, say nothing.

        Examples
        --------
        >>> properties = {}
        >>> CockRoachDB("/tmp/node-1", "127.0.0.1:0").parse(properties, "nodeID:    1")
        >>> properties
        {'nodeID': '1'}
        """
        key, colon, value = line.partition(":")
        if colon and not line.startswith("*"):
            properties[key.strip()] = value.strip()

    def wait(self) -> int | None:
        """Return the program's exit code once it has ended; None if it was never started."""
        return None if self._process is None else self._process.wait()

    def stop(self, timeout: float = 20.0) -> None:
        """End the node: ask, and after `timeout` seconds kill; then remove what this object made, if asked to."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                logger.warning("the node %s did not stop within %s s and is killed", self.addrs, timeout)
                process.kill()
                process.wait()
        if self._reader is not None:
            self._reader.join(timeout)
        if process is not None and self.clean_on_exit:
            self._clean()

    def _clean(self) -> None:
        for name in (*_FOLDERS, _STORE_FILES):
            shutil.rmtree(self.location / name, ignore_errors=True)
        (self.location / "cockroach_pid").unlink(missing_ok=True)
        if self._made_location and self.location.exists() and not os.listdir(self.location):
            self.location.rmdir()

    def __enter__(self) -> CockRoachDB:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def build(self) -> str | None:
        """Version of the program; None before the start, as are the others."""
        return self.properties.get("build")

    @property
    def client_flags(self) -> str | None:
        """What a client of the program's own is given."""
        return self.properties.get("client flags")

    @property
    def node_id(self) -> str | None:
        """The node's number in its cluster."""
        return self.properties.get("nodeID")

    @property
    def sql(self) -> str | None:
        """The URI that PostgreSQL clients use."""
        return self.properties.get("sql")

    @property
    def status(self) -> str | None:
        """What the node said it does."""
        return self.properties.get("status")

    @property
    def webui(self) -> str | None:
        """Address of the node's own pages."""
        return self.properties.get("webui")
