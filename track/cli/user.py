"""``track user``: who may use a server."""

from __future__ import annotations

import argparse
import getpass
import sys
from typing import Any

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


def run(arguments: argparse.Namespace) -> int:
    """Change or list the users, and return the exit code."""
    try:
        code: int = arguments.act(Users(arguments.users), arguments)
    except (TrackError, ValueError, OSError) as error:
        print(f"track user: {error}", file=sys.stderr)
        return 2
    return code


def _add(users: Users, arguments: argparse.Namespace) -> int:
    is_known = arguments.name in users.list()
    password = _password_of_a_line() if arguments.password_stdin else _password_of_a_person(arguments.name)
    users.add(arguments.name, password, arguments.role)
    print(f"{'changed' if is_known else 'added'} {arguments.name} ({arguments.role}) in {users.path}")
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
    print(f"removed {arguments.name} from {users.path}")
    return 0


def _list(users: Users, arguments: argparse.Namespace) -> int:
    roles = users.list()
    for name, role in roles.items():
        print(f"{name}  {role}")
    if not roles:
        print(f"{users.path} has no users")
    return 0
