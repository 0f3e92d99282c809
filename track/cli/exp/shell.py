"""How the verbs talk to a person: what they print, ask, and say where something is wrong."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, NoReturn

from track import home
from track.cli.shell import say, say_json
from track.errors import InvalidCall, InvalidExperimentRoot
from track.utils.files import absolute_path


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        """Say it, and exit with 2."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def may_ask() -> bool:
    """Return whether there is a person to ask, who wants to be asked."""
    is_terminal = sys.stdin is not None and sys.stdin.isatty()
    return is_terminal and bool(home.setting("prompt"))


def purpose_of(words: list[str] | None, what: str) -> str:
    """Return the purpose that was given, or that a person who is there gives when asked."""
    if words is not None:
        return " ".join(words)
    return _ask(f"What is {what} for? ") if may_ask() else ""


def confirm(what: str, is_sure: bool) -> bool:
    """Return whether something is to be destroyed: where ``-y`` says so, prompting is off, or a person does.

    Raises InvalidCall: there is nobody to ask.
    """
    if is_sure or not home.setting("prompt"):
        return True
    if sys.stdin is None or not sys.stdin.isatty():
        raise InvalidCall(f"{what} cannot be undone, and there is no terminal to ask at: -y does it unasked")
    return _ask(f"{what} cannot be undone. Go on? [y/N] ").lower() in ("y", "yes")


def _ask(question: str) -> str:
    """Return what a person answers; the question is no answer of ours, and stands on standard error."""
    if sys.stderr is not None:
        sys.stderr.write(question)
        sys.stderr.flush()
    return input().strip()


def set_at(root: str) -> str:
    """Return the absolute path of the root of a set, by default the working directory; nothing is created.

    Raises InvalidExperimentRoot: there is no set.
    """
    path = absolute_path(root or ".")
    if not os.path.isfile(os.path.join(path, "experiment.yml")):
        raise InvalidExperimentRoot(f"{path} is not the root of a set of experiments. Try init?")
    return path


def answer(given: argparse.Namespace, lines: list[str], **fields: Any) -> None:
    """Print what a verb has done: one document of these fields, or lines for a person."""
    if given.json:
        say_json(**fields)
        return
    for line in lines:
        say(line)


@contextmanager
def apart(given: argparse.Namespace) -> Iterator[None]:
    """Have programs of the user print to standard error while the block runs, where the answer is a document."""
    if not given.json or sys.stdout is None:
        yield
        return
    sys.stdout.flush()
    kept, other = os.dup(1), os.dup(2) if sys.stderr is not None else os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(other, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(other)
