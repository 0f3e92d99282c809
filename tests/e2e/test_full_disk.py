"""A disk that is full, or read-only: training goes on, and the counts are true."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.children import room_for, run
from tests.e2e.disks import full, mounted
from tests.e2e.processes import start, stored
from tests.unit.dashboard.asking import HOST, enter
from track import TrackClient, fetch
from track.dashboard import Dashboard
from track.errors import BackendUnavailable
from track.logger import TrialLogger
from track.manager import ExperimentManager, work


def _log_until_full(trial: TrialLogger, first: int, last: int) -> None:
    for number in range(first, last):
        trial.log_metrics(value=number, padding=0.123456789)


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.root
def test_training_goes_on_when_the_disk_isfull(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One warning an episode; what waits is counted, and written in order when there is room."""
    path = small_disk / "runs.json"
    trial = start(path)
    _log_until_full(trial, 0, 10)

    with full(small_disk):
        _log_until_full(trial, 10, 500)
        waiting = trial.protocol.unsaved()
        (seen,) = stored(path)
        assert len(_warnings(caplog)) == 1
        assert len(seen.metrics["value"].val) + waiting == 500
        assert waiting > 0
        trial.finish()
        assert [text for text in _warnings(caplog) if f"{trial.protocol.unsaved()} events are not stored" in text]
    trial.start()
    _log_until_full(trial, 500, 510)
    trial.finish()

    (seen,) = stored(path)
    assert trial.protocol.unsaved() == 0
    assert seen.metrics["value"].val == list(range(510))
    assert seen.status.name == "Completed"


