"""Encrypted connections: who is trusted, what is refused, and that the rest is a plain stream of bytes."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import stat
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.children import ended, printed_by, start_python
from track.errors import MissingExtra, TrackError, UntrustedServer
from track.utils import listen_socket, open_socket
from track.utils.certificate import certificate_files, fingerprint_of
from track.utils.encrypted import (
    SUITES,
    EncryptedSocket,
    certificate_context,
    check_cipher,
    client_context,
    fingerprint,
    known_hosts_file,
    server_context,
    server_folder,
    verified_context,
    wrap_socket,
)

SECONDS = 60.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a server that has a certificate."""
    folder = tmp_path_factory.mktemp("server")
    certificate_files(folder)
    return folder


@pytest.fixture(autouse=True)
def _folders(server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACK_SOCKET_FOLDER", str(server))
    monkeypatch.setenv("TRACK_SOCKET_KNOWN_HOSTS", str(tmp_path / "config" / "known_hosts"))


@contextlib.contextmanager
def _pair(server: Path, **options: Any) -> Iterator[tuple[EncryptedSocket, EncryptedSocket]]:
    """Give the two ends of a connection: client, server."""
    ours, theirs = socket.socketpair()
    ours.settimeout(SECONDS)
    theirs.settimeout(SECONDS)
    options = {"context": client_context(), "fingerprint": fingerprint(server), **options}
    with ThreadPoolExecutor(1) as other:
        welcomed = other.submit(wrap_socket, theirs, server_side=True, context=server_context(server))
        with wrap_socket(ours, **options) as client, welcomed.result(SECONDS) as accepted:
            yield client, accepted


@contextlib.contextmanager
def _listening(answer: bytes = b"") -> Iterator[tuple[int, list[bytes]]]:
    """Give the port of a server that sends an answer and reads to the end, and what it has read."""
    read: list[bytes] = []
    listener = listen_socket("127.0.0.1", 0, "AES")
    thread = threading.Thread(target=_serve, args=(listener, answer, read))
    thread.start()
    try:
        yield listener.getsockname()[1], read
    finally:
        # Wakes the thread in accept().
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(SECONDS)
        listener.close()


def _serve(listener: socket.socket, answer: bytes, read: list[bytes]) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(answer)
                while data := connection.recv(65536):
                    read.append(data)


def _read_all(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size and (part := connection.recv(size - len(data))):
        data += part
    return bytes(data)


# the certificate


def test_certificate_is_made_once(tmp_path: Path) -> None:
    """A server that starts again is the same server."""
    first = fingerprint(tmp_path / "new" / "server")

    again = fingerprint(tmp_path / "new" / "server")

    assert first == again
    assert first.startswith("sha256:")
    assert len(first) == 71


def test_key_is_private(server: Path) -> None:
    """Only the owner can read the key, and nothing else is left in the folder."""
    certificate, key = certificate_files(server)

    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert sorted(path.name for path in certificate.parent.iterdir()) == ["certificate.pem", "key.pem"]
    assert [path.name for path in server.iterdir()] == ["tls"]


def test_servers_that_start_at_once_have_one_certificate(tmp_path: Path) -> None:
    """Eight threads and three processes make one pair that belongs together."""
    script = "import sys; from track.utils.encrypted import fingerprint; print(fingerprint(sys.argv[1]))"
    processes = [start_python("-c", script, tmp_path) for _ in range(3)]
    with ThreadPoolExecutor(8) as threads:
        printed = set(threads.map(lambda _: fingerprint(tmp_path), range(8)))

    printed |= {ended(process).stdout.strip() for process in processes}

    assert len(printed) == 1
    assert isinstance(server_context(tmp_path), ssl.SSLContext)
    assert [path.name for path in tmp_path.iterdir()] == ["tls"]


@pytest.mark.parametrize("name", ["certificate.pem", "key.pem"])
@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff\xfe", None], ids=["empty", "text", "bytes", "missing"])
def test_broken_certificate_is_one_clear_error(name: str, content: bytes | None, tmp_path: Path) -> None:
    """A damaged pair is not replaced behind the clients' backs; the message says how to."""
    certificate_files(tmp_path)
    path = tmp_path / "tls" / name
    path.unlink() if content is None else path.write_bytes(content)

    with pytest.raises(TrackError, match=r"remove .*tls to have a new one made"):
        server_context(tmp_path)


def test_fingerprint_of_a_broken_certificate_is_refused(tmp_path: Path) -> None:
    """What cannot be read has no fingerprint."""
    certificate, _ = certificate_files(tmp_path)
    certificate.write_bytes(b"nonsense")

    with pytest.raises(TrackError, match=r"certificate.pem cannot be read"):
        fingerprint(tmp_path)


def test_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A file where the folder should be is said so."""
    (tmp_path / "server").write_bytes(b"")

    with pytest.raises(TrackError, match="no certificate can be made in"):
        server_context(tmp_path / "server")


def test_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Making a certificate needs a package; the message says which, and nothing is left behind."""
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)

    with pytest.raises(MissingExtra, match=r'pip install "\.\[encrypted\]"'):
        server_context(tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_clients_and_made_certificates_need_no_package(server: Path) -> None:
    """Only the first start of a server needs more than the standard library."""
    script = f"""
import sys
sys.modules["cryptography"] = None
from track.utils.encrypted import client_context, fingerprint, server_context
client_context(), server_context({str(server)!r})
print(fingerprint({str(server)!r}))
"""
    assert printed_by(script) == fingerprint(server)


def test_places_come_from_the_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option moves a file; otherwise it is in the user's folder of settings."""
    chosen = known_hosts_file()
    monkeypatch.delenv("TRACK_SOCKET_FOLDER")
    monkeypatch.delenv("TRACK_SOCKET_KNOWN_HOSTS")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    assert chosen == tmp_path / "config" / "known_hosts"
    assert known_hosts_file() == tmp_path / "track" / "known_hosts"
    assert server_folder() == tmp_path / "track" / "server"


# what is agreed upon


def test_both_ends_agree_on_a_strong_cipher(server: Path) -> None:
    """TLS 1.3 with AES-GCM, and the certificate is the server's."""
    with _pair(server) as (client, accepted):
        assert [end.version() for end in (client, accepted)] == ["TLSv1.3"] * 2
        assert {end.cipher()[0] for end in (client, accepted)} <= set(SUITES)  # type: ignore[index]
        assert fingerprint_of(client.getpeercert(binary_form=True) or b"") == fingerprint(server)


def test_older_tls_is_refused(server: Path) -> None:
    """A client of TLS 1.2 gets no connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    assert not _is_welcome(context, server)
    assert _is_welcome(client_context(), server)


def _is_welcome(context: ssl.SSLContext, server: Path) -> bool:
    """Return whether a server shakes hands with a client of this context, in memory."""
    ends = _Ends(server_context(server), context)
    try:
        ends.shake()
    except ssl.SSLError:
        return False
    return True


class _Ends:
    """A client and a server without a network between them."""

    def __init__(self, server: ssl.SSLContext, client: ssl.SSLContext) -> None:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.pipes = to_server, to_client
        self.server = server.wrap_bio(to_server, to_client, server_side=True)
        self.client = client.wrap_bio(to_client, to_server)

    def shake(self) -> _Ends:
        """Do the handshake."""
        for end in (self.client, self.server, self.client, self.server):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
        return self


class _Cipher:
    """A connection whose outcome is another one."""

    def __init__(self, cipher: Any, version: str | None) -> None:
        self._cipher, self._version = cipher, version

    def cipher(self) -> Any:
        """Return what was agreed upon."""
        return self._cipher

    def version(self) -> str | None:
        """Return the version."""
        return self._version


@pytest.mark.parametrize(
    ("cipher", "version"),
    [
        (("TLS_CHACHA20_POLY1305_SHA256", "TLSv1.3", 256), "TLSv1.3"),
        (("ECDHE-RSA-AES256-GCM-SHA384", "TLSv1.2", 256), "TLSv1.2"),
        (None, None),
    ],
)
def test_another_cipher_is_refused_after_the_handshake(cipher: Any, version: str | None) -> None:
    """Where Python cannot restrict the suites of TLS 1.3, the outcome is looked at."""
    with pytest.raises(UntrustedServer, match="only TLS_AES_256_GCM_SHA384 and TLS_AES_128_GCM_SHA256 are accepted"):
        check_cipher(_Cipher(cipher, version))  # type: ignore[arg-type]


def test_connection_of_another_cipher_is_closed(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that finds itself with another cipher sends nothing."""
    monkeypatch.setattr(EncryptedSocket, "cipher", lambda _: ("TLS_CHACHA20_POLY1305_SHA256", "TLSv1.3", 256))

    with _heard(server) as (ours, heard), pytest.raises(UntrustedServer, match="CHACHA20"):
        wrap_socket(ours, context=client_context(), fingerprint=fingerprint(server))

    assert heard == [b""]


@contextlib.contextmanager
def _heard(server: Path) -> Iterator[tuple[socket.socket, list[bytes]]]:
    """Give a plain connection to a server, and what the server has been told in the end."""
    heard: list[bytes] = []
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.settimeout(SECONDS)
    thread = threading.Thread(target=_hear, args=(theirs, server, heard))
    thread.start()
    with ours:
        yield ours, heard
    thread.join(SECONDS)


def _hear(connection: socket.socket, server: Path, heard: list[bytes]) -> None:
    with server_context(server).wrap_socket(connection, server_side=True) as accepted:
        heard.append(accepted.recv(100))


# who is trusted


def test_given_fingerprint_is_trusted_and_nothing_kept(server: Path) -> None:
    """Who is told the fingerprint needs no file."""
    with _pair(server) as (client, accepted):
        client.sendall(b"hello")

        assert accepted.recv(5) == b"hello"
    assert not known_hosts_file().exists()


def test_other_fingerprint_is_refused_before_anything_is_sent(server: Path) -> None:
    """The server hears nothing, and the message names both and the way out."""
    with _heard(server) as (ours, heard), pytest.raises(UntrustedServer) as refused:
        wrap_socket(ours, context=client_context(), hostname="db", fingerprint="ab" * 32)

    assert heard == [b""]
    assert fingerprint(server) in str(refused.value)
    assert f"sha256:{'ab' * 32}" in str(refused.value)
    assert "nothing was sent" in str(refused.value)
    assert "?fingerprint=" in str(refused.value)


def test_first_sight_is_said_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    """A server is trusted once, with a warning, and recognised from then on."""
    with _listening(b"hello") as (port, _):
        for _ in range(2):
            with open_socket("127.0.0.1", port, "AES") as client:
                assert _read_all(client, 5) == b"hello"

    warnings = [record for record in caplog.records if "is trusted from now on" in record.getMessage()]
    assert len(warnings) == 1
    assert known_hosts_file().read_text().count(f"127.0.0.1:{port} sha256:") == 1
    assert stat.S_IMODE(known_hosts_file().stat().st_mode) == 0o600


def test_changed_certificate_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another certificate at the same place is refused until the user says otherwise."""
    monkeypatch.setenv("TRACK_SOCKET_FOLDER", str(tmp_path / "other"))
    with _listening() as (port, read):
        known_hosts_file().parent.mkdir()
        known_hosts_file().write_text(f"127.0.0.1:{port} sha256:{'cd' * 32}\n")

        with pytest.raises(UntrustedServer, match=r"known from line 1 of .*remove that line"):
            open_socket("127.0.0.1", port, "AES")
        known_hosts_file().write_text("")
        open_socket("127.0.0.1", port, "AES").close()

    assert read == []


def _wrap(plain: socket.socket, port: int, **options: Any) -> None:
    plain.connect(("127.0.0.1", port))
    wrap_socket(plain, **options)


def _connect(plain: socket.socket, port: int, **options: Any) -> None:
    with wrap_socket(plain, **options) as client:
        client.connect(("127.0.0.1", port))


def _send(plain: socket.socket, port: int, **options: Any) -> None:
    plain.connect(("127.0.0.1", port))
    with wrap_socket(plain, handshaked=True, **options) as client:
        client.sendall(b"secret")


@pytest.mark.parametrize("way", [_wrap, _connect, _send])
def test_no_way_in_skips_the_check(way: Any) -> None:
    """Whenever a client shakes hands, it looks at who answers before it sends a byte."""
    with _listening() as (port, read), socket.socket() as plain, pytest.raises(UntrustedServer):
        way(plain, port, context=client_context(), fingerprint="ab" * 32)

    assert read == []


def test_authority_is_checked(server: Path) -> None:
    """With a certificate of the authority, the name and the signature count, not the fingerprint."""
    certificate, _ = certificate_files(server)

    with _pair(server, context=verified_context(certificate), hostname="localhost") as (client, accepted):
        accepted.sendall(b"hello")
        assert client.recv(5) == b"hello"

    for context, name in ((verified_context(certificate), "other.example.org"), (verified_context(), "localhost")):
        ours, theirs = socket.socketpair()
        thread = threading.Thread(target=_try_to_hear, args=(theirs, server))
        thread.start()
        with ours, pytest.raises(ssl.SSLCertVerificationError):
            wrap_socket(ours, context=context, hostname=name)
        thread.join(SECONDS)
    assert not known_hosts_file().exists()


def _try_to_hear(connection: socket.socket, server: Path) -> None:
    with contextlib.suppress(OSError):
        _hear(connection, server, [])


@pytest.mark.parametrize("content", [b"", b"nonsense", None], ids=["empty", "text", "missing"])
def test_broken_authority_is_named(content: bytes | None, tmp_path: Path) -> None:
    """A file of authorities that cannot be used is said by name."""
    path = tmp_path / "authority.pem"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(TrackError, match=r"authority.pem cannot be used"):
        verified_context(path)


def test_key_of_another_certificate_is_refused(server: Path, tmp_path: Path) -> None:
    """A certificate and a key that do not belong together are an error at the start."""
    certificate, _ = certificate_files(server)
    _, other = certificate_files(tmp_path)

    with pytest.raises(TrackError, match="its key cannot be used"):
        certificate_context(certificate, other)


# a stream like any other


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 1 << 20])
def test_any_amount_arrives_whole(size: int, server: Path) -> None:
    """However large a message is and however it is cut on its way, its bytes arrive in order."""
    data = os.urandom(size)
    with _pair(server) as (client, accepted), ThreadPoolExecutor(1) as other:
        read = other.submit(_read_all, accepted, size)

        sent = client.send(data)

        assert sent == size
        assert read.result(SECONDS) == data


def test_end_is_empty(server: Path) -> None:
    """A peer that closes is the end of the stream."""
    with _pair(server) as (client, accepted):
        accepted.close()

        assert client.recv(1) == b""


def test_rest_of_a_record_needs_no_network(server: Path) -> None:
    """What has arrived and was not asked for yet is counted."""
    with _pair(server) as (client, accepted):
        accepted.sendall(b"hello")
        first = client.recv(2)

        assert first == b"he"
        assert client.readsize() == 3
        assert client.recv(10, 0, None) == b"llo"


def test_silent_peer_is_waited_for_as_long_as_was_said(server: Path) -> None:
    """Time-outs are those of a plain socket."""
    with _pair(server) as (client, accepted):
        client.settimeout(0.01)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(SECONDS)
        accepted.sendall(b"x")

        assert client.recv(1) == b"x"


def test_peer_that_does_not_read_blocks_nobody_who_does_not_wait(server: Path) -> None:
    """Without blocking, `send` takes what fits and says how much that was."""
    with _pair(server) as (client, accepted):
        client.setblocking(False)
        sent = _send_until_full(client)
        accepted.settimeout(SECONDS)

        assert sent > 0
        assert len(_read_all(accepted, sent)) == sent


def _send_until_full(client: EncryptedSocket) -> int:
    sent = 0
    with contextlib.suppress(ssl.SSLWantWriteError):
        while True:
            sent += client.send(bytes(1000))
    return sent


def test_files_over_a_connection(server: Path) -> None:
    """``makefile`` and ``recv_into`` read what was decrypted."""
    with _pair(server) as (client, accepted):
        accepted.sendall(b"one\ntwo\n")
        buffer = bytearray(4)
        count = client.recv_into(buffer)

        with client.makefile("rb") as lines:
            assert (count, buffer, lines.readline()) == (4, b"one\n", b"two\n")


def test_nothing_readable_is_on_the_wire(server: Path) -> None:
    """Who listens in between sees neither what was sent nor what was answered."""
    ends = _Ends(server_context(server), client_context()).shake()
    to_server, _ = ends.pipes

    ends.client.write(b"password of ann")
    seen = to_server.read()
    to_server.write(seen)

    assert b"ann" not in seen
    assert ends.server.read(100) == b"password of ann"


def test_flipped_bit_is_refused(server: Path) -> None:
    """A record that was changed on its way ends the connection."""
    ends = _Ends(server_context(server), client_context()).shake()
    to_server, _ = ends.pipes
    ends.client.write(b"lr=0.1")

    record = to_server.read()
    to_server.write(record[:-1] + bytes([record[-1] ^ 1]))

    with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac|decryption.failed"):
        ends.server.read(100)


def test_replayed_record_is_refused(server: Path) -> None:
    """A record that is sent again is not taken for another one."""
    ends = _Ends(server_context(server), client_context()).shake()
    to_server, _ = ends.pipes
    ends.client.write(b"lr=0.1")
    record = to_server.read()
    to_server.write(record + record)

    first = ends.server.read(100)

    assert first == b"lr=0.1"
    with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac|decryption.failed"):
        ends.server.read(100)


@pytest.mark.parametrize(
    "call",
    [
        lambda end: end.recvfrom(1),
        lambda end: end.recvfrom_into(bytearray(1)),
        lambda end: end.recvmsg(1),
        lambda end: end.recvmsg_into([bytearray(1)]),
        lambda end: end.sendto(b"x", ("127.0.0.1", 1)),
        lambda end: end.sendmsg([b"x"]),
        lambda end: end.dup(),
        lambda end: end.detach(),
    ],
    ids=["recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into", "sendto", "sendmsg", "dup", "detach"],
)
def test_nothing_goes_round_the_encryption(call: Any, server: Path) -> None:
    """Methods whose bytes would be plain raise."""
    with _pair(server) as (client, _), pytest.raises((NotImplementedError, ValueError)):
        call(client)


def test_class_is_not_called() -> None:
    """An encrypted socket is made of a plain one."""
    with pytest.raises(TypeError, match="public constructor"):
        EncryptedSocket()


# servers and clients of the original names


@pytest.mark.parametrize("layer", ["AES", "TLS", "ssl"])
def test_listeners_accept_after_the_handshake(layer: str, server: Path) -> None:
    """``listen_socket`` and ``wrap_socket`` are the two ends of a connection."""
    with listen_socket("127.0.0.1", 0, layer) as listener, ThreadPoolExecutor(1) as other:
        port = listener.getsockname()[1]
        accepted = other.submit(listener.accept)
        with wrap_socket(socket.socket(), fingerprint=fingerprint(server)) as client:
            client.connect(("127.0.0.1", port))
            connection, address = accepted.result(SECONDS)
            with connection:
                connection.sendall(b"hello")

                assert _read_all(client, 5) == b"hello"
                assert address == client.getsockname()
                assert isinstance(connection, EncryptedSocket)


def test_client_that_fails_is_passed_over(server: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Bytes that are no handshake end one connection; the next client is served."""
    with _listening(b"hello") as (port, _):
        with socket.create_connection(("127.0.0.1", port)) as wrong:
            wrong.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                while wrong.recv(100):
                    pass
        with open_socket("127.0.0.1", port, "AES") as client:
            assert _read_all(client, 5) == b"hello"

    assert "no encrypted connection with" in caplog.text


def test_silent_client_is_given_up(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A client that never begins holds up the others for a limited time only."""
    monkeypatch.setattr("track.utils.encrypted.HANDSHAKE_SECONDS", 0.05)
    with _listening() as (port, _), socket.create_connection(("127.0.0.1", port)) as silent:
        silent.settimeout(SECONDS)

        assert silent.recv(1) == b""

    assert "timed out" in caplog.text


def test_server_may_shake_hands_elsewhere(server: Path) -> None:
    """``handshaked=True`` leaves the handshake to the caller, or to the first byte."""
    ours, theirs = socket.socketpair()
    with ThreadPoolExecutor(1) as other:
        accepted = wrap_socket(theirs, server_side=True, handshaked=True, context=server_context(server))
        wrapping = other.submit(wrap_socket, ours, context=client_context(), fingerprint=fingerprint(server))
        with accepted:
            accepted.sendall(b"hello")

            with wrapping.result(SECONDS) as client:
                assert client.recv(5) == b"hello"


def test_system_authorities_do_not_know_our_servers(server: Path) -> None:
    """A layer that asks the system's authorities refuses a certificate that nobody has signed."""
    with _listening() as (port, read), pytest.raises(ssl.SSLCertVerificationError):
        open_socket("127.0.0.1", port, "ssl")

    assert read == []
