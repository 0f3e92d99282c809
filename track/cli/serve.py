"""``track serve``: one process that owns a store, for clients on other machines."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import Any

from track.cli.shell import as_uri, code_of, say, say_json, take_forms, take_security, tell
from track.errors import TrackError
from track.persistence.rpc import DEFAULT_PORT
from track.persistence.server import LIMITS, SocketServer
from track.persistence.socketed import server_uri
from track.persistence.utils import mask_secrets

_DESCRIPTION = """
Owns a store and serves it to any number of clients, whose URI is socket://user:password@host:port. Without users it
listens on this machine only. It runs until it is interrupted or terminated; what was acknowledged is stored.
"""


def add_parser(verbs: Any, name: str) -> None:
    """Add the command to the parser of the program."""
    parser = verbs.add_parser(name, description=_DESCRIPTION)
    parser.add_argument("uri", type=as_uri, help="the store: file://runs.json, sqlite:///data/runs.db, any backend")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help=f"port to listen on (default: {DEFAULT_PORT}; 0: any)"
    )
    parser.add_argument("--users", metavar="FILE", help="who may come in; see `track user`")
    take_security(parser)
    parser.add_argument(
        "--limit",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help=f"change a limit, as in clients=500; there are {', '.join(LIMITS)}",
    )
    take_forms(parser, is_list=False)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until the process is told to end, and return the exit code."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    given = {name: getattr(arguments, name) for name in ("users", "certificate", "key")}
    limits = dict(limit.partition("=")[::2] for limit in arguments.limit)
    layer = arguments.security_layer
    stopped = "stopped: everything that was acknowledged is stored"
    try:
        server = SocketServer(server_uri(arguments.uri, arguments.host, arguments.port, layer, **given, **limits))
    except (TrackError, OSError) as error:
        print(f"track serve: {error}", file=sys.stderr)
        return code_of(error)
    try:
        host, port = server.listen()
        if arguments.json:
            say_json(uri=mask_secrets(arguments.uri), host=host, port=port, notes=server.notes())
        else:
            say("\n".join([f"serving {mask_secrets(arguments.uri)} on {host}:{port}", *server.notes()]))
        server.run_server()
    except KeyboardInterrupt:
        pass
    except (TrackError, OSError) as error:
        print(f"track serve: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        tell(stopped)
    else:
        say(stopped)
    return 0
