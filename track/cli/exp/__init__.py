"""``track exp``, and the programs ``exp`` and ``xmen``: sets of experiments from a shell."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from track.cli.exp import listing, sets, settings
from track.cli.exp.shell import Parser
from track.cli.shell import AWAY, WRONG, code_of, complain
from track.errors import TrackError

_PROGRAMS = ("exp", "xmen")
DESCRIPTION = """
Makes sets of experiments, runs them, and lists what became of them. A set is a folder with a program, its default
parameters, and a folder for each experiment. Most verbs work on the set in the working directory, or in -r ROOT.
"""
_EXAMPLE = """
for example: exp python --add hello HelloWorld; exp init -n HelloWorld -r runs; cd runs; exp link -u '{a: 1 | 2}';
exp run '*' bash; exp list -ds -m
"""


def add_parser(verbs: Any, name: str) -> None:
    """Add the command to the parser of the program, which gives all words after it to `main`."""
    _add_verbs(verbs.add_parser(name, description=DESCRIPTION))


def _add_verbs(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True, help="see exp VERB --help")
    for module in (settings, sets, listing):
        module.add_verbs(verbs)


def main(arguments: Sequence[str] | None = None, program: str | None = None) -> int:
    """Run a verb and return its exit code.

    0 all is well, 1 an experiment has failed, or somebody has said no, 2 nothing could be done, 3 the store cannot be
    reached.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    started = os.path.basename(sys.argv[0])
    program = program or (started if started in _PROGRAMS else "track exp")
    words, command = _parted(words)
    parser = Parser(prog=program, description=DESCRIPTION, epilog=_EXAMPLE)
    _add_verbs(parser)
    if not words:
        parser.print_help()
        return 0
    given = parser.parse_args(words)
    try:
        code: int = given.act(given, command)
    except BrokenPipeError:
        # Who reads has seen enough; nothing is to be flushed into it at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except (TrackError, ValueError, OSError, EOFError) as error:
        complain(f"{program} {words[0]}", error)
        # What is not found is a mistake in a name here, as a set where there is none.
        return AWAY if code_of(error) == AWAY else WRONG
    return code


_TAKE_A_COMMAND = {"run": ("-r", "--root", "-j", "--parallel"), "python": (), "experiments": ()}
"""Verbs after whose pattern or name everything is a command's; and their flags that have a value."""


def _parted(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the words for the parser, and those of a command, whatever they look like."""
    if not words or words[0] not in _TAKE_A_COMMAND:
        return words, []
    with_value = _TAKE_A_COMMAND[words[0]]
    place = 1
    while place < len(words) and words[place].startswith("-"):
        if not with_value and words[place] != "--json":
            # Flags of the verb itself: nothing is run.
            return words, []
        place += 2 if words[place] in with_value else 1
    return words[: place + 1], words[place + 1 :]
