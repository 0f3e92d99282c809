"""Events that a writer has numbered: stored once, all of a batch or nothing of it, however they come."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from tests.children import room_for, run
from tests.reopening import reopened
from track.errors import BackendUnavailable, InvalidEvent
from track.events import Batch, Event, MetricsLogged, TrialCreated, decode_record, encode, encode_batch
from track.persistence.ephemeral import EphemeralProtocol
from track.persistence.local import FileProtocol
from track.persistence.sqlite import SqliteProtocol
from track.structure import Trial

CREATED = TrialCreated("ab", 0, 1.0)


def points(*numbers: int) -> list[Event]:
    """Return an event for each number."""
    return [MetricsLogged("ab_0", {"n": float(number)}, 2.0) for number in numbers]


def values(protocol: Any) -> list[float]:
    """Return the numbers that are stored, each as often as it is."""
    (trial,) = protocol.fetch_trials()
    return list(trial.metrics["n"].val) if "n" in trial.metrics else []


@pytest.fixture(params=["ephemeral", "file", "file in memory", "reopened", "saved", "sqlite"])
def protocol(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Give a store that has a trial."""
    made: Any = EphemeralProtocol() if request.param == "ephemeral" else FileProtocol(f"file:{tmp_path}/runs.json")
    if request.param == "file in memory":
        made = FileProtocol("file:")
    if request.param == "sqlite":
        made = SqliteProtocol(f"sqlite:{tmp_path}/runs.db")
    made.receive("w", 0, [CREATED])
    made.kind = request.param
    return made


def look(protocol: Any) -> Any:
    """Return what a reader sees: the same object, or one that reads the files."""
    if protocol.kind == "saved":
        protocol.commit()
    return reopened(protocol) if protocol.kind in ("reopened", "saved") else protocol


def test_batch_sent_twice(protocol: Any) -> None:
    """A batch that comes again changes nothing."""
    for _ in range(2):
        protocol.receive("w", 1, points(1, 2))

    assert values(look(protocol)) == [1, 2]
    assert look(protocol).last("w") == 2


def test_batches_that_overlap(protocol: Any) -> None:
    """Of a batch that was stored in part, the rest is stored; an old one after a new one is nothing new."""
    protocol.receive("w", 1, points(1, 2))
    protocol.receive("w", 2, points(2, 3))
    protocol.receive("w", 1, points(1))

    assert values(look(protocol)) == [1, 2, 3]
    assert look(protocol).last("w") == 3


def test_numbers_that_were_left_out(protocol: Any) -> None:
    """Numbers that never come, those of events that were refused, are no obstacle."""
    protocol.receive("w", 5, points(5))
    protocol.receive("w", 9, points(9))

    assert values(look(protocol)) == [5, 9]


def test_writers_do_not_know_each_other(protocol: Any) -> None:
    """Each writer has numbers of its own, and one that was never heard of has none."""
    protocol.receive("v", 1, points(1))
    protocol.receive("w", 1, points(2))

    assert values(look(protocol)) == [1, 2]
    assert [look(protocol).last(name) for name in "vwx"] == [1, 1, -1]


def test_saving_keeps_the_numbers(tmp_path: Path) -> None:
    """The JSON file alone knows what each writer has sent, also when its journal was cut."""
    protocol = FileProtocol(f"file:{tmp_path}/runs.json")
    protocol.receive("w", 0, [CREATED, *points(*range(1, 2000))])
    protocol.commit()
    os.unlink(tmp_path / "runs.json.journal")

    again = reopened(protocol)
    again.receive("w", 1990, points(*range(1990, 2010)))

    assert values(again) == list(range(1, 2010))


@pytest.mark.parametrize("left", [1, 40, 100, -30, -2, -1])
def test_batch_that_was_torn_is_not_there(tmp_path: Path, left: int) -> None:
    """Wherever the write of a batch was cut off, none of it is stored, and all of it when it is sent again."""
    protocol = FileProtocol(f"file:{tmp_path}/runs.json")
    protocol.receive("w", 0, [CREATED])
    with (tmp_path / "runs.json.journal").open("ab") as file:
        file.write(encode_batch("w", 1, b"".join(map(encode, points(1, 2, 3))))[:left])
    torn = reopened(protocol)

    nothing = (values(torn), torn.last("w"))
    torn.receive("w", 1, points(1, 2, 3))

    assert nothing == ([], 0)
    assert (values(torn), torn.last("w")) == ([1, 2, 3], 3)
    assert values(reopened(torn)) == [1, 2, 3]


