"""One dialect of YAML: readers of 1.1 and 1.2 find what was written, and nothing but plain data is read."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.children import python
from track.errors import IncompatibleYmlException
from track.yaml12 import Commented, dump, load, load_mapping, scalar, texts

yaml = pytest.importorskip("yaml")

# PyYAML refuses a key of more than 1,024 characters, and half of a pair is nothing that a text can hold.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
HOSTILE = (
    "yes",
    "No",
    "on",
    "OFF",
    "y",
    "n",
    "true",
    "Null",
    "~",
    "",
    " ",
    "1e-3",
    "1e3",
    "012",
    "0o17",
    "0x1f",
    "0b11",
    "1_000",
    "12:30:45",
    "2024-01-01",
    "2024-01-01 00:00:00",
    ".5",
    ".inf",
    "-.INF",
    ".nan",
    "+1",
    "-",
    "- a",
    "a: b",
    "a #b",
    "#a",
    "a | b",
    "|",
    ">",
    "&a",
    "*a",
    "!tag",
    "%a",
    "@a",
    "`a`",
    "'a'",
    '"a"',
    "{a: 1}",
    "[a]",
    "a,b",
    "?",
    ":",
    "a:",
    "<<",
    "=",
    "a\nb",
    "a\r\nb",
    "\ta",
    "a ",
    " a",
    "..",
    "---",
    "...",
    "$(rm -rf /)",
    "`id`",
    "x" * 300,
    "é",
    "日本",
    "\u2028",
    "\ufeffa",
    "\x00\x07",
    "\x85",
    "😀",
    "a  b",
    "a\\b",
    "C:\\new",
    "1.0.0",
    "1,000",
    "0.1.",
    "1e",
    "e1",
    "None",
    "True",
)


def _same(one: Any, other: Any) -> bool:
    """Return whether two values are the same, NaN and types included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float):
        return repr(one) == repr(other)
    return bool(one == other)


@given(st.dictionaries(TEXT, DATA, max_size=5))
@example({"a": {"b": {}}, "c": [], "d": [[], {}], "e": -0.0})
def test_what_is_written_is_read(data: dict[str, Any]) -> None:
    """Any plain data comes back, with its types, and as itself for a reader of YAML 1.1."""
    text = dump(data)

    assert _same(load_mapping(text) if data else load(text), Commented(data) if data else data)
    assert _same(yaml.safe_load(text), data)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text: str) -> None:
    """What looks like something else to some reader is text for all of them, as key, as value, in a list."""
    written = dump({text: text, "inside": {"a": [text, {text: text}]}})

    for found in (dict(load_mapping(written)), yaml.safe_load(written)):
        assert found == {text: text, "inside": {"a": [text, {text: text}]}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E+5", 1e5),
        ("yes", "yes"),
        ("on", "on"),
        ("012", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("TRUE", True),
        ("False", False),
        ("~", None),
        ("Null", None),
        ("", None),
        (".5", 0.5),
        ("5.", 5.0),
        ("+.inf", math.inf),
        ("-.Inf", -math.inf),
        ("-0.0", -0.0),
        ("2147483648123456789012", 2147483648123456789012),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("!!float 1", 1.0),
        ("=", "="),
        ("tRUE", "tRUE"),
    ],
)
def test_scalars_are_those_of_version_1_2(text: str, value: Any) -> None:
    """The core schema, and no more: no sixties, no dates, no words of 1.1."""
    assert _same(load(f"a: {text}")["a"], value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("!!python/object/apply:os.system ['touch owned']", "!!python/object/apply:os.system"),
        ("a: !!python/name:os.system", "!!python/name:os.system"),
        ("a: !mine 1", "!mine"),
        ("a: !!binary aGVsbG8=", "!!binary"),
        ("a: !!set {b}", "!!set"),
        ("a: !!timestamp 2024-01-01", "!!timestamp"),
        ("a: 1\nb: 2\na: 3", "'a' is there twice"),
        ("{a: {b: 1, b: 2}}", "'b' is there twice"),
        ("a: [", "no YAML"),
        ("a: b: c", "no YAML"),
        ("\t- a", "no YAML"),
        ("a: *b", "no YAML"),
        ("a: &a [*a]", "contains itself"),
        ("? [a, b]\n: 1", "no YAML|cannot be read"),
        ("a: !!int x", "no YAML"),
        ("a: !!bool yes", "neither true nor false"),
        ("a: " + "9" * 6000, "digits"),
        ("[" * 2000, "deep|depth"),
        ("a: 1\n---\nb: 2", "no YAML"),
    ],
    ids=range(19),
)
def test_more_than_plain_data_is_refused(text: str, said: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tag, a key that is there twice, a loop, a flood: one error that names it, and nothing is run."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(IncompatibleYmlException, match=said):
        load(text)

    assert not list(tmp_path.iterdir())


def test_laughs_are_not_expanded() -> None:
    """A few lines that stand for billions of values are refused before anything is made."""
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]

    with pytest.raises(IncompatibleYmlException, match="repeat"):
        load("\n".join(lines))


