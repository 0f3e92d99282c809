"""``track artifacts``: list, download and clean up the files of trials."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from track.artifacts import artifacts, find, gc
from track.cli.shell import (
    AWAY,
    NOTHING,
    as_json,
    as_uri,
    code_of,
    configured_store,
    csv_cell,
    say,
    say_csv,
    say_json,
    take_forms,
)
from track.cli.uploads import UPLOAD, line_of_upload, list_uploads, sweep_uploads
from track.errors import TrackError
from track.naming import WAYS
from track.persistence.utils import file_of, is_stored, mask_secrets, store_path
from track.reading import fetch

_DESCRIPTION = """
Shows which files trials have logged, brings one of them here, verified, or removes what no trial names any more.
"""
_FIELDS = ("project", "name", "version", "size", "digest", "trial", "uri", "at", "step")


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
        action.add_argument("uri", nargs="?", type=as_uri, help=f"{store}; or one that track.em uploads to")
        take_forms(action, is_list=action is show)
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
        type=as_uri,
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
        return AWAY if _is_away(arguments.uri) else code_of(error)
    return code


def _is_away(uri: str | None) -> bool:
    """Return whether it was a store that is not there."""
    return uri is not None and file_of(uri) is not None and not is_stored(store_path(uri))


def _list(arguments: argparse.Namespace) -> int:
    uploaded = list_uploads(arguments.uri)
    if uploaded is not None:
        _say_rows(arguments, UPLOAD, uploaded, line_of_upload, "nothing was uploaded")
        return 0
    query = {} if arguments.project is None else {"project_id": arguments.project}
    found = artifacts(arguments.uri, query)
    if arguments.trial is not None:
        uid = fetch(arguments.uri, arguments.trial)[0].uid
        found = [artifact for artifact in found if artifact.trial == uid]
    whose = "" if arguments.project is None else f" of project {arguments.project!r}"
    nothing = f"no trial{whose} has logged a file" if arguments.trial is None else "the trial has logged no file"
    rows = [{name: getattr(artifact, name) for name in _FIELDS} for artifact in found]
    _say_rows(arguments, _FIELDS, rows, _line, nothing)
    return 0


def _say_rows(
    given: argparse.Namespace,
    names: Sequence[str],
    rows: Sequence[dict[str, Any]],
    line_of: Callable[[dict[str, Any]], str],
    nothing: str,
) -> None:
    if given.json:
        say_json(uri=mask_secrets(given.uri), artifacts=rows)
    elif given.jsonl:
        for row in rows:
            say(as_json(row))
    elif given.csv:
        say_csv(names, ([csv_cell(row[name]) for name in names] for row in rows))
    else:
        say("\n".join(map(line_of, rows)) or nothing)


def _line(row: dict[str, Any]) -> str:
    size = "?" if row["size"] is None else f"{row['size']:,}"
    project = f"{row['project']}/" if row["project"] else ""
    digest = (row["digest"] or "")[:12]
    line = f"{project}{row['name']}:v{row['version']}  {size} bytes  {digest}  {row['trial'][:12]}"
    # Whoever writes to the store has chosen the names.
    return "".join(letter if letter.isprintable() else "?" for letter in line)


def _download(arguments: argparse.Namespace) -> int:
    artifact = find(arguments.uri, arguments.name, arguments.project, arguments.trial)
    path = artifact.download(arguments.to)
    if arguments.json:
        say_json(path=str(path), name=artifact.name, version=artifact.version, digest=artifact.digest)
    else:
        say(str(path))
    return 0


def _clean(arguments: argparse.Namespace) -> int:
    swept = sweep_uploads(arguments.uri, arguments.dry_run)
    if swept is None:
        swept = gc(arguments.uri, arguments.also, arguments.dry_run)
    code = NOTHING if swept.waiting else 0
    if arguments.json:
        done = {"removed": list(swept.removed), "bytes": swept.size, "waiting": swept.waiting}
        say_json(uri=mask_secrets(arguments.uri), dry_run=arguments.dry_run, **done)
        return code
    verb = "would remove" if arguments.dry_run else "removed"
    say(f"{verb} {len(swept.removed):,} files, {swept.size:,} bytes")
    if swept.waiting:
        say(f"{swept.waiting:,} more wait for uploads to end, or for a store that is away: run it again later")
    return code
