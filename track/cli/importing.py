"""``track import``: take over the runs of another tracker."""

from __future__ import annotations

import argparse
from typing import Any

from track.cli.shell import WRONG, as_uri, attempt, complain, configured_store, say, say_json, take_forms
from track.errors import TrackError
from track.importing import SOURCES, Report, import_runs
from track.persistence.utils import mask_secrets
from track.shown import clean

_DESCRIPTION = """
Stores the runs of another tracker as trials, with the times, steps and ends that they had. It may be run again: a run
that is there is not stored twice. Nothing of the source is changed.
"""
_OUTCOMES = {
    "imported": "imported",
    "completed": "completed, whose import had been broken off",
    "continued": "continued: what is new since it was imported",
    "present": "there already",
    "changed": "not imported again, though what was imported is other there now",
    "deleted": "not imported, because they were deleted there (track restore brings them back)",
    "refused": "not imported, because they were refused",
}
_SHOWN = 5


def add_parser(verbs: Any, name: str) -> None:
    """Add the command to the parser of the program."""
    epilog = "; ".join(f"{source}: {text}" for source, text in SOURCES.items())
    parser = verbs.add_parser(name, description=_DESCRIPTION, epilog=f"PATH is, of {epilog}.")
    parser.set_defaults(run=run, prog=parser.prog)
    parser.add_argument("source", choices=SOURCES, help="whose runs they are")
    parser.add_argument(
        "path", metavar="PATH", help="the folder or file that it has written, or the URI of its database"
    )
    parser.add_argument(
        "--to",
        type=as_uri,
        metavar="URI",
        help="the store, as it is given to TrackClient (default: the one configured)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="read everything, say what would be stored, store nothing"
    )
    take_forms(parser, is_list=False)


def run(arguments: argparse.Namespace) -> int:
    """Import, and return the exit code."""
    try:
        uri = arguments.to or configured_store(option="--to ")
    except TrackError as error:
        complain(arguments.prog, error)
        return WRONG

    def act() -> int:
        report = import_runs(arguments.source, arguments.path, uri, dry_run=arguments.dry_run)
        if arguments.json:
            say_json(target=mask_secrets(uri), **report.to_json())
        else:
            _say(report, mask_secrets(uri))
        return 0 if report.is_complete else 1

    return attempt(arguments.prog, act)


def _say(report: Report, uri: str) -> None:
    would = "would be " if report.dry_run else ""
    taken = [
        f"{count:,} {name.removesuffix('s') if count == 1 else name}" for name, count in report.taken.items() if count
    ]
    say(f"{would}stored in {uri}: {', '.join(taken) or 'nothing'}")
    for outcome, text in _OUTCOMES.items():
        if names := report.runs.get(outcome, []):
            more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
            runs = "1 run" if len(names) == 1 else f"{len(names):,} runs"
            said = f"{would}{text}" if outcome in ("imported", "completed", "continued") else text
            say(f"  {runs} {said}: {clean(', '.join(names[:_SHOWN]), 500)}{more}")
    if report.left:
        say("not taken, or not as it was:")
        width = max(len(f"{one.count:,}") for one in report.left)
        for one in report.left:
            first = f" ({one.first})" if one.first else ""
            say(f"  {one.count:>{width},}  {one.kind}: {one.reason}{first}")
