"""YAML as runs and artifacts have it: one line a key, its value as JSON is written, so that any reader agrees."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from track.errors import CorruptJournal, missing_extra
from track.utils.files import replace_file

# Readers of YAML take these for other than what they are, or refuse them, where they stand as they are.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
_LINE = re.compile(rb'([A-Za-z_][A-Za-z0-9_.-]*|"(?:[^"\\]|\\.)*"): (.*)')
_quote = json.JSONEncoder(ensure_ascii=False).encode


def flow(value: Any) -> str:
    """Return JSON-like data in one line of YAML, such as ``{"lr": 1.0e-05, "best": .inf, "name": "yes"}``."""
    match value:
        case str():
            return _UNPRINTABLE.sub(_escape, _quote(value))
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


def parse(text: bytes, place: str = "the text") -> Any:
    """Return the data in a text of YAML; CorruptJournal where it is none, MissingExtra where it takes PyYAML."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _parse_yaml(text, place)


def _parse_yaml(text: bytes, place: str) -> Any:
    try:
        import yaml  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise missing_extra("reading YAML of other programs needs PyYAML", "em") from error
    try:
        # Plain data only: a file can make nothing else.
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except (yaml.YAMLError, ValueError) as error:
        raise CorruptJournal(f"{place} cannot be read: it is no YAML: {error}") from error


def write_mapping(path: str, mapping: Mapping[str, Any]) -> None:
    """Write a file whole: one line a key."""
    plain = {key for key in mapping if _PLAIN_KEY.fullmatch(key) and key.lower() not in _WORDS}
    lines = "".join(f"{key if key in plain else flow(key)}: {flow(value)}\n" for key, value in mapping.items())
    _replace(path, lines or "{}\n")


def _replace(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    replace_file(path, [text.encode()], sync=False, follow=False)


def read_mapping(path: str) -> dict[str, Any]:
    """Return the mapping in a YAML file, whoever wrote it; FileNotFoundError, or CorruptJournal where it is none."""
    with open(path, "rb") as file:
        return parse_mapping(file.read(), path)


def parse_mapping(content: bytes, place: str) -> dict[str, Any]:
    """Return the mapping in the bytes of a YAML file; `place` names it in messages."""
    try:
        return _own_lines(content)
    except ValueError:
        found = _parse_yaml(content, place)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise CorruptJournal(f"{place} should hold a mapping, not {type(found).__name__}")
    return {str(key): value for key, value in found.items()}


def _own_lines(content: bytes) -> dict[str, Any]:
    found = {}
    for line in () if content == b"{}\n" else content.splitlines():
        parts = _LINE.fullmatch(line)
        if parts is None:
            raise ValueError("not a line of ours")
        key = json.loads(parts[1]) if parts[1].startswith(b'"') else parts[1].decode()
        found[key] = msgspec.json.decode(parts[2])
    return found


def write_list(path: str, items: Iterable[Any]) -> None:
    """Write a file whole: one line an item."""
    lines = "".join(f"- {flow(item)}\n" for item in items)
    _replace(path, lines or "[]\n")


def read_list(path: str) -> list[Any]:
    """Return the list in a YAML file, whoever wrote it; see `read_mapping`."""
    with open(path, "rb") as file:
        content = file.read()
    try:
        return [msgspec.json.decode(line.removeprefix(b"- ")) for line in content.splitlines() if line != b"[]"]
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = _parse_yaml(content, path)
    if not isinstance(found, list):
        raise CorruptJournal(f"{path} should hold a list, not {type(found).__name__}")
    return found
