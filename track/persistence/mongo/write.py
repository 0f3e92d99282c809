"""Events to documents: what a batch of events changes, and how it is stored once, with and without transactions.

In a transaction, a batch and the number of its last event are stored together or not at all. Without, a batch may be
interrupted before and after every single write, and is then sent again:

- Each project, group and trial is changed by one write, a compare-and-set on the document's version. The same write
  notes in the document how far this writer's events are in it: what was changed is not changed again.
- A trial's document also notes how many points of each name there were before, so where the new ones belong. They
  are written to their buckets after it. Sent again, they are written to the same places again.
- That a trial is in a group is a document of its own, written if it is not there.
- How far the writer came is noted in `writers` last. Until then everything above is gone through again, after it
  nothing is. A note in a document that `writers` has overtaken is dropped when there are many.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import msgspec

from track.events import Event, FieldsMerged, GroupCreated, MetricsLogged, ProjectCreated, TrialAttached, TrialCreated
from track.persistence.mongo.buckets import Addition, fill, join, push
from track.persistence.mongo.client import MUCH, Changed, Document, Mongo, Operation
from track.persistence.mongo.filter import status_key
from track.persistence.mongo.measured import measured_text
from track.persistence.state import (
    RESUMES,
    is_forgetting,
    is_overtaken,
    make_trial,
    measure_into,
    merge_into_owner,
    owner_document,
    parameter_cells,
    text,
    trial_document,
    update,
)
from track.serialization import trial_from_text
from track.shown import clean
from track.structure import FORGOTTEN, Trial

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
        self.number = 0
        """The number of its change, of a trial."""
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
        self.has_new_tags = self.stored is None
        for event in self.new:
            match event:
                case ProjectCreated() | GroupCreated() if not self._document:
                    self._document = owner_document(event)
                case FieldsMerged() if self._document:
                    merge_into_owner(self._document, event)
                    self.has_new_tags |= event.field == "tags"
                case _:
                    continue
            self.is_changed = True

    def operations(self) -> list[Operation]:
        if not self.is_changed:
            return []
        fields = {"document": text(self._document), "position": self.position}
        fields["project_id"] = _key(self._document.get("project_id"))
        return self.changing(fields | self.note.fields(self.stored, self.own["last"], self.note.last))


class TrialEntry(Entry):
    """A trial: its document, and the points that were logged.

    Parameters are those of `Entry`. `fresh` is what is new, `again` what was interrupted.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        series = [] if self.stored is None else self.stored["series"]
        self.fresh = [Addition(kind, series) for kind in ("metrics", "times")]
        self.again = [Addition(kind, self.own.get("counts", ())) for kind in ("metrics", "times")]
        self.is_again = bool(self.before)
        self.is_forgotten = False
        # What was dropped before is dropped again, and nothing else, whoever has reserved the trial meanwhile.
        self._attempt = self.own.get("attempt")
        if self.is_again:
            again = self._run(self.before, self.again, None if self.own["created"] else self.stored, self._attempt)
            self._attempt = again and again.attempt
        self.is_changed = False
        self._trial = self._run(self.new, self.fresh, self.stored)

    def _run(
        self, events: list[Event], additions: list[Addition], stored: Document | None, attempt: int | None = None
    ) -> Trial | None:
        points = [addition.points for addition in additions]
        trial = None if stored is None else trial_from_text(stored["document"], *points)
        if trial is not None and attempt is not None:
            trial.attempt = attempt
        self._begun = trial and trial.attempt
        for event in events:
            if isinstance(event, TrialCreated):
                if trial is not None:
                    continue
                trial = make_trial(event)
                measure_into(trial, *points)
            elif trial is None:
                logger.warning("an event of trial %s, which is not stored, is skipped", clean(self.uid))
                continue
            else:
                update(trial, event)
                if is_forgetting(event):
                    self.is_forgotten = True
                    additions[:] = [Addition(addition.kind, ()) for addition in additions]
            self.is_changed = True
        return trial

    def operations(self) -> list[Operation]:
        if self.note.last < self.own["last"]:
            return self._advance_note() if self.is_again else []
        if not self.is_changed or self._trial is None:
            return []
        counts = [count for addition in self.fresh for count in addition.counts()]
        series = [known for addition in self.fresh for known in addition.series()]
        if RESUMES in self._trial.metadata:
            # Their last values may not be shown: they are not compared by them any more.
            series = [known | {"plain": False, "last": None} if known["stepped"] else known for known in series]
        is_new = self.stored is None
        known: Document = {"counts": counts, "created": is_new, "attempt": self._begun}
        note = self.note.fields(self.stored, self.own["last"], self.note.last, **known)
        numbered = {"position": self.position, "changed": self.number}
        return self.changing({**_fields(self._trial), **numbered, "series": series, **note})

    def changing(self, fields: Document) -> list[Operation]:
        series = fields["series"] if "series" in fields or self.stored is None else self.stored["series"]
        return super().changing(fields | {"measured": measured_text(self.version + 1, series)})

    def _advance_note(self) -> list[Operation]:
        """Note that a part of what was interrupted is complete: it was sent again in smaller batches."""
        counts = {(known["kind"], known["name"]): known for known in self.own["counts"]}
        for addition in self.again:
            counts |= {(known["kind"], known["name"]): known for known in addition.series()}
        note = {"counts": list(counts.values()), "created": False, "attempt": self._attempt}
        return self.changing(self.note.fields(self.stored, self.note.last, self.own["last"], **note))


