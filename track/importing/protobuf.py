"""The wire format of protobuf: what is in a message, without its schema."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

DOUBLE, FLOAT = struct.Struct("<d"), struct.Struct("<f")
_LONGEST = 70


class Malformed(ValueError):
    """Bytes that are no message."""


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield number and value of one field after another: an integer, or the bytes of what has eight, four or a length.

    Raises Malformed: this is no message, or the rest of one is missing.

    Examples
    --------
    >>> list(fields(bytes([8, 150, 1, 18, 2, 104, 105])))
    [(1, 150), (2, b'hi')]
    """
    position, end = 0, len(data)
    try:
        while position < end:
            key = data[position]
            position += 1
            if key > 127:
                key, position = _longer(data, position, key)
            kind = key & 7
            if kind == 2:
                size = data[position]
                position += 1
                if size > 127:
                    size, position = _longer(data, position, size)
                stop = position + size
                if stop > end:
                    raise Malformed("a field is longer than its message")
                yield key >> 3, data[position:stop]
                position = stop
            elif kind == 0:
                value = data[position]
                position += 1
                if value > 127:
                    value, position = _longer(data, position, value)
                yield key >> 3, value
            elif kind in {1, 5}:
                stop = position + (8 if kind == 1 else 4)
                if stop > end:
                    raise Malformed("a number is not whole")
                yield key >> 3, data[position:stop]
                position = stop
            else:
                raise Malformed(f"there is no wire type {kind}")
    except IndexError as error:
        raise Malformed("a number is not whole") from error


def _longer(data: bytes, position: int, value: int) -> tuple[int, int]:
    """Return an integer of more than seven bits, and where the next thing begins."""
    value &= 127
    shift = 7
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
        if shift >= _LONGEST:
            raise Malformed("an integer has more than ten bytes")


def last_of(data: bytes, *numbers: int) -> list[Any]:
    """Return the last value of each of these fields, None where there is none."""
    found = {number: value for number, value in fields(data) if number in numbers}
    return [found.get(number) for number in numbers]


def text(value: Any) -> str:
    """Return a field as text; Malformed where it is none."""
    if not isinstance(value, bytes):
        raise Malformed("a text is a number")
    return value.decode("utf-8", "replace")


def message(value: Any) -> bytes:
    """Return a field as a message; Malformed where it is none."""
    if not isinstance(value, bytes):
        raise Malformed("a message is a number")
    return value


def signed(value: Any) -> int:
    """Return a field as an int64; Malformed where it is none."""
    if not isinstance(value, int):
        raise Malformed("an integer is none")
    whole: int = value & (1 << 64) - 1
    return whole - (1 << 64) if whole >= 1 << 63 else whole


def double(value: Any) -> float:
    """Return a field as a double; Malformed where it is none."""
    if not isinstance(value, bytes) or len(value) != 8:
        raise Malformed("a double has no eight bytes")
    number: float = DOUBLE.unpack(value)[0]
    return number
