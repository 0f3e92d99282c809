"""Names of folders that any text can be made into."""

from __future__ import annotations

import hashlib
import re

_BAD = re.compile(r"[\x00-\x1f\x7f/\ud800-\udfff]")
_LONGEST = 200


def folder_name(text: str) -> str:
    """Return the name of one folder for a text: no slashes, no controls, not hidden, at most 200 bytes.

    Examples
    --------
    >>> folder_name("data=a/b__lr=0.1"), folder_name("..")
    ('data=a_b__lr=0.1', '_.')
    >>> len(folder_name("x" * 300))
    200
    """
    name = _BAD.sub("_", text) or "_"
    if name.startswith("."):
        name = f"_{name[1:]}"
    encoded = name.encode()
    if len(encoded) <= _LONGEST:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:8]
    return f"{encoded[: _LONGEST - 9].decode(errors='ignore')}~{digest}"
