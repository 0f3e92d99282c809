"""Many processes in one store: nothing is lost, nothing is decided twice, nobody disagrees."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from tests.children import fork, join, run_all, wait
from tests.e2e.processes import attach, start, stored
from track import TrackClient
from track.errors import ItemNotFound, TrialDoesNotExist
from track.persistence.local import FileProtocol
from track.structure import Project, Trial


def _log_many(path: Path, uid: str, worker: int, count: int) -> None:
    trial = attach(path, uid)
    for number in range(count):
        trial.log_metrics(**{f"m{worker}": number})


def test_eight_processes_lose_no_metric(tmp_path: Path) -> None:
    """8 processes log 5,000 metrics each to one trial."""
    path = tmp_path / "runs.json"
    uid = start(path).trial.uid

    codes = run_all(_log_many, [(path, uid, worker, 5_000) for worker in range(8)])

    (trial,) = stored(path)
    assert codes == [0] * 8
    assert {name: metric.val for name, metric in trial.metrics.items()} == {
        f"m{worker}": list(range(5_000)) for worker in range(8)
    }


@pytest.mark.parametrize("option", ["", "?lock=always", "?durability=fsync"])
def test_update_count_of_twenty_processes_is_exact(tmp_path: Path, option: str) -> None:
    """20 processes that change metadata are 20 changes."""
    path = tmp_path / "runs.json"
    protocol = FileProtocol(f"file:{path}")
    trial = protocol.new_trial(Trial("ab"))
    assert trial is not None
    before = trial.metadata["_update_count"]

    def change(number: int) -> None:
        own = FileProtocol(f"file:{path}{option}")
        own.log_trial_metadata(trial, **{f"fact{number}": number})
        own.close()

    codes = run_all(change, [(number,) for number in range(20)])

    (seen,) = stored(path)
    assert codes == [0] * 20
    assert seen.metadata["_update_count"] - before == 20
    assert {f"fact{number}" for number in range(20)} <= seen.metadata.keys()


def test_each_process_reserves_another_trial(tmp_path: Path) -> None:
    """Of 12 processes that reserve one of 7 trials, 7 get one each and the others are told that none is left."""
    path = tmp_path / "runs.json"
    protocol = FileProtocol(f"file:{path}")
    for number in range(7):
        protocol.new_trial(Trial(f"ab{number}", metadata={"owner": None}))

    def reserve(number: int) -> None:
        own = FileProtocol(f"file:{path}")
        try:
            own.fetch_and_update_trial({"metadata.owner": None}, "log_trial_metadata", owner=number)
        except ItemNotFound:
            os._exit(7)

    codes = run_all(reserve, [(number,) for number in range(12)])

    owners = [trial.metadata["owner"] for trial in stored(path)]
    assert sorted(codes) == [0] * 7 + [7] * 5
    assert sorted(owners) == [number for number, code in enumerate(codes) if code == 0]


def test_ten_processes_get_ten_revisions(tmp_path: Path) -> None:
    """The same trial created by 10 processes is there 10 times, with 10 revisions."""
    path = tmp_path / "runs.json"

    def create(number: int) -> None:
        client = TrackClient(f"file:{path}")
        client.set_project(name="survival")
        client.new_trial(parameters={"lr": 0.1}, metadata={"creator": number})
        client.save()

    codes = run_all(create, [(number,) for number in range(10)])

    assert codes == [0] * 10
    assert sorted(trial.revision for trial in stored(path)) == list(range(10))
    assert {trial.metadata["creator"] for trial in stored(path)} == set(range(10))


def test_reader_sees_a_prefix_that_only_grows(tmp_path: Path) -> None:
    """While another process writes and saves, a reader sees its numbers in order, never fewer than before."""
    path = tmp_path / "runs.json"
    uid = start(path).trial.uid
    done, tell_done = os.pipe()

    def write() -> None:
        trial = attach(path, uid)
        for number in range(4_000):
            trial.log_metrics(value=number)
            if number % 1_000 == 0:
                trial.save()
        os.write(tell_done, b".")

    pid = fork(write)
    os.close(tell_done)
    os.set_blocking(done, False)
    lengths = [0]
    reader = FileProtocol(f"file:{path}")
    while True:
        try:
            is_last = os.read(done, 1) == b"."
        except BlockingIOError:
            is_last = False
        (fresh,), (trial,) = stored(path), reader.fetch_trials()
        for seen in (fresh, trial):
            values = seen.metrics["value"].val if "value" in seen.metrics else []
            assert values == list(range(len(values)))
            assert len(values) >= lengths[-1]
            lengths.append(len(values))
        if is_last:
            break

    assert wait(pid) == 0
    assert lengths[-1] == 4_000


def test_two_processes_agree(tmp_path: Path) -> None:
    """What two processes wrote in turn looks the same to both."""
    path = tmp_path / "runs.json"
    ours = FileProtocol(f"file:{path}")
    ours.new_project(Project(name="survival"))
    trial = ours.new_trial(Trial("ab"))
    assert trial is not None
    ours.log_trial_metadata(trial, turn=0)
    answer, tell = os.pipe()

    def other() -> None:
        theirs = FileProtocol(f"file:{path}")
        theirs.log_trial_metadata(trial, turn=1)
        theirs.commit()
        seen = theirs.fetch_trials()[0].metadata
        os.write(tell, repr((seen["turn"], seen["_update_count"])).encode())

    assert wait(fork(other)) == 0
    seen = ours.fetch_trials()[0].metadata

    assert os.read(answer, 100).decode() == repr((seen["turn"], seen["_update_count"]))
    assert seen["turn"] == 1


def _log_in_spawned(uri: str, uid: str) -> None:
    TrackClient(uri).set_trial(uid=uid).log_metrics(value=1)


def test_spawned_process_logs_with_the_uri(tmp_path: Path) -> None:
    """A process started afresh needs the URI and the uid, nothing else."""
    path = tmp_path / "runs.json"
    uid = start(path).trial.uid
    process = multiprocessing.get_context("spawn").Process(target=_log_in_spawned, args=(f"file:{path}", uid))

    process.start()
    join(process)

    assert process.exitcode == 0
    assert stored(path)[0].metrics["value"].val == [1]


def test_removed_store_is_not_resurrected(tmp_path: Path) -> None:
    """A new client in the place of a store that was removed finds nothing of it."""
    path = tmp_path / "runs.json"
    uid = start(path).trial.uid
    FileProtocol(f"file:{path}").close()
    for file in tmp_path.iterdir():
        file.unlink()

    with pytest.raises(TrialDoesNotExist, match=uid):
        attach(path, uid)
