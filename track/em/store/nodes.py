"""What an upload store has at a path, and how paths are written in it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec

from track.em.folders import timestamp
from track.errors import CorruptJournal, FileChanged, UploadFailed
from track.utils.files import chunks_of, digest_of, open_regular

_FORMAT, _PACKED = 1, 2
"""Of records; the second has files that are a part of a content."""
TREE, CONTENT = "tree", "content"
"""Where a store has its records, and where the bytes that they name."""
CONTENT_NAME = f"{CONTENT}/[0-9a-f]{{32}}/[0-9a-f]+-[0-9a-f]+"
"""How content is called, as a regular expression: nothing else is read or removed because a record says so."""
_NODE = ".node"
_ODD = re.compile(r'[%?*\[\]#:<>|"]|[. ](?=/|$)')
_REMEMBERED = 20


class _File(msgspec.Struct):
    """What a record says of a file, whoever wrote it."""

    name: str
    size: Annotated[int, msgspec.Meta(ge=0)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    content: Annotated[str, msgspec.Meta(pattern=f"^{CONTENT_NAME}$")]
    offset: Annotated[int, msgspec.Meta(ge=0)] = 0


class _Record(msgspec.Struct):
    """A record, whoever wrote it; it may say more."""

    type: str
    name: str
    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    state: str
    created: str
    alternative_name: str = ""
    files: list[_File] = []
    replaced: list[str] = []


@dataclass(frozen=True)
class Node:
    """What a store has at a path, ``/<user>/<folder>/.../<name>``: its record, and the tag of the record's state."""

    path: str
    record: dict[str, Any]
    tag: str

    @property
    def kind(self) -> str:
        """``"Folder"``, ``"Run"`` or ``"Artifact"``."""
        return str(self.record["type"])

    @property
    def files(self) -> list[dict[str, Any]]:
        """Its files: name, size in bytes, sha256, and where their content is."""
        return list(self.record.get("files", ()))

    def holds(self, bundle: Bundle) -> bool:
        """Return whether it is an earlier state of what is in the bundle."""
        return self.record.get("alternative_name") == bundle.alternative_name and self.kind == bundle.kind

    @property
    def state(self) -> str:
        """What no other state of any node has."""
        return str(self.record["state"])

    @classmethod
    def parse(cls, path: str, content: bytes, tag: str) -> Node:
        """Return the node of a stored record; CorruptJournal when it is none of ours."""
        try:
            record = json.loads(content)
            if not isinstance(record, dict) or record.get("format") not in (_FORMAT, _PACKED):
                raise CorruptJournal(f"the record of {path} is not of format {_PACKED}: a newer version wrote it?")
            msgspec.convert(record, _Record)
        except (msgspec.ValidationError, RecursionError, ValueError) as error:
            if isinstance(error, CorruptJournal):
                raise
            raise CorruptJournal(f"the record of {path} cannot be read: {error}") from error
        return cls(path, record, tag)

    def encoded(self) -> bytes:
        """Return the bytes to store."""
        return json.dumps(self.record, ensure_ascii=False).encode("utf-8", "backslashreplace")


def new_record(
    described: dict[str, Any], identity: str, owner: str, files: list[dict[str, Any]], old: Node | None
) -> dict[str, Any]:
    """Return a record, which remembers the states that it comes in place of."""
    now = timestamp()
    is_update = old is not None and old.record["id"] == identity
    return {
        "format": _PACKED if any("offset" in file for file in files) else _FORMAT,
        **described,
        "id": identity,
        "owner": owner,
        "created": old.record["created"] if old is not None and is_update else now,
        "updated": now,
        "size": sum(file["size"] for file in files),
        "files": files,
        "state": secrets.token_hex(8),
        "replaced": [] if old is None else [old.state, *old.record.get("replaced", ())][:_REMEMBERED],
    }


def parents(path: str) -> list[str]:
    """Return the folders on the way to an absolute path, and itself: ``/ann`` and ``/ann/cv`` for ``/ann/cv``."""
    parts = path.strip("/").split("/")
    return ["/" + "/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def record_name(path: str) -> str:
    """Return the name of the record of an absolute path, in a place: ``tree/ann/what%3F/.node`` of ``/ann/what?``."""
    # Every file system and every URL takes it as it is.
    encoded = _ODD.sub(lambda found: f"%{ord(found[0]):02X}", path.strip("/"))
    return f"{TREE}/{encoded}/{_NODE}"


def path_of_record(name: str) -> str | None:
    """Return the path whose record is so named; None where it is none that an upload has written."""
    first, _, rest = name.partition("/")
    encoded, _, last = rest.rpartition("/")
    path = "/" + "/".join(map(decoded_name, encoded.split("/")))
    is_ours = (first, last) == (TREE, _NODE) and encoded and record_name(path) == name
    return path if is_ours else None


def decoded_name(name: str) -> str:
    """Return the part of a path that is so called in a place."""
    return re.sub(r"%([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), name)


def is_part(name: str) -> bool:
    """Return whether `record_name` can have called a part of a path so."""
    part = decoded_name(name)
    return bool(part) and "/" not in part and record_name(part) == f"{TREE}/{name}/{_NODE}"


def remote_entry(host: str, node: Node, action: str, state: str = "") -> dict[str, str]:
    """Return an entry: where, ``"upload"`` or ``"download"``, when, and the state by which a later change is known."""
    entry = {"host": host, "path": node.path, "id": str(node.record["id"]), "action": action, "timestamp": timestamp()}
    return {**entry, "state": state} if state else entry


@dataclass(frozen=True)
class LocalFile:
    """A file to upload under a name with slashes: how many of its bytes, as it may grow meanwhile, and their digest."""

    name: str
    path: str
    size: int
    sha256: str

    @classmethod
    def at(cls, name: str, path: str) -> LocalFile:
        """Return the file as it is now."""
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
        return cls(name, path, size, digest_of(path, size))

    def chunks(self) -> Iterator[bytes]:
        """Yield its bytes; FileChanged when they are not those that were promised."""
        digest = hashlib.sha256()
        try:
            with open_regular(self.path) as file:
                for chunk in chunks_of(file, self.size):
                    digest.update(chunk)
                    yield chunk
        except OSError as error:
            raise UploadFailed(f"{self.path} cannot be read: {error}") from error
        if digest.hexdigest() != self.sha256:
            raise FileChanged(f"{self.path} was changed after it was added, or while it was read: add it again")


@dataclass(frozen=True)
class Bundle:
    """A run or an artifact (`kind` ``"Run"`` or ``"Artifact"``), as a store gets it."""

    kind: str
    name: str
    alternative_name: str
    labels: list[str] = field(default_factory=list)
    description: str = ""
    files: list[LocalFile] = field(default_factory=list)

    def described(self) -> dict[str, Any]:
        """Return what the store's record says of it, but for its files."""
        named = {"type": self.kind, "name": self.name, "alternative_name": self.alternative_name}
        return {**named, "labels": self.labels, "description": self.description}
