"""Which store is which: each has an id of its own, made when it is created, and keeps it wherever it is moved."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Mapping

from track.errors import AnotherStore
from track.persistence.utils import mask_secrets


def new_identity() -> str:
    """Return the id of a store that is being created: 32 hexadecimal digits.

    Examples
    --------
    >>> len(new_identity())
    32
    """
    return secrets.token_hex(16)


def identity_from(text: str) -> str:
    """Return the id that follows from what tells a store from others, where it has none that was made for it.

    Examples
    --------
    >>> identity_from("journal 3f") == identity_from("journal 3f") != identity_from("journal 40")
    True
    """
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def identity_of_place(uri: str) -> str:
    """Return the id of a store of which nothing is known but its place: its URI, without password and options."""
    return identity_from(f"place {mask_secrets(uri).partition('?')[0]}")


def is_elsewhere(before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Return whether a store is not where it was written: nothing that told it there is as it was.

    Parameters
    ----------
    before, now: mapping of str to str
        The origin of a store: the numbers that a file system has given to its files and their folder, or a server to
        itself and to the database, by what they are of. What only one of them has says nothing.

    Examples
    --------
    >>> is_elsewhere({"folder": "7", "file": "8"}, {"folder": "7", "file": "9"})
    False
    >>> is_elsewhere({"folder": "7", "file": "8"}, {"folder": "3", "file": "9"})
    True
    >>> is_elsewhere({}, {"folder": "3"})
    False
    """
    both = before.keys() & now.keys()
    return bool(both) and all(before[name] != now[name] for name in both)


def origin_from(stored: object) -> dict[str, str]:
    """Return an origin as it was stored; nothing where that is none."""
    return {str(name): str(value) for name, value in stored.items()} if isinstance(stored, Mapping) else {}


def require_one_of(names: Collection[str], expected: str, uri: str) -> None:
    """Return if a store is the one that is expected.

    Parameters
    ----------
    names: collection of str
        The id that the store at a URI has, last, and those that it had; none where it was not written to.
    expected: str
        The id that is asked for; ``""`` asks for none.

    Raises
    ------
    AnotherStore
        None of them is.
    """
    if expected and expected not in names:
        own = [name for name in names if name]
        found = f"the store {own[-1][:8]}" if own else "empty"
        raise AnotherStore(
            f"{mask_secrets(uri)} is {found}, not the store {expected[:8]} that this is for: nothing was stored there"
        )
