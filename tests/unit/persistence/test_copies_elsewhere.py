"""A copy on another machine, where nobody can look for the original, is a store of its own once it is written to."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from track.errors import BackendUnavailable
from track.persistence import get_protocol
from track.persistence.contract.identity import is_elsewhere
from track.persistence.file import FileStore
from track.structure import Project
from track.utils.mounts import keeps_numbers, numbers_of

SCHEMES = ("file", "pickled", "sqlite")
Copy = Callable[[Path, Path], object]


class Machines:
    """Folders that are each the one of a machine when it is its turn: no machine sees what the others have.

    Attributes
    ----------
    data: Path
        The path of the folder, the same on each machine.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = root / "data"

    def folder(self, name: str) -> Path:
        """Return the folder of a machine while it is not its turn."""
        return self.root / name

    @contextmanager
    def on(self, name: str) -> Iterator[Path]:
        """Give the folder, as a machine sees it."""
        self.folder(name).mkdir(exist_ok=True)
        self.folder(name).rename(self.data)
        try:
            yield self.data
        finally:
            self.data.rename(self.folder(name))

    def write(self, name: str, scheme: str, project: str) -> str:
        """Write to the store of a machine, and return its id."""
        with self.on(name) as folder, closing(get_protocol(f"{scheme}:{folder}/runs")) as protocol:
            protocol.new_project(Project(name=project))
            return protocol.identity()

    def former(self, name: str, scheme: str) -> list[str]:
        """Return the ids that the store of a machine had before."""
        with self.on(name) as folder, closing(get_protocol(f"{scheme}:{folder}/runs")) as protocol:
            return protocol.former_identities()


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    """Give machines, and keep spills in a folder of the test."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    return Machines(tmp_path)


def _alone(source: Path, target: Path) -> None:
    target.mkdir()
    shutil.copy(source / "runs", target / "runs")


def _over_what_was_there(source: Path, target: Path) -> None:
    shutil.copytree(source, target)
    # A second time, over the first.
    shutil.copytree(source, target, dirs_exist_ok=True)


def _by_tar(source: Path, target: Path) -> None:
    shutil.unpack_archive(shutil.make_archive(f"{target}", "tar", source), target)


def _by_git(source: Path, target: Path) -> None:
    git = ["git", "-c", "user.name=ann", "-c", "user.email=ann@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "runs"], ["commit", "-qm", "runs"]):
        subprocess.run([*git, *command], cwd=source, check=True, timeout=60)
    subprocess.run([*git, "clone", "-q", source, target], check=True, timeout=60)


COPIES: dict[str, Copy] = {
    "all of it": shutil.copytree,
    "the file alone": _alone,
    "cp -a": lambda source, target: subprocess.run(["cp", "-a", source, target], check=True, timeout=60),
    "again, over the copy": _over_what_was_there,
    "tar": _by_tar,
    "git": _by_git,
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_copy_on_another_machine_is_a_store_of_its_own(scheme: str, copy: Copy, machines: Machines) -> None:
    """However it was copied: at the first write it gets an id, once, and the original, which nobody sees, keeps its."""
    identity = machines.write("one", scheme, "digits")
    copy(machines.folder("one"), machines.folder("two"))

    copied = machines.write("two", scheme, "faces")

    assert copied != identity
    assert machines.former("two", scheme) == [identity]
    assert machines.write("two", scheme, "birds") == copied
    assert machines.write("one", scheme, "birds") == identity


@pytest.mark.parametrize("scheme", SCHEMES)
def test_copy_on_another_machine_that_is_only_read_keeps_its_id(scheme: str, machines: Machines) -> None:
    """To read changes nothing, and writes nothing."""
    identity = machines.write("one", scheme, "digits")
    shutil.copytree(machines.folder("one"), machines.folder("two"))
    before = (machines.folder("two") / "runs").read_bytes()

    with machines.on("two") as folder, closing(get_protocol(f"{scheme}:{folder}/runs")) as protocol:
        assert protocol.identity() == identity
        assert [project.name for project in protocol.fetch_projects()] == ["digits"]

    assert (machines.folder("two") / "runs").read_bytes() == before


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_comes_back_over_the_original_is_a_store_of_its_own(scheme: str, machines: Machines) -> None:
    """A copy that was gone on with elsewhere, and is brought back, is neither of the two that there were."""
    first = machines.write("one", scheme, "digits")
    shutil.copytree(machines.folder("one"), machines.folder("two"))
    second = machines.write("two", scheme, "faces")
    shutil.rmtree(machines.folder("one"))
    shutil.copytree(machines.folder("two"), machines.folder("one"))

    third = machines.write("one", scheme, "birds")

    assert len({first, second, third}) == 3
    assert machines.former("one", scheme) == [first, second]
    assert machines.write("two", scheme, "cars") == second


@pytest.mark.parametrize("scheme", SCHEMES)
def test_file_that_is_moved_alone_is_the_same_store(scheme: str, machines: Machines) -> None:
    """A rename within a file system is no copy, whatever stays behind."""
    identity = machines.write("one", scheme, "digits")
    machines.folder("two").mkdir()
    (machines.folder("one") / "runs").rename(machines.folder("two") / "runs")
    shutil.rmtree(machines.folder("one"))

    assert machines.write("two", scheme, "faces") == identity
    assert machines.write("two", scheme, "birds") == identity


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("put", [shutil.copy, os.replace], ids=["cp", "mv"])
def test_backup_put_back_in_place_is_the_same_store(
    scheme: str, put: Callable[[Path, Path], object], machines: Machines
) -> None:
    """A backup from anywhere, over the store or where it was, is that store."""
    identity = machines.write("one", scheme, "digits")
    shutil.copy(machines.folder("one") / "runs", machines.root / "backup")
    machines.write("one", scheme, "faces")
    put(machines.root / "backup", machines.folder("one") / "runs")

    assert machines.write("one", scheme, "birds") == identity


@pytest.mark.parametrize("scheme", SCHEMES)
def test_file_with_two_names_is_one_store(scheme: str, machines: Machines) -> None:
    """A hard link to the file of a store that is gone from its first place is that store."""
    identity = machines.write("one", scheme, "digits")
    machines.folder("two").mkdir()
    os.link(machines.folder("one") / "runs", machines.folder("two") / "runs")
    shutil.rmtree(machines.folder("one"))

    assert machines.write("two", scheme, "faces") == identity


def test_copy_of_a_journal_alone_on_another_machine_is_a_store_of_its_own(machines: Machines) -> None:
    """Of a run that was killed early there is a journal only: its copy is told from it, and a rename is no copy."""
    with machines.on("one") as folder:
        store = FileStore(f"{folder}/runs", 1.0)
        store.start_writing()
        identity = store.identity()
    shutil.copytree(machines.folder("one"), machines.folder("two"))
    machines.folder("three").mkdir()
    (machines.folder("one") / "runs.journal").rename(machines.folder("three") / "runs.journal")

    assert machines.write("two", "file", "digits") != identity
    assert machines.write("three", "file", "digits") == identity


def test_copy_with_a_journal_has_all_of_it(machines: Machines) -> None:
    """What a killed run has left in the journal is in the copy, and the journal of the original is its own."""
    machines.write("one", "file", "digits")
    with machines.on("one") as folder:
        store = FileStore(f"{folder}/runs", 1.0)
        store.start_writing()
        journal = (folder / "runs.journal").read_bytes()
    shutil.copytree(machines.folder("one"), machines.folder("two"))
    line = b'{"event":"project_created","at":1.0,"uid":"faces","name":"faces"}\n'
    (machines.folder("two") / "runs.journal").write_bytes(journal + line)

    machines.write("two", "file", "birds")

    with machines.on("two") as folder, closing(get_protocol(f"file:{folder}/runs")) as protocol:
        assert {project.name for project in protocol.fetch_projects()} == {"digits", "faces", "birds"}


def test_copy_that_cannot_be_written_yet_becomes_a_store_of_its_own_later(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While there is no room for its new id a copy is what it was; with room, what is logged then is in it."""
    identity = machines.write("one", "file", "digits")
    shutil.copytree(machines.folder("one"), machines.folder("two"))
    with machines.on("two") as folder, closing(get_protocol(f"file:{folder}/runs")) as protocol:
        with monkeypatch.context() as full:
            full.setattr("track.persistence.file.folding.replace_file", _refuse)
            with pytest.raises(BackendUnavailable):
                protocol.new_project(Project(name="faces"))
            assert protocol.identity() == identity

        protocol.new_project(Project(name="faces"))
        protocol.new_project(Project(name="birds"))

    assert machines.former("two", "file") == [identity]
    with machines.on("two") as folder, closing(get_protocol(f"file:{folder}/runs")) as protocol:
        assert {project.name for project in protocol.fetch_projects()} == {"digits", "faces", "birds"}


