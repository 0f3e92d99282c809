"""The JSON file of a store: all of its objects, one trial a paragraph, and how far the journal is in it.

``{"format": 1, "journal": {"id": ..., "offset": ..., "store": ...}, "projects": [...]}``. The original's format, a
bare list of projects, is read too. In format 2 a metric has ``chunks`` before its columns: each names a file, an offset
in it, bytes, points and a sum; and ``points`` has the number and size of each file.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from operator import itemgetter
from typing import Any, TypeAlias

import msgspec

from track.briefs import Brief, brief_from_plain, brief_to_plain
from track.containers.stored import Stored
from track.errors import CorruptJournal, UnsafePath
from track.events import FORMAT
from track.metrics import Metrics, briefs_of
from track.persistence.contract import new_identity, origin_from
from track.persistence.state.outside import PointsFiles
from track.persistence.state.placing import Placing
from track.persistence.state.state import State
from track.persistence.state.unread import UnreadTrial
from track.persistence.utils import is_beside
from track.plain import restore, to_plain
from track.serialization import from_json, status_from_json, to_json, trial_from_document, trial_to_document
from track.structure import Trial, TrialGroup
from track.utils.collecting import nothing_collected
from track.utils.files import OpenFile, open_regular

FORMAT_OUTSIDE = 2
"""Of a snapshot that names points files."""
_OUTSIDE = b'{"format": %d,' % FORMAT_OUTSIDE
_HEAD = 1 << 16
_JOURNAL = re.compile(r'"journal"\s*:\s*(?=\{)')
_CACHED_UP_TO = 1 << 16
_KEPT_UP_TO = 1 << 12
_UNIQUE = 160
_encode = msgspec.json.Encoder().encode
_decode_containers = msgspec.json.Decoder(dict[str, Any]).decode


class _TrialDocument(msgspec.Struct, forbid_unknown_fields=True):
    """A stored trial, its measurements left as bytes."""

    dtype: Any = None
    uid: str | None = None
    revision: Any = 0
    hash: str | None = None
    name: Any = None
    description: Any = None
    version: Any = None
    tags: Any = None
    group_id: Any = None
    project_id: Any = None
    parameters: Any = None
    metadata: Any = None
    metrics: msgspec.Raw = msgspec.Raw(b"{}")
    chronos: msgspec.Raw = msgspec.Raw(b"{}")
    errors: Any = None
    status: Any = None
    artifacts: Any = None
    timestamps: Any = None
    process: Any = None
    attempt: int = 0
    processes: Any = None
    is_set: bool = False
    latest: float = 0.0
    deleted: Any = False
    moments: Any = None
    order: int = 0
    briefs: msgspec.Raw = msgspec.Raw(b"null")

    get = object.__getattribute__  # a field, as a mapping would give it


class _TrialHead(_TrialDocument, forbid_unknown_fields=True):
    """What a store knows of each trial, whether or not anybody looks at it; the rest is left as bytes."""

    name: msgspec.Raw = msgspec.Raw(b"null")
    description: msgspec.Raw = msgspec.Raw(b"null")
    version: msgspec.Raw = msgspec.Raw(b"null")
    tags: msgspec.Raw = msgspec.Raw(b"null")
    group_id: msgspec.Raw = msgspec.Raw(b"null")
    parameters: msgspec.Raw = msgspec.Raw(b"null")
    metadata: msgspec.Raw = msgspec.Raw(b"null")
    errors: msgspec.Raw = msgspec.Raw(b"null")
    artifacts: msgspec.Raw = msgspec.Raw(b"null")
    timestamps: msgspec.Raw = msgspec.Raw(b"null")
    process: msgspec.Raw = msgspec.Raw(b"null")
    processes: msgspec.Raw = msgspec.Raw(b"null")
    moments: msgspec.Raw = msgspec.Raw(b"null")


class _ProjectDocument(msgspec.Struct, forbid_unknown_fields=True):
    """A stored project; `trials` are parsed on their own."""

    dtype: Any = None
    uid: str | None = None
    name: str | None = None
    description: Any = None
    metadata: Any = None
    tags: Any = None
    groups: list[dict[str, Any]] = []
    trials: list[msgspec.Raw] = []
    moments: Any = None
    order: int = 0


class _Changes(msgspec.Struct):
    """The numbers of the trials' last events, and what they belong to: an older version keeps them as they were."""

    held: tuple[str, int]
    count: int
    journals: dict[str, int]
    trials: list[int]
    points: list[int] = []
    """How many points each trial has, where no points are outside: nobody need read the trials to count them."""


