"""Values as canonical bytes.

The bytes depend on nothing but the value, so their digest is its identity (`track.versioning.compute_hash`).
Every value is ``tag, length (8 bytes, big-endian), payload``, so no two different values share an encoding:

====  =====================  ==========================================================================
tag   value                  payload
====  =====================  ==========================================================================
n     None                   empty
t     bool                   one byte
i     int                    two's complement, big-endian, as short as it goes
f     float                  IEEE-754 double, big-endian; one NaN, and -0.0 is 0.0
s     str, path              UTF-8
b     bytes                  as they are
l     list, tuple            the encoded items
u     set, frozenset         the encoded items, sorted
m     mapping, dataclass     the encoded keys and values, sorted by key
a     numpy array, tensor    encoded kind of element, shape, and content
o     anything else          encoded name of the type, and ``repr`` without memory addresses
====  =====================  ==========================================================================

Subclasses are encoded as their base, an Enum member and a numpy or torch scalar as their value.
"""

from __future__ import annotations

import enum
import math
import os
import struct
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_length = struct.Struct(">Q").pack
_double = struct.Struct(">d").pack


def _tagged(tag: bytes, payload: bytes) -> bytes:
    return tag + _length(len(payload)) + payload


def encode(value: Any) -> bytes:
    """Return bytes that are equal for equal values only, whatever the process, machine or version."""
    encoder = _ENCODERS.get(value.__class__)
    return encoder(value) if encoder is not None else _encode_rare(value)


def _int(value: int) -> bytes:
    return _tagged(b"i", int.to_bytes(value, (int.bit_length(value) + 8) // 8, "big", signed=True))


def _float(value: float) -> bytes:
    # Adding zero turns -0.0 into 0.0; a NaN may carry any of 2**52 payloads.
    number = float(value) + 0.0
    return _tagged(b"f", b"\x7f\xf8" + bytes(6) if math.isnan(number) else _double(number))


def _str(value: str) -> bytes:
    return _tagged(b"s", str.encode(value, "utf-8", "surrogatepass"))


def _bytes(value: bytes | bytearray | memoryview) -> bytes:
    return _tagged(b"b", bytes(value))


def _list(value: Iterable[Any]) -> bytes:
    return _tagged(b"l", b"".join([encode(item) for item in value]))


def _set(value: Iterable[Any]) -> bytes:
    return _tagged(b"u", b"".join(sorted([encode(item) for item in value])))


def _mapping(value: Mapping[Any, Any]) -> bytes:
    pairs = sorted([(encode(key), encode(item)) for key, item in value.items()])
    return _tagged(b"m", b"".join([part for pair in pairs for part in pair]))


_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _: _tagged(b"n", b""),
    bool: lambda value: _tagged(b"t", b"\x01" if value else b"\x00"),
    int: _int, float: _float, str: _str, bytes: _bytes, list: _list, tuple: _list, dict: _mapping,
    set: _set, frozenset: _set,
}  # fmt: skip
# In this order: an IntEnum is an int as well, and a named tuple is a tuple.
_FAMILIES: tuple[tuple[Any, Callable[[Any], bytes]], ...] = (
    (enum.Enum, lambda value: encode(value.value)), (int, _int), (float, _float), (str, _str),
    ((bytes, bytearray, memoryview), _bytes), (os.PathLike, lambda value: encode(os.fspath(value))),
    ((list, tuple), _list), ((set, frozenset), _set), (Mapping, _mapping),
)  # fmt: skip


def _encode_rare(value: Any) -> bytes:
    for family, encoder in _FAMILIES:
        if isinstance(value, family):
            return encoder(value)
    if hasattr(type(value), "__dataclass_fields__"):
        from dataclasses import fields

        return _mapping({field.name: getattr(value, field.name) for field in fields(value)})
    return _encode_array(value) or _encode_repr(value)


def _encode_array(value: Any) -> bytes | None:
    # Whoever holds such a value has imported its package: looking is enough, and costs no import.
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and isinstance(value, numpy.generic):
        item = value.item()
        return None if isinstance(item, numpy.generic) else encode(item)
    if numpy is not None and isinstance(value, numpy.ndarray):
        return _tagged(b"a", encode(_describe_array(value)))
    if torch is not None and isinstance(value, torch.Tensor):
        if value.dim() == 0:
            return encode(value.item())
        return _tagged(b"a", encode((str(value.dtype), tuple(value.shape), value.tolist())))
    return None


def _describe_array(array: Any) -> tuple[str, tuple[int, ...], Any]:
    if array.dtype.hasobject:
        return str(array.dtype.descr), array.shape, array.tolist()
    portable = array.astype(array.dtype.newbyteorder("<"))
    return str(portable.dtype.descr), array.shape, portable.tobytes()


def _encode_repr(value: Any) -> bytes:
    text = repr(value)
    if " at 0x" in text:
        import re

        text = re.sub(r" at 0x[0-9A-Fa-f]+", "", text)
    kind = type(value)
    return _tagged(b"o", _str(f"{kind.__module__}.{kind.__qualname__}") + _str(text))