def _refuse(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("scheme", ["file", "pickled"])
def test_store_of_before_stays_what_it_is(scheme: str, machines: Machines) -> None:
    """A file that says nothing of where it was written keeps its id wherever it is, and says so from then on."""
    identity = machines.write("one", scheme, "digits")
    path = machines.folder("one") / "runs"
    document = json.loads(path.read_text())
    del document["journal"]["origin"]
    shutil.rmtree(machines.folder("one"))
    machines.folder("one").mkdir()
    path.write_text(json.dumps(document))

    assert machines.write("one", scheme, "faces") == identity
    assert json.loads(path.read_text())["journal"]["origin"].keys() >= {"folder", "snapshot"}


def test_nothing_is_said_of_files_whose_numbers_do_not_stay(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a file system makes numbers up, a store keeps its id, and leaves no numbers for others to compare."""
    monkeypatch.setattr("track.persistence.file.store.file_system_of", lambda path: "vfat")
    identity = machines.write("one", "file", "digits")
    shutil.copytree(machines.folder("one"), machines.folder("two"))

    assert machines.write("two", "file", "faces") == identity
    assert "origin" not in json.loads((machines.folder("one") / "runs").read_text())["journal"]


@pytest.mark.parametrize(
    ("kind", "is_kept"),
    [
        *((kind, True) for kind in ("ext4", "xfs", "btrfs", "nfs4", "lustre", "overlay", "")),
        *((kind, False) for kind in ("vfat", "exfat", "fuse.sshfs", "fuse", "9p", "cifs", "virtiofs", "something-new")),
    ],
)
def test_numbers_are_trusted_where_they_stay(kind: str, is_kept: bool) -> None:
    """Known file systems keep the number of a file, also seen from another machine; others may make it up."""
    assert keeps_numbers(kind) is is_kept


def test_root_of_a_file_system_tells_nothing() -> None:
    """Every disk has the same number for its root, so it says nothing of which disk it is."""
    assert numbers_of("/", file="/proc/none") == {}


def test_numbers_tell_only_what_both_have() -> None:
    """What is known on one side only says nothing, and one number that stays is enough."""
    assert is_elsewhere({"folder": "1", "lock": "2"}, {"folder": "3", "lock": "4"})
    assert not is_elsewhere({"folder": "1", "lock": "2"}, {"folder": "3", "lock": "2"})
    assert not is_elsewhere({"lock": "2"}, {"folder": "3"})
    assert not is_elsewhere({}, {"folder": "3"})
