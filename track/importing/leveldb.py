"""The log of LevelDB, in which wandb writes: blocks of 32 KiB, in which a record is whole or in pieces."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from track.importing.runs import Taking

_HEADER = b":W&B"
_HEADER_SIZE = 7
_BLOCK = 1 << 15
_HEAD = struct.Struct("<IHB")
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_LARGEST = 1 << 28


def records(file: Any, name: str, taking: Taking | None) -> Iterator[bytes]:
    """Yield the records of a file of wandb whose checksums are right; what is damaged is told."""
    size = os.fstat(file.fileno()).st_size
    if file.read(_HEADER_SIZE)[:4] != _HEADER:
        if taking is not None:
            taking.damage("is no file of wandb", name)
        return
    pieces: list[bytes] = []
    waiting, position = 0, _HEADER_SIZE
    while position < size:
        start = position - position % _BLOCK
        block = file.read(_BLOCK - (position - start))
        offset, end = 0, len(block)
        if not end:
            return
        while end - offset >= _HEAD.size:
            crc, length, kind = _HEAD.unpack_from(block, offset)
            body = offset + _HEAD.size
            stop = body + length
            if not crc and not length and not kind:
                # The rest of a block that was never written.
                break
            if stop > end:
                if position + end >= size:
                    _tell_torn(taking, name)
                    return
                _tell_damaged(taking, name, position + offset)
                pieces.clear()
                break
            if zlib.crc32(memoryview(block)[body - 1 : stop]) != crc:
                _tell_damaged(taking, name, position + offset)
                pieces.clear()
                # A length that is damaged would lead astray: the next block begins anew.
                break
            data = block[body:stop]
            offset = stop
            if kind == _WHOLE:
                yield data
            elif kind == _FIRST:
                pieces, waiting = [data], length
            elif pieces and kind in (_MIDDLE, _LAST):
                pieces.append(data)
                waiting += length
                if waiting > _LARGEST:
                    if taking is not None:
                        taking.leave("record", f"has more than {_LARGEST:,} bytes", name)
                    pieces = []
                elif kind == _LAST:
                    whole = b"".join(pieces)
                    pieces = []
                    yield whole
        else:
            if 0 < end - offset and position + end >= size and any(block[offset:]):
                _tell_torn(taking, name)
        position += end
    if pieces:
        _tell_torn(taking, name)


def _tell_torn(taking: Taking | None, name: str) -> None:
    if taking is not None:
        taking.leave("damaged", "ends in the middle of a record: its program was killed, or still writes", name)


def _tell_damaged(taking: Taking | None, name: str, position: int) -> None:
    if taking is not None:
        taking.damage("the rest of a block is damaged", f"{name}, byte {position:,}")
