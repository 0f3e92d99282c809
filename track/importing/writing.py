"""From a run that is read to a trial that is stored: its identity, its events, numbered for good, and its files."""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from track.artifacts import check_name
from track.columns import MOST
from track.errors import (
    BackendUnavailable,
    FileChanged,
    InvalidCall,
    InvalidEvent,
    InvalidUri,
    MissingExtra,
    UnsafePath,
)
from track.events import (
    Event,
    FieldsMerged,
    GroupCreated,
    MetricsLogged,
    ProjectCreated,
    StatusChanged,
    TimeLogged,
    TrialAttached,
)
from track.events import TrialCreated as Created
from track.importing.continuing import Taken
from track.importing.masking import masked, masked_text
from track.importing.media import content_of, medium_name
from track.importing.report import Report
from track.importing.runs import UNREADABLE, End, Run, digest_of_run
from track.importing.storing import Store
from track.media import kept_of
from track.persistence.contract import given_series, plain_fields
from track.persistence.protocol import Protocol
from track.persistence.query import ALSO_DELETED
from track.plain import utf8
from track.shown import cut
from track.structure import Project, Status, Trial, TrialGroup

_FORMAT = 1
"""Of how a run becomes events: another one, and an import that was broken off begins again."""
_WAITING = 100_000
_BATCH = 50_000
"""Points that wait for their columns, and those of one message to a server."""
_LONGEST_NAME = 1000
_LONGEST_TEXT = 1 << 20
_WORDS = ("step", "aggregator")
_YEARS = (-62_135_596_800, 253_402_300_800)
IMPORT = "_import"
"""The name in the metadata of where a trial is from."""


class Target:
    """The store, or None where there is none yet and nothing is written."""

    def __init__(self, source: str, protocol: Protocol | None, report: Report) -> None:
        self._source, self._protocol, self._report = source, protocol, report
        self._owners: set[tuple[type, str]] = set()
        self._taken: set[str] = set()
        if protocol is None or report.dry_run:
            return
        if not protocol.takes_events:
            raise InvalidUri("this is no store that runs can be imported to")
        protocol.check_writable()

    def take(self, run: Run) -> None:
        """Store a run, unless it is there."""
        digest = digest_of_run(run.alias or self._source, run.key)
        stored = None if digest in self._taken else self._stored(digest)
        outcome = "present" if digest in self._taken else self._outcome(digest, run, stored)
        self._taken.add(digest)
        if outcome == "changed" and stored is not None:
            self._continue(run, digest, stored)
            return
        if outcome not in ("imported", "completed"):
            self._report.note(outcome, run.label)
            return
        if not _is_time(run.created):
            self._report.leave("run", "began before the year 1 or after 9999: it counts as of 1970", run.label)
            run = replace(run, created=0.0)
        telling = _Telling(self._source, run, digest, self._report, self._store(outcome))
        if self._told(run, telling):
            self._report.note(outcome, run.label)

    def _told(self, run: Run, telling: _Telling) -> bool:
        """Read a run, and return whether it was not refused, which is noted."""
        try:
            telling.begin(self._owner_events(run))
            try:
                run.read(telling)
            except UNREADABLE as error:
                # A server that is gone is no damage: the run is completed another time.
                if telling.is_broken or isinstance(error, (MissingExtra, BackendUnavailable)):
                    raise
                telling.damage(f"cannot be read on ({type(error).__name__})", f"{run.label}: {error}")
                telling.break_off()
            telling.end()
        except InvalidEvent as error:
            self._report.note("refused", f"{run.label}: {error}")
            return False
        return True

    def _continue(self, run: Run, digest: str, stored: Trial) -> None:
        """Store what is new of a run that went on since it was imported, if it begins as it did."""
        noted = _noted_of(stored)
        begun = noted.get("continuing", run.stamp)
        if not _is_time(run.created) or not isinstance(noted.get("points"), dict) or begun != run.stamp:
            self._report.note("changed", run.label)
            return
        looked = _Telling(self._source, run, digest, Report(self._source, ""), None, noted=noted)
        if not self._told(run, looked) or not looked.taken.is_continued:
            self._report.note("changed", run.label)
            return
        before = dict(self._report.taken)
        telling = _Telling(self._source, run, digest, self._report, self._store("continued", stored), noted=noted)
        if self._told(run, telling):
            is_new = before != self._report.taken or telling.status.name != stored.status.name
            self._report.note("continued" if is_new else "present", run.label)

    def _stored(self, digest: str) -> Trial | None:
        there = self._protocol and self._protocol.brief_trials({"hash": digest, **ALSO_DELETED})
        return there[0] if there else None

    def _outcome(self, digest: str, run: Run, trial: Trial | None) -> str:
        if trial is None:
            if self._protocol is not None and 0 in self._protocol.revisions(digest):
                return "deleted"
            return "imported"
        if trial.deleted:
            return "deleted"
        noted = _noted_of(trial)
        if noted.get("stamp") != run.stamp:
            return "changed"
        return "present" if noted.get("complete") else "completed"

    def _store(self, outcome: str, stored: Trial | None = None) -> Store | None:
        if self._protocol is None or self._report.dry_run:
            return None
        return Store(self._protocol, outcome == "completed", stored)

    def _owner_events(self, run: Run) -> list[Event]:
        """Return the events of the project and the group that are not there yet."""
        if self._protocol is None:
            return []
        events: list[Event] = []
        project, group = owners_of(run)
        if not self._has(Project, project.uid):
            events.append(ProjectCreated(project.uid, run.created, project.name))
        if group is not None and not self._has(TrialGroup, group.uid):
            events.append(GroupCreated(group.uid, run.created, group.name, None, {}, project.uid))
        return events

    def _has(self, kind: type, uid: str) -> bool:
        key = (kind, uid)
        known = key in self._owners or bool(self._protocol and self._protocol.has(kind, uid))
        self._owners.add(key)
        return known

    def commit(self) -> None:
        """Make what was stored permanent."""
        if self._protocol is not None and not self._report.dry_run:
            self._protocol.commit()

    def close(self) -> None:
        """Close the store."""
        if self._protocol is not None:
            self._protocol.close()


