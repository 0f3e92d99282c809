"""URIs: their parts, their options, and what of them may be shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from track.errors import InvalidUri
from track.persistence.utils import (
    mask_secrets,
    parse_options,
    parse_uri,
    read_bool,
    read_choice,
    read_options,
    store_path,
    uri_path,
)


def test_parts_of_every_uri() -> None:
    """Five parts are always there; those of an authority only when there is one."""
    assert parse_uri("file:report.json") == {
        "scheme": "file",
        "path": "report.json",
        "query": {},
        "fragment": "",
        "params": "",
    }


def test_parts_of_a_full_uri() -> None:
    """Every part of a URI has its name, and all values are text."""
    assert parse_uri("socket://ann:secret@localhost:8123/a/b;p?security_layer=AES&backend=file://test.json#top") == {
        "scheme": "socket",
        "address": "localhost",
        "port": "8123",
        "username": "ann",
        "password": "secret",
        "path": "/a/b",
        "params": "p",
        "query": {"security_layer": "AES", "backend": "file://test.json"},
        "fragment": "top",
    }


@pytest.mark.parametrize(
    ("authority", "parts"),
    [
        ("host", {"address": "host"}),
        ("host:1", {"address": "host", "port": "1"}),
        ("ann@host", {"address": "host", "username": "ann"}),
        ("ann:@host", {"address": "host", "username": "ann", "password": ""}),
        ("ann:p%40ss%3A%2F@host", {"address": "host", "username": "ann", "password": "p@ss:/"}),
        ("ann:a:b@c@host", {"address": "host", "username": "ann", "password": "a:b@c"}),
        ("[::1]:26257", {"address": "::1", "port": "26257"}),
        ("[fe80::1]", {"address": "fe80::1"}),
        ("a:1,b:2", {"address": "a:1,b:2"}),
        ("ann:pw@a:1,b:2", {"address": "a:1,b:2", "username": "ann", "password": "pw"}),
    ],
)
def test_parts_of_an_authority(authority: str, parts: dict[str, str]) -> None:
    """Users, passwords, IPv6 addresses and several hosts."""
    parsed = parse_uri(f"cockroach://{authority}/db")

    names = ("address", "port", "username", "password")
    assert {name: parsed[name] for name in names if name in parsed} == parts


@pytest.mark.parametrize("uri", ["socket://host:http", "socket://host:80a/x", "socket://::1", "socket://fe80::1:80"])
def test_port_that_is_no_number_is_refused(uri: str) -> None:
    """A broken authority is an error that shows it."""
    with pytest.raises(InvalidUri, match=r"is no number; an IPv6 address goes in brackets"):
        parse_uri(uri)


@pytest.mark.parametrize("uri", [None, 3, b"file:x"])
def test_what_is_no_text_is_no_uri(uri: Any) -> None:
    """A URI is text."""
    with pytest.raises(InvalidUri, match="is no URI: it should read like"):
        parse_uri(uri)


def test_malformed_uri_does_not_show_its_password() -> None:
    """Also the message about a URI that cannot be parsed keeps the secret."""
    with pytest.raises(InvalidUri) as caught:
        parse_uri("socket://ann:se/cret@host:80")

    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (None, {}),
        ("", {}),
        ("a=1&b=2", {"a": "1", "b": "2"}),
        ("a=b=c", {"a": "b=c"}),
        ("eager", {"eager": ""}),
        ("a=1&&b=2&", {"a": "1", "b": "2"}),
        ("a=x%26y%3D%20z", {"a": "x&y= z"}),
        ("a=1&a=2", {"a": "2"}),
        ("backend=file://test.json", {"backend": "file://test.json"}),
    ],
)
def test_options(text: str | None, options: dict[str, str]) -> None:
    """Options split at the first =, and are percent-decoded."""
    assert parse_options(text) == options


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:", ""),
        ("file://", ""),
        ("file:rel.json", "rel.json"),
        ("file:dir/rel.json", "dir/rel.json"),
        ("file:./rel.json", "./rel.json"),
        ("file:/abs/x.json", "/abs/x.json"),
        ("file://rel.json", "rel.json"),
        ("file://dir/x.json", "dir/x.json"),
        ("file://../x.json", "../x.json"),
        ("file:///abs/x.json", "/abs/x.json"),
        ("file://a%20b/c%20d.json?eager=0", "a b/c d.json"),
        ("file://ann@home/x.json", "ann@home/x.json"),
        ("file://x:1", "x:1"),
        ("file:a;b.json", "a;b.json"),
        ("file:100%25.json", "100%.json"),
        ("pickled:f.pkl", "f.pkl"),
        ("pickled:///abs/f.pkl", "/abs/f.pkl"),
        ("file://~/runs/x.json", "/home/ann/runs/x.json"),
        ("file:~/x.json", "/home/ann/x.json"),
        ("file:./~/x.json", "./~/x.json"),
        ("file:~x.json", "~x.json"),
    ],
)
def test_path_of_every_form(uri: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All forms people write name the file they mean."""
    monkeypatch.setenv("HOME", "/home/ann")

    assert uri_path(uri) == path


