"""Old ``pickled:`` files: read once, safely, and kept as a file store from then on."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from track.errors import CorruptJournal
from track.persistence.file import StoreLock
from track.persistence.local import FileProtocol
from track.persistence.state import State, read_snapshot, snapshot_bytes
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
_FREE, _PER_BYTE, _TEXT = 1 << 21, 4, 32
_DEEPEST = 500
_BACKUPS = 100


class _Budget:
    """How much work and memory a pickle may ask for, which few bytes can make as much as they like of."""

    def __init__(self, size: int) -> None:
        self._left = _FREE + _PER_BYTE * size

    def take(self, amount: int) -> None:
        """Raise UnpicklingError where it was too much."""
        self._left -= amount
        if self._left < 0:
            raise pickle.UnpicklingError("it holds the same again and again, and would be far larger than its file")


# The one written in Python: a few bytes can make the other one ask for all the memory there is.
class _PlainUnpickler(pickle._Unpickler):
    """Reads containers, numbers, text and dates; refuses every other class, so nothing is ever run."""

    dispatch: ClassVar[dict[int, Any]]

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self.budget = _Budget(len(data))
        # What can be a key, and contain others: it is looked at as a whole each time. Kept, so that no id comes again.
        self._weights: dict[int, tuple[int, int, Any]] = {}

    def get_extension(self, code: int) -> Any:
        """Refuse: what a program has registered is found without asking `find_class`."""
        raise pickle.UnpicklingError("it holds a registered extension, and only plain data is read")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _HARMLESS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it holds a {module}.{name}, and only plain data is read")

    def note_keys(self, keys: Iterable[Any]) -> None:
        """Note that these are looked at as keys."""
        weights = self._weights
        self.budget.take(sum(weights[id(key)][0] if id(key) in weights else 1 for key in keys))

    def note_arguments(self, arguments: Iterable[Any]) -> None:
        """Note that a container is made of others, which are copied."""
        for argument in arguments:
            if isinstance(argument, (str, bytes, bytearray)):
                self.budget.take(len(argument))
            elif isinstance(argument, (list, tuple, set, frozenset, dict)):
                self.note_keys(argument)

    def weigh(self, made: Any) -> None:
        """Note how much is in something that can be a key."""
        inside = [self._weights.get(id(item), (1, 0, None)) for item in made]
        weight, depth = 1 + sum(one[0] for one in inside), 1 + max((one[1] for one in inside), default=0)
        if depth > _DEEPEST:
            raise pickle.UnpicklingError(f"it is nested more than {_DEEPEST} levels deep")
        self._weights[id(made)] = (weight, depth, made)


def _noted(code: bytes, note: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return what an opcode does, with a look at the stack before."""
    load = pickle._Unpickler.dispatch[code[0]]

    def noted(unpickler: Any) -> None:
        note(unpickler)
        load(unpickler)

    return noted


def _weighed(code: bytes) -> Callable[[Any], None]:
    load = pickle._Unpickler.dispatch[code[0]]

    def weighed(unpickler: Any) -> None:
        load(unpickler)
        unpickler.weigh(unpickler.stack[-1])

    return weighed


_NOTED: dict[bytes, Callable[[Any], None]] = {
    pickle.SETITEM: lambda unpickler: unpickler.note_keys(unpickler.stack[-2:-1]),
    pickle.SETITEMS: lambda unpickler: unpickler.note_keys(unpickler.stack[::2]),
    pickle.DICT: lambda unpickler: unpickler.note_keys(unpickler.stack[::2]),
    pickle.ADDITEMS: lambda unpickler: unpickler.note_keys(unpickler.stack),
    pickle.REDUCE: lambda unpickler: unpickler.note_arguments(unpickler.stack[-1]),
    pickle.NEWOBJ: lambda unpickler: unpickler.note_arguments(unpickler.stack[-1]),
    pickle.NEWOBJ_EX: lambda unpickler: unpickler.note_arguments(unpickler.stack[-2]),
    pickle.OBJ: lambda unpickler: unpickler.note_arguments(unpickler.stack),
    pickle.INST: lambda unpickler: unpickler.note_arguments(unpickler.stack),
    pickle.BUILD: lambda unpickler: unpickler.note_arguments(unpickler.stack[-1:]),
}
_WEIGHED = (pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3)