def test_batch_after_a_torn_one(tmp_path: Path) -> None:
    """A batch that is glued to the torn end of another is found."""
    path = tmp_path / "runs.json"
    protocol = FileProtocol(f"file:{path}")
    protocol.receive("w", 0, [CREATED])
    line = encode_batch("w", 1, b"".join(map(encode, points(1, 2))))
    journal = path.with_name("runs.json.journal")

    with journal.open("ab") as file:
        file.write(line[: len(line) // 2] + line)

    assert values(reopened(protocol)) == [1, 2]


def test_batch_beside_another_process(tmp_path: Path) -> None:
    """What others write to the file between batches is seen, in the order of the file."""
    # Of another option: a store of its own in this process, too.
    protocol, other = (FileProtocol(f"file:{tmp_path}/runs.json{option}") for option in ("", "?lock=always"))
    protocol.receive("w", 0, [CREATED])

    for number in range(0, 6, 2):
        protocol.receive("w", number + 1, points(number))
        other.apply(*points(number + 1))

    assert values(protocol) == values(reopened(protocol)) == list(range(6))


def _refused(protocol: FileProtocol, path: Path, room: int, reason: str, batch: list[Event]) -> None:
    """Receive a batch for which a limit on the size of files leaves no room, and receive it again without one."""
    with room_for(path, room), pytest.raises(BackendUnavailable, match=reason):
        protocol.receive("w", 1, batch)
    assert values(protocol) == values(reopened(protocol)) == []
    protocol.receive("w", 1, batch)
    assert protocol.unsaved() == 0


@pytest.mark.parametrize(("room", "reason"), [(0, "File too large"), (100, "only a part")])
def test_batch_that_cannot_be_written(tmp_path: Path, room: int, reason: str) -> None:
    """A batch for which there is no room raises, and nothing of it waits or is stored: it is sent again."""
    protocol = FileProtocol(f"file:{tmp_path}/runs.json")
    protocol.receive("w", 0, [CREATED])

    code = run(_refused, protocol, tmp_path / "runs.json.journal", room, reason, points(1, 2))

    assert code == 0
    assert values(protocol) == values(reopened(protocol)) == [1, 2]


def test_line_of_a_batch(caplog: pytest.LogCaptureFixture) -> None:
    """A batch is one line of JSON, which people can read."""
    line = encode_batch("w", 3, b"".join(map(encode, [CREATED, *points(1)])))

    assert decode_record(line) == Batch("w", 3, [CREATED, *points(1)])
    assert line.count(b"\n") == 1
    with pytest.raises(InvalidEvent):
        decode_record(encode_batch("w", 3, b'{"event":"batch","writer":"v","first":0,"events":[]}\n'))


def test_event_that_makes_no_sense_in_a_batch(caplog: pytest.LogCaptureFixture) -> None:
    """An event of a trial that is not there is reported, and the others of its batch are kept."""
    protocol = EphemeralProtocol()

    with caplog.at_level(logging.WARNING):
        protocol.receive("w", 0, [CREATED, MetricsLogged("xx_0", {"n": 1.0}, 1.0), *points(2)])

    assert values(protocol) == [2]
    assert "xx_0" in caplog.text


@pytest.mark.parametrize("kind", ["ephemeral", "file"])
def test_number_of_a_trial_that_is_gone_is_counted(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A store without delivery counts what is about a trial that it does not know any more, and says it once."""
    protocol: Any = EphemeralProtocol() if kind == "ephemeral" else FileProtocol(f"file:{tmp_path}/runs.json")
    protocol.receive("w", 0, [CREATED])
    protocol.get_trial(Trial("ab"))
    with protocol.reading() as state:
        state._trials.clear()

    protocol.apply(*points(1, 2, 3))
    protocol.fetch_trials()

    assert protocol.unsaved() == 3
    assert "3 are about trials that are not in it" in protocol.remedy
    assert caplog.text.count("ab_0") == 1
