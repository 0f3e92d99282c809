"""Files that hold the state of an object, read without running anything that is in them.

What torch has made is written and read by torch, weights only. Everything else is a zip archive: ``track.json``, and an
``.npy`` for each array.
"""

from __future__ import annotations

import base64
import copy
import io
import json
import operator
import os
import sys
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import IO, Any

from track.containers.arrays import import_numpy
from track.errors import InvalidCall, MissingExtra, UnsafeCheckpoint
from track.plain import to_number
from track.shown import text_of
from track.utils.files import OpenFile, replacing

_CONTENT = "track.json"
_BY_HAND = "a file that you trust is read with torch.load(path, weights_only=False)"
_LARGEST = 2**63
_PLAIN = (str, bool, type(None))
_TORCH_READS = (*_PLAIN, int, float, complex, bytes, bytearray, set, Counter)
_TORCH_HOLDS = (dict, OrderedDict)


def write_state(path: str, content: dict[str, Any], by_torch: bool) -> None:
    """Write a file whole, or not at all.

    Raises InvalidCall: there is something in the content that only a pickle could hold (a ValueError).
    """
    with replacing(path) as file:
        if by_torch:
            sys.modules["torch"].save(_for_torch(content, "the state"), _Appended(file))
            return
        arrays: list[Any] = []
        try:
            text = json.dumps(_written(content, arrays, "the state"))
        except RecursionError:
            raise InvalidCall("the state contains itself, or is nested too deeply") from None
        with zipfile.ZipFile(_Appended(file), "w") as archive:
            archive.writestr(_CONTENT, text)
            for number, array in enumerate(arrays):
                with archive.open(f"{number}.npy", "w", force_zip64=True) as member:
                    import_numpy().lib.format.write_array(member, array, allow_pickle=False)


class _Appended(io.RawIOBase):
    """What libraries write an archive to, from its beginning to its end."""

    def __init__(self, file: OpenFile) -> None:
        super().__init__()
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._file.write_all(data)
        return len(data)


def read_state(path: str, map_location: Any = None) -> dict[str, Any]:
    """Return what `write_state` has written.

    Raises
    ------
    UnsafeCheckpoint
        It is damaged, or only running what is in it would read it (a ValueError).
    MissingExtra
        torch has written it, and is not installed.
    """
    with open(path, "rb") as file:
        # As torch looks itself: what does not begin so it would read in its older formats, which were never safe.
        if file.read(4) != b"PK\x03\x04":
            raise UnsafeCheckpoint(
                f"{path} is damaged, or no checkpoint, or of torch before 1.6: {_BY_HAND}; without this file the one "
                "before it is loaded"
            )
        found = _read_archive(file, path)
    if found is None:
        found = _read_by_torch(path, map_location)
    if not isinstance(found, dict) or "state_dict" not in found:
        raise UnsafeCheckpoint(f"{path} is no checkpoint: it has no state_dict")
    return found


def _read_archive(file: IO[bytes], path: str) -> Any:
    """Return what is in an archive of ours; None of another, which may be torch's."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if _CONTENT in names:
                return _read(json.loads(_member(archive, _CONTENT)), archive)
    except MissingExtra:
        raise
    except Exception as error:  # whatever a file that is damaged, or made to deceive, makes of its readers
        raise UnsafeCheckpoint(f"{path} is damaged, or no checkpoint: {text_of(error)[:200]}") from error
    if any(name.endswith("/constants.pkl") for name in names):
        raise UnsafeCheckpoint(f"{path} holds a program of TorchScript, and not weights alone: {_BY_HAND}")
    return None


def _read_by_torch(path: str, map_location: Any) -> Any:
    try:
        import torch  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise MissingExtra(
            f"{path} is read by torch only, which is not installed; nothing else in it is run"
        ) from error
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except OSError:
        raise
    except Exception as error:  # what a file that is made to deceive makes of it
        raise UnsafeCheckpoint(
            f"{path} does not hold weights alone, so it is not read ({text_of(error)[:200]}): {_BY_HAND}"
        ) from error


def is_of_torch(value: Any, state: Any) -> bool:
    """Return whether an object, or what its state holds, is torch's."""
    if "torch" not in sys.modules:
        return False
    return any(kind.__module__.partition(".")[0] == "torch" for kind in type(value).__mro__) or _has_tensor(state)


