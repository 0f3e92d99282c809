"""The thread that sends: order, counts, limits, files that follow each other, and what is refused."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import wait_until
from track.errors import BackendUnavailable, CorruptJournal, EventsMissing, InvalidEvent, UnknownSubject
from track.events import Event, MetricsLogged, encode
from track.persistence.delivery.batches import send_leftover, send_segment
from track.persistence.delivery.segment import Claim, Segment
from track.persistence.delivery.sender import Reachability, Sender
from track.persistence.delivery.spill import Spill, leftovers, spill_folder
from track.utils.files import OpenFile

URI = "fake://ann:secret@server/runs"


class FakeServer:
    """Keeps what it receives, each event once; goes away, refuses and stalls as told."""

    expected_store = ""

    def __init__(self) -> None:
        self.stored: list[float] = []
        self.marks: dict[str, int] = {}
        self.error: Exception | None = None
        self.refused: set[float] = set()
        self.unknown: set[str] = set()
        self.may_answer = threading.Event()
        self.may_answer.set()

    def receive(self, writer: str, first: int, events: list[Event], lines: bytes | None = None) -> None:
        """Store what is new, all or nothing."""
        self.receive_after(writer, -1, first, events, lines)

    def receive_after(
        self, writer: str, after: int, first: int, events: list[Event], lines: bytes | None = None
    ) -> None:
        """Store what is new, all or nothing, and only where nothing is missing or unknown."""
        self.may_answer.wait()
        if self.error is not None:
            raise self.error
        if self.last(writer) < after:
            raise EventsMissing("some are missing")
        start = max(0, self.marks.get(writer, -1) + 1 - first)
        unknown = [first + start + place for place, event in enumerate(events[start:]) if event.trial in self.unknown]
        if unknown:
            raise UnknownSubject("nothing like that is known", unknown)
        new = [event.values["n"] for event in events[max(0, self.marks.get(writer, -1) + 1 - first) :]]
        if self.refused.intersection(new):
            raise InvalidEvent("that number cannot be stored")
        self.stored += new
        self.marks[writer] = max(self.marks.get(writer, -1), first + len(events) - 1)

    def identity(self) -> str:
        """Return no id, as a store of before there were any."""
        return ""

    def last(self, writer: str) -> int:
        """Return the number of the last event."""
        return self.marks.get(writer, -1)

    def close(self) -> None:
        """Nothing to close."""


class Owner:
    """What the events belong to."""

    def __init__(self) -> None:
        self.told = 0

    def change(self) -> None:
        """Count what the sender says."""
        self.told += 1


@pytest.fixture
def server() -> FakeServer:
    """Give a server that answers."""
    return FakeServer()


@pytest.fixture
def owner() -> Owner:
    """Give an owner."""
    return Owner()


@pytest.fixture(autouse=True)
def _spills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path))


@pytest.fixture
def sender(server: FakeServer, owner: Owner) -> Iterator[Sender]:
    """Give a sender that runs."""
    made = Sender(Reachability(URI), server, 1 << 30, owner, owner.change)
    made.start()
    yield made
    server.may_answer.set()
    server.error = None
    made.close()


def _log(sender: Sender, first: int, count: int) -> None:
    for number in range(first, first + count):
        sender.spill.journal.append(encode(MetricsLogged("ab_0", {"n": float(number)}, at=1.0)))


def _refused() -> list[str]:
    return [line for file in spill_folder(URI).glob("*.refused") for line in file.read_text().splitlines()]


def _break_at(server: FakeServer, number: int) -> None:
    """Let a server be away for one call, of this number from now on."""
    receive, calls = server.receive_after, iter(range(1000))

    def break_once(*arguments: Any) -> None:
        if next(calls) == number:
            raise BackendUnavailable("it is away")
        receive(*arguments)

    server.receive_after = break_once  # type: ignore[method-assign]


def _numbers(count: int) -> list[float]:
    return [float(number) for number in range(1, count + 1)]


def test_events_arrive_in_order(sender: Sender, server: FakeServer) -> None:
    """What is logged is sent, once and in order."""
    _log(sender, 1, 1000)

    assert sender.flush()
    assert server.stored == _numbers(1000)
    assert sender.unsaved() == 0


def test_flush_waits_for_what_was_logged_before_only(sender: Sender, server: FakeServer) -> None:
    """A thread that never stops logging does not hold up another one's flush."""
    is_over = threading.Event()

    def log_on() -> None:
        for number in iter(int, 1):
            if is_over.is_set():
                return
            _log(sender, number, 1)

    thread = threading.Thread(target=log_on)
    thread.start()
    reached = [sender.flush(30) for _ in range(5)]
    is_over.set()
    thread.join()

    assert reached == [True] * 5


