"""MongoDB: ``mongodb://user:password@host:port/database``, through pymongo."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import chain, islice, repeat
from typing import Any, TypeVar

import msgspec

from track.briefs import Brief, brief_of
from track.errors import InvalidEvent, InvalidQuery
from track.events import Event
from track.metrics import Metrics
from track.persistence.buckets import Buckets, Question
from track.persistence.contract import (
    FetchedPoints,
    Growing,
    Since,
    changes_by_number,
    is_of_sums,
    new_identity,
    require_one_of,
    start_of,
    unknown_trial,
)
from track.persistence.delivery import DeliveredProtocol, deliver
from track.persistence.eventprotocol import EventProtocol
from track.persistence.mongo import (
    MUCH,
    Document,
    Filter,
    Mongo,
    Reads,
    brief_known,
    briefs_said,
    can_hold,
    is_measured,
    last_number,
    made_of,
    read_address,
    read_containers,
    read_points,
    read_series,
    render_parts,
    store,
    times_said,
)
from track.persistence.query import Query, parse_limit, parse_query, parse_sort, parse_stored
from track.persistence.state import (
    Liveness,
    Measured,
    buckets_from,
    resumes_of,
    shown_fields,
    shown_points,
    text,
    with_members,
)
from track.persistence.utils import mask_secrets
from track.plain import restore, utf8
from track.serialization import from_json, trial_from_text
from track.structure import FORGOTTEN, Project, Trial, TrialGroup
from track.utils.collecting import nothing_collected
from track.utils.lifecycle import watch_forks

__all__ = ["MongoProtocol", "make_mongodb"]

Result = TypeVar("Result")
_decode = msgspec.json.decode
_MOST = 10_000
"""Trials in one question, at most."""
_IN_BRIEF = ("document", "measured", "position", "version")
_MEASURED = frozenset({"chronos", "metrics"})
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

    keeps_numbers = True

    def __init__(self, uri: str, has_transactions: bool | None = None) -> None:
        super().__init__(uri)
        self.mongo = Mongo(uri, has_transactions)
        self.liveness = Liveness(clock=self.mongo.clock)
        self._reads: Reads | None = None
        self._growing = Growing()
        # What is known was asked, and the store named, over the connection of this number.
        self._identity, self._known_at, self._named_at = "", -1, -1
        self._writer, self._seq = secrets.token_hex(8), 0
        watch_forks(self)

    # writing

    def apply(self, *events: Event) -> None:
        """Store facts, as one step where the server has transactions."""
        if not events:
            return
        with self.mongo.turn():
            first, self._seq = self._seq, self._seq + len(events)
            if self._reads is None:
                self.mongo.transaction(partial(self._store, self._writer, first, events))
                return
            # What the decision was based on must still be so; if not, all of it is decided again.
            self.mongo.retried(partial(store, self.mongo, self._writer, first, events, self._reads))

    def receive(self, writer: str, first: int, events: Sequence[Event], lines: bytes | None = None) -> None:
        self.mongo.transaction(partial(self._store, writer, first, list(events)))

    def _store(self, writer: str, first: int, events: Sequence[Event]) -> None:
        self._identify()
        store(self.mongo, writer, first, events)

    def store_time(self) -> float | None:
        return self.mongo.clock.told()

    def last(self, writer: str) -> int:
        return self.mongo.retried(partial(last_number, self.mongo, writer))

    def atomically(self, action: Callable[[], Result]) -> Result:
        """Return ``action()``, which may be run again from the start, as one transaction.

        On a server without transactions it is run until no document that it changes was changed by others since
        it was read (optimistic concurrency); that holds for decisions that change one document, as all of ours do.
        """
        with self.mongo.turn():
            return action() if self._reads is not None else self.mongo.transaction(partial(self._decide, action))

    def _decide(self, action: Callable[[], Result]) -> Result:
        self._identify()
        self._reads = None if self.mongo.has_transactions else {}
        try:
            return action()
        finally:
            self._reads = None

    def after_fork(self) -> None:
        """In a child: be a writer of one's own."""
        self._writer, self._seq, self._reads = secrets.token_hex(8), 0, None

    def close(self) -> None:
        self.mongo.close()

    # which store it is

    def identity(self) -> str:
        if not self._identity or self._known_at != self.mongo.connections:
            self._known_at = self.mongo.connections
            self._identity = (self.mongo.retried(self.mongo.identities) or [""])[-1]
        return self._identity

    def former_identities(self) -> list[str]:
        return self.mongo.retried(self.mongo.identities)[:-1]

    def require_store(self, identity: str) -> None:
        # As it is now: the database may have been replaced.
        if identity:
            require_one_of(self.mongo.retried(self.mongo.identities), identity, self.uri)

    def _identify(self) -> None:
        """Give the store an id, before the first write over a connection, where it has none, or is a copy."""
        self.mongo.retried(self.mongo.make)
        if not self._identity or self._named_at != self.mongo.connections:
            self.mongo.retried(partial(self.mongo.name, new_identity()))
            self._named_at, self._known_at = self.mongo.connections, -1
            self.identity()

    # asking

    def fetch_trials(self, query: Any = None) -> list[Trial]:
        parsed = parse_stored(query)
        with nothing_collected():
            return self._asked(lambda: list(self._find_trials(parsed)))

    def select_trials(self, query: Any = None, sort: Any = None, limit: int | None = None) -> list[Trial]:
        if parse_sort(sort, Trial):
            return super().select_trials(query, sort, limit)
        parsed, most = parse_stored(query), parse_limit(limit)
        with nothing_collected():
            return self._asked(lambda: list(islice(self._find_trials(parsed), most)))

    def brief_trials(self, query: Any = None, sort: Any = None, limit: int | None = None) -> list[Trial]:
        parsed, most = parse_stored(query), parse_limit(limit)
        if parse_sort(sort, Trial) or any(condition.path[0] in _MEASURED for condition in parsed.flat()):
            return super().brief_trials(query, sort, limit)
        with nothing_collected():
            return self._asked(lambda: list(islice(self._find_trials(parsed, in_brief=True), most)))

    def changes(self, since: str | None = None) -> tuple[str, list[str]]:
        is_numbered = self.mongo.retried(self.mongo.has_numbers)
        if not is_numbered:
            return super().changes(since)
        settling = max(60.0, 2 * self.mongo.patience)
        # First: what is numbered from now on is found the next time.
        newest = self.mongo.retried(lambda: self.mongo.given("changes"))
        found = changes_by_number(since, self.identity(), newest, self._numbered, now=time.time(), settling=settling)
        return (found[0], super().changes(since)[1]) if is_of_sums(since) else found

    def fetch_points(self, uid: str, names: Sequence[str] | None = None, since: Since = 0) -> dict[str, FetchedPoints]:
        stored = self.mongo.retried(lambda: list(self.mongo.find("trials", {"_id": uid}))) if can_hold(uid) else []
        if not stored:
            raise unknown_trial(uid)
        document = stored[0]
        resumes = resumes_of(self._trial(document))
        wanted = None if names is None else set(map(text, map(utf8, names)))
        found = {}
        for known in document["series"]:
            is_wanted = known["kind"] == "metrics" and (wanted is None or known["name"] in wanted)
            if is_wanted and (known["spec"] is None or _decode(known["spec"])[0] == "series"):
                name = str(_decode(known["name"]))
                found[name] = self._since(document["position"], known, start_of(since, name), resumes)
        return {name: points for name, points in found.items() if points is not None}

    def _since(self, position: int, known: Document, start: int, resumes: Any) -> FetchedPoints | None:
        """Return the points of a metric from a position on."""
        # Over another connection it may be another database.
        key = self.mongo.connections, position, known["name"]
        end = self._growing.end(key, start, known["count"]) if resumes is None else None
        if end is not None:
            is_whole, new = self.mongo.retried(partial(read_points, self.mongo, position, known, end))
            tail = self._growing.tail(key, start, new) if is_whole else None
            if tail is not None:
                return tail
        is_whole, points = self.mongo.retried(partial(read_points, self.mongo, position, known))
        if points is None:
            return None
        if resumes is None and is_whole:
            self._growing.note(key, points)
        return shown_points(made_of(known, str(_decode(known["name"])), points), resumes, start)

    def _buckets(self, question: Question, uids: Sequence[str]) -> Buckets:
        known = list(filter(can_hold, uids))
        return buckets_from(question, known, self.identity(), self._stamps, partial(self._fetch_for, question))

    def _stamps(self, uids: Sequence[str]) -> dict[str, Any]:
        """Return by uid what is another one after each change of a trial."""
        return {found["_id"]: found["version"] for found in self._trials_of(uids, MUCH)}

    def _trials_of(self, uids: Sequence[str], omit: tuple[str, ...]) -> list[Document]:
        parts = [{"_id": {"$in": list(uids[begin : begin + _MOST])}} for begin in range(0, len(uids), _MOST)]
        omit = ("measured", "notes", *omit)
        return self.mongo.retried(
            lambda: [found for where in parts for found in self.mongo.find("trials", where, (), omit)]
        )

    def _fetch_for(self, question: Question, uids: Sequence[str]) -> dict[str, Measured]:
        """Return the containers that a question is about, and when each trial was started."""
        documents = {found["position"]: found for found in self._trials_of(uids, ("parameters",))}
        measured: dict[int, dict[str, Any]] = {position: {} for position in documents}
        partly = set()
        for name in question.names:
            key = text(utf8(name))
            series = {
                position: known
                for position, found in documents.items()
                for known in found["series"]
                if known["kind"] == "metrics" and known["name"] == key
            }
            read = self.mongo.retried(partial(read_series, self.mongo, key, series)) if series else {}
            for position, (is_whole, container) in read.items():
                measured[position][name] = container
                partly |= set() if is_whole else {position}
        return {
            document["_id"]: self._measured_of(document, measured[position], position not in partly)
            for position, document in documents.items()
        }

    def _measured_of(self, document: Document, containers: dict[str, Any], is_whole: bool) -> Measured:
        trial = self._trial(document)
        return Measured(containers, float(trial.timestamps.get("started", 0.0)), is_whole, resumes_of(trial))

    def _numbered(self, above: int, others: list[int]) -> list[tuple[str, int]]:
        """Return the trials with numbers above one, or with some others; with all, those of before there were any."""
        wheres: list[Document] = [{} if above < 0 else {"changed": {"$gt": above}}]
        if others:
            wheres.append({"changed": {"$in": others}})

        def read() -> list[tuple[str, int]]:
            # Sorted here, for the index of the numbers.
            found = [one for where in wheres for one in self.mongo.find("trials", where, (), MUCH)]
            found.sort(key=lambda one: int(one["position"]))
            return [(one["_id"], int(one.get("changed", 0))) for one in found]

        return self.mongo.retried(read)

    def fetch_groups(self, query: Any = None) -> list[TrialGroup]:
        return self._fetch_owners(TrialGroup, query)

    def fetch_projects(self, query: Any = None) -> list[Project]:
        return self._fetch_owners(Project, query)

    def first_trial(self, query: Any = None) -> Trial | None:
        parsed = parse_stored(query)
        return self._asked(lambda: next(self._find_trials(parsed), None))

    def revisions(self, digest: str) -> set[int]:
        found = partial(self.mongo.find, "trials", {"hash": digest}, (), MUCH)
        return self._asked(lambda: {trial["revision"] for trial in found()}) if can_hold(digest) else set()

    def has(self, kind: type, uid: Any) -> bool:
        found = partial(self.mongo.find, _COLLECTIONS[kind], {"_id": uid}, (), MUCH)
        return can_hold(uid) and self._asked(lambda: next(found(), None) is not None)

    def _asked(self, question: Callable[[], Result]) -> Result:
        """Return the answer to a question, InvalidQuery where the server finds fault with what it is given."""
        try:
            return self.mongo.retried(question)
        except InvalidEvent as error:
            raise InvalidQuery(str(error)) from error

    def _fetch_owners(self, kind: type, query: Any) -> list[Any]:
        parsed = parse_query(query, kind)
        known = {"_id": parsed.exact("uid"), "project_id": parsed.exact("project_id") if kind is TrialGroup else None}
        where = {name: value for name, value in known.items() if value is not None}
        if not all(map(can_hold, where.values())):
            return []
        found = self._asked(lambda: list(self._find(_COLLECTIONS[kind], where)))
        stored = (from_json(_decode(document["document"])) for document in found)
        owners = (with_members(owner, self._members, self.fetch_trials, self.fetch_groups) for owner in stored)
        return [owner for owner in owners if parsed.matches(owner)]

    def _members(self, group: str) -> list[str]:
        def members() -> list[str]:
            known = [found["trial"] for found in self.mongo.find("members", {"group": group}, ("group", "position"))]
            where = {"_id": {"$in": known}, "deleted": {"$in": [True, FORGOTTEN]}}
            hidden = {found["_id"] for found in self.mongo.find("trials", where, omit=MUCH)}
            return [uid for uid in known if uid not in hidden]

        return self.mongo.retried(members)

    def _find(self, collection: str, where: Document, only: tuple[str, ...] = ()) -> Iterator[Document]:
        """Yield documents, oldest first, and remember as what they were read while something is decided."""
        for document in self.mongo.find(collection, where, ("position",), ("measured", "notes", "parameters"), only):
            if self._reads is not None:
                self._reads[collection, document["_id"]] = document["version"]
            yield document

    def _find_trials(self, query: Query, in_brief: bool = False) -> Iterator[Trial]:
        parts = render_parts(query, partial(self.mongo.count, "trials"))
        projects = self.mongo.find("projects", {})
        tags = {found["_id"]: restore(_decode(found["document"]).get("tags")) for found in projects}
        alive: dict[Any, bool | None] = {}
        unsaid: list[int] = []
        # Of all that are listed at once, when somebody asks for it.
        series = cache(lambda: self._series_of(unsaid))
        for chosen, document in self._chosen(parts, _IN_BRIEF if in_brief else ()):
            if in_brief and not is_measured(document):
                unsaid.append(document["position"])
            trial = self._trial_in_brief(document, series) if in_brief else self._trial(document)
            if fields := shown_fields(trial, tags.get, self.liveness, alive):
                vars(trial).update(fields)
            if chosen.matches(trial, document):
                yield trial

    def _chosen(self, parts: list[Filter], only: tuple[str, ...]) -> Iterator[tuple[Filter, Document]]:
        """Yield the documents that one of some filters lets through, oldest first: all of them, or some fields."""
        found = (zip(repeat(chosen), self._find("trials", chosen.where, only)) for chosen in parts)
        if len(parts) == 1:
            return next(found)
        return iter(sorted(chain.from_iterable(found), key=lambda pair: pair[1]["position"]))

    def _trial(self, document: Document) -> Trial:
        read = partial(self._read_points, document["position"], document["series"])
        metrics = Metrics(partial(read, "metrics"), partial(self._briefs, document["position"], document["series"]))
        chronos = Metrics(partial(read, "times"))
        return trial_from_text(document["document"], metrics, chronos)

    def _trial_in_brief(self, document: Document, unsaid: Callable[[], dict[int, list[Document]]]) -> Trial:
        """Return a trial whose document has all that it measured in one text; `unsaid` returns what others measured."""
        position = document["position"]
        measured = document["measured"] if is_measured(document) else None

        def series() -> list[Document]:
            return (unsaid() if measured is None else self._series_of([position])).get(position, [])

        def briefs() -> dict[str, Brief]:
            said = None if measured is None else briefs_said(measured)
            return self._briefs(position, series()) if said is None else said

        def times() -> dict[str, Any]:
            said = None if measured is None else times_said(measured)
            return self._read_points(position, series(), "times") if said is None else said

        metrics = Metrics(lambda: self._read_points(position, series(), "metrics"), briefs)
        return trial_from_text(document["document"], metrics, Metrics(times))

    def _series_of(self, positions: Sequence[int]) -> dict[int, list[Document]]:
        """Return what is known of the names of trials, and maybe of others between them, by their positions."""
        where = {"position": {"$gte": min(positions), "$lte": max(positions)}}
        found = partial(self.mongo.find, "trials", where, only=("position", "series"))
        return self.mongo.retried(lambda: {one["position"]: one["series"] for one in found()})

    def _read_points(self, position: int, series: list[Document], kind: str) -> dict[str, Any]:
        """Return the containers of a trial, as they were when it was read."""
        of_kind = [known for known in series if known["kind"] == kind]
        return self.mongo.retried(partial(read_containers, self.mongo, position, kind, of_kind)) if of_kind else {}

    def _briefs(self, position: int, series: list[Document]) -> dict[str, Brief]:
        """Return what the metrics of a trial come to; the points say it of those of which it is not stored."""
        metrics = [known for known in series if known["kind"] == "metrics"]
        briefs = {str(_decode(known["name"])): brief_known(known) for known in metrics}
        unknown = [known for known, brief in zip(metrics, briefs.values(), strict=True) if brief is None]
        found = {name: brief_of(one) for name, one in self._read_points(position, unknown, "metrics").items()}
        named = ((name, brief or found.get(name)) for name, brief in briefs.items())
        return {name: brief for name, brief in named if brief is not None}


def make_mongodb(uri: str) -> DeliveredProtocol:
    """Return the backend of a ``mongodb:`` URI: a log call returns at once, and a thread delivers."""
    return deliver(mask_secrets(uri), partial(MongoProtocol, uri), read_address(uri).options)
