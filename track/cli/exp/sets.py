"""The verbs of one set: it begins, has experiments, runs them, and ends."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from track.cli.exp.shell import answer, apart, confirm, purpose_of, set_at
from track.cli.shell import say, take_forms, tell
from track.config import GlobalExperimentManager
from track.errors import InvalidCall, InvalidExperimentRoot
from track.manager import ExperimentManager
from track.manager.parts import matching_names
from track.origin import importable_here
from track.shown import clean
from track.utils.files import absolute_path

_PARAMETERS = {
    "link": "parameters, with alternatives: '{lr: 0.1 | 0.2, opt: adam}'",
    "sweep": "parameters, with ranges: '{lr: 1e-5 .. 1e-1 log, opt: sgd | adam}'",
}
Act = Callable[[argparse.Namespace, list[str]], int]


def add_verbs(verbs: Any) -> None:
    """Add the verbs to the parser of the program."""
    _add_declaring(verbs)
    _add_running(verbs)
    _add_changing(verbs)


def _verb(verbs: Any, name: str, act: Act, text: str, *, aliases: tuple[str, ...] = (), root: bool = True) -> Any:
    parser = verbs.add_parser(name, aliases=list(aliases), help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.set_defaults(act=act)
    take_forms(parser, is_list=False)
    if root:
        parser.add_argument(
            "-r", "--root", default="", metavar="ROOT", help="the set; the working directory by default"
        )
    return parser


def _add_declaring(verbs: Any) -> None:
    init = _verb(verbs, "init", _init, "make a folder the root of a set")
    init.add_argument(
        "-n",
        "--name",
        metavar="NAME",
        help="of Python: module.Class, or what exp python --add has made known",
    )
    init.add_argument("-d", "--defaults", default="", metavar="PATH", help="or a defaults.yml, by default the one here")
    init.add_argument("-s", "--script", default="", metavar="PATH", help="and a script.sh, which is given a params.yml")
    init.add_argument("-u", "--update", metavar="YAML", help="other defaults, as '{lr: 0.1}'")
    init.add_argument("-p", "--purpose", nargs="+", metavar="TEXT", help="what the set is for")
    for name, act, text in (
        ("link", _link, "register an experiment for each combination of parameters"),
        ("sweep", _sweep, "register random experiments, or those that a sampler suggests"),
    ):
        parser = _verb(verbs, name, act, text, aliases=("register",) if name == "link" else ())
        parser.add_argument("-u", "--update", "--updates", metavar="YAML", help=_PARAMETERS[name])
        parser.add_argument("-n", "--name", metavar="NAME", help="what they are called, instead of by their parameters")
        parser.add_argument("-p", "--purpose", nargs="+", metavar="TEXT", help="what they are for")
        parser.add_argument("-H", "--header", metavar="TEXT", help="what run.sh begins with: a text, or a file")
        if name == "link":
            parser.add_argument("-x", "--repeats", type=int, default=1, metavar="N", help="how many of each")
        else:
            parser.add_argument("-t", "--trials", type=int, required=True, metavar="N", help="how many")
            parser.add_argument("--sampler", metavar="NAME", help="random, tpe, or module:name of one of Optuna")
            parser.add_argument("--goal", metavar="GOAL", help="what the sampler is after: min:val_loss, max:accuracy")
            parser.add_argument("--seed", type=int, default=0, metavar="N", help="what chance depends on")


def _add_running(verbs: Any) -> None:
    run = _verb(verbs, "run", _run, "start a command for each registered experiment that matches, in order")
    run.usage = "%(prog)s [-h] [--json] [-r ROOT] [-j N] PATTERN COMMAND ..."
    run.add_argument("-j", "--parallel", type=int, default=1, metavar="N", help="how many at the same time")
    run.add_argument(
        "pattern", metavar="PATTERN", help="a glob of names, or all; then what is put before each run.sh: bash"
    )
    work = _verb(
        verbs, "work", _work, "run what waits in a set until nothing does, beside any number of others", root=False
    )
    work.add_argument("root", nargs="?", default="", metavar="ROOT", help="the set; the working directory by default")
    work.add_argument("-n", "--processes", default="1", metavar="N", help="how many workers; gpus: one for each GPU")
    work.add_argument("-t", "--trials", type=int, metavar="N", help="how many experiments each worker runs at most")
    work.add_argument("--attempts", type=int, default=3, metavar="N", help="how often one is begun whose workers die")
    work.add_argument("--retry_errors", "--retry-errors", action="store_true", help="run those again that have failed")
    work.add_argument("--no_isolate", "--no-isolate", action="store_true", help="run them in the worker's own process")
    work.add_argument(
        "--wait", type=float, default=0.0, metavar="SECONDS", help="look again for so long where none waits"
    )
    work.add_argument(
        "--stop_after_errors", "--stop-after-errors", type=int, metavar="N", help="end once so many failed"
    )


def _add_changing(verbs: Any) -> None:
    note = _verb(verbs, "note", _note, "note something about experiments")
    note.add_argument(
        "words",
        nargs="+",
        metavar="[PATTERN] MESSAGE",
        help="which ones, and the note; without a pattern it is of the set itself",
    )
    note.add_argument("-d", "--delete", action="store_true", help="remove this note")
    reset = _verb(verbs, "reset", _reset, "set the status of experiments, to run them again")
    reset.add_argument("pattern", metavar="PATTERN", help="a glob of names")
    reset.add_argument("-s", "--status", default="registered", metavar="STATUS", help="registered by default")
    reset.add_argument("-f", "--force", action="store_true", help="also of those that are running")
    unlink = _verb(verbs, "unlink", _unlink, "let go of experiments; their folders stay")
    unlink.add_argument("pattern", nargs="?", default="*", metavar="PATTERN", help="a glob of names, all by default")
    relink = _verb(verbs, "relink", _relink, "take hold of experiments again, or of sets that were moved")
    relink.add_argument("-e", "--experiments", metavar="PATTERN", help="folders in the root whose parameters fit")
    relink.add_argument("--recursive", action="store_true", default=None, help="all sets below the root")
    for name, act, text in (
        ("clean", _clean, "delete the folders of experiments that the set has let go of"),
        ("rm", _rm, "delete a set: its experiments and its files, and nothing else"),
    ):
        parser = _verb(verbs, name, act, text, root=name == "clean")
        parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
        if name == "rm":
            parser.add_argument("root", metavar="ROOT", help="the set")


def _init(given: argparse.Namespace, command: list[str]) -> int:
    root = absolute_path(given.root or ".")
    if given.name is not None and (given.defaults or given.script):
        raise InvalidCall("a set is of an experiment in Python, -n, or of -d and -s: give one of them")
    if given.name is not None and "." not in given.name:
        # Before there is a root.
        GlobalExperimentManager().program_of(given.name)
    purpose = purpose_of(given.purpose, "the set")
    is_new = not os.path.lexists(root)
    manager = ExperimentManager(root)
    try:
        with importable_here(), apart(given):
            manager.initialise(
                defaults=given.defaults, script=given.script, purpose=purpose, name=given.name, updates=given.update
            )
    except InvalidCall:
        if is_new:
            with suppress(OSError):
                os.rmdir(root)
        raise
    text = f"{clean(manager.root)} is a set now: exp link -u '{{name: 1 | 2}}' registers experiments in it"
    answer(given, [text], root=manager.root, type=manager.type)
    return 0


def _link(given: argparse.Namespace, command: list[str]) -> int:
    return _register(given, repeats=given.repeats)


def _sweep(given: argparse.Namespace, command: list[str]) -> int:
    return _register(given, trials=given.trials, sampler=given.sampler, goal=given.goal, seed=given.seed)


def _register(given: argparse.Namespace, **how: Any) -> int:
    root = set_at(given.root)
    if given.update is None and given.name is None:
        raise InvalidCall("say which: -u '{name: 1 | 2}' has the parameters, -n NAME an experiment with the defaults")
    manager = ExperimentManager(root)
    before = set(manager.experiments)
    purpose = purpose_of(given.purpose, "this")
    with apart(given):
        manager.register(given.name, given.update, purpose=purpose, header=given.header, **how)
    names = [os.path.basename(path) for path in manager.experiments if path not in before]
    later = 0 if names else how["trials"]
    lines = [clean(name) for name in names]
    if later:
        lines.append(f"{later} experiments are made one after the other, as workers ask for them: exp work")
    answer(given, lines, root=manager.root, experiments=names, later=later)
    return 0


def _run(given: argparse.Namespace, command: list[str]) -> int:
    manager = ExperimentManager(set_at(given.root))
    if not command:
        raise InvalidCall(f"say what starts each run.sh: exp run {given.pattern!r} bash")
    with apart(given):
        codes = manager.run(given.pattern, *command, parallel=given.parallel)
    if not codes:
        _require_match(manager, given.pattern)
    text = "nothing to run: no experiment that matches is registered; exp reset PATTERN registers it again"
    answer(given, [] if codes else [text], root=manager.root, codes=codes, failed=sum(map(bool, codes)))
    return 1 if any(codes) else 0


def _work(given: argparse.Namespace, command: list[str]) -> int:
    from track.manager import work, work_in_processes

    root = set_at(given.root)
    options = {
        "trials": given.trials, "attempts": given.attempts, "retry_errors": given.retry_errors,
        "isolate": not given.no_isolate, "wait": given.wait, "stop_after_errors": given.stop_after_errors,
    }  # fmt: skip
    processes = _processes(given.processes)
    with apart(given):
        done = work(root, **options) if processes == 1 else work_in_processes(root, processes, **options)
    text = f"{_count(done, 'experiment')} ran here{f', and {done.failed} failed' if done.failed else ''}"
    answer(given, [text], root=root, ran=int(done), failed=done.failed)
    return 1 if done.failed else 0


def _processes(text: str) -> int | list[Any]:
    """Return how many workers a text says, or the GPUs that each of them sees."""
    if text != "gpus":
        try:
            return max(1, int(text))
        except ValueError:
            raise InvalidCall(f"-n takes a number of workers, or gpus, not {text!r}") from None
    from track.utils.machine import facts, gpus

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = (
        visible.split(",")
        if visible is not None
        else [str(number) for number, _ in enumerate(facts({"gpus": gpus}).get("gpus") or ())]
    )
    found = [one.strip() for one in found if one.strip()]
    if not found:
        raise InvalidCall("there are no GPUs here: -n takes a number of workers, too")
    return found


def _note(given: argparse.Namespace, command: list[str]) -> int:
    if len(given.words) > 2:
        raise InvalidCall(f"a note is one text, in quotes: exp note {given.words[0]!r} {' '.join(given.words[1:])!r}")
    manager = ExperimentManager(set_at(given.root))
    if len(given.words) == 1:
        manager.annotate(given.words[0], remove=given.delete)
        answer(given, [], root=manager.root, experiments=None, note=given.words[0], removed=given.delete)
        return 0
    names = _require_match(manager, given.words[0])
    pattern, message = given.words
    manager.note(pattern, message, remove=given.delete)
    answer(given, [], root=manager.root, experiments=names, note=message, removed=given.delete)
    return 0


def _reset(given: argparse.Namespace, command: list[str]) -> int:
    manager = ExperimentManager(set_at(given.root))
    names = _require_match(manager, given.pattern)
    manager.reset(given.pattern, given.status, force=given.force)
    answer(given, [], root=manager.root, experiments=names, status=given.status)
    return 0


def _unlink(given: argparse.Namespace, command: list[str]) -> int:
    manager = ExperimentManager(set_at(given.root))
    names = manager.unlink(given.pattern) or _require_match(manager, given.pattern)
    answer(given, [], root=manager.root, experiments=names)
    return 0


def _require_match(manager: ExperimentManager, pattern: str) -> list[str]:
    """Return the names of the experiments that match; InvalidCall where none does."""
    names = [os.path.basename(path) for path in manager.experiments]
    if not names:
        raise InvalidCall(f"{manager.root} has no experiments yet: exp link -u '{{name: 1 | 2}}' registers some")
    if not (found := matching_names(pattern, names)):
        raise InvalidCall(f"no experiment in {manager.root} matches {pattern!r}; exp list shows all {len(names):,}")
    return found


def _relink(given: argparse.Namespace, command: list[str]) -> int:
    if given.experiments is not None:
        manager = ExperimentManager(set_at(given.root))
        before = set(manager.experiments)
        manager.relink(given.experiments)
        names = [os.path.basename(path) for path in manager.experiments if path not in before]
        answer(given, [clean(name) for name in names], sets=[manager.root], experiments=names)
        return 0
    top = absolute_path(given.root or ".")
    roots = sorted(_sets_below(top)) if given.recursive else [set_at(given.root)]
    if not roots:
        raise InvalidExperimentRoot(f"there is no set in {top} or below. Try init?")
    for root in roots:
        ExperimentManager(root).relink(None)
        if not given.json:
            say(f"{clean(root)} is known")
    answer(given, [], sets=roots, experiments=[])
    return 0


def _sets_below(top: str) -> list[str]:
    """Return the roots of sets in a folder; links are not followed."""
    found = []
    for folder, below, files in os.walk(top):
        below[:] = [name for name in below if not name.startswith(".")]
        if "experiment.yml" in files:
            found.append(folder)
            # There are experiments below, and perhaps many.
            below.clear()
    return found


def _clean(given: argparse.Namespace, command: list[str]) -> int:
    manager = ExperimentManager(set_at(given.root))
    going = manager.unmanaged()
    if not going:
        text = "nothing to delete: the set manages all experiments in its root"
        answer(given, [text], root=manager.root, deleted=[])
        return 0
    for name in going:
        (tell if given.json else say)(f"  {clean(name)}")
    if not confirm(f"To delete {_count(len(going), 'folder')} in {manager.root}", given.yes):
        answer(given, ["nothing was deleted"], root=manager.root, deleted=[])
        return 1
    names = manager.clean()
    answer(given, [f"deleted {_count(len(names), 'folder')}"], root=manager.root, deleted=names)
    return 0


def _rm(given: argparse.Namespace, command: list[str]) -> int:
    manager = ExperimentManager(set_at(given.root))
    what = f"To delete {manager.root} with {_count(len(manager.experiments), 'experiment')}"
    if not confirm(what, given.yes):
        answer(given, ["nothing was deleted"], root=manager.root, deleted=False, remains=True)
        return 1
    manager.rm()
    remains = os.path.exists(manager.root)
    text = f"{clean(manager.root)} is no set any more" if remains else f"deleted {clean(manager.root)}"
    answer(given, [text], root=manager.root, deleted=True, remains=remains)
    return 0


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
