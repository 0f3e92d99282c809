"""Attacks on runs, artifacts and upload stores: whoever wrote a stored file or record chose all that is in it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.children import die, run
from track import em
from track.cli import main
from track.em.session import current_store
from track.em.store.download import download
from track.em.store.nodes import Bundle, LocalFile, record_name
from track.em.store.store import Store
from track.em.store.sweep import sweep, uploads
from track.errors import CorruptArtifact, CorruptJournal, FileChanged, TrackError, UnsafePath, UploadFailed

SECRET = b"the secret of somebody else"
DIGEST = hashlib.sha256(SECRET).hexdigest()
FILES = ("metadata.yaml", "hyperparameters.yaml", "index.yaml", "metrics/train.yaml")
LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(15)
)
MERGED = LAUGHS.replace("[x, x]", "{k: 1}").replace("[*", "{<<: [*").replace("]\n", "]}\n")
HOSTILE = {
    "a billion laughs": LAUGHS,
    "a billion merged maps": MERGED,
    "a list in itself": "a: &a [*a]\n",
    "a deep list": f"a: {'[' * 100_000}\n",
    "deep JSON": f"a: {'[' * 100_000}{']' * 100_000}\n",
    "a number without end": f"a: 1{':1' * 500_000}\n",
    "an object": "a: !!python/object/apply:os.system ['touch hacked']\n",
    "a list": "- a\n- b\n",
    "bytes": "\x00\x01",
    "nothing": "",
}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in a folder beside which somebody has a secret, logged in to a store of ann's."""
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("EM_CAPTURE_STDOUT", "0")
    em.login(f"file:{tmp_path}/store?user=ann")
    current_store().folder("default")
    yield
    em.logout()


@pytest.fixture
def made() -> em.Run:
    """Give a run with one metric."""
    made = em.create_run(name="cnn", hparams={"lr": 0.1})
    made.log("train", {"loss": 0.5}, step=1)
    made.finish()
    return made


@pytest.fixture
def artifact() -> em.Artifact:
    """Give an artifact of one file."""
    Path("1.png").write_bytes(b"one")
    artifact = em.create_artifact("data")
    artifact.add_file("1.png")
    return artifact


def _stored_bytes(tmp_path: Path) -> bytes:
    return b"".join(path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file())


