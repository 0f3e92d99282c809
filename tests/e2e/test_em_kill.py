"""Uploads that are killed, or race, in processes of their own: nothing half is ever visible."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.children import die, ended, python, run, run_all, start_python
from track import em
from track.em.session import current_store
from track.em.store.download import download
from track.em.store.nodes import Bundle, LocalFile
from track.em.store.store import Store

STEPS = ("put", "create", "swap", "remove")

# Uploads an artifact whose two files say who it is, and dies at a step of it when told to.
UPLOAD = """
import os, signal, sys
from track import em
from track.em.store.nodes import LocalFile, Bundle
from track.em.session import current_store
host, name, who, strategy, step = sys.argv[1:]
em.login(host)
store, left = current_store(), [int(step)]
def dying(action):
    def call(*arguments):
        left[0] -= 1
        if not left[0]: os.kill(os.getpid(), signal.SIGKILL)
        return action(*arguments)
    return call
for step in ("put", "create", "swap", "remove"):
    setattr(store.objects, step, dying(getattr(store.objects, step)))
files = [LocalFile.at(file, os.path.join(who, file)) for file in ("a", "b")]
node = store.upload(Bundle("Artifact", name, who, files=files), "default", True, strategy)
print("" if node is None else node.path)
"""


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EM_CAPTURE_STDOUT", "0")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Give a store in a directory, with the user's folder."""
    em.login(f"file://{tmp_path}/store?user=ann")
    current_store().folder("default")
    yield current_store()
    em.logout()


def _files(who: str, content: bytes) -> list[LocalFile]:
    Path(who).mkdir(exist_ok=True)
    for file in ("a", "b"):
        Path(who, file).write_bytes(content)
    return [LocalFile.at(file, f"{who}/{file}") for file in ("a", "b")]


def _whole(store: Store, path: str) -> bytes:
    """Return the content at a path, which is the same in all of its files."""
    folder, _ = download(store, path, "Artifact", f"read-{len(os.listdir())}")
    contents = {file.read_bytes() for file in Path(folder).iterdir()}
    assert len(contents) == 1
    return contents.pop()


