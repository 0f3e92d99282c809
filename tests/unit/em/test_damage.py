"""Files of runs and artifacts that were damaged: one error that names the file, and nothing that was logged is lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from track import em
from track.errors import CorruptJournal, FileChanged


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty directory, and leave standard output to pytest."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EM_CAPTURE_STDOUT", "0")


def _truncated(path: Path) -> None:
    os.truncate(path, 0)


def _overwritten(path: Path) -> None:
    path.write_bytes(b"\x00" * path.stat().st_size)


DAMAGE = [_truncated, _overwritten]
FILES = ["metadata.yaml", "index.yaml", "hyperparameters.yaml", "platform.yaml"]


def _run() -> em.Run:
    run = em.create_run(name="cnn", hparams={"lr": 0.1})
    for step in range(3):
        run.log("train", {"loss": 0.5}, step=step)
    return run


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", FILES)
def test_file_of_a_run(name: str, damage: Callable[[Path], None]) -> None:
    """The error names it; every other file stays as it was, and put right it is the same run."""
    run = _run()
    path = Path(run.local, name)
    content = path.read_bytes()
    damage(path)
    before = {other: other.read_bytes() for other in Path(run.local).rglob("*.yaml")}

    with pytest.raises(CorruptJournal, match=name.replace(".", r"\.")):
        em.load_run(run.local)

    assert {other: other.read_bytes() for other in before} == before
    path.write_bytes(content)
    assert len(em.load_run(run.local).metrics["train"]) == 3


def test_other_runs_are_read() -> None:
    """One that is damaged is in nobody's way."""
    broken, well = _run(), _run()
    _truncated(Path(broken.local, "metadata.yaml"))

    assert len(em.load_run(well.local).metrics["train"]) == 3


def test_table_of_contents_that_was_removed() -> None:
    """The files of metrics are found without it, those of types with odd names too, and logged to."""
    run = _run()
    run.log("a/b", {"loss": 0.25}, step=0)
    Path(run.local, "index.yaml").unlink()

    loaded = em.load_run(run.local)
    loaded.log("train", {"loss": 0.5}, step=3)

    found = em.load_run(run.local).metrics
    assert {kind: len(items) for kind, items in found.items()} == {"a/b": 1, "train": 4}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", [*FILES, "metrics/train.yaml"])
def test_file_of_another_user(name: str) -> None:
    """The error names it."""
    run = _run()
    Path(run.local, name).chmod(0)

    with pytest.raises(PermissionError, match=os.path.basename(name)):
        _ = em.load_run(run.local).metrics


@pytest.mark.parametrize("name", [*FILES, "metrics/train.yaml"])
def test_file_that_may_not_be_opened(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system says of a file of another user names it."""
    run = _run()
    real = os.open

    def refuse(path: str, *arguments: int) -> int:
        if str(path).endswith(name):
            raise PermissionError(13, "Permission denied", path)
        return real(path, *arguments)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError, match=os.path.basename(name)):
        _ = em.load_run(run.local).metrics


class TestMetrics:
    """A file of metrics, to which processes append that may be killed."""

    def test_torn_last_item(self) -> None:
        """It is left out, and the next item follows the last whole one."""
        run = _run()
        path = Path(run.local, "metrics", "train.yaml")
        for torn in (b"-", b"- {", b'- {"value": {"loss": 0.5}', b'- {"value": {"lo}ss": 0.5}, "sequence": {"step": 1'):
            with path.open("ab") as file:
                file.write(torn)
            before = len(em.load_run(run.local).metrics["train"])
            em.load_run(run.local).log("train", {"loss": 0.5}, step=9)

            assert len(em.load_run(run.local).metrics["train"]) == before + 1
        assert len(em.load_run(run.local).metrics["train"]) == 7

    def test_item_without_its_newline(self) -> None:
        """It is whole, and stays: another program may end its file so."""
        run = _run()
        path = Path(run.local, "metrics", "train.yaml")
        os.truncate(path, path.stat().st_size - 1)

        before = len(em.load_run(run.local).metrics["train"])
        em.load_run(run.local).log("train", {"loss": 0.5}, step=3)

        assert (before, len(em.load_run(run.local).metrics["train"])) == (3, 4)

    def test_last_line_of_another_program(self) -> None:
        """A file in another style of YAML loses nothing when it is logged to."""
        pytest.importorskip("yaml")
        run = _run()
        path = Path(run.local, "metrics", "train.yaml")
        path.write_text("- value:\n    loss: 0.5\n  sequence:\n    step: 0")

        em.load_run(run.local).log("train", {"loss": 0.25}, step=1)

        found = em.load_run(run.local).metrics["train"]
        assert [(item["value"]["loss"], item["sequence"]["step"]) for item in found] == [(0.5, 0), (0.25, 1)]

    @pytest.mark.parametrize("damage", [b"\x00\x00", b"x", b"[", b"- 7", b"- {7"])
    def test_damage_in_the_middle(self, damage: bytes) -> None:
        """It is an error that names the file, not one item fewer; what is logged on is there when it is mended."""
        pytest.importorskip("yaml")
        run = _run()
        path = Path(run.local, "metrics", "train.yaml")
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(lines[0] + damage + lines[1][len(damage) :] + lines[2])

        loaded = em.load_run(run.local)
        loaded.log("train", {"loss": 0.5}, step=3)
        with pytest.raises(CorruptJournal, match=r"train\.yaml"):
            _ = loaded.metrics

        path.write_bytes(path.read_bytes().replace(damage + lines[1][len(damage) :], lines[1]))
        assert [item["sequence"]["step"] for item in loaded.metrics["train"]] == [0, 1, 2, 3]


class TestArtifacts:
    """The notes of an artifact."""

    @pytest.mark.parametrize("damage", DAMAGE)
    @pytest.mark.parametrize("name", ["metadata.yaml", "objects.yaml"])
    def test_note(self, name: str, damage: Callable[[Path], None]) -> None:
        """The error names it, and the objects stay where they are."""
        Path("x").write_bytes(b"x")
        artifact = em.create_artifact("data")
        artifact.add_file("x")
        damage(Path(artifact.local, ".em", name))

        with pytest.raises(CorruptJournal, match=name.replace(".", r"\.")):
            em.load_artifact(artifact.local)
        assert Path(artifact.local, "x").read_bytes() == b"x"

    def test_line_that_was_not_written_to_its_end(self) -> None:
        """Its object can be added again; the others are there."""
        for name in ("x", "y", "z"):
            Path(name).write_bytes(name.encode())
        artifact = em.create_artifact("data")
        for name in ("x", "y"):
            artifact.add_file(name)
        _cut_line(Path(artifact.local, ".em", "objects.yaml"))

        loaded = em.load_artifact(artifact.local)
        loaded.add_file("z")

        found = em.load_artifact(artifact.local)
        assert [each["path"] for each in found.objects] == ["x", "z"]
        found.add_file("y")
        found.download("out")
        assert sorted(path.name for path in Path("out").iterdir()) == ["x", "y", "z"]

    def test_object_that_was_changed(self) -> None:
        """A pipe or a folder in place of an object is no content, and nobody waits for it."""
        Path("x").write_bytes(b"")
        artifact = em.create_artifact("data")
        artifact.add_file("x")
        Path(artifact.local, "x").unlink()
        os.mkfifo(Path(artifact.local, "x"))

        with pytest.raises(FileChanged, match="'x' was changed"):
            _ = artifact.digest


def _cut_line(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 5)
