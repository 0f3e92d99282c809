"""The clock of a store, as this machine was told its time."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from track.utils.clocks import DiskClock, StoreClock


@pytest.mark.parametrize(
    ("ahead", "is_followed"), [(0.0, False), (59.0, False), (-59.0, False), (61.0, True), (-86400.0, True)]
)
def test_clock_that_is_far_away_is_followed(ahead: float, is_followed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to a minute is no difference; what the store said is known either way."""
    monkeypatch.setattr(time, "time", lambda: 100_000.0)
    clock = StoreClock()
    before = (clock.told(), clock())
    clock.note(100_000.0 + ahead)

    assert before == (None, 100_000.0)
    assert (clock.told(), clock()) == (100_000.0 + ahead, 100_000.0 + (ahead if is_followed else 0.0))


def test_disk_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is touched for the time, when somebody asks first, and the clock goes on from there."""
    path = tmp_path / "runs.json.lock"
    path.touch()
    os.utime(path, (5.0, 5.0))
    disk = path.stat().st_mtime
    clock = DiskClock(str(path), is_shared=True)
    untouched = path.stat().st_mtime

    now = time.time()
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    first, touched = clock(), path.stat().st_mtime
    monkeypatch.setattr(time, "time", lambda: 1010.0)
    os.utime(path, (5.0, 5.0))

    assert (untouched, abs(first - now) < 60) == (disk, True)
    assert (round(touched, 3), round(clock() - first, 3), path.stat().st_mtime) == (round(first, 3), 10.0, 5.0)


@pytest.mark.parametrize(("name", "is_shared"), [("there", False), ("missing", True), (None, True)])
def test_disk_that_does_not_tell_is_not_followed(tmp_path: Path, name: str | None, is_shared: bool) -> None:
    """The clock of a disk of this machine is this machine's; a file that is not there is not made."""
    path = tmp_path / "there"
    path.touch()
    os.utime(path, (5.0, 5.0))

    clock = DiskClock(None if name is None else str(tmp_path / name), is_shared)

    assert (clock.told(), path.stat().st_mtime, os.listdir(tmp_path)) == (None, 5.0, ["there"])
    assert abs(clock() - time.time()) < 5
