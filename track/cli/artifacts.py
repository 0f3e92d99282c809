"""``track artifacts``: list, download and clean up the files of trials."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any
from urllib.parse import unquote

from track.artifacts import artifacts, find, gc
from track.errors import TrackError
from track.persistence.registry import known_schemes
from track.persistence.utils import is_url, parse_options, uri_path

_PATIENCE = 30

_HELP = "list, download and clean up the files of trials"
_DESCRIPTION = """
Shows which files trials have logged, brings one of them here, verified, or removes what no trial names any more.
"""


def add_parser(verbs: Any) -> None:
    """Add the command to the parser of the program."""
    parser = verbs.add_parser("artifacts", help=_HELP, description=_DESCRIPTION)
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(
        title="actions", metavar="action", required=True, help="what to do: list, download or gc"
    )
    show = actions.add_parser("list", help="list what trials have logged, oldest first")
    show.set_defaults(act=_list)
    bring = actions.add_parser("download", help="write an artifact to a file or folder")
    bring.set_defaults(act=_download)
    clean = actions.add_parser("gc", help="remove what no trial names")
    clean.set_defaults(act=_clean)
    show.add_argument("uri", help="the store, as it is given to TrackClient, or an upload store, as it is to em.login")
    for action in (bring, clean):
        action.add_argument("uri", help="the store, as it is given to TrackClient")
    bring.add_argument("name", help="such as model, model:latest, model:v3, model@9f86d081")
    bring.add_argument("--to", metavar="PATH", help="where to write it (default: its name, below this folder)")
    for action in (show, bring):
        action.add_argument("--project", help="only this project")
    clean.add_argument("--dry-run", action="store_true", help="only tell what would be removed")
    clean.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="URI",
        help="another store that keeps its files in the same place",
    )


def run(arguments: argparse.Namespace) -> int:
    """List, download or clean up, and return the exit code."""
    try:
        code: int = arguments.act(arguments)
    except (TrackError, OSError, ValueError) as error:
        print(f"track artifacts: {error}", file=sys.stderr)
        return 2
    return code


def _is_upload_store(uri: str) -> bool:
    """Return whether a URI is a directory, or a URL that no tracking store has: what `em.login` takes."""
    if is_url(uri) and not uri.startswith("file:"):
        return "://" in uri and uri.partition(":")[0].lower() not in known_schemes()
    return os.path.isdir(uri_path(uri) if is_url(uri) else uri.partition("?")[0])


def _list_uploads(uri: str) -> int:
    from track.em.store import Store, open_place

    url, _, query = uri.partition("?")
    settings = {name: value for name, value in parse_options(query).items() if name != "user"}
    objects, host = open_place(url if is_url(url) else os.path.abspath(url), None, settings, _PATIENCE)
    store, count = Store(objects, host, "nobody"), 0
    waiting = [f"/{unquote(name)}" for name in reversed(objects.children("tree"))]
    while waiting:
        path = waiting.pop()
        node = store.find(path)
        if node is not None and node.kind != "Folder":
            size = sum(file["size"] for file in node.files)
            files = "1 file" if len(node.files) == 1 else f"{len(node.files):,} files"
            print(_printable(f"{path}  {node.kind.lower()}  {files}  {size:,} bytes  {node.record.get('updated', '')}"))
            count += 1
            continue
        waiting += [child.path for child in reversed(store.children(path))]
    if not count:
        print(f"nothing is uploaded to {host}")
    return 0


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _list(arguments: argparse.Namespace) -> int:
    if _is_upload_store(arguments.uri):
        return _list_uploads(arguments.uri)
    query = {} if arguments.project is None else {"project_id": arguments.project}
    found = artifacts(arguments.uri, query)
    for artifact in found:
        size = "?" if artifact.size is None else f"{artifact.size:,}"
        project = f"{artifact.project}/" if artifact.project else ""
        digest = (artifact.digest or "")[:12]
        line = f"{project}{artifact.name}:v{artifact.version}  {size} bytes  {digest}  {artifact.trial[:12]}"
        print(_printable(line))
    if not found:
        whose = "" if arguments.project is None else f" of project {arguments.project!r}"
        print(f"no trial{whose} has logged a file")
    return 0


def _download(arguments: argparse.Namespace) -> int:
    artifact = find(arguments.uri, arguments.name, arguments.project)
    print(artifact.download(arguments.to))
    return 0


def _clean(arguments: argparse.Namespace) -> int:
    swept = gc(arguments.uri, arguments.also, arguments.dry_run)
    verb = "would remove" if arguments.dry_run else "removed"
    print(f"{verb} {len(swept.removed):,} files, {swept.size:,} bytes")
    if swept.waiting:
        print(f"{swept.waiting:,} more wait for uploads to end, or for a store that is away: run it again later")
    return 1 if swept.waiting else 0
