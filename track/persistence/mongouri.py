"""URIs of MongoDB: our own options are read, pymongo's are checked and passed on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from track.errors import InvalidUri
from track.persistence.delivery import DELIVERY_OPTIONS
from track.persistence.utils import COMMON_OPTIONS, mask_secrets, parse_uri, read_options

__all__ = ["OPTIONS", "Address", "read_address"]

OPTIONS: dict[str, Any] = {
    "connect_timeout": (float, 2.5),
    "timeout": (float, 30.0),
    **DELIVERY_OPTIONS,
    **COMMON_OPTIONS,
}
"""What may follow the ``?`` of a ``mongodb:`` URI, besides pymongo's own options."""


@dataclass(frozen=True)
class Address:
    """Where a store is, and how it is reached.

    Parameters
    ----------
    uri: str
        As pymongo takes it.
    database: str
    options: dict
        The values of our own options.
    settings: dict
        What `MongoClient` is told besides the URI, where the URI does not say it.
    """

    uri: str
    database: str
    options: dict[str, Any]
    settings: dict[str, Any]


def read_address(uri: str) -> Address:
    """Return the parts of a URI; pymongo must be there.

    Raises
    ------
    InvalidUri
        An option is not known, by us or by pymongo, or cannot be read.
    """
    head, _, query = uri.partition("?")
    pairs = [pair for pair in query.split("&") if pair]
    ours = [pair for pair in pairs if pair.partition("=")[0] in OPTIONS]
    theirs = "&".join(pair for pair in pairs if pair not in ours)
    given = read_options(f"{head}?{'&'.join(ours)}", OPTIONS)
    address = f"{head}?{theirs}" if theirs else head
    database = parse_uri(uri)["path"].strip("/") or "track"
    return Address(address, database, given, _settings(address, theirs, given))


def _settings(address: str, query: str, given: dict[str, Any]) -> dict[str, Any]:
    import pymongo.errors
    import pymongo.uri_parser as parser

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
    return {name: value for name, value in defaults.items() if name.lower() not in names}
