"""Where things are in an artifact store, and which paths may be written when a directory is brought back."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Collection, Iterable

from track.errors import UnsafePath
from track.utils.files import checked_path

OBJECTS, TREES, PACKS = "objects", "trees", "packs"
PARTIAL, LEASES, PENDING, CONDEMNED, STORES = "partial", "leases", "pending", "condemned", "stores"

_KEY = r"(?P<key>(?:objects|trees)/(?P<two>[0-9a-f]{2})/(?P<digest>(?P=two)[0-9a-f]{62})(?:\.[0-9]+)?)"
_PACK = r"(?P<pack>packs/(?P<first>[0-9a-f]{2})/(?P=first)[0-9a-f]{30}\.tar)"
_CONTENT = re.compile(rf"(?P<root>.*?)/?(?:{_KEY}|{_PACK}@(?P<offset>[0-9]{{1,15}}))")
_CONTENT_KEY = re.compile(_KEY)
_PACK_KEY = re.compile(_PACK)
INLINE = "data:"
"""How a URI begins that is the content itself."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
SPECIFIC = re.compile(r"(?P<name>.+?)(?::(?P<latest>latest)|:v(?P<version>[0-9]+)|@(?P<digest>[0-9a-f]{6,64}))")
"""How one of the contents of a name is asked for."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LONGEST = 255


def content_key(kind: str, digest: str, generation: int = 0) -> str:
    """Return where content is: its digest, after a folder of the first two digits, as in ``objects/ab/ab...``."""
    return f"{kind}/{digest[:2]}/{digest}{f'.{generation}' if generation else ''}"


def free_key(kind: str, digest: str, avoid: Collection[str]) -> str:
    """Return where content goes: the first generation that is not about to be removed."""
    keys = (content_key(kind, digest, generation) for generation in itertools.count())
    return next(key for key in keys if key not in avoid)


def is_tree(uri: str) -> bool:
    """Return whether a URI in a manifest names a directory."""
    return split_uri(uri)[1].startswith(f"{TREES}/")


def split_uri(uri: str) -> tuple[str, str]:
    """Return the store's root and the key in it; all of a URI, and an empty key, where it is in no store."""
    match = None if uri.startswith(INLINE) else _CONTENT.fullmatch(uri)
    return (match["root"], match["key"] or match["pack"]) if match else (uri, "")


def offset_in(uri: str) -> int | None:
    """Return where in a pack content begins, in bytes; None where a URI names no part of one."""
    match = None if uri.startswith(INLINE) else _CONTENT.fullmatch(uri)
    return int(match["offset"]) if match and match["pack"] else None


def uri_at(root: str, uri: str) -> str:
    """Return a URI of content of a store as it is named in another place; '' for beside the store."""
    offset, key = offset_in(uri), split_uri(uri)[1]
    return f"{root}{root and '/'}{key}{'' if offset is None else f'@{offset}'}"


def pack_key(name: str) -> str:
    """Return where a pack is whose name is 32 hexadecimal digits."""
    return f"{PACKS}/{name[:2]}/{name}.tar"


def is_digest(text: str) -> bool:
    """Return whether a text is a sha256 in hexadecimal, and so may be part of a path."""
    return _DIGEST.fullmatch(text) is not None


def is_content_key(key: str) -> bool:
    """Return whether content may be there: what others wrote down may be any text."""
    return (_CONTENT_KEY.fullmatch(key) or _PACK_KEY.fullmatch(key)) is not None


def digest_of_key(key: str) -> str:
    """Return the digest of the content that is to be at a key; ValueError where it is none."""
    match = _CONTENT_KEY.fullmatch(key)
    if match is None:
        raise ValueError(f"{key!r} is no key of content")
    return match["digest"]


def check_name(name: str) -> str:
    """Return the name of an artifact.

    UnsafePath where it is absolute or climbs, or no file could be called so.
    """
    checked_path(name, "an artifact's name")
    if _CONTROL.search(name):
        raise UnsafePath(f"an artifact's name holds no control characters: {name!r} does")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UnsafePath(f"{name!r} is no text: give the artifact a name that is") from error
    longest = max(name.split("/"), key=lambda part: len(part.encode()))
    if len(longest.encode()) > _LONGEST:
        raise UnsafePath(f"an artifact's name has parts of at most {_LONGEST} bytes: {longest[:40]!r}… is longer")
    return name


def check_new_name(name: str) -> str:
    """Return the name of an artifact to log, as `check_name` does; UnsafePath, too, where it asks for a version."""
    match = SPECIFIC.fullmatch(check_name(name))
    if match is not None and not match["digest"]:
        raise UnsafePath(
            f"{name!r} cannot be an artifact's name: it asks for a version of {match['name']!r}, and each content that "
            f"is logged as {match['name']!r} becomes one by itself"
        )
    return name


def check_clashes(paths: Iterable[str]) -> None:
    """Raise UnsafePath where two paths are one file on a disk that does not tell upper from lower case."""
    paths = list(paths)
    if all(map(str.isascii, paths)) and len(set(map(str.lower, paths))) == len(set(paths)):
        return
    seen: dict[str, str] = {}
    for path in paths:
        folded = unicodedata.normalize("NFC", path).casefold()
        other = seen.setdefault(folded, path)
        if other != path:
            raise UnsafePath(f"{other!r} and {path!r} are one file on this disk: download them to another one")
