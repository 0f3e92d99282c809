"""The upload store: folders, strategies and downloads, the same on a directory and in memory; e2e/ has S3."""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from track import em
from track.em.session import current_store
from track.em.store.download import download
from track.em.store.nodes import Bundle, LocalFile, record_name
from track.em.store.store import Store
from track.errors import CorruptArtifact, CorruptJournal, FileChanged, NothingThere, UploadConflict

_numbers = itertools.count()


@pytest.fixture(params=["directory", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give an empty place."""
    if request.param == "directory":
        return f"file://{tmp_path}/store"
    pytest.importorskip("fsspec")
    return f"memory://store-{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def store(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Give a store that ann is logged in to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EM_CAPTURE_STDOUT", "0")
    em.login(f"{url}?user=ann")
    yield current_store()
    em.logout()


def _bundle(name: str = "data", alternative: str = "data_220823_194728_4e48t2", **contents: bytes) -> Bundle:
    """Return an artifact of small files."""
    folder = Path("bundles", str(next(_numbers)))
    folder.mkdir(parents=True)
    for file, content in contents.items():
        (folder / file).write_bytes(content)
    return Bundle("Artifact", name, alternative, files=[LocalFile.at(file, str(folder / file)) for file in contents])


def _contents(store: Store, path: str) -> dict[str, bytes]:
    """Return the files at a path, as a download has them."""
    folder, _ = download(store, path, "Artifact", f"downloads/{next(_numbers)}")
    return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


def _all_content(store: Store) -> list[str]:
    """Return the names of all content in the store."""
    folders = store.objects.children("content")
    return sorted(
        f"content/{folder}/{name}" for folder in folders for name in store.objects.children(f"content/{folder}")
    )


def test_upload_and_download(store: Store) -> None:
    """What was uploaded comes back, empty files too, with facts about it."""
    node = store.upload(_bundle(a=b"one", b=b""), "default", False, "new")

    assert node is not None
    assert node.path == "/ann/default/data"
    assert _contents(store, node.path) == {"a": b"one", "b": b""}
    found = store.find(node.path)
    assert found is not None
    assert {key: found.record[key] for key in ("type", "name", "owner", "size")} == {
        "type": "Artifact", "name": "data", "owner": "ann", "size": 3,
    }  # fmt: skip


def test_large_file_goes_in_pieces(store: Store) -> None:
    """Several chunks arrive in order."""
    content = os.urandom(3 * (1 << 20) + 17)

    store.upload(_bundle(a=content), "default", False, "new")

    assert _contents(store, "/ann/default/data") == {"a": content}


class TestFolders:
    """Folders belong to users."""

    def test_missing_folder(self, store: Store) -> None:
        """It is an error that says what to do, and nothing is uploaded."""
        with pytest.raises(NothingThere, match=r"no folder /ann/cv/mnist .* give make_folder=True"):
            store.upload(_bundle(a=b"x"), "cv/mnist", False, "new")
        assert store.find("/ann/cv/mnist/data") is None
        assert store.find("/ann/cv") is None

    def test_folder_with_parents(self, store: Store) -> None:
        """They are made, and listed."""
        store.upload(_bundle(a=b"x"), "cv/mnist", True, "new")
        store.upload(_bundle("other", "other_1", a=b"x"), "cv/mnist", False, "new")

        assert [(node.path, node.kind) for node in store.children("/ann")] == [("/ann/cv", "Folder")]
        assert [node.path for node in store.children("cv/mnist")] == ["/ann/cv/mnist/data", "/ann/cv/mnist/other"]

    def test_folders_of_two_users(self, store: Store) -> None:
        """The same path is another one for another user; with a slash it is the same."""
        store.upload(_bundle(a=b"of ann"), "x", True, "new")
        bob = Store(store.objects, store.host, "bob")
        bob.upload(_bundle(a=b"of bob"), "x", True, "new")

        assert _contents(store, "/ann/x/data") == _contents(bob, "/ann/x/data") == {"a": b"of ann"}
        assert _contents(store, bob.absolute("x/data")) == {"a": b"of bob"}

    @pytest.mark.parametrize("path", ["..", "../bob/x", "a/../../x", "/", "a//b", ".hidden", "a\\b", "a\0"])
    def test_path_that_leads_out(self, store: Store, path: str) -> None:
        """It is refused."""
        with pytest.raises(ValueError, match="name"):
            store.upload(_bundle(a=b"x"), path, True, "new")

    @pytest.mark.parametrize(
        "name", ["a b", "ä", "50%", "%41", "what?", "a*", "[x]", "#1", "a:b", "dot.", "日本", "a+b&c=d"]
    )
    def test_odd_names(self, store: Store, name: str) -> None:
        """Folders, runs and files may be called anything else."""
        file = Path("odd")
        file.write_bytes(b"x")
        bundle = Bundle("Artifact", name, f"{name}_1", files=[LocalFile.at(f"{name}/{name}", "odd")])

        store.upload(bundle, f"{name}/{name}", True, "new")

        folder, _ = download(store, f"/ann/{name}/{name}/{name}", "Artifact", "downloads")
        assert Path(folder, name, name).read_bytes() == b"x"
        assert [node.record["name"] for node in store.children(f"{name}/{name}")] == [name]
        assert [node.path for node in store.children(name)] == [f"/ann/{name}/{name}"]

    def test_run_is_no_folder(self, store: Store) -> None:
        """Nothing can be uploaded into a run."""
        store.upload(_bundle(a=b"x"), "default", False, "new")

        with pytest.raises(UploadConflict, match="is no folder but an Artifact"):
            store.upload(_bundle("other", a=b"x"), "default/data", True, "new")
        with pytest.raises(UploadConflict, match="is no folder but an Artifact"):
            store.upload(_bundle("other", a=b"x"), "default/data/deep", True, "new")


class TestConflicts:
    """What happens when a name is taken."""

    @pytest.fixture(autouse=True)
    def _taken(self, store: Store) -> None:
        """Let somebody else have the name."""
        store.upload(_bundle("data", "data_1", a=b"theirs"), "default", False, "new")

    def test_skip(self, store: Store) -> None:
        """Nothing is uploaded."""
        assert store.upload(_bundle("data", "data_2", a=b"mine"), "default", False, "skip") is None
        assert _contents(store, "/ann/default/data") == {"a": b"theirs"}
        assert len(store.children("default")) == 1

    def test_error(self, store: Store) -> None:
        """It is an error, a RuntimeError, and nothing is uploaded."""
        with pytest.raises(UploadConflict, match="/ann/default/data is taken by an Artifact"):
            store.upload(_bundle("data", "data_2", a=b"mine"), "default", False, "error")
        assert issubclass(UploadConflict, RuntimeError)
        assert len(store.children("default")) == 1

    def test_new(self, store: Store) -> None:
        """The alternative name is used; where that is taken too, another."""
        store.upload(_bundle("data_2", "unlucky", a=b"unlucky"), "default", False, "new")

        second = store.upload(_bundle("data", "data_3", a=b"mine"), "default", False, "new")
        third = store.upload(_bundle("data", "data_2", a=b"third"), "default", False, "new")

        assert second is not None
        assert third is not None
        assert second.path == "/ann/default/data_3"
        assert third.path.startswith("/ann/default/data_")
        assert _contents(store, third.path) == {"a": b"third"}
        assert _contents(store, "/ann/default/data") == {"a": b"theirs"}

    def test_replace(self, store: Store) -> None:
        """The other one is gone, with its content."""
        node = store.upload(_bundle("data", "data_2", b=b"mine"), "default", False, "replace")

        assert _contents(store, "/ann/default/data") == {"b": b"mine"}
        assert node is not None
        assert _all_content(store) == [node.files[0]["content"]]

    def test_folder_is_not_replaced(self, store: Store) -> None:
        """What is in it would be lost."""
        store.folder("x/taken", make_folder=True)

        with pytest.raises(UploadConflict, match="is a folder, which is not replaced"):
            store.upload(_bundle("taken", a=b"x"), "x", False, "replace")

    @pytest.mark.parametrize("strategy", ["skip", "error", "new", "replace"])
    def test_same_again_takes_its_own_place(self, store: Store, strategy: str) -> None:
        """A later state of the same thing replaces the earlier one, whatever the strategy; what stays is not sent."""
        theirs = _all_content(store)
        first = store.upload(_bundle("mine", "mine_1", a=b"one", b=b"two"), "default", False, strategy)
        second = store.upload(_bundle("mine", "mine_1", a=b"one", c=b"three"), "default", False, strategy)

        assert first is not None
        assert second is not None
        assert _contents(store, "/ann/default/mine") == {"a": b"one", "c": b"three"}
        assert (second.path, second.record["id"]) == (first.path, first.record["id"])
        contents = {file["name"]: file["content"] for node in (first, second) for file in node.files}
        assert first.files[0] == second.files[0]
        assert _all_content(store) == sorted([*theirs, contents["a"], contents["c"]])


class TestTogether:
    """Several people at the same time."""

    @pytest.mark.parametrize("strategy", ["skip", "error", "new", "replace"])
    def test_strategy_holds(self, store: Store, strategy: str) -> None:
        """Of six who upload the same name, as many have it as the strategy says, each of them whole."""
        results: dict[int, Any] = {}
        gate = threading.Barrier(6)
        bundles = [_bundle("data", f"data_{number}", a=b"%d" % number * 1000, b=b"%d" % number) for number in range(6)]
        store.folder("default")

        def upload(number: int) -> None:
            gate.wait()
            try:
                results[number] = store.upload(bundles[number], "default", False, strategy)
            except UploadConflict as error:
                results[number] = error

        threads = [threading.Thread(target=upload, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        nodes = {
            number: node for number, node in results.items() if node is not None and not isinstance(node, Exception)
        }
        assert len(nodes) == {"skip": 1, "error": 1, "new": 6, "replace": 6}[strategy]
        assert len({node.path for node in nodes.values()}) == (6 if strategy == "new" else 1)
        listed = store.children("default")
        assert len(listed) == (6 if strategy == "new" else 1)
        for node in listed:
            contents = _contents(store, node.path)
            number = int(contents["b"])
            assert contents["a"] == b"%d" % number * 1000
            assert node.record["alternative_name"] == f"data_{number}"

    def test_same_run_twice_at_the_same_time(self, store: Store) -> None:
        """Two processes that upload states of one artifact leave one of them, whole, and nothing beside it."""
        gate = threading.Barrier(4)
        bundles = [_bundle("data", "data_1", same=b"same", a=b"%d" % number, b=b"%d" % number) for number in range(4)]
        store.folder("default")

        def upload(number: int) -> None:
            gate.wait()
            for _ in range(3):
                store.upload(bundles[number], "default", False, "error")

        threads = [threading.Thread(target=upload, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        contents = _contents(store, "/ann/default/data")
        assert contents["a"] == contents["b"]
        (node,) = store.children("default")
        assert _all_content(store) == sorted(file["content"] for file in node.files)


class TestTrouble:
    """What goes wrong on the way."""

    def test_file_that_is_not_what_was_added(self, store: Store) -> None:
        """It is not uploaded, and nothing is left behind."""
        bundle = _bundle(a=b"one", b=b"two")
        Path(bundle.files[1].path).write_bytes(b"six")

        with pytest.raises(FileChanged, match="was changed after it was added"):
            store.upload(bundle, "default", False, "new")
        assert store.children("default") == []
        assert _all_content(store) == []

    def test_file_that_grows(self, store: Store) -> None:
        """A log that is written to meanwhile is uploaded as it was."""
        bundle = _bundle(log=b"first\n")
        with open(bundle.files[0].path, "ab") as file:
            file.write(b"second\n")

        store.upload(bundle, "default", False, "new")

        assert _contents(store, "/ann/default/data") == {"log": b"first\n"}

    def test_damaged_content(self, store: Store) -> None:
        """It is not taken for what was uploaded, and leaves nothing here."""
        node = store.upload(_bundle(a=b"one"), "default", False, "new")
        assert node is not None
        store.objects.remove(node.files[0]["content"])
        store.objects.put(node.files[0]["content"], [b"two"])

        with pytest.raises(CorruptArtifact, match=r"'a' from .* is damaged"):
            download(store, node.path, "Artifact", "here")
        assert os.listdir("here") == []

    def test_missing_content(self, store: Store) -> None:
        """It is said, and leaves nothing here."""
        node = store.upload(_bundle(a=b"one"), "default", False, "new")
        assert node is not None
        store.objects.remove(node.files[0]["content"])

        with pytest.raises(CorruptArtifact, match=r"content of /ann/default/data .* is missing"):
            download(store, node.path, "Artifact", "here")
        assert os.listdir("here") == []

    def test_replaced_while_it_is_downloaded(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        """The reader gets the new one, whole."""
        store.upload(_bundle("data", "data_1", a=b"old", b=b"old"), "default", False, "new")
        newer = _bundle("data", "data_2", a=b"new", b=b"new")
        get, calls = store.objects.get, []

        def slow(name: str) -> Iterator[bytes]:
            calls.append(name)
            if len(calls) == 2:
                store.upload(newer, "default", False, "replace")
            return get(name)

        monkeypatch.setattr(store.objects, "get", slow)

        assert _contents(store, "/ann/default/data") == {"a": b"new", "b": b"new"}

    @pytest.mark.parametrize("record", [b"{", b"[]", b'{"format": 99}'])
    def test_damaged_record(self, store: Store, record: bytes) -> None:
        """It is named, and not taken for a free name."""
        store.objects.create(record_name("/ann/default/data"), record)

        with pytest.raises(CorruptJournal, match="the record of /ann/default/data"):
            store.upload(_bundle(a=b"x"), "default", False, "new")

    @pytest.mark.parametrize("name", ["../../outside", "/etc/outside", "a/../../outside"])
    def test_record_that_leads_out(self, store: Store, tmp_path: Path, name: str) -> None:
        """A store that was tampered with cannot write elsewhere."""
        node = store.upload(_bundle(a=b"one"), "default", False, "new")
        assert node is not None
        found = store.find(node.path)
        assert found is not None
        found.record["files"][0]["name"] = name
        store.objects.swap(record_name(node.path), json.dumps(found.record).encode(), found.tag)

        with pytest.raises(ValueError, match="not climb"):
            download(store, node.path, "Artifact", "here/deep")
        assert not list(tmp_path.rglob("outside"))

    def test_wrong_kind(self, store: Store) -> None:
        """A run is no artifact."""
        store.upload(_bundle(a=b"one"), "default", False, "new")

        with pytest.raises(NothingThere, match=r"an Artifact at /ann/default/data .* where a Run was looked for"):
            download(store, "/ann/default/data", "Run", "here")
