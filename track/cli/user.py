"""``track user``: who may use a server."""

from __future__ import annotations

import argparse
import getpass
import sys
from typing import Any

from track.cli.shell import as_json, code_of, say, say_csv, say_json, take_forms
from track.errors import TrackError
from track.persistence.users import ROLES, Users

_DESCRIPTION = """
Keeps the file of users of a track server: names, roles, and salted hashes of passwords. A server that runs sees a
change at the next connection.
"""


def add_parser(verbs: Any, name: str) -> None:
    """Add the command to the parser of the program."""
    parser = verbs.add_parser(name, description=_DESCRIPTION)
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(
        title="actions", metavar="action", required=True, help="what to do: add, remove or list"
    )
    add = actions.add_parser("add", help="add a user, or change the password and role of one")
    add.add_argument("name", help="the user: printable characters, no space")
    add.add_argument("--role", choices=ROLES, default="write", help="what the user may do (default: write)")
    add.add_argument("--password-stdin", action="store_true", help="read the password from standard input, one line")
    add.set_defaults(act=_add)
    remove = actions.add_parser("remove", help="remove a user")
    remove.add_argument("name", help="the user")
    remove.set_defaults(act=_remove)
    show = actions.add_parser("list", help="list users and their roles")
    show.set_defaults(act=_list)
    for action in (add, remove, show):
        action.add_argument("--users", required=True, metavar="FILE", help="the file of users of the server")
        take_forms(action, is_list=action is show)


def run(arguments: argparse.Namespace) -> int:
    """Change or list the users, and return the exit code."""
    try:
        code: int = arguments.act(Users(arguments.users), arguments)
    except (TrackError, ValueError, OSError) as error:
        print(f"track user: {error}", file=sys.stderr)
        return code_of(error)
    return code


def _add(users: Users, arguments: argparse.Namespace) -> int:
    is_known = arguments.name in users.list()
    password = _password_of_a_line() if arguments.password_stdin else _password_of_a_person(arguments.name)
    users.add(arguments.name, password, arguments.role)
    what = "changed" if is_known else "added"
    if arguments.json:
        say_json(user=arguments.name, role=arguments.role, done=what, users=str(users.path))
    else:
        say(f"{what} {arguments.name} ({arguments.role}) in {users.path}")
    return 0


def _password_of_a_line() -> str:
    return sys.stdin.readline().rstrip("\r\n")


def _password_of_a_person(name: str) -> str:
    if not sys.stdin.isatty():
        raise TrackError("there is no terminal to ask for the password: use --password-stdin")
    first = getpass.getpass(f"password of {name}: ")
    if getpass.getpass("again: ") != first:
        raise TrackError("the two passwords differ: nothing was changed")
    return first


def _remove(users: Users, arguments: argparse.Namespace) -> int:
    users.remove(arguments.name)
    if arguments.json:
        say_json(user=arguments.name, done="removed", users=str(users.path))
    else:
        say(f"removed {arguments.name} from {users.path}")
    return 0


def _list(users: Users, arguments: argparse.Namespace) -> int:
    roles = users.list()
    rows = [{"user": name, "role": role} for name, role in roles.items()]
    if arguments.json:
        say_json(users=rows)
    elif arguments.jsonl:
        for row in rows:
            say(as_json(row))
    elif arguments.csv:
        say_csv(("user", "role"), roles.items())
    else:
        say("\n".join(f"{name}  {role}" for name, role in roles.items()) or f"{users.path} has no users")
    return 0
