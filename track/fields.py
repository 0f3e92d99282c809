"""What an object holds that is a configuration, one level of it: whoever made it, its fields by name."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

_MOST = 100_000
"""Items of a container that is not Python's own: it may make them up while it is asked, for ever."""
_BUILTIN = (dict, list, tuple, set, frozenset)
_NAMESPACES = {"Namespace", "SimpleNamespace"}


def unwrapped(value: Any) -> Any:
    """Return the Python containers in a container of OmegaConf or ml_collections; anything else unchanged.

    What OmegaConf calls missing is ``"???"``, and an interpolation that leads nowhere stays as it is written.
    """
    # Whoever holds such a value has imported its package: looking is enough, and costs no import.
    omegaconf, collections = sys.modules.get("omegaconf"), sys.modules.get("ml_collections")
    if omegaconf is not None and isinstance(value, omegaconf.Container):
        try:
            return omegaconf.OmegaConf.to_container(value, resolve=True)
        except Exception:  # noqa: BLE001 - whatever a resolver raises
            return omegaconf.OmegaConf.to_container(value, resolve=False)
    if collections is not None and isinstance(value, collections.ConfigDict):
        return value.to_dict()
    if collections is not None and isinstance(value, collections.FieldReference):
        return value.get()
    return value


def fields_of(value: Any) -> dict[Any, Any] | None:
    """Return the fields of a mapping, named tuple, namespace, dataclass, or object of attrs, pydantic or msgspec.

    A field that has no value yet is left out. None for an object of any other kind.

    Raises ValueError: there are more than 100,000, in a mapping that is not Python's own.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> fields_of(SimpleNamespace(lr=0.1)), fields_of(3)
    ({'lr': 0.1}, None)
    """
    kind = type(value)
    if isinstance(value, Mapping):
        return dict(items_of(value, value.items()))
    if isinstance(value, tuple):
        names = getattr(kind, "_fields", None)
        return None if names is None else dict(zip(names, value, strict=False))
    if any(base.__name__ in _NAMESPACES for base in kind.__mro__) and hasattr(value, "__dict__"):
        return dict(vars(value))
    names = _names(value, kind)
    return None if names is None else _read(value, names)


def given_fields(arguments: Any) -> dict[Any, Any] | None:
    """Return the fields of what is given as all parameters: also of a parser of the command line, and of any object.

    None for what has no fields at all.
    """
    if type(arguments) is dict:
        return arguments.copy()
    argparse = sys.modules.get("argparse")
    if argparse is not None and isinstance(arguments, argparse.ArgumentParser):
        arguments = arguments.parse_args()
    held = unwrapped(arguments)
    fields = fields_of(held)
    if fields is None:
        return None if isinstance(held, type) else getattr(held, "__dict__", None)
    return {**fields, **_more_fields(held, fields)}


def _more_fields(value: Any, fields: dict[Any, Any]) -> dict[Any, Any]:
    """Return the attributes that a dataclass has beside its fields and names itself, as configurations of models do."""
    attributes = getattr(value, "__dict__", None)
    if not attributes or attributes.keys() <= fields.keys() or not callable(getattr(value, "to_dict", None)):
        return {}
    try:
        named = dict(value.to_dict())
    except Exception:  # noqa: BLE001 - what an object does when it is asked must not stop a training
        return {}
    return {name: attributes[name] for name in named if name in attributes and name not in fields}


def items_of(container: Any, items: Iterable[Any]) -> list[Any]:
    """Return the items of a container; ValueError for one that is not Python's own and seems to have no end."""
    if isinstance(container, _BUILTIN):
        return list(items)
    found = list(islice(items, _MOST + 1))
    if len(found) > _MOST:
        raise ValueError(f"there are more than {_MOST:,} items")
    return found


def _names(value: Any, kind: type) -> list[str] | None:
    if hasattr(kind, "__dataclass_fields__"):
        from dataclasses import fields

        return [field.name for field in fields(value)]
    if hasattr(kind, "__attrs_attrs__"):
        return [attribute.name for attribute in kind.__attrs_attrs__]
    if hasattr(kind, "__pydantic_fields__"):
        return [*kind.__pydantic_fields__, *(getattr(value, "__pydantic_extra__", None) or ())]
    if hasattr(kind, "__fields_set__"):
        # pydantic 1
        return list(value.__fields__)
    if hasattr(kind, "__struct_fields__"):
        return list(kind.__struct_fields__)
    return None


def _read(value: Any, names: list[str]) -> dict[Any, Any]:
    found = {}
    for name in names:
        try:
            found[name] = getattr(value, name)
        except AttributeError:
            continue
        except Exception as error:  # noqa: BLE001 - a property may do anything
            found[name] = f"<{name}: reading it failed with {type(error).__name__}>"
    return found
