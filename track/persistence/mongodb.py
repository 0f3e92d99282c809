"""MongoDB: ``mongodb://user:password@host:port/database``, through pymongo."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec

from track.containers.lazy import LazySet
from track.errors import ConcurrentWrite
from track.events import Event
from track.metrics import Metrics
from track.persistence.delivery import DELIVERY_OPTIONS, DeliveredProtocol
from track.persistence.eventprotocol import EventProtocol
from track.persistence.mongo import Changed, Document, Mongo, Reads, last_number, read_containers, render, store
from track.persistence.query import Query, parse_query
from track.persistence.state import Liveness
from track.persistence.utils import mask_secrets
from track.plain import named_tags, restore
from track.serialization import from_json, trial_from_document
from track.structure import Project, Status, Trial, TrialGroup

__all__ = ["MongoProtocol", "make_mongodb"]

Result = TypeVar("Result")
_decode = msgspec.json.decode
_COLLECTIONS = {Trial: "trials", TrialGroup: "groups", Project: "projects"}


class MongoProtocol(EventProtocol):
    """A store in MongoDB; `make_mongodb` adds delivery.

    Parameters
    ----------
    uri: str
        ``mongodb://[user[:password]@]host[:port][,...][/database][?...]``, or ``mongodb+srv://``. By default port
        27017 and database ``track``.
    has_transactions: bool, optional
        False to do without; by default they are used where the server has them: not on a standalone one.
    """

    def __init__(self, uri: str, has_transactions: bool | None = None) -> None:
        super().__init__(uri)
        self.mongo = Mongo(uri, has_transactions)
        self.liveness = Liveness()
        self._reads: Reads | None = None
        self._writer, self._seq, self._process = "", 0, 0

    # writing

    def apply(self, *events: Event) -> None:
        """Store facts, as one step where the server has transactions."""
        if not events:
            return
        with self.mongo.turn():
            self._renew_after_fork()
            first, self._seq = self._seq, self._seq + len(events)
            if self._reads is None:
                self.mongo.transaction(partial(store, self.mongo, self._writer, first, events))
                return
            # What the decision was based on must still be so; if not, all of it is decided again.
            self.mongo.retried(partial(store, self.mongo, self._writer, first, events, self._reads))

    def receive(self, writer: str, first: int, events: Sequence[Event], lines: bytes | None = None) -> None:
        self.mongo.transaction(partial(store, self.mongo, writer, first, list(events)))

    def last(self, writer: str) -> int:
        return self.mongo.retried(partial(last_number, self.mongo, writer))

    def atomically(self, action: Callable[[], Result]) -> Result:
        """Return ``action()``, which may be run again from the start, as one transaction.

        On a server without transactions it is run until no document that it changes was changed by others since
        it was read; that holds for decisions that change one document, as all of ours do.
        """
        with self.mongo.turn():
            self._renew_after_fork()
            self.mongo.retried(lambda: None)
            if self.mongo.has_transactions:
                return self.mongo.transaction(action)
            return action() if self._reads is not None else self._decide(action)

    def _renew_after_fork(self) -> None:
        if self._process != os.getpid():
            self._writer, self._seq, self._process = secrets.token_hex(8), 0, os.getpid()
            self._reads = None

    def _decide(self, action: Callable[[], Result]) -> Result:
        deadline = time.monotonic() + self.mongo.patience
        while True:
            self._reads = {}
            try:
                return action()
            except Changed as error:
                if time.monotonic() > deadline:
                    raise ConcurrentWrite(f"others keep changing what is decided in {self.place}: {error}") from error
            finally:
                self._reads = None

    def close(self) -> None:
        """Close the connections."""
        self.mongo.close()

    # asking

    def fetch_trials(self, query: Any = None) -> list[Trial]:
        """Return the trials that match, oldest first."""
        parsed = parse_query(query, Trial)
        return self.mongo.retried(lambda: list(self._find_trials(parsed)))

    def fetch_groups(self, query: Any = None) -> list[TrialGroup]:
        parsed = parse_query(query, TrialGroup)
        return [group for group in map(self._group, self._owners("groups", parsed)) if parsed.matches(group)]

    def fetch_projects(self, query: Any = None) -> list[Project]:
        parsed = parse_query(query, Project)
        return [project for project in map(self._project, self._owners("projects", parsed)) if parsed.matches(project)]

    def _owners(self, collection: str, query: Query) -> list[Document]:
        known = {"_id": query.exact("uid"), "project_id": query.exact("project_id") if collection == "groups" else None}
        where = {name: value for name, value in known.items() if value is not None}
        return self.mongo.retried(lambda: list(self._find(collection, where, ("position",))))

    def _find(self, collection: str, where: Document, sort: tuple[str, ...]) -> Iterator[Document]:
        """Yield documents, and remember as what they were read while something is decided."""
        for document in self.mongo.find(collection, where, sort, ("notes", "parameters")):
            if self._reads is not None:
                self._reads[collection, document["_id"]] = document["version"]
            yield document

    def _find_trials(self, query: Query) -> Iterator[Trial]:
        chosen = render(query)
        tags = self._project_tags()
        alive: dict[Any, bool | None] = {}
        for document in self._find("trials", chosen.where, ("position",)):
            trial = self._trial(document, tags)
            if self.liveness.is_broken(trial, alive):
                trial.status = Status.Broken
            if chosen.matches(trial, document):
                yield trial

    def _project_tags(self) -> dict[str, dict[str, Any]]:
        found = self.mongo.find("projects", {})
        tags = {project["_id"]: restore(_decode(project["document"]).get("tags") or {}) for project in found}
        return {uid: named for uid, named in tags.items() if named}

    def _trial(self, document: Document, tags: dict[str, dict[str, Any]]) -> Trial:
        read = partial(self._read_points, document["position"], document["series"])
        trial = trial_from_document(
            _decode(document["document"]), Metrics(partial(read, "metrics")), Metrics(partial(read, "times"))
        )
        inherited = tags.get(trial.project_id) if isinstance(trial.project_id, str) else None
        if inherited:
            trial.tags = {**named_tags(trial.tags), **inherited}
        return trial

    def _read_points(self, position: int, series: list[Document], kind: str) -> dict[str, Any]:
        """Return the containers of a trial, as they were when it was read."""
        of_kind = [known for known in series if known["kind"] == kind]
        return self.mongo.retried(partial(read_containers, self.mongo, position, kind, of_kind)) if of_kind else {}

    def _group(self, document: Document) -> TrialGroup:
        group: TrialGroup = from_json(_decode(document["document"]) | {"trials": ()}, "trial_group")
        group.trials = LazySet(partial(self._members, group.uid))  # type: ignore[assignment]
        return group

    def _members(self, group: str) -> list[str]:
        return self.mongo.retried(
            lambda: [found["trial"] for found in self.mongo.find("members", {"group": group}, ("group", "position"))]
        )

    def _project(self, document: Document) -> Project:
        project: Project = from_json(_decode(document["document"]), "project")
        members = [("project_id", project.uid)]
        project.trials = LazySet(partial(self.fetch_trials, members))  # type: ignore[assignment]
        project.groups = LazySet(partial(self.fetch_groups, members))  # type: ignore[assignment]
        return project

    def first_trial(self, query: Any = None) -> Trial | None:
        parsed = parse_query(query, Trial)
        return self.mongo.retried(lambda: next(self._find_trials(parsed), None))

    def revisions(self, digest: str) -> set[int]:
        found = partial(self.mongo.find, "trials", {"hash": digest}, (), ("document", "parameters", "series", "notes"))
        return self.mongo.retried(lambda: {trial["revision"] for trial in found()})

    def has(self, kind: type, uid: Any) -> bool:
        found = partial(self.mongo.find, _COLLECTIONS[kind], {"_id": uid}, (), ("document", "parameters", "series"))
        return self.mongo.retried(lambda: next(found(), None) is not None)


def make_mongodb(uri: str) -> DeliveredProtocol:
    """Return the backend of a ``mongodb:`` URI: a log call returns at once, and a thread delivers."""
    remote = MongoProtocol(uri)
    chosen = {name: remote.mongo.address.options[name] for name in DELIVERY_OPTIONS}
    return DeliveredProtocol(mask_secrets(uri), remote, MongoProtocol(uri), **chosen)