class _Snapshot(msgspec.Struct, forbid_unknown_fields=True):
    """The whole file."""

    projects: list[_ProjectDocument] = []
    groups: list[dict[str, Any]] = []
    trials: list[msgspec.Raw] = []
    format: int | None = None
    journal: dict[str, Any] = {}
    writers: dict[str, int] = {}
    changes: msgspec.Raw = msgspec.Raw(b"null")
    points: list[tuple[int, int]] = []


_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decoders: dict[type[msgspec.Struct], Any] = {
    kind: msgspec.json.Decoder(kind).decode for kind in (_TrialDocument, _TrialHead, _ProjectDocument, _Snapshot)
}
_GROUP = {"dtype", "uid", "name", "description", "metadata", "project_id", "trials", "order", "moments"}
_Unknown = dict[str, msgspec.Raw]


def _decode(data: bytes | msgspec.Raw, kind: type[msgspec.Struct]) -> tuple[Any, _Unknown]:
    """Return a document, and the fields of it that this version of the library does not know, as they are written."""
    decode = _decoders[kind]
    try:
        return decode(data), {}
    except msgspec.ValidationError:
        fields = _decode_fields(data)
        unknown = {name: fields.pop(name) for name in list(fields) if name not in kind.__struct_fields__}
        return decode(_encode(fields)), unknown


def read_head(path: str) -> dict[str, Any]:
    """Return what a snapshot says of its store and its journal, from the beginning of its file; {} where it is none."""
    try:
        with open_regular(path) as file:
            head = file.read(_HEAD).decode("utf-8", "replace")
    except (OSError, UnsafePath):
        return {}
    found = _JOURNAL.search(head)
    if found is None:
        return {}
    with contextlib.suppress(ValueError):
        return dict(json.JSONDecoder().raw_decode(head, found.end())[0])
    return {}


def names_points(path: str) -> bool:
    """Return whether a snapshot names points outside of it, as the beginning of its file says."""
    with contextlib.suppress(OSError, UnsafePath), open_regular(path) as file:
        return file.read(len(_OUTSIDE)) == _OUTSIDE
    return False


def read_snapshot(path: str, storage: State) -> dict[str, Any]:
    """Fill an empty storage from a file, and return which journal is in it, up to which offset.

    Raises CorruptJournal: the file is no track file, or of a newer version.
    """
    try:
        file = OpenFile.at(path, os.O_RDONLY)
    except FileNotFoundError:
        return {}
    data = file.readall()
    if not data or data.isspace():
        return {}
    with nothing_collected():
        return _read(path, file, data, storage)


def _read(path: str, file: OpenFile, data: bytes, storage: State) -> dict[str, Any]:
    snapshot = _parse(path, data, storage)
    if snapshot.format is None:
        raise CorruptJournal(
            f"{path} is no track file (it has no format) and was left as it is: move it away, or give the store "
            "another name"
        )
    if snapshot.format > FORMAT_OUTSIDE:
        raise CorruptJournal(
            f"{path} has format {snapshot.format}, this version of track reads up to {FORMAT_OUTSIDE}: upgrade track"
        )
    _fill(storage, snapshot, path, file, data)
    return snapshot.journal


