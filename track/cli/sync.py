"""``track sync``: send the events that processes have left behind."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from track.artifacts import send_left
from track.cli.shell import AWAY, code_of, say_json, take_forms
from track.errors import AnotherStore, TrackError
from track.persistence.delivery import (
    UNREAD,
    Leftover,
    Refused,
    leftovers,
    refused_in,
    send_leftover,
    spill_folders,
    spill_places,
)
from track.persistence.protocol import Protocol
from track.persistence.registry import get_protocol
from track.persistence.utils import mask_secrets
from track.shown import cut

_REASONS = 3
_DESCRIPTION = """
A process that is killed, or ends while its server is away, leaves its events in a local spill. The next process
that logs to the server sends them, and so does this command. It may be run at any time, more than once, and
beside processes that are logging: every event is stored once.
"""


def add_parser(verbs: Any, name: str) -> None:
    """Add the command to the parser of the program."""
    parser = verbs.add_parser(name, description=_DESCRIPTION)
    parser.add_argument(
        "uri", nargs="?", help="the server, with its password; all servers that have spills here by default"
    )
    parser.add_argument("--status", action="store_true", help="only list servers and spills; send nothing")
    parser.add_argument(
        "--refused", action="store_true", help="send again what a store has refused: it may know the trials now"
    )
    take_forms(parser, is_list=False)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Send, or list, and return the exit code."""
    said = _Said(arguments.json)
    try:
        code = _run(arguments, said)
    except TrackError as error:
        print(f"track sync: {error}", file=sys.stderr)
        return code_of(error)
    if arguments.json:
        say_json(servers=list(said.servers.values()))
    return code


def _run(arguments: argparse.Namespace, said: _Said) -> int:
    servers = _servers(arguments.uri)
    sent, waiting = (0, 0) if arguments.status else send_left()
    if sent:
        said.line(f"archives of images and the like that were sent: {sent}")
    if waiting:
        return AWAY
    if not servers:
        said.line("nothing is waiting here")
        return 0
    if arguments.status:
        return max([_show(uri, folder, said) for uri, folder in servers])
    codes = [_send(uri, folder, arguments.refused, said) for uri, folder in servers]
    if arguments.uri is not None:
        codes += _send_strays(arguments.uri, {folder for _, folder in servers}, said)
    return max(codes)


class _Said:
    """What was said: lines for people, or a document of what waits and what was sent, by server."""

    def __init__(self, as_document: bool) -> None:
        self.line: Callable[[str], None] = (lambda _: None) if as_document else print
        self.servers: dict[str, dict[str, Any]] = {}

    def note(self, uri: str, field: str, **facts: Any) -> None:
        """Note something of a server."""
        self.of(uri)[field].append(facts)

    def of(self, uri: str) -> dict[str, Any]:
        """Return what is known of a server."""
        place = mask_secrets(uri)
        empty = {"server": place, "waiting": [], "sent": [], "refused": [], "unread": [], "errors": []}
        return self.servers.setdefault(place, empty)

    def wrong(self, uri: str, text: str) -> None:
        """Say what is wrong with a server, to standard error, too."""
        print(f"{uri}: {text}", file=sys.stderr)
        self.of(uri)["errors"].append(text)


def _servers(uri: str | None) -> list[tuple[str, Path]]:
    if uri is None:
        return spill_folders()
    places = spill_places(_open(uri).uri)
    return [(uri, folder) for folder in places if folder.is_dir()] or [(uri, places[0])]


def _open(uri: str) -> Protocol:
    protocol = get_protocol(uri)
    if protocol.server is None:
        raise TrackError(f"{mask_secrets(uri)} is no server: there is nothing to send")
    return protocol


def _show(uri: str, folder: Path, said: _Said) -> int:
    said.line(mask_secrets(uri))
    said.of(uri)
    left = 0
    for leftover in leftovers(folder):
        if problem := leftover.problem():
            left += 1
            said.note(uri, "waiting", name=leftover.name, events=None, problem=str(problem))
            said.line(f"  {leftover.name}  cannot be read, and nobody knows how many events are in it: {problem}")
            continue
        count = leftover.count_unsent()
        left += count
        is_alive = leftover.is_alive()
        facts = {"events": count, "seconds": leftover.age, "is_alive": is_alive, "store": leftover.store or None}
        said.note(uri, "waiting", name=leftover.name, **facts)
        state = "being sent by its process" if is_alive else "left behind"
        store = f", for the store {leftover.store[:8]}" if leftover.store else ""
        said.line(f"  {leftover.name}  {count} events unsent, last written {_ago(leftover.age)} ago, {state}{store}")
    for refused in refused_in(folder):
        _show_refused(uri, refused, said)
    for path in sorted(folder.glob(f"*{UNREAD}")):
        said.note(uri, "unread", path=str(path))
        said.line(f"  {path} was sent, but for lines that could not be read")
    if not left:
        said.line("  nothing is waiting")
    return 1 if left else 0


