"""One client of a MongoDB server: reads, guarded writes, transactions where there are any, and what errors mean."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import timezone
from functools import partial
from typing import Any, TypeVar

from track.errors import BackendUnavailable, ConcurrentWrite, OutcomeUnknown
from track.persistence.contract import is_elsewhere, origin_from
from track.persistence.mongo.setup import (
    NUMBERED,
    VERSION,
    connections_heard,
    make_collections,
    noted_version,
    read_address,
    refusal,
    refused_by_driver,
    translate,
    unless_duplicate,
)
from track.persistence.utils import mask_secrets
from track.utils import lifecycle
from track.utils.clocks import StoreClock
from track.utils.lifecycle import backoff

logger = logging.getLogger(__name__)
Result = TypeVar("Result")
Document = dict[str, Any]
Operation = tuple[str, Document, Document]
MUCH = ("document", "measured", "notes", "parameters", "series")
"""What of a trial's document says much: all but by what it is found."""
_RECONNECTIONS = 2
_CLOSE = 1.0
_DUPLICATE = 11000


class Changed(Exception):
    """A compare-and-set failed: a document is not as it was when it was read, and what was based on it is void."""


class Mongo:
    """A database, through a connection pool of its own, which is made when it is needed.

    `has_transactions`: false to do without; by default they are used where the server has them.

    Attributes
    ----------
    client: MongoClient or None
        The driver's, once it is connected.
    """

    def __init__(self, uri: str, has_transactions: bool | None = None) -> None:
        self.place = mask_secrets(uri)
        self.address = read_address(uri)
        import pymongo
        import pymongo.errors

        self.patience: float = self.address.options["timeout"]
        self._pymongo: Any = pymongo
        self._errors: Any = pymongo.errors
        self._refused = refused_by_driver()
        self._given = has_transactions
        self.has_transactions = False
        self.client: Any = None
        self._database: Any = None
        self._session: Any = None
        self._closing: Any = None
        self.connections = 0
        """How many the driver has made: another one may be to another server."""
        self._prepared_at, self._version = -1, 0
        self.clock = StoreClock()
        self._lock = threading.RLock()
        lifecycle.watch_forks(self)

    # inside a transaction, or on its own

    def find(
        self,
        collection: str,
        where: Document,
        sort: tuple[str, ...] = (),
        omit: tuple[str, ...] = (),
        only: tuple[str, ...] = (),
    ) -> Iterator[Document]:
        """Yield the documents that match, in the order of some fields, without some others, or nothing but some."""
        order = [(name, 1) for name in sort] or None
        fields = dict.fromkeys(only, 1) or dict.fromkeys(omit, 0) or None
        yield from self._database[collection].find(where, fields, sort=order, session=self._session)

    def write(self, collection: str, operations: Sequence[Operation]) -> bool:
        """Write many documents at once, and return whether every one was written.

        `operations`: ``("insert", {}, document)``; ``("update", filter, change)``; ``("upsert", filter, change)``,
        which also makes a document that is not there. What exists already, or whose filter matches nothing, is passed
        over.
        """
        kinds = {
            "insert": lambda where, change: self._pymongo.InsertOne(change),
            "update": self._pymongo.UpdateOne,
            "upsert": lambda where, change: self._pymongo.UpdateOne(where, change, upsert=True),
        }
        prepared = [kinds[kind](where, change) for kind, where, change in operations]
        try:
            done = self._database[collection].bulk_write(prepared, ordered=False, session=self._session)
        except self._errors.BulkWriteError as error:
            self._raise_unless_duplicate(error)
            return False
        return bool(done.inserted_count + done.matched_count + done.upserted_count == len(prepared))

    def remove(self, collection: str, where: Document) -> None:
        """Remove the documents that match."""
        self._database[collection].delete_many(where, session=self._session)

    def _raise_unless_duplicate(self, error: Any) -> None:
        codes = {problem["code"] for problem in error.details.get("writeErrors", ())}
        if codes != {_DUPLICATE} or error.details.get("writeConcernErrors"):
            raise error
        if self._session is not None:
            # The server has given up the transaction.
            raise Changed("somebody else has created the same document") from error

    def count(self, collection: str) -> int:
        """Return how many documents there are, about; outside of the transaction."""
        return int(self._database[collection].estimated_document_count())

    def increment(self, counter: str, count: int) -> int:
        """Return the first of the next numbers of a counter, outside of the transaction: nobody waits for another."""
        change = {"$inc": {"value": count}}
        found = self._database["counters"].find_one_and_update({"_id": counter}, change, return_document=True)
        if found is None:
            # The database was dropped, or is another one: everything is made again before the next attempt.
            self._prepared_at = -1
            raise Changed(f"{self.place} is empty now")
        return int(found["value"]) - count + 1

    def given(self, counter: str) -> int:
        """Return the last number that a counter has given."""
        return int(next((found["value"] for found in self.find("counters", {"_id": counter})), 0))

    def make(self) -> None:
        """Make the collections, where that was not done: before something is written, for to read makes nothing."""
        if self._version < VERSION:
            make_collections(self._database)
            self._version = VERSION

    def has_numbers(self) -> bool:
        """Return whether changes of trials are numbered there, and, as far as that is known, will be."""
        if self._version < NUMBERED:
            self._version = noted_version(self._database, self.place)
        return self._version >= NUMBERED

    # which store it is

    def identities(self) -> list[str]:
        """Return the ids of the store, its own last; none while nothing was written, since there are any."""
        found = self._database["format"].find_one({"_id": "store"}, session=self._session)
        return [] if found is None else list(found["identities"])

    def name(self, identity: str) -> None:
        """Give the store this id, where it has none, or is a copy of one that is still there."""
        formats, here, origin = self._database["format"], self.address.database, self._origin()
        found = formats.find_one({"_id": "store"})
        if found is None:
            with unless_duplicate():
                new = {"$setOnInsert": {"identities": [identity], "home": here, "origin": origin}}
                formats.update_one({"_id": "store"}, new, upsert=True)
            return
        known, home, identities = origin_from(found.get("origin")), found["home"], found["identities"]
        change: Document
        if is_elsewhere(known, origin) or (home != here and self._is_at(home, identities[-1])):
            change = {"$set": {"home": here, "origin": origin}, "$push": {"identities": identity}}
        elif (home, known) != (here, known | origin):
            change = {"$set": {"home": here, "origin": known | origin}}
        else:
            return
        formats.update_one({"_id": "store", "identities": identities}, change)

    def _origin(self) -> dict[str, str]:
        """Return the server's numbers of this database and of itself, as far as this user may ask."""
        places = {"database": self._database["format"], "server": self.client["admin"]["system.version"]}
        return {name: number for name, place in places.items() if (number := self._number_of(place))}

    def _number_of(self, collection: Any) -> str:
        with suppress(self._errors.OperationFailure):
            for found in collection.database.list_collections(filter={"name": collection.name}):
                return bytes(found.get("info", {}).get("uuid", b"")).hex()
        return ""

    def _is_at(self, database: str, identity: str) -> bool:
        # Who may not look there cannot tell.
        with suppress(self._errors.OperationFailure):
            found = self.client[database]["format"].find_one({"_id": "store"})
            return found is not None and identity in found["identities"]
        return False

    # transactions

    def transaction(self, action: Callable[[], Result]) -> Result:
        """Return ``action()``, run as one transaction; inside another one it joins that.

        The whole of it is run again after a transient error, when a document is `Changed` meanwhile, and when the
        connection breaks. A server without transactions just runs it: `action` must be idempotent, wherever it was
        interrupted.

        Raises BackendUnavailable: the server did not answer within the patience. InvalidEvent: a value can never be
        stored there.
        """
        return self._tried(partial(self._in_session, action), Changed)

    def retried(self, action: Callable[[], Result]) -> Result:
        """Return ``action()``, on its own; it is run again when the connection breaks, but not when `Changed`."""
        return self._tried(lambda _: action())

    def _tried(self, run: Callable[[float], Result], *again: type[Exception]) -> Result:
        deadline = time.monotonic() + self.patience
        attempts = broken = 0
        while True:
            with self.turn(deadline):
                if self._session is not None:
                    return run(deadline)
                try:
                    self._connected()
                    return run(deadline)
                except again as error:
                    if time.monotonic() > deadline:
                        raise ConcurrentWrite(f"others keep changing the same of {self.place}: {error}") from error
                except self._refused as error:
                    raise refusal(error) from error
                except self._errors.PyMongoError as error:
                    broken += isinstance(error, self._errors.ConnectionFailure)
                    if not self._is_transient(error) or broken > _RECONNECTIONS or time.monotonic() > deadline:
                        raise translate(error, self.place) from error
                    logger.debug("tried again: %s", error)
            attempts += 1
            time.sleep(backoff(attempts))

    def turn(self, deadline: float | None = None) -> AbstractContextManager[None]:
        """Wait until no other thread uses this client."""
        return lifecycle.turn(self._lock, self.place, self.patience, deadline)

    def _in_session(self, action: Callable[[], Result], deadline: float) -> Result:
        if self._session is not None or not self.has_transactions:
            return action()
        concerns = self._pymongo.read_concern, self._pymongo.WriteConcern
        with self.client.start_session() as session:
            session.start_transaction(concerns[0].ReadConcern("snapshot"), concerns[1]("majority"))
            self._session = session
            try:
                result = action()
            except BaseException:
                session.abort_transaction()
                raise
            finally:
                self._session = None
            self._commit(session, deadline)
        return result

    def _commit(self, session: Any, deadline: float) -> None:
        """Commit; an answer that is lost is asked for again, which changes nothing."""
        attempt = 0
        while True:
            try:
                session.commit_transaction()
                return
            except self._errors.PyMongoError as error:
                if not error.has_error_label("UnknownTransactionCommitResult"):
                    raise
                attempt += 1
                if time.monotonic() > deadline or attempt > _RECONNECTIONS + 1:
                    text = f"{translate(error, self.place)} (what was decided may be stored, or not)"
                    raise OutcomeUnknown(text) from error
            time.sleep(backoff(attempt))

    # the connection

    def _connected(self) -> None:
        if self.client is not None and self._prepared_at != self.connections:
            self._prepared_at = self.connections
            self._version = noted_version(self._database, self.place)
        if self.client is None:
            listeners = [connections_heard(self)]
            try:
                client = self._pymongo.MongoClient(self.address.uri, event_listeners=listeners, **self.address.settings)
            except (self._errors.ConfigurationError, ValueError) as error:
                raise translate(error, self.place) from error
            try:
                self._prepare(client)
            except BaseException:
                client.close()
                raise
            self._closing = weakref.finalize(self, _close_aside, client)
            self.client = client

    def _prepare(self, client: Any) -> None:
        hello = client.admin.command("hello")
        if "localTime" in hello:
            self.clock.note(hello["localTime"].replace(tzinfo=timezone.utc).timestamp())
        able = "setName" in hello or hello.get("msg") == "isdbgrid"
        self.has_transactions = able if self._given is None else able and self._given
        # Always of the primary: what is written is based on what was read.
        given = client.write_concern
        is_given = given.document and given.acknowledged
        concern = given if is_given else self._pymongo.WriteConcern("majority", j=True)
        self._database = client.get_database(
            self.address.database, write_concern=concern, read_preference=self._pymongo.ReadPreference.PRIMARY
        )
        self._prepared_at = self.connections
        self._version = noted_version(self._database, self.place)

    def _is_transient(self, error: Any) -> bool:
        if isinstance(error, self._errors.ServerSelectionTimeoutError):
            return False
        labels = ("TransientTransactionError", "RetryableWriteError")
        return isinstance(error, self._errors.AutoReconnect) or any(map(error.has_error_label, labels))

    def close(self) -> None:
        """Close the connections; the next question makes new ones."""
        with suppress(BackendUnavailable), lifecycle.turn(self._lock, self.place, _CLOSE):
            client, self.client, self._database = self.client, None, None
            if client is not None:
                self._closing.detach()
                client.close()

    def after_fork(self) -> None:
        """In a child: the connections are the parent's, and a thread that is not here may hold the lock."""
        if self.client is not None:
            self._closing.detach()
            lifecycle.keep_inherited((self.client, self._session))
        self.client = self._database = self._session = None
        self._lock = threading.RLock()


def _close_aside(client: Any) -> None:
    """Close a forgotten client in a thread of its own: it takes leave of a server that may be silent.

    What is forgotten is collected in any thread, in the middle of a log call or of what sends to another store.
    """
    if lifecycle.started(client.close, "track-close") is None:
        logger.debug("the interpreter is ending: its connections end with it")