def test_path_with_a_nul_is_refused() -> None:
    """No file has a NUL in its name."""
    with pytest.raises(InvalidUri, match="has a NUL in its path"):
        uri_path("file://a%00b.json")


@pytest.mark.parametrize(
    ("end", "shown"), [("", "/report.json"), ("/", "/report.json"), ("?a=1", r"/report.json\?a=1")]
)
def test_folder_is_no_store(end: str, shown: str, tmp_path: Path) -> None:
    """A folder where a file is meant is an error that shows a file in it."""
    with pytest.raises(
        InvalidUri, match=rf"file:{tmp_path}/? is a folder: name a file in it, .* file:{tmp_path}{shown}$"
    ):
        store_path(f"file:{tmp_path}{end}")


def test_folder_to_be_is_no_store(tmp_path: Path) -> None:
    """A path that ends like a folder's is one, whether it is there or not."""
    with pytest.raises(InvalidUri, match="is a folder"):
        store_path(f"file:{tmp_path}/new/")


def test_hash_sign_does_not_cut_a_path() -> None:
    """A # would name another file in silence: it is refused, with the way to write it."""
    with pytest.raises(InvalidUri, match="write %23"):
        uri_path("file:run#1.json")
    assert uri_path("file:run%231.json") == "run#1.json"


KNOWN: dict[str, Any] = {
    "eager": (read_bool, True),
    "timeout": (float, 30.0),
    "lock": (read_choice("auto", "always"), "auto"),
}


def test_options_are_typed() -> None:
    """Options given are read, the others have their defaults."""
    expected = {"artifacts": "", "environment": None, "eager": True, "timeout": 2.0, "lock": "auto"}
    assert read_options("file:x?timeout=2&eager", KNOWN) == expected


def test_unknown_option_is_named() -> None:
    """An option that nobody knows is an error that lists those there are, without secrets."""
    with pytest.raises(
        InvalidUri,
        match=r"'eagre' in 'x://a:\*\*\*@h\?eagre=0'; the options are: artifacts, eager, environment, lock, timeout",
    ):
        read_options("x://a:pw@h?eagre=0", KNOWN)


def test_option_of_a_backend_without_any() -> None:
    """A backend without options says that it has none."""
    with pytest.raises(InvalidUri, match="the options are: artifacts"):
        read_options("ephemeral:?x=1", {})


@pytest.mark.parametrize(
    ("option", "reason"),
    [("eager=maybe", "it should be 1 or 0"), ("timeout=soon", "could not convert"), ("lock=no", "one of auto, always")],
)
def test_option_that_cannot_be_read_is_named(option: str, reason: str) -> None:
    """A value of the wrong kind is an error that says what is expected."""
    with pytest.raises(
        InvalidUri, match=rf"option {option.partition('=')[0]}='.*' of 'file:x\?.*' cannot be read: .*{reason}"
    ):
        read_options(f"file:x?{option}", KNOWN)


@pytest.mark.parametrize(("text", "truth"), [("1", True), ("YES", True), ("", True), ("0", False), ("Off", False)])
def test_truth_in_words(text: str, truth: bool) -> None:
    """Truth is said in several ways."""
    assert read_bool(text) is truth


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("file:report.json?eager=0", "file:report.json?eager=0"),
        ("socket://ann@host", "socket://ann@host"),
        ("socket://ann:secret@host:1", "socket://ann:***@host:1"),
        ("socket://:secret@host", "socket://:***@host"),
        ("socket://ann:p@ss:w/rd@host/x", "socket://ann:***@host/x"),
        ("x://h?password=a&b=1", "x://h?password=***&b=1"),
        ("x://h?db_passwd=a&Token=b&API-KEY=c&apikey=d", "x://h?db_passwd=***&Token=***&API-KEY=***&apikey=***"),
        (
            "x://h?access_key=a&key=b&pwd=c&secret=d&monkey=e",
            "x://h?access_key=***&key=***&pwd=***&secret=***&monkey=e",
        ),
        ("x://h?token", "x://h?token"),
        (
            "multi:?to=socket://ann:secret@h:1?key=a&to=socket%3A%2F%2Fbob%3Asecret%40h%3Ftoken=b%26n=1&to=file:a%20b",
            "multi:?to=socket://ann:***@h:1?key=***&to=socket://bob:***@h?token=***%26n=1&to=file:a%20b",
        ),
        (None, "None"),
    ],
)
def test_secrets_are_masked(uri: Any, shown: str) -> None:
    """Passwords, and options named like a secret, are not shown."""
    assert mask_secrets(uri) == shown
