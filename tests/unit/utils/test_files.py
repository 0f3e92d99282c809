"""Files are replaced whole or not at all, and names stay in their folders."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from track.errors import UnsafePath
from track.utils.files import checked_path, digest_of, inside, is_temporary, replace_file, replacing


def test_file_is_replaced(tmp_path: Path) -> None:
    """The content is there under the name, nothing else is, and the size is told."""
    path = tmp_path / "a"
    path.write_bytes(b"old")

    size = replace_file(str(path), [b"new", b"est" * 100_000])

    assert size == path.stat().st_size == 300_003
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("sync", [True, False])
def test_write_that_fails_leaves_the_old_file(tmp_path: Path, sync: bool) -> None:
    """When the disk is full there is no half file, and no rest."""
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def pieces() -> Iterator[bytes]:
        yield b"new" * 200_000
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        replace_file(str(path), pieces(), sync=sync)

    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {"a": b"old"}


def test_replaced_file_keeps_its_mode(tmp_path: Path) -> None:
    """Who could read the old one can read the new one."""
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(0o640)

    replace_file(str(path), [b"new"], sync=False)

    assert path.stat().st_mode & 0o777 == 0o640


def test_new_file_has_the_mode_that_was_asked_for(tmp_path: Path) -> None:
    """A file for its owner only is that from the beginning."""
    path = tmp_path / "a"

    with replacing(str(path), mode=0o600) as file:
        modes = {entry.stat().st_mode & 0o777 for entry in tmp_path.iterdir()}
        file.write_all(b"new")

    assert modes == {path.stat().st_mode & 0o777} == {0o600}


def test_link_is_followed_or_replaced(tmp_path: Path) -> None:
    """By default the file behind a link is replaced; where others may put links, the link itself."""
    path, other = tmp_path / "a", tmp_path / "b"
    other.write_bytes(b"old")
    path.symlink_to(other)

    replace_file(str(path), [b"new"])
    followed = path.is_symlink(), other.read_bytes()
    replace_file(str(path), [b"newer"], follow=False)

    assert followed == (True, b"new")
    assert (path.is_symlink(), path.read_bytes(), other.read_bytes()) == (False, b"newer", b"new")


def test_unfinished_file_has_a_name_of_its_own(tmp_path: Path) -> None:
    """Listings can tell it from finished ones; one that was left under a fixed name is overwritten."""
    path, left = str(tmp_path / "a"), tmp_path / "left.tmp"
    left.write_bytes(b"what a killed process left")

    with replacing(path) as file:
        names = [entry.name for entry in tmp_path.iterdir() if entry != left]
        file.write_all(b"1")
    with replacing(path, temporary=str(left)) as file:
        file.write_all(b"2")

    assert [is_temporary(name) for name in names] == [True]
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {"a": b"2"}


def test_file_that_reached_the_disk_stays_open(tmp_path: Path) -> None:
    """Who has replaced a file can go on writing to it."""
    path = str(tmp_path / "a")

    with replacing(path, sync=True) as file:
        file.write_all(b"head ")
    file.write_all(b"tail")

    assert Path(path).read_bytes() == b"head tail"


@pytest.mark.parametrize("name", ["", "/etc/passwd", "a/../b", "..", "a//b", "./a", "a\0b", 7])
def test_path_that_climbs_is_refused(name: str, tmp_path: Path) -> None:
    """A name that could lead out of a folder is no name in it."""
    with pytest.raises(UnsafePath, match=r"not climb|NUL"):
        checked_path(name, "a key")
    with pytest.raises(ValueError, match=r"not climb|NUL"):
        inside(str(tmp_path), name)


def test_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    """A name is in a folder only when its links are, too."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "out").symlink_to(tmp_path)

    found = inside(str(tmp_path / "in"), "a/b")

    assert found == os.path.join(tmp_path, "in", "a", "b")
    with pytest.raises(UnsafePath, match="leads out of"):
        inside(str(tmp_path / "in"), "out/b")


def test_digest_of_the_beginning(tmp_path: Path) -> None:
    """A file that grows is hashed as far as it was."""
    path = tmp_path / "a"
    path.write_bytes(b"x" * 600_000)

    digests = digest_of(str(path)), digest_of(str(path), 300_001)

    assert digests == tuple(hashlib.sha256(b"x" * size).hexdigest() for size in (600_000, 300_001))
