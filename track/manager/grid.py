"""The language of sweeps: a text such as ``{opt: adam | sgd, lr: 1e-5 .. 1e-1 log}`` as alternatives of parameters."""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from track.errors import IncompatibleYmlException, InvalidCall, suggestion
from track.parameters import cast, is_text_of_object
from track.shown import shown
from track.yaml12 import load, texts

_OPEN, _CLOSING = {"[": "]", "{": "}"}, "]}"
_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_RANGE = re.compile(rf"({_NUMBER})\s*\.\.\s*({_NUMBER})(?:\s+(log))?")
_DIGITS = 6


@dataclass(frozen=True)
class Range:
    """The numbers between two, both of them too.

    Parameters
    ----------
    low, high: int or float
        Whole numbers where the parameter is one.
    is_log: bool
        Whether equal ratios are equally likely, rather than equal differences.
    """

    low: int | float
    high: int | float
    is_log: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether its numbers are whole."""
        return isinstance(self.low, int)

    def drawn(self, chance: random.Random) -> int | float:
        """Return one of them; of those that are not whole, one that is written with a few digits."""
        low, high = float(self.low), float(self.high)
        if self.is_whole and not self.is_log:
            return chance.randint(int(self.low), int(self.high))
        if self.is_whole:
            low, high = low - 0.5, high + 0.5
        if self.is_log:
            value = math.exp(chance.uniform(math.log(low), math.log(high)))
        else:
            # Not uniform(): the difference of two doubles may be infinite.
            part = chance.random()
            value = low * (1 - part) + high * part
        value = round(value) if self.is_whole else float(f"{value:.{_DIGITS}g}")
        return min(max(value, self.low), self.high)


Space = dict[str, "Range | list[Any]"]
"""For each parameter, in the order written, a range or its alternatives; what stands alone is one alternative."""


def parse(text: str, defaults: Mapping[str, Any]) -> Space:
    """Return what a text says of parameters, each value of the type that its default has.

    Parameters
    ----------
    text: str
        A mapping of YAML; the outer braces may be left out. ``|`` stands between alternatives, ``..`` between the ends
        of a range.
    defaults: mapping
        The parameters that there are.

    Raises
    ------
    InvalidCall
        It is no such text, there is no such parameter, or a value does not fit its default (a ValueError too).
    IncompatibleYmlException
        A value is more than plain data (a ValueError too).

    Examples
    --------
    >>> parse("{a: 1 | 2, b: yes | 'x | y', c: 1e-3 .. 1 log}", {"a": 0.5, "b": "", "c": 0.1})
    {'a': [1.0, 2.0], 'b': ['yes', 'x | y'], 'c': Range(low=0.001, high=1.0, is_log=True)}
    """
    space: Space = {}
    for entry in _entries(text):
        name, value = _key_and_value(entry)
        if name not in defaults or str(name).startswith("_"):
            known = [str(one) for one in defaults if not str(one).startswith("_")]
            hint = suggestion(str(name), known)
            raise InvalidCall(f"there is no parameter {shown(name)}{hint}; there are: {', '.join(known) or 'none'}")
        if name in space:
            raise InvalidCall(f"the parameter {shown(name)} is there twice")
        space[name] = _alternatives(name, value, defaults[name])
    return space


MOST = 1_000_000
"""Combinations that are registered at once; more are a slip of somebody who will not want as many folders."""


def combinations(space: Space) -> Iterator[dict[str, Any]]:
    """Yield each combination of alternatives; the first parameter varies slowest.

    Raises
    ------
    InvalidCall
        There is a range, which has no end of them (a ValueError too).
    """
    ranges = [name for name, values in space.items() if isinstance(values, Range)]
    if ranges:
        raise InvalidCall(
            f"{', '.join(ranges)} is a range: say how many trials, as in register(..., trials=50), or exp sweep -t 50"
        )
    choices: list[Any] = list(space.values())
    count = math.prod(map(len, choices))
    if count > MOST:
        raise InvalidCall(
            f"these are {count:,} combinations, and {MOST:,} are the most: register(..., trials=50), or "
            "exp sweep -t 50, draws some at random"
        )
    return (dict(zip(space, chosen, strict=True)) for chosen in itertools.product(*choices))


def drawn(space: Space, trials: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield combinations that are drawn at random: the same for the same seed, and the first ones for any number."""
    for index in range(trials):
        chance = random.Random(f"{seed}:{index}")  # noqa: S311 - no secret: it is to come out the same again
        yield {
            name: values.drawn(chance) if isinstance(values, Range) else chance.choice(values)
            for name, values in space.items()
        }


