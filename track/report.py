"""Show a trial to a person: the JSON report, or a table on a terminal."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

from track.errors import InvalidCall, missing_extra
from track.serialization import to_json
from track.structure import Trial
from track.table import report_rows
from track.utils.out import write_out

__all__ = ["report_text", "write_report"]


def report_text(trial: Trial, short: bool = True, unread: str = "") -> str:
    """Return the report of a trial as JSON with two spaces of indentation; `unread`: what of it was not read.

    Examples
    --------
    >>> print(report_text(Trial("ab", name="first"))[:37])
    {
      "revision": 0,
      "name": "first",
    """
    document = to_json(trial, short) | ({"not read": unread} if unread else {})
    return json.dumps(document, indent=2, allow_nan=False)


def write_report(trial: Trial, short: bool = True, style: str = "json", unsaved: int = 0, unread: str = "") -> None:
    """Print the report of a trial on standard output, and nothing else.

    Parameters
    ----------
    short: bool
        What a person reads; False prints everything.
    style: str
        ``"json"`` or ``"table"``.
    unsaved: int
        Events that could not be stored; the report's errors say so.
    unread: str
        What of the trial was not read, as a sentence.

    Raises
    ------
    InvalidCall
        The style is unknown, or given without its name.
    MissingExtra
        A table needs the package rich.
    """
    if isinstance(short, str):
        raise InvalidCall(f"a style goes by its name: write report(style={short!r})")
    if unsaved:
        trial.errors = [*trial.errors, f"track: {unsaved} events are not stored"]
    match style:
        case "json":
            write_out(report_text(trial, short, unread) + "\n")
        case "table":
            _write_table(trial, unread)
        case _:
            raise InvalidCall(f"style {style!r} is unknown; use 'json' or 'table'")


def _write_table(trial: Trial, unread: str) -> None:
    try:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError as error:
        raise missing_extra("style='table' needs rich", "rich") from error
    title = f"{trial.name or trial.uid[:12]}, revision {trial.revision}"
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
    table.add_column("")
    table.add_column("name")
    table.add_column("value", overflow="fold")
    for row in report_rows(trial, unread):
        table.add_row(*map(Text, row))
    page = _Page(sys.stdout)
    Console(file=page).print(table)
    write_out(page.getvalue())


class _Page(io.StringIO):
    """Text for a stream, of which it says what rich asks: whether it is a terminal, and which letters it has."""

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        try:
            return bool(self._stream.isatty())
        except (AttributeError, ValueError):
            # There is none, or it is closed.
            return False
