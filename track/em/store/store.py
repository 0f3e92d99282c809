"""The upload store: folders of each user, and in them runs and artifacts that many people may upload at once.

Content comes first, under names that nobody else uses; then one record, written by compare-and-swap, makes it visible.
So nothing is half there, whoever is killed when, and an upload is idempotent.
"""

from __future__ import annotations

import logging
import secrets
import uuid
from typing import Any

from track.em.folders import alternative_name, checked_name, with_article
from track.em.store.leases import Lease
from track.em.store.nodes import (
    CONTENT,
    Bundle,
    LocalFile,
    Node,
    decoded_name,
    is_part,
    new_record,
    parents,
    record_name,
)
from track.em.store.packs import packed, pieces
from track.errors import NothingThere, UploadConflict, UploadFailed
from track.objectstore import ObjectStore
from track.shown import bounded, shown

logger = logging.getLogger(__name__)
STRATEGIES = ("skip", "error", "new", "replace")
"""What may be done when a name is taken."""
_DEFAULT = "default"
_TRIES = 100
_Files = dict[tuple[str, int, str], dict[str, Any]]
"""What records say of files, by name, size and digest."""


class Store:
    """Uploads and finds; records name it by `host`, and paths without a slash first are in the folders of `user`."""

    def __init__(self, objects: ObjectStore, host: str, user: str) -> None:
        self.objects = objects
        self.host = host
        self.user = checked_name(user)

    def absolute(self, path: str) -> str:
        """Return a path, the user before it unless it begins with a slash; ValueError where a part can be no name."""
        if not isinstance(path, str):
            raise TypeError(f"a folder is a str, not {type(path).__name__}")
        parts = path.strip("/").split("/") if path.strip("/") else []
        if not path.startswith("/"):
            parts.insert(0, self.user)
        for part in parts:
            checked_name(part)
        if not parts:
            raise ValueError(f"{bounded(repr(path))} names no folder: a path begins with a user")
        return "/" + "/".join(parts)

    def is_path(self, path: str) -> bool:
        """Return whether there could be something at a path."""
        try:
            return bool(self.absolute(path))
        except ValueError:
            return False

    def find(self, path: str) -> Node | None:
        """Return what is at an absolute path; None where nothing is."""
        found = self.objects.tagged(record_name(path))
        return None if found is None else Node.parse(path, *found)

    def children(self, path: str) -> list[Node]:
        """Return what is in a folder, sorted by name."""
        parent = self.absolute(path)
        names = self.objects.children(record_name(parent).rpartition("/")[0])
        # What no upload would have called so is none.
        own = [name for name in names if not name.startswith(".") and is_part(name)]
        found = (self.find(f"{parent}/{decoded_name(name)}") for name in own)
        return [node for node in found if node is not None]

    def folder(self, path: str, make_folder: bool = False) -> str:
        """Return the absolute path of a folder; the user's own, and ``default`` in it, are made when needed.

        NothingThere where it is not there and not to be made, UploadConflict where it is no folder.
        """
        absolute = self.absolute(path)
        node = self.find(absolute)
        own = (f"/{self.user}", f"/{self.user}/{_DEFAULT}")
        if node is None and not make_folder and absolute not in own:
            raise NothingThere(f"there is no folder {absolute} in {self.host}: give make_folder=True to make it")
        if node is None:
            for parent in parents(absolute):
                self._make_folder(parent)
        elif node.kind != "Folder":
            raise UploadConflict(f"{absolute} is no folder but {with_article(node.kind)}")
        return absolute

    def _make_folder(self, path: str) -> None:
        described = {"type": "Folder", "name": path.rpartition("/")[2]}
        node = Node(path, new_record(described, uuid.uuid4().hex, self.user, [], None), "")
        if not self.objects.create(record_name(path), node.encoded()):
            found = self.find(path)
            if found is None or found.kind != "Folder":
                raise UploadConflict(f"{path} is no folder but {with_article(found.kind if found else 'file')}")

    def accepts(self, bundle: Bundle, folder: str, make_folder: bool, strategy: str) -> bool:
        """Return whether `upload` would upload; what it would raise is raised."""
        return self._target(self.folder(folder, make_folder), bundle, strategy) is not None

    def upload(self, bundle: Bundle, folder: str, make_folder: bool, strategy: str) -> Node | None:
        """Upload, and return what is there now; None when the name is taken and the strategy is to skip.

        An earlier state of the same run or artifact is replaced, whatever the strategy. UploadConflict where the name
        is taken, FileChanged where a file was changed while it was read.
        """
        parent = self.folder(folder, make_folder)
        sent: _Files = {}
        lease = Lease(self.objects)
        published: Node | None = None
        try:
            for _ in range(_TRIES):
                target = self._target(parent, bundle, strategy)
                if target is None:
                    logger.info("%s %r is not uploaded: the name is taken in %s", bundle.kind, bundle.name, parent)
                    return None
                published = self._publish(*target, bundle, sent, lease)
                if published is not None:
                    return published
                # Somebody was faster: what the strategy says may be something else now.
        finally:
            kept = {file["content"] for file in published.files} if published else set()
            self._remove({file["content"] for file in sent.values()} - kept)
            lease.close()
        raise UploadFailed(f"{parent}/{bundle.name} is changed by others all the time: try again later")

    def _target(self, parent: str, bundle: Bundle, strategy: str) -> tuple[str, Node | None] | None:
        """Return the path to upload to, and what is there; None to skip."""
        path = f"{parent}/{bundle.name}"
        node = self.find(path)
        if node is None or node.holds(bundle):
            return path, node
        match strategy:
            case "skip":
                return None
            case "error":
                raise UploadConflict(f"{path} is taken by {with_article(node.kind)}")
            case "replace" if node.kind == "Folder":
                raise UploadConflict(f"{path} is a folder, which is not replaced")
            case "replace":
                return path, node
        path = f"{parent}/{bundle.alternative_name}"
        while (node := self.find(path)) is not None and not node.holds(bundle):
            path = f"{parent}/{alternative_name(bundle.name)}"
        return path, node

    def _publish(self, path: str, old: Node | None, bundle: Bundle, sent: _Files, lease: Lease) -> Node | None:
        """Send what is not there, then write the record; None when it is not in the state that was seen."""
        earlier = old if old is not None and old.holds(bundle) else None
        identity = uuid.uuid4().hex if earlier is None else str(earlier.record["id"])
        files_there = () if earlier is None else earlier.files
        there: _Files = {(file["name"], file["size"], file["sha256"]): file for file in files_there}
        keys = [_key(file) for file in bundle.files]
        new = [file for file in bundle.files if _key(file) not in there and _key(file) not in sent]
        for group in packed(new):
            self._send(identity, group, sent, lease)
        files = [there.get(key) or sent[key] for key in keys]
        node = Node(path, new_record(bundle.described(), identity, self.user, files, old), "")
        if not self._write(node, old):
            return None
        if old is not None:
            # Only what the record named that was replaced just now: nobody can be about to name it again.
            self._remove({file["content"] for file in old.files} - {file["content"] for file in files})
        return node

    def _write(self, node: Node, old: Node | None) -> bool:
        name, record = record_name(node.path), node.encoded()
        if self.objects.create(name, record) if old is None else self.objects.swap(name, record, old.tag):
            return True
        # The answer may have been lost, and somebody else have come since.
        now = self.find(node.path)
        return now is not None and node.state in now.record.get("replaced", ())

    def _send(self, identity: str, files: list[LocalFile], sent: _Files, lease: Lease) -> None:
        """Send files as one content, and add what records say of them."""
        # No two are called the same: one that is replaced may be read still.
        content = f"{CONTENT}/{identity}/{files[0].sha256[:16]}{secrets.token_hex(4)}-{lease.token}"
        try:
            self.objects.put(content, lease.renewing(pieces(files)))
        except BaseException:
            self._remove({content})
            raise
        offset = 0
        for file in files:
            place: dict[str, Any] = {"content": content} if len(files) == 1 else {"content": content, "offset": offset}
            sent[_key(file)] = {"name": file.name, "size": file.size, "sha256": file.sha256, **place}
            offset += file.size

    def _remove(self, contents: set[str]) -> None:
        for content in contents:
            try:
                self.objects.remove(content)
            except (OSError, RuntimeError, ValueError) as error:
                # It is in nobody's way.
                logger.debug("%s stays in %s: %s", content, self.host, error)


def _key(file: LocalFile) -> tuple[str, int, str]:
    return file.name, file.size, file.sha256


def checked_strategy(strategy: str) -> str:
    """Return the strategy; ValueError when there is no such one."""
    if strategy not in STRATEGIES:
        raise ValueError(f"conflict_strategy {shown(strategy)} must be one of {', '.join(STRATEGIES)}")
    return strategy
