"""``track watch --on``: what happens to trials is told, and a command is run with it."""

from __future__ import annotations

import argparse
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from track.cli.grid import duration
from track.cli.happenings import Happenings, Notice, read_kinds
from track.cli.ls import selected
from track.cli.shell import NOTHING, as_json, say, say_json, tell
from track.errors import BackendUnavailable, InvalidCall, LockTimeout
from track.filters import Filter
from track.persistence.protocol import Protocol
from track.persistence.utils import mask_secrets
from track.rows import Row
from track.shown import clean, sentence_of
from track.utils.lifecycle import backoff

COMMAND_SECONDS = 60.0
"""How long a command may take, unless it is said otherwise."""
_LOOK_AGAIN, _LOOKS, _LONGEST_PAUSE = 10.0, 10, 60.0
_LONGEST = 2000
_PREFIX = "TRACK_EVENT"
_sleep = time.sleep


def facts_of(notice: Notice, uri: str) -> dict[str, str]:
    """Return what a command is told, by name: texts on one line, of a bounded length."""
    trial = notice.row.trial
    facts = {
        "event": notice.event,
        "text": notice.text,
        "level": notice.level,
        "name": notice.row.label,
        "uid": notice.row.uid,
        "status": str(trial.status),
        "group": notice.row.group or "",
        "project": "" if trial.project_id is None else str(trial.project_id),
        "uri": mask_secrets(uri),
    }
    return {name: clean(text, _LONGEST) for name, text in facts.items()}


def command_of(arguments: Sequence[str], facts: Mapping[str, str]) -> list[str]:
    """Return a command in which arguments that are ``{name}``, ``{text}``, ... are replaced by facts, and no others.

    So whatever is in a name becomes neither a part of a script, nor two arguments, nor an option.

    Examples
    --------
    >>> command_of(["mail", "-s", "{name}", "{name}!"], {"name": "-rf; $(reboot)"})
    ['mail', '-s', ' -rf; $(reboot)', '{name}!']
    """
    places = {f"{{{name}}}": f" {text}" if text.startswith("-") else text for name, text in facts.items()}
    return [arguments[0], *(places.get(given, given) for given in arguments[1:])]


def run_command(arguments: Sequence[str], notice: Notice, uri: str, seconds: float) -> str:
    """Run a command with what happened, and return what went wrong, '' for nothing.

    It gets the facts in the places of its arguments, in its environment as ``TRACK_EVENT``, ``TRACK_EVENT_NAME``, ...,
    and as JSON on its standard input. After these seconds it is killed, with the processes that it has started.
    """
    import subprocess

    facts = facts_of(notice, uri)
    names = {_PREFIX if name == "event" else f"{_PREFIX}_{name.upper()}": text for name, text in facts.items()}
    document = as_json({"schema": 1, **facts, "trial": notice.row.to_json()})
    try:
        child = subprocess.Popen(
            command_of(arguments, facts),
            stdin=subprocess.PIPE,
            stdout=sys.stderr.fileno() if _has_descriptor(sys.stderr) else subprocess.DEVNULL,
            env={**os.environ, **names},
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return f"could not be run: {sentence_of(error)}"
    try:
        child.communicate(f"{document}\n".encode(), timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"was killed: it took more than {duration(seconds)}"
    finally:
        _end(child)
    if child.returncode < 0:
        return f"was ended by {_signal_name(-child.returncode)}"
    return f"ended with {child.returncode}" if child.returncode else ""


def _signal_name(number: int) -> str:
    # Those of real time have no names, but for the first and the last.
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _end(child: Any) -> None:
    """Kill a command that has not ended, and what it has started."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    if child.stdin is not None and not child.stdin.closed:
        try:
            child.stdin.close()
        except OSError:
            return


def _has_descriptor(stream: Any) -> bool:
    try:
        return bool(stream.fileno() >= 0)
    except (AttributeError, OSError, ValueError):
        return False


# watching


def tell_what_happens(given: argparse.Namespace, protocol: Protocol, uri: str, chosen: Filter) -> int:
    """Watch until it is interrupted, and return the exit code; see ``track watch --help``."""
    happenings = Happenings(read_kinds(given.on), given.silent)
    command = list(given.command)
    if command and shutil.which(command[0]) is None:
        raise InvalidCall(
            f"there is no command {clean(command[0], 200)!r}: what follows --on KIND,... is one; the store, FILTER and "
            "options come before it"
        )
    watching = Watching(protocol, chosen, given.interval)
    while True:
        rows = watching.rows()
        code = 0
        for notice in [] if rows is None else happenings.look(rows, time.time()):
            _say(given, notice, uri)
            wrong = run_command(command, notice, uri, given.timeout) if command else ""
            if wrong:
                tell(f"{given.prog}: {clean(command[0], 200)} {wrong}")
                code = NOTHING
            if given.once:
                return code
        if given.until_done and rows is not None and not any(row.is_running for row in rows):
            return 0 if rows else NOTHING
        _sleep(watching.pause())


def _say(given: argparse.Namespace, notice: Notice, uri: str) -> None:
    if given.json or given.jsonl:
        facts = facts_of(notice, uri)
        (say_json if given.json else _say_line)(**facts, trial=notice.row.to_json())
        return
    say(f"{time.strftime('%H:%M:%S')}  {notice.event:<7}{clean(notice.text, _LONGEST)}")


def _say_line(**fields: Any) -> None:
    say(as_json(fields))


class Watching:
    """The rows of a store as they are now; one that is away is waited for."""

    def __init__(self, protocol: Protocol, chosen: Filter, interval: float) -> None:
        self._protocol, self._chosen = protocol, chosen
        self._interval, self._again = interval, min(_LOOK_AGAIN, _LOOKS * interval)
        self._cursor: str | None = None
        self._known: list[Row] = []
        self._looked = -math.inf
        self._failures = 0

    def rows(self) -> list[Row] | None:
        """Return the rows of all trials that are chosen, oldest first; None while the store is away, which is told."""
        try:
            self._cursor, changed = self._protocol.changes(self._cursor)
            # That a process is gone is no change.
            if changed or time.monotonic() - self._looked >= self._again:
                self._looked = time.monotonic()
                self._known = selected(self._protocol, self._chosen)[0]
        except (BackendUnavailable, LockTimeout, OSError) as error:
            self._failures += 1
            # What changed meanwhile is looked at in any case.
            self._looked = -math.inf
            if self._failures == 1:
                tell(f"the store is away, and waited for ({sentence_of(error)})")
            return None
        if self._failures:
            self._failures = 0
            tell("the store is there again")
        return self._known

    def pause(self) -> float:
        """Return how long to wait before the next look."""
        return self._interval + (backoff(self._failures, longest=_LONGEST_PAUSE) if self._failures else 0.0)