# reading


def _entries(text: str) -> list[str]:
    """Return the entries of the outermost mapping, as they are written."""
    text = text.strip()
    separators = ","
    if text.startswith("{") and _end_of(text) == len(text) - 1:
        text = text[1:-1]
    else:
        separators = ",\n"
    return [entry.strip() for entry in _split(text, separators) if entry.strip()]


def _end_of(text: str) -> int:
    """Return where what the first character opens is closed."""
    for position, _, depth in _outside(text):
        if depth == 0 and position > 0 and text[position] in _CLOSING:
            return position
    return -1


def _outside(text: str) -> Iterator[tuple[int, str, int]]:
    """Yield position, character and depth of what stands outside of quotes; what closes has the depth outside of it."""
    expected: list[str] = []
    position, may_quote = 0, True
    while position < len(text):
        character = text[position]
        if character in "'\"" and may_quote:
            position = _after_quote(text, position)
            may_quote = False
            continue
        if character in _OPEN:
            yield position, character, len(expected)
            expected.append(_OPEN[character])
        else:
            if character in _CLOSING and (not expected or expected.pop() != character):
                raise InvalidCall(f"{shown(text)} has {character!r} where nothing is open that it closes")
            yield position, character, len(expected)
        # A quote inside of a word, as in it's, is a letter.
        may_quote = may_quote if character.isspace() else character in ",[{:|"
        position += 1
    if expected:
        raise InvalidCall(f"{shown(text)} lacks {''.join(reversed(expected))!r}")


def _after_quote(text: str, start: int) -> int:
    quote, position = text[start], start + 1
    while position < len(text):
        if text[position] == "\\" and quote == '"':
            position += 2
        elif text[position] != quote:
            position += 1
        elif quote == "'" and text[position + 1 : position + 2] == "'":
            position += 2
        else:
            return position + 1
    raise InvalidCall(f"{shown(text)} has a quote {quote} that is not closed")


def _split(text: str, separators: str) -> list[str]:
    """Return the parts of a text between separators that stand outside of quotes and brackets."""
    parts, start = [], 0
    for position, character, depth in _outside(text):
        if depth == 0 and character in separators:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]


def _key_and_value(entry: str) -> tuple[Any, str]:
    for position, character, depth in _outside(entry):
        if depth == 0 and character == ":" and not entry[position + 1 : position + 2].strip():
            key = entry[:position].strip()
            return (load(key, "the name of a parameter") if key else None), entry[position + 1 :].strip()
    raise InvalidCall(f"{shown(entry)} should read 'name: value', with a blank after the colon")


def _alternatives(name: str, text: str, default: Any) -> Range | list[Any]:
    if is_text_of_object(default):
        raise InvalidCall(f"{name} is {shown(default, 60)}, which no text can say: set it in the program")
    for _, character, depth in _outside(text):
        if character == "|" and depth > 0:
            raise InvalidCall(
                f"{name} has '|' inside of brackets, {shown(text)}: alternatives are whole values, as in "
                f"{name}: [1, 2] | [1, 3]"
            )
    parts = [part.strip() for part in _split(text, "|")]
    is_number = default is None or (isinstance(default, (int, float)) and not isinstance(default, bool))
    found = [_RANGE.fullmatch(part) for part in parts] if is_number else []
    if any(found):
        if len(parts) > 1:
            raise InvalidCall(f"{name} has a range among alternatives: {shown(text)}")
        return _range(name, found[0], default)
    return [_value(name, part, default) for part in parts]


def _range(name: str, found: Any, default: Any) -> Range:
    low, high = (load(end) for end in found.group(1, 2))
    is_whole = isinstance(default, int) or (default is None and isinstance(low, int) and isinstance(high, int))
    if is_whole and not (float(low).is_integer() and float(high).is_integer()):
        raise InvalidCall(f"{name} is a whole number, and its range ends at {low} and {high}")
    low, high = (int(low), int(high)) if is_whole else (float(low), float(high))
    if not (low <= high and math.isfinite(low) and math.isfinite(high)):
        raise InvalidCall(f"the range of {name} goes up: {high} .. {low}, not {found[0]}")
    if found[3] and low <= 0:
        raise InvalidCall(f"the range of {name} is logarithmic, so it begins above 0, not at {low}")
    return Range(low, high, bool(found[3]))


def _value(name: str, text: str, default: Any) -> Any:
    try:
        value = load(text, name)
        written = texts(f"k: {text}").get("k")
    except IncompatibleYmlException as error:
        raise IncompatibleYmlException(f"{error} (a text may stand in quotes)") from error
    return cast(name, value, default, written)
