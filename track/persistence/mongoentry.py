"""One project, group or trial that events are about: what it becomes, and how far their writer is noted in it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import msgspec

from track.events import Event, FieldsMerged, GroupCreated, ProjectCreated, TrialCreated
from track.metrics import Metrics
from track.persistence.documents import text, trial_document
from track.persistence.mongobuckets import Recorder
from track.persistence.mongoclient import Changed, Document, Mongo, Operation
from track.persistence.mongoquery import status_key
from track.persistence.updates import make_trial, update
from track.plain import restore
from track.serialization import to_json, trial_from_document
from track.structure import Project, Trial, TrialGroup

__all__ = ["Entry", "Note", "Owner", "Reads", "TrialEntry"]

logger = logging.getLogger(__name__)
_decode = msgspec.json.decode
_NOTES = 8
_CREATIONS = (ProjectCreated, GroupCreated, TrialCreated)

Reads = dict[tuple[str, str], int]
"""The versions of documents that a decision is based on, by collection and uid."""


class Note:
    """How far a writer's events are in a document, for stores without transactions."""

    def __init__(self, mongo: Mongo, writer: str, last: int) -> None:
        self.mongo = mongo
        self.writer = writer
        self.last = last

    def of(self, stored: Document | None) -> Document:
        """Return this writer's note in a document."""
        notes = stored["notes"] if stored else []
        return next((note for note in notes if note["writer"] == self.writer), {"after": -1, "last": -1})

    def fields(self, stored: Document | None, after: int, last: int, **fields: Any) -> Document:
        """Return the notes of a document, with this writer's new one."""
        if self.mongo.has_transactions:
            return {} if stored else {"notes": []}
        others = [note for note in (stored or {"notes": []})["notes"] if note["writer"] != self.writer]
        if len(others) > _NOTES:
            writers = {"_id": {"$in": [note["writer"] for note in others]}}
            overtaken = {found["_id"]: found["seq"] for found in self.mongo.find("writers", writers)}
            others = [note for note in others if overtaken.get(note["writer"], -1) < note["last"]]
        return {"notes": [*others, {"writer": self.writer, "after": after, "last": last, **fields}]}


class Entry:
    """One document that a batch touches."""

    def __init__(  # noqa: PLR0917 - made in one place
        self,
        collection: str,
        uid: str,
        stored: Document | None,
        numbered: list[tuple[int, Event]],
        note: Note,
        reads: Reads | None,
    ) -> None:
        self.collection = collection
        self.uid = uid
        self.stored = stored
        self.note = note
        self.own = note.of(stored)
        self.before = [event for number, event in numbered if self.own["after"] < number <= self.own["last"]]
        self.new = [event for number, event in numbered if number > self.own["last"]]
        self.version: int = -1 if stored is None else stored["version"]
        self.position: int = -1 if stored is None else stored["position"]
        self.is_changed = False
        if reads is not None and self.new:
            is_taken = stored is not None and isinstance(self.new[0], _CREATIONS)
            if is_taken or reads.get((collection, uid), self.version) != self.version:
                raise Changed(f"somebody else has changed {uid}")

    @property
    def is_created(self) -> bool:
        """Whether it will be a new document, which needs a position."""
        return self.stored is None and self.is_changed

    def operations(self) -> list[Operation]:
        """Return what is to be written."""
        raise NotImplementedError

    def changing(self, fields: Document) -> list[Operation]:
        """Return the write that gives the document these fields, if it is still as it was read."""
        self.version += 1
        if self.stored is None:
            return [("insert", {}, {"_id": self.uid, "version": self.version, **fields})]
        guard = {"_id": self.uid, "version": self.version - 1}
        return [("update", guard, {"$set": {"version": self.version, **fields}})]


