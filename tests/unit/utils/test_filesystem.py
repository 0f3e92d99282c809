"""What fsspec opens: one way for everybody, with errors of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from track.errors import BackendUnavailable, InvalidUri, MissingExtra
from track.utils.filesystem import connect, open_url, translated

fsspec = pytest.importorskip("fsspec", reason="needs fsspec: pip install track[fsspec]")


def test_service_has_one_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """URLs of one service share it, until the environment says something else; one with settings has its own."""
    first, _ = connect("memory://a/b")
    second, path = connect("memory://c")
    own, _ = connect("memory://c", {})
    monkeypatch.setenv("AWS_PROFILE", "other")
    third, _ = connect("memory://c")

    assert first is second
    assert path == "/c"
    assert len({id(fs) for fs in (first, own, third)}) == 3


def test_listings_are_never_old() -> None:
    """What others have written meanwhile is seen."""
    fs, _ = connect("memory://x")

    fs.dircache["a"] = []

    assert "a" not in fs.dircache


def test_path_without_a_scheme_is_a_file(tmp_path: Path) -> None:
    """As a reference of somebody may be."""
    (tmp_path / "a").write_bytes(b"content")

    with open_url(str(tmp_path / "a")) as file:
        assert file.read() == b"content"


def test_chain_of_file_systems(tmp_path: Path) -> None:
    """What fsspec can put behind each other is opened; a link of it that does not exist is named."""
    (tmp_path / "a").write_bytes(b"content")

    with open_url(f"simplecache::file://{tmp_path}/a") as file:
        assert file.read() == b"content"
    with pytest.raises((InvalidUri, MissingExtra), match="nosuch"):
        connect("nosuch::memory://x")


def test_address_with_colons_is_no_chain() -> None:
    """IPv6 is a host like another."""
    with pytest.raises(BackendUnavailable, match=r"ftp://\[::1\]:1/x cannot be used"):
        connect("ftp://[::1]:1/x")


@pytest.mark.parametrize("error", [IsADirectoryError("x"), NotADirectoryError("x"), FileNotFoundError("x")])
def test_folder_is_no_content(error: OSError) -> None:
    """Whatever a driver says of a folder, there is nothing to read under the name."""
    with pytest.raises(FileNotFoundError, match="x"), translated("memory://x"):
        raise error
