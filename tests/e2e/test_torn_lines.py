"""Damaged files: what is readable is kept, what is not ours is left alone."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from tests.children import die, run
from tests.e2e.processes import attach, start, stored
from track import TrackClient, fetch
from track.errors import CorruptJournal


def _log_and_die(path: Path, points: int, is_saved: bool) -> None:
    trial = start(path)
    for number in range(points):
        trial.log_metrics(value=number)
    if is_saved:
        trial.save()
    die()


def _write(path: Path, points: int = 3, is_saved: bool = False) -> str:
    """Log in another process, which is killed, and return the trial's uid."""
    assert run(_log_and_die, path, points, is_saved) == -9
    return stored(path)[0].uid


def _values(path: Path) -> list[float]:
    (trial,) = stored(path)
    return list(trial.metrics["value"].val)


def _journal(path: Path) -> Path:
    return path.with_name(path.name + ".journal")


@pytest.mark.parametrize("cut", [1, 2, 10, 40])
def test_torn_last_line_does_not_exist(tmp_path: Path, cut: int) -> None:
    """A line that lost its end is passed over, and the next writer's lines are whole."""
    path = tmp_path / "runs.json"
    uid = _write(path)
    os.truncate(_journal(path), _journal(path).stat().st_size - cut)

    before = _values(path)
    attach(path, uid).log_metrics(value=9)

    assert (before, _values(path)) == ([0, 1], [0, 1, 9])


def test_corrupt_line_is_reported_with_its_position(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A broken line in the middle is named by its byte, and those after it are kept."""
    path = tmp_path / "runs.json"
    _write(path)
    lines = _journal(path).read_bytes().splitlines(keepends=True)
    lines[-2] = b"\r" + lines[-2].replace(b":", b";")
    _journal(path).write_bytes(b"".join(lines))

    with caplog.at_level(logging.WARNING):
        values = _values(path)

    assert values == [0, 2]
    (message,) = [record.getMessage() for record in caplog.records]
    assert f"byte {sum(map(len, lines[:-2]))} " in message


def test_line_glued_to_a_torn_one_is_rescued(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A line written right behind a torn one by a process that did not notice is not lost."""
    path = tmp_path / "runs.json"
    _write(path)
    lines = _journal(path).read_bytes().splitlines(keepends=True)
    lines[-2] = lines[-2][:30]
    _journal(path).write_bytes(b"".join(lines))

    values = _values(path)

    assert (values, caplog.records) == ([0, 2], [])


def test_event_that_cannot_be_applied_hides_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A line that is JSON, and an event, but makes no sense, is reported and passed over."""
    path = tmp_path / "runs.json"
    uid = _write(path)
    nonsense = f'{{"event":"fields_merged","kind":"trial","uid":"{uid}","field":"uid","values":{{"a":1}},"at":1}}\n'
    strange = f'{{"event":"metrics","trial":"{uid}","values":{{"value":"text"}},"at":1}}\n'
    with _journal(path).open("a") as file:
        file.write(nonsense + strange)
    attach(path, uid).log_metrics(value=9)

    values = _values(path)

    assert [value for value in values if value != "text"] == [0, 1, 2, 9]
    assert caplog.records


@pytest.mark.parametrize(
    "content",
    [b'{"event":"journal","format":99,"id":"x"}\n', b"these are\nnot events\n", b"\x89PNG\r\n\x1a\n", b"\xff" * 5000],
)
def test_foreign_journal_is_left_alone(tmp_path: Path, content: bytes) -> None:
    """A journal of a newer version, or no journal at all, is refused by name and not touched."""
    path = tmp_path / "runs.json"
    _journal(path).write_bytes(content)

    with pytest.raises(CorruptJournal, match=r"runs\.json\.journal .*(upgrade track|move it away)"):
        start(path)

    assert _journal(path).read_bytes() == content
    assert not path.exists()


@pytest.mark.parametrize("content", [b'{"format":99,"projects":[]}', b"\x89PNG\r\n\x1a\n", b"hello", b'{"format":"x"}'])
def test_foreign_snapshot_is_left_alone(tmp_path: Path, content: bytes) -> None:
    """A file of a newer version, or no track file at all, is refused by name and not touched."""
    path = tmp_path / "runs.json"
    path.write_bytes(content)

    with pytest.raises(CorruptJournal, match=r"runs\.json .*(upgrade track|move it away)"):
        start(path)

    assert path.read_bytes() == content
    assert not _journal(path).exists()


def test_empty_files_are_a_new_store(tmp_path: Path) -> None:
    """Files without a byte, as a loss of power may leave them, are begun again."""
    path = tmp_path / "runs.json"
    path.touch()
    _journal(path).touch()

    _write(path)

    assert _values(path) == [0, 1, 2]


def test_journal_that_lost_its_end_is_gone_on_with(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After a loss of power the snapshot may hold more than the journal: what is logged next is found."""
    path = tmp_path / "runs.json"
    uid = _write(path, 5, is_saved=True)
    os.truncate(_journal(path), _journal(path).stat().st_size - 200)

    attach(path, uid).log_metrics(value=9)

    assert _values(path) == [0, 1, 2, 3, 4, 9]
    assert "lost its end" in caplog.text


def test_fetch_creates_nothing(tmp_path: Path) -> None:
    """Reading a store leaves no file behind, not even a lock."""
    path = tmp_path / "runs.json"
    _write(path)
    (tmp_path / "runs.json.lock").unlink()
    before = sorted(os.listdir(tmp_path))

    trials = fetch(f"file:{path}")

    assert len(trials) == 1
    assert sorted(os.listdir(tmp_path)) == before
    assert TrackClient(f"file:{tmp_path}/other.json").logger is None
    assert sorted(os.listdir(tmp_path)) == before


def test_json_of_another_program_is_left_as_it_is(tmp_path: Path) -> None:
    """A JSON object that track did not write is refused, and not touched."""
    path = tmp_path / "config.json"
    path.write_text('{"lr": 0.1}')

    with pytest.raises(CorruptJournal, match="no track file"):
        TrackClient(f"file:{path}").new_trial(parameters={})

    assert path.read_text() == '{"lr": 0.1}'
