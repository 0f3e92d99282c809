"""Old ``pickled:`` files: read once, safely, and kept as a file store from then on."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from track.errors import CorruptJournal
from track.persistence.file import StoreLock
from track.persistence.local import FileProtocol
from track.persistence.utils import store_path
from track.plain import to_plain
from track.utils.files import replace_file

__all__ = ["load_plain_pickle", "make_pickled"]

_HARMLESS = {
    ("builtins", "complex"),
    ("builtins", "frozenset"),
    ("builtins", "set"),
    ("collections", "OrderedDict"),
    ("datetime", "datetime"),
    ("datetime", "timedelta"),
    ("datetime", "timezone"),
}
_COLLECTIONS = ("projects", "groups", "trials")


# The one written in Python: a few bytes can make the other one ask for all the memory there is.
class _PlainUnpickler(pickle._Unpickler):
    """Reads containers, numbers, text and dates; refuses every other class, so nothing is ever run."""

    # One that takes as many bytes as it says, before it looks whether they are there.
    dispatch: ClassVar[dict[int, Any]] = {
        code: load for code, load in pickle._Unpickler.dispatch.items() if code != pickle.BYTEARRAY8[0]
    }

    def get_extension(self, code: int) -> Any:
        """Refuse: what a program has registered is found without asking `find_class`."""
        raise pickle.UnpicklingError("it holds a registered extension, and only plain data is read")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _HARMLESS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it holds a {module}.{name}, and only plain data is read")


def load_plain_pickle(data: bytes) -> Any:
    """Return what a pickle of plain data holds.

    Raises
    ------
    CorruptJournal
        It is no pickle, or holds anything but plain data.

    Examples
    --------
    >>> load_plain_pickle(pickle.dumps({"lr": [0.1]}))
    {'lr': [0.1]}
    """
    try:
        return _PlainUnpickler(io.BytesIO(data)).load()
    except Exception as error:  # a damaged pickle raises anything
        raise CorruptJournal(f"not a pickle of plain data: {error}") from error


def make_pickled(uri: str) -> FileProtocol:
    """Return the store of a ``pickled:`` URI.

    A file that is a pickle is replaced by one of the format of ``file:``; the pickle is kept beside it
    with ``.pickle`` added to its name. It should hold a list of project documents, or a dictionary of
    ``projects``, ``groups`` and ``trials``.

    Parameters
    ----------
    uri: str
        ``pickled:runs.pkl``, ``pickled://runs.pkl``, ``pickled:///abs/runs.pkl``.

    Raises
    ------
    CorruptJournal
        The file holds something else than plain data.
    """
    path = store_path(uri)
    protocol = FileProtocol("file:" + uri.partition(":")[2])
    if path and _is_pickle(path):
        with StoreLock(f"{path}.lock", protocol.lock.timeout):
            if _is_pickle(path):
                _convert(path)
    return protocol


def _is_pickle(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(1) == b"\x80"
    except FileNotFoundError:
        return False


def _convert(path: str) -> None:
    data = Path(path).read_bytes()
    try:
        documents = _documents(load_plain_pickle(data))
    except CorruptJournal as error:
        raise CorruptJournal(f"{path} was left as it is: {error}") from error
    backup = f"{path}.pickle"
    replace_file(backup, [data])
    replace_file(path, [msgspec.json.encode(to_plain(documents))])


def _documents(content: Any) -> Any:
    if isinstance(content, list):
        return content
    if isinstance(content, dict) and set(content) <= set(_COLLECTIONS):
        return {"format": 1, "journal": {}, **{name: list(content.get(name, ())) for name in _COLLECTIONS}}
    raise CorruptJournal("it is neither a list of projects nor a dictionary of projects, groups and trials")
