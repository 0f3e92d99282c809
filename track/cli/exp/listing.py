"""The verb ``list``: experiments as a table, as trees, as CSV, once or again and again."""

from __future__ import annotations

import argparse
import glob
import io
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from track.cli.shell import SCHEMA, as_json, csv_writer, say
from track.config import GlobalExperimentManager
from track.errors import InvalidCall, InvalidExperimentRoot, suggestion
from track.experiment.parts import load_file
from track.manager.parts import MESSAGES, Conditions, Shown, columns_of
from track.shown import clean, cut, text_of
from track.utils.files import absolute_path, open_regular

_PARAMS, _SET = "params.yml", "experiment.yml"
_WIDEST = 60
_CLEAR = "\x1b[2J\x1b[H"
_DESCRIPTION = """
Lists the experiments of the set in the working directory, or of all known sets in it and below; those of PATTERN: a
folder, or a glob of roots or experiments. Of the folder of one experiment the params.yml is printed.
"""


def add_verbs(verbs: Any) -> None:
    """Add the verb to the parser of the program."""
    parser = verbs.add_parser("list", help="list experiments", description=_DESCRIPTION)
    parser.set_defaults(act=_list)
    parser.add_argument("pattern", nargs="?", default="", metavar="PATTERN", help="a folder, or a glob")
    parser.add_argument("--pattern", dest="other_pattern", metavar="PATTERN", help=argparse.SUPPRESS)
    parser.add_argument("-r", "--root", default="", metavar="ROOT", help="as PATTERN, a folder")
    shown = parser.add_argument_group("columns; a REGEX chooses some")
    shown.add_argument("-d", "--date", "--display_date", action="store_true", help="when it was created")
    shown.add_argument("-s", "--status", "--display_status", action="store_true", help="what became of it")
    shown.add_argument("-P", "--purpose", "--display_purpose", action="store_true", help="what it is for")
    for flags, name, text in (
        (
            ("-v", "-g", "--version", "--display_version", "--display_git"),
            "version",
            "where its code is: local, commit",
        ),
        (("-m", "--messages", "--display_messages"), "messages", "what it has said"),
        (("-M", "--meta", "--display_meta"), "meta", "where it ran: host, user, system_release"),
    ):
        shown.add_argument(*flags, dest=name, nargs="?", const=True, metavar="REGEX", help=text)
    chosen = parser.add_argument_group("which")
    conditions = "that satisfy conditions: 'lr < 0.1', '1 < a.* <= 2', '_status == finished', 'messages.acc > 0.9'"
    chosen.add_argument(
        "-p",
        "--param_match",
        nargs="+",
        action="extend",
        metavar="COND",
        help=f"only those {conditions}; with the parameters",
    )
    chosen.add_argument(
        "-f", "--filters", nargs="+", action="extend", metavar="COND", help="the same, without the parameters"
    )
    chosen.add_argument(
        "-n", "--type_match", nargs="+", action="extend", metavar="TYPE", help="only those of these classes"
    )
    form = parser.add_argument_group("form")
    form.add_argument(
        "-l", "-N", "--notebook", "--list", action="store_true", help="a tree for each set, with its notes"
    )
    form.add_argument("-i", "--interval", nargs="?", const=1.0, type=float, metavar="SECONDS", help="again and again")
    form.add_argument("--csv", "--to_csv", action="store_true", help="comma-separated values, whole")
    form.add_argument("--json", action="store_true", help="one document of JSON, whole")
    form.add_argument("--jsonl", action="store_true", help="a document of JSON in each line, whole")
    form.add_argument("--sort", metavar="NAME", help="by a parameter, or _status, _created, ..., from the least")
    form.add_argument("--reverse", action="store_true", help="the other way round")
    form.add_argument(
        "--max_width", type=int, default=_WIDEST, metavar="N", help=f"of a column, {_WIDEST} by default; 0: any"
    )
    form.add_argument("--max_rows", type=int, metavar="N", help="how many rows at most")
    form.add_argument(
        "--load_defaults", action="store_true", help="of defaults and overrides only: no status, no messages"
    )


def _list(given: argparse.Namespace, command: list[str]) -> int:
    pattern = given.other_pattern or given.pattern or given.root
    place = absolute_path(pattern or ".")
    params = os.path.join(place, _PARAMS)
    if os.path.isfile(params):
        if given.json or given.jsonl or given.csv:
            say(_form_of_one(given, params))
            return 0
        with open_regular(params) as file:
            text = (file.readall() or b"").decode("utf-8", "replace")
        say(f"# {clean(params)}")
        say("\n".join(clean(line, sys.maxsize) for line in text.splitlines()))
        return 0
    if given.interval is None:
        _say(given, _answer(given, place))
        return 0
    if given.interval <= 0:
        raise InvalidCall(f"-i takes the seconds between two looks, not {given.interval}")
    while True:
        text = _answer(given, place)
        is_page = sys.stdout is not None and sys.stdout.isatty() and not (given.csv or given.json or given.jsonl)
        _say(given, f"{_CLEAR if is_page else ''}{text}")
        time.sleep(given.interval)


