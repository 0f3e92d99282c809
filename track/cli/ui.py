"""``track ui``: the page of a store, in a browser of this machine."""

from __future__ import annotations

import argparse
import gc
import os
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import track
from track.cli.shell import (
    WRONG,
    attempt,
    code_of,
    complain,
    opened,
    say,
    say_json,
    store_and_words,
    take_forms,
    take_security,
    take_words,
    tell,
)
from track.errors import BackendUnavailable, InvalidCall, TrackError
from track.persistence.utils import file_of, is_stored, mask_secrets, store_path
from track.utils.system import is_loopback

_ALL_ADDRESSES = ("0.0.0.0", "::")  # noqa: S104 - they are looked for, not listened on
_PORT = 8124
_TURN = 0.0005
_DESCRIPTION = """
Opens a page with the runs of a store: a table, and their charts, which grow while the runs do. It is for this machine
only, and for who has the link that is printed; it reads the store, and changes nothing of it. Where the page of the
store runs already, that one is opened. With --write tags, notes and statuses can be changed; with --users it is for who
has a password, and with --security-layer on other machines too.
"""


def add_parser(verbs: Any, name: str) -> None:
    """Add the command to the parser of the program."""
    parser = verbs.add_parser(name, description=_DESCRIPTION)
    parser.set_defaults(run=run)
    take_words(parser, most=0)
    parser.add_argument(
        "--port", type=int, help="port to listen on, 0 for any (default: 8124, or any if that is taken)"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="where to listen; another machine's browser comes in with --users and --security-layer only",
    )
    parser.add_argument("--write", action="store_true", help="let tags, notes and statuses be changed")
    parser.add_argument("--embed", action="store_true", help="let pages of this machine show it in a frame")
    parser.add_argument("--users", metavar="FILE", help="who may come in, by password; see `track user`")
    take_security(parser)
    parser.add_argument("--no-browser", action="store_true", help="only print the link")
    parser.add_argument(
        "--allow-host",
        metavar="NAME[:PORT]",
        action="append",
        default=[],
        help="a name by which the page, or a proxy in front of it, is called",
    )
    take_forms(parser, is_list=False)


def run(arguments: argparse.Namespace) -> int:
    """Serve the page until the process is told to end, and return the exit code."""
    try:
        uri, _ = store_and_words(arguments)
        context, users = _security(arguments)
    except (TrackError, ValueError, OSError) as error:
        complain(arguments.prog, error)
        return code_of(error)
    return attempt(arguments.prog, lambda: _serve(arguments, uri, context, users))


def _serve(given: argparse.Namespace, uri: str, context: Any, users: Any) -> int:
    from track.dashboard import Dashboard, PageServer, Running, new_token

    # The usual mistake is said at once; all else that a store needs is imported while a browser begins.
    path = None if file_of(uri) is None else store_path(uri)
    if path is not None and not is_stored(path):
        raise BackendUnavailable(f"there is no store at {mask_secrets(uri)}: no file {os.path.realpath(path)}")
    store = mask_secrets(uri) if path is None else f"{uri.partition(':')[0]}:{os.path.realpath(path)}"
    running = Running(track.__version__, store, given.host, given.write, given.embed, given.allow_host)
    if not users and given.port is None:
        link = running.link()
        if link is not None:
            _say(given, link)
            tell("it runs already")
            if not given.no_browser:
                _open(link).join()
            return 0
    token = "" if users else new_token()
    page = Dashboard(uri, token, given.allow_host, writes=given.write, users=users, embed=given.embed)
    try:
        server = _listening(given, lambda port: PageServer(page, port, given.host, context))
    except (OSError, OverflowError) as error:
        where = "" if is_loopback(given.host) else f" of {given.host}"
        complain(f"{given.prog}: port {given.port or 0}{where}", error)
        return WRONG
    try:
        return _run(given, server, page, token, running)
    finally:
        running.close()


def _listening(given: argparse.Namespace, make: Callable[[int], Any]) -> Any:
    """Return a server on the port that is asked for; else on the usual one, or on any where that is taken."""
    if given.port is not None:
        return make(given.port)
    try:
        return make(_PORT)
    except OSError:
        return make(0)


def _say(given: argparse.Namespace, link: str) -> None:
    if given.json:
        say_json(link=link, host=given.host, port=urlsplit(link).port, writes=given.write)
    else:
        say(f"track ui: {link}")


def _security(given: argparse.Namespace) -> tuple[Any, Any]:
    """Return the context of encrypted connections, and the users; None for those that are not asked for.

    Raises InvalidCall: the page would be open to who may not come in.
    """
    if not is_loopback(given.host) and not (given.users and given.security_layer):
        raise InvalidCall(
            f"--host {given.host} is open to other machines: it takes --users FILE, which track user makes, and "
            "--security-layer AES, or TLS with --certificate and --key"
        )
    if given.certificate and not given.security_layer:
        raise InvalidCall("--certificate is for --security-layer TLS")
    if given.security_layer and not given.users:
        raise InvalidCall("--security-layer is for a page with --users FILE")
    users = None
    if given.users:
        from track.persistence.users import Users

        users = Users(given.users)
        if not users.list():
            tell(f"nobody may come in yet: track user add NAME --users {given.users}")
    return _context(given), users


def _context(given: argparse.Namespace) -> Any:
    if not given.security_layer:
        return None
    from track.utils.encrypted import certificate_context, fingerprint, server_context, server_folder

    if given.certificate:
        return certificate_context(given.certificate, given.key)
    if given.security_layer == "TLS":
        raise InvalidCall("--security-layer TLS takes --certificate FILE and --key FILE; AES makes its own")
    context = server_context(server_folder())
    tell(f"the browser will ask about a certificate that nobody signed: {fingerprint(server_folder())}")
    return context


def _run(given: argparse.Namespace, server: Any, page: Any, token: str, running: Any) -> int:
    # All addresses of this machine are none for a browser.
    host = socket.gethostname() if given.host in _ALL_ADDRESSES else given.host
    address = f"[{host}]" if ":" in host else host
    link = f"http{'s' if server.context else ''}://{address}:{server.server_port}/{f'?token={token}' if token else ''}"
    try:
        running.say(link)
        _say(given, link)
        # Who asks need not wait long for the thread that reads.
        sys.setswitchinterval(_TURN)
        # What is read first is kept: it is never looked through for garbage, for which all who ask would wait.
        gc.disable()
        answering = threading.Thread(target=server.serve_forever, daemon=True)
        answering.start()
        protocol = opened(lambda _: page.open(), "")
        if not given.no_browser:
            _open(link)
        try:
            page.read_ahead()
            gc.freeze()
            gc.enable()
            answering.join()
        finally:
            protocol.close()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    return 0


def _open(link: str) -> threading.Thread:
    """Open the link in a browser; where there is none, it is printed anyway."""
    import webbrowser

    opening = threading.Thread(target=webbrowser.open, args=(link,), daemon=True)
    opening.start()
    return opening