def _noted_of(trial: Trial) -> dict[str, Any]:
    """Return what an import has noted of a trial."""
    noted = trial.metadata.get(IMPORT) if isinstance(trial.metadata, dict) else None
    return noted if isinstance(noted, dict) else {}


def owners_of(run: Run) -> tuple[Project, TrialGroup | None]:
    """Return the project and the group of a run."""
    project = Project(name=cut(utf8(run.project or "imported"), _LONGEST_NAME))
    if not run.group:
        return project, None
    return project, TrialGroup(name=cut(utf8(run.group), _LONGEST_NAME), project_id=project.uid)


class _Telling:
    """Makes events of what is told of one run, and counts it."""

    def __init__(  # noqa: PLR0917 - what an import has
        self,
        source: str,
        run: Run,
        digest: str,
        report: Report,
        store: Store | None,
        noted: dict[str, Any] | None = None,
    ) -> None:
        self._noted = noted or {}
        self.taken = Taken(self._noted.get("points"))
        self._source, self._run, self._report, self._store = source, run, report, store
        self._trial = Trial(digest, 0, name=_text_or_none(run.name))
        self._events: list[Event] = []
        self._points = 0
        self._waiting: dict[str, tuple[list[Any], list[Any], list[Any]]] = {}
        self._free = _WAITING
        self._names: set[str] = set()
        self._shown: dict[tuple[str, str], int] = {}
        self._called: dict[str, str | None] = {}
        self._last = run.created
        # Metrics that were measured together have their times in one list.
        self._times: tuple[Any, memoryview | None] = (None, None)
        self._end: tuple[End, float | None, str | None] | None = None
        self.is_broken = False

    # what a source tells

    def point(self, name: str, value: Any, step: Any, at: float | None) -> None:
        try:
            values, steps, times = self._waiting[name]
        except KeyError:
            values, steps, times = self._waiting[name] = ([], [], [])
        values.append(value)
        steps.append(step)
        times.append(at)
        if len(values) == MOST:
            self._free += MOST - 1
            self._log(name, *self._waiting.pop(name))
            return
        self._free -= 1
        if not self._free:
            self._log_waiting()

    def series(self, name: str, values: Any, steps: Any, times: Any) -> None:
        self._log_waiting_of(name)
        self._log(name, values, steps, times)

    def parameters(self, values: dict[str, Any]) -> None:
        self._merge("parameters", values)

    def metadata(self, values: dict[str, Any]) -> None:
        self._merge("metadata", values)

    def tags(self, values: dict[str, Any]) -> None:
        self._merge("tags", values)

    def file(self, name: str, path: str) -> None:
        def size() -> int:
            check_name(name)
            return os.lstat(path).st_size

        self._keep("file", name, size, lambda store: store.add_file(name, path))

    def medium(self, kind: str, name: str, content: Any, step: Any = None, caption: Any = None) -> None:
        called = medium_name(utf8(name), kind)
        try:
            made = content_of(kind, called, content)
        except (InvalidEvent, FileNotFoundError) as error:
            self._leave_medium(kind, called, content, step, str(error))
            return
        caption = masked_text(cut(utf8(caption), _LONGEST_NAME)) if isinstance(caption, str) and caption else None
        self._shown[kind, called] = self._shown.get((kind, called), 0) + 1
        self._keep(kind, called, lambda: len(made.data), lambda store: store.add_medium(called, made, step, caption))

    def _leave_medium(self, kind: str, name: str, content: Any, step: Any, error: str) -> None:
        """Keep a file that cannot be shown as a file."""
        is_file = isinstance(content, str) and kind != "text"
        reason = f"is no {kind} that can be shown{', and a file here' if is_file else ''}"
        self.leave(kind, reason, f"{name}: {error.partition(';')[0]}")
        if is_file:
            self.file(f"{name}/{step}{os.path.splitext(content)[1]}", content)

    def _keep(self, kind: str, name: str, size: Callable[[], int], add: Callable[[Store], bool]) -> None:
        is_new = not self._noted or self._store is not None
        try:
            known = size()
            if self._store is not None:
                self.flush()
                # What goes wrong from here on is the store's, but for what is caught below.
                self.is_broken = True
                is_new = add(self._store)
        except (InvalidEvent, InvalidCall, UnsafePath, FileChanged, FileNotFoundError) as error:
            self.leave(kind, "cannot be read, or not be kept under its name", f"{name}: {error}")
        else:
            self._report.taken["files"] += is_new
            self._report.taken["bytes"] += known if is_new else 0
        self.is_broken = False

    def ended(self, status: End, at: float | None = None, error: str | None = None) -> None:
        self._end = status, at, error

    @property
    def status(self) -> End:
        """How the run ended, as far as it was told."""
        return self._end[0] if self._end else Status.Completed

    def break_off(self) -> None:
        """Say that how the run ended is unknown, unless that was told before the source could not be read on."""
        self._end = self._end or (Status.Broken, None, None)

    def leave(self, kind: str, reason: str, what: str = "", count: int = 1) -> None:
        self._report.leave(kind, reason, what or self._run.label, count)

    def damage(self, reason: str, what: str = "") -> None:
        self._report.damage(reason, what or self._run.label)

    # what is stored

    def begin(self, owners: list[Event]) -> None:
        """Store that the trial exists."""
        run, trial = self._run, self._trial
        project, group = owners_of(run)
        trial.project_id, trial.group_id = project.uid, None if group is None else group.uid
        if self._noted:
            if self._store is not None:
                self._store.begin(trial, f"import-{_FORMAT}-{trial.hash}-{run.stamp}", owners)
            begun = {**self._noted, "continuing": run.stamp}
            self._events.append(FieldsMerged("trial", trial.uid, "metadata", {IMPORT: begun}, run.created))
            self.flush()
            return
        if self._store is not None:
            self._store.begin(trial, f"import-{_FORMAT}-{trial.hash}", owners)
        origin = {"source": self._source, "stamp": run.stamp}
        self._events = [
            Created(
                trial.hash,
                trial.revision,
                run.created,
                trial.name,
                None if run.description is None else masked_text(cut(utf8(run.description), _LONGEST_TEXT)),
                group_id=trial.group_id,
                project_id=trial.project_id,
                metadata={"alias": {run.alias or self._source: utf8(run.key)}, IMPORT: origin},
                timestamps={"created": run.created, "started": run.created},
            )
        ]
        if group is not None:
            self._events.append(TrialAttached(trial.uid, "group", group.uid, run.created))
        self.flush()
        self._report.taken["trials"] += 1

    def end(self) -> None:
        """Store what waits, how the run ended, and that all of it is there."""
        self._log_waiting()
        if self._store is not None:
            self._store.end()
        for (kind, name), count in self._shown.items():
            if gone := count - kept_of(count):
                self.leave(kind, "is one of more than 1,000 of its name, which are thinned out evenly", name, gone)
                self._report.taken["files"] -= gone
        status, at, error = self._end or (Status.Completed, None, None)
        at = self._last if at is None or not _is_time(at) else at
        uid, plain = self._trial.uid, (status.name, status.value)
        error = None if error is None else masked_text(cut(utf8(error), _LONGEST_TEXT))
        until = self._noted.get("until", self._run.created)
        at = max(at, until)
        ran = at - until
        if ran > 0:
            self._events.append(TimeLogged(uid, "runtime", ran, at, ["sum"]))
        self._events.append(StatusChanged(uid, plain, max(at, self._run.created), error))
        origin = {"source": self._source, "stamp": self._run.stamp, "complete": True, "until": at}
        points = self.taken.to_plain()
        origin |= {} if points is None else {"points": points}
        self._events.append(FieldsMerged("trial", uid, "metadata", {IMPORT: origin}, max(at, self._run.created)))
        self.flush()
        self._report.taken["metrics"] += len(self._names)

    def flush(self) -> None:
        """Store the events that wait."""
        events, self._events, self._points = self._events, [], 0
        if self._store is not None and events:
            self.is_broken = True
            self._store.send(events)
            self.is_broken = False

    def _merge(self, field: str, values: dict[str, Any]) -> None:
        kept = {}
        for key, value in values.items():
            name = utf8(str(key))
            if len(name) > _LONGEST_NAME or (isinstance(value, str) and len(value) > _LONGEST_TEXT):
                self.leave(field, "is longer than a megabyte", cut(name, 100))
                continue
            hidden = masked(name, value)
            if hidden is not value:
                self.leave(field, "holds a secret, which is masked", name)
            kept[name] = hidden
        if not kept:
            return
        event = FieldsMerged("trial", self._trial.uid, field, plain_fields(kept), self._run.created)
        if self._noted:
            self._report.taken[field] += 0 if self._store is None else self._store.merge(event)
            return
        self._events.append(event)
        self._report.taken[field] += len(kept)
        self.flush()

    def _log_waiting(self) -> None:
        waiting, self._waiting, self._free = self._waiting, {}, _WAITING
        for name, columns in waiting.items():
            self._log(name, *columns)

    def _log_waiting_of(self, name: str) -> None:
        if name in self._waiting:
            columns = self._waiting.pop(name)
            self._free += len(columns[0])
            self._log(name, *columns)

    def _log(self, name: str, values: Any, steps: Any, times: Any) -> None:
        if name not in self._called:
            self._called[name] = self._call(name)
        called = self._called[name]
        if called is None or not len(values):
            return
        if known := self.taken.count(called, values, steps, times):
            if times is not None:
                self._last = max([self._last, *(at for at in times[:known] if _is_time(at))])
                self._times = (None, None)
            values, steps, times = (None if one is None else one[known:] for one in (values, steps, times))
            if not len(values):
                return
        if times is not None and times is not self._times[0]:
            self._times = times, _times_of(times, self._last)
        at = None if times is None else self._times[1]
        steps = None if steps is None or (isinstance(steps, list) and steps.count(None) == len(steps)) else steps
        try:
            if times is not None and (at is None or len(at) != len(values)):
                raise InvalidEvent("some times are none")
            given = given_series(called, values, steps)._replace(times=at)
        except InvalidEvent:
            values, steps, times = self._sound(called, values, steps, _known_times(times, self._last))
            if not values:
                return
            given = given_series(called, values, steps, times)
        if given.times is not None:
            self._last = max(self._last, given.times[-1])
        for columns in given.columns():
            self._events.append(MetricsLogged(self._trial.uid, {}, self._last, columns=columns))
            self._points += columns.size
            if self._points >= _BATCH:
                self.flush()
        self._names.add(called)
        self._report.taken["points"] += len(given.values)

    def _call(self, name: str) -> str | None:
        """Return what a metric is called here; None where it cannot be kept."""
        called = utf8(name)
        if not called or len(called) > _LONGEST_NAME:
            self.leave("metric", "has no name, or one of more than 1,000 letters", cut(called, 100))
            return None
        if called in _WORDS:
            self.leave("metric", f"is called {called}_ here, because {called} is a word of log_metrics", called)
            return f"{called}_"
        return called

    def _sound(self, name: str, values: Any, steps: Any, times: Any) -> tuple[list[Any], list[Any] | None, list[Any]]:
        """Return the points that can be stored."""
        kept: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
        for place, value in enumerate(values):
            step = None if steps is None else steps[place]
            at = self._last if times is None else times[place]
            if not _is_time(at):
                self.leave("point", "was measured before the year 1 or after 9999", name)
                continue
            try:
                given_series(name, [value], None if step is None else [step])
            except InvalidEvent:
                self.leave("point", "is no number", name)
                continue
            for column, one in zip(kept, (value, step, at), strict=True):
                column.append(one)
        return kept[0], None if steps is None else kept[1], kept[2]


def _times_of(times: Any, otherwise: float) -> memoryview | None:
    """Return a column of times, None where some of them are none."""
    try:
        found = array("d", _known_times(times, otherwise))
    except (TypeError, OverflowError):
        return None
    if not found:
        return None
    total = sum(found)
    # Not a number is neither less nor more than another.
    is_sound = total - total == 0 and _YEARS[0] <= min(found) and max(found) < _YEARS[1]
    return memoryview(found) if is_sound else None


def _known_times(times: Any, otherwise: float) -> Any:
    """Return times, where none is known that of the one before."""
    if times is None or not isinstance(times, list) or None not in times:
        return times
    known = []
    for at in times:
        otherwise = otherwise if at is None else at
        known.append(otherwise)
    return known


def _is_time(at: Any) -> bool:
    return isinstance(at, (int, float)) and math.isfinite(at) and _YEARS[0] <= at < _YEARS[1]


def _text_or_none(text: Any) -> str | None:
    return None if text is None else cut(utf8(str(text)), _LONGEST_NAME)
