"""What was found of experiments as columns that a person reads: chosen, flat, each of its own name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from track.errors import InvalidQuery
from track.experiment_utils import flatten
from track.shown import text_of

Choice = bool | str | None
"""Whether to show something; or a regular expression that the names of what is shown begin with."""
_GIT = ("local", "remote", "commit", "branch")
_SHORT = (("slurm_", "s"), ("virtual_", "v"))
_KEPT = {"_root", "_purpose", "_type", "_notes", "_created", "_meta", "_name", "_version", "_status", "_messages"}


class Shown(NamedTuple):
    """Which columns there are beside the names."""

    date: Choice = None
    status: Choice = None
    purpose: Choice = None
    version: Choice = None
    messages: Choice = None
    meta: Choice = None
    parameters: Choice = None


ALL = Shown(*[True] * len(Shown._fields))


def columns_of(table: Mapping[str, list[Any]], shown: Shown, empty: Any = "") -> tuple[dict[str, list[Any]], str]:
    """Return columns of the same length by name, ``root`` and ``name`` first, and the folder that roots are below.

    Parameters
    ----------
    table: mapping
        What `find` has returned.
    shown: Shown
        What is wanted of it. Messages and facts of the machine are flat, ``system_node``; one that is called as another
        column already is ``messages_loss`` or ``meta_host``.
    empty: object
        What stands where a row has nothing.

    Raises
    ------
    InvalidQuery
        A choice is no regular expression (a ValueError too).
    """
    _require_expressions(shown)
    roots: list[str] = table["_root"]
    size = len(roots)
    prefix = os.path.commonpath([os.path.dirname(root) for root in set(roots)]) if roots else ""
    relative = {root: os.path.relpath(root, prefix) for root in set(roots)}
    columns: dict[str, list[Any]] = {"root": [relative[root] for root in roots]}
    columns["name"] = table["_name"] if "_name" in table else [os.path.basename(root) for root in roots]
    for name, choice in (("created", shown.date), ("status", shown.status), ("purpose", shown.purpose)):
        if choice and f"_{name}" in table:
            columns[name] = table[f"_{name}"]
    # Parameters keep their names, whatever others are called.
    special = getattr(table, "special_keys", _KEPT)
    parameters = [name for name in table if name not in special and _is_chosen(shown.parameters, name)]
    taken = set(parameters)
    if shown.version and "_version" in table:
        columns |= _flat(table["_version"], shown.version, "version", {*columns, *taken}, size, _git_of, empty)
    for name, choice in (("messages", shown.messages), ("meta", shown.meta)):
        if choice and f"_{name}" in table:
            columns |= _flat(table[f"_{name}"], choice, name, {*columns, *taken}, size, flatten, empty)
    for name in parameters:
        columns[name if name not in columns else f"parameters_{name}"] = table[name]
    return columns, prefix


def _flat(  # noqa: PLR0917 - a step of `columns_of`
    values: Iterable[Any], choice: Choice, section: str, taken: set[str], size: int,
    flatten_one: Callable[[Mapping[str, Any]], Mapping[str, Any]], empty: Any,
) -> dict[str, list[Any]]:  # fmt: skip
    columns: dict[str, list[Any]] = {}
    for place, value in enumerate(values):
        for key, item in flatten_one(value if isinstance(value, Mapping) else {}).items():
            if key not in columns:
                if not _is_chosen(choice, key):
                    continue
                columns[key] = [empty] * size
            columns[key][place] = item
    return {_heading(key, section, taken): column for key, column in columns.items()}


def _heading(key: str, section: str, taken: set[str]) -> str:
    for long, short in _SHORT if section == "meta" else ():
        if key.startswith(long):
            key = f"{short}{key.removeprefix(long)}"
    return f"{section}_{key}" if key in taken else key


def _git_of(version: Mapping[str, Any]) -> Mapping[str, Any]:
    found = version.get("git")
    git = found if isinstance(found, Mapping) else {}
    return {name: text_of(git[name]) for name in _GIT if git.get(name) is not None}


def _is_chosen(choice: Choice, name: str) -> bool:
    return re.match(choice, name) is not None if isinstance(choice, str) else bool(choice)


def _require_expressions(shown: Shown) -> None:
    for choice in shown:
        try:
            re.compile(choice if isinstance(choice, str) else "")
        except (re.error, RecursionError, OverflowError) as error:
            raise InvalidQuery(f"{choice!r} is no regular expression: {error}") from error