def _has_tensor(state: Any) -> bool:
    if isinstance(state, Mapping):
        return any(map(_has_tensor, state.values()))
    if isinstance(state, (list, tuple)):
        return any(map(_has_tensor, state))
    return any(kind.__module__.partition(".")[0] == "torch" for kind in type(state).__mro__)


def _for_torch(value: Any, where: str) -> Any:
    """Return a state that torch reads again, weights only; the same object where nothing is in its way."""
    kind = type(value)
    if kind in _TORCH_READS or kind.__module__.partition(".")[0] == "torch":
        return value
    if isinstance(value, Mapping):
        read = {key: _for_torch(one, f"{where}[{text_of(key)!r}]") for key, one in value.items()}
        if kind not in _TORCH_HOLDS:
            return read
        if all(read[key] is value[key] for key in read):
            return value
        # With the attributes that torch gives the state of a module.
        made: Any = copy.copy(value)
        made.update(read)
        return made
    if kind in (list, tuple):
        items = [_for_torch(one, f"{where}[{number}]") for number, one in enumerate(value)]
        return value if all(map(operator.is_, items, value)) else kind(items)
    number = to_number(value)
    if number is not None and kind.__module__ == "numpy":
        return number
    raise InvalidCall(f"{where} is a {kind.__qualname__}, which torch would not read again, weights only")


def _written(value: Any, arrays: list[Any], where: str) -> Any:
    """Return a value as JSON: lists are lists, and everything else that JSON has no word for is ``{kind: ...}``."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is int:
        return value if -_LARGEST <= value < _LARGEST else {"int": hex(value)}
    if kind is float:
        return value if value - value == 0 else {"float": repr(value)}
    if isinstance(value, Mapping):
        pairs = value.items()
        return {
            "dict": [
                [_written(key, arrays, where), _written(one, arrays, f"{where}[{text_of(key)!r}]")]
                for key, one in pairs
            ]
        }
    if kind in (list, tuple, set, frozenset):
        items = [_written(one, arrays, f"{where}[{number}]") for number, one in enumerate(value)]
        return items if kind is list else {kind.__name__: items}
    if kind in (bytes, bytearray):
        return {"bytes": base64.b64encode(value).decode()}
    if kind is complex:
        return {"complex": [_written(value.real, arrays, where), _written(value.imag, arrays, where)]}
    return _array(value, arrays, where)


def _array(value: Any, arrays: list[Any], where: str) -> dict[str, int]:
    if callable(getattr(type(value), "__array__", None)):
        numpy = import_numpy()
        array = numpy.asarray(value)
        if array.dtype.kind in "biufcSUmM":
            arrays.append(array)
            return {"scalar" if isinstance(value, numpy.generic) else "array": len(arrays) - 1}
        raise InvalidCall(f"{where} is an array of {array.dtype}, which only a pickle could hold")
    raise InvalidCall(
        f"{where} is a {type(value).__qualname__}, which only a pickle could hold: state_dict() returns numbers, "
        "texts, arrays, and lists and dictionaries of them"
    )


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    found = archive.getinfo(name)
    # Nothing is unpacked to more than the file's own size.
    if found.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    return archive.read(found)


def _read(value: Any, archive: zipfile.ZipFile) -> Any:
    if isinstance(value, list):
        return [_read(one, archive) for one in value]
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    if kind in ("array", "scalar"):
        numpy = import_numpy()
        data = io.BytesIO(_member(archive, f"{int(held)}.npy"))
        array = numpy.lib.format.read_array(data, allow_pickle=False)
        return array[()] if kind == "scalar" else array
    return _READERS[kind](held, lambda one: _read(one, archive))


_READERS: dict[str, Any] = {
    "dict": lambda held, read: {read(key): read(one) for key, one in held},
    "tuple": lambda held, read: tuple(map(read, held)),
    "set": lambda held, read: set(map(read, held)),
    "frozenset": lambda held, read: frozenset(map(read, held)),
    "int": lambda held, read: int(held, 16),
    "float": lambda held, read: float(held),
    "bytes": lambda held, read: base64.b64decode(held, validate=True),
    "complex": lambda held, read: complex(*map(read, held)),
}


def steps_in(folder: str) -> dict[int, str]:
    """Return the paths of the checkpoints in a folder by their step, least first."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    stems = [name.removesuffix(".pt") for name in names if name.endswith(".pt")]
    return {
        step: os.path.join(folder, f"{stem}.pt") for step, stem in sorted((int(s), s) for s in stems if s.isdecimal())
    }
