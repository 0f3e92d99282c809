"""``track ls --group``: what runs come to that are repetitions of one another."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

from track.cli.grid import Column, cell, column_of, table, terminal_width
from track.cli.shell import NOTHING, as_json, csv_cell, say, say_csv, say_json, tell, tell_hidden
from track.rows import MISSING, Row, differing, measured, of_training, order_of
from track.seeds import Spread, grouped, is_seed, spread


def list_groups(
    given: argparse.Namespace, rows: Sequence[Row], columns: Sequence[str], by: Sequence[str], limit: int
) -> int:
    """Print a row for each setting, in the form that is asked for, and return the exit code."""
    groups = grouped(rows, by or None)
    names = list(by) or [name for name in differing([group[0] for group in groups]) if not is_seed(name)]
    numbers = [name for name in columns or of_training(measured(rows)) if name not in names]
    if given.sort and given.sort not in (*names, *numbers):
        numbers.insert(0, given.sort)
    documents = [_group(group, names, numbers) for group in groups]
    if given.sort:
        documents.sort(key=partial(_place, given.sort, given.reverse))
    documents = documents[:limit] if limit else documents
    if given.json:
        say_json(total=len(groups), groups=documents)
    elif given.jsonl:
        for document in documents:
            say(as_json(document))
    elif given.csv:
        parts = [f"{name}.{part}" for name in numbers for part in ("mean", "std", "n")]
        said = [[_of_group(one, *name.rpartition(".")[::2]) for name in parts] for one in documents]
        shared = [[csv_cell(one["columns"].get(name)) for name in names] for one in documents]
        say_csv(["n", *names, *parts], ([one["n"], *a, *b] for one, a, b in zip(documents, shared, said, strict=True)))
    elif documents:
        _show_groups(documents, names, numbers, by)
        tell(f"{len(documents):,} of {len(groups):,} settings, {len(rows):,} trials")
    return 0 if documents else NOTHING


def _group(group: Sequence[Row], names: Sequence[str], numbers: Sequence[str]) -> dict[str, Any]:
    spreads = {name: found._asdict() for name in numbers if (found := spread(group, name)) is not None}
    spreads = {
        name: {"mean": found["mean"], "std": found["deviation"], "n": found["number"]}
        for name, found in spreads.items()
    }
    strange = [
        name for name in numbers if name not in spreads and any(isinstance(row.value(name), float) for row in group)
    ]
    shared = {name: value for name in names if (value := group[0].value(name)) is not MISSING}
    return {
        "name": group[0].trial.name,
        "n": len(group),
        "columns": {name: csv_cell(value) for name, value in shared.items()},
        "metrics": spreads,
        "uids": [row.uid for row in group],
    } | ({"nan": strange} if strange else {})


def _of_group(document: dict[str, Any], name: str, part: str) -> Any:
    return document["metrics"].get(name, {}).get(part, "")


def _place(by: str, is_descending: bool, document: dict[str, Any]) -> tuple[bool, Any]:
    value = document["metrics"].get(by, {}).get("mean", document["columns"].get(by))
    order = order_of(value)
    if order is None:
        return True, ()
    # Texts are sorted from the least in any case.
    return False, (order[0], -order[1]) if is_descending and order[0] == 0 else order


def _cell(name: str, document: dict[str, Any]) -> str:
    found = document["metrics"].get(name)
    if found is not None:
        return str(Spread(found["mean"], found["std"], found["n"]))
    return "not finite" if name in document.get("nan", ()) else ""


def _show_groups(
    documents: Sequence[dict[str, Any]], names: Sequence[str], numbers: Sequence[str], by: Sequence[str]
) -> None:
    columns = [Column("N", [f"{one['n']:,}" for one in documents], is_number=True)]
    if not by and any(one["name"] for one in documents):
        columns.insert(0, column_of("NAME", [one["name"] for one in documents]))
    columns += [column_of(name, [one["columns"].get(name) for one in documents]) for name in names]
    for name in numbers:
        columns.append(Column(cell(name), [_cell(name, one) for one in documents], is_number=True, extra=1))
    lines, hidden = table(columns, terminal_width())
    say("\n".join(lines))
    tell_hidden(hidden)
