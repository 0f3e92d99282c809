"""What is agreed upon with a peer: TLS 1.3 with AES-GCM, for servers and clients."""

from __future__ import annotations

import os
import ssl

from track.errors import TrackError, UntrustedServer
from track.utils.certificate import certificate_files, how_to_renew

SUITES = ("TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256")
"""What may be negotiated."""


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
