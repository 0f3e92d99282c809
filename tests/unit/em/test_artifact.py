"""`track.em.Artifact`: files and references, where they go, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.children import python
from track import em
from track.em import objects
from track.em.artifact import Artifact
from track.errors import AlreadyExists, CorruptArtifact, FileChanged


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a directory with a file, and a directory of two files."""
    monkeypatch.chdir(tmp_path)
    Path("1.png").write_bytes(b"one")
    Path("a/deep").mkdir(parents=True)
    Path("a/1.png").write_bytes(b"a one")
    Path("a/deep/2.png").write_bytes(b"a two")


@pytest.fixture
def artifact() -> Artifact:
    """Give an empty artifact."""
    return em.create_artifact(name="data", labels=["x"], description="about")


def _files(artifact: Artifact) -> dict[str, bytes]:
    """Return the user's files in the artifact's directory."""
    found = [path for path in sorted(Path(artifact.local).rglob("*")) if path.is_file()]
    names = {path.relative_to(artifact.local).as_posix(): path.read_bytes() for path in found}
    return {name: content for name, content in names.items() if not name.startswith(".em/")}


def test_new_artifact(artifact: Artifact, tmp_path: Path) -> None:
    """It is empty, in a directory of its own below `.em/artifacts`, with its notes in `.em` there."""
    assert (artifact.name, artifact.labels, artifact.description) == ("data", ["x"], "about")
    assert (artifact.objects, artifact.remote) == ([], [])
    assert Path(artifact.local) == tmp_path / ".em" / "artifacts" / artifact.alternative_name
    assert [path.name for path in Path(artifact.local).iterdir()] == [".em"]


@pytest.mark.parametrize(
    ("obj_path", "where"),
    [
        (None, "1.png"),
        ("1.png", "1.png"),
        ("a/", "a/1.png"),
        ("a/1.png", "a/1.png"),
        ("/b/c", "b/c"),
        ("./x//y", "x/y"),
    ],
)
def test_where_a_file_goes(artifact: Artifact, obj_path: str | None, where: str) -> None:
    """The published examples: a path is the file's, one that ends with a slash a folder's."""
    artifact.add_file(file_path="1.png", obj_path=obj_path)

    assert _files(artifact) == {where: b"one"}
    assert artifact.objects == [{"path": where, "size": 3, "sha256": hashlib.sha256(b"one").hexdigest()}]


@pytest.mark.parametrize(
    ("dir_path", "obj_path", "base"),
    [("a/", None, "a"), ("a", None, "a"), ("a/", "a", "a"), ("a/", "b/", "b/a"), ("a/", "b/a", "b/a"), ("a", "/", "a")],
)
def test_where_a_directory_goes(artifact: Artifact, dir_path: str, obj_path: str | None, base: str) -> None:
    """The published examples; the structure below is kept."""
    artifact.add_dir(dir_path=dir_path, obj_path=obj_path)

    assert _files(artifact) == {f"{base}/1.png": b"a one", f"{base}/deep/2.png": b"a two"}


