"""Which tracking stores name what is in a folder of artifacts: all of them are asked before anything is removed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import msgspec

from track.artifacts.folder import Folder
from track.artifacts.keys import STORES
from track.artifacts.location import SUFFIX, protocol_of, store_uri
from track.errors import NotFound
from track.persistence.utils import mask_secrets, uri_path

__all__ = ["owners"]


def owners(folder: Folder, protocol: Any, also: Iterable[str]) -> list[Any]:
    """Return the backends of all tracking stores that were noted in a folder, and of `protocol`.

    Raises
    ------
    NotFound
        One of them cannot be opened from here.
    """
    own = store_uri(protocol, folder)
    given = {store_uri(other, folder): other for other in map(protocol_of, also)}
    asked = {own: protocol, **given}
    for found in folder.files(STORES):
        uri = str(msgspec.json.decode(folder.read(found.key))["uri"])
        if uri not in asked:
            asked[uri] = _opened(uri, folder, found.key)
    return list(asked.values())


def _opened(uri: str, folder: Folder, note: str) -> Any:
    scheme, _, _ = uri.partition(":")
    path = uri_path(uri) if scheme in {"file", "sqlite"} else ""
    if uri.startswith("beside:"):
        scheme = uri.partition(":")[2]
        path = folder.url.removeprefix("file://").removesuffix(SUFFIX)
        uri = f"{scheme}://{path}"
    is_there = os.path.exists(path) or os.path.exists(f"{path}.journal") if path else "***" not in uri
    if not is_there:
        raise NotFound(
            f"the tracking store {mask_secrets(uri)} keeps artifacts in {folder.url} too and cannot be asked: give its "
            f"URI with its password, or, if it is gone for good, remove {folder.url}/{note}"
        )
    return protocol_of(uri)
