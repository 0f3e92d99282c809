"""Summaries: what is written for TensorBoard, under which names and steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from track import TrackClient
from track.errors import InvalidSpec, MissingExtra
from track.monitor import Monitor, TensorboardLogger, TorchMonitor
from track.monitor import tensorboard as module

numpy = pytest.importorskip("numpy")


class Writer:
    """Stands for a writer of summaries: keeps what it is given."""

    def __init__(self, folder: str, flush_secs: int) -> None:
        self.folder = folder
        self.written: list[tuple[str, str, Any, int]] = []
        self.flushes = 0

    def flush(self) -> None:
        self.flushes += 1

    def __getattr__(self, name: str) -> Callable[..., None]:
        def add(tag: str, *values: Any, global_step: int, **options: Any) -> None:
            self.written.append((name, tag, values[0], global_step))

        return add


@pytest.fixture
def writers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Writer]:
    """Give the writers that were made, by folder."""
    made: dict[str, Writer] = {}
    monkeypatch.setattr(module, "_writers", made)
    monkeypatch.setattr(module, "writer_kind", lambda: Writer)
    return made


def test_names_of_summaries(tmp_path: Path, writers: dict[str, Writer]) -> None:
    """A dictionary is one a key, a list one an index, None none; the prefix stays without the dictionary's name."""
    m = TorchMonitor(tmp_path, sca=["^z$|^a$|^none$@2s", "^z$@2s"], sca_pref=["", "p_"], sca_prep=[True, False])
    z, a, none = {"x": 5, "y": numpy.array([1.0, 3.0])}, [1, 2], None  # noqa: F841

    for _ in m(range(2)):
        pass

    (writer,) = writers.values()
    assert writer.written == [
        ("add_scalar", "z_x", 5, 2), ("add_scalar", "z_y", 2.0, 2), ("add_scalar", "a_0", 1, 2),
        ("add_scalar", "a_1", 2, 2), ("add_scalar", "p_x", 5, 2), ("add_scalar", "p_y", 2.0, 2),
    ]  # fmt: skip
    assert writer.flushes
    assert writer.folder == str(tmp_path / "summaries")


def test_every_type_is_written(tmp_path: Path, writers: dict[str, Writer]) -> None:
    """Each option of the original calls the writer's method; `fn` comes first, one for each."""
    types = {"img": "image", "hist": "histogram", "fig": "figure", "txt": "text", "vid": "video"}
    options: dict[str, Any] = dict.fromkeys(types, "^x$@1s")
    m = TorchMonitor(tmp_path, **options, txt_fn=lambda x: f"mean {x.mean()}")

    def train() -> None:
        x = numpy.ones((2, 3, 4, 4))  # noqa: F841
        for _ in m(range(1)):
            pass

    train()

    (writer,) = writers.values()
    found = {kind: value for kind, _, value, _ in writer.written}
    assert {*found} == {f"add_{kind}" for kind in types.values()}
    assert found["add_text"] == "mean 1.0"
    assert found["add_image"].shape == (3, 8, 14)


def test_an_image_is_made_of_a_batch() -> None:
    """Rows of `nrow`, padded; each scaled for itself, or by a range; one image is itself; grey is three channels."""
    batch = numpy.zeros((3, 1, 2, 2))
    batch[1] = [[0, 10], [5, 10]]

    made = TensorboardLogger("image", "x", nrow=2, padding=1, pad_value=0.5).make_compatible(batch)
    ranged = TensorboardLogger("image", "x", range=(0, 20)).make_compatible(batch[1])

    assert made.shape == (3, 7, 7)
    assert made[0, 1:3, 4:6].tolist() == [[0, 1], [0.5, 1]]
    assert made[0, 0, 0] == 0.5
    assert ranged[0].tolist() == [[0, 0.5], [0.25, 0.5]]


def test_a_value_that_is_none_for_its_type_stops_nothing(
    tmp_path: Path, writers: dict[str, Writer], caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, and the others are written."""
    m = TorchMonitor(tmp_path, sca="^(x|y)$@1s", img="^x$@1s")
    x, y = "text", 1  # noqa: F841

    for _ in m(range(3)):
        pass

    assert [tag for _, tag, _, _ in writers[str(tmp_path / "summaries")].written] == ["y"] * 3
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["x is no image", "x is no scalar"]


def test_scalars_are_metrics_of_the_trial(tmp_path: Path, writers: dict[str, Writer]) -> None:
    """What TensorBoard shows, the trial has, too; without a directory the trial alone."""
    trial = TrackClient("ephemeral:").new_trial(parameters={})
    m = TorchMonitor(tmp_path, sca="^z$@1s", trial=trial)
    z = {"loss": 0.5}  # noqa: F841

    for _ in m(range(2)):
        pass

    assert trial.trial.metrics["z_loss"] == {1: 0.5, 2: 0.5}


def test_without_a_directory_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is written into the folder where the program happens to be."""
    m = Monitor(hooks=[TensorboardLogger("scalar", "^x$@1s")])

    for x in m(range(3)):  # noqa: B007
        pass

    assert ["no summary is written" in record.getMessage() for record in caplog.records] == [True]


def test_a_type_that_does_not_exist_is_refused() -> None:
    """The error names those there are."""
    with pytest.raises(NotImplementedError, match="there are image, scalar") as caught:
        TensorboardLogger("sound", "x@1s")
    assert isinstance(caught.value, InvalidSpec)


def test_without_a_writer_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tensorboardX is not installed, the extra is named."""
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)

    with pytest.raises(MissingExtra, match=r"\[tensorboard\]"):
        module.writer_kind()


def test_tensorboard_reads_what_is_written(tmp_path: Path) -> None:
    """With the real writer, and TensorBoard's own reader: one file, the steps, the names."""
    pytest.importorskip("tensorboardX")
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    m = TorchMonitor(tmp_path, sca="^loss$@5s", img="^x$@10s", hist="^x$@10s", txt="^name$@10s")

    def train() -> None:
        x, name = numpy.ones((1, 3, 4, 4)), "text"  # noqa: F841
        for step in m(range(10)):
            loss = step / 10  # noqa: F841

    train()
    module._writers.pop(str((tmp_path / "summaries").resolve())).close()

    events = reader.EventAccumulator(str(tmp_path / "summaries"))
    events.Reload()
    assert [(one.step, round(one.value, 3)) for one in events.Scalars("loss")] == [(5, 0.4), (10, 0.9)]
    assert len([*(tmp_path / "summaries").iterdir()]) == 1
    assert events.Tags()["images"] == ["x"]
    assert events.Tags()["histograms"] == ["x"]
