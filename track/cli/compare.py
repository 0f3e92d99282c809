"""``track compare``: what differs between trials."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from track.briefs import SYSTEM
from track.cli.codes import Difference, code_differences, say_differences
from track.cli.grid import Column, cell, duration, painted, table, terminal_width
from track.cli.shell import on_store, say, say_json, take_forms, take_words, tell
from track.cli.show import code_of
from track.front import PEAK
from track.naming import WAYS, named, owners_of, short_uids
from track.persistence.protocol import Protocol
from track.reading import environment_in
from track.rows import MISSING, Row, make_rows, measured

_DESCRIPTION = """
Compares trials: parameters, what their metrics come to, packages, code, where they ran. What is the same is left out.
Of code that trial.log_code() has stored, the lines that differ are shown, where two trials are compared.
"""
_FACTS = ("name", "revision", "status", "group", "project", "time", "error")
_PLACE = ("python", "host", "user", "folder", "gpus")


def add_parser(verbs: Any, name: str) -> None:
    """Add the command to the parser of the program."""
    parser = verbs.add_parser(name, description=_DESCRIPTION)
    parser.set_defaults(run=run)
    take_words(parser, f"the trials, two or more: {WAYS}", least=2)
    parser.add_argument("--all", action="store_true", help="also what is the same in all of them")
    take_forms(parser, is_list=False)


def run(arguments: argparse.Namespace) -> int:
    """Compare, and return the exit code."""
    return on_store(arguments, partial(_compare, arguments))


def _compare(given: argparse.Namespace, protocol: Protocol, uri: str, words: list[str]) -> int:
    rows = make_rows([named(protocol, name, in_brief=True) for name in words], partial(owners_of(protocol), "group_id"))
    sections = _sections(protocol, rows)
    differences = code_differences(protocol, rows)
    sections["code"] |= _counted(differences)
    if not given.all:
        sections = {
            title: {name: values for name, values in lines.items() if not _is_same(values)}
            for title, lines in sections.items()
        }
    if given.json:
        documents = [[one.to_json() for one in some] for some in differences]
        say_json(trials=[row.uid for row in rows], **sections, difference=documents)
        return 0
    sections = _for_people(sections, given.all)
    if not any(sections.values()):
        tell("nothing differs")
        return 0
    short = short_uids(row.uid for row in rows)
    _say(sections, [short[row.uid] for row in rows])
    if len(rows) == 2:
        say_differences(differences[1], given.all)
    return 0


def _counted(differences: Sequence[Sequence[Difference]]) -> dict[str, list[Any]]:
    """Return how many lines of each file differ from the first trial's: a value a trial."""
    names = dict.fromkeys(one.name for some in differences for one in some)
    found: dict[str, list[Any]] = {}
    for name in names:
        by_trial = [next((one for one in some if one.name == name), None) for some in differences]
        found[name] = [None if one is None else f"+{one.added:,} -{one.removed:,}" for one in by_trial]
    return found


def _sections(protocol: Protocol, rows: Sequence[Row]) -> dict[str, dict[str, list[Any]]]:
    """Return what is known of each trial: by section and name a value a trial, None where there is none."""
    places = [environment_in(protocol, row.trial) for row in rows]
    parameters = dict.fromkeys(name for row in rows for name in row.parameters)
    facts = {name: _values(rows, name) for name in _FACTS}
    facts["status"] = [str(row.trial.status) for row in rows]
    packages: list[Mapping[str, Any]] = [place.get("packages") or {} for place in places]
    names = sorted({name for one in packages for name in one})
    gits = [code_of(git) if isinstance(git := place.get("git"), Mapping) else None for place in places]
    return {
        "facts": facts,
        "parameters": {name: _values(rows, f"parameters.{name}") for name in parameters},
        "metrics": dict(_measured(rows)),
        "code": {"git": gits, "version": [str(row.trial.version or "")[:10] or None for row in rows]},
        "packages": {name: [one.get(name) for one in packages] for name in names},
        "where": {name: [place.get(name) for place in places] for name in _PLACE},
    }


def _values(rows: Sequence[Row], name: str) -> list[Any]:
    """Return the value of a column of each row; the longer name is meant where one would be found by the shorter."""
    section, _, rest = name.partition(".")
    if section == "parameters" and rest:
        return [row.parameters.get(rest) for row in rows]
    found = [row.value(name) for row in rows]
    return [None if value is MISSING else value for value in found]


def _measured(rows: Sequence[Row]) -> Iterable[tuple[str, list[Any]]]:
    for name in measured(rows):
        briefs = [row.metrics.get(name) for row in rows]
        last = [None if brief is None else brief.last for brief in briefs]
        yield name, last
        for part, field in (("min", "least"), ("max", "greatest")):
            values = [None if brief is None else getattr(brief, field) for brief in briefs]
            # Where all ended at their best, that is said already.
            if repr(values) != repr(last):
                yield f"{name}.{part}", values


def _for_people(sections: Mapping[str, dict[str, list[Any]]], is_all: bool) -> dict[str, dict[str, list[Any]]]:
    """Return sections in which what the machines did is apart: of each metric of theirs the last value and the peak.

    What one of the trials alone has recorded is no difference between them, and left out but for `is_all`.
    """
    found = {}
    for title, lines in sections.items():
        found[title] = {name: values for name, values in lines.items() if not name.startswith(SYSTEM)}
        if title == "metrics":
            found["system"] = {
                name: lines.get(f"{name}.max", values) if name.endswith(PEAK) else values
                for name, values in lines.items()
                if name.startswith(SYSTEM)
                and not name.endswith((".min", ".max"))
                and (is_all or sum(value is not None for value in values) > 1)
            }
    return found


def _is_same(values: Sequence[Any]) -> bool:
    return len({repr(value) for value in values}) == 1


def _say(sections: Mapping[str, Mapping[str, Sequence[Any]]], heads: Sequence[str]) -> None:
    lines = [(title, name, values) for title, found in sections.items() for name, values in found.items()]
    names = [cell(name, 40) for _, name, _ in lines]
    columns = [Column("", names, least=8)]
    for place, head in enumerate(heads):
        shown = [_shown(title, name, values[place]) for title, name, values in lines]
        columns.append(Column(head, shown, least=8))
    if len(heads) == 2:
        columns.append(Column("", [_change(*values) for *_, values in lines], is_number=True, extra=1))
    width = terminal_width()
    printed, _ = table(columns, None if width is None else max(20, width - 2))
    say(f"  {printed[0]}")
    title = ""
    for line, (section, _, _) in zip(printed[1:], lines, strict=True):
        if section != title:
            say(painted(section, "bold"))
            title = section
        say(f"  {line}")


def _shown(section: str, name: str, value: Any) -> str:
    return duration(value) if (section, name) == ("facts", "time") else cell(value, 40)


def _change(one: Any, other: Any) -> str:
    """Return by how much a number is another one."""
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (one, other)):
        return ""
    if not one or not math.isfinite(one) or not math.isfinite(other):
        return ""
    change = (other - one) / abs(one) * 100
    return f"{change:+.3g} %" if math.isfinite(change) else ""
