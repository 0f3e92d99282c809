"""Plain tables: columns below their headings, as wide as the terminal, in colour only where that is wanted."""

from __future__ import annotations

import math
import os
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from track.rows import MISSING
from track.shown import clean, text_of

WIDEST = 60
"""How wide a cell of text is at most."""
LEAST = 8
"""How narrow a cell of text becomes at least."""
_HEADING = 32
_GAP = "  "
_TICKS = "▁▂▃▄▅▆▇█"
_COLOURS = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2"}
_OF_STATUS = {"running": "cyan", "completed": "green", "interrupted": "yellow", "suspended": "yellow"}
_OF_STATUS |= dict.fromkeys(("exception", "broken"), "red")


@dataclass
class Column:
    """A column of a table.

    Attributes
    ----------
    name: str
        Its heading.
    cells: list of str
        One a row, as `cell` returns them.
    is_number: bool
        Whether they stand to the right.
    extra: int
        Whether it is left out where the table is too wide: of those above 0 the greatest goes first, and the last.
    least: int
        How narrow it may become where the table is too wide, and its cells are cut; 0 where they are not.
    """

    name: str
    cells: list[str]
    is_number: bool = False
    extra: int = 0
    least: int = 0


def column_of(name: str, values: Sequence[Any], extra: int = 0) -> Column:
    """Return a column of values, numbers to the right."""
    texts = [cell(value) for value in values]
    said = [_is_number(value) for value, text in zip(values, texts, strict=True) if text]
    return Column(cell(name, _HEADING), texts, bool(said) and all(said), extra, 0 if any(said) else LEAST)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def cell(value: Any, widest: int = WIDEST) -> str:
    r"""Return a value as a cell: short, on one line, and without what does something to a terminal.

    Examples
    --------
    >>> cell(0.1 + 0.2), cell("a\x1b[31m\u202eb"), cell(None)
    ('0.3', 'a\\x1b[31m\\u202eb', '')
    """
    if value is None or value is MISSING:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = text_of(value)
    return fitted(clean(text, 4 * widest) if len(text) > 4 * widest else clean(text), widest)


def wide(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(_width(letter) for letter in text)


def _width(letter: str) -> int:
    if unicodedata.combining(letter) or unicodedata.category(letter) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in ("W", "F") else 1


def fitted(text: str, width: int) -> str:
    """Return a text, or its beginning and an ellipsis where it is wider."""
    if wide(text) <= width:
        return text
    kept, used = [], 0
    for letter in text:
        used += _width(letter)
        if used > width - 1:
            break
        kept.append(letter)
    return f"{''.join(kept)}…"


def terminal_width() -> int | None:
    """Return how wide the terminal is, or ``COLUMNS`` says; None where standard output is none: nothing is cut."""
    return shutil.get_terminal_size().columns if is_terminal() else None


def is_terminal() -> bool:
    """Return whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def has_colour() -> bool:
    """Return whether colours are wanted: on a terminal, and where neither ``NO_COLOR`` nor ``TERM`` says otherwise."""
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str, colour: str | None) -> str:
    """Return a text in a colour, where colours are wanted."""
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if colour is not None and text.strip() and has_colour() else text


def table(columns: Sequence[Column], width: int | None = None) -> tuple[list[str], list[str]]:
    """Return the lines of a table, and the names of columns that are left out.

    Parameters
    ----------
    width: int, optional
        How wide it may be: then texts are cut, and columns that are extra go, from the last one on.
    """
    shown, hidden = list(columns), list[str]()
    widths = {id(column): max(map(wide, [column.name, *column.cells])) for column in shown}
    while width is not None and _total(shown, widths) > width:
        over = _total(shown, widths) - width
        texts = [column for column in shown if 0 < column.least < widths[id(column)]]
        extra = sorted((column for column in shown if column.extra), key=lambda column: column.extra)
        spare = sum(widths[id(column)] - column.least for column in texts)
        if texts and (spare >= over or not extra):
            widest = max(texts, key=lambda column: widths[id(column)])
            widths[id(widest)] -= 1
        elif extra:
            hidden.insert(0, extra[-1].name)
            shown.remove(extra[-1])
        else:
            break
    lines = [_line([_placed(column.name, column, widths) for column in shown], "bold")]
    for row in range(len(columns[0].cells) if columns else 0):
        cells = [painted(_placed(column.cells[row], column, widths), colour_of(column, row)) for column in shown]
        lines.append(_line(cells))
    return lines, hidden


def _total(columns: Sequence[Column], widths: dict[int, int]) -> int:
    return sum(widths[id(column)] for column in columns) + len(_GAP) * (len(columns) - 1)


def _placed(text: str, column: Column, widths: dict[int, int]) -> str:
    width = widths[id(column)]
    text = fitted(text, width)
    space = " " * (width - wide(text))
    return space + text if column.is_number else text + space


def _line(cells: Iterable[str], colour: str | None = None) -> str:
    return painted(_GAP.join(cells).rstrip(), colour)


def colour_of(column: Column, row: int) -> str | None:
    """Return the colour of a cell: that of a status, and of an error."""
    if column.name == "ERROR":
        return "red"
    return _OF_STATUS.get(column.cells[row]) if column.name == "STATUS" else None


# short forms


def duration(seconds: Any) -> str:
    """Return a time as a person reads it.

    Examples
    --------
    >>> duration(723), duration(4.25), duration(7384), duration(0.0031)
    ('12m 03s', '4.2s', '2h 03m', '3ms')
    """
    if not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m" if hours < 48 else f"{hours // 24}d {hours % 24:02}h"


def age(seconds: Any) -> str:
    """Return how long ago something was.

    Examples
    --------
    >>> age(3), age(130), age(7300), age(200_000)
    ('now', '2 min', '2 h', '2 d')
    """
    if not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
        return ""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "now" if seconds < 10 else f"{int(seconds)} s"


def sparkline(values: Iterable[Any]) -> str:
    """Return the course of values in a line, without those that are no finite numbers.

    Examples
    --------
    >>> sparkline([8, 4, 2, 1])
    '█▄▂▁'
    """
    numbers = [value if isinstance(value, (int, float)) and math.isfinite(value) else None for value in values]
    known = [value for value in numbers if value is not None]
    if not known:
        return ""
    low, span = min(known), max(known) - min(known)
    top = len(_TICKS) - 1
    return "".join(
        _TICKS[round((value - low) / span * top) if span and math.isfinite(span) else 0]
        for value in numbers
        if value is not None
    )
