"""The one dialect of YAML: read as version 1.2 says, plain data only; written so that readers of 1.1 agree.

Writing needs no package; PyYAML is imported when something is read.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from track.errors import CorruptJournal, IncompatibleYmlException, missing_extra
from track.plain import LEAVES
from track.shape import MOST_YAML, check_events

# Readers of YAML take these for other than what they are, or refuse them, where they stand as they are.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
"""What a reader of some version takes for no text, in any case."""
_PLAIN = re.compile(r"[A-Za-z_/](?:[A-Za-z0-9_./+@=-]| (?=[A-Za-z0-9_./+@=-]))*")
_COMMENT = re.compile(r"(?:^|\s)#\s?(.*)")
_WIDEST = 100
_SHORT = 100
_TAG = "tag:yaml.org,2002:"
_CORE = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", "<<", ["<"]),
)
_quote = json.encoder.encode_basestring


class Commented(dict[Any, Any]):
    """A mapping that was read, with the comment that stands beside each key, as far as there is one."""

    def __init__(self, mapping: Mapping[Any, Any] = {}, comments: Mapping[Any, str] = {}) -> None:
        super().__init__(mapping)
        self.comments: dict[Any, str] = dict(comments)


# writing


def flow(value: Any) -> str:
    """Return JSON-like data in one line of YAML, such as ``{"lr": 1.0e-05, "best": .inf, "name": "yes"}``."""
    if type(value) is str:
        quoted = _quote(value)
        return quoted if quoted.isascii() and "\x7f" not in quoted else _UNPRINTABLE.sub(_escape, quoted)
    match value:
        case str():
            return flow(str.__str__(value))
        case None | True | False:
            return json.dumps(value)
        case int() | float():
            return number_text(value)
        case Mapping():
            return "{" + ", ".join(f"{flow(str(key))}: {flow(item)}" for key, item in value.items()) + "}"
        case _:
            return "[" + ", ".join(map(flow, value)) + "]"


def _escape(found: re.Match[str]) -> str:
    # Half of a pair, as in a file name of another encoding, is nothing that a reader of YAML takes.
    code = ord(found[0])
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else f"\\u{code:04x}"


def number_text(value: float) -> str:
    """Return a number as YAML 1.1 reads it back: an exponent needs a dot before it."""
    text = repr(value)
    if value - value != 0:
        return f"{'-' if text[0] == '-' else ''}.{text.lstrip('-')}"
    if "e" in text and "." not in text:
        return text.replace("e", ".0e")
    return text


def dump(mapping: Mapping[Any, Any], comments: Mapping[Any, str] | None = None) -> str:
    """Return a mapping of plain data as a text of YAML, an entry a line, each with its comment where it has one.

    Examples
    --------
    >>> print(dump({"lr": 1e-05, "name": "yes", "best": None, "opt": {"depth": 2}}, {"lr": "the step"}), end="")
    lr: 1.0e-05  # the step
    name: "yes"
    best:
    opt:
      depth: 2
    """
    if not mapping:
        return "{}\n"
    if comments is None:
        comments = getattr(mapping, "comments", {})
    lines: list[str] = []
    for key, value in mapping.items():
        _add_entry(lines, key, value, "", comments.get(key))
    return "".join(lines)


def _add_entry(lines: list[str], key: Any, value: Any, indent: str, comment: str | None = None) -> None:
    head, kind = f"{indent}{scalar(key)}:", type(value)
    tail = f"  # {_UNPRINTABLE.sub(' ', ' '.join(comment.split()))}" if comment else ""
    if value is None:
        lines.append(f"{head}{tail}\n")
    elif kind in LEAVES:
        lines.append(f"{head} {scalar(value)}{tail}\n")
    elif (kind is dict or isinstance(value, Mapping)) and value:
        lines.append(f"{head}{tail}\n")
        for inner, item in value.items():
            _add_entry(lines, inner, item, f"{indent}  ")
    elif isinstance(value, (list, tuple)) and len(line := f"{head} {_line(value)}") > _WIDEST and value:
        lines.append(f"{head}{tail}\n")
        lines.extend(f"{indent}- {_line(item)}\n" for item in value)
    else:
        lines.append(f"{line if isinstance(value, (list, tuple)) else f'{head} {_line(value)}'}{tail}\n")


def _line(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_line, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{scalar(key)}: {_line(item)}' for key, item in value.items())}}}"
    return scalar(value)


def scalar(value: Any) -> str:
    """Return one value as it stands in a line: text without quotes where every reader takes it for text.

    Examples
    --------
    >>> scalar("adam"), scalar("no"), scalar("012"), scalar("12:30:45"), scalar(True)
    ('adam', '"no"', '"012"', '"12:30:45"', 'true')
    """
    if isinstance(value, str):
        text = str.__str__(value)
        return _known_text(text) if len(text) <= _SHORT else _text(text)
    return flow(value)


def _text(text: str) -> str:
    return text if _PLAIN.fullmatch(text) and text.lower() not in WORDS else flow(text)


# What is said of a machine and of a program is the same in many files.
_known_text = functools.lru_cache(maxsize=1024)(_text)


# reading


def load(text: str | bytes, place: str = "the text") -> Any:
    """Return the data in a text of YAML 1.2.

    Raises
    ------
    IncompatibleYmlException
        It is no YAML; it holds more than plain data (a tag, which is named), or a key twice; or it stands for more
        than a program should hold.
    MissingExtra
        PyYAML is not installed.

    Examples
    --------
    >>> load("{a: 1e-3, b: yes, c: 012, d: 12:30:45, e: }")
    {'a': 0.001, 'b': 'yes', 'c': 12, 'd': '12:30:45', 'e': None}
    """
    loader = _opened(text, place)
    try:
        return _read(loader.get_single_data, place)
    finally:
        loader.dispose()


def load_mapping(text: str | bytes, place: str = "the text") -> Commented:
    """Return the mapping in a text of YAML 1.2, with its comments; see `load`. An empty text is an empty one."""
    if isinstance(text, bytes):
        text = str(_read(partial(text.decode, "utf-8-sig"), place))
    loader = _opened(text, place)
    try:
        node = _read(loader.get_single_node, place)
        data = None if node is None else _read(lambda: loader.construct_document(node), place)
        if data is None:
            return Commented()
        if not isinstance(data, dict):
            raise IncompatibleYmlException(f"{place} should hold a mapping, not {type(data).__name__}")
        return Commented(data, {} if node.flow_style else _comments(node, text))
    finally:
        loader.dispose()


def texts(text: str) -> dict[str, str]:
    """Return how the plain values of a mapping are written, by key: ``012``, which `load` takes for a number."""
    loader = _opened(text, "the text")
    try:
        node = _read(loader.get_single_node, "the text")
        pairs = node.value if isinstance(getattr(node, "value", None), list) and node.id == "mapping" else ()
        return {key.value: value.value for key, value in pairs if key.id == value.id == "scalar" and not value.style}
    finally:
        loader.dispose()


def _comments(node: Any, text: str) -> dict[Any, str]:
    lines = text.splitlines()
    found = {}
    for key, value in node.value:
        # A block stands below its key; after a value on one line comes the comment.
        end = value.end_mark if value.id == "scalar" or value.flow_style else key.end_mark
        if end.line < len(lines) and (comment := _COMMENT.search(lines[end.line], end.column)):
            found[key.value] = comment[1].strip()
    return found


def _opened(text: str | bytes, place: str) -> Any:
    if len(text) > MOST_YAML:
        raise IncompatibleYmlException(f"{place} cannot be read: it has more than {MOST_YAML:,} bytes")
    kind = _loader()
    yaml = _package()
    _read(lambda: check_events(yaml.parse(text, Loader=kind), place), place)
    return kind(text)


def _read(action: Any, place: str) -> Any:
    yaml = _package()
    try:
        return action()
    except IncompatibleYmlException:
        raise
    except yaml.constructor.ConstructorError as error:
        raise IncompatibleYmlException(f"{place} cannot be read: {error.problem}{_where(error)}") from error
    except (yaml.YAMLError, CorruptJournal, ValueError, OverflowError, RecursionError, TypeError) as error:
        said = str(error) if isinstance(error, CorruptJournal) else f"{place} is no YAML: {error}"
        raise IncompatibleYmlException(said) from error


def _where(error: Any) -> str:
    mark = error.problem_mark
    return "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"


def _package() -> Any:
    try:
        import yaml  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise missing_extra("reading YAML needs PyYAML", "experiments") from error
    return yaml


@functools.cache
def _loader() -> Any:
    """Return the class that reads: PyYAML's scanner, in C where there is one, with the types of YAML 1.2."""
    yaml = _package()

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}
        yaml_constructors: ClassVar[dict[Any, Any]] = {}

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            _require_unique(node)
            found: dict[Any, Any] = super().construct_mapping(node, deep)
            return found

    for name, pattern, first in _CORE:
        Loader.add_implicit_resolver(_TAG + name, re.compile(rf"(?:{pattern})\Z"), first)
    safe = yaml.SafeLoader.yaml_constructors
    for name in ("seq", "map", "str"):
        Loader.add_constructor(_TAG + name, safe[_TAG + name])
    for name, read in (("null", _as_null), ("bool", _as_bool), ("int", _as_int), ("float", _as_float)):
        Loader.add_constructor(_TAG + name, functools.partial(_constructed, read))
    Loader.add_constructor(None, _refuse_tag)
    return Loader


def _constructed(read: Any, loader: Any, node: Any) -> Any:
    return read(loader.construct_scalar(node))


def _as_null(text: str) -> None:
    if text not in ("", "~", "null", "Null", "NULL"):
        raise ValueError(f"{text!r} is not null")


def _as_bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def _as_int(text: str) -> int:
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    return int(text, base)


def _as_float(text: str) -> float:
    special = text.lower().lstrip("+-")
    return float(text.replace(".", "", 1) if special in (".inf", ".nan") else text)


def _refuse_tag(loader: Any, node: Any) -> Any:
    name = node.tag.replace(_TAG, "!!")
    raise IncompatibleYmlException(
        f"the tag {name!r} is refused (line {node.start_mark.line + 1}): only plain data is read"
    )


def _require_unique(node: Any) -> None:
    seen = set()
    for key, _ in node.value:
        name = (key.tag, key.value if isinstance(key.value, str) else id(key))
        if name in seen:
            raise IncompatibleYmlException(f"the key {key.value!r} is there twice (line {key.start_mark.line + 1})")
        seen.add(name)
