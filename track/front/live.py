"""What a trial prints, kept while it lives: line by line, and bounded."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from track.aggregators.aggregator import Aggregator
from track.utils.lifecycle import started

logger = logging.getLogger(__name__)
OUTPUT = "_output"
"""The name in a trial's metadata of the last pieces of its output: number, how many lines are lost before, lines."""
LINE = "_output_line"
"""The name of the line that is not ended, as that of a progress bar: the number of the piece after it, stream, text."""
_LONGEST_LINE, _LONGEST_PIECE = 1_000, 4_000
_MOST_WAITING = 1_000
_PAUSE, _PATIENCE = 0.2, 2.0


def pieces_of(metadata: Mapping[str, Any]) -> list[list[Any]]:
    """Return the pieces of output that are kept, oldest first: number, how many lines are lost before it, lines."""
    kept = metadata.get(OUTPUT)
    pieces = kept.val if isinstance(kept, Aggregator) else kept
    return [one for one in pieces if isinstance(one, list) and len(one) == 3] if isinstance(pieces, list) else []


class Line(NamedTuple):
    """A line of output, without its end; `stream` is ``stdout`` or ``stderr``."""

    stream: str
    text: str


class LiveOutput:
    r"""Takes what is written to standard streams, and gives it to `record` in pieces, from a thread of its own.

    So whoever prints holds no lock of the store, nor waits for it: also one who has it, as a handler of `logging`.
    After a silence a line is recorded at once, then at most five pieces a second. A carriage return begins a line
    again.

    Parameters
    ----------
    record: callable
        Takes metadata: `OUTPUT`, a piece to append; or `LINE`, which takes the place of the one before. Returns whether
        it could be recorded yet.
    """

    def __init__(self, record: Callable[[str, Any], bool]) -> None:
        self._record = record
        self._lines: deque[Line] = deque(maxlen=_MOST_WAITING)
        self._open: dict[str, str] = {}
        self._last: Line | None = None
        self._count, self._lost = 0, 0
        self._writing = threading.Lock()
        self._wake = threading.Event()
        self._over = threading.Event()
        self._pid = os.getpid()
        self._thread: threading.Thread | None = None

    def feed(self, stream: str, text: str) -> None:
        """Take what was written to a stream."""
        if os.getpid() != self._pid:
            # Of a child: it is not the trial that prints.
            return
        with self._writing:
            *lines, rest = (self._open.get(stream, "") + text).split("\n")
            for line in lines:
                self._add(stream, line)
            # The carriage return is kept: what comes next may begin the line again.
            self._open[stream] = visible(rest) + ("\r" if rest.endswith("\r") else "")
            if self._thread is None and not self._over.is_set():
                # Where there is none, `close` records everything.
                self._thread = started(self._run, "track-output")
        self._wake.set()

    def _add(self, stream: str, line: str) -> None:
        self._lost += len(self._lines) == _MOST_WAITING
        self._lines.append(Line(stream, visible(line)))

    def close(self) -> None:
        """Record what is left, and end the thread."""
        if os.getpid() != self._pid:
            return
        with self._writing:
            for stream, text in self._open.items():
                if visible(text):
                    self._add(stream, text)
            self._open.clear()
        self._over.set()
        self._wake.set()
        if self._thread is None:
            self._hand_on()
        elif threading.current_thread() is not self._thread:
            self._thread.join(_PATIENCE)

    def _run(self) -> None:
        while not self._over.is_set():
            self._wake.wait()
            self._wake.clear()
            self._hand_on()
            self._over.wait(_PAUSE)
        self._hand_on()

    def _hand_on(self) -> None:
        try:
            while (piece := self._piece()) is not None:
                if not self._record(OUTPUT, piece):
                    # The trial is not created yet: the lines wait, and are in front of those that came meanwhile.
                    self._put_back(piece)
                    return
                self._over.wait(_PAUSE)
            if not self._over.is_set():
                self._hand_on_line()
        except Exception as error:
            logger.debug("output is not recorded", exc_info=error)

    def _hand_on_line(self) -> None:
        with self._writing:
            shown = [Line(stream, line) for stream, text in self._open.items() if (line := visible(text))]
        last = shown[-1] if shown else None
        if last is not None and last != self._last and self._record(LINE, [self._count, *last]):
            self._last = last

    def _piece(self) -> list[Any] | None:
        """Return the next lines, as many as a piece holds; None where there are none."""
        with self._writing:
            if not self._lines:
                return None
            lines, size = list[Line](), 0
            while self._lines and (not lines or size + len(self._lines[0].text) <= _LONGEST_PIECE):
                lines.append(self._lines.popleft())
                size += len(lines[-1].text) + 1
            lost, self._lost = self._lost, 0
            piece = [self._count, lost, [list(line) for line in lines]]
            self._count += 1
        return piece

    def _put_back(self, piece: list[Any]) -> None:
        with self._writing:
            self._count -= 1
            self._lost += piece[1]
            room = _MOST_WAITING - len(self._lines)
            lines = [Line(*line) for line in piece[2]]
            self._lost += max(0, len(lines) - room)
            self._lines.extendleft(reversed(lines[len(lines) - room :] if room < len(lines) else lines))


def visible(line: str) -> str:
    r"""Return what a terminal shows of a line in which carriage returns begin it again, its end where it is long.

    Examples
    --------
    >>> visible("\r 10 %\r 20 %"), visible("done\r")
    (' 20 %', 'done')
    """
    return line.rstrip("\r").rpartition("\r")[2][-_LONGEST_LINE:]
