"""Classes that declare parameters: which of their attributes are some, along the classes that they extend."""

from __future__ import annotations

import inspect
import sys
from types import FrameType, FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, cast

from track.parameters.help import annotation_text, documented, help_line, shown_default
from track.parameters.source import Described, described_attributes

if TYPE_CHECKING:
    from abc import ABCMeta as _Base
else:
    # Of abstract classes, and of protocols, which an experiment may implement.
    _Base = type(Protocol)

Value = TypeVar("Value")


class Parameter(NamedTuple):
    """A parameter of a class: its default, and texts."""

    default: Any
    type: str | None
    help: str | None
    line: str
    """``name: type=default ~ help``"""
    owner: str
    """The name of the class that declares it."""


class _Marked:
    """The default of an attribute that is a parameter, until its class is made."""

    def __init__(self, default: Any, help: str) -> None:
        self.default, self.help = default, help


def param(default: Value, help: str = "") -> Value:
    """Declare a parameter where no comment can be read, as in a class that ``exec`` or a prompt makes.

    Examples
    --------
    >>> class Train(metaclass=TypedMeta):
    ...     lr: float = param(0.1, help="the step")
    >>> Train.lr, Train._params["lr"].line
    (0.1, 'lr: float=0.1 ~ the step')
    """
    return cast("Value", _Marked(default, help))


class TypedMeta(_Base):
    """Metaclass of classes with parameters: attributes with a comment that begins with ``# @p``.

    What a class has is in ``_params``: a `Parameter` by name. Its docstring lists them.
    """

    _params: dict[str, Parameter]
    _own_params: dict[str, Parameter]
    _init_params: frozenset[str]
    """Those that ``__init__`` assigns, of this class or of one that it extends."""
    _overridden: tuple[str, ...]
    """Those of them that a class gives another default, which ``__init__`` knows nothing of."""
    # Before Python 3.12 `isinstance` looks for it on every class of this kind, also where none is a protocol.
    _is_protocol = False

    def __new__(
        mcs: type[TypedMeta], name: str, bases: tuple[type, ...], attr_dict: dict[str, Any], **kwargs: Any
    ) -> TypedMeta:
        attributes = dict(attr_dict)
        given: dict[str, Described] | None = attributes.pop("_described", None)
        described = _described(name, attributes) if given is None else given
        marked = {key: value for key, value in attributes.items() if isinstance(value, _Marked)}
        attributes.update((key, value.default) for key, value in marked.items())
        cls = super().__new__(mcs, name, bases, attributes, **kwargs)
        for key, value in marked.items():
            described[key] = described.get(key, Described())._replace(comment=value.help or None, in_init=False)
        cls._own_params = {key: _parameter(cls, key, found) for key, found in described.items()}
        own = frozenset(key for key, found in described.items() if found.in_init)
        inherited = frozenset().union(*(getattr(base, "_init_params", ()) for base in bases))
        cls._init_params = own | (inherited - described.keys())
        cls._overridden = tuple(key for key in sorted(cls._init_params - own) if _is_overridden(cls, key))
        cls._params = _merged(cls)
        if any(not key.startswith("_") for key in cls._params):
            cls.__doc__ = documented(attr_dict.get("__doc__"), name, _lines(cls))
        return cls

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__call__(*args, **kwargs)
        settle = getattr(made, "_settle", None)
        if settle is not None and isinstance(made, cls):
            settle()
        return made


def _is_overridden(cls: type, name: str) -> bool:
    """Return whether a class gives a default to what ``__init__`` of another, which it extends, assigns."""
    for base in cls.__mro__:
        declared = vars(base).get("_own_params", {})
        if name in vars(base) and name not in declared:
            return True
        if name in declared:
            return False
    return False


def _described(name: str, attributes: dict[str, Any]) -> dict[str, Described]:
    return dict(described_attributes(name, _defining_frame(attributes)))


def _defining_frame(attributes: dict[str, Any]) -> FrameType | None:
    """Return the frame that runs the class statement: the first of that module, outside of metaclasses."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        is_meta = frame.f_code.co_name in ("__new__", "__call__")
        if frame.f_globals.get("__name__") == attributes.get("__module__") and not is_meta:
            return frame
        frame = frame.f_back
    return None


def _parameter(cls: type, name: str, found: Described) -> Parameter:
    default = found.value if found.in_init else vars(cls).get(name, found.value)
    kind = found.type or _type_text(cls, name)
    text = found.default if found.in_init else None
    if text is None and (name in vars(cls) or not found.in_init):
        text = shown_default(default)
    return Parameter(default, kind, found.comment, help_line(name, kind, text, found.comment), cls.__name__)


def _type_text(cls: type, name: str) -> str | None:
    """Return the annotation of an attribute as text; nothing is evaluated for it."""
    try:
        annotations = inspect.get_annotations(cls)
    except Exception:  # noqa: BLE001 - those of Python 3.14 are computed when they are asked for
        return None
    return annotation_text(annotations[name]) if name in annotations else None


def _merged(cls: type) -> dict[str, Parameter]:
    found: dict[str, Parameter] = {}
    for base in reversed(cls.__mro__):
        own: dict[str, Parameter] = vars(base).get("_own_params", {})
        for name in [name for name in found if name not in own and name in vars(base)]:
            value = vars(base)[name]
            if _is_behaviour(value, name):
                del found[name]
            else:
                found[name] = _changed(found[name], name, value, _type_text(base, name))
        for name, parameter in own.items():
            known = found.get(name)
            if known is not None and parameter.help is None and known.help is not None:
                parameter = parameter._replace(help=known.help, line=f"{parameter.line} ~ {known.help}")  # noqa: PLW2901
            found[name] = parameter
    return found


def _is_behaviour(value: Any, name: str) -> bool:
    if isinstance(value, (property, classmethod, staticmethod)):
        return True
    return isinstance(value, FunctionType) and value.__name__ == name


def _changed(known: Parameter, name: str, default: Any, kind: str | None) -> Parameter:
    kind = kind or known.type
    line = help_line(name, kind, shown_default(default), known.help)
    return known._replace(default=default, type=kind, line=line)


def _lines(cls: TypedMeta) -> dict[str, list[str]]:
    lines: dict[str, list[str]] = {}
    for name, parameter in cls._params.items():
        if not name.startswith("_"):
            lines.setdefault(parameter.owner, []).append(parameter.line)
    return lines
