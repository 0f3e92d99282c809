"""Names of element types, and the one-letter codes under which `array` stores them.

A name promises the size it says: the 32-bit integers are ``'i'`` and ``'I'``, as ``'l'`` takes eight bytes on
most 64-bit systems. Half floats have no code of their own and are stored as single floats.
"""

from __future__ import annotations

__all__ = [
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "types",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]

float16 = "f"
float32 = "f"
float64 = "d"
int8 = "b"
int16 = "h"
int32 = "i"
int64 = "q"
uint8 = "B"
uint16 = "H"
uint32 = "I"
uint64 = "Q"

types: dict[str, str] = {
    "float16": float16,
    "float32": float32,
    "float64": float64,
    "int8": int8,
    "int16": int16,
    "int32": int32,
    "int64": int64,
    "uint8": uint8,
    "uint16": uint16,
    "uint32": uint32,
    "uint64": uint64,
}