def _log_and_flush(sender: Sender, first: int, count: int) -> None:
    for number in range(first, first + count, 100):
        _log(sender, number, 100)
        assert sender.flush(30)


def test_grown_spill_is_followed_by_another_file(server: FakeServer, owner: Owner) -> None:
    """A spill that was sent does not grow for ever, and nothing is lost while threads log meanwhile."""
    # A quarter of the limit is in one file, at the most.
    sender = Sender(Reachability(URI), server, 80_000, owner, owner.change)
    sender.start()
    threads = [threading.Thread(target=_log_and_flush, args=(sender, 1 + own * 1000, 1000)) for own in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: sender.spill.size < 40_000)

    assert sender.spill.end[0] > 1
    assert sorted(server.stored) == _numbers(4000)
    for own in range(4):
        mine = [number for number in server.stored if own * 1000 < number <= own * 1000 + 1000]
        assert mine == sorted(mine)
    sender.close()


def test_spill_is_followed_by_another_file_however_much_is_logged_meanwhile(server: FakeServer, owner: Owner) -> None:
    """A file that has grown is left, also when much was logged while the last batch was on its way."""
    # A quarter of the limit is in one file, at the most.
    sender = Sender(Reachability(URI), server, 80_000, owner, owner.change)
    receive, firsts = server.receive_after, iter((401, 801, 1201))

    def log_meanwhile(*arguments: Any) -> None:
        receive(*arguments)
        if first := next(firsts, 0):
            _log(sender, first, 400)

    server.receive_after = log_meanwhile  # type: ignore[method-assign]
    sender.spill.open()
    _log(sender, 1, 400)
    sender.start()

    assert sender.flush(30)
    wait_until(lambda: len(server.stored) == 1600)
    assert server.stored == _numbers(1600)
    assert sender.spill.end[0] > 1
    sender.close()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Sender, int], Callable[[], None]]]:
    """Give what logs a number in a thread that is held in the middle of writing it, and return what lets it go on."""
    is_writing, may_write = threading.Event(), threading.Event()
    write = OpenFile.write

    def write_later(file: OpenFile, data: bytes) -> int | None:
        if threading.current_thread().name == "held":
            is_writing.set()
            may_write.wait(30)
        return write(file, data)

    def log(sender: Sender, number: int) -> Callable[[], None]:
        thread = threading.Thread(target=_log, args=(sender, number, 1), name="held")
        thread.start()
        assert is_writing.wait(30)

        def go_on() -> None:
            may_write.set()
            thread.join()

        return go_on

    monkeypatch.setattr(OpenFile, "write", write_later)
    yield log
    may_write.set()


def test_old_file_stays_while_a_thread_writes(
    held: Callable[[Sender, int], Callable[[], None]], sender: Sender, server: FakeServer
) -> None:
    """A line that is being written when the file changes is kept; until then the old file stays, and the new waits."""
    _log(sender, 1, 3)
    assert sender.flush()
    go_on = held(sender, 4)
    sender.spill.rotate()
    _log(sender, 5, 1)

    is_sent, before = sender.flush(0.3), list(server.stored)
    go_on()

    assert (is_sent, before) == (False, _numbers(3))
    assert sender.flush()
    assert server.stored == _numbers(5)
    assert len(sender.spill.segments) == 1


