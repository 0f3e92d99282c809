"""``track output``: what a trial has printed, and goes on printing."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from track.cli.grid import is_terminal, terminal_width
from track.cli.shell import NOTHING, as_json, on_store, say, say_json, take_forms, take_words, tell, write
from track.cli.show import row_of
from track.front import LINE, pieces_of
from track.naming import WAYS
from track.persistence.protocol import Protocol
from track.rows import Row
from track.shown import clean, text_of

_DESCRIPTION = """
Shows the last lines that a trial has printed, where its program called capture_output(), standard error among them.
With -f it goes on until the trial ends.
"""
_INTERVAL, _LOOK_AGAIN = 0.5, 10
_LONGEST = 4_000


def add_parser(verbs: Any, name: str) -> None:
    """Add the command to the parser of the program."""
    parser = verbs.add_parser(name, description=_DESCRIPTION)
    parser.set_defaults(run=run)
    take_words(parser, f"the trial: {WAYS}", least=1, most=1)
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the trial ends")
    parser.add_argument("-n", "--lines", type=int, metavar="N", help="the last ones only (default: all that are kept)")
    take_forms(parser, is_list=False)


def run(arguments: argparse.Namespace) -> int:
    """Show output, and return the exit code."""
    return on_store(arguments, partial(_output, arguments))


def _output(given: argparse.Namespace, protocol: Protocol, uri: str, words: list[str]) -> int:
    row = row_of(protocol, words[0])
    if given.follow:
        return _follow(protocol, row, given)
    lines = _kept(row)
    if given.lines is not None:
        lines = lines[-given.lines :] if given.lines > 0 else []
    if given.json:
        say_json(uid=row.uid, lines=[{"stream": stream, "text": text} for stream, text in lines])
    elif lines:
        say("\n".join(clean(text, _LONGEST) for _, text in lines))
    else:
        tell("nothing was captured: trial.capture_output() keeps what a program prints")
    return 0 if lines else NOTHING


def _kept(row: Row) -> list[tuple[str, str]]:
    """Return the lines that are kept, with their streams; of trials of earlier versions one stream after the other."""
    lines = [line for piece in pieces_of(row.trial.metadata) for line in _lines(piece)]
    if lines:
        return lines
    texts = [(stream, row.trial.metadata.get(stream)) for stream in ("stdout", "stderr")]
    return [(stream, line) for stream, text in texts if text for line in text_of(text).splitlines()]


def _lines(piece: list[Any]) -> Iterator[tuple[str, str]]:
    _, lost, lines = piece
    if lost:
        yield "track", f"... {lost:,} lines were too many"
    for stream, text in lines:
        yield text_of(stream), text_of(text)


def _follow(protocol: Protocol, row: Row, given: argparse.Namespace) -> int:
    cursor, _ = protocol.changes()
    shown, is_first = _Shown(given.json), True
    looked = 0
    while True:
        shown.show(row, given.lines if is_first else None)
        is_first = False
        if not row.is_running:
            shown.end()
            return 0
        time.sleep(_INTERVAL)
        looked += 1
        cursor, changed = protocol.changes(cursor)
        # That a process died is no change.
        if row.uid in changed or looked % _LOOK_AGAIN == 0:
            row = row_of(protocol, row.uid)


class _Shown:
    """What was shown of the output of a trial."""

    def __init__(self, as_documents: bool) -> None:
        self._as_documents = as_documents
        self._last: list[Any] | None = None
        self._open = ""

    def show(self, row: Row, most: int | None) -> None:
        """Show what is new: `most` lines of it, where that is a number."""
        pieces = pieces_of(row.trial.metadata)
        new = pieces
        if self._last in pieces:
            new = pieces[len(pieces) - pieces[::-1].index(self._last) :]
        elif self._last is not None and pieces:
            self._say("track", "... some lines were not kept")
        lines = [line for piece in new for line in _lines(piece)]
        if most is not None:
            lines = lines[-most:] if most > 0 else []
        for stream, text in lines:
            self._say(stream, text)
        self._last = pieces[-1] if pieces else self._last
        self._show_open(row, pieces)

    def _say(self, stream: str, text: str) -> None:
        if self._as_documents:
            say(as_json({"stream": stream, "text": text}))
            return
        self._wipe()
        say(clean(text, _LONGEST))

    def _show_open(self, row: Row, pieces: list[list[Any]]) -> None:
        """Show the line that is not ended, in its place: only where a terminal can take it back."""
        line = row.trial.metadata.get(LINE)
        if self._as_documents or not is_terminal() or not isinstance(line, list) or len(line) != 3:
            return
        number, _, text = line
        is_ended = bool(pieces) and pieces[-1][0] >= number
        text = "" if is_ended or not row.is_running else clean(text_of(text), max(8, (terminal_width() or 80) - 1))
        if text != self._open:
            self._wipe()
            write(text)
            self._open = text

    def _wipe(self) -> None:
        if self._open:
            write("\r\x1b[K")
            self._open = ""

    def end(self) -> None:
        """Leave the terminal at the beginning of a line."""
        self._wipe()
