"""``track artifacts``: list, download and clean up the files of trials."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from track.artifacts import artifacts, find, gc
from track.cli.shell import configured_store
from track.cli.uploads import list_uploads, sweep_uploads
from track.errors import TrackError
from track.naming import WAYS
from track.reading import fetch

_DESCRIPTION = """
Shows which files trials have logged, brings one of them here, verified, or removes what no trial names any more.
"""


def add_parser(verbs: Any, name: str) -> None:
    """Add the command to the parser of the program."""
    parser = verbs.add_parser(name, description=_DESCRIPTION)
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
    for action in (show, bring, clean):
        store = "the store, as it is given to TrackClient (by default the one that is configured)"
        action.add_argument("uri", nargs="?", help=f"{store}; or one that track.em uploads to")
    bring.add_argument("name", help="such as model, model:latest, model:v3, model@9f86d081")
    bring.add_argument("--to", metavar="PATH", help="where to write it (default: its name, below this folder)")
    for action in (show, bring):
        action.add_argument("--project", help="only this project")
        action.add_argument("--trial", help=f"only this trial: {WAYS}")
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
        if arguments.uri is None:
            arguments.uri = configured_store()
        code: int = arguments.act(arguments)
    except (TrackError, OSError) as error:
        print(f"track artifacts: {error}", file=sys.stderr)
        return 2
    return code


def _list(arguments: argparse.Namespace) -> int:
    uploaded = list_uploads(arguments.uri)
    if uploaded is not None:
        print("\n".join(uploaded) or "nothing was uploaded")
        return 0
    query = {} if arguments.project is None else {"project_id": arguments.project}
    found = artifacts(arguments.uri, query)
    if arguments.trial is not None:
        uid = fetch(arguments.uri, arguments.trial)[0].uid
        found = [artifact for artifact in found if artifact.trial == uid]
    for artifact in found:
        size = "?" if artifact.size is None else f"{artifact.size:,}"
        project = f"{artifact.project}/" if artifact.project else ""
        digest = (artifact.digest or "")[:12]
        line = f"{project}{artifact.name}:v{artifact.version}  {size} bytes  {digest}  {artifact.trial[:12]}"
        # Whoever writes to the store has chosen the names.
        print("".join(letter if letter.isprintable() else "?" for letter in line))
    if not found:
        whose = "" if arguments.project is None else f" of project {arguments.project!r}"
        print(f"no trial{whose} has logged a file" if arguments.trial is None else "the trial has logged no file")
    return 0


def _download(arguments: argparse.Namespace) -> int:
    artifact = find(arguments.uri, arguments.name, arguments.project, arguments.trial)
    print(artifact.download(arguments.to))
    return 0


def _clean(arguments: argparse.Namespace) -> int:
    swept = sweep_uploads(arguments.uri, arguments.dry_run)
    if swept is None:
        swept = gc(arguments.uri, arguments.also, arguments.dry_run)
    verb = "would remove" if arguments.dry_run else "removed"
    print(f"{verb} {len(swept.removed):,} files, {swept.size:,} bytes")
    if swept.waiting:
        print(f"{swept.waiting:,} more wait for uploads to end, or for a store that is away: run it again later")
    return 1 if swept.waiting else 0
