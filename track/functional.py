"""Functions as experiments: their arguments are the parameters, and the comments beside them the help."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeVar

from track.experiment import Experiment
from track.origin import innermost, module_name
from track.parameters import (
    Described,
    Parameter,
    TypedMeta,
    annotation_text,
    described_arguments,
    help_line,
    parameters_section,
    shown_default,
)

__all__ = ["Root", "autodoc", "functional_experiment", "read_comments"]

logger = logging.getLogger(__name__)
_Function = TypeVar("_Function", bound=Callable[..., Any])


class Root(Experiment):
    """What a function that is an experiment gets as its first argument: its folder, and `message`."""

    _described: ClassVar[dict[str, Any]] = {}


class _FunctionMeta(TypedMeta):
    """The class of an experiment made of a function; as a pair, as it was once returned, it is the class and None."""

    def __iter__(cls) -> Iterator[Any]:  # noqa: N805 - it is a metaclass
        yield cls
        yield None


class _Comments(str):
    """The help of a function's parameters, a line each; ``params`` has them by name."""

    params: dict[str, Parameter]

    __slots__ = ("params",)


def read_comments(fn: Callable[..., Any]) -> _Comments:
    """Return the help of the arguments of a function after the first: ``name: type=default ~ comment``.

    Parameters
    ----------
    fn: callable
        Nothing of it is run. Where its source is not to be had there are no comments.

    Returns
    -------
    str
        With the attribute ``params``: by name the default, type, comment, line of help, and name of the function.

    Examples
    --------
    >>> def train(root, lr: float = 0.1):  # the step
    ...     pass
    >>> read_comments(train).params["lr"].line
    'lr: float=0.1 ~ the step'
    """
    described = described_arguments(fn)
    name = _name_of(fn)
    params = {
        argument.name: _parameter(argument, described.get(argument.name, Described()), name)
        for argument in _arguments(fn)
    }
    section = parameters_section(parameter.line for parameter in params.values())
    made = _Comments(section.partition("\n")[2])
    made.params = params
    return made


def _name_of(fn: Any) -> str:
    fn = innermost(fn)
    return getattr(fn, "__name__", type(fn).__name__)


def _arguments(fn: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the arguments after the first that can be parameters; TypeError where some cannot be named."""
    try:
        arguments = list(inspect.signature(fn).parameters.values())
    except ValueError:
        return []
    if any(argument.kind is argument.VAR_POSITIONAL for argument in arguments):
        raise TypeError(f"{_name_of(fn)} takes *args, which have no names: a parameter needs one")
    bound = fn.keywords if isinstance(fn, functools.partial) else {}
    named = [argument for argument in arguments if argument.kind is not argument.VAR_KEYWORD]
    return [argument for argument in named[1:] if argument.name not in bound]


def _parameter(argument: inspect.Parameter, described: Described, owner: str) -> Parameter:
    is_given = argument.default is not argument.empty
    default = argument.default if is_given else None
    kind = described.type
    if kind is None and argument.annotation is not argument.empty:
        kind = annotation_text(argument.annotation)
    text = shown_default(default) if is_given else None
    return Parameter(default, kind, described.comment, help_line(argument.name, kind, text, described.comment), owner)


def functional_experiment(fn: Callable[..., Any]) -> type[Experiment]:
    """Return the class of experiments that a function is the `run` of.

    Parameters
    ----------
    fn: callable
        Its first argument is the experiment, its others are the parameters.

    Raises
    ------
    TypeError
        It takes no first argument, or ``*args``; or a parameter is called like a method of `Experiment`.

    Examples
    --------
    >>> def add(root, a: int = 1, b: int = 2):
    ...     root.message({"sum": a + b})
    >>> experiment = functional_experiment(add)("runs/sum", b=3)
    >>> experiment()
    >>> experiment.messages
    {'sum': 4}
    """
    parameters = read_comments(fn).params
    signature = _signature(fn)
    for name in parameters:
        if name != "debug" and callable(getattr(Experiment, name, None)):
            raise TypeError(f"{_name_of(fn)} has a parameter {name!r}, as a method of experiments is called: rename it")

    @functools.wraps(fn)
    def run(self: Any) -> Any:
        given = {name: vars(self)[name] for name in parameters}
        missing = [name for name in parameters if _is_required(signature, name) and given[name] is None]
        if missing:
            logger.warning("%s was given no %s, which has no default: it is None", _name_of(fn), ", ".join(missing))
        return _call(fn, signature, self, given)

    name = _name_of(fn)
    attributes: dict[str, Any] = {
        "__module__": getattr(innermost(fn), "__module__", __name__),
        "__qualname__": getattr(innermost(fn), "__qualname__", name),
        "__doc__": _plain_doc(fn),
        "_described": {key: Described(found.type, None, found.help) for key, found in parameters.items()},
        "run": run,
        "fn": (module_name(innermost(fn)), name),
        **{key: found.default for key, found in parameters.items()},
    }
    made: type[Experiment] = _FunctionMeta(name, (Experiment,), attributes)  # type: ignore[assignment]
    return made


def _signature(fn: Callable[..., Any]) -> inspect.Signature:
    try:
        signature = inspect.signature(fn)
    except ValueError:
        raise TypeError(f"{_name_of(fn)} does not say which arguments it takes") from None
    if not signature.parameters:
        raise TypeError(f"{_name_of(fn)} takes no arguments: its first is the experiment")
    return signature


def _plain_doc(fn: Callable[..., Any]) -> str | None:
    """Return the docstring without what `autodoc` has added."""
    doc: str | None = fn.__doc__
    added = getattr(fn, "autodocs", None)
    return doc if doc is None or not added else doc.removesuffix(added) or None


def _is_required(signature: inspect.Signature, name: str) -> bool:
    return signature.parameters[name].default is inspect.Parameter.empty


def _call(fn: Callable[..., Any], signature: inspect.Signature, experiment: Any, given: dict[str, Any]) -> Any:
    kinds = {name: argument.kind for name, argument in signature.parameters.items()}
    positional = [given.pop(name) for name in list(given) if kinds[name] is inspect.Parameter.POSITIONAL_ONLY]
    result = fn(experiment, *positional, **given)
    if inspect.iscoroutine(result):
        import asyncio

        return asyncio.run(result)
    return result


def autodoc(func: _Function) -> _Function:
    """Add the help of its parameters to the docstring of a function, and return the function.

    Examples
    --------
    >>> @autodoc
    ... def train(root, lr: float = 0.1):
    ...     '''Train.'''
    >>> print(train.__doc__)
    Train.
    <BLANKLINE>
    Parameters:
        lr: float=0.1
    """
    if getattr(func, "autodocs", None) is None:
        docs = read_comments(func)
        added = f"\n\nParameters:\n{docs}" if docs else ""
        func.__doc__ = f"{func.__doc__ or ''}{added}"
        func.autodocs = added  # type: ignore[attr-defined]
    return func
