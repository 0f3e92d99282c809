"""Object stores: the same contract for a folder, memory, fsspec's memory and S3."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers.s3 import S3, moto_bucket, moto_server  # noqa: F401 - fixtures
from track.errors import AlreadyExists, BackendUnavailable, UnsafePath
from track.objectstore import FolderStore, FsspecStore, MemoryStore, ObjectStore

_numbers = itertools.count()


@pytest.fixture(params=["folder", "own memory", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """Give an empty store."""
    if request.param == "folder":
        return FolderStore(str(tmp_path / "store"))
    if request.param == "own memory":
        return MemoryStore(f"memory://own-{next(_numbers)}/x")
    pytest.importorskip("fsspec")
    if request.param == "memory":
        return FsspecStore(f"memory://objects-{os.getpid()}-{next(_numbers)}")
    pytest.importorskip("s3fs")
    return FsspecStore(f"s3://{request.getfixturevalue('moto_bucket')}/prefix")


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    """Give a folder beside which there is a file."""
    (tmp_path / "outside").write_bytes(b"outside")
    return FolderStore(str(tmp_path / "store"))


def test_what_is_written_is_read(store: ObjectStore) -> None:
    """Small content is replaced; where nothing is, and where names are below, there is none."""
    store.write("a/b", b"one")
    store.write("a/b", b"two")

    assert (store.read("a/b"), store.read("a"), store.read("c")) == (b"two", None, None)


def test_names_are_listed(store: ObjectStore) -> None:
    """All of them, and what is directly below one."""
    nothing = list(store.names()), store.children("a")
    for name in ("a/b", "a/c/d", "e"):
        store.write(name, b"x")

    assert nothing == ([], [])
    assert sorted(store.names()) == ["a/b", "a/c/d", "e"]
    assert store.children("a") == ["b", "c"]


def test_large_content(store: ObjectStore) -> None:
    """It comes in pieces, and is gone when it is removed, once or twice."""
    store.put("content/x", [b"1" * 700_000, b"2" * 700_000])

    content = b"".join(store.get("content/x"))
    store.remove("content/x")
    store.remove("content/x")

    assert content == b"1" * 700_000 + b"2" * 700_000
    with pytest.raises(FileNotFoundError):
        list(store.get("content/x"))


def test_compare_and_swap(store: ObjectStore) -> None:
    """Content is created once, and replaced only in the state that was seen."""
    created = [store.create("tree/x", b"one"), store.create("tree/x", b"two")]
    found = store.tagged("tree/x")
    assert found is not None
    swapped = [store.swap("tree/x", b"three", found[1]), store.swap("tree/x", b"four", found[1])]

    assert (created, swapped) == ([True, False], [True, False])
    assert (store.read("tree/x"), store.tagged("nothing")) == (b"three", None)
    assert store.swap("nothing", b"x", found[1]) is False


def test_one_of_many_creates(store: ObjectStore) -> None:
    """Of eight threads at once, one has created it."""
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda number: store.create("x", b"%d" % number), range(8)))

    assert created.count(True) == 1
    assert store.read("x") == b"%d" % created.index(True)


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/etc/passwd"])
def test_names_stay_in_the_folder(folder: FolderStore, name: str, tmp_path: Path) -> None:
    """A name from somewhere else neither reads, writes nor removes beside the folder."""
    for action in (
        lambda: folder.read(name),
        lambda: folder.write(name, b"x"),
        lambda: list(folder.get(name)),
        lambda: folder.put(name, [b"x"]),
        lambda: folder.remove(name),
    ):
        with pytest.raises(UnsafePath, match="not climb"):
            action()

    assert (tmp_path / "outside").read_bytes() == b"outside"


def test_broken_put_leaves_nothing(folder: FolderStore) -> None:
    """Content whose source fails does not appear, and nothing is left of it."""

    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        folder.put("content/x", chunks())

    assert list(folder.names()) == []
    assert os.listdir(os.path.join(folder.title, "content")) == []


def test_name_below_a_name_is_refused(folder: FolderStore) -> None:
    """In a folder, a name is a file or a folder of names, and the error says which."""
    folder.write("a", b"x")
    folder.write("b/c", b"x")

    with pytest.raises(AlreadyExists, match="the beginning of it is a name"):
        folder.write("a/b", b"x")
    with pytest.raises(AlreadyExists, match="there are names below it"):
        folder.write("b", b"x")


def test_bases_in_memory_are_apart() -> None:
    """Two hosts of `memory://` have nothing in common, whatever their paths."""
    store, other = MemoryStore("memory://one/x"), MemoryStore("memory://on/x")

    store.write("a/b", b"{}")

    assert (other.read("a/b"), list(other.names())) == (None, [])
    assert store.where("a/b") == "memory://one/x/a/b"


def test_folder_whose_disk_is_missing(tmp_path: Path) -> None:
    """The folder is made, those above it are not."""
    FolderStore(str(tmp_path / "made")).check()

    with pytest.raises(BackendUnavailable, match="cannot be used: FileNotFoundError"):
        FolderStore(str(tmp_path / "unmounted" / "store")).check()
    assert (tmp_path / "made").is_dir()
