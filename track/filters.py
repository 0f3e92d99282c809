"""The one language in which trials are chosen, on a command line and on the page.

``lr<0.1 status:failed loss.min<0.2 tag:paper group:ablation "words"``: terms that must all hold; one with a ``-`` or
``!`` before it must not.

- ``COLUMN<VALUE``, with ``< <= > >= = == != ~``: a column, as `track.rows.Row.value` has it: a parameter, a metric's
  last value, ``loss.min``, ``time``; ``~`` is a regular expression, see `track.patterns`.
- ``KEY:VALUE``: ``status``, ``tag``, ``group``, ``project``, ``name``, ``uid``, ``host``; several values with commas.
- a word, or several in double quotes: is in the name, the uid, a tag, the description, a parameter or the error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from track.errors import InvalidQuery, suggestion
from track.patterns import Pattern
from track.persistence.query import OPERATORS, parse_query
from track.rows import FACTS, MISSING, SECTIONS, Row
from track.shown import cut, text_of
from track.structure import Trial

KEYS = ("status", "tag", "group", "project", "name", "uid", "host")
"""What may stand before a colon."""
_TERM = re.compile(r'[-!]?(?:"(?:[^"\\]|\\.)*"|[^\s"])+')
_COMPARED = re.compile(
    r"(?P<column>(?:\"[^\"]*\"|[^\s\"<>=!~:])+)(?P<sign><=|>=|==|!=|<|>|=|~)(?P<value>.*)", re.DOTALL
)
_KEYED = re.compile(r"(?P<key>[A-Za-z_]+):(?P<value>.*)", re.DOTALL)
_SIGNS = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte", "=": "$eq", "==": "$eq", "!=": "$ne"}
_WORDS = {"true": True, "false": False, "none": None, "null": None}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LONGEST = 10_000
Predicate = Callable[[Row], bool]


@dataclass(frozen=True)
class Filter:
    """What trials must satisfy: what a store can be asked, and what is asked of each row that it returns.

    Attributes
    ----------
    query: list of (str, condition)
        In the language of `track.persistence.query`; groups and projects by name.
    predicates: list of callable
        Each is given a row, and returns whether it holds.
    columns: list of str
        What is compared, for a message where no row has it.
    """

    query: list[tuple[str, Any]] = field(default_factory=list)
    predicates: list[Predicate] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)

    def matches(self, row: Row) -> bool:
        """Return whether a row of a trial that the query has found is meant."""
        return all(holds(row) for holds in self.predicates)


def parse_filter(text: str | Sequence[str] | None) -> Filter:
    """Return what a filter says; several are as one, each after the other.

    Raises
    ------
    InvalidQuery
        A term cannot be understood; the message says which, and how it is written.

    Examples
    --------
    >>> found = parse_filter("status:failed lr<0.1")
    >>> found.query
    [('status', {'$in': ['failed']})]
    >>> found.matches(Row(Trial(parameters={"lr": 0.01})))
    True
    """
    if text is not None and not isinstance(text, str):
        text = " ".join(text)
    text = text or ""
    if len(text) > _LONGEST:
        raise InvalidQuery(f"a filter has at most {_LONGEST:,} characters")
    if len(re.findall(r'(?<!\\)"', text)) % 2:
        raise InvalidQuery(f"a quotation mark of the filter is not closed: {cut(text)}")
    found = Filter()
    for term in _TERM.findall(text):
        is_turned = len(term) > 1 and term[0] in "-!"
        _add(found, term[1:] if is_turned else term, is_turned)
    # What is wrong is said before a store is opened.
    parse_query(found.query, Trial)
    return found


def _add(found: Filter, term: str, is_turned: bool) -> None:
    predicate: Predicate
    if not term.startswith('"') and (keyed := _KEYED.fullmatch(term)) is not None and not _is_address(term):
        pair = _keyed(keyed["key"].lower(), _texts(keyed["value"]), term)
        if not callable(pair):
            found.query.append(("$not", [pair]) if is_turned else pair)
            return
        predicate = pair
    elif (compared := _COMPARED.fullmatch(term)) is not None:
        column, sign = _bare(compared["column"]), compared["sign"]
        if column == "status" and sign in ("=", "==", "!="):
            # ``failed`` is more than one of them.
            _add(found, f"status:{compared['value']}", is_turned is not (sign == "!="))
            return
        found.columns.append(column)
        predicate = _compared(column, sign, compared["value"], term)
    else:
        predicate = _has_words(_bare(term))
    found.predicates.append((lambda row: not predicate(row)) if is_turned else predicate)


def _is_address(term: str) -> bool:
    return "://" in term


def _texts(value: str) -> list[str]:
    """Return the values of a term, which commas part where they are in no quotes."""
    return [text for part in re.findall(r'(?:"(?:[^"\\]|\\.)*"|[^,"])+', value) if (text := _bare(part))]


def _bare(text: str) -> str:
    r"""Return a text without its quotation marks; ``\"`` is one that is meant."""
    return re.sub(r'\\(.)|"', lambda found: found[1] or "", text) if '"' in text else text


