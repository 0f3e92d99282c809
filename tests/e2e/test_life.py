"""What a store shows over time: dead processes, old files, moved clocks, odd places."""

from __future__ import annotations

import gc
import json
import math
import os
import time
from pathlib import Path

import pytest

from tests.children import die, python, run
from tests.e2e.processes import attach, start, stored
from track import fetch
from track.errors import ConcurrentWrite
from track.persistence.file import FileStore
from track.persistence.local import FileProtocol
from track.serialization import to_json
from track.structure import Trial

ASSETS = Path(__file__).parents[1] / "assets"


def _start_and_die(path: Path) -> None:
    start(path)
    die()


def test_trial_of_a_killed_process_is_broken(tmp_path: Path) -> None:
    """Nobody shows a trial Running whose process is gone, also not to a query; resumed, it runs again."""
    path = tmp_path / "runs.json"
    run(_start_and_die, path)

    broken = fetch(f"file:{path}", {"status": "Broken"})
    running = fetch(f"file:{path}", {"status": "Running"})
    attach(path, broken[0].uid).start()

    assert (len(broken), len(running)) == (1, 0)
    assert [trial.status.name for trial in fetch(f"file:{path}")] == ["Running"]


def test_trial_of_another_host_is_broken_after_a_silence(tmp_path: Path) -> None:
    """A trial that runs elsewhere is taken for dead only when it said nothing for a while."""
    path = tmp_path / "runs.json"
    trial = start(path)
    trial.finish()
    journal = Path(f"{path}.journal")
    text = journal.read_text()
    host = os.uname().nodename
    journal.write_text(text.replace(f'"host":"{host}"', '"host":"elsewhere"').rpartition('{"event":"time"')[0])
    path.unlink()
    # Or it would be a store that somebody has deleted.
    Path(f"{path}.lock").unlink()
    now = time.time()

    statuses = []
    for later in (0.0, 10_000.0):
        store = FileStore(str(path), 30.0)
        store.state.liveness.clock = lambda later=later: now + later
        with store.reading() as storage:
            statuses += [seen.status.name for seen in storage.find_trials()]

    assert statuses == ["Running", "Broken"]


def test_files_removed_during_a_run_are_written_again(tmp_path: Path) -> None:
    """A store whose files somebody removed has everything again after the next save, and goes on."""
    path = tmp_path / "runs.json"
    trial = start(path)
    trial.log_metrics(value=0)
    for file in tmp_path.iterdir():
        file.unlink()

    trial.log_metrics(value=1)
    trial.save()
    trial.log_metrics(value=2)

    assert stored(path)[0].metrics["value"].val == [0, 1, 2]
    assert trial.trial.metrics["value"].val == [0, 1, 2]


def test_clock_set_back_loses_nothing(tmp_path: Path) -> None:
    """Order is the order of the calls, whatever the clock says."""
    path = tmp_path / "runs.json"
    trial = start(path)
    trial.log_metrics(value=0)
    trial.protocol.clock = lambda: 5.0  # type: ignore[attr-defined]
    trial.log_metrics(value=1)
    trial.save()

    assert stored(path)[0].metrics["value"].val == [0, 1]


def test_symlink_is_the_same_store(tmp_path: Path) -> None:
    """A store reached by two names is one object, with one journal."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    one = FileProtocol(f"file:{tmp_path}/real/runs.json")
    two = FileProtocol(f"file:{tmp_path}/link/runs.json")

    assert one.lock is two.lock


def test_odd_names_are_kept(tmp_path: Path) -> None:
    """Spaces and letters of any language may be in the path."""
    path = tmp_path / "my rüns 実験" / "a file.json"

    start(path).finish()

    assert [trial.status.name for trial in stored(path)] == ["Completed"]
    assert path.exists()


@pytest.mark.parametrize("option", ["", "?eager=0"])
def test_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    """`os.chdir` after the client was made does not move the store."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    trial = start(Path(f"runs.json{option}"))
    monkeypatch.chdir(tmp_path / "elsewhere")

    trial.log_metrics(value=1)
    trial.save()

    assert stored(tmp_path / "runs.json")[0].metrics["value"].val == [1]
    assert not list((tmp_path / "elsewhere").iterdir())


def test_lazy_store_writes_at_save(tmp_path: Path) -> None:
    """``?eager=0`` keeps everything in memory until `save`, and a second save adds what is new, once."""
    path = tmp_path / "runs.json"
    trial = start(Path(f"{path}?eager=0"))
    trial.log_metrics(value=0)
    before = list(tmp_path.iterdir())

    trial.save()
    trial.log_metrics(value=1)
    trial.save()

    assert before == []
    assert stored(path)[0].metrics["value"].val == [0, 1]


