"""Many processes and threads with one server: everything once, in order per writer."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.children import join, printed_by, python, run, run_all
from tests.e2e.deliveries import Place, log, new_trial, open_protocol
from track import fetch
from track.persistence.delivery.protocol import DeliveredProtocol
from track.structure import Status, Trial

pytestmark = pytest.mark.network


def _client(uri: str, trial: Trial, name: str, count: int) -> None:
    protocol = open_protocol(uri)
    assert protocol.get_trial(trial)
    log(protocol, trial, 1, count, name)
    protocol.flush(60)
    assert protocol.unsaved() == 0
    protocol.close()


def test_eight_clients_on_one_trial(place: Place) -> None:
    """Eight processes log to one trial at once, and each one's numbers are there once, in order."""
    trial = new_trial(place.open())

    codes = run_all(_client, [(place.uri, trial, f"n{client}", 1000) for client in range(8)])

    assert codes == [0] * 8
    for client in range(8):
        assert place.numbers(trial, f"n{client}") == list(range(1, 1001))


def _create(uri: str, times: int) -> None:
    protocol = open_protocol(uri)
    for _ in range(times):
        assert protocol.new_trial(Trial(parameters={"lr": 1}), auto_increment=True) is not None
    protocol.close()


def test_revisions_of_many_clients_differ(place: Place) -> None:
    """Trials with the same parameters, made by several processes at once, get the revisions 0, 1, 2, ..."""
    new_trial(place.open())

    codes = run_all(_create, [(place.uri, 5)] * 4)

    assert codes == [0] * 4
    digest = Trial(parameters={"lr": 1}).hash
    assert {f"{digest}_{revision}" for revision in range(20)} < {uid for uid, _, _ in place.trials()}


def _log_inherited(protocol: DeliveredProtocol, trial: Trial, name: str) -> None:
    log(protocol, trial, 1, 500, name)
    protocol.flush(30)
    assert protocol.unsaved() == 0
    assert protocol.get_trial(trial)
    protocol.close()


def test_fork_while_delivering(place: Place) -> None:
    """A child forked in the middle of delivery logs, asks and ends; neither disturbs the other."""
    protocol = place.open()
    trial = new_trial(protocol)
    is_over = threading.Event()
    asking = threading.Thread(target=lambda: [protocol.fetch_projects() for _ in iter(is_over.is_set, True)])
    asking.start()

    codes = []
    for child in range(4):
        log(protocol, trial, child * 1000 + 1, 1000)
        codes.append(run(_log_inherited, protocol, trial, f"n{child}"))
    is_over.set()
    asking.join()
    protocol.flush(30)

    assert codes == [0] * 4
    assert place.numbers(trial) == list(range(1, 4001))
    for child in range(4):
        assert place.numbers(trial, f"n{child}") == list(range(1, 501))


def test_threads_keep_their_order(place: Place) -> None:
    """Threads that log, while others decide, find each of their numbers once, in order."""
    protocol = place.open()
    trial = new_trial(protocol)

    threads = [threading.Thread(target=log, args=(protocol, trial, 1, 2000, f"n{own}")) for own in range(4)]
    for thread in threads:
        thread.start()
    made = [protocol.new_trial(Trial(parameters={"lr": 2}), auto_increment=True) for _ in range(5)]
    for thread in threads:
        thread.join()
    protocol.flush(30)

    assert [trial.revision for trial in made if trial is not None] == [0, 1, 2, 3, 4]
    assert protocol.unsaved() == 0
    for own in range(4):
        assert place.numbers(trial, f"n{own}") == list(range(1, 2001))


def test_clock_set_back(place: Place) -> None:
    """Order comes from the order of calls, whatever the clock says."""
    protocol = place.open()
    trial = new_trial(protocol)
    clock: Iterator[int] = iter(range(10**9, 0, -1000))
    protocol.clock = lambda: float(next(clock))

    log(protocol, trial, 1, 200)
    protocol.flush(30)

    assert place.numbers(trial) == list(range(1, 201))


