"""Plain data: any Python value as JSON-safe data, and back without loss where JSON alone would lose.

JSON knows no NaN, no integer past 64 bits, no bytes. Those travel as ``{"dtype": ..., "value": ...}``.
"""

from __future__ import annotations

import logging
import math
from typing import Any

logger = logging.getLogger(__name__)
_INFINITY = float("inf")
_LARGEST = 2**63 - 1
_ARRAY_LIMIT = 1000
_warned: set[str] = set()


def to_plain(value: Any) -> Any:
    """Return `value` as JSON-safe data; what JSON cannot say is tagged so that `restore` gives it back.

    Scalars of numpy and torch become Python numbers; tuples and sets become lists; paths become
    strings; dates become unix seconds (a naive date is UTC); arrays of at most 1,000 elements become
    nested lists, larger ones a summary. Anything else becomes its ``repr``, with one warning a type.

    Examples
    --------
    >>> to_plain({"lr": 0.1, "layers": (64, 32), "best": float("nan")})
    {'lr': 0.1, 'layers': [64, 32], 'best': {'dtype': 'float', 'value': 'nan'}}
    """
    kind = type(value)
    if kind is str:
        return utf8(value)
    if kind is bool or value is None:
        return value
    if kind is float:
        return value if value - value == 0 else _tagged("float", repr(value))
    if kind is int:
        return value if -_LARGEST <= value <= _LARGEST else _tagged("int", str(value))
    if kind is dict:
        return _plain_mapping(value)
    if kind is list or kind is tuple:
        return [to_plain(item) for item in value]
    return _plain_object(value)


def utf8(text: str) -> str:
    r"""Return text that has a UTF-8 form; a name of a file may hold bytes that are no text, which become ``?``.

    Examples
    --------
    >>> utf8("caf\u00e9"), utf8("caf\udcff")
    ('café', 'caf?')
    """
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def restore(value: Any) -> Any:
    """Return what `to_plain` was given, as far as its data tells.

    Examples
    --------
    >>> restore({"dtype": "int", "value": "18446744073709551616"})
    18446744073709551616
    """
    kind = type(value)
    if kind is dict:
        if len(value) == 2 and "dtype" in value and "value" in value:
            return _untagged(value)
        return {key: restore(item) for key, item in value.items()}
    if kind is list:
        return [restore(item) for item in value]
    return value


def printable(value: Any) -> Any:
    """Return `value` as data that any JSON reader accepts: a number that is not finite is None."""
    kind = type(value)
    if kind is float:
        return value if value - value == 0 else None
    if kind is dict:
        return {_key(key): printable(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [printable(item) for item in value]
    if kind is int or kind is str or kind is bool or value is None:
        return value
    return printable(restore(to_plain(value)))


def is_number(value: Any) -> bool:
    """Return whether `value` is a plain Python number (a bool counts)."""
    return isinstance(value, (int, float))


def to_number(value: Any) -> int | float | None:
    """Return `value` as a Python number, or None when it is not one.

    Zero-dimensional numpy and torch values, ``Decimal`` and ``Fraction`` are numbers; text is not.

    Examples
    --------
    >>> from fractions import Fraction
    >>> to_number(Fraction(1, 4)), to_number("0.25")
    (0.25, None)
    """
    if type(value) is float or type(value) is int or type(value) is bool:
        return value
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int):
        return int(value)
    scalar = _scalar(value)
    if scalar is not value:
        return to_number(scalar)
    if isinstance(value, (str, bytes, complex)) or not hasattr(value, "__float__"):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def nearest_double(value: Any) -> float:
    """Return the double that is nearest to a number: infinite where it is too large; NaN for what is no number.

    Examples
    --------
    >>> nearest_double(2**53 + 1), nearest_double(-(10**400)), nearest_double(None)
    (9007199254740992.0, -inf, nan)
    """
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError):
        return math.nan


def _scalar(value: Any) -> Any:
    """Return the Python number in a zero-dimensional array or tensor, anything else unchanged."""
    item, shape = getattr(value, "item", None), getattr(value, "shape", None)
    if item is None or shape is None or tuple(shape) != ():
        return value
    return item()


def _tagged(dtype: str, value: Any) -> dict[str, Any]:
    return {"dtype": dtype, "value": value}


