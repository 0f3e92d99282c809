"""``track ls``: trials as a table, or the means of those that differ in their seed only."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from track.cli.grid import LEAST, Column, age, cell, column_of, duration, sparkline, table, terminal_width
from track.cli.groups import list_groups
from track.cli.shell import (
    NOTHING,
    as_json,
    csv_cell,
    is_path_of_store,
    on_store,
    say,
    say_csv,
    say_json,
    take_forms,
    take_words,
    tell,
    tell_hidden,
)
from track.errors import NotFound, suggestion
from track.filters import Filter, known_columns, parse_filter
from track.naming import owners_of, short_uids, with_uids
from track.persistence.protocol import Protocol
from track.persistence.utils import mask_secrets
from track.rows import FACTS, MISSING, Row, arranged, differing, make_rows, measured, of_training
from track.shown import clean, cut

_DESCRIPTION = """
Lists trials, the newest first: the parameters in which they differ, the last value of each metric, how they ended.
FILTER chooses some: 'lr<0.1 status:failed loss.min<0.2 tag:paper group:ablation "words"'; a ! before a term turns it.
"""
_ROWS, _EXTRA, _TICKS = 50, 40, 12


def add_parser(verbs: Any, name: str) -> None:
    """Add the command to the parser of the program."""
    parser = verbs.add_parser(name, description=_DESCRIPTION)
    parser.set_defaults(run=run)
    take_words(parser, "which trials, see above", "FILTER")
    parser.add_argument(
        "-c",
        "--columns",
        metavar="NAME,...",
        help="parameters, metrics (loss, loss.min, loss.max, loss.count), tags.NAME, group, project, host, uid",
    )
    parser.add_argument("-s", "--sort", metavar="NAME", help="by a column, from the least; those without it last")
    parser.add_argument("-r", "--reverse", action="store_true", help="from the greatest; without -s the oldest first")
    parser.add_argument(
        "-n", "--limit", type=int, metavar="N", help=f"how many; 0: all (default: {_ROWS} in a table, else all)"
    )
    parser.add_argument(
        "-g",
        "--group",
        action="store_true",
        help="those that differ in their seed only as one: mean ± standard deviation (how many)",
    )
    parser.add_argument("--by", metavar="NAME,...", help="with --group: those that are alike in these columns")
    take_forms(parser)


def run(arguments: argparse.Namespace) -> int:
    """List, and return the exit code."""
    return on_store(arguments, partial(_list, arguments))


def selected(protocol: Protocol, chosen: Filter) -> tuple[list[Row], int, dict[str, str]]:
    """Return the rows that a filter chooses, oldest first; how many trials there are; and the short uids of all."""
    owners = owners_of(protocol)
    everything = protocol.brief_trials()
    rows = make_rows(everything, partial(owners, "group_id"))
    if chosen.query:
        found = {trial.uid for trial in protocol.brief_trials(with_uids(chosen.query, owners))}
        rows = [row for row in rows if row.uid in found]
    # A store has them in the order in which they came: those of another tracker are older than they are there.
    rows = sorted((row for row in rows if chosen.matches(row)), key=lambda row: row.created or 0.0)
    return rows, len(everything), short_uids(trial.uid for trial in everything)


def _list(given: argparse.Namespace, protocol: Protocol, uri: str, words: list[str]) -> int:
    chosen = parse_filter(words)
    found, total, short = selected(protocol, chosen)
    columns = _names(given.columns)
    by = _names(given.by)
    _tell_unknown(protocol, found, [*columns, *by, *([given.sort] if given.sort else []), *chosen.columns], bool(total))
    rows = arranged(found, given.sort, given.reverse) if given.sort else found if given.reverse else found[::-1]
    is_table = not (given.json or given.jsonl or given.csv)
    limit = (_ROWS if is_table else 0) if given.limit is None else max(0, given.limit)
    if given.group or by:
        return list_groups(given, rows, columns, by, limit)
    rows = rows[:limit] if limit else rows
    if given.json:
        say_json(uri=mask_secrets(uri), total=total, matching=len(found), trials=[row.to_json() for row in rows])
    elif given.jsonl:
        for row in rows:
            say(as_json(row.to_json()))
    elif given.csv:
        _say_rows(rows, columns)
    elif rows:
        lines, hidden, left = lines_of(rows, columns, given.sort, protocol, short)
        say("\n".join(lines))
        tell_hidden([name for name in hidden if name not in ("", "AGE", "TIME")], left)
    if is_table:
        # A word that was to be a store was taken for one to look for.
        paths = [] if found else [word for word in words if is_path_of_store(word)]
        missing = f"; {clean(paths[0], 100)!r} is no store here, and was looked for as a word" if paths else ""
        tell(_counted(len(rows), len(found), total) + missing)
    return 0 if rows else NOTHING


def _names(given: str | None) -> list[str]:
    return [name for one in (given or "").split(",") if (name := one.strip())]


def _counted(shown: int, found: int, total: int) -> str:
    if not found:
        return "no trial is stored" if not total else f"none of {total:,} trials"
    of = f"{shown:,} of {found:,}" if shown < found else f"{found:,}"
    trials = "trial" if found == 1 else "trials"
    more = "; -n 0 shows all" if shown < found else ""
    return f"{of} {trials}{more}" if found == total else f"{of} {trials}, of {total:,} in the store{more}"


def _tell_unknown(protocol: Protocol, found: Sequence[Row], asked: Iterable[str], is_there: bool) -> None:
    """Say of a column that no trial has any value for that it may be misspelt.

    Raises NotFound: no trial of the store has it.
    """
    if not is_there:
        return
    missing = [name for name in asked if all(row.value(name) is MISSING for row in found)]
    if not missing:
        return
    everything = make_rows(protocol.brief_trials(), dict)
    for name in missing:
        if name not in FACTS and all(row.value(name) is MISSING for row in everything):
            names = known_columns(everything)
            way_out = suggestion(name, names) or f"; there are: {cut(', '.join(of_training(sorted(names))), 300)}"
            raise NotFound(f"no trial has {name!r}{way_out}")


# a row a trial


def lines_of(  # noqa: PLR0917 - what a table is made of
    rows: Sequence[Row],
    columns: Sequence[str],
    sort: str | None,
    protocol: Protocol,
    short: Mapping[str, str],
    drawn: dict[tuple[str, str], str] | None = None,
) -> tuple[list[str], list[str], int]:
    """Return the lines of a table, the columns that have no room, and how many more there are.

    `drawn`: curves by uid and metric that need not be drawn again; the others are put there.
    """
    first = [
        Column("TRIAL", [short[row.uid] for row in rows]),
        Column("NAME", [cell(row.label) for row in rows], least=LEAST),
        Column("STATUS", [cell(row.value("status"), 12) for row in rows]),
        Column("AGE", [age(row.value("age")) for row in rows], is_number=True, extra=2),
        Column("TIME", [duration(row.seconds) for row in rows], is_number=True, extra=2),
    ]
    if not any(row.label for row in rows):
        del first[1]
    parameters, metrics = (columns, []) if columns else (differing(rows), of_training(measured(rows)))
    wanted = [*([sort] if sort and sort not in columns else []), *parameters, *metrics]
    wanted = [name for name in dict.fromkeys(wanted) if name not in ("status", "age", "time", "name")]
    left = max(0, len(wanted) - _EXTRA) if not columns else 0
    wanted = wanted[:_EXTRA] if left else wanted
    # What a table is looked at for stays, however narrow it is.
    kept = {sort, *columns, *metrics[:1]}
    ranks = {name: 0 if name in kept else 3 if name in metrics else 1 for name in wanted}
    own = [column_of(name, [row.value(name) for row in rows], ranks[name]) for name in wanted]
    curve = _curve(rows, [*([sort] if sort else []), *columns, *metrics])
    drawn = {} if drawn is None else drawn
    last = [Column("", _curves(protocol, rows, curve, drawn), extra=4)] if curve else []
    if any(row.error for row in rows):
        last.append(Column("ERROR", [cell(row.error) for row in rows], least=12))
    return *table([*first, *own, *last], terminal_width()), left


def _curve(rows: Sequence[Row], names: Iterable[str]) -> str | None:
    """Return the metric whose course is drawn: the first of those that are asked for which has more than one point."""
    for name in names:
        for row in rows:
            metric, _ = row.metric(name.removeprefix("metrics."))
            if metric is not None and row.metrics[metric].count > 1:
                return metric
    return None


def _curves(protocol: Protocol, rows: Sequence[Row], metric: str, drawn: dict[tuple[str, str], str]) -> list[str]:
    uids = [row.uid for row in rows if metric in row.metrics and row.metrics[metric].count > 1]
    if missing := [uid for uid in uids if (uid, metric) not in drawn]:
        found = protocol.fetch_buckets(missing, metric, _TICKS, "relative")
        drawn |= {(uid, metric): sparkline(map(float, found[uid].mean)) for uid in missing if uid in found}
    return [drawn.get((row.uid, metric), "") for row in rows]


def _say_rows(rows: Sequence[Row], columns: Sequence[str]) -> None:
    facts = ("uid", "name", "revision", "status", "project", "group", "started", "time", "error")
    if columns:
        names = list(dict.fromkeys(["uid", *columns]))
    else:
        parameters = dict.fromkeys(name for row in rows for name in row.parameters)
        parts = (f"{name}{part}" for name in measured(rows) for part in ("", ".min", ".max"))
        names = list(dict.fromkeys([*facts, *parameters, *parts]))
    say_csv(names, ([csv_cell(row.value(name)) for name in names] for row in rows))
