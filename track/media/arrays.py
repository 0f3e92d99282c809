"""Values of other packages as arrays of numpy, or, where there is none, as nested lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from track.media.content import is_made_by


def numpy_or_none() -> Any:
    """Return numpy; None where it is not installed."""
    try:
        import numpy
    except ImportError:
        return None
    return numpy


def as_array(value: Any) -> Any:
    """Return an array of numpy of a value; nested lists where numpy is not installed; None where it is no array."""
    numpy = numpy_or_none()
    try:
        if is_made_by(value, "torch"):
            # A tensor without data, as those on the device meta, has none.
            value = value.detach().cpu()
            if "bfloat16" in str(value.dtype) or "float8" in str(value.dtype):
                value = value.float()
        if numpy is None:
            made = value.tolist() if hasattr(value, "tolist") else value
            return made if isinstance(made, (list, tuple)) else None
        array = numpy.asarray(value)
    except (ValueError, TypeError, RuntimeError):
        return None
    return array if array.dtype.kind in "buif" else None


def shape_of(array: Any) -> tuple[int, ...]:
    """Return the lengths of an array, or of nested lists, as their first parts have them."""
    if hasattr(array, "shape"):
        return tuple(array.shape)
    shape = []
    while isinstance(array, (list, tuple)):
        shape.append(len(array))
        array = array[0] if array else None
    return tuple(shape)


def flattened(rows: Any) -> Iterator[Any]:
    """Yield what is in nested lists."""
    for row in rows:
        if isinstance(row, (list, tuple)):
            yield from flattened(row)
        else:
            yield row
