"""What an upload store holds, for whoever looks after it: who uploaded what, and what killed uploads have left."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from track.artifacts import Swept
from track.configuration import options
from track.em.store.leases import UPLOADING, live_tokens
from track.em.store.nodes import CONTENT, CONTENT_NAME, TREE, Node, path_of_record
from track.em.store.places import open_place
from track.errors import InvalidUri, suggestion
from track.objectstore import Aged, ObjectStore
from track.persistence import known_schemes
from track.persistence.utils import parse_options, uri_path

_ABANDONED, _SETTLED = 7 * 24 * 3600.0, 3600.0
_OWN = (f"{TREE}/", f"{CONTENT}/", f"{UPLOADING}/")
_CONTENT = re.compile(CONTENT_NAME)
_TOKEN = re.compile("[0-9a-f]{16}")
_PATIENCE = 30


def find_uploads(url: str) -> ObjectStore | None:
    """Return the upload store at a path or URL; None where there is none, or the URL is one of a tracking store."""
    place, _, query = url.partition("?")
    scheme = place.partition(":")[0] if ":" in place else ""
    if scheme in ("", "file"):
        folder = uri_path(place) if scheme else place
        if not folder or not os.path.isdir(os.path.join(folder, TREE)):
            return None
        place = os.path.abspath(folder)
    elif "://" not in place or scheme in ("http", "https") or scheme in known_schemes():
        return None
    settings = parse_options(query)
    settings.pop("user", None)
    try:
        objects, _ = open_place(place, options("em.api_key", None), settings, _PATIENCE)
        return objects if objects.children(TREE) else None
    except InvalidUri:
        # A scheme that is nobody's may be a slip of one of a tracking store, whose error says so.
        if suggestion(scheme, known_schemes()):
            return None
        raise
    except ValueError as error:
        # So says a service that refuses the key.
        raise InvalidUri(str(error)) from error


def uploads(objects: ObjectStore) -> Iterator[Node]:
    """Yield the runs and artifacts of all users, by path; CorruptJournal where a record cannot be read."""
    names = [name for name in objects.names() if name.startswith(f"{TREE}/")]
    paths = {path: name for name in names if (path := path_of_record(name)) is not None}
    for path in sorted(paths):
        found = objects.tagged(paths[path])
        if found is not None:
            node = Node.parse(path, *found)
            if node.kind != "Folder":
                yield node


def sweep(objects: ObjectStore, dry_run: bool = False) -> Swept:
    """Remove what killed uploads have left.

    An upload is over when its process is, on this machine; on another one when it has been silent for a day.

    Raises
    ------
    CorruptJournal
        A record cannot be read, so nobody knows what it names. Nothing is removed.
    """
    # Content, then leases, then records: who has let go of a lease in between has written a record before.
    every = list(objects.aged())
    unfinished = list(objects.unfinished())
    live, leases = live_tokens(objects, [found for found in every if found.name.startswith(f"{UPLOADING}/")])
    named = {file["content"] for node in uploads(objects) for file in node.files}
    # Whatever else somebody keeps here is theirs.
    contents = [found for found in every if _CONTENT.fullmatch(found.name) and found.name not in named]
    left = [*contents, *(found for found in unfinished if found.name.startswith(_OWN))]
    dead = [found for found in left if _is_over(found, live)]
    if not dry_run:
        for found in [*dead, *leases]:
            objects.drop(found)
    return Swept(sorted(found.name for found in dead), sum(found.size for found in dead), len(left) - len(dead))


def _is_over(found: Aged, live: set[str]) -> bool:
    token = found.name.rpartition("-")[2]
    if _TOKEN.fullmatch(token):
        return token not in live
    # Earlier versions left no lease, and what is just being written to a folder is called as nobody else's.
    return found.age > (_ABANDONED if live or found.name.startswith(f"{CONTENT}/") else _SETTLED)
