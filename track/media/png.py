"""Pixels as a PNG, by the standard library: with numpy it is smaller and sooner there than what Pillow makes."""

from __future__ import annotations

import struct
import zlib

from track.media.arrays import numpy_or_none

_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}
# Of what a training run shows higher levels save a few percent, and take several times as long.
_LEVEL = 1
_FEW, _SAMPLES = 16 * 1024, 4
_NOT, _UP = b"\0", 2


def encode_png(pixels: bytes, width: int, height: int, channels: int) -> bytes:
    """Return the PNG of pixels, row by row, a byte a channel."""
    head = struct.pack(">IIBBBBB", width, height, 8, _COLOURS[channels], 0, 0, 0)
    rows = _packed(_filtered(pixels, height, width * channels))
    parts = ((b"IHDR", head), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_part(name, data) for name, data in parts)


def _packed(rows: bytes) -> bytes:
    """Return rows as deflate packs them: in what repeats nothing, as noise and photos, no repetition is looked for."""
    kind = zlib.Z_DEFAULT_STRATEGY
    if len(rows) >= _FEW:
        every, part = len(rows) // _SAMPLES, len(rows) // (16 * _SAMPLES)
        sample = b"".join(rows[start : start + part] for start in range(every // 2, len(rows), every))
        if len(_deflated(sample, zlib.Z_HUFFMAN_ONLY)) <= len(_deflated(sample, kind)):
            kind = zlib.Z_HUFFMAN_ONLY
    return _deflated(rows, kind)


def _deflated(rows: bytes, kind: int) -> bytes:
    packer = zlib.compressobj(_LEVEL, strategy=kind)
    return packer.compress(rows) + packer.flush()


def _filtered(pixels: bytes, height: int, length: int) -> bytes:
    """Return the rows, each after how it is filtered: as what differs from the row above, or not."""
    numpy = numpy_or_none()
    if numpy is None:
        return b"".join(_NOT + pixels[start : start + length] for start in range(0, len(pixels), length))
    given = numpy.frombuffer(pixels, numpy.uint8).reshape(height, length)
    rows = numpy.empty((height, length + 1), numpy.uint8)
    rows[:, 0] = _UP
    rows[0, 1:] = given[0]
    numpy.subtract(given[1:], given[:-1], out=rows[1:, 1:])
    made: bytes = rows.tobytes()
    return made


def _part(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