def test_working_directory_has_a_name(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dot is the directory it stands for."""
    monkeypatch.chdir("a")

    artifact.add_dir(".")

    assert sorted(_files(artifact)) == ["a/1.png", "a/deep/2.png"]


@pytest.mark.parametrize(
    ("uri", "obj_path", "where"),
    [
        ("s3://bucket/x/y.tar?versionId=3", None, "y.tar"),
        ("https://example.org/a.csv", "raw/", "raw/a.csv"),
        ("pvc:x", "x", "x"),
    ],
)
def test_reference(artifact: Artifact, uri: str, obj_path: str | None, where: str) -> None:
    """Only the address is kept."""
    artifact.add_reference(uri, obj_path)

    assert artifact.objects == [{"path": where, "size": None, "reference": uri}]
    assert _files(artifact) == {}
    assert json.loads(Path(artifact.local, ".em", "references.json").read_text()) == {where: uri}


def _noted(artifact: Artifact) -> dict[str, str]:
    found: dict[str, str] = json.loads(Path(artifact.local, ".em", "references.json").read_text())
    return found


def test_each_of_many_references_costs_as_much(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of references is not written again for each of thousands, and has all of them at any moment."""
    replaced: list[str] = []
    replace = objects.replace_file

    def counted(path: str, *arguments: Any, **options: Any) -> int:
        replaced.append(os.path.basename(path))
        return replace(path, *arguments, **options)

    monkeypatch.setattr(objects, "replace_file", counted)
    for number in range(300):
        artifact.add_reference(f"s3://bucket/{number} ☃.tar", f"raw/{number}.tar")
        if number % 100 == 1:
            assert len(_noted(artifact)) == number + 1

    assert _noted(artifact) == {f"raw/{number}.tar": f"s3://bucket/{number} ☃.tar" for number in range(300)}
    assert replaced.count("references.json") < 5


def test_file_of_references_that_somebody_changed_is_written_again(artifact: Artifact) -> None:
    """What was put in its place, a link too, is replaced and not written into."""
    for number in range(3):
        artifact.add_reference(f"s3://bucket/{number}")
    path = Path(artifact.local, ".em", "references.json")
    other = path.with_name("other.json")
    path.rename(other)
    path.symlink_to(other)
    before = other.read_bytes()

    artifact.add_reference("s3://bucket/3")
    artifact.add_reference("s3://bucket/3b", "3")
    artifact.add_reference("s3://bucket/4")

    expected = {"0": "s3://bucket/0", "1": "s3://bucket/1", "2": "s3://bucket/2", "3": "s3://bucket/3b"}
    assert _noted(artifact) == {**expected, "4": "s3://bucket/4"}
    assert other.read_bytes() == before
    assert not path.is_symlink()


def test_references_without_room_leave_the_file_as_it_was(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that takes only a part of it is taken back, and the file is written again whole."""
    for number in range(2):
        artifact.add_reference(f"s3://bucket/{number}")
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, place: write(descriptor, data[:3], place))

    artifact.add_reference("s3://bucket/2")

    assert _noted(artifact) == {str(number): f"s3://bucket/{number}" for number in range(3)}


def test_same_path_again_replaces(artifact: Artifact) -> None:
    """File, reference, file: the last one is the object."""
    artifact.add_file("1.png", "x")
    artifact.add_reference("s3://bucket/x")
    between = (_files(artifact), len(artifact.objects))
    artifact.add_file("a/1.png", "x")

    assert between == ({}, 1)
    assert _files(artifact) == {"x": b"a one"}
    assert "reference" not in artifact.objects[0]
    assert json.loads(Path(artifact.local, ".em", "references.json").read_text()) == {}


def test_directory_joins_what_is_there(artifact: Artifact) -> None:
    """Adding a directory keeps the other objects below its path."""
    artifact.add_file("1.png", "a/other.png")
    artifact.add_dir("a")

    assert sorted(_files(artifact)) == ["a/1.png", "a/deep/2.png", "a/other.png"]


@pytest.mark.parametrize(
    "obj_path", ["../x", "a/../../x", "..", ".em/metadata.yaml", "./.em/x", "a\0b", "a\\b", "a\nb"]
)
def test_object_path_stays_inside(artifact: Artifact, tmp_path: Path, obj_path: str) -> None:
    """A path that leads out, or into the library's notes, is refused."""
    before = sorted(tmp_path.rglob("*"))

    for add in (artifact.add_file, artifact.add_reference):
        with pytest.raises(ValueError, match="cannot be an object path"):
            add("1.png", obj_path)
    assert sorted(tmp_path.rglob("*")) == before
    assert artifact.objects == []


def test_link_in_the_artifact_leads_nowhere(artifact: Artifact, tmp_path: Path) -> None:
    """A symbolic link that somebody put there is no way out."""
    (tmp_path / "outside").mkdir()
    os.symlink(tmp_path / "outside", os.path.join(artifact.local, "link"))

    with pytest.raises(ValueError, match="leads out of"):
        artifact.add_file("1.png", "link/x")
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("name", ["ä ö", "a%41", "*", "?", "[x]", "#", "a:b", "-rf", "日本", " ", "x" * 200])
def test_odd_names(artifact: Artifact, name: str) -> None:
    """A file may be called what the file system lets it be called."""
    Path("a", name).write_bytes(b"odd")

    artifact.add_dir("a")

    with em.load_artifact(artifact.local).open(f"a/{name}") as file:
        assert file.read() == b"odd"


def test_empty_file_and_empty_directory(artifact: Artifact) -> None:
    """An empty file is an object; an empty directory adds nothing."""
    Path("empty").mkdir()
    Path("nothing").touch()
    artifact.add_dir("empty")
    artifact.add_file("nothing")

    assert [(each["path"], each["size"]) for each in artifact.objects] == [("nothing", 0)]


def test_what_is_not_there(artifact: Artifact) -> None:
    """It is a RuntimeError that names it."""
    with pytest.raises(RuntimeError, match="'nowhere' is no file"):
        artifact.add_file("nowhere")
    with pytest.raises(RuntimeError, match="'a' is no file"):
        artifact.add_file("a")
    with pytest.raises(RuntimeError, match=r"'1\.png' is no directory"):
        artifact.add_dir("1.png")
    with pytest.raises(RuntimeError, match="there is no object 'x'"):
        artifact.open("x")


def test_file_is_no_folder(artifact: Artifact) -> None:
    """One object cannot be in another; nothing is copied."""
    artifact.add_file("1.png", "a")

    with pytest.raises(AlreadyExists, match="'a' is one"):
        artifact.add_dir("a")
    artifact.add_file("1.png", "b/c")
    with pytest.raises(AlreadyExists, match="'b/c' is one"):
        artifact.add_file("1.png", "b")
    assert sorted(_files(artifact)) == ["a", "b/c"]


def test_links_and_devices_in_a_directory(artifact: Artifact, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A link inside is a file; links that lead out, broken ones, and pipes are left out and named."""
    os.symlink("1.png", "a/inside")
    os.symlink(tmp_path / "1.png", "a/outside")
    os.symlink("nowhere", "a/broken")
    os.symlink(tmp_path, "a/folder")
    os.mkfifo("a/pipe")

    artifact.add_dir("a")

    assert sorted(_files(artifact)) == ["a/1.png", "a/deep/2.png", "a/inside"]
    assert not os.path.islink(os.path.join(artifact.local, "a", "inside"))
    for name in ("outside", "broken", "folder", "pipe"):
        assert f"a/{name} is left out" in caplog.text


def test_artifact_does_not_add_itself(artifact: Artifact) -> None:
    """The working directory holds the artifact; adding it adds the rest."""
    artifact.add_dir(".", "all")

    assert sorted(name for name in _files(artifact) if ".em" not in name) == [
        "all/1.png",
        "all/a/1.png",
        "all/a/deep/2.png",
    ]
    assert not [name for name in _files(artifact) if artifact.alternative_name in name]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(artifact: Artifact) -> None:
    """It is an error that names it, and nothing half is left."""
    os.chmod("1.png", 0)

    with pytest.raises(PermissionError, match=r"1\.png"):
        artifact.add_file("1.png")
    assert (_files(artifact), artifact.objects) == ({}, [])


def test_file_that_changes_while_it_is_read(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not an object that never was."""
    real = hashlib.sha256

    class Writing:
        def __init__(self) -> None:
            self.digest = real()

        def update(self, chunk: bytes) -> None:
            with open("1.png", "ab") as file:
                file.write(b"x" if os.path.getsize("1.png") < 10 else b"")
            os.utime("1.png", ns=(0, 1))
            self.digest.update(chunk)

        def hexdigest(self) -> str:
            return self.digest.hexdigest()

    monkeypatch.setattr("track.em.objects.hashlib.sha256", Writing)
    with pytest.raises(FileChanged, match=r"1\.png changed while it was read"):
        artifact.add_file("1.png")
    assert (_files(artifact), artifact.objects) == ({}, [])


def test_load_is_the_same(artifact: Artifact) -> None:
    """Another process has all of it, and changes nothing by looking."""
    artifact.add_dir("a")
    artifact.add_reference("s3://bucket/x")
    before = {path: path.stat().st_mtime_ns for path in Path(artifact.local).rglob("*")}

    loaded = em.load_artifact(artifact.local)

    assert loaded.to_dict() == artifact.to_dict()
    assert {path: path.stat().st_mtime_ns for path in Path(artifact.local).rglob("*")} == before


def test_data_round_trip(artifact: Artifact) -> None:
    """The data are JSON, are copies, and make another object the same artifact."""
    artifact.add_dir("a")
    data = json.loads(json.dumps(artifact.to_dict()))
    data["metadata"]["team"] = "vision"

    other = Artifact({"name": "other"})
    other.parse_from_dict(data)

    assert other.to_dict() == data
    assert data["type"] == "Artifact"
    artifact.to_dict()["objects"].clear()
    assert len(artifact.objects) == 2


def test_construction_with_objects_by_path() -> None:
    """The published signature has a dictionary of objects."""
    made = Artifact({"name": "made"}, {"x": {"size": None, "reference": "s3://bucket/x"}})

    assert em.load_artifact(made.local).objects == [{"size": None, "reference": "s3://bucket/x", "path": "x"}]


@pytest.mark.parametrize("data", [{}, {"type": "Run", "metadata": {"name": "a"}}, {"metadata": {}}])
def test_what_is_no_artifact(artifact: Artifact, data: dict[str, Any]) -> None:
    """Missing parts are named."""
    with pytest.raises(ValueError, match=r"needs 'metadata'|need a 'name'"):
        artifact.parse_from_dict(data)


def test_download_to_a_directory(artifact: Artifact, tmp_path: Path) -> None:
    """All objects are copied, what is referred to as well; a file that was changed here is said."""
    artifact.add_dir("a")
    artifact.add_reference(f"file://{tmp_path}/1.png", "reference")
    pytest.importorskip("fsspec")

    artifact.download("out")

    found = {path.name: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    assert found == {"1.png": b"a one", "2.png": b"a two", "reference": b"one"}
    Path(artifact.local, "a", "1.png").write_bytes(b"other")
    with pytest.raises(CorruptArtifact, match=r"'a/1\.png'.* is not what was added"):
        artifact.download("again")


def test_killed_while_adding(artifact: Artifact, tmp_path: Path) -> None:
    """A process that dies in the middle of copying leaves no object that is not whole."""
    script = (
        "import os, signal, sys\n"
        "from track import em\n"
        "import track.em.objects as objects\n"
        "replace, count = os.replace, [0]\n"
        "def dying(source, target):\n"
        "    count[0] += '.em' not in source.rpartition('data_')[2]\n"
        "    if count[0] == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    replace(source, target)\n"
        "objects.os.replace = dying\n"
        "em.load_artifact(sys.argv[1]).add_dir('a')\n"
    )
    done = python("-c", script, artifact.local, cwd=tmp_path)

    again = em.load_artifact(artifact.local)
    assert done.returncode == -9
    assert again.objects == []
    again.add_dir("a")
    again.download("out")
    assert sorted(each["path"] for each in again.objects) == ["a/1.png", "a/deep/2.png"]


class TestMany:
    """Artifacts of many files: each costs the same."""

    def test_one_after_another(self, artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is written down for 500 files, added one by one and then again, grows as their number does."""
        written = []
        real_append, real_write = objects.append_list, objects.write_list

        def append(path: str, items: Any) -> None:
            written.extend(items)
            real_append(path, items)

        def write(path: str, items: Any) -> None:
            written.extend(items)
            real_write(path, items)

        monkeypatch.setattr(objects, "append_list", append)
        monkeypatch.setattr(objects, "write_list", write)
        for round in range(3):
            Path("1.png").write_bytes(b"%d" % round)
            for number in range(500):
                artifact.add_file("1.png", f"x/{number}")

        assert len(written) < 3 * 3 * 500
        loaded = em.load_artifact(artifact.local)
        assert loaded.objects == artifact.objects
        assert {each["sha256"] for each in loaded.objects} == {hashlib.sha256(b"2").hexdigest()}

    def test_paths_are_followed_once(self, artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
        """Links on the way are looked for in each folder, not for each file."""
        for number in range(200):
            Path("a", str(number)).write_bytes(b"x")
        followed = []
        real = os.path.realpath

        def realpath(path: str, **options: Any) -> str:
            followed.append(path)
            return real(path, **options)

        monkeypatch.setattr(os.path, "realpath", realpath)
        artifact.add_dir("a")

        assert len(artifact.objects) == 202
        assert len(followed) < 50

    def test_folder_that_becomes_a_link(self, artifact: Artifact, tmp_path: Path) -> None:
        """Between two calls somebody may put a link in a folder's place: it is no way out."""
        artifact.add_file("1.png", "x/y")
        (tmp_path / "outside").mkdir()
        os.rename(Path(artifact.local, "x"), tmp_path / "moved")
        Path(artifact.local, "x").symlink_to(tmp_path / "outside")

        with pytest.raises(ValueError, match="leads out of"):
            artifact.add_file("1.png", "x/z")
        assert list((tmp_path / "outside").iterdir()) == []

    def test_folder_that_was_removed(self, artifact: Artifact) -> None:
        """It is made again for the next file."""
        artifact.add_file("1.png", "x/y")
        shutil.rmtree(Path(artifact.local, "x"))

        artifact.add_file("1.png", "x/z")

        assert Path(artifact.local, "x", "z").read_bytes() == b"one"

    def test_many_small_files_are_few_contents(self, artifact: Artifact, tmp_path: Path) -> None:
        """They come back as they were, those of an earlier upload too; one that is removed leaves the others."""
        em.login(f"file:{tmp_path}/store?user=ann")
        for number in range(100):
            Path("a", f"{number}.bin").write_bytes(os.urandom(number))
        Path("large").write_bytes(os.urandom(300_000))
        artifact.add_dir("a")
        artifact.add_file("large")
        artifact.upload()
        first = _contents(tmp_path / "store")
        Path("a", "7.bin").write_bytes(b"other")
        artifact.add_file("a/7.bin", "a/7.bin")
        artifact.upload()
        expected = _files(artifact)
        shutil.rmtree(".em")

        loaded = em.load_artifact("default/data")

        em.logout()
        assert _files(loaded) == expected
        assert (len(first), len(_contents(tmp_path / "store"))) == (2, 5)

    def test_pack_that_is_damaged(self, artifact: Artifact, tmp_path: Path) -> None:
        """The file in which it is, is named."""
        em.login(f"file:{tmp_path}/store?user=ann")
        for number in range(50):
            Path("a", f"{number}.bin").write_bytes(b"%d" % number)
        artifact.add_dir("a")
        artifact.upload()
        (pack,) = _contents(tmp_path / "store")
        pack.write_bytes(pack.read_bytes()[:-1000])
        shutil.rmtree(".em")

        with pytest.raises(CorruptArtifact, match="is damaged: its content is not what was uploaded"):
            em.load_artifact("default/data")
        em.logout()


def _contents(store: Path) -> list[Path]:
    return [path for path in (store / "content").rglob("*") if path.is_file()]
