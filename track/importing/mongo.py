"""A MongoDB of somebody else's, for reading: nothing is written there, and no document is believed to be sound."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from track.errors import InvalidUri
from track.persistence.mongo import TIMEOUTS, read_address, refused_by_driver, translate
from track.persistence.utils import mask_secrets, parse_uri

_LONGEST_ID = 1000
_AT_ONCE = 1000
"""Documents of an answer: a server that looks at large ones for it is silent for as long."""


@contextmanager
def opened(uri: str, options: dict[str, Any]) -> Iterator[Documents]:
    """Give the database of a URI, which may have some options of one's own.

    Raises MissingExtra: pymongo is not installed. InvalidUri: it names no database, or an option is not known.
    """
    address = read_address(uri, {**TIMEOUTS, **options})
    import pymongo.errors

    place, parts = mask_secrets(uri), parse_uri(uri)
    if not parts["path"].strip("/"):
        raise InvalidUri(f"{place} names no database, as mongodb://host/sacred does")
    # The members of a replica set say other hosts; one that is named is the one that is asked.
    is_one = parts["scheme"] == "mongodb" and "," not in parts["address"]
    is_told = any(name in address.uri.lower() for name in ("replicaset=", "directconnection=", "loadbalanced="))
    settings = address.settings | ({"directConnection": True} if is_one and not is_told else {})
    try:
        client: Any = pymongo.MongoClient(address.uri, **settings)
    except (pymongo.errors.PyMongoError, ValueError) as error:
        raise translate(error, place) from error
    with client:
        try:
            database = client.get_database(address.database, codec_options=codec())
        except pymongo.errors.InvalidName as error:
            raise InvalidUri(f"{place} names no database: {error}") from error
        yield Documents(database, place, address.options)


def codec() -> Any:
    """Return how documents are read: dates have a zone, and what is no text or no date of Python's has a place."""
    from bson.codec_options import CodecOptions, DatetimeConversion

    # Of the year 10000 there is a date for a database.
    conversion = DatetimeConversion.DATETIME_AUTO
    return CodecOptions(tz_aware=True, unicode_decode_error_handler="replace", datetime_conversion=conversion)


class Documents:
    """The collections of a database; what cannot be read is a ValueError, and a server that is away is said."""

    def __init__(self, database: Any, place: str, options: dict[str, Any]) -> None:
        self._database, self.place, self.options = database, place, options

    def names(self) -> list[str]:
        """Return the names of the collections, in order."""
        with self._said():
            return sorted(self._database.list_collection_names())

    def ids(self, collection: str) -> Iterator[Any]:
        """Yield the ids of the documents, in order."""
        with self._said():
            for document in self._database[collection].find({}, {"_id": 1}, sort=[("_id", 1)]):
                yield document["_id"]

    def one(self, collection: str, uid: Any, *fields: str) -> dict[str, Any] | None:
        """Return a document, or some fields of it; None where it is not there."""
        with self._said():
            found: dict[str, Any] | None = self._database[collection].find_one({"_id": uid}, list(fields) or None)
            return found

    def part(self, collection: str, uid: Any, lists: tuple[str, ...], begin: int, count: int) -> dict[str, Any] | None:
        """Return a document of which some lists are only a part; None where it is not there."""
        with self._said():
            fields = {name: {"$slice": [begin, count]} for name in lists}
            found: dict[str, Any] | None = self._database[collection].find_one({"_id": uid}, fields)
            return found

    def counts(self, collection: str, owner: str, name: str) -> Iterator[tuple[Any, Any, int]]:
        """Yield of each document its id, what a field says, and how many items a list has."""
        size = {"$cond": [{"$isArray": f"${name}"}, {"$size": f"${name}"}, 0]}
        with self._said():
            looked = [{"$project": {owner: 1, "count": size}}]
            for document in self._database[collection].aggregate(looked, batchSize=_AT_ONCE):
                yield document["_id"], document.get(owner), document["count"]

    def file_of(self, filename: str, md5: str) -> Any:
        """Return the id of the file with a name and a checksum; None where there is none."""
        with self._said():
            found = self._database["fs.files"].find_one({"filename": filename, "md5": md5}, ["_id"])
            return found and found["_id"]

    def download(self, uid: Any, path: str) -> None:
        """Write a file that is kept in GridFS to a path.

        Raises ValueError: it is not there, or not whole. OSError: the disk here takes no more.
        """
        from gridfs import GridFS

        with self._said(), open(path, "wb") as file:
            stored = GridFS(self._database).get(uid)
            while chunk := stored.readchunk():
                file.write(chunk)

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Say what the driver raises in a way that is expected of a reader: damage, or that the server is away."""
        from gridfs.errors import GridFSError
        from pymongo.errors import PyMongoError

        damaged: tuple[type[Exception], ...] = (GridFSError, *refused_by_driver())
        try:
            yield
        except damaged as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
        except PyMongoError as error:
            raise translate(error, self.place, "read") from error


def is_id(said: Any) -> bool:
    """Return whether an id is a number, a short text or one that the driver made: what a question may be about."""
    from bson import ObjectId

    if isinstance(said, str):
        return len(said) <= _LONGEST_ID
    return isinstance(said, (int, float, ObjectId)) and not isinstance(said, bool)
