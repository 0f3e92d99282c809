"""Connections that nobody can read or change: TLS 1.3 with AES-GCM, and a server that is known by its certificate.

Two layers are built on this. ``AES`` needs nothing from anybody: the server makes a certificate, and a client
recognises it by its fingerprint. ``TLS`` is for a server whose certificate an authority has signed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import ssl
from pathlib import Path
from typing import Any

from track.configuration import options
from track.errors import InvalidUri, TrackError, UntrustedServer
from track.utils.certificate import certificate_files, fingerprint, how_to_renew
from track.utils.files import absolute_path, user_folder
from track.utils.known_hosts import check_fingerprint

__all__ = [
    "HANDSHAKE_SECONDS", "SUITES", "EncryptedSocket", "certificate_context", "check_cipher", "check_fingerprint",
    "client_context", "fingerprint", "known_hosts_file", "server_context", "server_folder", "verified_context",
    "wrap_socket",
]  # fmt: skip

logger = logging.getLogger(__name__)
SUITES = ("TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256")
"""What may be negotiated."""
HANDSHAKE_SECONDS = 10.0
"""How long a peer may take to agree on keys."""


def server_folder() -> Path:
    """Return the folder of this user's servers, where their certificate is: option ``socket.folder``."""
    return _configured("socket.folder", "server")


def known_hosts_file() -> Path:
    """Return the file of the servers this user has trusted at first sight: option ``socket.known_hosts``."""
    return _configured("socket.known_hosts", "known_hosts")


def _configured(option: str, name: str) -> Path:
    chosen = options(option, "")
    if chosen:
        return Path(absolute_path(chosen))
    home = user_folder("XDG_CONFIG_HOME", ".config")
    if home is None:
        variable = "TRACK_" + option.upper().replace(".", "_")
        raise InvalidUri(f"this user has no home to keep {name} in: set {variable} (option {option})")
    return Path(home) / "track" / name


def server_context(folder: str | os.PathLike[str]) -> ssl.SSLContext:
    """Return the context of a server that is known by its fingerprint, with a certificate made at first start.

    Parameters
    ----------
    folder: path
        See `track.utils.certificate.certificate_files`.

    Raises
    ------
    MissingExtra
        There is no certificate, and the package that makes one is not installed.
    TrackError
        The certificate or its key cannot be written or read.
    """
    certificate, key = certificate_files(folder)
    try:
        return certificate_context(certificate, key)
    except TrackError as error:
        raise TrackError(f"{error}: {how_to_renew(certificate.parent)}") from error


