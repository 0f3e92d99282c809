"""``track compact``: bring a store into its shortest form now, rather than when the next run needs it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from track.cli.shell import on_store, say, say_json, take_forms, take_words
from track.persistence.protocol import Protocol
from track.persistence.utils import mask_secrets
from track.reading import open_stored

_DESCRIPTION = """
Writes what is in the journal of a file store into its JSON file, and into points files once there are many points.
Whoever reads the store next has less to read. While other processes log to it the journal stays as it is, and complete.
"""
_WIDTH = 40


def add_parser(verbs: Any, name: str) -> None:
    """Add the command to the parser of the program."""
    parser = verbs.add_parser(name, description=_DESCRIPTION)
    parser.set_defaults(run=run, prog=parser.prog)
    take_words(parser, "", most=0)
    take_forms(parser, is_list=False)


def run(arguments: argparse.Namespace) -> int:
    """Fold a store, and return the exit code."""
    return on_store(arguments, partial(_compact, arguments), open_stored)


def _compact(given: argparse.Namespace, protocol: Protocol, uri: str, words: list[str]) -> int:
    is_folded = protocol.compact(_bar() if sys.stderr.isatty() else None)
    if given.json:
        say_json(uri=mask_secrets(uri), is_folded=is_folded)
    elif not is_folded:
        say("nothing to do: this backend has no journal")
    return 0


def _bar() -> Callable[[float], None]:
    """Return what draws how much is done, in one line, when that has changed."""
    drawn = -1

    def draw(done: float) -> None:
        nonlocal drawn
        if (percent := int(done * 100)) != drawn:
            drawn = percent
            bar = "#" * (percent * _WIDTH // 100)
            end = "\n" if percent >= 100 else ""
            print(f"\r[{bar:<{_WIDTH}}] {percent:3} %", end=end, file=sys.stderr, flush=True)

    return draw