def _log_and_leave(uri: str, trial: Trial) -> None:
    protocol = open_protocol(uri)
    assert protocol.get_trial(trial)
    log(protocol, trial, 1, 2000)


def test_exit_sends_what_was_logged(place: Place) -> None:
    """A program that ends right after logging has sent everything."""
    trial = new_trial(place.open())
    script = (
        "import sys; from track import TrackClient\n"
        "trial = TrackClient(sys.argv[1]).set_trial(uid=sys.argv[2])\n"
        "for number in range(1, 2001): trial.log_metrics(step=number, n=number)\n"
    )

    printed_by(script, place.uri, trial.uid)

    assert place.numbers(trial) == list(range(1, 2001))


def test_forgotten_backend_sends_what_was_logged(place: Place) -> None:
    """A backend that nobody refers to any more sends what it was told."""
    import multiprocessing

    trial = new_trial(place.open())

    worker = multiprocessing.get_context("fork").Process(target=_log_and_leave, args=(place.uri, trial))
    worker.start()
    join(worker)

    assert worker.exitcode == 0
    assert place.numbers(trial) == list(range(1, 2001))
    assert os.getpid() != worker.pid


def test_trial_left_open_is_finished_and_delivered_at_exit(tmp_path: Path) -> None:
    """A program that forgets to finish a trial has it Completed on the server, whatever it opened first."""
    script = (
        "import os, sys; from track import TrackClient\n"
        "os.environ['TRACK_LOG_SPILL_FOLDER'] = sys.argv[1] + '/spill'\n"
        "for uri in (f'file:{sys.argv[1]}/a.json', f'sqlite:{sys.argv[1]}/b.db'):\n"
        "    trial = TrackClient(uri).new_trial(parameters={})\n"
        "    trial.log_metrics(step=0, loss=1.0)\n"
        "    globals()[uri] = trial\n"
    )

    done = python("-c", script, tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    for uri in (f"file:{tmp_path}/a.json", f"sqlite:{tmp_path}/b.db"):
        (trial,) = fetch(uri)
        assert (trial.status, dict(trial.metrics["loss"])) == (Status.Completed, {0: 1.0})


def test_trial_left_open_is_delivered_before_a_driver_ends(place: Place, tmp_path: Path) -> None:
    """A driver that is connected after something was logged elsewhere is not closed at exit before all is sent."""
    script = (
        "import sys; from track import TrackClient\n"
        "kept = []\n"
        "for uri in sys.argv[1:]:\n"
        "    kept.append(TrackClient(uri).new_trial(parameters={}))\n"
        "    kept[-1].start()\n"
        "    kept[-1].log_metrics(step=0, loss=1.0)\n"
        "kept[-1].protocol.flush()\n"
    )

    done = python("-c", script, f"file:{tmp_path}/a.json", place.uri)

    assert (done.returncode, done.stderr) == (0, "")
    (trial,) = fetch(place.uri)
    assert (trial.status, dict(trial.metrics["loss"])) == (Status.Completed, {0: 1.0})


def test_store_in_a_temporary_folder_is_complete_before_it_is_removed(tmp_path: Path) -> None:
    """A temporary folder that is made after something was logged is removed only once the trials in it have ended."""
    script = (
        "import shutil, sys, tempfile; from track import TrackClient\n"
        "first = TrackClient(f'file:{sys.argv[1]}/a.json').new_trial(parameters={})\n"
        "folder = tempfile.TemporaryDirectory(dir=sys.argv[1])\n"
        "second = TrackClient(f'file:{folder.name}/b.json').new_trial(parameters={})\n"
        "second.start()\n"
        "remove = shutil.rmtree\n"
        "def look(path, *given, **named):\n"
        "    from track import fetch\n"
        "    print(fetch(f'file:{folder.name}/b.json')[0].status.name)\n"
        "    remove(path, *given, **named)\n"
        "tempfile._shutil.rmtree = look\n"
    )

    done = python("-c", script, tmp_path)

    assert (done.returncode, done.stdout.splitlines()[:1]) == (0, ["Completed"])