def test_merged_mappings_are_read() -> None:
    """``<<`` means another mapping, as files of others have it; a key of one's own wins."""
    assert load("base: &b {x: 1, y: 2}\nc:\n  <<: *b\n  x: 3")["c"] == {"x": 3, "y": 2}


def test_comments_of_keys_are_kept() -> None:
    """A mapping that is read and written again has the comments that it had."""
    text = 'a: 1  # first\nb:  # a block\n  c: "#no"\nd: "x # y"  # yes\ne: [1, 2]  # list\nf:  # nothing\n'

    found = load_mapping(text)

    assert found.comments == {"a": "first", "b": "a block", "d": "yes", "e": "list", "f": "nothing"}
    assert dump(found) == text


def test_a_comment_stays_in_its_line() -> None:
    """A help of several lines, or with what ends a line for some reader, is one comment."""
    text = dump({"a": 1, "b": 2}, {"a": "one\ntwo\u2028three\x85four # five"})

    assert load(text) == yaml.safe_load(text) == {"a": 1, "b": 2}


def test_long_lists_are_blocks() -> None:
    """A list that does not fit into a line has a line an item."""
    data = {"a": [f"item {number}" for number in range(30)], "b": [{"c": [1, "x: y"]}] * 9}

    text = dump(data)

    assert text.startswith("a:\n- item 0\n- item 1\n")
    assert load(text) == yaml.safe_load(text) == data


def test_texts_says_how_values_are_written() -> None:
    """What YAML takes for a number is had as it stands; what is in quotes is text anyway."""
    assert texts("{a: 012, b: '012', c: 1e-3, d: [1], e: , f: x}") == {"a": "012", "c": "1e-3", "e": "", "f": "x"}


@pytest.mark.parametrize("value", [b"bytes: 1", "bytes: 1", "\ufeffbytes: 1", b"\xef\xbb\xbfbytes: 1"])
def test_bytes_and_marks_are_read(value: Any) -> None:
    """Bytes are UTF-8, with or without a mark."""
    assert load_mapping(value) == {"bytes": 1}


def test_bytes_that_are_no_text_are_refused() -> None:
    """What is not UTF-8 is an error that names the place."""
    with pytest.raises(IncompatibleYmlException, match="here"):
        load_mapping(b"a: \xff\xfe", "here")


@pytest.mark.parametrize("text", ["- 1", "just text", "3"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    """Where a mapping is meant, anything else is an error; an empty text is an empty one."""
    with pytest.raises(IncompatibleYmlException, match="mapping"):
        load_mapping(text)
    assert load_mapping("") == load_mapping("# nothing\n") == {}


def test_scalar_of_a_subclass_is_its_text() -> None:
    """A text of a class of its own is written as text."""

    class Text(str):
        __slots__ = ()

    assert scalar(Text("adam")) == "adam"
    assert scalar(Text("no")) == '"no"'


def test_nothing_is_imported_to_write() -> None:
    """Writing takes no package, and reading says which one it takes."""
    script = (
        "import sys; sys.modules['yaml'] = None; from track.yaml12 import dump, load; print(dump({'a': 1}))\n"
        "try: load('a: 1')\nexcept ImportError as error: print(error)"
    )

    done = python("-c", script)

    assert done.stdout.startswith("a: 1\n\nreading YAML needs PyYAML")
    assert sys.executable