def _keyed(key: str, values: list[str], term: str) -> tuple[str, Any] | Predicate:
    if key not in KEYS:
        column = key if key in SECTIONS else "COLUMN"
        hint = suggestion(key, KEYS) or f"; a parameter or a metric is {column}=VALUE or {column}<VALUE"
        raise InvalidQuery(f"{cut(term)!r}: what stands before a colon is one of {', '.join(KEYS)}{hint}")
    if not values:
        raise InvalidQuery(f"{cut(term)!r} says no value: write {key}:VALUE")
    if key == "tag":
        return lambda row: any(_has_tag(row, value) for value in values)
    if key == "uid":
        return lambda row: row.uid.startswith(tuple(values))
    if key == "host":
        return lambda row: row.value("host") in values
    return {"group": "group_id", "project": "project_id"}.get(key, key), {"$in": values}


def _has_tag(row: Row, value: str) -> bool:
    name, sign, wanted = value.partition("=")
    if value in row.tags or not sign:
        return value in row.tags
    if name not in row.tags:
        return False
    return row.tags[name] == wanted or OPERATORS["$eq"](row.tags[name], read_value(wanted))


def _compared(column: str, sign: str, written: str, term: str) -> Predicate:
    if not written:
        raise InvalidQuery(f"{cut(term)!r} compares with nothing: write {column}{sign}VALUE")
    if sign == "~":
        pattern = Pattern(_bare(written))
        return lambda row: _is_said(value := row.value(column)) and pattern.is_in(text_of(value))
    operator = OPERATORS[_SIGNS[sign]]
    operand: Any = read_value(written)
    if sign in ("<", "<=", ">", ">=") and not isinstance(operand, (int, float)):
        seconds = _seconds(written) if column in ("age", "time") else None
        if seconds is None and not written.startswith('"'):
            raise InvalidQuery(f"{cut(term)!r}: nothing is less or greater than {cut(written)}, which is no number")
        operand = operand if seconds is None else seconds

    def holds(row: Row) -> bool:
        value = row.value(column)
        if value is MISSING:
            return sign == "!=" or operand is None
        if isinstance(operand, str) and not isinstance(value, str):
            # As it is written in a table: a tuple, a status.
            value = text_of(value)
        return operator(value, operand)

    return holds


def _is_said(value: Any) -> bool:
    return value is not MISSING and value is not None


def _seconds(written: str) -> float | None:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", written)
    return None if found is None else float(found[1]) * _SECONDS[found[2]]


def read_value(written: str) -> Any:
    """Return a number, a truth, None, or the text that was written; in quotes it is always text."""
    if '"' in written:
        return _bare(written)
    if written.lower() in _WORDS:
        return _WORDS[written.lower()]
    for kind in (int, float):
        try:
            return kind(written)
        except ValueError:
            continue
    return written


def _has_words(words: str) -> Predicate:
    wanted = words.casefold()

    def holds(row: Row) -> bool:
        trial = row.trial
        texts = [row.label, row.uid, trial.description, trial.project_id, row.group, row.error, trial.status]
        texts += [f"{name}={value}" for name, value in row.parameters.items()]
        texts += [name if value is True else f"{name}={value}" for name, value in row.tags.items()]
        return any(wanted in text_of(text).casefold() for text in texts if text is not None)

    return holds


def known_columns(rows: Sequence[Row]) -> set[str]:
    """Return the names of columns that say something of some row, for a message."""
    return {*FACTS, *(name for row in rows for name in (*row.parameters, *row.metrics))}
