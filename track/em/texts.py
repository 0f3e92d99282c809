"""YAML as runs and artifacts have it: one line a key, its value as JSON is written, so that any reader agrees."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, cast

import msgspec

from track.errors import CorruptJournal, missing_extra
from track.shape import MOST_YAML, check_events, checked
from track.utils.files import open_regular, replace_file
from track.yaml12 import WORDS, flow

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_LINE = re.compile(rb'([A-Za-z_][A-Za-z0-9_.-]*|"(?:[^"\\]|\\.)*"): (.*)')
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')


def parse(text: bytes, place: str = "the text") -> Any:
    """Return the data in a text of YAML; CorruptJournal where it is none, MissingExtra where it takes PyYAML."""
    try:
        return checked(msgspec.json.decode(text), text, place)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _parse_yaml(text, place)


def _parse_yaml(text: bytes, place: str) -> Any:
    try:
        import yaml  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise missing_extra("reading YAML of other programs needs PyYAML", "em") from error
    if len(text) > MOST_YAML:
        raise CorruptJournal(f"{place} cannot be read: {len(text):,} bytes of YAML are more than {MOST_YAML:,}")
    # Plain data only: a file can make nothing else.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        check_events(yaml.parse(text, Loader=loader), place)
        return _as_json(yaml.load(text, Loader=loader))  # noqa: S506
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, CorruptJournal):
            raise
        raise CorruptJournal(f"{place} cannot be read: it is no YAML: {error}") from error


def _as_json(value: Any) -> Any:
    """Return data without what only YAML has: dates and bytes are texts, sets are lists."""
    match value:
        case dict():
            return {key: _as_json(item) for key, item in value.items()}
        case list() | tuple():
            return [_as_json(item) for item in value]
        case set():
            return [_as_json(item) for item in sorted(value, key=str)]
        case date():
            return value.isoformat()
        case bytes():
            return value.decode(errors="backslashreplace")
    return value


def write_mapping(path: str, mapping: Mapping[str, Any]) -> None:
    """Write a file whole: one line a key."""
    plain = {key for key in mapping if _PLAIN_KEY.fullmatch(key) and key.lower() not in WORDS}
    lines = "".join(f"{key if key in plain else flow(key)}: {flow(value)}\n" for key, value in mapping.items())
    _replace(path, lines or "{}\n")


def _replace(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    replace_file(path, [text.encode()], sync=False, follow=False)


def read_mapping(path: str) -> dict[str, Any]:
    """Return the mapping in a YAML file, whoever wrote it; FileNotFoundError, or CorruptJournal where it is none."""
    return parse_mapping(read_content(path), path)


def read_own(path: str) -> dict[str, Any]:
    """Return the mapping in a file that this library wrote once: an empty one was damaged; see `read_mapping`."""
    return parse_mapping(_written(path), path)


def _written(path: str) -> bytes:
    content = read_content(path)
    if not content:
        raise CorruptJournal(f"{path} is empty: it was damaged, as by a machine that lost its power")
    return content


def read_content(path: str) -> bytes:
    """Return what is in a file, as far as it reached when it was opened; UnsafePath where it is none."""
    with open_regular(path) as file:
        return file.read(os.fstat(file.fileno()).st_size)


def parse_mapping(content: bytes, place: str) -> dict[str, Any]:
    """Return the mapping in the bytes of a YAML file; `place` names it in messages."""
    try:
        return _own_lines(content, place)
    except CorruptJournal:
        raise
    except (ValueError, RecursionError):
        found = _parse_yaml(content, place)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise CorruptJournal(f"{place} should hold a mapping, not {type(found).__name__}")
    return {str(key): value for key, value in found.items()}


def _own_lines(content: bytes, place: str) -> dict[str, Any]:
    found = {}
    for line in () if content == b"{}\n" else content.splitlines():
        parts = _LINE.fullmatch(line)
        if parts is None:
            raise ValueError("not a line of ours")
        key = json.loads(parts[1]) if parts[1].startswith(b'"') else parts[1].decode()
        found[key] = msgspec.json.decode(parts[2])
    return cast("dict[str, Any]", checked(found, content, place))


def write_list(path: str, items: Iterable[Any]) -> None:
    """Write a file whole: one line an item."""
    lines = "".join(f"- {flow(item)}\n" for item in items)
    _replace(path, lines or "[]\n")


def append_list(path: str, items: Iterable[Any]) -> None:
    """Add items to a list that `can_grow`, in one write."""
    with open(path, "ab", buffering=0) as file:
        file.write("".join(f"- {flow(item)}\n" for item in items).encode())


def can_grow(path: str) -> bool:
    """Return whether lines can be added to a file: it is a list with one item a line, and the last one is whole."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            return file.read(3) == b"- {" and os.pread(file.fileno(), 1, size - 1) == b"\n"
    except FileNotFoundError:
        return False


def read_list(path: str) -> list[Any]:
    """Return the list in a YAML file, whoever wrote it, without a last line over which a process was killed.

    CorruptJournal where it is none, or empty: a list without items is written as one.
    """
    content = _written(path)
    lines = content.splitlines()
    if lines and not content.endswith(b"\n") and is_torn(lines[-1]):
        del lines[-1]
    try:
        found: Any = [msgspec.json.decode(line.removeprefix(b"- ")) for line in lines if line != b"[]"]
        return cast("list[Any]", checked(found, content, path))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = _parse_yaml(content, path)
    if not isinstance(found, list):
        raise CorruptJournal(f"{path} should hold a list, not {type(found).__name__}")
    return found


def is_torn(line: bytes) -> bool:
    """Return whether a last line without its newline is an item of a list that was not written to its end."""
    bare = _STRING.sub(b"", line)
    return b"- {".startswith(line[:3]) and not (bare.endswith(b"}") and bare.count(b"{") == bare.count(b"}"))
