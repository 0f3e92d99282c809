"""Trust on first use: the certificate that a server had when it was first met; a changed one is refused."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

from track.errors import UntrustedServer
from track.utils.certificate import fingerprint_of

logger = logging.getLogger(__name__)
_FINGERPRINT = re.compile(r"(?i)(?:sha-?256:)?([0-9a-f]{2}(?::?[0-9a-f]{2}){31})")
_GIVEN = "give the new one as ?fingerprint=..."
_HEADER = "# Servers that track has trusted at first sight: host:port, fingerprint of the certificate.\n"


def normal_fingerprint(text: str) -> str:
    """Return a fingerprint as `fingerprint_of` writes it, from 64 digits of any case, colons or not, or ValueError."""
    match = _FINGERPRINT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no fingerprint: it should be sha256: and 64 hexadecimal digits")
    return f"sha256:{match[1].replace(':', '').lower()}"


def check_fingerprint(
    der: bytes, host: str, port: int, expected: str | None, known_hosts: str | os.PathLike[str]
) -> None:
    """Return if a server is the one it should be: nothing may be sent to it before.

    `der`: the certificate it shows. `host`: as the user names it. `expected`: the fingerprint its owner has told.
    Without one the server is trusted at first sight, and has to show the same certificate from then on. `known_hosts`:
    the file of servers that were trusted at first sight. Raises UntrustedServer: the certificate is another one,
    `known_hosts` cannot be read or written, or `host` is no name. ValueError: `expected` is no fingerprint.
    """
    name, shown = _name(host, port), fingerprint_of(der)
    if expected is not None:
        wanted = normal_fingerprint(expected)
        if shown != wanted:
            raise UntrustedServer(_refusal(name, shown, f"{wanted} was given", _GIVEN))
        return
    path = Path(known_hosts)
    known = _look_up(path, name)
    if known is None:
        _remember(path, name, shown)
        # Of several processes that meet the server at once, the first to write has said what is right.
        known = _look_up(path, name) or (0, shown)
    line, wanted = known
    if shown != wanted:
        known_from = f"{wanted} is known from line {line} of {path}"
        raise UntrustedServer(_refusal(name, shown, known_from, f"remove that line, or {_GIVEN}"))


def _refusal(name: str, shown: str, wanted: str, remedy: str) -> str:
    return (
        f"{name} shows the certificate {shown}, but {wanted}. Its certificate was replaced, "
        "or somebody is listening in between; nothing was sent. If the owner of the server confirms the new "
        f"fingerprint (the server prints it when it starts), {remedy}"
    )


def _name(host: str, port: int) -> str:
    host = host.lower()
    # It would be another line, or none.
    if not host.isprintable() or not host or set(host) & set(" #"):
        raise UntrustedServer(f"{host!r} is no name of a server")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _look_up(path: Path, name: str) -> tuple[int, str] | None:
    """Return the line number and the fingerprint of the first line about a server."""
    for number, host, text in _lines(path):
        if host != name:
            continue
        try:
            return number, normal_fingerprint(text)
        except ValueError as error:
            raise _broken(path, number, str(error)) from error
    return None


def _lines(path: Path) -> Iterator[tuple[int, str, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise UntrustedServer(f"the known servers in {path} cannot be read: {error}") from error
    for number, line in enumerate(text.split("\n"), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2:
            raise _broken(path, number, f"{line[:80]!r} is no server and fingerprint")
        yield number, words[0].lower(), words[1]


def _broken(path: Path, number: int, problem: str) -> UntrustedServer:
    return UntrustedServer(f"line {number} of the known servers in {path}: {problem}; repair the line, or remove it")


def _remember(path: Path, name: str, shown: str) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # One write a line: two processes never mix theirs.
        with open(path, "ab", buffering=0, opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(f"{_beginning(path)}{name} {shown}\n".encode())
    except OSError as error:
        raise UntrustedServer(
            f"{name} is not known yet, and cannot be remembered in {path} ({error}): give its fingerprint as "
            "?fingerprint=..."
        ) from error
    logger.warning("%s is trusted from now on, with the certificate %s (kept in %s)", name, shown, path)


def _beginning(path: Path) -> str:
    """Return what has to stand before a line that is added."""
    content = path.read_bytes()
    if not content:
        return _HEADER
    return "" if content.endswith(b"\n") else "\n"
