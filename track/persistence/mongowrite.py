"""Events to documents: what a batch of events changes, and how it is stored once, with and without transactions.

In a transaction, a batch and the number of its last event are stored together or not at all. Without, a batch may be
interrupted before and after every single write, and is then sent again:

- Each project, group and trial is changed by one write, which holds only if the document is as it was read. The same
  write notes in the document how far this writer's events are in it: what was changed is not changed again.
- A trial's document also notes how many points of each name there were before, so where the new ones belong. They
  are written to their buckets after it. Sent again, they are written to the same places again.
- That a trial is in a group is a document of its own, written if it is not there.
- How far the writer came is noted in `writers` last. Until then everything above is gone through again, after it
  nothing is. A note in a document that `writers` has overtaken is dropped when there are many.
"""

from __future__ import annotations

from collections.abc import Iterable

from track.events import Event, FieldsMerged, GroupCreated, MetricsLogged, ProjectCreated, TrialAttached
from track.persistence.documents import text
from track.persistence.mongobuckets import fill, push
from track.persistence.mongoclient import Changed, Mongo, Operation
from track.persistence.mongoentry import Entry, Note, Owner, Reads, TrialEntry

__all__ = ["last_number", "store"]

_KINDS: tuple[tuple[str, type[Entry]], ...] = (("projects", Owner), ("groups", Owner), ("trials", TrialEntry))


def last_number(mongo: Mongo, writer: str) -> int:
    """Return the number of the last event stored of `writer`, -1 for none."""
    return int(next((found["seq"] for found in mongo.find("writers", {"_id": writer})), -1))


def store(mongo: Mongo, writer: str, first: int, events: Iterable[Event], reads: Reads | None = None) -> None:
    """Store the events that `writer` numbered from `first` on; those it had sent before change nothing.

    Parameters
    ----------
    mongo: Mongo
    writer: str
    first: int
    events: iterable of Event
    reads: dict, optional
        For a decision without transactions: the versions of the documents it is based on; brought up to date.

    Raises
    ------
    Changed
        A document is not as it was read: try again.
    """
    known = last_number(mongo, writer)
    numbered = [(number, event) for number, event in enumerate(events, first) if number > known]
    if not numbered:
        return
    note = Note(mongo, writer, numbered[-1][0])
    for collection, make in _KINDS:
        targets = _by_target(collection, numbered)
        if not targets:
            continue
        stored = {document["_id"]: document for document in mongo.find(collection, {"_id": {"$in": list(targets)}})}
        entries = [make(collection, uid, stored.get(uid), wanted, note, reads) for uid, wanted in targets.items()]
        _write(mongo, collection, entries)
        if reads is not None:
            reads.update({(collection, entry.uid): entry.version for entry in entries})
    members = [_member(event) for _, event in numbered if isinstance(event, TrialAttached) and event.kind == "group"]
    if members and not mongo.write("members", members):
        raise Changed("somebody else has added the same trial to the same group")
    mongo.write("writers", [("upsert", {"_id": writer}, {"$max": {"seq": numbered[-1][0]}})])


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
    operations = [operation for entry in entries for operation in entry.operations()]
    if operations and not mongo.write(collection, operations):
        raise Changed(f"somebody else has changed one of {len(operations)} {collection}")
    pushes = [operation for entry in trials for operation in push(mongo, entry.position, entry.fresh)]
    if pushes and not mongo.write("buckets", pushes):
        for entry in trials:
            fill(mongo, entry.position, entry.fresh)


def _by_target(collection: str, numbered: list[tuple[int, Event]]) -> dict[str, list[tuple[int, Event]]]:
    """Return the events about the objects of one collection, by uid."""
    targets: dict[str, list[tuple[int, Event]]] = {}
    for number, event in numbered:
        match event:
            case MetricsLogged():
                about, uid = "trials", event.trial
            case ProjectCreated():
                about, uid = "projects", event.uid
            case GroupCreated():
                about, uid = "groups", event.uid
            case FieldsMerged():
                about, uid = f"{event.kind}s", event.uid
            case _:
                about, uid = "trials", event.trial
        if about == collection:
            targets.setdefault(uid, []).append((number, event))
    return targets


def _member(event: TrialAttached) -> Operation:
    fields = {"group": event.owner, "trial": event.trial, "position": event.at}
    return "upsert", {"_id": text([event.owner, event.trial])}, {"$setOnInsert": fields}