def _parse(path: str, data: bytes, storage: State) -> _Snapshot:
    try:
        if data.lstrip().startswith(b"["):
            return _Snapshot(projects=_projects(_decode_items(data), storage), format=FORMAT)
        with contextlib.suppress(msgspec.ValidationError):
            known: _Snapshot = _decoders[_Snapshot](data)
            return known
        # Some object has more fields than we know: each on its own.
        fields = _decode_fields(data)
        projects = _projects(_decode_items(fields.pop("projects", msgspec.Raw(b"[]"))), storage)
        known, storage.unknown["snapshot", None] = _decode(_encode(fields), _Snapshot)
        known.projects = projects
        return known
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CorruptJournal(
            f"{path} is no track file ({error}) and was left as it is: move it away, or give the store another name"
        ) from error


def _projects(raws: list[msgspec.Raw], storage: State) -> list[_ProjectDocument]:
    projects = []
    for raw in raws:
        project, unknown = _decode(raw, _ProjectDocument)
        projects.append(project)
        if unknown:
            storage.unknown["project", project.uid] = unknown
    return projects


def _fill(storage: State, snapshot: _Snapshot, file_path: str, file: OpenFile, data: bytes) -> None:
    storage.writers.update(snapshot.writers)
    about = snapshot.journal
    storage.identity, storage.home = str(about.get("store") or ""), str(about.get("home") or "")
    storage.origin = origin_from(about.get("origin"))
    former = about.get("former")
    storage.former = list(map(str, former)) if isinstance(former, list) else []
    storage.outside = PointsFiles(file_path, snapshot.points, [storage.identity, *storage.former])
    for project in sorted(snapshot.projects, key=lambda project: project.order):
        fields = {"uid": project.uid, "name": project.name, "description": project.description}
        fields |= {"metadata": project.metadata, "tags": project.tags, "moments": project.moments}
        storage.add_project(from_json(fields, "project"))
    groups = [*snapshot.groups, *(group for project in snapshot.projects for group in project.groups)]
    for group in sorted(groups, key=lambda group: group.get("order", 0)):
        if unknown := {name: group[name] for name in group if name not in _GROUP}:
            storage.unknown["group", group.get("uid")] = unknown
        storage.add_group(from_json(group | {"trials": ()}, "trial_group"), group.get("trials") or ())
    documents = [*_documents(snapshot.trials, file, data, None, storage)]
    for project in snapshot.projects:
        documents += _documents(project.trials, file, data, project.uid or project.name, storage)
    for order, uid, trial, stored, indexed in sorted(documents, key=itemgetter(0)):
        storage.take_trial(uid, trial, *indexed)
        if order:
            storage.documents[uid] = stored
        else:
            storage.changed.add(uid)
    _fill_changes(storage, snapshot)


def _fill_changes(storage: State, snapshot: _Snapshot) -> None:
    """Take the numbers of events, if they are of this snapshot; else counting begins with it."""
    held = snapshot.journal.get("id"), snapshot.journal.get("offset", 0)
    try:
        known = msgspec.json.decode(snapshot.changes, type=_Changes | None)
    except msgspec.MsgspecError:
        known = None
    if known is not None and known.held == held and len(known.trials) == len(storage.marks):
        storage.count, storage.journals = known.count, known.journals
        storage.marks = dict(zip(storage.marks, known.trials, strict=True))
        if len(known.points) == len(storage.marks):
            storage.sizes = dict(zip(storage.marks, known.points, strict=True))
    if isinstance(held[0], str) and held[0]:
        storage.note_journal(held[0])