class Owner(Entry):
    """A project or a group."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._document: Document = {} if self.stored is None else _decode(self.stored["document"])
        for event in self.new:
            match event:
                case ProjectCreated() | GroupCreated() if not self._document:
                    self._document = _owner_document(event)
                case FieldsMerged() if self._document:
                    self._document[event.field] = {**(self._document.get(event.field) or {}), **event.values}
                case _:
                    continue
            self.is_changed = True

    def operations(self) -> list[Operation]:
        """Return what is to be written."""
        if not self.is_changed:
            return []
        fields = {"document": text(self._document), "position": self.position}
        fields["project_id"] = _key(self._document.get("project_id"))
        return self.changing(fields | self.note.fields(self.stored, self.own["last"], self.note.last))


class TrialEntry(Entry):
    """A trial: its document, and the points that were logged.

    Parameters are those of `Entry`. `fresh` are the recorders of what is new; `again` of what was interrupted.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        series = [] if self.stored is None else self.stored["series"]
        self.fresh = [Recorder(kind, series) for kind in ("metrics", "times")]
        self.again = [Recorder(kind, self.own.get("counts", ())) for kind in ("metrics", "times")]
        self.is_again = bool(self.before)
        if self.is_again:
            self._run(self.before, self.again, None if self.own["created"] else self._stored_trial())
        self.is_changed = False
        self._trial = self._run(self.new, self.fresh, self._stored_trial())

    def _stored_trial(self) -> Trial | None:
        if self.stored is None:
            return None
        return trial_from_document(_decode(self.stored["document"]), Metrics(), Metrics())

    def _run(self, events: list[Event], recorders: list[Recorder], trial: Trial | None) -> Trial | None:
        if trial is not None:
            trial.metrics, trial.chronos = recorders
        for event in events:
            if isinstance(event, TrialCreated):
                if trial is not None:
                    continue
                trial = make_trial(event)
                recorders[0].take(trial.metrics)
                recorders[1].take(trial.chronos)
                trial.metrics, trial.chronos = recorders
            elif trial is None:
                logger.warning("an event of trial %s, which is not stored, is skipped", self.uid)
                continue
            else:
                update(trial, event)
            self.is_changed = True
        return trial

    def operations(self) -> list[Operation]:
        """Return what is to be written."""
        if self.note.last < self.own["last"]:
            return self._advance_note() if self.is_again else []
        if not self.is_changed or self._trial is None:
            return []
        counts = [count for recorder in self.fresh for count in recorder.counts()]
        series = [known for recorder in self.fresh for known in recorder.close()]
        is_new = self.stored is None
        note = self.note.fields(self.stored, self.own["last"], self.note.last, counts=counts, created=is_new)
        return self.changing({**_fields(self._trial), "position": self.position, "series": series, **note})

    def _advance_note(self) -> list[Operation]:
        """Note that a part of what was interrupted is complete: it was sent again in smaller batches."""
        counts = {(known["kind"], known["name"]): known for known in self.own["counts"]}
        for recorder in self.again:
            counts |= {(known["kind"], known["name"]): known for known in recorder.close()}
        note = {"counts": list(counts.values()), "created": False}
        return self.changing(self.note.fields(self.stored, self.note.last, self.own["last"], **note))


def _owner_document(event: ProjectCreated | GroupCreated) -> Document:
    owner: Project | TrialGroup
    if isinstance(event, ProjectCreated):
        owner = Project(event.uid, event.name, event.description, restore(event.metadata), tags=restore(event.tags))
    else:
        owner = TrialGroup(event.uid, event.name, event.description, restore(event.metadata))
        owner.project_id = restore(event.project_id)
    return {name: value for name, value in to_json(owner).items() if name not in ("trials", "groups")}


def _fields(trial: Trial) -> Document:
    """Return what is stored of a trial, and by what it is found."""
    return {
        "hash": trial.hash,
        "revision": trial.revision,
        "version_text": _key(trial.version),
        "project_id": _key(trial.project_id),
        "group_id": _key(trial.group_id),
        "status": status_key(trial.status),
        "parameters": [_parameter(name, value) for name, value in _leaves(trial.parameters)],
        "document": trial_document(trial),
    }


def _key(value: Any) -> str | None:
    return None if value is None else str(value)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield path, value
        return
    for key, item in value.items():
        yield from _leaves(item, f"{path}.{key}" if path else str(key))


def _parameter(name: str, value: Any) -> Document:
    """Return by what a parameter is found: the nearest double, or a text."""
    number = None
    if isinstance(value, (int, float)) and value == value:
        try:
            number = float(value)
        except OverflowError:
            number = float("inf") if value > 0 else float("-inf")
    return {"name": text(name), "number": number, "text": text(value) if isinstance(value, str) else None}
