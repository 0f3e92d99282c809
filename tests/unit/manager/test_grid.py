"""The language of sweeps."""

from __future__ import annotations

from typing import Any

import pytest

from track.errors import IncompatibleYmlException, InvalidCall
from track.manager.grid import Range, combinations, drawn, parse

DEFAULTS = {
    "a": 1, "b": 0.5, "text": "adam", "flag": True, "none": None, "pair": [1, 2.0], "opt": {"x": 1, "y": "q"},
    "_root": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{a: 1 | 2}", {"a": [1, 2]}),
        ("a: 1|2, b: 3", {"a": [1, 2], "b": [3.0]}),
        ("a: 1\nb: 3", {"a": [1], "b": [3.0]}),
        ("{a: 1,\n b: 3,}", {"a": [1], "b": [3.0]}),
        ("{'a': 1, \"b\": 3}", {"a": [1], "b": [3.0]}),
        ("b: 1e-3 | 1 | -.inf", {"b": [1e-3, 1.0, float("-inf")]}),
        ("a: 2.0 | 012 | 0x10", {"a": [2, 12, 16]}),
        ("text: yes | 1e-3 | 012 | 12:30:45 | true", {"text": ["yes", "1e-3", "012", "12:30:45", "true"]}),
        ("text: 'a | b' | \"c, d: {\" | it's", {"text": ["a | b", "c, d: {", "it's"]}),
        ("text: 'it''s | x' | \"a\\\"|\\nb\"", {"text": ["it's | x", 'a"|\nb']}),
        ("text: $(rm -rf /) | `x` y", None),
        ("text: $(rm -rf /) | ../x", {"text": ["$(rm -rf /)", "../x"]}),
        ("text: 1 .. 8", {"text": ["1 .. 8"]}),
        ("text: | null | ~ | 'null'", {"text": [None, None, None, "null"]}),
        ("flag: true | false | 1 | 'False'", {"flag": [True, False, True, False]}),
        ("none: 1e-3 | yes | [1, x] | | true", {"none": [1e-3, "yes", [1, "x"], None, True]}),
        ("pair: [3, 4] | [5, 6]", {"pair": [[3, 4.0], [5, 6.0]]}),
        ("opt: {x: 1} | {x: 2, y: '|'}", {"opt": [{"x": 1, "y": "q"}, {"x": 2, "y": "|"}]}),
        ("a: 1 .. 8", {"a": Range(1, 8)}),
        ("a: 1..8 log", {"a": Range(1, 8, True)}),
        ("b: 1e-5 .. 1e-1 log", {"b": Range(1e-5, 0.1, True)}),
        ("none: 1 .. 8, b: -1 .. 1", {"none": Range(1, 8), "b": Range(-1.0, 1.0)}),
        ("none: 0.5 .. 8", {"none": Range(0.5, 8.0)}),
        ("", {}),
        ("{}", {}),
    ],
)
def test_a_text_is_what_it_says(text: str, expected: dict[str, Any] | None) -> None:
    """Alternatives, ranges, quotes and brackets are read, each value of the type of its default."""
    if expected is None:
        with pytest.raises(IncompatibleYmlException, match="quotes"):
            parse(text, DEFAULTS)
        return

    found = parse(text, DEFAULTS)

    assert repr(found) == repr(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr: 1", "no parameter 'lr'"),
        ("tex: 1", "did you mean 'text'"),
        ("_root: x", "no parameter '_root'"),
        ("a: 1, a: 2", "twice"),
        ("a:1", "blank after the colon"),
        ("a", "blank after the colon"),
        (": 1", "no parameter None"),
        ("a: x", "'x' is not"),
        ("a: True", "True is not"),
        ("flag: maybe", "'maybe' is not"),
        ("flag: 0 .. 1", "is not"),
        ("pair: [1]", "2 elements, not 1"),
        ("pair: [1, x]", r"pair\[1\]"),
        ("opt: {z: 1}", "has no z"),
        ("opt: {x: 1 | 2}", "inside of brackets"),
        ("pair: [1 | 2, 3]", "inside of brackets"),
        ("{a: 1", "lacks '}'"),
        ("a: 1}", "nothing is open"),
        ("pair: [1, 2}", "nothing is open"),
        ("text: 'x", "not closed"),
        ('text: "x\\"', "not closed"),
        ("a: 1.5 .. 2", "whole number"),
        ("a: 8 .. 1", "goes up"),
        ("b: 0 .. 1 log", "above 0"),
        ("b: 1 .. 1e400", "goes up"),
        ("b: 1 .. 2 | 5", "range among alternatives"),
    ],
)
def test_a_text_without_a_sense_is_refused(text: str, message: str) -> None:
    """What cannot be meant is an error that says what is wrong."""
    with pytest.raises(InvalidCall, match=message):
        parse(text, DEFAULTS)


@pytest.mark.parametrize("text", ["text: !!python/object/apply:os.system [true]", "none: !x {a: 1}", "opt: !!set {x}"])
def test_a_tag_is_refused(text: str) -> None:
    """No text makes an object."""
    with pytest.raises(ValueError, match="tag"):
        parse(text, DEFAULTS)


def test_what_no_text_can_say_stays_as_it_is() -> None:
    """A default that stands for an object of the program is not replaced by a text, which nobody would read."""
    with pytest.raises(InvalidCall, match="no text can say"):
        parse("f: x", {"f": "<function f at 0x7f0012ab>"})


def test_a_part_of_a_number_for_a_whole_one_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A number that is not whole stays as it is, with a warning."""
    found = parse("a: 0.5", DEFAULTS)

    assert found == {"a": [0.5]}
    assert "a is a whole number by default" in caplog.text


def test_the_first_parameter_varies_slowest() -> None:
    """The order of the combinations is that of the original."""
    space = parse("{text: x | y, a: 1 | 2}", DEFAULTS)

    found = [tuple(one.values()) for one in combinations(space)]

    assert found == [("x", 1), ("x", 2), ("y", 1), ("y", 2)]


def test_a_range_has_no_combinations() -> None:
    """Without a number of trials there is nothing to make of a range."""
    with pytest.raises(InvalidCall, match="trials=50"):
        combinations(parse("b: 0 .. 1", DEFAULTS))


def test_chance_comes_out_the_same() -> None:
    """One seed makes the same trials, and the first ones of more; another seed makes others."""
    space = parse("{b: 1e-5 .. 1e-1 log, a: 1 .. 8, text: x | y}", DEFAULTS)

    found = [*drawn(space, 20, seed=3)]

    assert found == [*drawn(space, 50, seed=3)][:20]
    assert found != [*drawn(space, 20, seed=4)]
    assert len({repr(one) for one in found}) == 20


@pytest.mark.parametrize(
    "range_", [Range(1, 3), Range(1, 1000, True), Range(1e-5, 0.1, True), Range(-1.0, 1.0), Range(-1e308, 1e308)]
)
def test_what_is_drawn_is_in_the_range(range_: Range) -> None:
    """No value is outside, whole ones are whole, and both halves of a range are reached."""
    found = [one["x"] for one in drawn({"x": range_}, 200, seed=0)]

    assert all(range_.low <= value <= range_.high for value in found)
    assert all(isinstance(value, int) for value in found) is range_.is_whole
    middle = (range_.low * range_.high) ** 0.5 if range_.is_log else range_.low / 2 + range_.high / 2
    assert 60 < sum(value < middle for value in found) < 140 or range_ == Range(1, 3)