def _say(given: argparse.Namespace, text: str) -> None:
    # No line is no document.
    if text or not given.jsonl:
        say(text)


def _answer(given: argparse.Namespace, place: str) -> str:
    manager = _manager_of(place)
    asked = Conditions([*(given.param_match or ()), *(given.filters or ())])
    shown_parameters = Conditions(given.param_match)
    table = manager.find(
        param_match=[*(given.param_match or ()), *(given.filters or ())],
        types_match=given.type_match,
        load_defaults=given.load_defaults,
    )
    rows = _sorted(table, _meant(table, place), given)
    if given.notebook and not (given.csv or given.json or given.jsonl):
        return notebook(table, rows, {root: facts.get("notes") or [] for root, facts in manager.experiments.items()})
    names = "|".join(f"(?:{one.pattern.pattern})" for one in shown_parameters.conditions)
    choice = Shown(given.date, given.status, given.purpose, given.version, given.messages, given.meta, names or None)
    columns, prefix = columns_of({name: [column[row] for row in rows] for name, column in table.items()}, choice)
    if "created" in columns:
        columns["created"] = list(map(_date, columns["created"]))
    if given.csv:
        return as_csv(columns)
    experiments = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    if given.json:
        return as_json({"schema": SCHEMA, "prefix": prefix, "experiments": list(experiments)})
    if given.jsonl:
        return "\n".join(map(as_json, experiments))
    if not rows:
        if asked or given.type_match or table["_name"]:
            return _unmatched(asked, manager) or "no experiment matches"
        return "there are no experiments yet: exp link -u '{name: 1 | 2}' registers some"
    return f"{as_text(columns, given.max_width, given.max_rows)}\n\nRoots relative to: {clean(prefix)}"


def _form_of_one(given: argparse.Namespace, path: str) -> str:
    """Return what the ``params.yml`` of an experiment says, in the form that was asked for."""
    content = dict(load_file(path))
    if given.csv:
        return as_csv({str(name): [value] for name, value in content.items()})
    return as_json(content if given.jsonl else {"schema": SCHEMA, "path": path, "params": content})


def _unmatched(asked: Conditions, manager: GlobalExperimentManager) -> str:
    """Return which condition is about what no experiment has, a slip perhaps; '' where there is none."""
    parameters = manager.find(param_match=".*").parameters
    for one in asked.conditions:
        what, names = "parameter", parameters
        if one.is_of_messages:
            what, names = "message", manager.find(param_match=MESSAGES).parameters
        if one.is_special or any(map(one.pattern.match, [*names, *parameters])):
            continue
        text, there = one.pattern.pattern, ", ".join(map(clean, names)) or "none"
        return f"no experiment has a {what} {text!r}{suggestion(text, names)} (there are: {there})"
    return ""


def _manager_of(place: str) -> GlobalExperimentManager:
    """Return what knows the sets that are meant, and no others; a set that is there need not be known.

    Raises InvalidExperimentRoot: none is meant.
    """
    manager = GlobalExperimentManager()
    real = os.path.realpath(place)
    known = dict(manager.experiments)
    if os.path.isfile(os.path.join(place, _SET)) and not any(os.path.realpath(root) == real for root in known):
        known[place] = {}
    meant = {root: facts for root, facts in known.items() if _is_meant_set(root, place, real)}
    linked = [folder for folder in manager.linked if _is_below(folder, place, real) or fnmatchcase(folder, place)]
    meant = {root: facts for root, facts in meant.items() if os.path.isfile(os.path.join(root, _SET))}
    if not meant and not linked:
        raise InvalidExperimentRoot(
            f"there is no set of experiments in {place}, nor a known one below. Try init? Or relink --recursive, where "
            "sets were moved"
        )
    # Not to be saved.
    manager.experiments, manager.linked = meant, linked
    return manager


def _is_meant_set(root: str, place: str, real: str) -> bool:
    if _is_below(root, place, real) or fnmatchcase(root, place):
        return True
    # A glob of experiments: runs/lr=*
    return fnmatchcase(root, os.path.dirname(place)) and not os.path.isdir(place)


def _is_below(path: str, place: str, real: str) -> bool:
    found = os.path.realpath(path)
    return path == place or found == real or found.startswith(real.rstrip("/") + "/")