def _untagged(tagged: dict[str, Any]) -> Any:
    dtype, value = tagged["dtype"], tagged["value"]
    match dtype:
        case "float" if isinstance(value, str):
            return float(value)
        case "int" if isinstance(value, str):
            return int(value)
        case "bytes" if isinstance(value, str):
            import base64

            return base64.b64decode(value)
        case "dict" if isinstance(value, dict):
            return {key: restore(item) for key, item in value.items()}
        case _:
            return {"dtype": restore(dtype), "value": restore(value)}


def _key(key: Any) -> str:
    return utf8(key if type(key) is str else str(key))


def _plain_mapping(mapping: Any) -> Any:
    plain = {_key(key): to_plain(item) for key, item in mapping.items()}
    # A user's own {"dtype": ..., "value": ...} must not be mistaken for one of our tags.
    if len(plain) == 2 and "dtype" in plain and "value" in plain:
        return _tagged("dict", plain)
    return plain


def _plain_object(value: Any) -> Any:
    """Return plain data for what is no exact builtin: subclasses, dates, paths, arrays, dataclasses."""
    import datetime
    import enum
    import os
    from collections.abc import Mapping, Set

    match value:
        case enum.Enum():
            return to_plain(value.value)
        case float():
            return to_plain(float(value))
        case int():
            return to_plain(int(value))
        case str():
            return utf8(str(value))
        case bytes() | bytearray() | memoryview():
            import base64

            return _tagged("bytes", base64.b64encode(bytes(value)).decode())
        case datetime.datetime():
            aware = value if value.tzinfo else value.replace(tzinfo=datetime.timezone.utc)
            return aware.timestamp()
        case datetime.timedelta():
            return value.total_seconds()
        case datetime.date() | datetime.time():
            return value.isoformat()
        case os.PathLike():
            return to_plain(os.fspath(value))
        case Mapping():
            return _plain_mapping(value)
        case list() | tuple():
            return [to_plain(item) for item in value]
        case Set():
            return sorted((to_plain(item) for item in value), key=_sort_key)
        case _:
            return _plain_foreign(value)


def _sort_key(item: Any) -> tuple[str, Any]:
    return (type(item).__name__, item if is_number(item) else str(item))


def _plain_foreign(value: Any) -> Any:
    """Return plain data for arrays, tensors, dataclasses and objects with fields; else the ``repr``."""
    number = to_number(value)
    if number is not None:
        return to_plain(number)
    if hasattr(value, "tolist") and hasattr(value, "shape"):
        return _plain_array(value)
    fields = getattr(type(value), "__dataclass_fields__", None)
    if fields is not None:
        return {name: to_plain(getattr(value, name)) for name in fields}
    if type(value).__name__ == "Namespace" and hasattr(value, "__dict__"):
        return _plain_mapping(vars(value))
    return _plain_repr(value)


def _plain_array(array: Any) -> Any:
    count = 1
    for length in array.shape:
        count *= int(length)
    if count <= _ARRAY_LIMIT:
        return to_plain(array.tolist())
    shape = [int(length) for length in array.shape]
    return {"dtype": "ndarray", "shape": shape, "summary": f"{getattr(array, 'dtype', '?')}, {count} elements"}


def _plain_repr(value: Any) -> str:
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if name not in _warned:
        _warned.add(name)
        logger.warning("a value of type %s cannot be stored as data: its repr is kept", name)
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - a broken __repr__ must not stop a training
        return f"<{name}: repr failed with {type(error).__name__}>"


def unflatten(flat: Any) -> Any:
    """Return a dictionary with its dotted keys nested: ``opt.lr`` becomes ``{"opt": {"lr": ...}}``.

    A dotted key stays as it is where a part of it is a key of its own.

    Examples
    --------
    >>> unflatten({"opt.lr": 0.1, "opt.name": "sgd", "seed": 1})
    {'opt': {'lr': 0.1, 'name': 'sgd'}, 'seed': 1}
    """
    if not isinstance(flat, dict) or not any("." in key for key in flat):
        return flat
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, leaf = key.split(".")
        if any(".".join(parents[:length]) in flat for length in range(1, len(parents) + 1)):
            parents, leaf = [], key
        target = nested
        for parent in parents:
            target = target.setdefault(parent, {})
        target[leaf] = value
    return nested


def flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return one level of dotted keys: the inverse of `unflatten`.

    Examples
    --------
    >>> flatten({"opt": {"lr": 0.1}, "seed": 1})
    {'opt.lr': 0.1, 'seed': 1}
    """
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
