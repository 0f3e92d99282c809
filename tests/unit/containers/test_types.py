"""Element types keep the promise of their names."""

from __future__ import annotations

from array import array

import pytest

from track.containers import types


@pytest.mark.parametrize("name", sorted(set(types.types) - {"float16"}))
def test_code_has_the_size_of_its_name(name: str) -> None:
    """An int32 takes 32 bits on every platform."""
    bits = int("".join(filter(str.isdigit, name)))

    assert array(types.types[name]).itemsize * 8 == bits


@pytest.mark.parametrize("name", sorted(types.types))
def test_table_and_constants_agree(name: str) -> None:
    """A type can be had by name from the table or from the module."""
    assert getattr(types, name) == types.types[name]
    assert name in types.__all__


def test_half_floats_are_stored_as_single() -> None:
    """`array` has no half floats."""
    assert types.float16 == types.float32