@pytest.mark.root
def test_each_episode_has_one_warning(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Room that comes and goes three times loses nothing and warns three times."""
    path = small_disk / "runs.json"
    trial = start(path)

    for episode in range(3):
        with full(small_disk):
            _log_until_full(trial, episode * 200, episode * 200 + 150)
        _log_until_full(trial, episode * 200 + 150, episode * 200 + 200)

    (seen,) = stored(path)
    assert len(_warnings(caplog)) == 3
    assert seen.metrics["value"].val == list(range(600))


@pytest.mark.root
def test_images_that_have_no_room_are_counted(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever of them did not fit, all that the record names comes back, also what came after it; one warning."""
    trial = start(small_disk / "runs.json")
    pictures = [[[(x * y * step) % 251 for x in range(60)] for y in range(60)] for step in range(1, 31)]

    for step, picture in enumerate(pictures[:10]):
        trial.log_image("sample", picture, step=step)
    with full(small_disk):
        for step, picture in enumerate(pictures[10:20], 10):
            trial.log_image("sample", picture, step=step)
    for step, picture in enumerate(pictures[20:], 20):
        trial.log_image("sample", picture, step=step)
    trial.finish()

    (seen,) = fetch(f"file://{small_disk}/runs.json")
    media = seen.media("sample")
    assert [medium.step for medium in media if medium.step not in range(10, 20)] == [*range(10), *range(20, 30)]
    assert len({medium.read_bytes() for medium in media}) == len(media) < 30
    missing = f"{30 - len(media)} of its media could not be stored"
    assert seen.metadata["artifacts_not_stored"] == {"sample": missing}
    assert len([text for text in _warnings(caplog) if "'sample' is not stored" in text]) == 1


@pytest.mark.root
def test_report_counts_what_is_not_stored(small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The report says how many events are missing from it."""
    trial = start(small_disk / "runs.json")
    trial.log_metrics(value=0)

    with full(small_disk):
        _log_until_full(trial, 1, 300)
        trial.report()
        missing = trial.protocol.unsaved()

    assert f"{missing} events are not stored" in capsys.readouterr().out


@pytest.mark.root
def test_decision_on_a_full_disk_is_an_error(small_disk: Path) -> None:
    """A trial that cannot be stored is not created later, behind everybody's back."""
    path = small_disk / "runs.json"
    trial = start(path)
    client = TrackClient(f"file:{path}")
    client.set_project(name="survival")

    with full(small_disk):
        _log_until_full(trial, 0, 100)
        with pytest.raises(BackendUnavailable, match=r"runs\.json.* cannot be written.*room"):
            client.new_trial(parameters={"x": "y" * 10_000})
    _log_until_full(trial, 100, 110)

    (seen,) = stored(path)
    assert seen.metrics["value"].val == list(range(110))


@pytest.mark.root
def test_save_on_a_full_disk_keeps_the_file(small_disk: Path) -> None:
    """A snapshot that does not fit leaves the old one, says so, and leaves nothing behind."""
    path = small_disk / "runs.json"
    trial = start(path)
    trial.log_metrics(value=0)
    trial.save()
    trial.log_metadata(large="x" * 300_000)
    trial.log_metrics(value=1)
    before = path.read_bytes()

    with full(small_disk), pytest.raises(BackendUnavailable, match=r"runs\.json cannot be written"):
        trial.save()

    assert path.read_bytes() == before
    assert not list(small_disk.glob("*.tmp"))
    assert stored(path)[0].metrics["value"].val == [0, 1]


def _log_beyond_the_limit(path: Path) -> None:
    trial = start(path)
    with room_for(Path(f"{path}.journal"), 5_000):
        _log_until_full(trial, 0, 300)
        waiting = trial.protocol.unsaved()
        (seen,) = stored(path)
        assert waiting > 200
        assert len(seen.metrics["value"].val) + waiting == 300
    _log_until_full(trial, 300, 310)
    assert trial.protocol.unsaved() == 0


def test_file_that_may_not_grow_loses_nothing(tmp_path: Path) -> None:
    """The same without root: a limit on the size of files, lifted later."""
    path = tmp_path / "runs.json"

    code = run(_log_beyond_the_limit, path)

    assert code == 0
    assert stored(path)[0].metrics["value"].val == list(range(310))


def _drop_beyond_the_backlog(path: Path) -> None:
    trial = start(path)
    # 20 MB, of which 16 MiB may wait.
    with room_for(Path(f"{path}.journal"), 10):
        for number in range(200):
            trial.log_metadata(value=number, padding="x" * 100_000)
        assert trial.protocol.unsaved() == 200
    trial.log_metrics(value=200)
    (seen,) = stored(path)
    dropped = trial.protocol.unsaved()
    assert 0 < dropped < 100
    assert seen.metadata["value"] == 200 - dropped - 1
    assert seen.metrics["value"].val == [200]


def test_lines_beyond_the_backlog_are_counted(tmp_path: Path) -> None:
    """When too much waits, the rest is given up, and the count says so to the end."""
    assert run(_drop_beyond_the_backlog, tmp_path / "runs.json") == 0


def _as_nobody(action: Callable[[Path], None], path: Path) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    action(path)


def _expect_refusal(path: Path) -> None:
    with pytest.raises(BackendUnavailable, match=r"readonly/runs\.json cannot be written.*choose another"):
        TrackClient(f"file:{path}")


def test_folder_without_permission_is_refused_at_the_start(tmp_path: Path) -> None:
    """A folder that may not be written to is named at once, with the way out."""
    folder = tmp_path / "readonly"
    folder.mkdir(mode=0o555)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o055)

    code = run(_as_nobody, _expect_refusal, folder / "runs.json")

    assert code == 0
    assert not list(folder.iterdir())


@pytest.mark.root
def test_read_only_disk_is_refused_at_the_start(tmp_path: Path) -> None:
    """A disk that is mounted read-only is named at once, with the way out."""
    folder = tmp_path / "readonly"
    folder.mkdir()
    with mounted(folder, "ro,size=64k"):
        _expect_refusal(folder / "runs.json")

        assert list(folder.iterdir()) == []


@pytest.mark.root
@pytest.mark.parametrize("store", ["here", "elsewhere"])
def test_experiments_that_have_no_room_are_not_registered(
    small_disk: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    """A set that gets no room in the middle is as it was, though its store has some; once there is room, it grows."""
    pytest.importorskip("yaml")
    if store == "elsewhere":
        monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", f"file:{tmp_path_factory.mktemp('store')}/runs.json")
    (small_disk / "defaults.yml").write_text("a: 0\n")
    (small_disk / "script.sh").write_text("exit 0\n")
    monkeypatch.chdir(small_disk)
    manager = ExperimentManager("set", headless=True)
    manager.initialise()
    manager.register(string_params="{a: 100}")

    with full(small_disk):
        os.truncate(small_disk / "ballast", (small_disk / "ballast").stat().st_size - 40 * 4096)
        with pytest.raises(OSError, match="No space left"):
            manager.register(string_params=f"{{a: {' | '.join(map(str, range(30)))}}}")

    assert [path.parent.name for path in Path("set").glob("*/params.yml")] == ["a=100"]
    assert ExperimentManager("set", headless=True).overides == [{"a": 100}]
    assert work("set") == 1
    manager.register(string_params="{a: 1}")
    assert work("set") == 1
    manager.close()


@pytest.mark.root
def test_page_of_a_store_on_a_full_disk(small_disk: Path) -> None:
    """It shows the runs, what somebody edits is said not to be stored, and is once there is room."""
    trial = start(small_disk / "runs.json")
    _log_until_full(trial, 0, 10)
    trial.finish()
    uid = trial.trial.uid
    asker = enter(Dashboard(f"file:{small_disk}/runs.json", "secret", interval=0, writes=True), "secret")
    here = {"HTTP_SEC_FETCH_SITE": "same-origin", "HTTP_ORIGIN": f"http://{HOST}"}

    with full(small_disk):
        (shown,) = asker.runs()["runs"]
        said = asker.ask("/api/edit", "POST", {"uid": uid, "note": "x" * 20_000}, **here)
        assert (shown["uid"], asker.status) == (uid, 502)
        assert said.startswith(b"the change waits to be stored: that is done once the store can be written to again")
        asker.json(f"/api/run?uid={uid}")
    asker.ask("/api/edit", "POST", {"uid": uid, "tags": {"a": "b"}}, **here)

    (seen,) = stored(small_disk / "runs.json")
    assert (asker.status, seen.metadata["note"], seen.tags) == (200, "x" * 20_000, {"a": "b"})