def certificate_context(
    certificate: str | os.PathLike[str], key: str | os.PathLike[str] | None = None
) -> ssl.SSLContext:
    """Return the context of a server that has a certificate.

    Parameters
    ----------
    certificate: path
        PEM; the certificates of the authorities in between may follow its own.
    key: path, optional
        Its private key, PEM without a passphrase; by default it is in `certificate`.

    Raises
    ------
    TrackError
        A file cannot be read, or the two do not belong together.
    """
    context = _modern(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    # A ticket would let a client resume a session; one that closes without reading it resets the connection.
    context.num_tickets = 0
    try:
        # Without a terminal to ask at: an encrypted key is an error.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ValueError) as error:
        raise TrackError(f"the certificate {os.fspath(certificate)} and its key cannot be used: {error}") from error
    return context


def client_context() -> ssl.SSLContext:
    """Return the context of a client that checks nothing: `check_fingerprint` has to, before anything is sent."""
    context = _modern(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def verified_context(cafile: str | os.PathLike[str] | None = None) -> ssl.SSLContext:
    """Return the context of a client that wants a certificate signed by an authority, for the server's name.

    Parameters
    ----------
    cafile: path, optional
        The authority's certificate, PEM; by default those that the system trusts.

    Raises
    ------
    TrackError
        `cafile` cannot be read.
    """
    try:
        return _modern(ssl.create_default_context(cafile=cafile))
    except OSError as error:
        raise TrackError(f"the authority's certificate {cafile!s} cannot be used: {error}") from error


def _modern(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Only the newest Python can choose among the suites of TLS 1.3; for others `check_cipher` looks at the outcome.
    choose = getattr(context, "set_ciphersuites", None)
    if choose is not None:
        choose(":".join(SUITES))
    return context


def check_cipher(connection: ssl.SSLSocket | ssl.SSLObject) -> None:
    """Return if TLS 1.3 with AES-GCM was agreed upon; to be called after the handshake, on both sides.

    Raises
    ------
    UntrustedServer
        Something else was.
    """
    name, version, _ = connection.cipher() or ("nothing", "", 0)
    if name not in SUITES or connection.version() != "TLSv1.3":
        raise UntrustedServer(f"{name} ({version}) was agreed upon; only {' and '.join(SUITES)} are accepted")


class EncryptedSocket(ssl.SSLSocket):
    """A socket whose bytes are encrypted and authenticated; made by `wrap_socket`.

    It is used as a plain one: a stream of bytes. Methods that would go round the encryption (``recvmsg``,
    ``sendmsg``, ``sendto``, ``dup``, ``detach``) raise.
    """

    # Of the base class; the first is None until there is a connection.
    _sslobj: Any
    do_handshake_on_connect: bool

    _given: str | None = None
    _known_hosts: Path | None = None
    _host: tuple[str, int] | None = None
    _is_trusted = False

    def accept(self) -> tuple[EncryptedSocket, Any]:
        """Return a connection whose handshake is done, and the address of the client.

        A client that fails is logged and forgotten. One that is silent holds up the others for `HANDSHAKE_SECONDS`:
        a server of many wraps plain connections with ``handshaked=True`` and lets each have a thread.
        """
        while True:
            plain, address = socket.socket.accept(self)
            try:
                plain.settimeout(HANDSHAKE_SECONDS)
                client = wrap_socket(plain, server_side=True, context=self.context)
                client.settimeout(None)
                return client, address
            except (OSError, TrackError) as error:
                plain.close()
                logger.warning("no encrypted connection with %s: %s", address, error)

    def connect(self, addr: Any) -> None:
        """Connect to a server, and make sure who it is."""
        self._host = (str(addr[0]), int(addr[1]))
        super().connect(addr)

    def connect_ex(self, addr: Any) -> int:
        """Connect to a server and return 0, or the number of the error."""
        self._host = (str(addr[0]), int(addr[1]))
        return super().connect_ex(addr)

    def do_handshake(self, block: bool = False) -> None:
        """Agree on keys, and make sure who the other is; the connection is closed if it is somebody else.

        Raises
        ------
        UntrustedServer
            The certificate is not the one it should be, or an unsafe cipher was agreed upon.
        ssl.SSLError
            The handshake failed.
        """
        super().do_handshake(block)
        try:
            check_cipher(self)
            if not self.server_side and self.context.verify_mode is ssl.CERT_NONE:
                self._check_server()
        except BaseException:
            self.close()
            raise
        self._is_trusted = True

    def _check_server(self) -> None:
        der = self.getpeercert(binary_form=True)
        assert der is not None
        host, port = self._host or _address(self.getpeername())
        check_fingerprint(der, host, port, self._given, self._known_hosts or known_hosts_file())

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        """Return up to so many bytes, or fill the buffer and return how many there are; see `ssl.SSLSocket`."""
        self._require_trust()
        return super().read(len, buffer)

    def write(self, data: Any) -> int:
        """Send some of the data and return how many bytes."""
        self._require_trust()
        return super().write(data)

    def send(self, data: Any, flags: int = 0) -> int:
        """Send all of the data and return its size; without blocking, some of it."""
        self._require_trust()
        if self.gettimeout() == 0:
            return super().send(data, flags)
        rest = memoryview(data).cast("B")
        sent = 0
        while sent < rest.nbytes:
            sent += super().send(rest[sent:], flags)
        return sent

    def recv(self, buflen: int = 1024, flags: int = 0, context: Any = None) -> bytes:
        """Return up to so many bytes, ``b''`` at the end; `context` is accepted and not used."""
        return super().recv(buflen, flags)

    def readsize(self) -> int:
        """Return how many bytes can be read without waiting for the network."""
        return self.pending()

    def detach(self) -> int:
        """Refuse: the bare connection would carry plain bytes."""
        raise NotImplementedError("an encrypted socket cannot be detached: use unwrap() to end the encryption")

    def _require_trust(self) -> None:
        # TLS would shake hands by itself at the first byte, and nobody would look at the certificate.
        if not self._is_trusted and self._sslobj is not None:
            self.do_handshake(block=True)


def wrap_socket(
    sock: socket.socket,
    server_side: bool = False,
    handshaked: bool = False,
    *,
    context: ssl.SSLContext | None = None,
    hostname: str | None = None,
    fingerprint: str | None = None,
    known_hosts: str | os.PathLike[str] | None = None,
) -> EncryptedSocket:
    """Return an encrypted socket in place of a plain one, which cannot be used any more.

    Parameters
    ----------
    sock: socket
        TCP: connected, listening, or neither yet.
    server_side: bool
        Which of the two ends this is.
    handshaked: bool
        Whether the caller sees to the handshake of a connection; otherwise it is done here. Reading and writing do it
        when nobody has.
    context: ssl.SSLContext, optional
        By default `server_context` of `server_folder`, or `client_context`.
    hostname: str, optional
        The server's name, as the user gives it; by default the address of `sock`.
    fingerprint, known_hosts: optional
        See `check_fingerprint`; for a client whose context does not check the certificate.

    Raises
    ------
    UntrustedServer
        The server is not the one it should be.
    ssl.SSLError
        The handshake failed.
    """
    if context is None:
        context = server_context(server_folder()) if server_side else client_context()
    context.sslsocket_class = EncryptedSocket
    name = None if server_side else hostname
    wrapped = context.wrap_socket(sock, server_side, do_handshake_on_connect=False, server_hostname=name)
    assert isinstance(wrapped, EncryptedSocket)
    wrapped.do_handshake_on_connect = True
    wrapped._given = fingerprint
    wrapped._known_hosts = None if known_hosts is None else Path(known_hosts)
    if wrapped._sslobj is not None:
        if hostname is not None:
            wrapped._host = (hostname, _address(wrapped.getpeername())[1])
        if not handshaked:
            try:
                wrapped.do_handshake()
            except BaseException:
                with contextlib.suppress(OSError):
                    wrapped.close()
                raise
    return wrapped


def _address(peer: Any) -> tuple[str, int]:
    # That of a connection within one machine is a path, or nothing.
    return (peer[0], peer[1]) if isinstance(peer, tuple) else (os.fsdecode(peer) or "localhost", 0)