def _documents(
    raws: list[msgspec.Raw], file: OpenFile, data: bytes, owner: str | None, storage: State
) -> Iterator[tuple[int, str, Trial, _Stored, tuple[str, Any]]]:
    """Yield the place of each trial among all trials, its uid, the trial, where its bytes are, its hash and status."""
    position, load = 0, partial(_trial_of, owner, storage.outside)
    for raw in raws:
        view = memoryview(raw)
        if len(view) < _KEPT_UP_TO:
            stored: _Stored = bytes(view)
        else:
            # It begins with the trial's uid: nothing before it reads the same.
            position = max(data.find(bytes(view[:_UNIQUE]), position), 0)
            stored = _Region(file, position, view)
            position += len(view)
        head, unknown = _decode(raw, _TrialHead)
        digest, order = head.hash, head.order
        if digest and order:
            revision, status = int(head.revision or 0), status_from_json(head.status)
            project = owner if head.project_id is None else restore(head.project_id)
            trial: Trial = UnreadTrial(digest, revision, project, status, load, stored, _untouched(head))
            uid = f"{digest}_{revision}"
        else:
            # What tells one of a file of before from others is made of all of it.
            trial = load(stored)
            uid, digest, status = trial.uid, trial.hash, trial.status
        if unknown:
            storage.unknown["trial", uid] = unknown
        yield order, uid, trial, stored, (digest, status)


def _untouched(head: Any) -> float:
    """Return when a trial last changed that no process has begun, whose status nobody has set; 0 of any other."""
    if head.attempt or head.is_set or head.deleted or b'"status"' in bytes(head.moments):
        return 0.0
    latest: float = head.latest if bytes(head.processes) in (b"[]", b"null") else 0.0
    return latest


def _trial_of(owner: str | None, outside: PointsFiles, stored: _Stored) -> Trial:
    """Return the trial of a document; `owner` is the project that it is in, where it does not say so itself."""
    document, _ = _decode(bytes(stored), _TrialDocument)
    if document.project_id is None:
        document.project_id = owner
    find = partial(outside.stored, document.uid or "")
    metrics = _lazy(document.metrics, stored, "metrics", _briefs_in(document), find)
    trial = trial_from_document(document, metrics, _lazy(document.chronos, stored, "chronos"))
    if isinstance(trial.metadata, dict):
        trial.metadata.setdefault("_update_count", 0)
    return trial


class _Region:
    """The bytes of one trial in the snapshot, left on disk: the open file keeps them there if it is replaced."""

    __slots__ = ("_file", "_length", "_offset", "_sum")

    def __init__(self, file: OpenFile, offset: int, data: memoryview) -> None:
        self._file = file
        self._offset = offset
        self._length = len(data)
        self._sum = zlib.crc32(data)

    def __len__(self) -> int:
        return self._length

    def __bytes__(self) -> bytes:
        data = bytearray()
        while len(data) < self._length:
            piece = os.pread(self._file.fileno(), self._length - len(data), self._offset + len(data))
            if not piece:
                break
            data += piece
        if zlib.crc32(data) != self._sum:
            # As `cp` does it: the open file itself, not its name.
            raise CorruptJournal(
                "the JSON file of the store was overwritten in place while it was in use, and what it held of a trial "
                "is gone from it: put files back with mv, not with cp"
            )
        return bytes(data)


_Stored: TypeAlias = bytes | _Region
"""A trial's document: in memory when it is small, else where it is on disk."""


def _briefs_in(document: _TrialDocument) -> Callable[[], dict[str, Brief]] | None:
    """Return what decodes what each metric comes to; None where that is of before the trial's last change.

    An older version keeps the field as it was.
    """
    data, metadata = bytes(document.briefs), document.metadata
    count = metadata.get("_update_count", 0) if isinstance(metadata, dict) else None
    if not data.startswith(b"[%d," % count if isinstance(count, int) else b"\0"):
        return None
    return lambda: {name: brief_from_plain(plain) for name, plain in msgspec.json.decode(data)[1].items()}


def _stored_metrics(storage: State, uid: str, stored: bytes) -> Metrics:
    """Return the metrics of a trial's document, which are decoded when somebody looks."""
    document = _decode(stored, _TrialDocument)[0]
    find = partial(storage.outside.stored, uid)
    return _lazy(document.metrics, stored, "metrics", _briefs_in(document), find)


