"""``track delete``, ``track restore`` and ``track gc``: hide trials, show them again, and remove them for good."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from track.cli.ages import age_of
from track.cli.shell import NOTHING, all_stored, on_store, say, say_json, take_forms, take_words
from track.naming import WAYS, named
from track.persistence.protocol import Protocol
from track.persistence.utils import mask_secrets
from track.reading import open_stored
from track.structure import Status, Trial

_DELETE = """
Hides trials from every listing, query and name. Everything of them is kept, their files too, and a program that still
runs one of them goes on: track restore brings them back, and track gc removes them for good.
"""
_RESTORE = """
Shows trials again that were hidden by track delete, as they are now.
"""
_GC = """
Removes for good what is stored of trials that were deleted, but for those that a process still runs. Their uids stay
taken, so what is logged about them later is dropped. Files of trials go with track artifacts gc, after it.
"""


def add_parser(verbs: Any, name: str) -> None:
    """Add one of the commands to the parser of the program."""
    description, act = {"delete": (_DELETE, _delete), "restore": (_RESTORE, _restore), "gc": (_GC, _forget)}[name]
    parser = verbs.add_parser(name, description=description)
    parser.set_defaults(run=run, act=act, prog=parser.prog)
    if name != "gc":
        of = "; of those that were deleted" if name == "restore" else ""
        take_words(parser, f"trials, each by {WAYS}{of}", "TRIAL", least=1)
        take_forms(parser, is_list=False)
        if name == "delete":
            parser.add_argument("--yes", action="store_true", help="for scripts; nobody is asked, as restore undoes it")
        return
    take_words(parser, "", most=0)
    take_forms(parser, is_list=False)
    parser.add_argument(
        "--older",
        metavar="AGE",
        type=age_of,
        default=0.0,
        help="only what was deleted at least so long ago: 45s, 30m, 12h, 7d or 2w (default: everything)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Hide, show or remove trials, and return the exit code."""
    return on_store(arguments, partial(arguments.act, arguments), open_stored)


def _delete(given: argparse.Namespace, protocol: Protocol, uri: str, words: list[str]) -> int:
    trials = _named(protocol, words, deleted=False)
    for trial in trials:
        protocol.delete_trial(trial)
    code = all_stored(protocol, given.prog)
    if given.json:
        say_json(uri=mask_secrets(uri), deleted=list(map(_document, trials)))
        return code
    for trial in trials:
        goes_on = "; it is running, and goes on" if trial.status is Status.Running else ""
        say(f"deleted {_shown(trial)}{goes_on}")
    return code


def _restore(given: argparse.Namespace, protocol: Protocol, uri: str, words: list[str]) -> int:
    trials = _named(protocol, words, deleted=True)
    for trial in trials:
        protocol.restore_trial(trial)
    code = all_stored(protocol, given.prog)
    if given.json:
        say_json(uri=mask_secrets(uri), restored=list(map(_document, trials)))
        return code
    for trial in trials:
        say(f"restored {_shown(trial)}")
    return code


def _named(protocol: Protocol, names: list[str], deleted: bool) -> list[Trial]:
    """Return the trials that are meant, each once: all of them, or none is changed."""
    found = {trial.uid: trial for trial in (named(protocol, name, deleted) for name in names)}
    return list(found.values())


def _document(trial: Trial) -> dict[str, Any]:
    return {"uid": trial.uid, "name": trial.name, "revision": trial.revision, "status": str(trial.status)}


def _forget(given: argparse.Namespace, protocol: Protocol, uri: str, words: list[str]) -> int:
    found = protocol.forget_trials(given.older)
    code = NOTHING if found.running else 0
    if given.json:
        say_json(uri=mask_secrets(uri), removed=list(found.trials), late=found.late, running=found.running)
        return code
    say(f"removed {_count(len(found.trials))}")
    if found.late:
        events = "1 event" if found.late == 1 else f"{found.late:,} events"
        say(f"{events} came later for trials that were removed, and dropped")
    if found.running:
        say(f"{_count(found.running)} may still be running: run it again later")
    return code


def _shown(trial: Trial) -> str:
    # Whoever writes to the store has chosen the name.
    name = "".join(letter if letter.isprintable() else "?" for letter in str(trial.name or "a trial"))
    return f"{name}/{trial.revision} ({trial.uid[:12]})"


def _count(number: int) -> str:
    return f"{number:,} deleted trial{'' if number == 1 else 's'}"