def test_lazy_stores_that_made_the_same_trial_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The second to save gets ConcurrentWrite, the file keeps the first, and what was not saved is said at the end."""
    path = tmp_path / "runs.json"

    assert run(_save_the_same_twice, path) == 0

    assert [trial.metadata["number"] for trial in stored(path)] == [0]


def _save_the_same_twice(path: Path) -> None:
    first, second = FileProtocol(f"file:{path}?eager=0"), FileProtocol(f"file:{path}?eager=0")
    for number, protocol in enumerate((first, second)):
        trial = protocol.new_trial(Trial("ab"))
        assert trial is not None
        protocol.log_trial_metadata(trial, number=number)

    first.commit()
    with pytest.raises(ConcurrentWrite, match="ab_0"):
        second.commit()
    del second, protocol
    gc.collect()


@pytest.mark.parametrize("option", ["?lock=always", "?durability=fsync", "?fsync=1"])
def test_options_of_durability_lose_nothing(tmp_path: Path, option: str) -> None:
    """The careful ways to write store the same."""
    path = tmp_path / "runs.json"
    trial = start(Path(f"{path}{option}"))

    for number in range(20):
        trial.log_metrics(value=number)

    assert stored(path)[0].metrics["value"].val == list(range(20))


def _plain_state(path: Path) -> list[dict[str, object]]:
    return [json.loads(json.dumps(to_json(trial))) for trial in stored(path)]


def test_file_of_the_original_opens_and_is_upgraded(tmp_path: Path) -> None:
    """A bare list of projects has all its values, and the next save writes today's format."""
    path = tmp_path / "report.json"
    path.write_bytes((ASSETS / "original-report.json").read_bytes())

    before = _plain_state(path)
    start(path).save()
    after = _plain_state(path)

    first = stored(path)[0]
    assert dict(first.metrics["epoch_loss"]) == {0: 0.92, 1: 0.41}
    assert (first.parameters["lr"], first.tags["workers"], first.status.name) == (0.01, 4, "Completed")
    assert [trial.name for trial in stored(path)[:2]] == ["first", "second"]
    assert after[: len(before)] == before
    assert json.loads(path.read_text())["format"] == 1


@pytest.mark.parametrize("files", [("journal-1.jsonl",), ("journal-1.jsonl", "snapshot-1.json")])
def test_files_of_format_1_always_replay(tmp_path: Path, files: tuple[str, ...]) -> None:
    """The files that the first version wrote mean today what they meant then."""
    path = tmp_path / "runs.json"
    for name, target in zip(files, (f"{path}.journal", str(path)), strict=False):
        Path(target).write_bytes((ASSETS / name).read_bytes())

    state = _plain_state(path)

    expected = json.loads((ASSETS / "journal-1.expected.json").read_text())
    # Later versions may know more of a trial.
    assert [{key: found[key] for key in meant} for found, meant in zip(state, expected, strict=True)] == expected


def test_points_files_of_format_1_always_open(tmp_path: Path) -> None:
    """Points that the first version moved out of the JSON mean today what they meant then."""
    path = tmp_path / "runs.json"
    for end in ("", ".points-1"):
        Path(f"{path}{end}").write_bytes((ASSETS / f"points-1.json{end}").read_bytes())

    (trial,) = stored(path)

    odd = {3: math.nan, 5: math.inf, 7: -math.inf, 9: -0.0, 11: 2**53 + 1, 13: 2**80, 15: True}
    numbers = range(200)
    meant = {
        "loss": [(10 * number, odd.get(number, 1 / (number + 1))) for number in numbers],
        "cost": [(number, number / 2) for number in numbers] + [(200, 0.25)],
        "count": [(number * number, number * number) for number in numbers],
        "named": [(f"epoch {number}", number + 150.0 if number < 50 else float(number)) for number in range(150)],
    }
    assert {name: repr(list(trial.metrics[name].items())) for name in meant} == {
        name: repr(points) for name, points in meant.items()
    }
    assert trial.metrics["loss"].to_numpy(times=True)[2].tolist() == [1e9 + 2 + number / 8 for number in numbers]


def test_series_of_format_1_always_replay(tmp_path: Path) -> None:
    """Columns that the first version with them wrote mean today what they meant then."""
    path = tmp_path / "runs.json"
    Path(f"{path}.journal").write_bytes((ASSETS / "journal-1-series.jsonl").read_bytes())

    (trial,) = stored(path)

    meant = {
        "loss": [(0, 0.5), (10, 1.0), (20, 1.5), (21, 2.0)],
        "odd": [("a", 0.5), ((1, "b"), True), (3, 2**80), (4, math.nan), (0.5, -0.0), (2**70, 3)],
        "count": [(1, 2**53 + 1), (7, -3), (5, 1)],
    }
    assert {name: repr(list(trial.metrics[name].items())) for name in meant} == {
        name: repr(points) for name, points in meant.items()
    }
    assert (trial.metrics["stepless"], trial.metrics["flags"].val) == ([0.25, 0.125], [True, False])
    assert trial.metrics["count"].points.times() == [1.5e9, 1.55e9, 1.6e9]


def test_store_removed_after_its_trial_stays_removed(tmp_path: Path) -> None:
    """A program that removes its finished store leaves nothing behind at its exit, and says nothing."""
    script = (
        "import shutil, sys; from track import TrackClient\n"
        "trial = TrackClient(f'file:{sys.argv[1]}/runs.json').new_trial(parameters={})\n"
        "with trial: trial.log_metrics(step=0, loss=1.0)\n"
        "shutil.rmtree(sys.argv[1])\n"
    )
    folder = tmp_path / "runs"

    done = python("-c", script, folder)

    assert not folder.exists()
    assert (done.returncode, done.stderr) == (0, "")
