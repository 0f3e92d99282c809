"""Comments, types and defaults as they are written: of the arguments of a function, of the attributes of a class."""

from __future__ import annotations

import ast
import functools
import inspect
import io
import linecache
import logging
import re
import tokenize
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, FunctionType
from typing import Any, NamedTuple

logger = logging.getLogger(__name__)
_MARK = re.compile(r"#\s*@p\b:?\s*(.*)")
_Function = ast.FunctionDef | ast.AsyncFunctionDef


class Described(NamedTuple):
    """What the source says of a parameter: texts, each None where there is none.

    `value` is the default where it is a literal; `in_init` says that it is assigned in ``__init__``.
    """

    type: str | None = None
    default: str | None = None
    comment: str | None = None
    value: Any = None
    in_init: bool = False


class _Comment(NamedTuple):
    text: str
    column: int
    is_alone: bool


class _Source(NamedTuple):
    tree: ast.Module
    comments: dict[int, _Comment]
    closings: dict[int, int]
    """By the line of a ``def``: the line on which its arguments end."""


@functools.lru_cache(maxsize=16)
def _parsed(text: str) -> _Source | None:
    try:
        tree = ast.parse(text)
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        logger.debug("comments are not read: %s", error)
        return None
    comments = {
        token.start[0]: _Comment(token.string, token.start[1], not token.line[: token.start[1]].strip())
        for token in tokens
        if token.type == tokenize.COMMENT
    }
    return _Source(tree, comments, dict(_closings(tokens)))


def _closings(tokens: list[tokenize.TokenInfo]) -> Iterator[tuple[int, int]]:
    open_defs: list[tuple[int, int]] = []
    depth = 0
    waiting: int | None = None
    for token in tokens:
        if token.type == tokenize.NAME and token.string == "def":
            waiting = token.start[0]
        elif token.type == tokenize.OP and token.string in "([{":
            if waiting is not None and token.string == "(":
                open_defs.append((waiting, depth))
                waiting = None
            depth += 1
        elif token.type == tokenize.OP and token.string in ")]}":
            depth -= 1
            if open_defs and open_defs[-1][1] == depth:
                yield open_defs.pop()[0], token.start[0]


def _source_of(file: str, module_globals: dict[str, Any] | None) -> _Source | None:
    linecache.checkcache(file)
    lines = linecache.getlines(file, module_globals)
    # A form feed ends a line for `splitlines`, but for no parser.
    return _parsed("".join(lines)) if lines else None


# functions


def described_arguments(function: Callable[..., Any]) -> dict[str, Described]:
    """Return what the source says of the arguments of a function, by name; {} where there is no source.

    A function that is wrapped is looked for behind its wrappers, as far as these say what they wrap. A source that was
    changed since, so that the arguments are others, says nothing.
    """
    code, module_globals = _code_of(function)
    if code is None or code.co_name == "<lambda>":
        return {}
    source = _source_of(code.co_filename, module_globals)
    node = None if source is None else _function_at(source.tree, code)
    if source is None or node is None:
        return {}
    arguments = list(_arguments(node.args))
    known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    # Names with two underscores are mangled inside of a class.
    if len(arguments) != len(known) or any(not b.endswith(a.arg) for (a, _), b in zip(arguments, known, strict=True)):
        logger.debug("the source of %s is another one by now: its comments are not read", code.co_name)
        return {}
    last = source.closings.get(node.lineno, node.body[0].lineno - 1)
    return {
        argument.arg: Described(
            _type_text(argument.annotation), _text(default), _comment_at(source, _end(argument, default), last)
        )
        for argument, default in arguments
    }


def _code_of(function: Any) -> tuple[CodeType | None, dict[str, Any] | None]:
    while isinstance(function, functools.partial):
        function = function.func
    try:
        function = inspect.unwrap(function)
    except ValueError:
        return None, None
    while isinstance(function, functools.partial):
        function = function.func
    function = getattr(function, "__func__", function)
    if not isinstance(function, FunctionType):
        call = vars(type(function)).get("__call__")
        function = call if isinstance(call, FunctionType) and not isinstance(function, type) else None
    return (None, None) if function is None else (function.__code__, function.__globals__)


