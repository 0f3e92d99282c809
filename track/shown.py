"""Short texts of values, for a `repr` or a message: of bounded length and cost, and never an error."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable
from itertools import islice
from typing import Any

LONGEST_REPR = 280
LONGEST_TEXT = 2000
LONGEST_WORD = 1000
LONGEST_MESSAGE = 8000
_LONG_WORD = re.compile(rf"\S{{{LONGEST_WORD},}}")
_LONGEST_INTEGER = 2000
_SHOWN_WHOLE = 12


class _Short(reprlib.Repr):
    """As `reprlib`, but dictionaries keep their order, and an integer that Python refuses to write says its size."""

    def __init__(self) -> None:
        super().__init__()
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdeque = 8
        self.maxstring = self.maxother = self.maxlong = 80

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        if level <= 0:
            return "{...}"
        items = [f"{self.repr1(key, level - 1)}: {self.repr1(x[key], level - 1)}" for key in islice(x, self.maxdict)]
        return "{" + ", ".join([*items, "..."] if len(x) > self.maxdict else items) + "}"

    def repr_int(self, x: int, level: int) -> str:
        size = x.bit_length()
        return repr(x) if size < _LONGEST_INTEGER else f"<an integer of {size} bits>"


_short = _Short()


def shown(value: Any, size: int = LONGEST_REPR) -> str:
    """Return the beginning of a value's `repr`, of `size` characters at most.

    Examples
    --------
    >>> shown(list(range(1_000_000)))
    '[0, 1, 2, 3, 4, 5, 6, 7, ...]'
    """
    try:
        return cut(_short.repr(value), size)
    except Exception as error:  # noqa: BLE001 - what an object does when it is asked must not stop a training
        return cut(f"<{type(value).__name__}: its repr failed with {type(error).__name__}>", size)


def cut(text: str, size: int = LONGEST_REPR) -> str:
    """Return the text, or its beginning and dots where it is longer than `size`."""
    return text if len(text) <= size else f"{text[: size - 3]}..."


def clean(text: str, size: int = LONGEST_TEXT) -> str:
    r"""Return text of somebody else's on one line, without control characters, of `size` characters at most.

    Examples
    --------
    >>> clean("ann\x1b[2J\nroot")
    'ann\\x1b[2J\\nroot'
    """
    if len(text) > size:
        text = f"{text[: size // 2]}...{text[-size // 2 :]}"
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def bounded(message: str) -> str:
    """Return a message in which nothing that somebody has named is repeated beyond what a person would read.

    Examples
    --------
    >>> len(bounded(f"no trial {'x' * 100_000!r} is stored"))
    622
    """
    if len(message) <= LONGEST_WORD:
        return message
    message = _LONG_WORD.sub(lambda found: f"{found[0][:400]}...{found[0][-200:]}", message)
    return message if len(message) <= LONGEST_MESSAGE else f"{message[:6000]}...{message[-1000:]}"


def text_of(value: Any) -> str:
    """Return ``str(value)``; where that fails, a text that says so.

    Examples
    --------
    >>> text_of(0.5)
    '0.5'
    """
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - as in `shown`
        return f"<{type(value).__name__}: its text failed with {type(error).__name__}>"


def short_uid(trial: Any) -> str:
    """Return what a person needs of a trial's uid."""
    return f"{trial.hash[:12]}…_{trial.revision}"


def label_of(trial: Any) -> str:
    """Return what messages call a trial: its name, or the beginning of its uid where it has none."""
    return cut(text_of(trial.name or short_uid(trial)), 100)


def listed(item: Callable[[int], str], size: int, what: str) -> str:
    """Return the texts of `size` items, or of the first, the last and how many there are, where they are many or long.

    Examples
    --------
    >>> listed(str, 3, "values"), listed(str, 92, "values")
    ('0, 1, 2', '0, 1, 2, ... 91 (92 values)')
    """
    if size <= _SHOWN_WHOLE:
        text = ", ".join(map(item, range(size)))
        if len(text) < LONGEST_REPR:
            return text
    first = map(item, range(min(3, size - 1)))
    return f"{', '.join([*first, f'... {item(size - 1)}'])} ({size:,} {what})"


def sentence_of(error: BaseException) -> str:
    """Return what an error says to a person at a terminal: of the system's, the file and the reason, without a number.

    Examples
    --------
    >>> sentence_of(FileNotFoundError(2, "No such file or directory", "runs/a"))
    'runs/a: No such file or directory'
    """
    if isinstance(error, OSError) and error.strerror and error.filename is not None and error.errno is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)