def _meant(table: Mapping[str, list[Any]], place: str) -> Sequence[int]:
    """Return the rows that are meant: of a glob of experiments, those that it matches."""
    roots = table["_root"]
    real = os.path.realpath(place)
    whole = {root for root in set(roots) if _is_below(root, place, real) or fnmatchcase(root, place)}
    if len(whole) == len(set(roots)):
        return range(len(roots))
    paths = zip(roots, table["_name"], strict=True)
    escaped = glob.escape(place)
    return [
        row
        for row, (root, name) in enumerate(paths)
        if root in whole or any(fnmatchcase(f"{root}/{name}", one) for one in (place, escaped))
    ]


def _date(stamp: Any) -> str:
    """Return a time as a person reads it; what is none stays as it is."""
    found = re.fullmatch(r"(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-\d+", text_of(stamp or ""))
    return text_of(stamp or "") if found is None else "20{}-{}-{} {}:{}:{}".format(*found.groups())


# forms


def as_text(columns: Mapping[str, list[Any]], widest: int = _WIDEST, most: int | None = None) -> str:
    """Return columns below their headings, numbers to the right, each cell in a line of `widest` characters at most."""
    size = len(next(iter(columns.values()), []))
    rows = size if most is None else max(0, min(size, most))
    lines: list[list[str]] = [[] for _ in range(rows + 1)]
    for name, column in columns.items():
        cells = [_cell(name, widest), *(_cell(value, widest) for value in column[:rows])]
        width = max(map(len, cells))
        is_number = any(_is_number(value) for value in column[:rows]) and all(
            _is_number(value) or value in ("", None) for value in column[:rows]
        )
        for line, cell in zip(lines, cells, strict=True):
            line.append(cell.rjust(width) if is_number else cell.ljust(width))
    text = "\n".join("  ".join(line).rstrip() for line in lines)
    return text if rows == size else f"{text}\n... and {size - rows:,} more"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cell(value: Any, widest: int) -> str:
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else clean(text_of(value), max(4 * widest, 2000))
    return cut(text, widest) if widest > 3 else text


def _sorted(table: Mapping[str, list[Any]], rows: Sequence[int], given: argparse.Namespace) -> Sequence[int]:
    """Return rows in the order that was asked for: numbers, then texts; those without a value are last."""
    if given.sort is not None:
        name = given.sort if given.sort in table else f"_{given.sort}"
        if name not in table:
            raise InvalidCall(f"no experiment has {given.sort!r}{suggestion(given.sort, table)}")
        known = [row for row in rows if table[name][row] is not None]
        known.sort(key=lambda row: _order(table[name][row]), reverse=given.reverse)
        return known + [row for row in rows if table[name][row] is None]
    return rows[::-1] if given.reverse else rows


def _order(value: Any) -> tuple[bool, float, str]:
    if isinstance(value, (int, float)) and value == value:
        return False, float(value), ""
    return True, 0.0, text_of(value)


def as_csv(columns: Mapping[str, list[Any]]) -> str:
    """Return columns as comma-separated values, with a line of names."""
    file = io.StringIO()
    writer = csv_writer(file)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return file.getvalue().rstrip("\n")


def notebook(table: Mapping[str, list[Any]], rows: Iterable[int], notes: Mapping[str, list[str]]) -> str:
    """Return a tree of names for each set, with what is known of all: Last, Git, Purpose, Notes; `notes`: of sets."""
    by_root: dict[str, list[int]] = {}
    for row in rows:
        by_root.setdefault(table["_root"][row], []).append(row)
    return (
        "\n\n".join(_tree(table, root, own, notes.get(root, [])) for root, own in by_root.items())
        or "no experiment matches"
    )


def _tree(table: Mapping[str, list[Any]], root: str, rows: list[int], of_set: list[str]) -> str:
    lines = [clean(root)]
    for row in rows:
        status = table["_status"][row] if "_status" in table else None
        state = f"  ({clean(text_of(status))})" if status else ""
        branch = "`--" if row == rows[-1] else "|--"
        lines.append(f"{branch} {clean(table['_name'][row])}{state}")
    created = [_date(table["_created"][row]) for row in rows if table["_created"][row]]
    gits = (table["_version"][row].get("git") or {} for row in rows if isinstance(table["_version"][row], Mapping))
    commits = dict.fromkeys(
        text_of(git.get("commit"))[:12] for git in gits if isinstance(git, Mapping) and git.get("commit")
    )
    purposes = dict.fromkeys(table["_purpose"][row] for row in rows if table["_purpose"][row])
    notes = dict.fromkeys([*of_set, *(note for row in rows for note in table["_notes"][row])])
    for name, values in (
        ("Last", [max(created)] if created else []),
        ("Git", commits),
        ("Purpose", purposes),
        ("Notes", notes),
    ):
        lines += [f"{f'{name}:' if not place else '':<9}{clean(text_of(one))}" for place, one in enumerate(values)]
    return "\n".join(lines)