def _function_at(tree: ast.Module, code: CodeType) -> _Function | None:
    for node in ast.walk(tree):
        if isinstance(node, _Function) and node.name == code.co_name:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if code.co_firstlineno in (first, node.lineno):
                return node
    return None


def _arguments(arguments: ast.arguments) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    positional = [*arguments.posonlyargs, *arguments.args]
    missing = len(positional) - len(arguments.defaults)
    yield from zip(positional, [*[None] * missing, *arguments.defaults], strict=True)
    yield from zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)


def _end(argument: ast.arg, default: ast.expr | None) -> int:
    ends = [node.end_lineno or 0 for node in (argument, default) if node is not None]
    return max(ends)


def _comment_at(source: _Source, line: int, last: int) -> str | None:
    """Return the comment of a line, and of the lines after it that hold nothing else, before the line `last`."""
    first = source.comments.get(line)
    if first is None:
        return None
    found = [first.text]
    while (line := line + 1) < last and (more := source.comments.get(line)) is not None and more.is_alone:
        found.append(more.text)
    return " ".join(text.lstrip("#").strip() for text in found).strip() or None


def _text(node: ast.expr | None) -> str | None:
    return None if node is None else ast.unparse(node)


def _type_text(node: ast.expr | None) -> str | None:
    # What stands in quotes is meant, not the quotes.
    is_quoted = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return node.value if is_quoted else _text(node)  # type: ignore[union-attr]


# classes


def described_attributes(name: str, frame: FrameType | None) -> dict[str, Described]:
    """Return what the source says of the parameters of the class that `frame` is just defining, by name.

    A parameter is an attribute of the class, or of ``self`` in its ``__init__``, whose line has a comment that begins
    with ``# @p``.
    """
    source = None if frame is None else _source_of(frame.f_code.co_filename, frame.f_globals)
    node = None if source is None or frame is None else _class_at(source.tree, name, frame.f_lineno)
    if source is None or node is None:
        return {}
    found = dict(_declared(source, node.body, None))
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__" and statement.args.args:
            found |= dict(_declared(source, statement.body, statement.args.args[0].arg))
    return found


def _class_at(tree: ast.Module, name: str, line: int) -> ast.ClassDef | None:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == name:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first <= line <= node.body[0].lineno:
                return node
    return None


def _declared(source: _Source, body: list[ast.stmt], owner: str | None) -> Iterator[tuple[str, Described]]:
    for statement in body:
        names = list(_assigned(statement, owner))
        comment = _marked(source, statement) if names else None
        if comment is None:
            continue
        annotation = statement.annotation if isinstance(statement, ast.AnnAssign) else None
        default = statement.value if isinstance(statement, (ast.Assign, ast.AnnAssign)) else None
        for name in names:
            yield (
                name,
                Described(
                    _type_text(annotation), _text(default), comment or None, _literal(default), owner is not None
                ),
            )


def _assigned(statement: ast.stmt, owner: str | None) -> Iterator[str]:
    targets: list[Any] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    for target in targets:
        if owner is None and isinstance(target, ast.Name):
            name = target.id
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == owner:
            name = target.attr
        else:
            continue
        if not name.startswith("_"):
            yield name


def _marked(source: _Source, statement: ast.stmt) -> str | None:
    """Return the help in the comment that makes a statement a parameter, '' for none; None where it is none."""
    last = statement.end_lineno or statement.lineno
    for line in range(last, statement.lineno - 1, -1):
        comment = source.comments.get(line)
        found = None if comment is None else _MARK.match(comment.text)
        if found is None:
            continue
        parts = [found[1]]
        # It goes on over comments that stand further to the right than the attributes do.
        while (
            (last := last + 1)
            and (more := source.comments.get(last)) is not None
            and more.is_alone
            and more.column > statement.col_offset
        ):
            parts.append(more.text.lstrip("#"))
        return " ".join(part.strip() for part in parts).strip()
    return None


def _literal(node: ast.expr | None) -> Any:
    if node is None:
        return None
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
