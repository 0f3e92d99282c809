"""Which store is which: each has an id of its own, made when it is created, and keeps it wherever it is moved."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection

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
