"""``track ui``: the page of a store, in a browser of this machine."""

from __future__ import annotations

import argparse
import threading
from functools import partial
from typing import Any

from track.cli.shell import WRONG, complain, on_store, say, take_words
from track.persistence.protocol import Protocol

_DESCRIPTION = """
Opens a page with the runs of a store: a table, and their charts, which grow while the runs do. It is for this machine
only, and for who has the link that is printed; it reads the store, and changes nothing of it.
"""


def add_parser(verbs: Any, name: str) -> None:
    """Add the command to the parser of the program."""
    parser = verbs.add_parser(name, description=_DESCRIPTION)
    parser.set_defaults(run=run)
    take_words(parser, most=0)
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: any that is free)")
    parser.add_argument("--no-browser", action="store_true", help="only print the link")
    parser.add_argument(
        "--allow-host",
        metavar="NAME[:PORT]",
        action="append",
        default=[],
        help="a name by which a proxy in front of the page is called",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve the page until the process is told to end, and return the exit code."""
    return on_store(arguments, partial(_serve, arguments))


def _serve(given: argparse.Namespace, protocol: Protocol, uri: str, words: list[str]) -> int:
    from track.dashboard import Dashboard, PageServer, new_token

    token = new_token()
    page = Dashboard(protocol, token, given.allow_host)
    try:
        server = PageServer(page, given.port)
    except (OSError, OverflowError) as error:
        complain(f"{given.prog}: port {given.port}", error)
        return WRONG
    link = f"http://127.0.0.1:{server.server_port}/?token={token}"
    try:
        say(f"track ui: {link}")
        threading.Thread(target=page.read_ahead, daemon=True).start()
        if not given.no_browser:
            _open(link)
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    return 0


def _open(link: str) -> None:
    """Open the link in a browser; where there is none, it is printed anyway."""
    import webbrowser

    threading.Thread(target=webbrowser.open, args=(link,), daemon=True).start()
