"""The command line of one experiment."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NoReturn

from track.errors import AlreadyRuns, IncompatibleYmlException, InvalidCall, TrackError
from track.experiment.params import DEFAULTS, NAME
from track.experiment.status import DETACHED, RUNNING, WAITING
from track.home import known
from track.parameters import cast
from track.shown import sentence_of
from track.utils.files import absolute_path
from track.utils.out import write_out
from track.yaml12 import load, texts

_TAKEN = {"help", "update", "purpose", "execute", "to_root", "debug", "txt", "restart"}
_NEGATIVE = re.compile(r"-(\d|\.\d|\.inf|\.nan)")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # ``--lr -1e-3`` is a number, not a flag.
        self._negative_number_matcher = _NEGATIVE

    def error(self, message: str) -> NoReturn:
        """Say it, and exit with 2."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def parse(experiment: Any, words: Sequence[str] | None) -> argparse.Namespace:
    """Set an experiment up as the words of a command line say, by default the program's, and return what was said."""
    parser = _parser(experiment)
    said = parser.parse_args(None if words is None else list(words))
    try:
        _update(experiment, said)
    except (IncompatibleYmlException, TrackError, ValueError, OSError) as error:
        parser.error(sentence_of(error))
    return said


def execute(experiment: Any, said: argparse.Namespace) -> Any:
    """Do what was said, and return what the run returns, if there is one."""
    if said.to_root is not None:
        type(experiment).to_root(experiment, said.to_root)
    if said.execute is None:
        if said.to_root is None and said.is_given:
            _tell("nothing was run: --execute DIR runs it in a folder, --execute without keeping anything")
        elif said.to_root is None:
            write_out(f"{(type(experiment).__doc__ or '').strip()}\n\nFor more help use --help.\n")
        return None
    with ExitStack() as block:
        try:
            _place(experiment, said)
            experiment.__dict__["_wants_output"] = bool(said.txt) or known("redirect_stdout")
            block.enter_context(experiment)
        except AlreadyRuns as error:
            # Copies of a job may be started: the experiment is run, and that is all that was asked for.
            _tell(str(error))
            return None
        except (TrackError, ValueError, OSError) as error:
            _tell(f"error: {sentence_of(error)}")
            raise SystemExit(2) from error
        return experiment.run()


def _tell(text: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"{os.path.basename(sys.argv[0])}: {' '.join(text.split())}\n")


def _place(experiment: Any, said: argparse.Namespace) -> None:
    from track.experiment.folder import overrides, tell_kept

    kind = type(experiment)
    purpose = " ".join(said.purpose or [])
    if said.execute is True:
        experiment._status = DETACHED
        experiment._purpose = purpose
    elif os.path.basename(said.execute) == NAME or (
        os.path.isfile(said.execute) and said.execute.endswith((".yml", ".yaml"))
    ):
        given = overrides(experiment)
        kind.from_yml(experiment, said.execute)
        tell_kept(experiment, given)
        experiment._purpose = purpose or experiment._purpose
        if said.restart:
            experiment._status = "default"
            kind.register(experiment, os.path.dirname(os.path.abspath(said.execute)), restart=True)
        elif experiment._folder.is_given:
            return
        elif experiment._folder.status == RUNNING:
            raise AlreadyRuns(f"the experiment in {experiment._root} is running, in another process")
        elif experiment._folder.status not in WAITING:
            raise InvalidCall(f"the experiment in {experiment._root} is {experiment._status}: --restart runs it again")
    else:
        kind.register(experiment, said.execute, purpose, restart=said.restart)
        if absolute_path(said.execute) != experiment._root:
            _tell(f"there is an experiment in {said.execute} already: this one is in {experiment._root}")


def _parser(experiment: Any) -> argparse.ArgumentParser:
    kind = type(experiment)
    parser = _Parser(
        description=kind.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "-u",
        "--update",
        nargs="+",
        action="extend",
        metavar="YAML",
        default=[],
        help="parameters as YAML, '{a: 1, b: x}', or a params.yml or defaults.yml to take them from",
    )
    parser.add_argument("-p", "--purpose", nargs="+", metavar="TEXT", help="what the experiment is for")
    parser.add_argument(
        "-x",
        "--execute",
        nargs="?",
        const=True,
        metavar="DIR",
        help="run it: in a folder, or from a params.yml; without either nothing is written",
    )
    parser.add_argument("-r", "--to_root", metavar="DIR", help="make the root of a set: script.sh and defaults.yml")
    parser.add_argument("-d", "--debug", action="store_true", help="use the parameters of a small example")
    parser.add_argument("-t", "--txt", action="store_true", help="write what is printed to out.txt in the folder, too")
    parser.add_argument("-f", "--restart", action="store_true", help="run the experiment that is in the folder again")
    group = parser.add_argument_group("parameters")
    for name, parameter in kind._params.items():
        if not name.startswith("_") and name not in _TAKEN:
            flags = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}"))
            text = parameter.line.replace("%", "%%")
            group.add_argument(*flags, dest=f"parameter {name}", metavar="VALUE", help=text)
    return parser


def _update(experiment: Any, said: argparse.Namespace) -> None:
    kind = type(experiment)
    given = vars(said)
    values = {name: given.pop(f"parameter {name}") for name in kind._params if f"parameter {name}" in given}
    values = {name: text for name, text in values.items() if text is not None}
    said.is_given = bool(values or said.update or said.purpose or said.debug or said.txt or said.restart)
    if said.debug:
        experiment.__dict__["_is_debug"] = True
        if callable(getattr(kind, "debug", None)):
            experiment.debug()
    for text in said.update:
        if os.path.basename(text) in (NAME, DEFAULTS) or os.path.isfile(text):
            kind.from_yml(experiment, text, copy=True)
        else:
            _update_by_text(experiment, text)
    kind.update(experiment, {name: _flag(experiment, name, text) for name, text in values.items()})


def _update_by_text(experiment: Any, text: str) -> None:
    kind = type(experiment)
    written = text if text.lstrip().startswith("{") else f"{{{text}}}"
    if text.strip() and written is not text and ":" not in text:
        raise InvalidCall(f"--update takes a mapping, as '{{a: 1}}', or a params.yml that is there, not {text!r}")
    found, plain = load(written, "--update"), texts(written)
    if not isinstance(found, dict):
        raise InvalidCall(f"--update takes a mapping, as '{{a: 1}}', not {text!r}")
    unknown = {name: value for name, value in found.items() if name not in kind._params}
    for name, value in unknown.items():
        if value is None and ":" in str(name):
            raise InvalidCall(f"--update takes YAML, with a blank after each colon: {str(name).replace(':', ': ')!r}")
    kind.update(experiment, unknown)
    parameters = kind._params
    kind.update(
        experiment,
        {name: cast(name, value, parameters[name].default, plain.get(name)) for name, value in found.items()},
    )


def _flag(experiment: Any, name: str, text: str) -> Any:
    default = type(experiment)._params[name].default
    if isinstance(default, str):
        return text
    try:
        value = load(text, f"--{name}")
    except IncompatibleYmlException:
        value = text
    return cast(name, value, default, text)
