"""A self-signed certificate and its key, made once: what an encrypted server shows to its clients."""

from __future__ import annotations

import datetime
import hashlib
import os
import shutil
import socket
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from track.errors import TrackError, missing_extra
from track.utils.files import replace_file

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_LIFETIME = datetime.timedelta(days=36_500)
"""Clients recognise the certificate itself: an end of its validity would only cut them off."""


def certificate_files(folder: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Return the certificate and the private key of a server (PEM), in ``tls`` in its folder, made now if need be.

    Processes that start at once get the same two. MissingExtra where the package that makes them is not installed,
    TrackError where they cannot be written.
    """
    place = Path(folder) / "tls"
    files = place / "certificate.pem", place / "key.pem"
    if not place.exists():
        try:
            _make(place)
        except OSError as error:
            raise TrackError(f"no certificate can be made in {place}: {error}") from error
    return files


def fingerprint(folder: str | os.PathLike[str]) -> str:
    """Return the fingerprint of a server's certificate, ``sha256:`` and 64 digits, to be given to its clients.

    `folder`: as for `certificate_files`. Raises TrackError: the certificate cannot be made, or read.
    """
    certificate, _ = certificate_files(folder)
    try:
        text = certificate.read_text(encoding="ascii")
        return fingerprint_of(ssl.PEM_cert_to_DER_cert(text))
    except (OSError, ValueError) as error:
        raise TrackError(f"{certificate} cannot be read ({error}): {how_to_renew(certificate.parent)}") from error


def fingerprint_of(der: bytes) -> str:
    """Return the fingerprint of a certificate, which `ssl.SSLSocket.getpeercert` gives with ``binary_form=True``."""
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


def how_to_renew(place: Path) -> str:
    """Return what to do about a certificate that cannot be used."""
    return f"remove {place} to have a new one made; clients then refuse until they are told its fingerprint"


def _make(place: Path) -> None:
    """Make both files in a folder of their own, which then takes the name: there are both, or none."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".tls-", dir=place.parent))
    try:
        _write_pair(made)
        # A folder that holds something is not replaced: another process was first.
        os.rename(made, place)
    except OSError:
        if not place.exists():
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _write_pair(folder: Path) -> None:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise missing_extra("to make a certificate, cryptography is needed", "encrypted") from error
    key = ec.generate_private_key(ec.SECP256R1())
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(pem, pkcs8, serialization.NoEncryption())
    replace_file(f"{folder}/key.pem", [secret], mode=0o600)
    replace_file(f"{folder}/certificate.pem", [_certificate(key).public_bytes(pem)], mode=0o644)


def _certificate(key: EllipticCurvePrivateKey) -> x509.Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "track server")])
    now = datetime.datetime.now(datetime.timezone.utc)
    public = key.public_key()
    return (
        x509.CertificateBuilder(name, name, public, x509.random_serial_number())
        # The clock of a client may be a little behind.
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .add_extension(x509.SubjectAlternativeName(_names()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _names() -> list[x509.GeneralName]:
    """Return what this machine is called, for clients that check names instead of the fingerprint."""
    import ipaddress

    from cryptography import x509

    hosts = {"localhost", socket.gethostname(), socket.getfqdn()}
    names: list[x509.GeneralName] = [x509.DNSName(host) for host in sorted(hosts) if host.isascii() and host]
    return names + [x509.IPAddress(ipaddress.ip_address(text)) for text in ("127.0.0.1", "::1")]