def _dying(store: Store, step: int, is_after: bool, action: Callable[[], Any]) -> None:
    """Do something in this process, which dies before or after the step of this number."""
    left = [step]

    def counted(do: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            left[0] -= 1
            if left[0] == 0 and not is_after:
                die()
            done = do(*arguments)
            if left[0] == 0:
                die()
            return done

        return call

    for name in STEPS:
        setattr(store.objects, name, counted(getattr(store.objects, name)))
    action()


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("old", ["nothing", "mine", "theirs"])
def test_killed_at_every_step(store: Store, old: str, is_after: bool) -> None:
    """Whatever the step, readers see what was there before or what is there now; the next upload succeeds."""
    step, codes = 0, []
    while not codes or codes[-1] == -9:
        step += 1
        name = f"data {step}"
        if old != "nothing":
            owner = f"mine {step}" if old == "mine" else "other"
            store.upload(Bundle("Artifact", name, owner, files=_files("old", b"old")), "default", False, "replace")
        bundle = Bundle("Artifact", name, f"mine {step}", files=_files("new", b"new"))

        def upload(bundle: Bundle = bundle) -> object:
            return store.upload(bundle, "default", False, "replace")

        codes.append(run(_dying, store, step, is_after, upload))

        node = store.find(f"/ann/default/{name}")
        if node is not None:
            assert _whole(store, node.path) in (b"old", b"new")
        else:
            assert old == "nothing"
        upload()
        assert _whole(store, f"/ann/default/{name}") == b"new"

    assert codes[-1] == 0
    assert set(codes[:-1]) == {-9}
    assert len(codes) >= 4


def test_killed_in_the_middle_of_a_file(store: Store) -> None:
    """A file that is half there has no name."""
    content = os.urandom(1 << 20)

    def upload() -> None:
        put = store.objects.put

        def half(name: str, chunks: Any) -> None:
            def cut() -> Iterator[bytes]:
                yield content[:1000]
                die()

            put(name, cut())

        store.objects.put = half  # type: ignore[method-assign]
        store.upload(Bundle("Artifact", "data", "data_1", files=_files("new", content)), "default", False, "new")

    assert run(upload) == -9
    assert store.children("default") == []
    assert [store.objects.children(f"content/{name}") for name in store.objects.children("content")] in ([], [[]])


@pytest.mark.parametrize("strategy", ["skip", "error", "new", "replace"])
def test_processes_upload_one_name(store: Store, strategy: str) -> None:
    """Of six processes, as many have the name as the strategy says; each upload is whole."""

    def upload(number: int) -> None:
        bundle = Bundle("Artifact", "data", f"data_{number}", files=_files(f"{number}", b"%d" % number))
        store.upload(bundle, "default", False, strategy)

    codes = run_all(upload, [(number,) for number in range(6)])

    nodes = store.children("default")
    assert len(nodes) == (6 if strategy == "new" else 1)
    assert codes.count(0) == (1 if strategy == "error" else 6)
    for node in nodes:
        assert node.record["alternative_name"] == f"data_{int(_whole(store, node.path))}"


def test_processes_upload_one_run(store: Store) -> None:
    """Several processes that upload the same run leave it whole."""
    made = em.create_run(name="cnn")
    made.log("train", {"loss": 0.5}, step=1)

    def upload(number: int) -> None:
        em.load_run(made.local).upload(conflict_strategy="error")

    codes = run_all(upload, [(number,) for number in range(4)])
    made.finish()

    assert codes == [0] * 4
    (node,) = store.children("default")
    folder, _ = download(store, node.path, "Run", "read")
    assert em.load_run(folder).metrics["train"][0]["value"] == {"loss": 0.5}


class TestS3:
    """The same on servers of S3: processes that share nothing but the store."""

    @pytest.fixture(params=["moto", pytest.param("weed", marks=[pytest.mark.slow, pytest.mark.network])])
    def host(self, request: pytest.FixtureRequest) -> Iterator[str]:
        """Give the URL of a store on each kind of server, with the user's folder."""
        pytest.importorskip("s3fs")
        host = f"s3://{request.getfixturevalue(f'{request.param}_bucket')}/prefix?user=ann"
        em.login(host)
        current_store().folder("default")
        yield host
        em.logout()

    def _start(self, host: str, who: str, strategy: str, step: int = 0) -> subprocess.Popen[str]:
        _files(who, who.encode())
        return start_python("-c", UPLOAD, host, "data", who, strategy, str(step))

    def test_killed_uploads(self, host: str) -> None:
        """Killed before each step of a replacement, what was there stays, and can be replaced all the same."""
        store = current_store()
        for who, step, code, left in (
            ("first", 1, -9, None),
            ("first", 3, -9, None),
            ("first", 0, 0, "first"),
            ("second", 2, -9, "first"),
            ("second", 3, -9, "first"),
            ("second", 4, -9, "second"),
            ("third", 0, 0, "third"),
        ):
            done = ended(self._start(host, who, "replace", step))

            assert done.returncode == code, done.stderr
            node = store.find("/ann/default/data")
            assert (node and node.record["alternative_name"]) == left
            if node is not None:
                assert _whole(store, node.path) == str(left).encode()

    @pytest.mark.parametrize("strategy", ["error", "new", "replace"])
    def test_processes_upload_one_name(self, host: str, strategy: str) -> None:
        """Of four processes, as many have the name as the strategy says; each upload is whole."""
        processes = [self._start(host, f"data_{number}", strategy) for number in range(4)]
        codes = [ended(process).returncode for process in processes]

        nodes = current_store().children("default")
        assert len(nodes) == (4 if strategy == "new" else 1)
        assert codes.count(0) == (1 if strategy == "error" else 4)
        for node in nodes:
            assert _whole(current_store(), node.path).decode() == node.record["alternative_name"]

    def test_run_of_a_program_that_just_ends(self, host: str, tmp_path: Path) -> None:
        """A program that never calls `finish` leaves its run complete, in the store too."""
        script = (
            "import sys\nfrom track import em\nem.login(sys.argv[1])\n"
            "run = em.create_run(name='cnn', auto_upload=True)\n"
            "for step in range(100): run.log('train', {'loss': 0.5}, step=step)\n"
        )
        done = python("-c", script, host)

        folder, _ = download(current_store(), "/ann/default/cnn", "Run", str(tmp_path / "read"))
        found = em.load_run(folder)
        assert (done.returncode, done.stderr) == (0, "")
        assert (found.status, len(found.metrics["train"])) == ("Complete", 100)

    def test_wrong_key(self, host: str, request: pytest.FixtureRequest) -> None:
        """A server that checks keys refuses a wrong one."""
        if "moto" in request.node.name:
            pytest.skip("moto takes any key: SeaweedFS does not")

        with pytest.raises(ValueError, match="Invalid API Key"):
            em.login(host, "testkey:wrong")


@pytest.mark.parametrize(
    ("end", "status"),
    [("", "Complete"), ("raise ValueError('x')", "Failed"), ("sys.exit(0)", "Complete"), ("sys.exit(3)", "Failed")],
)
def test_program_that_just_ends(store: Store, end: str, status: str) -> None:
    """A run that nobody finished ends with its program: failed when an exception was not caught."""
    script = (
        "import sys\nfrom track import em\nem.login(sys.argv[1])\n"
        "def main():\n"
        "    run = em.create_run(name='cnn', auto_upload=True)\n"
        "    run.log('train', {'loss': 0.5}, step=1)\n"
        f"main()\n{end}\n"
    )
    python("-c", script, f"{store.host}?user=ann")

    folder, _ = download(store, "/ann/default/cnn", "Run", "read")
    assert (em.load_run(folder).status, len(em.load_run(folder).metrics["train"])) == (status, 1)


def test_killed_program_leaves_its_run(store: Store) -> None:
    """What was logged is in the files; the run still reads `Running`, and can be gone on with."""

    def train() -> None:
        made = em.create_run(name="cnn")
        for step in range(10):
            made.log("train", {"loss": 0.5}, step=step)
        die()

    assert run(train) == -9

    (folder,) = Path(".em/runs").iterdir()
    loaded = em.load_run(str(folder))
    assert (loaded.status, len(loaded.metrics["train"])) == ("Running", 10)
    loaded.log("train", {"loss": 0.5}, step=10)
    loaded.finish()
    assert (em.load_run(str(folder)).status, len(em.load_run(str(folder)).metrics["train"])) == ("Complete", 11)


def test_forked_children_log_to_one_run(tmp_path: Path) -> None:
    """Workers write items of their parent's run, and do not end it."""
    with em.create_run(name="cnn") as made:
        made.log("train", {"loss": 0.5}, step=-1)

        def work(number: int) -> None:
            for step in range(100):
                made.log("train", {"loss": float(number)}, step=step)

        codes = run_all(work, [(number,) for number in range(4)])
        assert made.status == "Running"

    assert codes == [0] * 4
    assert len(em.load_run(made.local).metrics["train"]) == 401
