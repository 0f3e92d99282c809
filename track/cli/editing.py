"""``track tag`` and ``track status``: small changes of a trial."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from track.cli.grid import cell
from track.cli.shell import all_stored, on_store, say, say_json, take_forms, take_words
from track.cli.show import row_of
from track.errors import InvalidCall, NotFound, suggestion
from track.filters import read_value
from track.naming import WAYS
from track.persistence.protocol import Protocol
from track.persistence.query import parse_query
from track.plain import named_tags
from track.rows import Row
from track.structure import Trial
from track.structure import status as make_status

_TAG = """
Gives a trial tags, or shows those that it has: paper, or paper=v2; a tag that it has gets the new value. --remove takes
one away.
"""
_STATUS = """
Sets the status of a trial, or shows it: completed, interrupted, suspended, exception, pruned, submitted, or one of your
own. A program that still runs the trial goes on, and a status that was set by hand stays.
"""


def add_parser(verbs: Any, name: str) -> None:
    """Add one of the commands to the parser of the program."""
    description, act = {"tag": (_TAG, _tag), "status": (_STATUS, _status)}[name]
    parser = verbs.add_parser(name, description=description)
    parser.set_defaults(run=run, act=act)
    if name == "tag":
        take_words(parser, f"the trial: {WAYS}; TAG: name or name=value", "TRIAL TAG", least=1)
        parser.add_argument("--remove", metavar="TAG", action="append", default=[], help="take a tag away")
    else:
        take_words(parser, f"the trial: {WAYS}; NAME: the status", "TRIAL NAME", least=1, most=2)
        parser.add_argument("--code", type=int, metavar="N", help="of a status of your own; its hundreds say the kind")
    take_forms(parser, is_list=False)


def run(arguments: argparse.Namespace) -> int:
    """Change a trial, and return the exit code."""
    return on_store(arguments, partial(arguments.act, arguments))


def _tag(given: argparse.Namespace, protocol: Protocol, uri: str, words: list[str]) -> int:
    row = row_of(protocol, words[0])
    tags = dict(map(_read_tag, words[1:])) | dict.fromkeys(given.remove)
    if missing := [name for name in given.remove if name not in row.tags]:
        raise NotFound(f"{_called(row)} has no tag {missing[0]!r}{suggestion(missing[0], row.tags)}")
    if tags:
        protocol.check_writable()
        protocol.add_trial_tags(row.trial, **tags)
    code = all_stored(protocol, given.prog)
    tags = {name: value for name, value in {**row.tags, **named_tags(tags)}.items() if value is not None}
    if given.json:
        say_json(uid=row.uid, tags=tags)
    else:
        texts = [name if value is True else f"{name}={value}" for name, value in tags.items()]
        say(f"{_called(row)}: {cell(', '.join(texts) or 'no tags', 1000)}")
    return code


def _read_tag(word: str) -> tuple[str, Any]:
    name, sign, value = word.partition("=")
    if not name.strip():
        raise InvalidCall(f"{word!r} is no tag: write name, or name=value")
    return name, read_value(value) if sign else True


def _status(given: argparse.Namespace, protocol: Protocol, uri: str, words: list[str]) -> int:
    row = row_of(protocol, words[0])
    status, code = row.trial.status, 0
    if len(words) > 1:
        # One that is a letter off is refused, as in a query.
        parse_query({"status": words[1]}, Trial)
        if words[1].lower() == "failed":
            raise InvalidCall("'failed' means exception or broken: say which")
        status = make_status(words[1], given.code)
        protocol.check_writable()
        protocol.set_trial_status(row.trial, status)
        code = all_stored(protocol, given.prog)
    if given.json:
        say_json(uid=row.uid, status=str(status))
    else:
        say(f"{_called(row)}: {cell(str(status))}")
    return code


def _called(row: Row) -> str:
    return f"{cell(row.label or 'a trial')} ({row.uid[:12]})"
