"""Which store is which: each has an id of its own, made when it is created, and keeps it wherever it is moved."""

from __future__ import annotations

import hashlib
import secrets

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