def _frozen_set(unpickler: Any) -> None:
    unpickler.note_keys(unpickler.stack)
    pickle._Unpickler.dispatch[pickle.FROZENSET[0]](unpickler)
    unpickler.weigh(unpickler.stack[-1])


_PlainUnpickler.dispatch = {
    **pickle._Unpickler.dispatch,
    **{code[0]: _noted(code, note) for code, note in _NOTED.items()},
    **{code[0]: _weighed(code) for code in _WEIGHED},
    pickle.FROZENSET[0]: _frozen_set,
}
# It takes as many bytes as it says, before it looks whether they are there.
del _PlainUnpickler.dispatch[pickle.BYTEARRAY8[0]]


def load_plain_pickle(data: bytes) -> Any:
    """Return what a pickle of plain data holds.

    Raises
    ------
    CorruptJournal
        It is no pickle, or holds anything but plain data, or something that contains itself or is far larger than
        its file.

    Examples
    --------
    >>> load_plain_pickle(pickle.dumps({"lr": [0.1]}))
    {'lr': [0.1]}
    """
    try:
        unpickler = _PlainUnpickler(data)
        found = unpickler.load()
        _check_size(found, unpickler.budget)
        return found
    except Exception as error:  # a damaged pickle raises anything
        raise CorruptJournal(f"not a pickle of plain data: {error}") from error


def _check_size(whole: Any, budget: _Budget) -> None:
    """Look at how large data is when what is shared in it is written each time; nothing may contain itself."""
    sizes: dict[int, int] = {}
    inside: set[int] = set()
    waiting: list[tuple[Any, bool]] = [(whole, False)]
    while waiting:
        item, is_known = waiting.pop()
        if is_known:
            inside.discard(id(item))
            sizes[id(item)] = 1 + sum(
                sizes[id(part)] if _is_container(part) else _length(part) for part in _parts(item)
            )
            budget.take(0 if sizes[id(item)] < _FREE else sizes[id(item)])
        elif id(item) in inside:
            raise pickle.UnpicklingError("something in it contains itself")
        elif _is_container(item) and id(item) not in sizes:
            inside.add(id(item))
            waiting.append((item, True))
            waiting += [(part, False) for part in _parts(item) if _is_container(part)]
    budget.take(sizes.get(id(whole), 0))


def _is_container(value: Any) -> bool:
    return isinstance(value, (dict, list, tuple, set, frozenset))


def _parts(container: Any) -> list[Any]:
    return [*container, *container.values()] if isinstance(container, dict) else list(container)


def _length(value: Any) -> int:
    return 1 + len(value) // _TEXT if isinstance(value, (str, bytes, bytearray)) else 1


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
    temporary = f"{path}.tmp"
    try:
        replace_file(temporary, [msgspec.json.encode(to_plain(_documents(load_plain_pickle(data))))])
        _check_opens(temporary)
        replace_file(_backup(path, data), [data])
        os.replace(temporary, path)
    except CorruptJournal as error:
        text = str(error).replace(f"{temporary} is no track file", "it holds no store")
        raise CorruptJournal(f"{path} was left as it is: {text}") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _check_opens(path: str) -> None:
    """Raise CorruptJournal where a file cannot be read as a store, looked at and saved again."""
    state = State(path)
    try:
        read_snapshot(path, state)
        for trial in state.find_trials():
            for measured in (trial.metrics, trial.chronos):
                measured.to_dict()
        for _ in (*state.find_groups(), *state.find_projects(), *snapshot_bytes(state, {})):
            pass
    except CorruptJournal:
        raise
    except Exception as error:  # documents that are none raise anything
        raise CorruptJournal(f"what it holds is no store: {type(error).__name__}: {error}") from error


def _backup(path: str, data: bytes) -> str:
    """Return the name under which a pickle is kept: one that is not that of another pickle."""
    for name in (f"{path}.pickle", *(f"{path}.pickle-{number}" for number in range(1, _BACKUPS))):
        if not os.path.exists(name) or Path(name).read_bytes() == data:
            return name
    raise CorruptJournal(f"there are {_BACKUPS} old ones beside it already")


def _documents(content: Any) -> Any:
    if isinstance(content, list):
        return content
    if isinstance(content, dict) and set(content) <= set(_COLLECTIONS):
        return {"format": 1, "journal": {}, **{name: list(content.get(name, ())) for name in _COLLECTIONS}}
    raise CorruptJournal("it is neither a list of projects nor a dictionary of projects, groups and trials")
