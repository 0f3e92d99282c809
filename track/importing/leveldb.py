"""The log of LevelDB, in which wandb writes: blocks of 32 KiB, in which a record is whole or in pieces."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from track.importing.runs import Taking

HEADER = b":W&B"
HEADER_SIZE = 7
_BLOCK = 1 << 15
_HEAD = struct.Struct("<IHB")
_GAP, _WHOLE, _FIRST, _LAST = 0, 1, 2, 4
_LARGEST = 1 << 28


def records(file: Any, name: str, taking: Taking | None) -> Iterator[bytes]:
    """Yield the records of a file of wandb whose checksums are right; what is damaged is told."""
    pieces: list[bytes] = []
    for kind, data in _pieces(file, name, taking):
        if kind == _WHOLE:
            yield data
        elif kind == _FIRST:
            pieces = [data]
        elif kind == _GAP:
            pieces = []
        elif pieces:
            pieces.append(data)
            if len(pieces) * _BLOCK > _LARGEST:
                if taking is not None:
                    taking.leave("record", f"has more than {_LARGEST:,} bytes", name)
                pieces = []
            elif kind == _LAST:
                yield b"".join(pieces)
                pieces = []
    if pieces:
        _tell_torn(taking, name)


def _pieces(file: Any, name: str, taking: Taking | None) -> Iterator[tuple[int, bytes]]:
    """Yield kind and content of each piece, and a gap where some are missing."""
    size = os.fstat(file.fileno()).st_size
    if file.read(HEADER_SIZE)[:4] != HEADER:
        if taking is not None:
            taking.damage("is no file of wandb", name)
        return
    position = HEADER_SIZE
    while block := file.read(_BLOCK - position % _BLOCK):
        end = len(block)
        offset = yield from _of_block(block)
        rest = block[offset:]
        # A block ends with zeros where a head has no room, or nothing was written.
        if rest.strip(b"\0"):
            if position + end >= size and _is_torn(rest):
                _tell_torn(taking, name)
            elif taking is not None:
                taking.damage("the rest of a block is damaged", f"{name}, byte {position + offset:,}")
            # A length that is damaged would lead astray: the next block begins anew.
            yield _GAP, b""
        position += end


def _of_block(block: bytes) -> Any:
    """Yield the pieces of a block, and return where what is no whole piece begins."""
    view, offset, end = memoryview(block), 0, len(block)
    while end - offset >= _HEAD.size:
        crc, length, kind = _HEAD.unpack_from(block, offset)
        stop = offset + _HEAD.size + length
        if stop > end or zlib.crc32(view[offset + 6 : stop]) != crc or not kind:
            return offset
        yield kind, block[offset + _HEAD.size : stop]
        offset = stop
    return offset


def _is_torn(rest: bytes) -> bool:
    """Return whether a piece goes on after the end of the file."""
    return len(rest) < _HEAD.size or _HEAD.unpack_from(rest)[1] > len(rest) - _HEAD.size


def _tell_torn(taking: Taking | None, name: str) -> None:
    if taking is not None:
        taking.leave("damaged", "ends in the middle of a record: its program was killed, or still writes", name)