def _show_refused(uri: str, refused: Refused, said: _Said) -> None:
    reasons = refused.reasons()
    said.note(uri, "refused", path=str(refused.path), events=sum(reasons.values()), reasons=dict(reasons))
    said.line(f"  {refused.path} holds {sum(reasons.values())} events that the server refused")
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1])[:_REASONS]:
        said.line(f"    {count}: {cut(reason)}")
    if len(reasons) > _REASONS:
        said.line(f"    and {len(reasons) - _REASONS} other reasons")


def _ago(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _send(uri: str, folder: Path, is_refused: bool, said: _Said) -> int:
    said.of(uri)
    refused = refused_in(folder)
    if refused and is_refused and "***" in uri:
        said.wrong(uri, "give the URI with its password to send what was refused")
        return 1
    if refused and is_refused:
        refused = [one for one in refused if not one.release()]
    waiting = leftovers(folder)
    if not waiting:
        said.line(f"{mask_secrets(uri)}: nothing is waiting")
        return _tell_refused(uri, refused, said)
    if "***" in uri:
        said.wrong(uri, f"give the URI with its password to send {_count(waiting)} events")
        return 1
    try:
        protocol = _open(uri)
    except TrackError as error:
        said.wrong(mask_secrets(uri), str(error))
        return 1
    try:
        codes = [_send_one(leftover, protocol, said) for leftover in waiting]
        return max([*codes, _tell_refused(uri, refused, said)])
    finally:
        protocol.server.close()
        protocol.close()


def _send_strays(uri: str, own: set[Path], said: _Said) -> list[int]:
    """Send what was logged for a store while it was somewhere else, as its id says, and return the exit codes."""
    named = [
        (leftover, place)
        for place, folder in spill_folders()
        if folder not in own
        for leftover in leftovers(folder)
        if leftover.store and not leftover.is_alive()
    ]
    if not named:
        return []
    protocol = _open(uri)
    codes: list[int] = []
    try:
        for leftover, place in named:
            try:
                protocol.require_store(leftover.store)
            except AnotherStore:
                continue
            except TrackError as error:
                text = "what waits for other addresses may be for it, which cannot be asked"
                said.wrong(protocol.uri, f"{text}: {error}")
                return [*codes, 1]
            said.line(f"{protocol.uri}: {leftover.name} was logged for the same store when it was at {place}")
            codes.append(_send_one(leftover, protocol, said))
    finally:
        protocol.server.close()
        protocol.close()
    return codes


def _send_one(leftover: Leftover, protocol: Protocol, said: _Said) -> int:
    before = leftover.count_unsent()
    if leftover.is_alive():
        said.note(protocol.uri, "waiting", name=leftover.name, events=before, is_alive=True)
        said.line(f"{protocol.uri}: {leftover.name} is being sent by its process ({before} events wait)")
        return 1 if before else 0
    stored = refused = 0
    try:
        for batch in send_leftover(leftover, protocol.server):
            stored += batch.stored
            refused += batch.refused
    except (TrackError, OSError) as error:
        what = leftover.name if leftover.problem() else f"{leftover.count_unsent()} events wait in {leftover.name}"
        said.wrong(protocol.uri, f"{what}: {error}")
        return 1
    said.note(protocol.uri, "sent", name=leftover.name, events=stored, refused=refused)
    said.line(f"{protocol.uri}: sent {stored} events of {leftover.name}")
    if refused:
        print(f"  {refused} were refused, and are kept in {leftover.folder}: --status says why", file=sys.stderr)
    return 1 if refused or leftover.count_unsent() else 0


def _tell_refused(uri: str, refused: list[Refused], said: _Said) -> int:
    """Say what was refused before, and return 0: it does not wait."""
    for one in refused:
        reasons = one.reasons()
        said.note(uri, "refused", path=str(one.path), events=sum(reasons.values()), reasons=dict(reasons))
        said.line(
            f"  {one.path} holds {sum(reasons.values())} events that the server refused; --status says why, "
            "--refused sends them again"
        )
    return 0


def _count(waiting: list[Leftover]) -> int:
    return sum(leftover.count_unsent() for leftover in waiting)