def test_server_away_is_told_once(
    sender: Sender, server: FakeServer, owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning when the server goes away; every count is true, and what waited is sent."""
    server.error = BackendUnavailable("it is away")

    _log(sender, 1, 10)
    assert not sender.flush()
    assert not sender.flush()
    counted = sender.unsaved()
    server.error = None
    assert sender.flush(30)

    assert counted == 10
    assert server.stored == _numbers(10)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        f"it is away: training goes on, events wait in {spill_folder(URI)}"
    ]
    assert owner.told == 2


def test_unknown_error_does_not_end_delivery(
    sender: Sender, server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the backend raises, the thread goes on and the events wait."""
    server.error = RuntimeError("not thought of")
    _log(sender, 1, 10)
    wait_until(lambda: sender.reach.error is not None)

    server.error = None

    assert sender.flush(30)
    assert server.stored == _numbers(10)
    assert "not thought of" in caplog.text


def test_newer_tables_keep_everything_waiting(sender: Sender, server: FakeServer) -> None:
    """Tables of a newer version say nothing about the events: they are kept, and not refused."""
    server.error = CorruptJournal("the tables have version 9")
    _log(sender, 1, 10)
    wait_until(lambda: sender.reach.error is not None)

    assert sender.unsaved() == 10
    assert not list(sender.spill.folder.glob("*.refused"))


def test_refused_event_does_not_block_the_others(
    sender: Sender, server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    """An event that can never be stored is kept beside the spill and counted; all others arrive, in order."""
    server.refused = {7.0, 400.0}

    _log(sender, 1, 500)
    assert sender.flush(30)

    assert server.stored == [number for number in _numbers(500) if number not in server.refused]
    assert sender.unsaved() == 2
    kept = [json.loads(line) for line in _refused()]
    assert [(note["number"], note["event"]["values"]) for note in kept] == [(6, {"n": 7.0}), (399, {"n": 400.0})]
    assert caplog.text.count("can never be stored") == 2


def test_refused_event_is_kept_once(server: FakeServer) -> None:
    """A process that is gone before it notes how far it was leaves an event to be refused again, and kept once."""
    server.refused = {2.0}
    spill = Spill(URI)
    spill.open()
    for number in range(1, 5):
        spill.journal.append(encode(MetricsLogged("ab_0", {"n": float(number)}, at=1.0)))
    # All 4, number 1 and 2, 1, 2 that is refused, and then 3 and 4.
    _break_at(server, 4)
    with pytest.raises(BackendUnavailable):
        list(send_segment(spill.segments[0], server))
    before = len(_refused())

    again = Segment.open(spill.segments[0].path)
    list(send_segment(again, server))

    assert server.stored == [1.0, 3.0, 4.0]
    assert (before, len(_refused())) == (1, 1)
    again.close()
    spill.close(len)


def test_note_how_far_it_was_is_a_file_of_its_own_once(tmp_path: Path) -> None:
    """What another process noted, perhaps of another user, is replaced; then each note is written into one's own."""
    spill = Spill(URI)
    spill.open()
    segment = spill.segments[0]
    note, others = Path(segment.path).with_suffix(".sent"), tmp_path / "others"
    others.write_text("another user's", encoding="utf-8")
    note.symlink_to(others)

    found, files = [], []
    for sent, offset in [(123, 45678), (2, 90), (10**15, 10**18)]:
        segment.acknowledge(sent, offset)
        again = Segment.open(segment.path)
        found.append(again.position)
        files.append(note.stat().st_ino)
        again.close()

    assert found == [(123, 45678), (2, 90), (10**15, 10**18)]
    assert (len(set(files)), others.read_text(encoding="utf-8")) == (1, "another user's")
    spill.close(len)


def test_refused_event_is_counted_when_the_server_goes_away_meanwhile(server: FakeServer, owner: Owner) -> None:
    """What was found out before the connection broke is not forgotten."""
    server.refused = {2.0}
    # The halves that are tried: all 8, 4, 2, number 1, number 2 that is refused, and then 3 and 4.
    _break_at(server, 5)
    sender = Sender(Reachability(URI), server, 1 << 30, owner, owner.change)
    # Logged before it can send, so that all are in one batch.
    _log(sender, 1, 8)
    sender.start()
    assert sender.flush(30)

    assert server.stored == [1.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    assert sender.unsaved() == 1
    assert len(_refused()) == 1
    sender.close()


def test_what_a_store_has_lost_is_sent_again(
    server: FakeServer, owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that was put back gets what is kept here once more, of the file before the present one too."""
    sender = Sender(Reachability(URI), server, 80_000, owner, owner.change)
    sender.start()
    _log_and_flush(sender, 1, 400)
    wait_until(lambda: sender.spill.end[0] == 1 and len(sender.spill.segments) == 1)
    _log_and_flush(sender, 401, 100)
    stored = server.stored
    server.stored, server.marks = stored[:150], {next(iter(server.marks)): 149}

    _log(sender, 501, 1)
    assert sender.flush(30)

    assert server.stored == _numbers(501)
    assert sender.unsaved() == 0
    assert sender.remedy() == ""
    assert caplog.text.count("put back to an older state") == 1
    sender.close()


def test_what_a_store_has_lost_and_nobody_has_is_counted(
    server: FakeServer, owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    """Events that were sent, and are kept no more, are counted once when the store has lost them."""
    sender = Sender(Reachability(URI), server, 80_000, owner, owner.change)
    sender.start()
    for file in range(3):
        _log_and_flush(sender, 1 + 400 * file, 400)
        wait_until(lambda file=file: sender.spill.end[0] == file + 1 and len(sender.spill.segments) == 1)
    for _ in range(2):
        server.stored, server.marks = [], {}
        _log(sender, 1201, 1)
        assert sender.flush(30)
        sent_again = server.stored

    first = int(sent_again[0])
    assert 401 < first <= 801
    assert set(sent_again) == set(_numbers(1201)[first - 1 :])
    assert sender.unsaved() == first - 1
    assert f"{first - 1} were stored before it was put back" in sender.remedy()
    assert caplog.text.count(f"{first - 1} events before it are not there any more") == 1
    sender.close()


def test_event_about_nothing_is_kept_and_the_others_arrive(
    sender: Sender, server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What is about an unknown trial costs no more questions than one, is kept and counted, and is said once."""
    server.unknown = {"xx_0"}
    calls, receive = [], server.receive_after

    def count_calls(*arguments: Any) -> None:
        calls.append(len(arguments[3]))
        receive(*arguments)

    server.may_answer.clear()
    _log(sender, 1, 100)
    for number in range(101, 200):
        sender.spill.journal.append(encode(MetricsLogged("xx_0", {"n": float(number)}, at=1.0)))
    _log(sender, 200, 100)
    server.receive_after = count_calls  # type: ignore[method-assign]
    server.may_answer.set()
    assert sender.flush(30)

    assert server.stored == [*_numbers(100), *_numbers(299)[199:]]
    assert sender.unsaved() == len(_refused()) == 99
    assert len(calls) <= 4
    assert caplog.text.count("does not know") == 1
    assert "99 were refused" in sender.remedy()


def test_limit_is_kept_and_counted_while_the_server_is_away(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Beyond the limit events are dropped and counted, also while nothing can be sent; afterwards there is room."""
    server.error = BackendUnavailable("it is away")

    class Router:
        def change(self) -> None:
            self.append = sender.drop if sender.is_full else sender.spill.journal.append

    router = Router()
    sender = Sender(Reachability(URI), server, 20_000, router, router.change)
    sender.start()
    router.change()
    for number in range(1, 1001):
        sender.spill.journal.append(encode(MetricsLogged("ab_0", {"n": float(number)}, at=1.0)))
    # Whoever logs knows it by what it is told, a moment after the sender does.
    wait_until(lambda: router.append == sender.drop)
    for number in range(1001, 1011):
        router.append(encode(MetricsLogged("ab_0", {"n": float(number)}, at=1.0)))
    counted = sender.unsaved()
    server.error = None
    assert sender.flush(30)
    wait_until(lambda: router.append != sender.drop)
    router.append(encode(MetricsLogged("ab_0", {"n": 1011.0}, at=1.0)))
    assert sender.flush(30)

    assert counted == 1010
    assert server.stored == [*_numbers(1000), 1011.0]
    assert sender.unsaved() == 10
    assert caplog.text.count("has reached 20000 bytes") == 1
    sender.close()


def test_sender_without_owner_sends_and_ends(server: FakeServer) -> None:
    """A backend that nobody refers to any more sends what it was told, and its spill is removed."""
    owner = Owner()
    sender = Sender(Reachability(URI), server, 1 << 30, owner, owner.change)
    sender.start()
    server.error = BackendUnavailable("it is away")
    _log(sender, 1, 10)
    wait_until(lambda: sender.reach.is_away)

    del owner
    server.error = None
    sender.hurry()
    wait_until(lambda: not leftovers(spill_folder(URI)))

    assert server.stored == _numbers(10)
    assert sender.has_ended


def test_close_leaves_what_is_stuck_to_the_next(sender: Sender, server: FakeServer) -> None:
    """Closing returns although the server is silent; the spill stays, and is sent by the next one."""
    server.may_answer.clear()
    _log(sender, 1, 10)

    sender.close(0.3)
    counted = sender.unsaved()
    server.may_answer.set()

    def send_rest() -> bool:
        for leftover in leftovers(spill_folder(URI)):
            list(send_leftover(leftover, server))
        return not leftovers(spill_folder(URI))

    wait_until(send_rest)
    assert counted == 10
    assert server.stored == _numbers(10)


def test_spill_that_cannot_be_written_waits_in_memory(
    server: FakeServer, owner: Owner, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any folder for the spill nothing raises; the events are sent when there is one."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing" / "temporary"))
    (tmp_path / "missing").write_text("in the way")
    (tmp_path / spill_folder(URI).name).write_text("in the way")
    sender = Sender(Reachability(URI), server, 1 << 30, owner, owner.change)
    sender.start()

    _log(sender, 1, 10)
    assert not sender.flush(0.3)
    counted = sender.unsaved()
    (tmp_path / spill_folder(URI).name).unlink()
    assert sender.flush(30)

    assert counted == 10
    assert server.stored == _numbers(10)
    assert caplog.text.count("no spill can be written") == 1
    sender.close()


def test_a_spill_that_was_removed_is_counted(sender: Sender, server: FakeServer) -> None:
    """Events in a file that has no name any more are sent while the process lives, and nothing else is promised."""
    server.error = BackendUnavailable("it is away")
    _log(sender, 1, 10)
    assert not sender.flush()
    promised = sender.remedy()

    shutil.rmtree(sender.spill.folder)
    counted, said = sender.unsaved(), sender.remedy()
    server.error = None
    assert sender.flush(30)

    assert "(10) is sent by the next run" in promised
    assert (counted, said) == (10, "they are lost with this process")
    assert server.stored == _numbers(10)
    assert sender.remedy() == ""


@pytest.mark.parametrize("error", [BackendUnavailable("no right to write: GRANT it"), CorruptJournal("it is damaged")])
def test_what_a_store_cannot_take_is_not_promised_to_the_next_run(
    sender: Sender, server: FakeServer, error: Exception
) -> None:
    """A store that answers, and can take nothing, is named with what is wrong; the next run would fare no better."""
    if isinstance(error, BackendUnavailable):
        error.needs_repair = True
    server.error = error
    _log(sender, 1, 10)
    assert not sender.flush()

    said = sender.remedy()

    assert "by the next run" not in said
    assert f"(10) is kept until this is repaired: {error}; then `python -m track sync` sends it" in said


def test_events_in_memory_are_said_to_be_there(
    server: FakeServer, owner: Owner, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where no spill can be written, no folder is named as where events wait."""
    (tmp_path / spill_folder(URI).name).write_text("in the way")
    server.error = BackendUnavailable("it is away")
    sender = Sender(Reachability(URI), server, 1 << 30, owner, owner.change)
    sender.start()

    _log(sender, 1, 10)
    sender.flush(0.3)
    sender.reach.tell()

    assert (sender.unsaved(), sender.remedy()) == (10, "they are lost with this process")
    assert f"events wait in {tmp_path}" not in caplog.text
    server.error = None
    (tmp_path / spill_folder(URI).name).unlink()
    sender.close()


def test_note_names_the_server_without_its_password(sender: Sender) -> None:
    """What people read beside the spills holds no secret, and nobody else may read the folder."""
    folder = spill_folder(URI)

    assert (folder / "uri").read_text() == "fake://ann:***@server/runs"
    assert folder.stat().st_mode & 0o077 == 0


def test_empty_folder_of_a_server_goes_with_the_last_spill(sender: Sender, tmp_path: Path) -> None:
    """Once everything was sent nothing is left behind, not even whose it was."""
    _log(sender, 1, 10)
    assert sender.flush()

    sender.close()

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_deleted_meanwhile_has_nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks for what others have left looks while another process sends it, and deletes the folder."""

    def deleted(*arguments: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", str(tmp_path))

    monkeypatch.setattr(Path, "glob", deleted)

    assert leftovers(tmp_path) == []


def test_folder_of_a_server_stays_with_what_waits(sender: Sender, server: FakeServer) -> None:
    """While anything waits, people can read for whom; whoever sends the rest removes the folder."""
    server.error = BackendUnavailable("it is away")
    _log(sender, 1, 10)
    assert not sender.flush()
    sender.close()
    folder = spill_folder(URI)
    noted = (folder / "uri").exists()

    server.error = None
    (left,) = leftovers(folder)
    assert list(send_leftover(left, server)) == [(10, 0)]

    assert noted
    assert not folder.exists()
    assert not left.is_alive()
    assert list(send_leftover(left, server)) == []


def test_folder_that_vanishes_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that has just sent everything may remove the folder that this one is about to use."""
    spill = Spill(URI)
    take = Claim.take

    def vanish_first(path: Path, is_own: bool = False) -> Claim | None:
        monkeypatch.setattr(Claim, "take", take)
        spill.folder.rmdir()
        return take(path, is_own)

    monkeypatch.setattr(Claim, "take", vanish_first)
    spill.open()

    assert (spill.folder / "uri").exists()
    spill.close(len)


def test_note_comes_back_for_a_process_that_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that begins while another one tidies up has a note all the same."""
    spill = Spill(URI)
    spill.open()
    rmdir = Path.rmdir

    def begin_meanwhile(folder: Path) -> None:
        monkeypatch.setattr(Path, "rmdir", rmdir)
        # As another process does that has looked for the note just before it went.
        claims.append(Claim.take(folder / "another.lock", is_own=True))
        rmdir(folder)

    claims: list[Claim | None] = []
    monkeypatch.setattr(Path, "rmdir", begin_meanwhile)
    spill.close(len)

    assert (spill.folder / "uri").read_text() == "fake://ann:***@server/runs"
    (claim,) = claims
    assert claim is not None
    claim.give_back(remove=True)