def _lazy(
    raw: msgspec.Raw,
    stored: _Stored,
    field: str,
    briefs: Callable[[], dict[str, Brief]] | None = None,
    find: Callable[[str, Any], Stored] | None = None,
) -> Metrics:
    if bytes(memoryview(raw)[:3]) == b"{}":
        return Metrics()
    return Metrics(partial(_load, stored, field, find), briefs)


def _load(stored: _Stored, field: str, find: Callable[[str, Any], Stored] | None) -> dict[str, Any]:
    """Return containers as data, in which the names of chunks are replaced by what they name."""
    containers = _decode_containers(getattr(_decode(bytes(stored), _TrialDocument)[0], field))
    if find is None:
        return containers
    for name, plain in containers.items():
        if isinstance(plain, dict) and isinstance(plain.get("chunks"), list):
            plain["chunks"] = find(name, plain["chunks"])
    return containers


def snapshot_bytes(
    storage: State,
    journal: dict[str, Any],
    is_copy: bool = False,
    home: str | None = None,
    placing: Placing | None = None,
) -> Iterator[bytes]:
    """Yield the file's content, piece by piece; points that go outside are on the disk before the last piece.

    `journal`: which journal is in it (`id`), up to which byte (`offset`); empty for a file without one. `is_copy`:
    whether it will be a store of its own. `home`: where artifacts are that are named as beside the store, for a file
    that will have none beside it. `placing`: where points go that do not stay in it; None: nowhere.
    """
    about = {"store": storage.identity, "former": storage.former, "home": storage.home, "origin": storage.origin}
    if is_copy:
        about = {
            "store": placing.store if placing else new_identity(),
            "former": [*storage.former, *filter(None, [storage.identity])],
        }
    about = journal | {name: value for name, value in about.items() if value}
    is_alone = is_copy or (placing is None and storage.outside.is_used)
    documents = partial(_copied_document, storage, home) if is_alone else partial(_kept_document, storage)
    documents = partial(documents, placing)
    owned: dict[Any, list[Trial]] = {uid: [] for uid in storage.projects}
    stray: list[Trial] = []
    order: dict[str, int] = {}
    for position, (uid, trial) in enumerate(storage._trials.items()):
        order[uid] = position + 1
        owned.get(trial.project_id if isinstance(trial.project_id, str) else None, stray).append(trial)
    groups: dict[Any, list[dict[str, Any]]] = {}
    for position, group in enumerate(storage._groups.values()):
        owner = group.project_id if group.project_id in owned else None
        groups.setdefault(owner, []).append(_group_document(storage, group) | {"order": position})
    yield b'{"format": %d,\n "journal": %s' % (FORMAT_OUTSIDE if placing else FORMAT, _encode(about))
    if storage.writers:
        yield b',\n "writers": ' + _encode(storage.writers)
    for name, value in storage.unknown.get(("snapshot", None), {}).items():
        yield b",\n " + _encode(name) + b": " + _encode(value)
    yield b',\n "projects": ['
    for position, (uid, project) in enumerate(storage._projects.items()):
        yield b",\n\n" if position else b"\n\n"
        document: dict[str, Any] = {"dtype": "project", "uid": uid, "name": project.name}
        document["description"] = project.description
        document |= {"metadata": to_plain(project.metadata), "tags": to_plain(project.tags), "order": position}
        document |= {"moments": project.moments} if project.moments else {}
        document |= storage.unknown.get(("project", uid), {})
        yield _encode(document)[:-1] + b',\n "trials": ['
        yield from _trial_bytes(owned[uid], order, documents)
        yield b'],\n "groups": ' + _group_bytes(groups.get(uid, [])) + b"}"
    yield b"]"
    if stray:
        yield b',\n\n "trials": ['
        yield from _trial_bytes(stray, order, documents)
        yield b"]"
    if groups.get(None):
        yield b',\n\n "groups": ' + _group_bytes(groups[None])
    if journal:
        storage.note_journal(journal["id"])
        held = (journal["id"], journal.get("offset", 0))
        marks = storage.marks
        changes = _Changes(held, storage.count, storage.journals, list(marks.values()))
        if placing is None and marks.keys() <= storage.sizes.keys():
            changes.points = [storage.sizes[uid] for uid in marks]
        yield b',\n\n "changes": ' + _encode(changes)
    if placing:
        # On the disk before the file is there that names them.
        yield b',\n\n "points": ' + _encode(placing.finish())
    yield b"}\n"


