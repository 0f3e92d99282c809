"""Event files of TensorBoard as trials."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import track
from tests.unit.importing.written import event, field, hparams, image, record, scalar, tfevents
from track.artifacts import artifacts
from track.importing import import_runs
from track.importing.crc32c import crc32c

PNG = b"\x89PNG\r\n\x1a\n-pixels"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A folder with two runs."""
    events = [
        event(1700000000.5 + step, step, scalar("loss", 1 / (step + 1)), scalar("acc", step)) for step in range(5)
    ]
    tfevents(tmp_path / "logs" / "one", event(1700000000.1, 0, hparams(lr=0.1, api_key="abc")), *events)
    tfevents(tmp_path / "logs" / "two", event(1700000001.0, 3, image("sample", PNG)))
    return tmp_path / "logs"


def test_scalars_images_and_hyperparameters_are_those_of_the_file(logs: Path, tmp_path: Path) -> None:
    """Steps, times, and numbers of four bytes exactly as they are; an image is an artifact with its step."""
    store = f"file:{tmp_path}/report.json"

    report = import_runs("tensorboard", logs, store)

    one, two = (track.fetch(store, {"name": name})[0] for name in ("one", "two"))
    third = struct.unpack("<f", struct.pack("<f", 1 / 3))[0]
    assert one.metrics["loss"] == {0: 1.0, 1: 0.5, 2: third, 3: 0.25, 4: pytest.approx(0.2)}
    assert list(one.metrics["loss"].points.times()) == [1700000000.5 + step for step in range(5)]
    assert one.parameters == {"lr": 0.1, "api_key": "***"}
    assert (one.timestamps["created"], one.timestamps["finished"]) == (1700000000.0, 1700000004.5)
    assert (one.project_id, str(one.status)) == ("logs", "completed")
    found = artifacts(store, {"uid": two.uid})
    assert [(one.name, one.step, one.read_bytes()) for one in found] == [("sample", 3, PNG)]
    assert report.taken["points"] == 10
    assert {one.kind for one in report.left} == {"status", "parameters"}


def test_a_torn_file_is_read_up_to_where_it_ends(logs: Path, tmp_path: Path) -> None:
    """A killed program leaves half of a record: that is said, and is no reason to call the import incomplete."""
    path = next((logs / "one").iterdir())
    path.write_bytes(path.read_bytes()[:-7])

    report = import_runs("tensorboard", logs / "one", f"file:{tmp_path}/report.json")

    assert report.taken["points"] == 8
    assert any("middle of a record" in one.reason for one in report.left)


def test_a_damaged_record_is_left_out_and_what_follows_is_taken(logs: Path, tmp_path: Path) -> None:
    """The checksum says which record it is."""
    path = next((logs / "one").iterdir())
    content = bytearray(path.read_bytes())
    content[len(content) - 20] ^= 1
    path.write_bytes(bytes(content) + record(event(1700000009.0, 9, scalar("loss", 4.0))))

    report = import_runs("tensorboard", logs / "one", f"file:{tmp_path}/report.json")

    found = track.fetch(f"file:{tmp_path}/report.json")[0]
    assert list(found.metrics["loss"]) == [0, 1, 2, 3, 9]
    assert report.damages == 1
    assert not report.is_complete


def test_a_length_that_is_not_there_takes_no_memory(tmp_path: Path) -> None:
    """A record that claims to have a terabyte ends the file."""
    path = tfevents(tmp_path / "logs", event(1700000000.5, 0, scalar("loss", 1.0)))
    head = struct.pack("<Q", 1 << 40)
    from track.importing.crc32c import masked_crc

    path.write_bytes(path.read_bytes() + head + struct.pack("<I", masked_crc(head)) + b"x" * 100)

    report = import_runs("tensorboard", tmp_path / "logs", f"file:{tmp_path}/report.json")

    assert report.taken["points"] == 1


def test_a_scalar_as_a_tensor_is_a_number(tmp_path: Path) -> None:
    """As TensorFlow 2 and torch write it: with the name of a plugin, or numbers of a tensor."""
    plugin = field(9, field(1, field(1, "scalars")))
    tensor = field(8, field(1, 1) + field(4, struct.pack("<f", 0.5)))
    other = field(8, field(1, 2) + field(6, struct.pack("<d", 0.25)))
    values = (field(1, "loss") + tensor + plugin, field(1, "acc") + other + plugin)
    tfevents(tmp_path / "logs", event(1700000000.5, 7, *values))

    import_runs("tensorboard", tmp_path / "logs", f"file:{tmp_path}/report.json")

    found = track.fetch(f"file:{tmp_path}/report.json")[0]
    assert (found.metrics["loss"], found.metrics["acc"]) == ({7: 0.5}, {7: 0.25})


def test_the_checksum_is_that_of_other_programs() -> None:
    """Known sums of odd and even lengths (RFC 3720)."""
    assert [crc32c(data) for data in (bytes(32), b"\xff" * 32, bytes(range(32)), b"a")] == [
        0x8A9136AA,
        0x62A8AB43,
        0x46DD794E,
        0xC1D04330,
    ]
