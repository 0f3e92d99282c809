"""The thread that sends a spill to its server: pauses after failures, limits, flushing, the end of the process."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from track.errors import AnotherStore, BackendUnavailable, CorruptJournal, EventsMissing, UnknownSubject
from track.events import Event
from track.persistence.delivery.batches import Server, send_leftover, send_segment
from track.persistence.delivery.creations import Creations
from track.persistence.delivery.spill import Leftover, Spill, leftovers, spill_places
from track.shown import clean
from track.utils import lifecycle
from track.utils.lifecycle import backoff

logger = logging.getLogger(__name__)
# Bytes in one file of a spill, about; when most of it was sent, the next one is begun.
_SEGMENT = 32 << 20
_IDLE = 0.1
_LONGEST_PAUSE = 30.0
_LONGEST_WAIT = 1.0
_WAKE = 0.5
_FLUSH = 30.0
PATIENCE = 3.0
"""Seconds of silence after which a flush gives up, unless something else is said."""


class Reachability:
    """Whether a server is away, as whoever has tried it last knows: the thread that sends, or a decision.

    `uri`: for messages: with its secrets masked. `places`: where events may wait meanwhile; by default as the
    configuration says now.

    Attributes
    ----------
    folder: Path or str
        Where they do; ``memory`` where no file can be written.
    """

    def __init__(self, uri: str, places: list[Path] | None = None) -> None:
        self.uri = uri
        self.places = places or spill_places(uri)
        self.folder: Path | str = self.places[0]
        self.error: Exception | None = None
        self._failed_at = 0.0
        self._is_told = False

    @property
    def is_away(self) -> bool:
        """Whether the server was away when it was last tried."""
        return isinstance(self.error, BackendUnavailable)

    @property
    def needs_repair(self) -> bool:
        """Whether the server, or the file, was there when it was last tried, and can take nothing as it is."""
        error = self.error
        return error.needs_repair if isinstance(error, BackendUnavailable) else error is not None

    def failed_within(self, seconds: float) -> bool:
        """Return whether the server was away a moment ago: to try it again so soon is no use."""
        return self.is_away and time.monotonic() - self._failed_at < seconds

    def note(self, error: Exception | None) -> bool:
        """Note how it went, and return whether the server has gone away or come back."""
        was_away, self.error = self.is_away, error
        if error is not None:
            self._failed_at = time.monotonic()
        is_away = self.is_away
        if not is_away:
            self._is_told = False
        return was_away != is_away

    def tell(self) -> None:
        """Say that the server is away, and why, unless that was said already."""
        if not self._is_told:
            self._is_told = True
            logger.warning("%s: training goes on, events wait in %s", self.error, self.folder)

    def tell_offline(self) -> None:
        """Say that decisions are made here meanwhile; with the reason, unless that was said already."""
        if self._is_told:
            logger.warning("%s is away: decisions are made here meanwhile (offline=1)", self.uri)
            return
        self._is_told = True
        text = "%s (offline=1: decisions are made here meanwhile, and events wait in %s)"
        logger.warning(text, self.error, self.folder)


class Sender:
    """Sends one spill until its owner is gone and everything was sent.

    `limit`: bytes of the spill beyond which events are dropped, and counted. `owner`: whose events these are.
    `on_change`: told when the server goes away or comes back, and when the spill is full or has room again. `patience`:
    seconds of silence after which a flush gives up, unless it is told how long to wait. `creations`: what this process
    has created at the server. `store`: the id of the store there, if it is known.
    """

    def __init__(  # noqa: PLR0917 - each once, from the layer above
        self,
        reach: Reachability,
        server: Server,
        limit: int,
        owner: object,
        on_change: Callable[[], None],
        patience: float = PATIENCE,
        creations: Creations | None = None,
        store: str = "",
    ) -> None:
        self.uri = uri = reach.uri
        self.reach = reach
        self.server = server
        self.limit = limit
        self.patience = patience
        self.spill = Spill(uri, reach.places, store)
        self.is_full = False
        self._owner = weakref.ref(owner)
        self._on_change: weakref.WeakMethod[Callable[[], None]] = weakref.WeakMethod(on_change)
        self._segment = min(_SEGMENT, max(limit // 4, 1))
        self._wake = threading.Event()
        self._changed = threading.Condition(threading.RLock())
        self._turn = threading.Lock()
        self._started = self._failed = self._failed_at = 0
        self._progress = time.monotonic()
        self._refused = self._dropped = self._lost = self._refused_bytes = 0
        self._creations = creations or Creations()
        self._is_stopping = False
        self._left: int | None = None
        self.has_ended = False
        self._has_looked = False
        self._thread = threading.Thread(target=self._run, name="track-send", daemon=True)
        self._is_threaded = False

    def start(self) -> None:
        """Open the spill and begin to send."""
        try:
            self._open_spill()
        except (OSError, CorruptJournal) as error:
            self.reach.note(error)
            self.reach.folder = "memory"
            logger.warning(
                "no spill can be written in %s (%s): events wait in memory; the option log.spill.folder names "
                "another folder",
                self.spill.folder,
                error,
            )
        lifecycle.add(self)
        try:
            self._thread.start()
            self._is_threaded = True
        except RuntimeError:
            # The interpreter is ending: what is logged now is sent by `close`.
            logger.debug("no thread can be started any more")

    def _open_spill(self) -> None:
        if not self.spill.is_open:
            self.spill.open()
            self.reach.folder = self.spill.folder

    # counting

    def drop(self, line: bytes) -> None:
        """Count a line that is given up because the spill is full."""
        with self._changed:
            self._dropped += 1

    def unsaved(self) -> int:
        """Return how many events the server has not acknowledged."""
        if self._left is not None:
            return self._left
        return self._dropped + self._lost + self._count_refused() + self.spill.count_unsent()

    def _count_refused(self) -> int:
        return self._refused + sum(segment.refused for segment in list(self.spill.segments))

    def remedy(self) -> str:
        """Say what becomes of events that are not acknowledged, as far as the disk says it too."""
        kept = Leftover(self.spill.folder, self.spill.name).count_unsent()
        said = []
        if kept and isinstance(self.reach.error, AnotherStore):
            said.append(
                f"what waits in {self.spill.folder} ({kept}) is kept for its store: put that back, and run "
                "`python -m track sync`"
            )
        elif kept and self.reach.needs_repair:
            reason = clean(str(self.reach.error))
            said.append(
                f"what waits in {self.spill.folder} ({kept}) is kept until this is repaired: {reason}; then `python -m "
                "track sync` sends it"
            )
        elif kept:
            said.append(
                f"what waits in {self.spill.folder} ({kept}) is sent by the next run, or by `python -m track sync`"
            )
        elif self.spill.count_unsent():
            said.append("they are lost with this process")
        if refused := self._count_refused():
            said.append(
                f"{refused} were refused and stay in {self.spill.folder}/*.refused: `python -m track sync --status` "
                "says why"
            )
        if self._lost:
            said.append(f"{self._lost} were stored before it was put back to an older state")
        return "; ".join(said)

    # the thread

    def _run(self) -> None:
        try:
            while not self._is_stopping:
                self._wake.clear()
                self._attempt()
                if self._owner() is None and self.spill.is_sent:
                    break
                self._pause()
        finally:
            self._end()

    def _attempt(self) -> None:
        """Send what there is, and note how it went."""
        if not self._turn.acquire(blocking=False):
            return
        try:
            self._started += 1
            error: Exception | None = None
            try:
                self._open_spill()
                self.spill.journal.retry()
                self._send_own()
                self._send_leftovers()
            except BackendUnavailable as problem:
                error = problem
            except Exception as problem:  # noqa: BLE001 - whatever it is, the events wait, and this thread goes on
                error = problem
                if type(self.reach.error) is not type(error):
                    logger.error("events for %s wait in %s: %r", self.uri, self.reach.folder, error)
            # Without anything to send, nothing is known of a server that was away.
            if error is not None or not self.reach.is_away:
                self._note(error)
        finally:
            self._turn.release()

    def _send_own(self) -> None:
        while self.spill.segments:
            segment = self.spill.segments[0]
            is_last = len(self.spill.segments) == 1
            # Asked before the file is read to its end: what is added later is added to the next one.
            is_quiet = not is_last and not segment.has_writers
            try:
                for count, _ in enumerate(send_segment(segment, self)):
                    self._note_progress()
                    if count:
                        # Much is waiting: meanwhile more may come than there is room for.
                        self._watch_size()
            except EventsMissing as error:
                self._send_again(error)
                continue
            if is_last:
                self._rotate(self._watch_size())
                return
            if not is_quiet:
                return
            self._refused += segment.refused
            self._refused_bytes += segment.refused_bytes
            segment.refused = segment.refused_bytes = 0
            self.spill.drop_first()
            self._note_progress()

    def _send_again(self, error: EventsMissing) -> None:
        """Begin again with what is kept here, and count what is not: the server was put back to an older state."""
        lost = self.spill.count_lost(self.server.last)
        self._lost += lost
        logger.warning(
            "%s: it was put back to an older state; what is kept here is sent again%s",
            error,
            f", {lost} events before it are not there any more" if lost else "",
        )
        self._creations.send(self.server.receive)
        self.spill.rewind()

    def _rotate(self, size: int) -> None:
        # However much came since the last batch was read: the old file is sent to its end before the new one is begun.
        if size < self._segment or self.spill.is_waiting:
            return
        try:
            self.spill.rotate()
        except OSError as error:
            logger.debug("the spill of %s goes on in the same file: %s", self.uri, error)

    def _send_leftovers(self) -> None:
        """Send what processes that are gone have left, once, between batches of one's own."""
        if self._has_looked:
            return
        for leftover in leftovers(*self.reach.places, own=self.spill.name):
            try:
                for _ in send_leftover(leftover, self):
                    self._note_progress()
                    self._send_own()
                    if self._is_stopping:
                        return
            except FileNotFoundError:
                logger.debug("%r was sent by somebody else", leftover)
            except AnotherStore as error:
                text = "%d events in %s are kept for another store (%s); `python -m track sync --status` tells of them"
                logger.warning(text, leftover.count_unsent(), leftover.folder, error)
            except BackendUnavailable:
                raise
            except (OSError, CorruptJournal) as error:
                # Nothing to hold up one's own events for.
                logger.warning("%r cannot be sent: %s", leftover, error)
        self._has_looked = True
        self._note_progress()

    # to be sent to, as a server

    @property
    def expected_store(self) -> str:
        """The id of the store that events are handed to, or to none."""
        return self.server.expected_store

    @expected_store.setter
    def expected_store(self, identity: str) -> None:
        self.server.expected_store = identity

    def identity(self) -> str:
        """Return the id of the store that is there."""
        return self.server.identity()

    def receive(self, writer: str, first: int, events: Sequence[Event], lines: bytes | None = None) -> None:
        """Hand events to the server as they are."""
        self.server.receive(writer, first, events, lines)

    def last(self, writer: str) -> int:
        """Return the number of the last event that the server has of `writer`."""
        return self.server.last(writer)

    def receive_after(
        self, writer: str, after: int, first: int, events: Sequence[Event], lines: bytes | None = None
    ) -> None:
        """Hand events to the server, and note that it answers before anybody can know that they were stored."""
        try:
            self.server.receive_after(writer, after, first, events, lines)
        except UnknownSubject as error:
            if not self._creations.include(events[number - first] for number in error.numbers):
                raise
            # It was put back to a state before this process created what they are about.
            self._creations.send(self.server.receive)
            self.server.receive_after(writer, after, first, events, lines)
        if self.reach.error is not None:
            self._note(None)

    def _note_progress(self) -> None:
        with self._changed:
            self._progress = time.monotonic()
            self._changed.notify_all()

    def _note(self, error: Exception | None) -> None:
        if self.reach.note(error):
            if self.reach.is_away:
                self.reach.tell()
            self._tell()
        with self._changed:
            if error is None:
                self._failed = 0
            else:
                self._failed, self._failed_at = self._failed + 1, self._started
            self._changed.notify_all()

    def _watch_size(self) -> int:
        """Return the bytes on the disk; too many make the spill full, until there is room again."""
        # Not only what is unsent: a file that cannot be followed by the next one must not grow for ever either.
        size = self.spill.size
        refused = self._refused_bytes + sum(segment.refused_bytes for segment in list(self.spill.segments))
        if size + refused + self.spill.size_of_kept > self.limit:
            self.spill.forget_kept()
        is_full = size + refused > self.limit
        if is_full != self.is_full:
            self.is_full = is_full
            if is_full:
                text = "the spill of %s has reached %d bytes: events are dropped, and counted"
                logger.warning(text, self.uri, self.limit)
            else:
                logger.warning("the spill of %s has room again; %d events were dropped", self.uri, self._dropped)
            self._tell()
        return size

    def _tell(self) -> None:
        on_change = self._on_change()
        if on_change is not None:
            on_change()

    def _pause(self) -> None:
        """Wait longer after each failure; look at the size of the spill meanwhile."""
        pause = backoff(self._failed, _IDLE, _LONGEST_PAUSE) if self._failed else _IDLE
        end = time.monotonic() + pause
        while (left := end - time.monotonic()) > 0 and not self._wake.wait(min(left, _LONGEST_WAIT)):
            self._watch_size()

    def _end(self) -> None:
        late = self._late()
        self._left = self.unsaved()
        self.has_ended = True
        self._tell()
        self.spill.close(late)
        self.server.close()
        lifecycle.discard(self)

    def _late(self) -> Callable[[bytes], int]:
        """Return what takes the lines of threads that were about to write when the spill was closed."""
        owner = self._owner

        def write(line: bytes) -> int:
            protocol: Any = owner()
            if protocol is not None:
                protocol.append_late(line)
            return len(line)

        return write

    # for others

    def flush(self, timeout: float | None = None) -> bool:
        """Return whether the server has everything logged so far, once it has or there is no hope.

        `timeout`: seconds to wait for that, even for a server that is away. By default as long as it goes on (30 s at
        most), and not for a server that is away or silent (for `patience`).
        """
        if timeout is None:
            return self._wait_sent(_FLUSH, is_patient=False)
        return self._wait_sent(timeout, is_patient=True)

    def _wait_sent(self, seconds: float, is_patient: bool) -> bool:
        self.spill.journal.retry()
        is_waiting = self.spill.is_waiting
        target, started, begin = self.spill.end, self._started, time.monotonic()
        woken = 0.0
        with self._changed:
            while True:
                if is_waiting and not self.spill.is_waiting:
                    # What waited in memory has its place now.
                    is_waiting, target = False, self.spill.end
                if not is_waiting and self.spill.acknowledged >= target:
                    return True
                now = time.monotonic()
                is_hopeless = self._failed_at > started or now - max(begin, self._progress) > self.patience
                if now >= begin + seconds or (is_hopeless and not is_patient):
                    return False
                if now - woken > _WAKE:
                    woken = now
                    self._wake.set()
                if self._thread.is_alive():
                    self._changed.wait(0.05)
                else:
                    self._attempt()

    def close(self, seconds: float = lifecycle.SECONDS) -> None:
        """Send what can be sent in some seconds; the rest stays on the disk."""
        deadline = time.monotonic() + seconds
        if not self.spill.is_sent:
            self._wait_sent(seconds, is_patient=False)
        self._is_stopping = True
        self._wake.set()
        if not self._is_threaded:
            self._end()
        elif self._thread is not threading.current_thread():
            # One that is stuck ends the spill itself, later.
            self._thread.join(max(0.1, min(1.0, deadline - time.monotonic())))
        lifecycle.discard(self)

    def send_left_behind(self, seconds: float) -> None:
        """Look again for what processes that are gone have left, and wait until it was sent, some seconds at most."""
        deadline, started = time.monotonic() + seconds, self._started
        with self._changed:
            self._has_looked = False
            self._wake.set()
            while not self._has_looked and self._failed_at <= started and time.monotonic() < deadline:
                if not self._thread.is_alive():
                    return
                self._changed.wait(0.02)

    def hurry(self) -> None:
        """Send now what waits for the next turn."""
        self._wake.set()

    def after_fork(self) -> None:
        """In a child: the events are the parent's to send."""
        self.spill.after_fork()
