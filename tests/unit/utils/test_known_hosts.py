"""Servers that were trusted at first sight, and the file they are kept in."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from track.errors import BackendUnavailable, UntrustedServer
from track.utils.certificate import fingerprint_of
from track.utils.known_hosts import check_fingerprint, normal_fingerprint

FIRST, SECOND = b"first certificate", b"second certificate"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the file, which is not there yet, nor its folder."""
    return tmp_path / "track" / "known_hosts"


@pytest.mark.parametrize("host", ["db", "DB.example.org", "127.0.0.1", "::1", "fe80::1%eth0"])
def test_known_server_is_recognised(host: str, path: Path) -> None:
    """A server met once is known, however its name is written, and has to stay what it was."""
    check_fingerprint(FIRST, host, 8123, None, path)

    check_fingerprint(FIRST, host.upper(), 8123, None, path)

    with pytest.raises(UntrustedServer, match="known from line 2 of"):
        check_fingerprint(SECOND, host, 8123, None, path)


def test_ports_are_servers_of_their_own(path: Path) -> None:
    """Two servers on one machine have two certificates."""
    check_fingerprint(FIRST, "db", 1, None, path)
    check_fingerprint(SECOND, "db", 11, None, path)

    check_fingerprint(FIRST, "db", 1, None, path)

    assert len(path.read_text().splitlines()) == 3


def test_refusal_names_both_and_the_way_out(path: Path) -> None:
    """Who reads the message knows what happened, how bad it may be, and what to do."""
    check_fingerprint(FIRST, "db", 1, None, path)

    with pytest.raises(UntrustedServer) as refused:
        check_fingerprint(SECOND, "db", 1, None, path)

    message = str(refused.value)
    assert isinstance(refused.value, BackendUnavailable)
    for text in ("db:1", fingerprint_of(FIRST), fingerprint_of(SECOND), str(path), "in between", "remove that line"):
        assert text in message


def test_given_fingerprint_comes_first(path: Path) -> None:
    """What the user says now counts more than what the file says."""
    check_fingerprint(FIRST, "db", 1, None, path)

    check_fingerprint(SECOND, "db", 1, fingerprint_of(SECOND), path)

    with pytest.raises(UntrustedServer, match="was given"):
        check_fingerprint(FIRST, "db", 1, fingerprint_of(SECOND), path)


@pytest.mark.parametrize("form", ["{}", "sha256:{}", "SHA256:{}", "SHA-256:{}", " {} "])
@pytest.mark.parametrize("spelled", ["ab" * 32, "AB" * 32, "AB:" * 31 + "AB"], ids=["lower", "upper", "colons"])
def test_fingerprints_are_read_as_people_write_them(form: str, spelled: str) -> None:
    """Capitals, colons and the name of the algorithm make no difference."""
    assert normal_fingerprint(form.format(spelled)) == f"sha256:{'ab' * 32}"


@pytest.mark.parametrize("text", ["", "sha256:", "ab" * 31, "ab" * 33, "sha1:" + "ab" * 20, "xy" * 32])
def test_what_is_no_fingerprint_is_refused(text: str, path: Path) -> None:
    """A part of a fingerprint, or none, is never good enough."""
    with pytest.raises(ValueError, match="is no fingerprint"):
        check_fingerprint(FIRST, "db", 1, text, path)


@pytest.mark.parametrize("host", ["", "a b", "#a", "a\nb:1 sha256:ab", "a\u2028b"])
def test_name_that_would_be_another_line_is_refused(host: str, path: Path) -> None:
    """Nobody is remembered under a name that is read back as something else."""
    with pytest.raises(UntrustedServer, match="is no name of a server"):
        check_fingerprint(FIRST, host, 1, None, path)

    assert not path.exists()


def test_first_of_many_decides(path: Path) -> None:
    """Of those who meet a server at once, one writes what all others are held to."""
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda number: _is_trusted(b"%d" % (number % 2), path), range(16)))

    first = path.read_text().splitlines()[1].split()[1]
    assert results == [fingerprint_of(b"%d" % (number % 2)) == first for number in range(16)]


def _is_trusted(der: bytes, path: Path) -> bool:
    try:
        check_fingerprint(der, "db", 1, None, path)
    except UntrustedServer:
        return False
    return True


def test_line_after_a_torn_one_is_whole(path: Path) -> None:
    """A file without a newline at its end is gone on with, not mixed up."""
    path.parent.mkdir()
    path.write_text(f"other:1 {fingerprint_of(SECOND)}")

    check_fingerprint(FIRST, "db", 1, None, path)

    assert path.read_text() == f"other:1 {fingerprint_of(SECOND)}\ndb:1 {fingerprint_of(FIRST)}\n"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"db:1\n", "line 1 .*is no server and fingerprint"),
        (b"# mine\ndb:1 sha256:abc\n", "line 2 .*is no fingerprint"),
        (b"db:1 " + b"ab" * 32 + b" more\n", "line 1 .*is no server and fingerprint"),
        (b"\xff\xfe", "cannot be read"),
    ],
    ids=["no fingerprint", "short", "more", "bytes"],
)
def test_broken_file_is_one_clear_error(content: bytes, problem: str, path: Path) -> None:
    """Nobody is trusted by a file that cannot be understood, and it stays as it is."""
    path.parent.mkdir()
    path.write_bytes(content)

    with pytest.raises(UntrustedServer, match=rf"{problem}") as refused:
        check_fingerprint(FIRST, "db", 1, None, path)

    assert re.search(re.escape(str(path)), str(refused.value))
    assert path.read_bytes() == content


@given(content=st.binary(max_size=200) | st.text("db:1 #\nsha256abf0", max_size=200).map(str.encode))
def test_any_file_trusts_or_refuses(content: bytes, path: Path) -> None:
    """Whatever a file holds, another certificate than the kept one is refused, and nothing else is raised."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)

    trusted = _is_trusted(FIRST, path)

    assert _is_trusted(FIRST, path) == trusted
    assert not (trusted and _is_trusted(SECOND, path))


def test_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A server that cannot be remembered is not trusted; the message says what else to do."""
    (tmp_path / "known_hosts").symlink_to(tmp_path / "nowhere" / "known_hosts")

    with pytest.raises(UntrustedServer, match=r"give its fingerprint as \?fingerprint="):
        check_fingerprint(FIRST, "db", 1, None, tmp_path / "known_hosts")
