"""Small files as other trackers write them, made by hand: their frames, checksums and messages."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from track.importing.crc32c import masked_crc


def varint(number: int) -> bytes:
    """Return an integer as protobuf writes it."""
    number &= (1 << 64) - 1
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def field(number: int, value: Any) -> bytes:
    """Return a field of a message: an int, a float (a double), text or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def single(number: int, value: float) -> bytes:
    """Return a field with a float of four bytes."""
    return varint(number << 3 | 5) + struct.pack("<f", value)


def record(data: bytes) -> bytes:
    """Return a record of a TFRecord file."""
    head = struct.pack("<Q", len(data))
    return head + struct.pack("<I", masked_crc(head)) + data + struct.pack("<I", masked_crc(data))


def event(at: float, step: int, *values: bytes) -> bytes:
    """Return an event of TensorBoard, with values of a summary."""
    summary = b"".join(field(1, value) for value in values)
    return field(1, at) + field(2, step) + (field(5, summary) if values else field(3, "brain.Event:2"))


def scalar(tag: str, value: float) -> bytes:
    """Return a value of a summary."""
    return field(1, tag) + single(2, value)


def image(tag: str, content: bytes) -> bytes:
    """Return an image of a summary."""
    return field(1, tag) + field(4, field(1, 8) + field(2, 8) + field(3, 3) + field(4, content))


def hparams(**values: Any) -> bytes:
    """Return the hyperparameters of a session, as a value of a summary."""
    said = b""
    for name, value in values.items():
        one = field(3, value) if isinstance(value, str) else field(2, float(value))
        said += field(1, field(1, name) + field(2, one))
    plugin = field(1, "hparams") + field(2, field(3, said))
    return field(1, "_hparams_/session_start_info") + field(9, field(1, plugin))


def tfevents(folder: Path, *events: bytes, name: str = "events.out.tfevents.1700000000.host.1.0") -> Path:
    """Write a file of TensorBoard, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(b"".join(map(record, (event(1700000000.0, 0), *events))))
    return path
