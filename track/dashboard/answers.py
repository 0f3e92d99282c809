"""What is said to a browser."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

Headers = tuple[tuple[str, str], ...]


class Stream(Protocol):
    """A body that is sent piece by piece; who has it closes it."""

    length: int

    def __iter__(self) -> Iterator[bytes]:
        """Yield the pieces."""

    def close(self) -> None:
        """Let go of what they come from."""


@dataclass(frozen=True)
class Answer:
    """A status, a body and what it is; its headers win over those that every answer has."""

    status: int
    body: bytes | Stream
    kind: str
    headers: Headers = ()


class Refused(Exception):
    """A request that is not answered: its status, and why in words for a person."""

    def __init__(self, status: int, why: str, headers: Headers = ()) -> None:
        super().__init__(why)
        self.status = status
        self.headers = headers


def json_answer(what: Any) -> Answer:
    """Return data as an answer; what JSON has no word for must be text by then: see `plain_number`."""
    import msgspec

    return Answer(200, msgspec.json.encode(what, enc_hook=str), "application/json")


def little_endian(numbers: Any) -> bytes:
    """Return an array of numbers, of numpy or of the standard library, as bytes."""
    if hasattr(numbers, "dtype"):
        return bytes(numbers.astype(numbers.dtype.newbyteorder("<"), copy=False).tobytes())
    if sys.byteorder != "little":
        numbers = numbers[:]
        numbers.byteswap()
    return bytes(numbers.tobytes())


def plain_number(value: Any) -> Any:
    """Return a number as JSON and a browser have it: what is not finite, or too long to be exact, is text."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return value if abs(value) <= 2**53 else str(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return str(value)
