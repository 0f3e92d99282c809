"""``track ui``: the page of a store, in a browser of this machine."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import Any

_HELP = "look at a store in the browser"
_DESCRIPTION = """
Opens a page with the runs of a store: a table, and their charts, which grow while the runs do. It is for this machine
only, and for who has the link that is printed; it reads the store, and changes nothing of it.
"""

_URI = "the store, as it is given to TrackClient (default: the configured one, else report.json of this folder)"


def add_parser(verbs: Any) -> None:
    """Add the command to the parser of the program."""
    parser = verbs.add_parser("ui", help=_HELP, description=_DESCRIPTION)
    parser.add_argument("uri", nargs="?", help=_URI)
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: any that is free)")
    parser.add_argument("--no-browser", action="store_true", help="only print the link")
    parser.add_argument(
        "--allow-host",
        metavar="NAME[:PORT]",
        action="append",
        default=[],
        help="a name by which a proxy in front of the page is called",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve the page until the process is told to end, and return the exit code."""
    from track.dashboard.app import Dashboard
    from track.dashboard.security import new_token
    from track.dashboard.server import PageServer
    from track.errors import TrackError

    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    token = new_token()
    dashboard = Dashboard(arguments.uri, token, arguments.allow_host)
    try:
        dashboard.open()
        server = PageServer(dashboard, arguments.port)
    except TrackError as error:
        print(f"track ui: {error}", file=sys.stderr)
        return 3
    except (OSError, OverflowError) as error:
        print(f"track ui: port {arguments.port}: {error}", file=sys.stderr)
        return 2
    link = f"http://127.0.0.1:{server.server_port}/?token={token}"
    try:
        print(f"track ui: {link}", flush=True)
        if not arguments.no_browser:
            _open(link)
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    return 0


def _open(link: str) -> None:
    """Open the link in a browser; where there is none, it is printed anyway."""
    import threading
    import webbrowser

    threading.Thread(target=webbrowser.open, args=(link,), daemon=True).start()
