"""What happens to trials, each thing once: it fails, is no number any more, is silent, has an alert, is done."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from track.aggregators.aggregator import Aggregator
from track.briefs import SYSTEM
from track.cli.grid import duration
from track.errors import InvalidCall, suggestion
from track.front import Alert, alerts_in, alerts_told
from track.rows import Row
from track.shown import clean
from track.structure import Status

KINDS = ("failed", "nan", "silent", "alert", "done")
"""What can be told."""
SILENCE = 600.0
"""Seconds after which a trial is silent, unless it is said otherwise."""
_COUNTED = ("_update_count", "_last_change", "heartbeat")
_FAILED = (Status.Exception, Status.Broken)


def read_kinds(given: str) -> frozenset[str]:
    """Return the kinds that a list with commas names; InvalidCall where it names others, or none."""
    kinds = [name for one in given.split(",") if (name := one.strip().lower())]
    for kind in kinds:
        if kind not in KINDS:
            raise InvalidCall(f"--on {clean(kind, 50)!r} is none of {', '.join(KINDS)}{suggestion(kind, KINDS)}")
    if not kinds:
        raise InvalidCall(f"--on takes some of {', '.join(KINDS)}, with commas")
    return frozenset(kinds)


class Notice(NamedTuple):
    """Something that happened to a trial."""

    event: str
    row: Row
    text: str
    level: str = "error"


@dataclass
class _Seen:
    """What was seen of a trial in its present attempt."""

    attempt: int
    sign: Any
    since: float
    told: set[Any]
    alerts: int = 0
    """Of how many alerts was told, with those that were not kept."""


class Happenings:
    """Knows what has happened to trials since it looked at them before, each thing once.

    What has ended, and the alerts that are there, at the first look are no news; a trial that runs, and is silent or
    not a number any more, is.

    Parameters
    ----------
    kinds: set of str
        Which of `KINDS`.
    silence: float
        Seconds without a sign after which a trial is silent.
    """

    def __init__(self, kinds: frozenset[str], silence: float = SILENCE) -> None:
        self._kinds = kinds
        self._silence = silence
        self._seen: dict[str, _Seen] = {}
        self._has_looked = False

    def look(self, rows: Iterable[Row], now: float) -> list[Notice]:
        """Return what happened; `now` is in unix seconds."""
        found = []
        for row in rows:
            seen = self._seen.get(row.uid)
            if seen is None or seen.attempt != row.trial.attempt:
                seen = self._seen[row.uid] = self._begun(row, now, seen)
            for key, notice in self._present(row, seen, now):
                if key not in seen.told:
                    seen.told.add(key)
                    found.append(notice)
        self._has_looked = True
        return found

    def _begun(self, row: Row, now: float, before: _Seen | None) -> _Seen:
        changed = _number(row, "_last_change")
        seen = _Seen(row.trial.attempt, _sign_of(row), min(now, changed) if changed else now, set())
        if before is not None:
            # Alerts are the trial's, whichever attempt said them.
            seen.told |= {key for key in before.told if isinstance(key, Alert)}
            seen.alerts = before.alerts
        if not self._has_looked:
            state = ("silent", "nan") if row.is_running else ()
            seen.told |= {key for key, notice in self._present(row, seen, now) if notice.event not in state}
        return seen

    def _present(self, row: Row, seen: _Seen, now: float) -> Iterable[tuple[Any, Notice]]:
        """Return what is to be told of a trial, each with what it is known by."""
        kinds, name = self._kinds, row.label or row.uid[:12]
        status = row.trial.status
        if "alert" in kinds:
            kept, told = alerts_in(row.trial.metadata), alerts_told(row.trial.metadata)
            fresh = sum(alert not in seen.told for alert in kept)
            lost, seen.alerts = told - seen.alerts - fresh, max(told, seen.alerts + fresh)
            if lost > 0:
                yield ("lost", told), Notice("alert", row, f"{name}: {lost:,} earlier alerts are not kept", "warning")
            for alert in kept:
                text = f"{name}: {alert.title}{f': {alert.text}' if alert.text else ''}"
                yield alert, Notice("alert", row, text, alert.level)
        if "nan" in kinds:
            unsound = [metric for metric, brief in row.metrics.items() if _is_unsound(brief.last)]
            if unsound:
                text = f"{name}: {unsound[0]} is {row.metrics[unsound[0]].last} at {row.metrics[unsound[0]].last_step}"
                yield "nan", Notice("nan", row, text)
        if "failed" in kinds and status in _FAILED:
            reason = row.error or ("its process is gone" if status is Status.Broken else "")
            yield "failed", Notice("failed", row, f"{name} failed{f': {reason}' if reason else ''}")
        if "done" in kinds and _has_ended(row):
            yield "done", Notice("done", row, f"{name} ended: {status}", "error" if status in _FAILED else "info")
        if "silent" in kinds and row.is_running:
            sign = _sign_of(row)
            if sign != seen.sign:
                # It may fall silent again.
                seen.sign, seen.since = sign, now
                seen.told.discard("silent")
            if now - seen.since >= self._silence:
                yield "silent", Notice("silent", row, f"{name} is silent for {duration(now - seen.since)}", "warning")


def _has_ended(row: Row) -> bool:
    code = row.trial.status.value
    return code is not None and code >= Status.ErrorGroup.value


def _is_unsound(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _number(row: Row, name: str) -> float:
    found = row.trial.metadata.get(name) if isinstance(row.trial.metadata, Mapping) else None
    return float(found) if isinstance(found, (int, float)) else 0.0


def _sign_of(row: Row) -> Any:
    """Return what is another thing once the trial has said something.

    That its process lives, as heartbeats of its worker and what its monitor records do, says nothing of the training.
    """
    trial = row.trial
    noted = trial.metadata if isinstance(trial.metadata, Mapping) else {}
    said = [
        {name: (brief.count, brief.last) for name, brief in row.metrics.items() if not name.startswith(SYSTEM)},
        {name: one.val if isinstance(one, Aggregator) else one for name, one in noted.items() if name not in _COUNTED},
        {name: one.val if isinstance(one, Aggregator) else one for name, one in trial.chronos.items()},
        [len(trial.artifacts), len(trial.errors), row.tags, str(trial.status)],
    ]
    return hash(repr(said))
