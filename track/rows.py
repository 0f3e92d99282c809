"""Trials as rows: what is known of each by the names of columns, and what differs among them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from track.briefs import SYSTEM, Brief
from track.metrics import briefs_of
from track.persistence.query import resolve
from track.plain import flatten, named_tags
from track.shown import text_of
from track.structure import Status, Trial, created_of

FACTS = ("name", "revision", "status", "uid", "group", "project", "host", "error", "age", "time", "started", "finished")
"""What a column may be that is neither a parameter nor a metric; ``age`` and ``time`` are seconds."""
SECTIONS = ("parameters", "metrics", "tags", "metadata")
_PARTS = {"last": "last", "min": "least", "max": "greatest", "count": "count"}
MISSING = object()


class Row:
    """A trial as a row; nothing of it is read that a listing does not have.

    Parameters
    ----------
    trial: Trial
        As `Protocol.brief_trials` returns it.
    group: str, optional
        The name of its group.
    now: float, optional
        Unix seconds.
    """

    def __init__(self, trial: Trial, group: str | None = None, now: float | None = None) -> None:
        self.trial = trial
        self.uid = trial.uid
        self._now = time.time() if now is None else now
        self.parameters = flatten(trial.parameters) if isinstance(trial.parameters, dict) else {}
        self.metrics: Mapping[str, Brief] = briefs_of(trial.metrics)
        # One that was taken away is none.
        self.tags = {name: value for name, value in named_tags(trial.tags).items() if value is not None}
        self.created = created_of(trial)
        self.group = group

    @property
    def is_running(self) -> bool:
        """Whether it runs, as far as is known."""
        return self.trial.status is Status.Running

    @property
    def label(self) -> str:
        """Its name and revision."""
        return f"{text_of(self.trial.name)}/{self.trial.revision}" if self.trial.name else ""

    @property
    def error(self) -> str:
        """What its last error says, without where that was; '' where it has none."""
        text = text_of(self.trial.errors[-1]).strip() if self.trial.errors else ""
        if not text.startswith("Traceback"):
            text = text.partition('\n  File "')[0]
        lines = text.splitlines()
        return lines[-1].strip() if lines else ""

    @property
    def seconds(self) -> float | None:
        """How long it ran, or runs; None where that is not known."""
        started = self.trial.timestamps.get("started")
        spent = resolve(self.trial, ("chronos", "runtime"))
        if isinstance(spent, (int, float)) and not self.is_running:
            return float(spent)
        return None if started is None or not self.is_running else max(0.0, self._now - started)

    def value(self, name: str) -> Any:
        """Return what a column says of it; `MISSING` where that says nothing.

        Parameters
        ----------
        name: str
            A fact, as `FACTS`; a parameter, nested ones by dotted names; a metric, which is its last value,
            ``NAME.min``, ``NAME.max`` or ``NAME.count``, in this order; or ``tags.NAME``, ``parameters.NAME``,
            ``metrics.NAME``, ``metadata.NAME``.
        """
        section, _, rest = name.partition(".")
        if name in FACTS:
            return self._fact(name)
        if name in self.parameters:
            return self.parameters[name]
        found = self._measured(name)
        if found is MISSING and rest and section in SECTIONS:
            return self._of_section(section, rest)
        return found

    def _fact(self, name: str) -> Any:
        trial = self.trial
        stamps = trial.timestamps
        facts: dict[str, Callable[[], Any]] = {
            "uid": lambda: self.uid,
            "name": lambda: trial.name,
            "revision": lambda: trial.revision,
            "status": lambda: trial.status,
            "group": lambda: self.group,
            "project": lambda: trial.project_id,
            "host": lambda: (trial.process or {}).get("host"),
            "error": lambda: self.error or None,
            "age": lambda: None if self.created is None else max(0.0, self._now - self.created),
            "time": lambda: self.seconds,
            "started": lambda: stamps.get("started"),
            "finished": lambda: stamps.get("finished"),
        }
        value = facts[name]()
        return MISSING if value is None else value

    def _measured(self, name: str) -> Any:
        metric, part = self.metric(name)
        if metric is None:
            return MISSING
        value = getattr(self.metrics[metric], part)
        return MISSING if value is None else value

    def metric(self, name: str) -> tuple[str | None, str]:
        """Return the metric that a column is of, and which field of its brief; None where it is of none."""
        if name in self.metrics:
            return name, "last"
        metric, _, part = name.rpartition(".")
        return (metric, _PARTS[part]) if part in _PARTS and metric in self.metrics else (None, "last")

    def _of_section(self, section: str, name: str) -> Any:
        if section == "metrics":
            return self._measured(name)
        if section == "parameters":
            return self.parameters.get(name, MISSING)
        values = self.tags if section == "tags" else self.trial.metadata
        flat = flatten(values) if isinstance(values, dict) else {}
        return flat.get(name, MISSING)

    def to_json(self) -> dict[str, Any]:
        """Return what is known of it, as ``--json`` prints it; a number that is none is null, and its metric named."""
        trial = self.trial
        metrics = {
            name: {"last": one.last, "min": one.least, "max": one.greatest, "count": one.count}
            for name, one in self.metrics.items()
        }
        document = {
            "uid": self.uid,
            "name": trial.name,
            "revision": trial.revision,
            "status": str(trial.status),
            "project": trial.project_id,
            "group": self.group,
            "parameters": self.parameters,
            "tags": self.tags,
            "metrics": metrics,
            "created": self.created,
            "started": trial.timestamps.get("started"),
            "finished": trial.timestamps.get("finished"),
            "seconds": self.seconds,
            "error": self.error or None,
        }
        unsound = [name for name, brief in self.metrics.items() if not _is_sound(brief.last)]
        return document | ({"nan": unsound} if unsound else {})


def _is_sound(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def make_rows(trials: Iterable[Trial], groups: Callable[[], Mapping[str, Any]], now: float | None = None) -> list[Row]:
    """Return a row for each trial; `groups` returns the names of groups by uid, and is asked where one has any."""
    trials = list(trials)
    names = groups() if any(trial.group_id is not None for trial in trials) else {}
    now = time.time() if now is None else now
    return [Row(trial, _name_of(trial.group_id, names), now) for trial in trials]


def _name_of(uid: Any, names: Mapping[str, Any]) -> str | None:
    return None if uid is None else text_of(names.get(uid, uid))


# what differs


def differing(rows: Sequence[Row]) -> list[str]:
    """Return the parameters that are not the same in all rows, those first that most have; of one row all of them."""
    seen: dict[str, set[str]] = {}
    counts: dict[str, int] = {}
    for row in rows:
        for name, value in row.parameters.items():
            seen.setdefault(name, set()).add(repr(value))
            counts[name] = counts.get(name, 0) + 1
    names = [name for name in seen if len(rows) == 1 or len(seen[name]) > 1 or counts[name] < len(rows)]
    return sorted(names, key=lambda name: -counts[name])


def measured(rows: Iterable[Row]) -> list[str]:
    """Return the metrics of all rows, those first that most have, and last those of their machines."""
    counts: dict[str, int] = {}
    for row in rows:
        for name in row.metrics:
            counts[name] = counts.get(name, 0) + 1
    return sorted(counts, key=lambda name: (name.startswith(SYSTEM), -counts[name]))


def of_training(names: Iterable[str]) -> list[str]:
    """Return the names of metrics without those of the machine, which a table has where they are asked for."""
    return [name for name in names if not name.startswith(SYSTEM)]


def order_of(value: Any) -> tuple[int, Any] | None:
    """Return what to sort a value of a column by: numbers before texts; None where it is missing or no number."""
    if value is MISSING or value is None or value != value:
        return None
    if isinstance(value, (int, float)):
        return 0, value
    return 1, text_of(value)


def arranged(rows: Sequence[Row], by: str, is_descending: bool = False) -> list[Row]:
    """Return the rows by the values of a column, from the least; those without one come last."""
    ranked = [(order_of(row.value(by)), row) for row in rows]
    known = [one for one in ranked if one[0] is not None]
    known.sort(key=lambda one: one[0] or (0, 0), reverse=is_descending)
    return [row for _, row in known] + [row for place, row in ranked if place is None]
