"""The program ``python -m track``: one subject a file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from track.cli import artifacts, compact, copy, deleting, exp, serve, sync, ui, user

__all__ = ["main", "make_parser"]

_COMMANDS = (artifacts, compact, copy, deleting, serve, sync, ui, user)


class _OneLineEach(argparse.HelpFormatter):
    """Lists the commands in a line each, without a heading in the heading."""

    def _format_action(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._SubParsersAction):
            return "".join(super(_OneLineEach, self)._format_action(one) for one in action._get_subactions())
        return super()._format_action(action)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="track", description="Record what machine-learning experiments did.", formatter_class=_OneLineEach
    )
    verbs = parser.add_subparsers(title="commands", metavar="command", required=True)
    for command in _COMMANDS:
        command.add_parser(verbs)
    # It has verbs of its own, to which `main` gives all words after it.
    verbs.add_parser("exp", help="make sets of experiments, run them, list them", description=exp.DESCRIPTION)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 all is well, 1 something is left to do, 2 wrong usage."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["exp"]:
        return exp.main(words[1:], "track exp")
    given = make_parser().parse_args(words)
    code: int = given.run(given)
    return code
