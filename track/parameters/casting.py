"""Values of parameters: as data, back from data, and as the type of the default asks."""

from __future__ import annotations

import copy
import dataclasses
import enum
import logging
import math
import os
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from track.errors import InvalidCall
from track.plain import restore, to_plain
from track.shown import shown
from track.yaml12 import scalar

logger = logging.getLogger(__name__)
_TEXTS = (str, os.PathLike, enum.Enum, bytes)
_REPR = re.compile(r"<.* at 0x[0-9a-f]+>")


def as_data(value: Any) -> Any:
    """Return a parameter as data that YAML has; of what is no data the ``repr``, with one warning a type."""
    data = restore(to_plain(value))
    return repr(data) if isinstance(data, bytes) else data


def is_data(value: Any) -> bool:
    """Return whether a parameter is data; False for a function, a class or a large tensor, of which a text is kept."""
    if value is None or isinstance(value, (*_TEXTS, bool, int, float)):
        return True
    if isinstance(value, (list, tuple)):
        return all(map(is_data, value))
    if isinstance(value, Mapping):
        return all(map(is_data, value.values()))
    return not callable(value) and not isinstance(to_plain(value), str)


def is_text_of_object(value: Any) -> bool:
    """Return whether a value that was read stands for something that no file can say, as a function."""
    return isinstance(value, str) and _REPR.fullmatch(value) is not None


def copied(value: Any) -> Any:
    """Return a deep copy of a default; itself where it cannot be copied, as a lock."""
    try:
        return copy.deepcopy(value)
    except Exception as error:  # noqa: BLE001 - whatever an object does when it is asked
        logger.debug("a default is shared: %s", error)
        return value


def restored(value: Any, default: Any) -> Any:
    """Return a value that was read from a file, of the type that the default has, as far as the file cannot say it.

    The text of what is no data stands for the default.
    """
    if is_text_of_object(value) or (isinstance(value, str) and not is_data(default)):
        return default
    try:
        return _as_default(value, default)
    except (TypeError, ValueError):
        return value


def _as_default(value: Any, default: Any) -> Any:
    match default:
        case tuple() if isinstance(value, list) and type(default) is tuple:
            return tuple(value)
        case enum.Enum() if value is not None:
            return _member(type(default), value)
        case PurePath() if isinstance(value, str):
            return type(default)(value)
        case float() if type(value) is int:
            return float(value)
        case _ if dataclasses.is_dataclass(default) and isinstance(value, dict):
            return dataclasses.replace(default, **value)  # type: ignore[type-var]
    return value


def _member(kind: type[enum.Enum], value: Any) -> enum.Enum:
    if isinstance(value, str) and value in kind.__members__:
        return kind[value]
    return kind(value)


def cast(name: str, value: Any, default: Any, text: str | None = None) -> Any:
    """Return a value that somebody wrote for a parameter, of the type that its default has.

    Parameters
    ----------
    name: str
        For messages.
    value: any
        As YAML reads it. None is never cast, and a default of None takes any type.
    text: str, optional
        As it is written: what a default that is a text gets.

    Raises
    ------
    InvalidCall
        It cannot be of that type (a ValueError too).

    Examples
    --------
    >>> cast("lr", 1, 0.1), cast("depth", 2.0, 3), cast("name", 12, "x", "012"), cast("flag", 1, True)
    (1.0, 2, '012', True)
    """
    if value is None or default is None:
        return value
    if not is_data(default):
        raise InvalidCall(f"{name} is {shown(default, 60)}, which no text can say: set it in the program")
    match default:
        case bool():
            return _as_bool(name, value)
        case enum.Enum() | PurePath():
            try:
                return _as_default(value, default)
            except ValueError:
                raise _refused(name, value, default) from None
        case int():
            return _as_int(name, value)
        case float():
            return _as_float(name, value)
        case str():
            return value if isinstance(value, str) else text if text is not None else scalar(as_data(value))
        case list() | tuple():
            return _as_list(name, value, default)
        case Mapping():
            return _as_mapping(name, value, default)
    return _as_default(value, default)


def _refused(name: str, value: Any, default: Any) -> InvalidCall:
    return InvalidCall(f"{name} is {type(default).__name__}, and {shown(value, 60)} is not")


def _as_bool(name: str, value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if isinstance(value, bool) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise _refused(name, value, True)


def _as_int(name: str, value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _refused(name, value, 1)
    if isinstance(value, float):
        if not (math.isfinite(value) and value.is_integer()):
            logger.warning("%s is a whole number by default, and %r now", name, value)
            return value
        return int(value)
    return value


def _as_float(name: str, value: Any) -> float:
    if isinstance(value, bool):
        raise _refused(name, value, 1.0)
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise _refused(name, value, 1.0) from None


def _as_list(name: str, value: Any, default: list[Any] | tuple[Any, ...]) -> Any:
    if not isinstance(value, (list, tuple)):
        raise _refused(name, value, default)
    if not default:
        return type(default)(value)
    if len(value) != len(default):
        raise InvalidCall(f"{name} has {len(default)} elements, not {len(value)}: {shown(value, 60)}")
    cast_items = [cast(f"{name}[{i}]", item, kind) for i, (item, kind) in enumerate(zip(value, default, strict=True))]
    return cast_items if isinstance(default, list) else tuple(cast_items)


def _as_mapping(name: str, value: Any, default: Mapping[Any, Any]) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise _refused(name, value, default)
    if not default:
        return dict(value)
    unknown = [key for key in value if key not in default]
    if unknown:
        raise InvalidCall(f"{name} has no {', '.join(map(str, unknown))}; it has {', '.join(map(str, default))}")
    return {key: cast(f"{name}.{key}", value[key], kind) if key in value else kind for key, kind in default.items()}
