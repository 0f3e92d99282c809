"""The verbs ``python`` and ``config``: experiments in Python by name, and the settings of a user."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import Any

from track import home
from track.cli.exp.shell import answer, apart
from track.cli.shell import as_json, say, say_csv, say_json, take_forms, tell
from track.config import GlobalExperimentManager
from track.errors import InvalidCall
from track.shown import clean
from track.utils.files import open_regular
from track.yaml12 import dump, load, scalar

_SWITCHES = {
    "prompt": ("prompt", "ask for purposes, and before something is destroyed"),
    "save_conda": ("save_conda", "list what is installed in environment.yml in the folder, too"),
    "stdout_to_txt": ("redirect_stdout", "write what an experiment prints to out.txt, too"),
    "requeue": ("requeue", "put an experiment back into Slurm's queue when its time is over"),
}
_OF_SERVERS = ("--register_user", "--change_password", "--sync", "--sync_all")


def add_verbs(verbs: Any) -> None:
    """Add the verbs to the parser of the program."""
    python = verbs.add_parser(
        "python",
        aliases=["experiments"],
        help="make experiments in Python known by name, list them, run one",
        description="Makes experiments in Python known by name, lists them, or runs one: NAME and its own flags.",
    )
    actions = python.add_mutually_exclusive_group()
    actions.add_argument("-l", "--list", action="store_true", help="list those that are known")
    actions.add_argument("-a", "--add", nargs=2, metavar=("MODULE", "NAME"), help="add a class or function of a module")
    actions.add_argument("-r", "--remove", metavar="NAME", help="forget one")
    python.add_argument("name", nargs="?", metavar="NAME", help="run this one")
    take_forms(python)
    python.set_defaults(act=_python)

    config = verbs.add_parser("config", help="show or change settings", description="Shows or changes settings.")
    for name, (_, text) in _SWITCHES.items():
        pair = config.add_mutually_exclusive_group()
        pair.add_argument(f"--enable_{name}", dest=name, action="store_true", default=None, help=text)
        pair.add_argument(f"--disable_{name}", dest=name, action="store_false", default=None, help="do not")
    config.add_argument("-H", "--header", metavar="TEXT", help="what each run.sh begins with: a text, or a file")
    config.add_argument("--clean", action="store_true", help="forget sets and experiments that no longer exist")
    config.add_argument("--list", action="store_true", help="print the settings")
    config.add_argument("--interactive", action="store_true", help="ask for each setting")
    for flag in _OF_SERVERS:
        config.add_argument(flag, action="store_true", help=argparse.SUPPRESS)
    config.add_argument("--server_host", metavar="HOST", help=argparse.SUPPRESS)
    config.add_argument("--server_port", metavar="PORT", type=int, help=argparse.SUPPRESS)
    take_forms(config, is_list=False)
    config.set_defaults(act=_config)


def _python(given: argparse.Namespace, command: list[str]) -> int:
    manager = GlobalExperimentManager()
    if given.add is not None:
        path = manager.add_experiment(*given.add)
        answer(given, [f"added {clean(given.add[1])}: {clean(path)}"], name=given.add[1], path=path, done="added")
    elif given.remove is not None:
        path = manager.program_of(given.remove)
        manager.remove_experiment(given.remove)
        answer(given, [f"removed {clean(given.remove)}"], name=given.remove, path=path, done="removed")
    elif given.name is not None:
        return _run(given, manager, given.name, command)
    else:
        _say_known(given, manager.python_experiments)
    return 0


def _say_known(given: argparse.Namespace, programs: dict[str, str]) -> None:
    known = [{"name": name, "path": path} for name, path in programs.items()]
    if given.json:
        say_json(experiments=known)
    elif given.jsonl:
        for one in known:
            say(as_json(one))
    elif given.csv:
        say_csv(["name", "path"], [list(one.values()) for one in known])
    else:
        for name, path in programs.items():
            say(f"{clean(name)}: {clean(path)}")
        if not programs:
            say("no experiment in Python is known yet: exp python --add MODULE NAME adds one")


def _run(given: argparse.Namespace, manager: GlobalExperimentManager, name: str, flags: list[str]) -> int:
    path = manager.program_of(name)
    if not os.path.isfile(path):
        raise InvalidCall(f"the program of {name!r} is gone, {path}: exp python --add MODULE {name} makes it again")
    with apart(given):
        code = subprocess.call([sys.executable, path, *flags])
    # A shell says so of one that was killed.
    code = code if code >= 0 else 128 - code
    answer(given, [], name=name, path=path, code=code)
    return code


def _config(given: argparse.Namespace, command: list[str]) -> int:
    changed = {key: getattr(given, name) for name, (key, _) in _SWITCHES.items() if getattr(given, name) is not None}
    if given.header is not None:
        changed["header"] = _text_or_file(given.header)
    changed |= {
        name: value for name, value in (("host", given.server_host), ("port", given.server_port)) if value is not None
    }
    if given.interactive:
        changed |= _ask_each()
    if changed:
        with GlobalExperimentManager() as manager:
            for key, value in changed.items():
                setattr(manager, key, value)
    if given.clean:
        GlobalExperimentManager().clean()
    is_of_servers = [flag for flag in _OF_SERVERS if getattr(given, flag.lstrip("-"))]
    for flag in is_of_servers:
        text = f"{flag} does nothing: there are no accounts, and no server is asked"
        tell(text) if given.json else say(text)
    if given.json:
        say_json(path=home.path(), settings=home.read())
    elif given.list or not (changed or given.clean or is_of_servers):
        settings = home.read()
        say(f"# {clean(home.path())}\n{dump(settings)}".rstrip("\n"))
    return 0


def _text_or_file(text: str) -> str:
    if "\n" in text or not os.path.isfile(text):
        return text
    with open_regular(text) as file:
        return (file.readall() or b"").decode()


def _ask_each() -> dict[str, Any]:
    if sys.stdin is None or not sys.stdin.isatty():
        raise InvalidCall("--interactive asks at a terminal, and there is none: name the settings, as --disable_prompt")
    found: dict[str, Any] = {}
    settings = home.read()
    for key in [*(key for key, _ in _SWITCHES.values()), "header"]:
        answer = input(f"{key} [{scalar(settings[key])}]: ").strip()
        if not answer:
            continue
        value = load(answer) if key != "header" else _text_or_file(answer)
        if type(value) is not type(settings[key]):
            raise InvalidCall(f"{key} is true or false, not {answer!r}: nothing was changed")
        found[key] = value
    return found
