"""The collections of a MongoDB store, their version, and what errors of the driver mean."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from track.errors import BackendUnavailable, CorruptJournal, InvalidEvent, InvalidUri, missing_extra
from track.persistence.delivery import DELIVERY_OPTIONS
from track.persistence.utils import COMMON_OPTIONS, fixed_place, mask_secrets, parse_uri, read_options

NUMBERED = 3
"""The version of the documents from which on the changes of trials are numbered."""
VERSION = 4
"""The version of the documents that this version of the library writes."""
_INDEXES: dict[str, list[tuple[list[tuple[str, int]], bool]]] = {
    "buckets": [([("trial", 1), ("kind", 1), ("name", 1), ("number", 1)], True)],
    "counters": [],
    "groups": [([("position", 1)], False)],
    "members": [([("group", 1), ("position", 1)], False)],
    "projects": [([("position", 1)], False)],
    "trials": [
        ([("hash", 1), ("revision", 1)], True),
        ([("position", 1)], False),
        ([("project_id", 1)], False),
        ([("status", 1), ("position", 1)], False),
        ([("changed", 1)], False),
        ([("parameters.name", 1), ("parameters.number", 1)], False),
    ],
    "writers": [],
}
_CERTIFICATES = ("tlsCAFile", "tlsCertificateKeyFile", "tlsCRLFile")
_COUNTERS = ("changes", "groups", "members", "projects", "trials")
_EXISTS = 48
_LONGEST = 400
_DUPLICATE = 11000
_REFUSED = {22, 121, 10334, 17280, 17419, 17420}
"""Errors of the server about the data itself, by their code: a document or a key that is too large, or no document."""
_WAYS_OUT = (
    ("uthentication failed", "give user and password in the URI, mongodb://user:password@host/name?authSource=admin"),
    ("requires authentication", "give user and password in the URI, mongodb://user:password@host/name"),
    ("not authorized", "the user needs the role {role} on the database"),
    ("SSL", "add ?tls=true (and tlsCAFile=...), or ?tls=false, as the server wants it"),
    ("certificate", "add ?tlsCAFile=... with the authority that signed the server's certificate"),
    ("Name or service not known", "check the host's name"),
    ("name resolution", "check the host's name"),
    ("DNS", "check the host's name"),
    ("Connection refused", "is the server running, on this host and port?"),
    ("connection closed", "is this a MongoDB server? It may want ?tls=true"),
    ("Connection reset", "is this a MongoDB server? It may want ?tls=true"),
    ("No servers found", "is the server running, on this host and port?"),
    ("WriteConflict", "a process that was killed may hold it: the server lets go within a minute, then try again"),
    ("timed out", "is the server running, on this host and port?"),
)


def noted_version(database: Any, place: str) -> int:
    """Return the version of the documents, 0 where nothing was made yet.

    Raises CorruptJournal: a newer version of the library has written here.
    """
    found = database["format"].find_one({"_id": "documents"})
    version = 0 if found is None else int(found["version"])
    if version > VERSION:
        raise CorruptJournal(
            f"the documents in {place} have version {version}, this version of track knows {VERSION}: upgrade track"
        )
    return version


def make_collections(database: Any) -> None:
    """Make everything a transaction needs; somebody else may be making it at the same time."""
    for name, indexes in _INDEXES.items():
        with _unless(_EXISTS):
            database.create_collection(name, check_exists=False)
        for keys, is_unique in indexes:
            database[name].create_index(keys, unique=is_unique)
    for name in _COUNTERS:
        with _unless(_DUPLICATE):
            database["counters"].update_one({"_id": name}, {"$setOnInsert": {"value": 0}}, upsert=True)
    with _unless(_DUPLICATE):
        database["format"].update_one({"_id": "documents"}, {"$max": {"version": VERSION}}, upsert=True)


def unless_duplicate() -> AbstractContextManager[None]:
    """Pass over that somebody else has made the same document at the same time."""
    return _unless(_DUPLICATE)


@contextmanager
def _unless(code: int) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if getattr(error, "code", None) != code:
            raise


def connections_heard(mongo: Any) -> Any:
    """Return a listener that counts the connections that a driver makes, in `mongo.connections`."""
    from pymongo.monitoring import ConnectionPoolListener

    known = weakref.ref(mongo)

    def count(_: Any, event: Any) -> None:
        if (mongo := known()) is not None:
            mongo.connections += 1

    def pass_over(_: Any, event: Any) -> None:
        """Nothing: it is told of much that does not matter."""

    events = [name for name in vars(ConnectionPoolListener) if not name.startswith("_")]
    heard = dict.fromkeys(events, pass_over) | {"connection_created": count}
    return type("Connections", (ConnectionPoolListener,), heard)()


def translate(error: Any, place: str, role: str = "readWrite") -> Exception:
    """Return our error for one of the driver, with the way out where it is known: perhaps the role that is missing."""
    text = " ".join(str(error).split())
    # Without the state of the cluster that the driver adds.
    for added in (", Timeout:", ", full error:", " (configured timeouts:"):
        text = text.partition(added)[0]
    if _REFUSED & _codes(error):
        return refusal(error)
    way_out = next((way for sign, way in _WAYS_OUT if sign in text), "see the server's log")
    said = BackendUnavailable(f"{place} cannot be used ({text}): {way_out.format(role=role)}")
    # Only what the server has answered has a code.
    said.needs_repair = getattr(error, "code", None) is not None
    return said


def _codes(error: Any) -> set[Any]:
    """Return the codes of an error; one of many writes has one for each that failed."""
    details = getattr(error, "details", None) or {}
    return {getattr(error, "code", None), *(problem.get("code") for problem in details.get("writeErrors", ()))}


def refused_by_driver() -> tuple[type[Exception], ...]:
    """Return the errors by which the driver refuses data that it cannot even send: no server has seen it."""
    from bson.errors import BSONError

    return BSONError, OverflowError, UnicodeError


def refusal(error: Exception) -> InvalidEvent:
    """Return the error that says that a value can never be stored, as the driver or the server says it."""
    return InvalidEvent(f"MongoDB cannot hold this: {' '.join(str(error).split())[:_LONGEST]}")


TIMEOUTS: dict[str, Any] = {"connect_timeout": (float, 2.5), "timeout": (float, 30.0)}
"""Seconds to wait for a server, and for what it answers."""
OPTIONS: dict[str, Any] = {
    **TIMEOUTS,
    **DELIVERY_OPTIONS,
    **COMMON_OPTIONS,
}
"""What may follow the ``?`` of a ``mongodb:`` URI, besides pymongo's own options."""


