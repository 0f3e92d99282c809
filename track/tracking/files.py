"""Results in files: one JSON object a key, as torchx writes them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any

from track.errors import CorruptJournal
from track.objectstore import object_store
from track.persistence.utils import mask_secrets
from track.shown import shown
from track.tracking.base import KeyType, ResultTracker, ResultType, checked_results
from track.utils.files import checked_path, is_temporary

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_FLOAT = "__float__"


class FsspecResultTracker(ResultTracker):
    """Keeps the results of each key in a file ``<tracker_base>/<key>``: a JSON object, for people to read too.

    Slashes in a key are folders. A number that is not finite is written ``{"__float__": "nan"}``: the file is
    valid JSON, and the number comes back.

    Parameters
    ----------
    tracker_base: str
        A folder, or a URL such as ``s3://bucket/trainer/123``. Nothing is created before the first `put`. A
        folder, ``file://`` and ``memory://`` need no other package, the rest needs the extra ``fsspec``.

    Raises
    ------
    MissingExtra
        The URL needs a package that is not installed.

    Examples
    --------
    >>> tracker = FsspecResultTracker("results")
    >>> tracker["attempt_1/out"] = {"accuracy": 0.233}
    >>> FsspecResultTracker("results")["attempt_1/out"]["accuracy"]
    0.233
    """

    def __init__(self, tracker_base: str | os.PathLike[str]) -> None:
        self._tracker_base = os.fspath(tracker_base)
        self._store = object_store(self._tracker_base)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({mask_secrets(self._tracker_base)!r})"

    def put(self, key: KeyType, /, **results: ResultType) -> None:
        """Store the results under ``str(key)``, in place of those that were there.

        In a local folder a reader finds the old ones or the new ones, never a part.

        Raises
        ------
        TypeError
            The key is no int and no str; or a result is no number and no text.
        ValueError
            The key leads out of the base, or names no file; or a text is longer than 1,024 bytes.
        AlreadyExists
            In a folder: another key is ``<key>/...``, or the beginning of this one.
        """
        self._store.write(_checked_key(key), _to_json(checked_results(results)))

    def get(self, key: KeyType) -> dict[str, ResultType]:
        """Return the results under ``str(key)``; empty where there are none.

        Raises
        ------
        CorruptJournal
            The file holds something else (a ValueError).
        """
        name = _checked_key(key)
        content = self._store.read(name)
        if content is None:
            return {}
        try:
            found = json.loads(content)
        except ValueError as error:
            raise CorruptJournal(f"{self._store.where(name)}, key {name!r}, is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise CorruptJournal(f"{self._store.where(name)}, key {name!r}, holds no map of results")
        return {name: _restored(value) for name, value in found.items()}

    def keys(self, prefix: str = "") -> Iterator[str]:
        yield from sorted(name for name in self._store.names() if name.startswith(prefix))


def _checked_key(key: KeyType) -> str:
    """Return the key as a relative name, none of whose parts leads elsewhere."""
    if not isinstance(key, (int, str)):
        raise TypeError(f"a key is an int or a str, not {type(key).__name__}")
    name = str(key)
    checked_path(name, "a key")
    if _CONTROL.search(name) or any(map(is_temporary, name.split("/"))):
        raise ValueError(
            f"{shown(name)} cannot be a key: it has control characters, or names an unfinished file of ours"
        )
    return name


def _to_json(results: dict[str, ResultType]) -> bytes:
    """Return what ``json.dumps(results, indent=2)`` gives, five times as fast."""
    if not results:
        return b"{}"
    return (
        "{\n" + ",\n".join(f"  {_quoted(name)}: {_value(value)}" for name, value in results.items()) + "\n}"
    ).encode()


def _value(value: ResultType) -> str:
    if type(value) is float:
        return repr(value) if value - value == 0 else f'{{"{_FLOAT}": "{value!r}"}}'
    return _quoted(value) if type(value) is str else json.dumps(value)


def _restored(value: Any) -> Any:
    if isinstance(value, dict) and len(value) == 1 and isinstance(value.get(_FLOAT), str):
        return float(value[_FLOAT])
    return value
