"""Plain data: any Python value as JSON-safe data, and back without loss where JSON alone would lose.

JSON knows no NaN, no integer past 64 bits, no bytes. Those travel as ``{"dtype": ..., "value": ...}``.
"""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Iterable
from typing import Any

from track.fields import fields_of, items_of, unwrapped
from track.shown import shown, text_of

logger = logging.getLogger(__name__)
_INFINITY = float("inf")
_LARGEST = 2**63 - 1
_ARRAY_LIMIT = 1000
_DEEPEST = 250
_DECIMAL_BITS = 2000
"""Longer integers are written in hexadecimal: Python refuses to make so many decimal digits."""
LEAVES = frozenset({str, bool, type(None), float, int})
_SHORT_FLOATS = {"float32": ("f", range(1, 10)), "float16": ("e", range(1, 6)), "bfloat16": ("b", range(1, 5))}
_warned: set[tuple[str, str]] = set()


def to_plain(value: Any) -> Any:
    """Return `value` as JSON-safe data; what JSON cannot say is tagged so that `restore` gives it back.

    Mappings, named tuples, namespaces, dataclasses and objects of attrs, pydantic, OmegaConf and ml_collections
    become dictionaries of text keys; sequences and sets become lists; members of an enum their values; paths
    strings; dates unix seconds (a naive date is UTC). Scalars of numpy and torch become Python numbers, of 32 and
    16 bits the double of their shortest decimal; arrays of at most 1,000 elements become nested lists, larger ones
    a summary. Anything else becomes its ``repr``, with one warning a type. Nothing that an object does when it is
    asked is raised, and a container that contains itself has an end.

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
        return value if -_LARGEST <= value <= _LARGEST else _tagged("int", digits(value))
    try:
        return _tree(value, [])
    except RecursionError:
        return _kept_as_text(value, "is nested deeper than the program's stack allows")


def _tree(value: Any, above: list[int]) -> Any:
    """Return what is no leaf as data; `above` are the ids of what it is inside of."""
    kind = type(value)
    if kind in LEAVES:
        return to_plain(value)
    if id(value) in above:
        return _kept_as_text(value, "contains itself")
    if len(above) >= _DEEPEST:
        return _kept_as_text(value, f"is nested more than {_DEEPEST} levels deep")
    above.append(id(value))
    try:
        if kind is dict:
            return _plain_mapping(list(value.items()), above)
        if kind is list or kind is tuple:
            return [to_plain(item) if type(item) in LEAVES else _tree(item, above) for item in value]
        return _plain_object(value, above)
    except RecursionError:
        raise
    except Exception as error:
        # What an object does when it is asked must not stop a training.
        logger.debug("asking a %s failed", kind, exc_info=error)
        return _plain_repr(value)
    finally:
        above.pop()


def utf8(text: str) -> str:
    r"""Return text that has a UTF-8 form; a name of a file may hold bytes that are no text, which become ``?``.

    Examples
    --------
    >>> utf8("caf\u00e9"), utf8("caf\udcff")
    ('café', 'caf?')
    """
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def is_utf8(text: Any) -> bool:
    """Return whether a value is text that can be stored as it is."""
    return isinstance(text, str) and utf8(text) == text


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
        return {key: item if type(item) in LEAVES else restore(item) for key, item in value.items()}
    if kind is list:
        return [item if type(item) in LEAVES else restore(item) for item in value]
    return value


def printable(value: Any) -> Any:
    """Return `value` as data that any JSON reader accepts: a number that is not finite is None, bytes are base64.

    Examples
    --------
    >>> printable({"best": float("nan"), "key": b"abc"})
    {'best': None, 'key': 'YWJj'}
    """
    kind = type(value)
    if kind is float:
        return value if value - value == 0 else None
    if kind is dict:
        return {key: printable(item) for key, item in text_keys(value.items()).items()}
    if kind is list or kind is tuple:
        return [printable(item) for item in value]
    if kind is int:
        return value if value.bit_length() < _DECIMAL_BITS else hex(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is bytes:
        return _base64(value)
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
    try:
        if isinstance(value, float):
            return float(value)
        if isinstance(value, int):
            return int(value)
        return _number(value)
    except Exception:  # noqa: BLE001 - as in `_tree`
        return None


def _number(value: Any) -> int | float | None:
    found = _scalar(value)
    if type(found) is float or type(found) is int or type(found) is bool:
        return found
    if isinstance(found, (str, bytes, complex)) or not hasattr(found, "__float__") or _kind(found) == "c":
        return None
    return float(found)


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
    """Return what is in a zero-dimensional array or tensor, NaN where it is masked; anything else unchanged."""
    item, shape = getattr(value, "item", None), getattr(value, "shape", None)
    if item is None or shape is None or tuple(shape) != ():
        return value
    return float("nan") if _is_masked(value) else item()


def _is_masked(scalar: Any) -> bool:
    mask = getattr(scalar, "mask", None)
    return mask is not None and getattr(mask, "shape", None) == () and bool(mask)


def _kind(value: Any) -> Any:
    """Return numpy's letter for the kind of number in an array or scalar: ``"f"``, ``"c"``, ``"M"``."""
    return getattr(getattr(value, "dtype", None), "kind", None)