def _group_document(storage: State, group: TrialGroup) -> dict[str, Any]:
    document: dict[str, Any] = to_json(group)
    # A document for people nests keys with dots; what is stored is as it was logged.
    document["metadata"] = to_plain(group.metadata)
    document["trials"] = list(storage._members.get(group.uid, ()))
    return document | storage.unknown.get(("group", group.uid), {})


def _group_bytes(documents: list[dict[str, Any]]) -> bytes:
    documents = sorted(documents, key=lambda document: str(document["name"]))
    return b"[" + b",\n  ".join(_encode(document) for document in documents) + b"]"


def _trial_bytes(
    trials: Iterable[Trial], order: dict[str, int], document_of: Callable[[Trial, int], bytes]
) -> Iterator[bytes]:
    separator = b"\n\n"
    for trial in trials:
        yield separator
        yield document_of(trial, order[trial.uid])
        separator = b",\n\n"


def _kept_document(storage: State, placing: Placing | None, trial: Trial, order: int) -> bytes:
    """Return the document of a trial, which is kept for the next snapshot; it is made again where the trial changed."""
    uid = trial.uid
    known = storage.documents.get(uid)
    if known is not None and uid not in storage.changed:
        return bytes(known)
    metrics = trial.metrics
    is_read = not isinstance(metrics, Metrics) or metrics.is_loaded
    document = _document_bytes(trial, order, storage.unknown.get(("trial", uid), {}), None, placing)
    if len(document) < _CACHED_UP_TO:
        storage.documents[uid] = document
        storage.changed.discard(uid)
        if not is_read:
            # Nobody has asked for its metrics: they were read for this, and are in the document.
            trial.metrics = _stored_metrics(storage, uid, document)
    else:
        storage.documents.pop(uid, None)
    return document


def _copied_document(storage: State, home: str | None, placing: Placing | None, trial: Trial, order: int) -> bytes:
    """Return the document of a trial for another store: with its points, or with names of chunks that are there."""
    if placing is None and not storage.outside.is_used and not (home and trial.artifacts):
        return _kept_document(storage, None, trial, order)
    return _document_bytes(trial, order, storage.unknown.get(("trial", trial.uid), {}), home, placing)


def _document_bytes(
    trial: Trial, order: int, unknown: dict[str, Any], home: str | None = None, placing: Placing | None = None
) -> bytes:
    """Return a trial's document, a key a line and a metric a line: people read and compare this file."""
    metrics = placing.metrics_of(trial) if placing else None
    document = trial_to_document(trial, metrics) | {"order": order} | unknown
    count = trial.metadata.get("_update_count") if isinstance(trial.metadata, dict) else None
    if trial.metrics and type(count) is int:
        briefs = {name: brief_to_plain(brief) for name, brief in briefs_of(trial.metrics).items()}
        document["briefs"] = [count, briefs]
    if home and trial.artifacts:
        manifest = document["artifacts"]
        moved = ({**line, "uri": f"{home}/{line['uri']}"} if names_beside(line) else line for line in manifest)
        document["artifacts"] = list(moved)
    lines = []
    for key, value in document.items():
        if key in ("metrics", "chronos") and value:
            named = b",\n   ".join(_encode(name) + b": " + _encode(container) for name, container in value.items())
            lines.append(b'"%s": {\n   %s}' % (key.encode(), named))
        else:
            lines.append(b'"%s": %s' % (key.encode(), _encode(value)))
    return b"{" + b",\n  ".join(lines) + b"}"


def names_beside(record: Any) -> bool:
    """Return whether a line of a manifest names content in the folder beside the store."""
    return isinstance(record, dict) and is_beside(record.get("uri"))
