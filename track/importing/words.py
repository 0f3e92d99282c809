"""What texts of other programs say: numbers and times."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from track.metrics import step_from_text

_MILLISECONDS = 1e11
"""From here on a time is no seconds: it would be in the year 5138."""


def number_of(text: str) -> int | float | None:
    """Return the number of a text; None where it is none."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return {"true": True, "false": False}.get(text.strip().lower())


def number_or_text(text: str) -> Any:
    """Return what a text says, where nothing is lost by it: a number, or whether something is so; else the text.

    Examples
    --------
    >>> [number_or_text(text) for text in ("0.1", "1e-05", "007", "True", "adam")]
    [0.1, 1e-05, '007', True, 'adam']
    """
    if len(text) > 40:
        return text
    known = {"True": True, "False": False, "None": None}
    return known[text] if text in known else step_from_text(text)


def time_of(text: str) -> float | None:
    """Return unix seconds, of a number of seconds or milliseconds or of a date; None where it says none."""
    if not text:
        return None
    try:
        at = float(text)
    except ValueError:
        try:
            date = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
            return (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp()
        except (ValueError, OverflowError):
            return None
    return at / 1000 if at > _MILLISECONDS else at
