"""What a trial comes to while most of a long journal is not read: its facts, and the last value of each metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from track.briefs import LastValue
from track.containers.columns import hashable
from track.events import (
    Batch,
    Event,
    FieldsMerged,
    GroupCreated,
    MetricsLogged,
    ProjectCreated,
    TimeLogged,
    TrialCreated,
    decode,
    encode,
)
from track.persistence.file.journal import Journal
from track.persistence.state import is_hidden, is_overtaken, resumes_of, update
from track.plain import restore
from track.structure import Trial

MOST = 1 << 25
"""Bytes of a journal that a process reads at the end of what it has logged, at most."""
_MOST_FACTS = 1 << 22
_MEGABYTE = 10**6
_RUNTIME = "runtime"


class Facts:
    """The lines that this process has written since it last read the journal, but for numbers; the first ones."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self._bytes = 0

    def note(self, line: bytes) -> None:
        """Note a line that is about to be written."""
        # The first ones count: the last ones are read anyway.
        if self._bytes < _MOST_FACTS:
            self.lines.append(line)
            self._bytes += len(line)

    def clear(self) -> None:
        """Forget what was read."""
        self.lines, self._bytes = [], 0


def glimpse_of(trial: Trial, journal: Journal, facts: Facts, show: Callable[[Trial], None]) -> str:
    """Bring a view of a trial up to date as far as that is cheap, and return what was not read, as a sentence.

    `facts`: of this process, which the trial does not have. `show`: makes of a view what is shown. Of metrics the last
    values are left, of times that of the whole run.
    """
    size, own = journal.size, dict.fromkeys(facts.lines)
    for event in map(decode, own):
        if _is_of(event, trial.uid):
            update(trial, event)
    last: dict[str, tuple[Any, Any, float]] = {}
    for event in _events(journal, journal.line_after(size - MOST), size):
        if type(event) is MetricsLogged:
            if event.trial == trial.uid and not (event.attempt is not None and is_overtaken(trial, event)):
                for name, value, step, at in _points(event):
                    if name not in last or at >= last[name][2]:
                        last[name] = (value, step, at)
        elif _is_of(event, trial.uid) and encode(event) not in own:
            update(trial, event)
    trial.latest = max([trial.latest, *(at for _, _, at in last.values())])
    resumes = resumes_of(trial)
    show(trial)
    rules = [] if resumes is None else resumes.val
    trial.metrics = {
        name: LastValue(restore(value), step)
        for name, (value, step, at) in last.items()
        if not is_hidden(rules, step, at)
    }
    trial.chronos = {name: container for name, container in trial.chronos.items() if name == _RUNTIME}
    read = f"{MOST / _MEGABYTE:,.0f} of {size / _MEGABYTE:,.0f} MB"
    return (
        f"of the journal the last {read} were read: a metric shows the last value there, times are those of this "
        "process, and what else was logged before, other metrics and facts of other processes, may be missing"
    )


def _events(journal: Journal, start: int, end: int) -> Iterator[Event]:
    for events, _, _ in journal.read(start, end):
        for event in events:
            if isinstance(event, Batch):
                yield from event.events
            else:
                yield event


def _points(event: MetricsLogged) -> Iterator[tuple[str, Any, Any, float]]:
    """Yield name, value, step and time of the last point of each metric of an event."""
    columns = event.columns
    if columns is not None:
        times, steps = columns.times(event.at), columns.steps()
        place = max(range(columns.size), key=lambda place: (times[place], place)) if columns.at else columns.size - 1
        yield columns.name, columns.values()[place], None if steps is None else steps[place], times[place]
        return
    step = event.step
    if step.__class__ is list or step.__class__ is dict:
        step = hashable(restore(step))
    for name, value in event.values.items():
        yield name, value, step, event.at


def _is_of(event: Event, uid: str) -> bool:
    """Return whether an event is a fact of a trial: not the times of its blocks, of which not all are here."""
    match event:
        case FieldsMerged():
            return event.kind == "trial" and event.uid == uid
        case TimeLogged():
            return event.trial == uid and event.name == _RUNTIME
        case ProjectCreated() | GroupCreated() | TrialCreated():
            return False
        case _:
            return event.trial == uid
