"""``track watch``: trials as a table that is drawn again when one changes; or what happens to them, told once."""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from track.cli.ages import age_of
from track.cli.alerting import COMMAND_SECONDS, tell_what_happens
from track.cli.grid import is_terminal
from track.cli.happenings import KINDS, SILENCE
from track.cli.ls import lines_of, selected
from track.cli.shell import NOTHING, as_json, on_store, say, say_json, take_words, tell, write
from track.errors import InvalidCall
from track.filters import Filter, parse_filter
from track.persistence.protocol import Protocol
from track.rows import Row, arranged

_DESCRIPTION = """
Lists trials as track ls does, those that run first, and again when one of them changes, until it is interrupted.
FILTER as in track ls: 'status:running', 'group:ablation'. With --on, which comes last, it lists nothing, and tells what
happens to them from then on, a line each: that a trial has failed, has a metric that is NaN or infinite, is silent, has
an alert, or is done; and runs COMMAND with it, without a shell. An ARG that is {text}, {event}, {name}, {uid},
{status}, {level}, {group}, {project} or {uri} is replaced; TRACK_EVENT, TRACK_EVENT_TEXT, ... are in its environment,
and all of it is JSON on its standard input.
"""
_INTERVAL, _LOOK_AGAIN, _ROWS = 1.0, 10.0, 20


def add_parser(verbs: Any, name: str) -> None:
    """Add the command to the parser of the program."""
    parser = verbs.add_parser(name, description=_DESCRIPTION)
    parser.set_defaults(run=run, takes_command="--on", command=[])
    take_words(parser, "which trials, as track ls takes it", "FILTER")
    parser.add_argument("-c", "--columns", metavar="NAME,...", help="as of track ls")
    parser.add_argument("-s", "--sort", metavar="NAME", help="by a column, from the least")
    parser.add_argument("-r", "--reverse", action="store_true", help="from the greatest")
    parser.add_argument(
        "-n", "--limit", type=int, metavar="N", help=f"how many (default: what fits the terminal, else {_ROWS})"
    )
    parser.add_argument(
        "-i", "--interval", type=float, default=_INTERVAL, metavar="SECONDS", help="between two looks (default: 1)"
    )
    parser.add_argument("--until-done", action="store_true", help="end once none of them runs")
    parser.add_argument(
        "--silent",
        type=age_of,
        default=SILENCE,
        metavar="AGE",
        help="--on silent: without a word for so long, but for those of its monitor: 90s, 10m, 2h (default: 10m)",
    )
    parser.add_argument(
        "--timeout",
        type=age_of,
        default=COMMAND_SECONDS,
        metavar="AGE",
        help="kill a COMMAND that takes longer (default: 60s)",
    )
    parser.add_argument("--once", action="store_true", help="--on: end after the first that happens")
    parser.add_argument(
        "--on", metavar="KIND,... [COMMAND ARG ...]", help=f"tell what happens: some of {', '.join(KINDS)}"
    )
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--jsonl", action="store_true", help="no table: each trial that has changed, as JSON in a line")
    forms.add_argument("--json", action="store_true", help="no table: what has changed at a look, as one document")


def run(arguments: argparse.Namespace) -> int:
    """Watch, and return the exit code."""
    return on_store(arguments, partial(_watch, arguments))


def _watch(given: argparse.Namespace, protocol: Protocol, uri: str, words: list[str]) -> int:
    if not given.interval > 0:
        raise InvalidCall(f"-i takes the seconds between two looks, not {given.interval}")
    chosen = parse_filter(words)
    if given.on is not None:
        return tell_what_happens(given, protocol, uri, chosen)
    table = _Table(protocol, given, chosen)
    cursor, changed = protocol.changes()
    looked = 0.0
    while True:
        is_due = time.monotonic() - looked >= _LOOK_AGAIN
        if changed or is_due:
            looked = time.monotonic()
            table.look(changed)
            if given.until_done and not any(row.is_running for row in table.rows):
                return 0 if table.rows else NOTHING
        elif is_terminal():
            # Times go on.
            table.draw()
        time.sleep(given.interval)
        cursor, changed = protocol.changes(cursor)


class _Table:
    """What is watched, and what was shown of it."""

    def __init__(self, protocol: Protocol, given: argparse.Namespace, chosen: Filter) -> None:
        self._protocol, self._given, self._chosen = protocol, given, chosen
        self._drawn: dict[tuple[str, str], str] = {}
        self._shown: list[str] = []
        self._short: dict[str, str] = {}
        self._total = 0
        self.rows: list[Row] = []

    def look(self, changed: Sequence[str]) -> None:
        """Read what there is now, and show it where it is something else."""
        self.rows, self._total, self._short = selected(self._protocol, self._chosen)
        uids = set(changed)
        new = [row for row in self.rows if row.uid in uids]
        if self._given.jsonl:
            for row in new:
                say(as_json(row.to_json()))
            return
        if self._given.json:
            if new:
                running = sum(row.is_running for row in self.rows)
                trials = [row.to_json() for row in new]
                say_json(total=self._total, matching=len(self.rows), running=running, trials=trials)
            return
        for key in [key for key in self._drawn if key[0] in uids]:
            del self._drawn[key]
        self.draw()

    def draw(self) -> None:
        """Draw the table, in its place on a terminal; elsewhere below the one before, where it differs."""
        if self._given.jsonl or self._given.json:
            return
        rows = self._arranged()
        columns = [name for one in (self._given.columns or "").split(",") if (name := one.strip())]
        lines = lines_of(rows, columns, self._given.sort, self._protocol, self._short, self._drawn)[0] if rows else []
        running = sum(row.is_running for row in self.rows)
        last = f"{len(rows):,} of {len(self.rows):,} trials, {running:,} running"
        if is_terminal():
            text = "".join(f"{line}\x1b[K\n" for line in [*lines, f"{last}  {time.strftime('%H:%M:%S')}"])
            # Over what is there: a screen that is wiped first would flicker.
            begin = "" if self._shown else "\x1b[2J"
            write(f"{begin}\x1b[H{text}\x1b[J")
            self._shown = lines or [last]
        elif lines != self._shown:
            say("\n".join([*([""] if self._shown else []), *lines]))
            tell(last)
            self._shown = lines

    def _arranged(self) -> list[Row]:
        rows = self.rows[::-1]
        if self._given.sort:
            rows = arranged(rows, self._given.sort, self._given.reverse)
        else:
            rows.sort(key=lambda row: not row.is_running)
        room = shutil.get_terminal_size().lines - 3 if is_terminal() else _ROWS
        return rows[: max(1, room if self._given.limit is None else self._given.limit)]
