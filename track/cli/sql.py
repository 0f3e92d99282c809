"""``track sql``: questions to a store in SQL, answered by DuckDB over tables of Arrow."""

from __future__ import annotations

import argparse
import json
from functools import partial
from typing import Any

from track.cli.grid import column_of, table, terminal_width
from track.cli.shell import as_json, on_store, say, say_csv, say_json, take_forms, take_words, tell
from track.errors import InvalidCall, missing_extra
from track.frames import to_arrow
from track.naming import owners_of
from track.persistence.protocol import Protocol
from track.plain import printable
from track.rows import make_rows
from track.shown import shown, text_of

_DESCRIPTION = """
Answers a question in SQL. Tables: trials (uid, name, revision, status, project, group, created, seconds, error, ...),
parameters and tags (trial, name, value, number), briefs (trial, name, last, min, max, count), and metrics, the points
(trial, metric or name, step, value, time or at).
"""
_ROWS = 100
_FACTS = ("uid", "name", "revision", "status", "project", "group", "created", "started", "finished", "seconds", "error")
_NUMBERS = {"created", "started", "finished", "seconds"}


def add_parser(verbs: Any, name: str) -> None:
    """Add the command to the parser of the program."""
    parser = verbs.add_parser(name, description=_DESCRIPTION)
    parser.set_defaults(run=run)
    take_words(parser, 'the question, in one word of the shell: "select name, seconds from trials"', "QUESTION", 1, 1)
    parser.add_argument("-n", "--limit", type=int, default=_ROWS, metavar="N", help="rows of a table (default: 100)")
    take_forms(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask, and return the exit code."""
    return on_store(arguments, partial(_sql, arguments))


def _sql(given: argparse.Namespace, protocol: Protocol, uri: str, words: list[str]) -> int:
    try:
        import duckdb  # type: ignore[import-not-found, import-untyped, unused-ignore]
        import pyarrow  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise missing_extra("track sql needs duckdb and pyarrow", "sql") from error
    # A question reads the tables, no files, and no other machine.
    connection = duckdb.connect(":memory:", config={"enable_external_access": "false"})
    try:
        for name, found in _tables(pyarrow, protocol, words[0]).items():
            connection.register(name, found)
        answer = connection.execute(words[0])
        names = [one[0] for one in answer.description or []]
        rows = answer.fetchall() if names else []
    except duckdb.Error as error:
        raise InvalidCall(str(error).splitlines()[0]) from error
    finally:
        connection.close()
    if given.json:
        say_json(columns=names, rows=[list(map(_plain, row)) for row in rows])
    elif given.jsonl:
        for row in rows:
            say(as_json(dict(zip(names, map(_plain, row), strict=True))))
    elif given.csv:
        say_csv(names, (list(map(_plain, row)) for row in rows))
    else:
        most = given.limit if given.limit > 0 else len(rows)
        columns = [column_of(name, [row[place] for row in rows[:most]]) for place, name in enumerate(names)]
        say("\n".join(table(columns, terminal_width())[0]))
        tell(f"{min(most, len(rows)):,} of {len(rows):,} rows")
    return 0 if rows else 1


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, float, str)) or value is None else text_of(value)


def _tables(arrow: Any, protocol: Protocol, question: str) -> dict[str, Any]:
    """Return the tables by name; the points are read only where the question names their table."""
    rows = make_rows(protocol.brief_trials(), partial(owners_of(protocol), "group_id"))
    documents = [row.to_json() for row in rows]
    text, number, whole = arrow.string(), arrow.float64(), arrow.int64()
    found = {
        "trials": _table(
            arrow,
            {name: number if name in _NUMBERS else whole if name == "revision" else text for name in _FACTS},
            ([one[name] for name in _FACTS] for one in documents),
        ),
        "briefs": _table(
            arrow,
            {"trial": text, "name": text, "last": number, "min": number, "max": number, "count": whole},
            (
                [row.uid, name, *map(_number, (one.last, one.least, one.greatest)), one.count]
                for row in rows
                for name, one in row.metrics.items()
            ),
        ),
    }
    for section in ("parameters", "tags"):
        lines = ([row.uid, name, value] for row in rows for name, value in getattr(row, section).items())
        kinds = {"trial": text, "name": text, "value": text, "number": number}
        found[section] = _table(arrow, kinds, ([*line[:2], _text(line[2]), _number(line[2])] for line in lines))
    if "metrics" in question.lower():
        points = to_arrow(protocol.fetch_trials(), times=True)
        # As the other tables and the Parquet of an export call them; the same columns, not copies.
        for name, of in (("name", "metric"), ("at", "time")):
            points = points.append_column(name, points[of])
        found["metrics"] = points
    return found


def _table(arrow: Any, kinds: dict[str, Any], lines: Any) -> Any:
    columns = list(zip(*lines, strict=True)) or [()] * len(kinds)
    return arrow.table(
        {name: arrow.array(list(column), kind) for (name, kind), column in zip(kinds.items(), columns, strict=True)}
    )


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, (int, float)) else None
    except OverflowError:
        return None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(printable(value))
    except (TypeError, ValueError):
        return shown(value)
