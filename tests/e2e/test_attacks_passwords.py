"""A password is in no message, whatever characters it has and whatever goes wrong with it."""

from __future__ import annotations

import io
import logging
import traceback
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.e2e.deliveries import rounds
from tests.servers.postgres import free_port
from tests.servers.track import serving
from track import TrackClient
from track.importing import import_runs
from track.persistence import get_protocol
from track.persistence.socketed import SocketServer
from track.persistence.utils import mask_secrets, parse_uri, read_options
from track.structure import Project

pytestmark = [pytest.mark.network, pytest.mark.usefixtures("own_folders")]

BEGIN, END = "zqx", "wvy"
"""Around what is odd in a password: no message has these letters by chance, and half a password is known by one."""
ODD = st.text(st.sampled_from("@:/?#%&=;,+ \n\0[]\\'\"|<>{}é漢\x1b$~.1") | st.characters(), max_size=8)
USERS = ["ann", "ann@example.org", "a%40b", ""]
SCHEMES = ["socket", "cockroach", "mongodb"]


@pytest.fixture(scope="module")
def closed_port() -> int:
    """Give a port at which nobody listens."""
    return free_port()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, three_users: bytes) -> Iterator[int]:
    """Give the port of a server that does not know the user."""
    path = tmp_path_factory.mktemp("users") / "users.json"
    path.write_bytes(three_users)
    path.chmod(0o600)
    with serving("ephemeral:", users=str(path), failure_delay=0.001) as found:
        yield found


def _written(password: str, how: str) -> str:
    return password if how == "raw" else quote(password, safe=how, errors="surrogatepass")


def _said(action: Any) -> str:
    """Return all that an action says: what it returns, the errors with those before them, and the log."""
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    logging.getLogger().addHandler(handler)
    try:
        found = action()
        said = f"{found!r} {found}"
    except Exception as error:
        lines = traceback.TracebackException.from_exception(error, capture_locals=False)
        said = " ".join(line for line in lines.format() if not line.startswith("  File "))
    finally:
        logging.getLogger().removeHandler(handler)
    return said + heard.getvalue()


@settings(max_examples=rounds(300, 10_000), suppress_health_check=list(HealthCheck))
@given(
    odd=ODD,
    how=st.sampled_from(["raw", "", "/", "@:"]),
    user=st.sampled_from(USERS),
    scheme=st.sampled_from([*SCHEMES, "postgresql", "unknown"]),
    tail=st.sampled_from(["/db", "", ":x", "/db?timeout=x", "?nonsense=1", "?connect_timeout=1&insecure=2"]),
)
@example(odd="@", how="raw", user="ann@example.org", scheme="socket", tail="")
@example(odd="?", how="raw", user="ann", scheme="socket", tail="")
@example(odd="#", how="raw", user="ann", scheme="cockroach", tail="")
@example(odd="?a=", how="raw", user="ann", scheme="mongodb", tail="")
def test_password_is_in_no_message_of_a_uri(
    closed_port: int, odd: str, how: str, user: str, scheme: str, tail: str
) -> None:
    """What is said of a URI, or raised for it, has no part of its password."""
    written = _written(f"{BEGIN}{odd}{END}", how)
    uri = f"{scheme}://{user}:{written}@127.0.0.1:{closed_port}{tail}"

    texts = [
        _said(lambda: mask_secrets(uri)),
        _said(lambda: mask_secrets(f"multi:file:a.json;{uri}")),
        _said(lambda: mask_secrets(f"socket://h?backend={quote(uri, safe='')}")),
        _said(lambda: _closed(get_protocol(uri))),
        _said(lambda: read_options(uri, {"timeout": (float, 1.0)})),
        _said(lambda: SocketServer(uri)),
        _said(lambda: parse_uri(uri) and None),
    ]

    assert [text for text in texts if BEGIN in text or END in text] == []


@settings(max_examples=rounds(100, 3000), suppress_health_check=list(HealthCheck))
@given(
    odd=ODD,
    how=st.sampled_from(["raw", "", "/", "@:"]),
    user=st.sampled_from(USERS),
    scheme=st.sampled_from(["mongodb", "mongodb+srv", "socket", "https"]),
    tail=st.sampled_from(["", "/", ":x", "/db?timeout=x", "/?nonsense=1", "/a.b.c?connect_timeout=0.01"]),
)
@example(odd="/", how="raw", user="ann", scheme="mongodb", tail="/?nonsense=1")
def test_password_is_in_no_message_of_an_import(odd: str, how: str, user: str, scheme: str, tail: str) -> None:
    """Of a database whose runs are imported, too."""
    uri = f"{scheme}://{user}:{_written(f'{BEGIN}{odd}{END}', how)}@127.0.0.1{tail}"

    texts = [_said(lambda source=source: import_runs(source, uri, "ephemeral:")) for source in ("sacred", "mlflow")]

    assert [text for text in texts if BEGIN in text or END in text] == []


def _closed(made: Any) -> str:
    said = f"{made!r} {made.uri} {made.place}"
    made.close()
    return said


@settings(max_examples=rounds(15, 300), suppress_health_check=list(HealthCheck))
@given(odd=ODD, user=st.sampled_from(USERS[:2]), is_there=st.booleans())
def test_password_is_in_no_message_of_a_connection(
    port: int, closed_port: int, odd: str, user: str, is_there: bool
) -> None:
    """A server that is away, and one that does not let the user in, is told of without the password."""
    written = quote(f"{BEGIN}{odd}{END}", safe="", errors="surrogatepass")
    uri = f"socket://{quote(user)}:{written}@127.0.0.1:{port if is_there else closed_port}?connect_timeout=2"
    made = get_protocol(uri)

    texts = [
        _said(lambda: made.new_project(Project(name="digits"))),
        _said(made.fetch_trials),
        _said(lambda: TrackClient(uri)),
        _said(lambda: made),
        _said(made.close),
    ]

    assert [text for text in texts if BEGIN in text or END in text] == []


@pytest.mark.parametrize("odd", ["@:/?#%", "é漢 '\"", "\\ud800", "\0"])
def test_password_is_in_no_error_of_a_database(odd: str, fast_server: Any) -> None:
    """What a driver says of a password that is wrong, or that it cannot send, is passed on without it."""
    written = quote(f"{BEGIN}{odd}{END}", safe="", errors="surrogatepass")
    uris = [f"cockroach://ann:{written}@127.0.0.1:{fast_server.port}/x?sslmode=disable&connect_timeout=2"]
    uris += [f"mongodb://ann:{written}@127.0.0.1:{fast_server.port}/x?timeout=1&connect_timeout=1"]
    for uri in uris:
        made = get_protocol(uri)

        texts = [_said(made.fetch_trials), _said(made.close)]

        assert [text for text in texts if BEGIN in text or END in text] == []