def _fields(trial: Trial) -> Document:
    """Return what is stored of a trial, and by what it is found."""
    return {
        "hash": trial.hash,
        "revision": trial.revision,
        "version_text": _key(trial.version),
        "project_id": _key(trial.project_id),
        "group_id": _key(trial.group_id),
        "status": status_key(trial.status),
        "parameters": [
            {"name": name, "number": number, "text": value} for name, number, value in parameter_cells(trial)
        ],
        "document": trial_document(trial),
        "deleted": trial.deleted,
    }


def _key(value: Any) -> str | None:
    return None if value is None else str(value)


def last_number(mongo: Mongo, writer: str) -> int:
    """Return the number of the last event stored of `writer`, -1 for none."""
    return int(next((found["seq"] for found in mongo.find("writers", {"_id": writer})), -1))


def store(mongo: Mongo, writer: str, first: int, events: Iterable[Event], reads: Reads | None = None) -> None:
    """Store the events that `writer` numbered from `first` on; those it had sent before change nothing.

    A decision without transactions gives, in `reads`, the versions of the documents it is based on; they are brought
    up to date.

    Raises Changed: a document is not as it was read: try again.
    """
    known = last_number(mongo, writer)
    numbered = [(number, event) for number, event in enumerate(events, first) if number > known]
    if not numbered:
        return
    note = Note(mongo, writer, numbered[-1][0])
    for collection, targets in _by_target(numbered).items():
        if not targets:
            continue
        make: type[Entry] = TrialEntry if collection == "trials" else Owner
        stored = {document["_id"]: document for document in mongo.find(collection, {"_id": {"$in": list(targets)}})}
        entries = [make(collection, uid, stored.get(uid), wanted, note, reads) for uid, wanted in targets.items()]
        _write(mongo, collection, entries)
        if reads is not None:
            reads.update({(collection, entry.uid): entry.version for entry in entries})
    attached = [event for _, event in numbered if isinstance(event, TrialAttached) and event.kind == "group"]
    if attached:
        where = {"_id": {"$in": [event.trial for event in attached]}, "deleted": FORGOTTEN}
        forgotten = {found["_id"] for found in mongo.find("trials", where, omit=MUCH)}
        lost = _overtaken(mongo, [event for event in attached if event.attempt is not None])
        attached = [event for event in attached if event.trial not in forgotten and event not in lost]
    if attached and not mongo.write("members", _members(mongo, attached)):
        raise Changed("somebody else has added the same trial to the same group")
    mongo.write("writers", [("upsert", {"_id": writer}, {"$max": {"seq": numbered[-1][0]}})])