@dataclass(frozen=True)
class Address:
    """Where a store is, and how it is reached.

    `uri`: as pymongo takes it. `options`: the values of our own options. `settings`: what `MongoClient` is told besides
    the URI, where the URI does not say it.
    """

    uri: str
    database: str
    options: dict[str, Any]
    settings: dict[str, Any]


def read_address(uri: str, known: Mapping[str, Any] = OPTIONS) -> Address:
    """Return the parts of a URI, which may have the options that are known, and pymongo's.

    Raises MissingExtra: pymongo is not installed. InvalidUri: an option is not known, by us or by pymongo, or cannot be
    read.
    """
    head, _, query = uri.partition("?")
    pairs = [pair for pair in query.split("&") if pair]
    ours = [pair for pair in pairs if pair.partition("=")[0] in known]
    theirs = "&".join(pair for pair in pairs if pair not in ours)
    given = read_options(f"{head}?{'&'.join(ours)}", dict(known))
    address = f"{head}?{theirs}" if theirs else head
    database = parse_uri(uri)["path"].strip("/") or "track"
    return Address(address, database, given, _settings(address, theirs, given))


def _settings(address: str, query: str, given: dict[str, Any]) -> dict[str, Any]:
    try:
        import pymongo.errors
        import pymongo.uri_parser as parser
    except ImportError as error:
        raise missing_extra("'mongodb:' needs pymongo", "mongodb") from error
    try:
        known = parser.split_options(query, validate=True, warn=False) if query else {}
        if address.startswith("mongodb:"):
            # The other scheme asks the network for its hosts.
            parser.parse_uri(address)
    except (pymongo.errors.PyMongoError, ValueError, TypeError) as error:
        raise InvalidUri(f"{mask_secrets(address)!r} is no URI of MongoDB: {error}") from error
    names = {str(name).lower() for name in known}
    wait = round(given["connect_timeout"] * 1000)
    defaults = {
        "serverSelectionTimeoutMS": wait,
        "connectTimeoutMS": wait,
        "socketTimeoutMS": round(given["timeout"] * 1000),
        "appname": "track",
    }
    settings = {name: value for name, value in defaults.items() if name.lower() not in names}
    # Its client reads them when it first connects, and again in a child: the working directory may be another one.
    return settings | {name: fixed_place(str(known[name])) for name in _CERTIFICATES if name.lower() in names}
