"""The checksum CRC-32C, as TensorBoard masks it."""

from __future__ import annotations

import functools
from array import array

_POLYNOMIAL = 0x82F63B78
_ALL = 0xFFFFFFFF


@functools.cache
def _tables() -> tuple[array[int], array[int]]:
    """Return what one byte does to the checksum, and what two do."""
    one = array("L", bytes(256 * array("L").itemsize))
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
        one[byte] = crc
    two = array("L", (one[word & 255] for word in range(1 << 16)))
    for word in range(1 << 16):
        crc = two[word] ^ word >> 8
        two[word] = one[crc & 255] ^ crc >> 8
    return one, two


def crc32c(data: bytes) -> int:
    """Return the checksum.

    Examples
    --------
    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    one, two = _tables()
    crc = _ALL
    even = len(data) & ~1
    for word in array("H", data[:even]) if _IS_LITTLE else _words(data[:even]):
        crc = two[(crc ^ word) & 0xFFFF] ^ crc >> 16
    if even != len(data):
        crc = one[(crc ^ data[-1]) & 255] ^ crc >> 8
    return crc ^ _ALL


def _words(data: bytes) -> array[int]:
    found = array("H", data)
    found.byteswap()
    return found


_IS_LITTLE = array("H", b"\1\0")[0] == 1


def masked_crc(data: bytes) -> int:
    """Return the checksum as it stands in a file: turned, and a number added.

    Examples
    --------
    >>> masked_crc(b"")
    2726488792
    """
    crc = crc32c(data)
    return (crc >> 15 | crc << 17) + 0xA282EAD8 & _ALL