def _overtaken(mongo: Mongo, attached: list[TrialAttached]) -> list[TrialAttached]:
    """Return those that are said by who has lost the trial."""
    where = {"_id": {"$in": [event.trial for event in attached]}}
    found = mongo.find("trials", where, omit=("measured", "parameters", "series")) if attached else ()
    trials = {one["_id"]: trial_from_text(one["document"], {}, {}) for one in found}
    return [event for event in attached if event.trial in trials and is_overtaken(trials[event.trial], event)]


def _write(mongo: Mongo, collection: str, entries: list[Entry]) -> None:
    trials = [entry for entry in entries if isinstance(entry, TrialEntry)]
    for entry in trials:
        # First, because the next note says nothing of these any more.
        if entry.is_again:
            fill(mongo, entry.position, entry.again)
    created = [entry for entry in entries if entry.is_created]
    if created:
        first = mongo.increment(collection, len(created))
        for position, made in enumerate(created, first):
            made.position = position
    changed = [entry for entry in trials if entry.is_changed]
    for entry, number in zip(changed, _numbers(mongo, len(changed)), strict=True):
        entry.number = number
    operations = [operation for entry in entries for operation in entry.operations()]
    if operations and not mongo.write(collection, operations):
        raise Changed(f"somebody else has changed one of {len(operations)} {collection}")
    for entry in trials:
        # Last noted, so that what is interrupted here is done again.
        if entry.is_forgotten:
            mongo.remove("buckets", {"trial": entry.position})
            mongo.remove("members", {"trial": entry.uid})
    _write_points(mongo, trials)
    if collection == "projects":
        # Trials are shown with the tags of their project.
        retagged = [entry.uid for entry in entries if isinstance(entry, Owner) and entry.has_new_tags]
        of_these = {"project_id": {"$in": retagged}}
        _mark(mongo, [document["_id"] for document in mongo.find("trials", of_these, (), MUCH)] if retagged else [])


def _write_points(mongo: Mongo, trials: list[TrialEntry]) -> None:
    pushes = [operation for entry in trials for operation in push(entry.position, entry.fresh)]
    if pushes and not mongo.write("buckets", pushes):
        for entry in trials:
            fill(mongo, entry.position, entry.fresh)
    is_written = bool(pushes)
    for entry in trials:
        is_written |= join(mongo, entry.position, entry.fresh) or entry.is_again
    if is_written and not mongo.has_transactions:
        # Who saw the documents change may not have seen the points.
        _mark(mongo, [entry.uid for entry in trials])


def _mark(mongo: Mongo, trials: list[str]) -> None:
    """Note that stored trials have changed once more."""
    numbers = _numbers(mongo, len(trials))
    marks = [({"_id": uid}, {"$set": {"changed": number}}) for uid, number in zip(trials, numbers, strict=True)]
    if marks:
        mongo.write("trials", [("update", *mark) for mark in marks])


def _numbers(mongo: Mongo, count: int) -> range:
    """Return the next numbers of changes."""
    first = mongo.increment("changes", count) if count else 0
    return range(first, first + count)


def _by_target(numbered: list[tuple[int, Event]]) -> dict[str, dict[str, list[tuple[int, Event]]]]:
    """Return the events about the objects of each collection, by uid; owners come first."""
    targets: dict[str, dict[str, list[tuple[int, Event]]]] = {"projects": {}, "groups": {}, "trials": {}}
    for number, event in numbered:
        match event:
            case MetricsLogged():
                collection, uid = "trials", event.trial
            case ProjectCreated():
                collection, uid = "projects", event.uid
            case GroupCreated():
                collection, uid = "groups", event.uid
            case FieldsMerged():
                collection, uid = f"{event.kind}s", event.uid
            case _:
                collection, uid = "trials", event.trial
        targets[collection].setdefault(uid, []).append((number, event))
    return targets


def _members(mongo: Mongo, attached: list[TrialAttached]) -> list[Operation]:
    """Return the writes that add trials to groups, at the next positions; one that is there stays where it is."""
    operations: list[Operation] = []
    for position, event in enumerate(attached, mongo.increment("members", len(attached))):
        fields = {"group": event.owner, "trial": event.trial, "position": position}
        operations.append(("upsert", {"_id": text([event.owner, event.trial])}, {"$setOnInsert": fields}))
    return operations
