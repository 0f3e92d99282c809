"""The program ``python -m track``: one subject a file, each imported when one of its verbs is chosen."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

__all__ = ["main", "make_parser"]


class _Verb(NamedTuple):
    """Where a verb is, and what it does, in a line."""

    module: str
    help: str


_VERBS = {
    "ui": _Verb("ui", "look at a store in the browser"),
    "ls": _Verb("ls", "list trials: what differs, what they measured, how they ended"),
    "show": _Verb("show", "one trial: how it ended, what it measured, where it ran"),
    "compare": _Verb("compare", "what differs between trials, packages and code too"),
    "metrics": _Verb("metrics", "the points of a metric, as numbers or drawn"),
    "watch": _Verb("watch", "list trials while they run"),
    "output": _Verb("output", "show what a trial has printed, also while it runs"),
    "tag": _Verb("editing", "give a trial tags"),
    "status": _Verb("editing", "show or set the status of a trial"),
    "export": _Verb("export", "write trials to files of other programs"),
    "sql": _Verb("sql", "ask a store in SQL, answered by DuckDB"),
    "artifacts": _Verb("artifacts", "list, download and clean up the files of trials"),
    "compact": _Verb("compact", "shorten a file store, for those who read it"),
    "copy": _Verb("copy", "copy runs from one store to another"),
    "import": _Verb("importing", "take over the runs of another tracker"),
    "delete": _Verb("deleting", "hide trials, until they are restored"),
    "restore": _Verb("deleting", "show deleted trials again"),
    "gc": _Verb("deleting", "remove deleted trials for good"),
    "serve": _Verb("serve", "serve a store to clients on other machines"),
    "sync": _Verb("sync", "send the events that processes have left behind"),
    "user": _Verb("user", "say who may use a server"),
    "doctor": _Verb("doctor", "look for what is wrong with a store or this machine"),
    "completion": _Verb("completion", "print what lets a shell complete these commands"),
    "exp": _Verb("exp", "make sets of experiments, run them, list them"),
}


class _Verbs(argparse._SubParsersAction):  # type: ignore[type-arg]
    """Gives each verb its line of help, also those that nobody has imported."""

    def add_parser(self, name: str, **kwargs: Any) -> argparse.ArgumentParser:
        """Return the parser of a verb."""
        parser: argparse.ArgumentParser = super().add_parser(name, help=_VERBS[name].help, **kwargs)
        return parser


class _OneLineEach(argparse.HelpFormatter):
    """Lists the commands in a line each, without a heading in the heading."""

    def _format_action(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._SubParsersAction):
            return "".join(super(_OneLineEach, self)._format_action(one) for one in action._get_subactions())
        return super()._format_action(action)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, with all verbs."""
    return _parser(_VERBS)[0]


def _parser(chosen: Sequence[str] | dict[str, _Verb]) -> tuple[argparse.ArgumentParser, Any]:
    """Return the parser that knows the names of all verbs, and the arguments of those that are chosen."""
    parser = argparse.ArgumentParser(
        prog="track", description="Record what machine-learning experiments did.", formatter_class=_OneLineEach
    )
    verbs: Any = parser.add_subparsers(title="commands", metavar="command", required=True, action=_Verbs)
    for name, verb in _VERBS.items():
        if name in chosen:
            importlib.import_module(f"track.cli.{verb.module}").add_parser(verbs, name)
        else:
            verbs.add_parser(name)
    return parser, verbs


def _parted(words: list[str], option: str | None) -> tuple[list[str], list[str]]:
    """Return the words for the parser, and those of a command, which follow the value of an option."""
    for place, word in enumerate(words if option else []):
        if word == option or word.startswith(f"{option}="):
            end = place + (2 if word == option else 1)
            command = words[end:]
            return words[:end], command[1:] if command[:1] == ["--"] else command
    return words, []


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0 all is well, 1 something is left to do or nothing was found, 2 wrong usage, 3 the store cannot be reached.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["exp"]:
        from track.cli import exp

        return exp.main(words[1:], "track exp")
    parser, verbs = _parser(words[:1])
    if not words:
        parser.exit(2, parser.format_help())
    verb = verbs.choices.get(words[0])
    words, command = _parted(words, verb and verb.get_default("takes_command"))
    if verb is not None and verb.get_default("intermixed"):
        # Options may stand between the words of a list; what follows `--` is none.
        end = words.index("--") if "--" in words else len(words)
        given = verb.parse_intermixed_args(words[1:end])
        given.words += words[end + 1 :]
    else:
        given = parser.parse_args(words)
    if command:
        given.command = command
    try:
        code: int = given.run(given)
    except BrokenPipeError:
        # Who reads has seen enough; nothing is to be flushed into it at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    return code