class TestFilesOfARun:
    """A directory of a run that somebody else has made, or that came out of an archive."""

    @pytest.mark.parametrize("part", ["hyperparameters", "platform", "git", "log", "other", "metrics"])
    @pytest.mark.parametrize("name", ["../../../../secret", "{tmp}/secret", "metrics/../../../../../secret", ".env", 7])
    def test_table_of_contents(self, made: em.Run, tmp_path: Path, part: str, name: Any) -> None:
        """`em.upload` reads no file that a table of contents names, but the run's own, and says which was named."""
        Path(made.local, ".env").write_bytes(SECRET)
        name = name.format(tmp=tmp_path) if isinstance(name, str) else name
        index = {part: {"train": name} if part == "metrics" else name}
        Path(made.local, "index.yaml").write_text(json.dumps(index))

        with pytest.raises(UnsafePath, match=r"index\.yaml names"):
            em.upload(made.local)
        assert SECRET not in _stored_bytes(tmp_path)

    @pytest.mark.parametrize(
        "name", ["metadata.yaml", "hyperparameters.yaml", "git.yaml", "metrics/train.yaml", "index.yaml"]
    )
    @pytest.mark.parametrize("kind", ["link", "link within", "pipe"])
    def test_no_plain_file(self, made: em.Run, tmp_path: Path, name: str, kind: str) -> None:
        """A link in place of a file of a run is not followed, and a pipe not waited for."""
        path = Path(made.local, name)
        path.unlink()
        if kind == "pipe":
            os.mkfifo(path)
        else:
            Path(made.local, ".env").write_bytes(SECRET)
            path.symlink_to(tmp_path / "secret" if kind == "link" else Path(made.local, ".env"))

        with pytest.raises((TrackError, RuntimeError)):
            em.upload(made.local)
        assert SECRET not in _stored_bytes(tmp_path)

    def test_folder_of_metrics_that_is_a_link(self, made: em.Run, tmp_path: Path) -> None:
        """It leads nowhere else."""
        shutil.rmtree(Path(made.local, "metrics"))
        (tmp_path / "others").mkdir()
        (tmp_path / "others" / "train.yaml").write_bytes(SECRET)
        Path(made.local, "metrics").symlink_to(tmp_path / "others")

        with pytest.raises(UnsafePath, match="leads out"):
            em.upload(made.local)
        assert SECRET not in _stored_bytes(tmp_path)

    def test_artifact_of_somebody_else(
        self, made: em.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A run whose metadata name an artifact outside of the folders of artifacts does not upload that."""
        monkeypatch.setenv("EM_ARTIFACT_PARENT_DIR", str(tmp_path / "private"))
        private = em.create_artifact("private")
        private.add_file(tmp_path / "secret")
        monkeypatch.delenv("EM_ARTIFACT_PARENT_DIR")
        entry = {"type": "Artifact", "name": "x", "alternative_name": private.alternative_name, "local": private.local}
        metadata = Path(made.local, "metadata.yaml")
        lines = [line for line in metadata.read_text().splitlines() if not line.startswith("associations")]
        metadata.write_text("\n".join([*lines, f"associations: {json.dumps({'inputs': [entry], 'outputs': []})}", ""]))

        em.upload(made.local)

        assert [node.record["name"] for node in current_store().children("default")] == ["cnn"]
        assert SECRET not in _stored_bytes(tmp_path)
        assert "is left out" in caplog.text

    @pytest.mark.parametrize("name", FILES)
    @pytest.mark.parametrize("what", HOSTILE)
    def test_hostile_yaml(self, made: em.Run, name: str, what: str) -> None:
        """It is one error that names the file, at once; what was logged stays as it is."""
        if name.startswith("metrics") and what in ("nothing", "a list"):
            pytest.skip("a file of metrics may be empty, and is a list")
        path = Path(made.local, name)
        path.write_text(HOSTILE[what])
        others = {other: other.read_bytes() for other in Path(made.local).rglob("*.yaml")}

        began = time.monotonic()
        with pytest.raises(CorruptJournal, match=path.name):
            _ = em.load_run(made.local).metrics

        assert time.monotonic() - began < 20
        assert {other: other.read_bytes() for other in others} == others
        assert not Path("hacked").exists()

    @pytest.mark.parametrize(
        "line",
        [
            "name: 7",
            "name: ../x",
            "labels: 7",
            "remote: [7]",
            "remote: 7",
            "associations: 7",
            "associations: {inputs: [7]}",
        ],
    )
    def test_metadata_of_another_kind(self, made: em.Run, line: str) -> None:
        """One error names the file."""
        path = Path(made.local, "metadata.yaml")
        key = line.partition(":")[0]
        kept = [each for each in path.read_text().splitlines() if not each.startswith(f"{key}:")]
        path.write_text("\n".join([*kept, line, ""]))

        with pytest.raises((CorruptJournal, RuntimeError), match=r"metadata\.yaml"):
            em.load_run(made.local)

    def test_others_are_uploaded(self, made: em.Run, tmp_path: Path) -> None:
        """One run that somebody has tampered with does not hold up the rest of a folder."""
        other = em.create_run(name="other")
        other.finish()
        Path(made.local, "index.yaml").write_text('{"log": "../../../../secret"}')

        with pytest.raises(UploadFailed, match=r"1 of 2 are not uploaded: .*index\.yaml names"):
            em.upload(".em/runs")
        assert [node.record["name"] for node in current_store().children("default")] == ["other"]


class TestObjects:
    """The list of an artifact's objects."""

    @pytest.mark.parametrize(
        "path", ["../../../../secret", "{tmp}/secret", ".em/metadata.yaml", "a/../../x", "", 7, None]
    )
    def test_path(self, artifact: em.Artifact, tmp_path: Path, path: Any) -> None:
        """An object is in its artifact: a path that leads out is an error that names the list."""
        path = path.format(tmp=tmp_path) if isinstance(path, str) else path
        entry = {"path": path, "size": len(SECRET), "sha256": DIGEST}
        Path(artifact.local, ".em", "objects.yaml").write_text(f"- {json.dumps(entry)}\n")

        with pytest.raises((CorruptJournal, FileNotFoundError, RuntimeError), match=r"objects\.yaml|is gone from"):
            em.upload(artifact.local)
        assert SECRET not in _stored_bytes(tmp_path)

    @pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
    def test_no_plain_file(self, artifact: em.Artifact, tmp_path: Path, kind: str) -> None:
        """A link out is not followed, and a pipe not waited for."""
        size, digest = (len(SECRET), DIGEST) if kind == "link" else (0, hashlib.sha256().hexdigest())
        path = Path(artifact.local, "x")
        if kind == "link":
            path.symlink_to(tmp_path / "secret")
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.mkdir()
        Path(artifact.local, ".em", "objects.yaml").write_text(
            f'- {{"path": "x", "size": {size}, "sha256": "{digest}"}}\n'
        )

        with pytest.raises((UnsafePath, FileChanged)):
            em.upload(artifact.local)
        assert SECRET not in _stored_bytes(tmp_path)

    @pytest.mark.parametrize(
        "text",
        [
            *HOSTILE.values(),
            "- 7\n",
            "- {}\n",
            '- {"path": "x", "size": -1}\n',
            '- {"path": "x", "sha256": "../x"}\n',
        ],
    )
    def test_hostile_list(self, artifact: em.Artifact, text: str) -> None:
        """It is one error that names the list, at once."""
        Path(artifact.local, ".em", "objects.yaml").write_text(text)

        with pytest.raises(CorruptJournal, match=r"objects\.yaml"):
            em.load_artifact(artifact.local)


class TestRecords:
    """Records of a store that others write to."""

    def _tampered(self, change: Callable[[dict[str, Any]], object], count: int = 1) -> Store:
        Path("x").write_bytes(b"x")
        files = [LocalFile.at(f"x{number}", "x") for number in range(count)]
        current_store().upload(Bundle("Artifact", "data", "data_1", files=files), "default", False, "new")
        node = current_store().find("/ann/default/data")
        assert node is not None
        change(node.record)
        current_store().objects.swap(record_name(node.path), json.dumps(node.record).encode(), node.tag)
        return current_store()

    @pytest.mark.parametrize("name", ["../../outside", "/etc/outside", "a/../../outside", "x/../y", ".", "", "a\0b"])
    def test_download_writes_in_its_folder(self, tmp_path: Path, name: str) -> None:
        """A name that leads out is an error, and nothing is left of the download."""
        store = self._tampered(lambda record: record["files"][0].update(name=name))

        with pytest.raises((UnsafePath, CorruptArtifact)):
            download(store, "/ann/default/data", "Artifact", "here/deep")
        assert list(Path("here/deep").iterdir()) == []
        assert not list(tmp_path.rglob("outside"))

    @pytest.mark.parametrize("alias", ["../x", "/tmp/x", "", ".x", 7, None])
    def test_directory_of_a_download(self, alias: Any) -> None:
        """The directory is in the folder of artifacts."""
        store = self._tampered(lambda record: record.update(alternative_name=alias))

        with pytest.raises((CorruptArtifact, CorruptJournal), match="/ann/default/data"):
            download(store, "/ann/default/data", "Artifact", "here/deep")

    @pytest.mark.parametrize(
        "content", ["../secret", "content/../../secret", "tree/ann/default/data/.node", "/secret", 7]
    )
    def test_content_is_content(self, tmp_path: Path, content: Any) -> None:
        """No record makes anybody read or remove a file that is no content of the store."""
        store = self._tampered(lambda record: record["files"][0].update(content=content))
        Path("y").write_bytes(b"y")
        bundle = Bundle("Artifact", "data", "data_1", files=[LocalFile.at("y", "y")])

        with pytest.raises(CorruptJournal, match="the record of /ann/default/data"):
            download(store, "/ann/default/data", "Artifact", "here")
        with pytest.raises(CorruptJournal, match="the record of /ann/default/data"):
            store.upload(bundle, "default", False, "replace")
        assert (tmp_path / "secret").read_bytes() == SECRET

    @pytest.mark.parametrize("files", [7, [7], [{}], [{"name": "x"}], {"name": "x"}])
    def test_record_of_another_kind(self, files: Any) -> None:
        """It is one error that names it."""
        store = self._tampered(lambda record: record.update(files=files))

        with pytest.raises(CorruptJournal, match="the record of /ann/default/data"):
            download(store, "/ann/default/data", "Artifact", "here")

    def test_deep_record(self) -> None:
        """Brackets without end are no reason to fall over."""
        current_store().objects.create(record_name("/ann/default/data"), b"[" * 1_000_000)

        with pytest.raises(CorruptJournal, match="the record of /ann/default/data"):
            current_store().find("/ann/default/data")

    def test_two_files_of_one_name(self) -> None:
        """They are an error, not one of the two."""
        store = self._tampered(lambda record: record["files"].append({**record["files"][0]}))

        with pytest.raises(CorruptArtifact, match="names a file that cannot be one"):
            download(store, "/ann/default/data", "Artifact", "here")

    def test_content_that_is_longer(self) -> None:
        """No more bytes are written than the record says."""
        store = self._tampered(lambda record: None)
        node = store.find("/ann/default/data")
        assert node is not None
        store.objects.put(node.files[0]["content"], [b"x" * 1000, b"y" * 1000])

        with pytest.raises(CorruptArtifact, match="more bytes than were stored"):
            download(store, "/ann/default/data", "Artifact", "here")

    def test_pack_that_is_longer(self) -> None:
        """A pack is no way to fill the memory."""
        store = self._tampered(lambda record: None, count=40)
        node = store.find("/ann/default/data")
        assert node is not None
        store.objects.put(node.files[0]["content"], [b"x" * (1 << 20)] * 20)

        with pytest.raises(CorruptArtifact, match="larger than any pack"):
            download(store, "/ann/default/data", "Artifact", "here")

    def test_name_that_nobody_uploaded(self, tmp_path: Path) -> None:
        """A folder whose name stands for a path out does not keep others from listing theirs."""
        self._tampered(lambda record: None)
        (tmp_path / "store" / "tree" / "ann" / "default" / "..%2F..%2Fsecret").mkdir()

        assert [node.path for node in current_store().children("default")] == ["/ann/default/data"]

    def test_pipe_in_the_store(self, tmp_path: Path) -> None:
        """Nobody waits for its writer."""
        (tmp_path / "store" / "tree" / "ann" / "default" / "data").mkdir()
        os.mkfifo(tmp_path / "store" / "tree" / "ann" / "default" / "data" / ".node")

        with pytest.raises(UnsafePath, match="a pipe"):
            current_store().find("/ann/default/data")

    def test_metadata_of_a_download(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A run that says it is in another directory is where it was downloaded to."""
        made = em.create_run(name="cnn")
        made.finish()
        with Path(made.local, "metadata.yaml").open("a") as file:
            file.write(f'local: "{tmp_path}/elsewhere"\n')
        em.upload(made.local)
        monkeypatch.setenv("EM_RUN_PARENT_DIR", str(tmp_path / "other"))

        loaded = em.load_run("default/cnn")

        assert loaded.local == str(tmp_path / "other" / made.alternative_name)
        assert not (tmp_path / "elsewhere").exists()


class TestSweep:
    """`track artifacts gc` of an upload store."""

    def _killed(self, store: Store) -> None:
        Path("x").write_bytes(b"x" * 1000)
        bundle = Bundle("Artifact", "killed", "killed_1", files=[LocalFile.at("x", "x")])
        store.objects.create = lambda *_: die()  # type: ignore[method-assign, assignment, return-value]
        store.upload(bundle, "default", False, "new")

    def test_killed_upload(self, artifact: em.Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """What it had sent is removed at once, with its lease; what records name stays."""
        artifact.upload()
        before = sorted(current_store().objects.names())
        assert run(self._killed, current_store()) == -9
        assert len(sorted(current_store().objects.names())) == len(before) + 2

        assert main(["artifacts", "gc", "--dry-run", f"{tmp_path}/store"]) == 0
        assert main(["artifacts", "gc", f"file:{tmp_path}/store"]) == 0

        assert "removed 1 files, 1,000 bytes" in capsys.readouterr().out
        assert sorted(current_store().objects.names()) == before

    def test_upload_that_goes_on(self, artifact: em.Artifact) -> None:
        """What it has sent stays, whoever cleans up meanwhile."""
        create, swept = current_store().objects.create, []

        def cleaning(name: str, content: bytes) -> bool:
            swept.append(sweep(current_store().objects))
            return create(name, content)

        current_store().objects.create = cleaning  # type: ignore[method-assign]
        artifact.upload()
        current_store().objects.create = create  # type: ignore[method-assign]

        assert [(found.removed, found.waiting > 0) for found in swept] == [([], True)]
        folder, _ = download(current_store(), "/ann/default/data", "Artifact", "read")
        assert Path(folder, "1.png").read_bytes() == b"one"
        assert sweep(current_store().objects) == ([], 0, 0)

    @pytest.mark.parametrize("record", [b"{", b"[" * 100_000, b'{"format": 99}'])
    def test_record_that_cannot_be_read(self, artifact: em.Artifact, record: bytes) -> None:
        """Nothing is removed: it may name what would be."""
        artifact.upload()
        assert run(self._killed, current_store()) == -9
        current_store().objects.write(record_name("/bob/x"), record)
        before = sorted(current_store().objects.names())

        with pytest.raises(CorruptJournal, match="the record of /bob/x"):
            sweep(current_store().objects)
        assert sorted(current_store().objects.names()) == before

    @pytest.mark.parametrize("lease", [b"", b"[]", b'{"pid": -1}', b'{"pid": 99999999999999}', b"[" * 100_000])
    def test_lease_of_a_stranger(self, lease: bytes) -> None:
        """What is none keeps its content for a day, as one of another machine."""
        token = "0123456789abcdef"
        content = f"content/{'a' * 32}/0123-{token}"
        current_store().objects.write(f"uploading/{token}/lease", lease)
        current_store().objects.put(content, [b"x"])

        assert sweep(current_store().objects) == ([], 0, 1)
        assert content in set(current_store().objects.names())

    def test_what_is_somebody_elses(self, artifact: em.Artifact, tmp_path: Path) -> None:
        """Files that no upload has written stay, however old they are; an old write that was cut goes."""
        artifact.upload()
        before = {path for path in (tmp_path / "store").rglob("*") if path.is_file()}
        kept = [tmp_path / "store" / name for name in ("notes.txt", "content/notes.txt", ".track-0123456789abcdef.tmp")]
        cut = tmp_path / "store" / "content" / ".track-0123456789abcdef.tmp"
        for path in (*kept, cut):
            path.write_bytes(b"x")
            os.utime(path, (0, 0))

        assert sweep(current_store().objects).size == 1
        assert {path for path in (tmp_path / "store").rglob("*") if path.is_file()} == {*before, *kept}

    def test_killed_download(self, artifact: em.Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
        """What one has left in the folder of artifacts is removed by a later one, a week after."""
        artifact.upload()
        for age, name in ((0, "there/.download-new"), (8 * 86400, "there/.download-old")):
            Path(name).mkdir(parents=True)
            os.utime(name, (time.time() - age,) * 2)
        monkeypatch.setenv("EM_ARTIFACT_PARENT_DIR", "there")

        loaded = em.load_artifact("default/data")

        assert sorted(os.listdir("there")) == sorted([".download-new", loaded.alternative_name])

    def test_s3(self, moto_bucket: str, artifact: em.Artifact) -> None:
        """In a bucket too, a part of an upload that nobody sees is removed with the rest."""
        pytest.importorskip("s3fs")
        em.login(f"s3://{moto_bucket}/prefix?user=ann")
        objects: Any = current_store().objects
        artifact.upload()
        before = sorted(objects.names())
        name = f"content/{'a' * 32}/0123-0123456789abcdef"
        objects._fs.call_s3("create_multipart_upload", Bucket=moto_bucket, Key=f"prefix/{name}")
        objects.put(f"content/{'b' * 32}/0123-0123456789abcdef", [b"x"])

        assert main(["artifacts", "gc", f"s3://{moto_bucket}/prefix"]) == 0

        assert sorted(objects.names()) == before
        assert list(objects.unfinished()) == []

    def test_list(
        self, artifact: em.Artifact, made: em.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """`track artifacts list` names what was uploaded by whom; names of strangers do not steer the terminal."""
        artifact.upload()
        made.upload()
        record = current_store().find("/ann/default/data")
        assert record is not None
        current_store().objects.create(record_name("/bob/\x9b31mred"), record.encoded())

        assert main(["artifacts", "list", f"{tmp_path}/store"]) == 0

        said = capsys.readouterr().out.splitlines()
        assert [line.split("  ")[:2] for line in said] == [
            ["/ann/default/cnn", "Run"],
            ["/ann/default/data", "Artifact"],
            ["/bob/?31mred", "Artifact"],
        ]
        assert [node.path for node in uploads(current_store().objects)][:2] == ["/ann/default/cnn", "/ann/default/data"]


class TestWhatNeverEnds:
    """Files and servers that go on for ever."""

    def test_file_that_grows(self, artifact: em.Artifact) -> None:
        """A log that is written to faster than it is read is a clear error, and leaves nothing."""
        over = threading.Event()

        def grow() -> None:
            with open("log", "ab", buffering=0) as file:
                while not over.is_set():
                    file.write(b"x" * 65536)
                    if file.tell() > 1 << 30:
                        return

        # It takes so long to read that the other thread has its turn.
        Path("log").write_bytes(b"x" * (64 << 20))
        writer = threading.Thread(target=grow)
        writer.start()
        try:
            with pytest.raises(FileChanged, match="log changed while it was read"):
                artifact.add_file("log")
        finally:
            over.set()
            writer.join()
        assert [each["path"] for each in artifact.objects] == ["1.png"]
        assert sorted(os.listdir(artifact.local)) == [".em", "1.png"]

    @pytest.mark.parametrize("answer", ["silence", "refusals"])
    def test_login_keeps_its_time_out(self, answer: str) -> None:
        """However often a driver tries again, a login ends in the time that it was given."""
        pytest.importorskip("s3fs")
        with socket.create_server(("127.0.0.1", 0)) as server:
            over = threading.Event()

            def serve() -> None:
                kept = []
                server.settimeout(0.1)
                while not over.is_set():
                    try:
                        client, _ = server.accept()
                    except TimeoutError:
                        continue
                    kept.append(client)
                    if answer == "refusals":
                        client.sendall(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                        kept.pop().close()
                for client in kept:
                    client.close()

            thread = threading.Thread(target=serve)
            thread.start()
            before = current_store()
            began = time.monotonic()
            try:
                with pytest.raises(ConnectionError, match="cannot be used"):
                    em.login(f"s3://bucket?endpoint_url=http://127.0.0.1:{server.getsockname()[1]}", "a:b", timeout=2)
            finally:
                taken = time.monotonic() - began
                over.set()
                thread.join()
            assert taken < 60
            assert current_store() is before