def _tagged(dtype: str, value: Any) -> dict[str, Any]:
    return {"dtype": dtype, "value": value}


def _untagged(tagged: dict[str, Any]) -> Any:
    dtype, value = tagged["dtype"], tagged["value"]
    try:
        match dtype:
            case "float" if isinstance(value, str):
                return float(value)
            case "int" if isinstance(value, str):
                return int(value, 16 if "x" in value else 10)
            case "bytes" if isinstance(value, str):
                import base64

                return base64.b64decode(value)
            case "dict" if isinstance(value, dict):
                return {key: restore(item) for key, item in value.items()}
    except ValueError:
        # Somebody else's, which only looks like ours.
        pass
    return {"dtype": restore(dtype), "value": restore(value)}


def digits(number: int) -> str:
    """Return an integer as text: in hexadecimal where it has more digits than Python writes."""
    return str(number) if number.bit_length() < _DECIMAL_BITS else hex(number)


def _base64(data: Any) -> str:
    import base64

    return base64.b64encode(bytes(data)).decode()


def text_keys(items: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    """Return items by their keys as text; of two keys that are the same text the second says its type, too.

    Examples
    --------
    >>> text_keys({1: "a", "1": "b"}.items())
    {'1': 'a', '1 (str)': 'b'}
    """
    named: dict[str, Any] = {}
    for key, item in items:
        name = utf8(key if type(key) is str else text_of(key))
        if name in named:
            wanted = name
            while name in named:
                name = f"{name} ({type(key).__name__})"
            logger.warning("two keys are the same text %s: the second is named %s", shown(wanted, 80), shown(name, 100))
        named[name] = item
    return named


def _plain_mapping(items: Iterable[tuple[Any, Any]], above: list[int]) -> Any:
    named = text_keys(items).items()
    plain = {key: to_plain(item) if type(item) in LEAVES else _tree(item, above) for key, item in named}
    # A user's own {"dtype": ..., "value": ...} must not be mistaken for one of our tags.
    if len(plain) == 2 and "dtype" in plain and "value" in plain:
        return _tagged("dict", plain)
    return plain


def _plain_object(value: Any, above: list[int]) -> Any:
    """Return plain data for what is no exact builtin: subclasses, dates, paths, containers."""
    import datetime
    import enum
    import os

    match value:
        case enum.Enum():
            return _tree(value.value, above)
        case float():
            return to_plain(float(value))
        case int():
            return to_plain(int(value))
        case str():
            return utf8(str.__str__(value))
        case bytes() | bytearray() | memoryview():
            return _tagged("bytes", _base64(value))
        case datetime.datetime() if value != value:
            # pandas.NaT: a date that is missing.
            return None
        case datetime.datetime():
            aware = value if value.tzinfo else value.replace(tzinfo=datetime.timezone.utc)
            return aware.timestamp()
        case datetime.timedelta():
            return value.total_seconds()
        case datetime.date() | datetime.time():
            return value.isoformat()
        case os.PathLike():
            return _tree(os.fspath(value), above)
        case _:
            return _plain_container(value, above)


def _plain_container(value: Any, above: list[int]) -> Any:
    """Return plain data for mappings, sequences and sets, whoever made them; else for numbers and objects."""
    from collections import UserString
    from collections.abc import Mapping, Sequence, Set, ValuesView

    inside = unwrapped(value)
    if inside is not value:
        return _tree(inside, above)
    if isinstance(value, range) and len(value) > _ARRAY_LIMIT:
        return repr(value)
    if isinstance(value, UserString):
        return to_plain(str(value.data))
    if isinstance(value, (Mapping, tuple)):
        fields = fields_of(value)
        if fields is not None:
            return _plain_mapping(fields.items(), above)
    if isinstance(value, (Sequence, ValuesView)):
        return [_tree(item, above) for item in items_of(value, value)]
    if isinstance(value, Set):
        return sorted((_tree(item, above) for item in items_of(value, value)), key=_sort_key)
    return _plain_foreign(value, above)


def _sort_key(item: Any) -> tuple[str, Any]:
    return (type(item).__name__, item if is_number(item) else text_of(item))


def _plain_foreign(value: Any, above: list[int]) -> Any:
    """Return plain data for arrays, tensors, dataclasses and objects with fields; else the ``repr``."""
    if _kind(value) in ("M", "m"):
        value = value.astype(f"{value.dtype.kind}8[us]")
        return _plain_array(value, above) if value.shape else _tree(value.item(), above)
    number = to_number(value)
    if number is not None:
        return None if _is_masked(value) else to_plain(_shortest(number, getattr(value, "dtype", None)))
    if hasattr(value, "shape") and not hasattr(value, "tolist") and hasattr(value, "numpy"):
        value = value.numpy()
    if hasattr(value, "shape") and hasattr(value, "tolist"):
        return _plain_array(value, above)
    fields = fields_of(value)
    return _plain_repr(value) if fields is None else _plain_mapping(fields.items(), above)


def _plain_array(array: Any, above: list[int]) -> Any:
    count = 1
    for length in array.shape:
        count *= int(length)
    dtype = getattr(array, "dtype", "?")
    if count <= _ARRAY_LIMIT:
        return _tree(_shortest(array.tolist(), dtype), above)
    shape = [int(length) for length in array.shape]
    return {"dtype": "ndarray", "shape": shape, "summary": f"{dtype}, {count} elements"}


def _shortest(number: Any, dtype: Any) -> Any:
    """Return a number of 32 or 16 bits, or lists of them, as a person writes it: the double of its shortest decimal."""
    known = _SHORT_FLOATS.get(str(dtype).rpartition(".")[2])
    if known is None:
        return number
    if type(number) is list:
        return [_shortest(item, dtype) for item in number]
    if type(number) is not float or number - number != 0:
        return number
    code, digits = known
    decimals = (float(f"{number:.{count}g}") for count in digits)
    return next((short for short in decimals if _rounded(short, code) == number), number)


def _rounded(number: float, code: str) -> float:
    """Return the nearest number that so few bits can say."""
    try:
        if code != "b":
            return float(struct.unpack(code, struct.pack(code, number))[0])
        bits = struct.unpack("I", struct.pack("f", number))[0]
        # To nearest, ties to even: the upper half of a single float is left.
        bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
        return float(struct.unpack("f", struct.pack("I", bits))[0])
    except (OverflowError, struct.error):
        return _INFINITY


def _kept_as_text(value: Any, why: str) -> str:
    """Return a short text for a container that cannot be followed any further."""
    _warn_once(type(value), f"a value of type %s {why}: where it does, its repr is kept")
    return utf8(shown(value))


def _plain_repr(value: Any) -> str:
    _warn_once(type(value), "a value of type %s cannot be stored as data: its repr is kept")
    try:
        return utf8(repr(value))
    except Exception as error:  # noqa: BLE001 - a broken __repr__ must not stop a training
        return f"<{type(value).__module__}.{type(value).__qualname__}: repr failed with {type(error).__name__}>"


def _warn_once(kind: type, text: str) -> None:
    name = f"{kind.__module__}.{kind.__qualname__}"
    if (name, text) not in _warned:
        _warned.add((name, text))
        logger.warning(text, name)


def named_tags(tags: Any) -> dict[str, Any]:
    """Return tags by name: those of a list are true.

    Examples
    --------
    >>> named_tags(["draft"]), named_tags({"paper": "v2"}), named_tags(None)
    ({'draft': True}, {'paper': 'v2'}, {})
    """
    if isinstance(tags, dict):
        return tags
    if isinstance(tags, (list, tuple, set, frozenset)):
        return {text_of(tag): True for tag in tags}
    return {text_of(tags): True} if tags else {}


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
