"""What a worker hears, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from tests.children import run
from track import TrackClient
from track.manager.notice import Heartbeats, Notice
from track.utils.signal import SignalHandler


def test_nothing_stays_where_a_store_was_opened_meanwhile(tmp_path: Path) -> None:
    """A worker takes its handlers out from among those that were installed after it: the program's is called again."""
    seen: list[int] = []

    def work_and_be_told() -> None:
        signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
        with Notice() as notice:
            client = TrackClient(f"file:{tmp_path}/runs.json")
            with client.new_trial(), Notice() as inner:
                os.kill(os.getpid(), signal.SIGTERM)
            assert inner.is_told
            assert not seen
        told, notice.signum = notice.signum, None
        with client.new_trial(parameters={"n": 2}):
            os.kill(os.getpid(), signal.SIGTERM)
        assert (told, notice.signum, seen) == (None, None, [signal.SIGTERM])

    assert run(work_and_be_told) == 0


def test_one_that_is_over_does_what_was_done_before_it() -> None:
    """A handler of a program that keeps an earlier one, and calls it, ends the process as without a worker."""

    def keep_and_be_told() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with Notice():
            kept = signal.getsignal(signal.SIGTERM)
            assert callable(kept)

        def chained(number: int, frame: object) -> None:
            kept(number, frame)

        signal.signal(signal.SIGTERM, chained)
        with pytest.raises(SystemExit) as ended:
            os.kill(os.getpid(), signal.SIGTERM)
        assert ended.value.code == 128 + signal.SIGTERM

    assert run(keep_and_be_told) == 0


def test_of_one_that_is_told_the_handlers_of_this_library_are_not_the_programs() -> None:
    """What a program does about a signal is looked for past what this library notes of it: here it is to die."""

    class Watching(SignalHandler):
        """Hears of signals."""

        def sigterm(self, signum: int, frame: object) -> None:
            """Does nothing."""

    def be_told() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        watching = Watching()
        with Notice() as notice:
            os.kill(os.getpid(), signal.SIGTERM)
            assert notice.is_told
        notice.pass_on()
        watching.close()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    assert run(be_told) == 0


def test_one_thread_beats_for_all_bodies_of_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each body is beaten for while it runs, by the same thread, and only its own loss is told to it."""
    monkeypatch.setenv("TRACK_LOG_HEARTBEAT_TIMEOUT", "0.02")
    beats, threads, told = Heartbeats(), set(), []

    for number in range(3):
        has_beaten, is_lost = threading.Event(), threading.Event()

        def beat(number: int = number, has_beaten: threading.Event = has_beaten) -> bool:
            threads.add(threading.get_ident())
            has_beaten.set()
            return number != 1

        def lost(number: int = number, is_lost: threading.Event = is_lost) -> None:
            told.append(number)
            is_lost.set()

        with beats.of(beat, lost):
            assert has_beaten.wait(60)
            assert number != 1 or is_lost.wait(60)
    beats.end()

    assert told == [1]
    assert len(threads) == 1
