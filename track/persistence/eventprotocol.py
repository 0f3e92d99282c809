"""The base class of our own backends: it turns the methods of `Protocol` into events."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from track.aggregators.aggregator import METADATA_AGGREGATOR, TIMES_AGGREGATOR, specification
from track.chrono import Timers
from track.configuration import options
from track.errors import BackendUnavailable, CorruptJournal, ItemNotFound, NotFound, TrialDoesNotExist
from track.events import (
    ArtifactAdded,
    Event,
    FieldsMerged,
    MetricsLogged,
    StatusChanged,
    TimeLogged,
    TrialAttached,
    TrialCreated,
)
from track.persistence.contract import (
    RESERVING,
    are_finite,
    artifact_media,
    describe_error,
    final_status,
    given_series,
    group_created,
    metric_specification,
    metric_step,
    normal_status,
    numbers,
    plain_fields,
    plain_step,
    project_created,
    require_mutator,
    require_text,
    text_or_none,
    trial_created,
)
from track.persistence.protocol import Factory, Forgotten, Listener, NumbersTaker, Protocol
from track.persistence.query import ALSO_DELETED, Query, parse_query, parse_stored
from track.persistence.state import DEATHS, DELETED, LATE, RESERVED, Liveness, hidden, stored_in, write_copy
from track.persistence.utils import fixed_place, mask_secrets
from track.plain import utf8
from track.shown import cut, text_of
from track.structure import FORGOTTEN, Project, Status, Trial, TrialGroup
from track.utils.clocks import following
from track.utils.environment import ENVIRONMENT, PACKAGES
from track.utils.system import process_began, process_identity

__all__ = ["EventProtocol"]

logger = logging.getLogger(__name__)
# Seconds by which the start of a process may be told too early: two ticks, and some.
_CLOCK = 0.05
# Seconds by which the clocks of one job's machines differ, at most.
_SKEW = 60.0
# Seconds by which another machine's clock may be ahead for this one to follow it.
_AHEAD = 3600.0
_SHOWN = 5
_TAKEN = {"deleted": {"$exists": True}}
_NOT_RUNNING = parse_query({"status": {"$ne": "running"}}, Trial).conditions
Result = TypeVar("Result")


class EventProtocol(Protocol):
    """Base of backends made of events: write `apply`, the three ``fetch_*`` and `atomically`, get every method.

    Parameters
    ----------
    uri: str
        Where it stores.
    strict: bool
        Whether a group needs its project to be stored, and an attachment both of its ends.
    """

    answers = True
    takes_events = True
    takes_times = True

    def __init__(self, uri: str, strict: bool = True) -> None:
        self.uri = uri
        self.strict = strict
        self.clock = time.time
        self.listeners: list[Listener] = []
        # The trials that are known to be stored; with the attempt for which this process has reserved one.
        self._known: dict[str, int | None] = {}
        self._timers = Timers()
        self._begun: dict[str, tuple[float, int]] = {}
        self._latest = 0.0
        self._has_looked = False
        self._deciding = threading.local()
        self._named: set[tuple[str, Any]] = set()
        # The working directory may be another one when the first file is logged.
        self._artifacts = fixed_place(super().artifacts or str(options("artifacts.url", "") or ""))

    @property
    def artifacts(self) -> str:
        return self._artifacts

    def apply(self, *events: Event) -> None:
        """Store facts; see `Protocol` for what may be raised."""
        raise NotImplementedError

    def keep(self, event: Event) -> None:
        """Store a fact in which no number is NaN or infinite, as `apply` does: on the path of every log call."""
        self.apply(event)

    def atomically(self, action: Callable[[], Result]) -> Result:
        raise NotImplementedError

    # when it was

    def _know(self, trial: Trial) -> None:
        """Note that a trial is stored; nothing that is logged here from now on was before what is known of it."""
        self._known.setdefault(trial.uid)
        self._moment(trial)

    def _moment(self, about: Trial | None = None, known: float = 0.0) -> float:
        """Return the time of a fact, which orders facts wherever they arrive late.

        It is not before one that was given here earlier, whatever the clock says, nor before the last change of the
        trial that it is about, as far as that was read (`known`): who decides on what they know is not overruled by it.
        """
        if about is not None:
            known = about.latest
        if not self._has_looked:
            self._follow_store()
        at = self.clock()
        if at >= self._latest:
            self._latest = at
        else:
            at = self._latest
        if known <= at:
            return at
        if known < at + _AHEAD:
            self._latest = known
        return known

    def _follow_store(self) -> None:
        """Go by the clock of the store from now on, where it is far from this machine's: before the first fact."""
        self._has_looked = True
        self.clock = following(self.clock, self.store_time())

    # storing what a method has decided, and telling those who listen

    def _record(self, *events: Event) -> None:
        self.apply(*events)
        if self.listeners:
            self._tell(*events)

    def _tell(self, *events: Event) -> None:
        """Tell the listeners, once what they hear is stored for good."""
        undecided = getattr(self._deciding, "events", None)
        if undecided is not None:
            undecided.extend(events)
            return
        for listener in self.listeners:
            listener(events)

    def _as_one_step(self, action: Callable[[], Result]) -> Result:
        """Return ``action()``, run atomically; listeners hear what its last attempt has stored."""
        if not self.listeners:
            return self.atomically(action)
        outer, stored = getattr(self._deciding, "events", None), []  # type: ignore[var-annotated]

        def attempt() -> Result:
            stored.clear()
            return action()

        self._deciding.events = stored
        try:
            result = self.atomically(attempt)
        finally:
            self._deciding.events = outer
        self._tell(*stored)
        return result

    @property
    def place(self) -> str:
        """The URI as messages may show it: with its secrets masked."""
        return mask_secrets(self.uri)

    def __reduce__(self) -> Any:
        raise TypeError(
            f"{self!r} cannot be pickled: send its URI, and the uid of the trial, to the other process, "
            "and call TrackClient(uri).set_trial(uid=...) there"
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({cut(repr(self.place), 200)})"

    # logging

    def log_trial_metrics(
        self, trial: Trial, /, step: Any = None, aggregator: Factory | None = None, **kwargs: Any
    ) -> None:
        """Record one number a name; InvalidEvent when a value is none."""
        self._numbers_taker(trial)(step, aggregator, kwargs)

    def numbers_taker(self, trial: Trial) -> NumbersTaker:
        return self._numbers_taker(trial) if self._takes_numbers else super().numbers_taker(trial)

    def floats_taker(self, trial: Trial) -> NumbersTaker:
        return self._floats_taker(trial) if self._takes_numbers else super().floats_taker(trial)

    @property
    def _takes_numbers(self) -> bool:
        # Who has a method of their own is asked.
        return type(self).log_trial_metrics is EventProtocol.log_trial_metrics

    def _floats_taker(self, trial: Trial) -> NumbersTaker:
        # The same as below without what is looked at: as an argument of one function it would cost each call.
        uid = trial.uid

        def take(step: Any, aggregator: Factory | None, values: dict[str, Any]) -> None:
            try:
                attempt = self._known[uid]
            except KeyError:
                attempt = self._known[self._require(uid)]
            if attempt is not None:
                attempt = self._attempt_of(trial)
            spec = None if aggregator is None else metric_specification(aggregator)
            at = self.clock()
            if at >= self._latest:
                self._latest = at
            else:
                at = self._latest
            event = MetricsLogged(uid, values, at, step, spec, attempt)
            self.keep(event)
            if self.listeners:
                self._tell(event)

        return take

    def _numbers_taker(self, trial: Trial) -> NumbersTaker:
        # The uid is put together once; this is the path of every log call.
        uid = trial.uid

        def take(step: Any, aggregator: Factory | None, values: dict[str, Any]) -> None:
            try:
                attempt = self._known[uid]
            except KeyError:
                attempt = self._known[self._require(uid)]
            if attempt is not None:
                attempt = self._attempt_of(trial)
            keep: Callable[[Event], None] = self.keep
            for value in values.values():
                kind = type(value)
                # What is not finite is not 0 when it is taken from itself.
                if (kind is not float and kind is not int) or value - value:
                    values = numbers(values)
                    keep = self.keep if are_finite(values) else self.apply
                    break
            if step is not None and type(step) is not int:
                step = metric_step(step, values)
            spec = None if aggregator is None else metric_specification(aggregator)
            # Not `_moment`: it would be a call more.
            at = self.clock()
            if at >= self._latest:
                self._latest = at
            else:
                at = self._latest
            event = MetricsLogged(uid, values, at, step, spec, attempt)
            keep(event)
            if self.listeners:
                self._tell(event)

        return take

    def log_trial_series(self, trial: Trial, /, name: str, values: Any, steps: Any = None, times: Any = None) -> None:
        uid, given = self._require(trial.uid), given_series(name, values, steps, times)
        for columns in given.columns():
            self._record(MetricsLogged(uid, {}, self._moment(), attempt=self._attempt_of(trial), columns=columns))

    def log_trial_start(self, trial: Trial) -> None:
        uid = self._require(trial.uid)
        own = self._attempt_of(trial, uid)
        if not _is_joined(trial, self.clock()):
            trial.attempt += 1
            own = trial.reserved = None
        elif own is None and any(one.get(RESERVED) for one in trial.processes):
            # What a worker has started shares its attempt.
            own = trial.attempt
        attempt = trial.attempt if own is None else own
        begin = self._process_event(trial, uid, Status.Running, attempt, is_reserved=own is not None)
        self._record(*self._lost_times(trial), begin)
        # Not where another thread has reserved the trial since.
        if own is None or own >= (self._known[uid] or 0):
            self._known[uid] = own
            self._begun[uid] = (time.perf_counter(), attempt)

    def _reserve(self, trial: Trial) -> int:
        """Take a trial that no process runs for this one, and return the attempt that begins."""
        attempt = trial.attempt + 1
        begin = self._process_event(trial, trial.uid, Status.Running, attempt, is_reserved=True)
        self._record(*self._lost_times(trial), begin, *self._death(trial, attempt))
        return attempt

    def _death(self, trial: Trial, attempt: int) -> list[FieldsMerged]:
        """Return how often the processes of a trial were killed by now, where they were killed in the last attempt."""
        if trial.status is not Status.Broken:
            return []
        # A user may log metadata of the same name.
        known = trial.metadata.get(DEATHS)
        values = {DEATHS: (known if isinstance(known, int) else 0) + 1}
        return [FieldsMerged("trial", trial.uid, "metadata", values, self._moment(trial), attempt=attempt)]

    def _hold(self, trial: Trial, attempt: int) -> None:
        """Note that this process has reserved a trial: what it says of it from now on is of this attempt."""
        self._know(trial)
        trial.reserved = attempt
        self.note_attempt(trial.uid, attempt)
        self._begun[trial.uid] = (time.perf_counter(), attempt)

    def _attempt_of(self, trial: Trial, uid: str | None = None) -> int | None:
        """Return the attempt for which a trial was reserved by who holds it, else by this process; None for none.

        Another thread may have reserved it since. `uid`: that of the trial, where it was put together already.
        """
        known = self._known.get(uid or trial.uid)
        return known if known is None or trial.reserved is None else trial.reserved

    def _begun_of(self, trial: Trial, uid: str) -> tuple[float, int] | None:
        """Return when this process began an attempt, and which; None where another thread is in a later one."""
        begun = self._begun.get(uid)
        return None if begun is None or trial.reserved not in (None, begun[1]) else begun

    def _lost_times(self, trial: Trial) -> list[TimeLogged]:
        """Return how long the processes ran that were killed, and could not say so."""
        if trial.status is not Status.Broken:
            return []
        last = trial.metadata.get("_last_change", 0.0)
        lost = [last - one["began"] for one in trial.processes if one["status"][0] == Status.Running.name]
        return [TimeLogged(trial.uid, "runtime", max(0.0, one), self._moment(trial), ["sum"]) for one in lost]

    def _process_event(
        self,
        trial: Trial,
        uid: str,
        status: Status,
        attempt: int | None,
        *,
        error: str | None = None,
        is_reserved: bool = False,
        **more: Any,
    ) -> StatusChanged:
        """Return the fact how far this process is in an attempt."""
        process = process_identity()
        process["parent"] = os.getppid()
        if more:
            process.update(more)
        if is_reserved:
            process[RESERVED] = True
        return StatusChanged(uid, (status.name, status.value), self._moment(trial), error, process, attempt)

    def _own_event(self, trial: Trial, uid: str, status: Status, error: str | None, **more: Any) -> StatusChanged:
        """Return the fact how far this process is in the attempt that it has begun."""
        held = self._attempt_of(trial, uid)
        begun = self._begun_of(trial, uid)
        attempt = held if begun is None else begun[1]
        is_reserved = held is not None and held == attempt
        return self._process_event(trial, uid, status, attempt, error=error, is_reserved=is_reserved, **more)

    def log_trial_signal(self, trial: Trial, name: str | None, error: str | None = None) -> None:
        uid = self._require(trial.uid)
        if uid in self._begun:
            said = {} if name is None else {"signal": name}
            self._record(self._own_event(trial, uid, Status.Running, error, **said))

    def log_trial_finish(self, trial: Trial, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        uid = self._require(trial.uid)
        status = final_status(exc_type, exc_val)
        error = None if status is Status.Completed else describe_error(exc_type, exc_val, exc_tb)
        events: list[Event] = [self._own_event(trial, uid, status, error)]
        begun = self._begun_of(trial, uid)
        # A signal handler may have ended it meanwhile, and has said how long it ran.
        if begun is not None and self._begun.pop(uid, None) is not None:
            ran = time.perf_counter() - begun[0]
            events.insert(0, TimeLogged(uid, "runtime", ran, events[0].at, ["sum"], self._attempt_of(trial, uid)))
        self._record(*events)

    def log_trial_chrono_start(
        self,
        trial: Trial,
        name: str,
        aggregator: Factory = TIMES_AGGREGATOR,
        start_callback: Callable[[], Any] | None = None,
        end_callback: Callable[[], Any] | None = None,
    ) -> None:
        self._timers.start(trial.uid, name, aggregator, start_callback, end_callback)

    def log_trial_chrono_finish(self, trial: Trial, name: str, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        seconds, aggregator = self._timers.stop(trial.uid, name, exc_type is not None)
        if seconds is not None:
            self.log_trial_time(trial, name, seconds, aggregator)

    def log_trial_time(
        self, trial: Trial, name: str, seconds: float, aggregator: Factory | None = TIMES_AGGREGATOR
    ) -> None:
        uid = self._require(trial.uid)
        spec, attempt = specification(aggregator), self._attempt_of(trial)
        event = TimeLogged(uid, utf8(text_of(name)), seconds, self._moment(), spec, attempt)
        self.apply(event)
        if self.listeners:
            self._tell(event)

    def log_trial_arguments(self, trial: Trial, /, **kwargs: Any) -> None:
        self._merge(trial, "parameters", kwargs)

    def log_trial_metadata(
        self, trial: Trial, /, aggregator: Factory | None = METADATA_AGGREGATOR, **kwargs: Any
    ) -> None:
        spec = None if aggregator is METADATA_AGGREGATOR else specification(aggregator)
        if spec is not None and spec == specification(METADATA_AGGREGATOR):
            spec = None
        self._merge(trial, "metadata", kwargs, spec)

    def add_trial_tags(self, trial: Trial, /, **kwargs: Any) -> None:
        self._merge(trial, "tags", kwargs)

    def set_trial_status(self, trial: Trial, status: Any, error: Any = None) -> None:
        """Replace the status; InvalidEvent when it is no status."""
        chosen = normal_status(status)
        text = text_or_none(error)
        uid, at = self._require(trial.uid), self._moment(trial)
        self._record(StatusChanged(uid, (chosen.name, chosen.value), at, text, None, self._attempt_of(trial)))

    def log_trial_artifact(
        self,
        trial: Trial,
        name: str,
        uri: str,
        digest: str | None = None,
        size: int | None = None,
        *,
        step: Any = None,
        media: Any = None,
    ) -> None:
        uid = self._require(trial.uid)
        texts = (utf8(text_of(name)), utf8(text_of(uri)), self._moment(trial), text_or_none(digest))
        known = None if size is None else int(size)
        said = None if step is None else plain_step(step), None if media is None else artifact_media(media)
        self._record(ArtifactAdded(uid, *texts, known, self._attempt_of(trial), *said))

    def log_trial_environment(self, trial: Trial, facts: dict[str, Any], packages: str = "") -> None:
        digest, project = facts.get("packages"), trial.project_id
        if packages and project is not None and (project, digest) not in self._named:
            name = f"{PACKAGES}{digest}"
            if not self._has_packages(project, name):
                self._record(FieldsMerged("project", project, "metadata", {name: packages}, self._moment()))
            self._named.add((project, digest))
        uid = self._require(trial.uid)
        named = FieldsMerged(
            "trial", uid, "metadata", {ENVIRONMENT: facts}, self._moment(trial), None, self._attempt_of(trial, uid)
        )
        self._record(named)

    def _has_packages(self, project: str, name: str) -> bool:
        """Return whether there is nothing to store; what is stored again changes nothing."""
        try:
            found = self.fetch_projects({"uid": project})
        except BackendUnavailable:
            return False
        return not found or name in found[0].metadata

    def set_group_metadata(self, group: TrialGroup, /, **kwargs: Any) -> None:
        """Merge metadata into the group; NotFound when it is not stored."""
        if not self.has(TrialGroup, group.uid):
            raise NotFound(f"no group {group.name or group.uid!r} is stored in {self.place}")
        known = max((at for times in group.moments.values() for at in times.values()), default=0.0)
        at = self._moment(known=known)
        self._record(FieldsMerged("group", group.uid, "metadata", plain_fields(kwargs), at))

    # hiding

    def delete_trial(self, trial: Trial) -> None:
        self._hide(trial, True)

    def restore_trial(self, trial: Trial) -> None:
        self._hide(trial, False)

    def _hide(self, trial: Trial, value: bool) -> None:
        uid = self._require(trial.uid)
        self._record(hidden(uid, value, self._moment(trial), self._attempt_of(trial)))

    def forget_trials(self, older: float = 0.0) -> Forgotten:
        # Before the decision: whoever reads a file again and again must not hold up others.
        self._require_readable()
        return self._as_one_step(partial(self._forget, older))

    def _forget(self, older: float) -> Forgotten:
        self._require_alone()
        until = self._moment() - older
        chosen, running, alive, liveness = [], 0, {}, Liveness(clock=self.clock)  # type: ignore[var-annotated]
        for trial in self.fetch_trials({DELETED: True}):
            if trial.moments.get(DELETED, {}).get(DELETED, 0.0) > until:
                continue
            if liveness.has_live_process(trial, alive):
                running += 1
            else:
                chosen.append(trial)
        for trial in chosen:
            self._record(hidden(trial.uid, FORGOTTEN, self._moment(trial)))
        forgotten = self.fetch_trials({DELETED: FORGOTTEN})
        late = sum(int(trial.metadata.get(LATE, 0)) for trial in forgotten)
        return Forgotten([trial.uid for trial in chosen], running, late)

    def _require_readable(self) -> None:
        """Return if all of the store can be read; CorruptJournal where a line may be about what would be removed."""
        unread = self.unread()
        if unread:
            raise CorruptJournal(
                f"{'; '.join(unread[:_SHOWN])} cannot be read, and may be about what would be removed: nothing is "
                "removed. Put the file back from a copy, or make a new store of what can be read (track copy)"
            )

    def _require_alone(self) -> None:
        """Return if no other process has the store open, as far as that matters; BackendUnavailable where one has."""
        return

    # creating

    def get_project(self, project: Project) -> Project | None:
        return next(iter(self.fetch_projects({"uid": project.uid})), None)

    def get_trial_group(self, group: TrialGroup) -> TrialGroup | None:
        return next(iter(self.fetch_groups({"uid": group.uid})), None)

    def get_trial(self, trial: Trial) -> list[Trial]:
        known = self.fetch_trials({"hash": trial.hash, **ALSO_DELETED})
        revisions = [found for found in known if found.uid == trial.uid or not found.deleted]
        if trial.uid not in [found.uid for found in revisions]:
            return []
        self._know(next(stored for stored in revisions if stored.uid == trial.uid))
        return sorted(revisions, key=lambda found: (found.revision != trial.revision, found.revision))

    def new_project(self, project: Project) -> Project:
        require_text("the name of a project", project.uid)

        def create() -> Project:
            stored = self.get_project(project)
            if stored is not None:
                return stored
            self._record(project_created(project, self._moment()))
            return self.fetch_projects({"uid": project.uid})[0]

        return self._as_one_step(create)

    def new_trial_group(self, group: TrialGroup) -> TrialGroup:
        """Store a group and return it; NotFound when its project is not stored (strict)."""
        if group.name is not None:
            require_text("the name of a group", group.name)

        def create() -> TrialGroup:
            stored = self.get_trial_group(group)
            if stored is not None:
                return stored
            self._require_project(group.project_id)
            self._record(group_created(group, self._moment()))
            return self.fetch_groups({"uid": group.uid})[0]

        return self._as_one_step(create)

    def new_trial(self, trial: Trial, auto_increment: bool = False) -> Trial | None:
        """Store a trial and return it; None when its uid is stored and `auto_increment` is false."""
        made = self.create_trial(trial, auto_increment)
        return None if made is None else made[0]

    def create_trial(self, trial: Trial, auto_increment: bool) -> tuple[Trial, TrialCreated] | None:
        """Store a trial as `new_trial` does, and return it as it is stored, and the event that says so."""
        digest = trial.hash

        def create() -> tuple[Trial, TrialCreated] | None:
            revision = self._free_revision(trial, digest, auto_increment)
            if revision is None:
                return None
            trial.revision = revision
            event = trial_created(trial, self._moment())
            self._record(event)
            self._know(trial)
            return self._shown(trial.uid), event

        return self._as_one_step(create)

    def _shown(self, uid: str) -> Trial:
        """Return a trial that is stored, as it is shown."""
        return self.fetch_trials({"uid": uid})[0]

    def add_project_trial(self, project: Project, trial: Trial) -> None:
        """Move the trial into the project; NotFound when either is not stored (strict)."""
        self._attach(trial, "project", project.uid)
        trial.project_id = project.uid

    def confirm_project(self, project: Project, trial: Trial) -> None:
        """See that the trial is in the project; NotFound when that is not stored (strict)."""
        # The fact that it exists says in which one.
        if trial.project_id == project.uid:
            self._require_project(project.uid)
        else:
            self.add_project_trial(project, trial)

    def add_group_trial(self, group: TrialGroup, trial: Trial) -> None:
        """Add the trial to the group; NotFound when either is not stored (strict)."""
        self._attach(trial, "group", group.uid)
        trial.group_id = group.uid

    # deciding

    def fetch_and_update_trial(self, query: Any, attr: str, *args: Any, **kwargs: Any) -> Trial:
        changed, attempt = self.update_trial(query, attr, args, kwargs)
        if attempt is not None:
            self._hold(changed, attempt)
        return changed

    def update_trial(self, query: Any, attr: str, args: Any, kwargs: Any) -> tuple[Trial, int | None]:
        """Do what `fetch_and_update_trial` does, and return also the attempt for which the trial is reserved now."""
        require_mutator(attr)
        # What a process runs is not taken from it, whatever is asked for.
        asked = Query((*parse_stored(query).conditions, *_NOT_RUNNING)) if attr == RESERVING else query

        def update() -> tuple[Trial, int | None]:
            attempt = None
            found = self.first_trial(asked)
            if found is None:
                raise ItemNotFound(f"no trial in {self.place} matches {query!r}")
            if attr == RESERVING:
                attempt = self._reserve(found)
            else:
                getattr(self, attr)(found, *args, **kwargs)
            return self._shown(found.uid), attempt

        return self._as_one_step(update)

    def reserved_attempt(self, uid: str) -> int | None:
        return self._known.get(uid)

    def share_attempt(self, uid: str, attempt: int) -> None:
        self.note_attempt(self._require(uid), attempt)

    def note_attempt(self, uid: str, attempt: int) -> None:
        """Note for which attempt this process has a trial, which is stored: it also decides in it."""
        self._known[uid] = attempt

    def fetch_and_update_group(self, query: Any, attr: str, *args: Any, **kwargs: Any) -> TrialGroup:
        require_mutator(attr)

        def update() -> TrialGroup:
            found = self.fetch_groups(query)
            if not found:
                raise ItemNotFound(f"no group in {self.place} matches {query!r}")
            getattr(self, attr)(found[0], *args, **kwargs)
            return self.fetch_groups({"uid": found[0].uid})[0]

        return self._as_one_step(update)

    def revisions(self, digest: str) -> set[int]:
        return {found.revision for found in self.fetch_trials({"hash": digest, **_TAKEN})}

    def has(self, kind: type, uid: Any) -> bool:
        return bool(self.fetch_trials({"uid": uid, **_TAKEN})) if kind is Trial else super().has(kind, uid)

    def commit(self, **kwargs: Any) -> None:
        self.flush()
        if kwargs.get("file_name_override") is not None:
            write_copy(kwargs["file_name_override"], stored_in(self), self.file)

    def _free_revision(self, trial: Trial, digest: str, auto_increment: bool) -> int | None:
        revisions = self.revisions(digest)
        if trial.revision not in revisions:
            return trial.revision
        return max(revisions) + 1 if auto_increment else None

    def _require(self, uid: str) -> str:
        if uid not in self._known:
            if not self.has(Trial, uid):
                raise TrialDoesNotExist(f"no trial {uid!r} is stored in {self.place}: create it with new_trial")
            self._known.setdefault(uid)
            if not self._has_looked:
                self._follow_store()
        return uid

    def _require_project(self, uid: Any) -> None:
        if self.strict and not self.has(Project, uid):
            raise NotFound(f"no project {uid!r} is stored in {self.place}: create it with new_project")

    def _attach(self, trial: Trial, kind: str, owner: str) -> None:
        uid = self._require(trial.uid) if self.strict else trial.uid
        if kind == "project":
            self._require_project(owner)
        elif self.strict and not self.has(TrialGroup, owner):
            raise NotFound(f"no group {owner!r} is stored in {self.place}: create it with new_trial_group")
        self._record(TrialAttached(uid, kind, owner, self._moment(trial), self._attempt_of(trial)))

    def _merge(self, trial: Trial, field: str, values: dict[str, Any], spec: list[Any] | None = None) -> None:
        uid = trial.uid
        try:
            attempt = self._known[uid]
        except KeyError:
            attempt = self._known[self._require(uid)]
        plain = plain_fields(values)
        if attempt is not None:
            attempt = self._attempt_of(trial)
        event = FieldsMerged("trial", uid, field, plain, self._moment(trial), spec, attempt)
        # An aggregator of somebody else's may be written down as anything.
        (self.keep if spec is None else self.apply)(event)
        if self.listeners:
            self._tell(event)


def _is_joined(trial: Trial, now: float) -> bool:
    """Return whether a process that begins a trial shares the present attempt; else it begins the next one.

    It does while another process runs the trial, and when a sibling of its own job has just ended: a rank that
    comes late covers no failure up. A process that began after the end goes on with the trial instead; so does one
    whose clock was set back since.
    """
    if not trial.attempt or trial.status is Status.Running:
        return trial.attempt > 0
    # A shell that becomes its last command keeps its own beginning: its children are no siblings of it.
    # When it began is said by this machine's clock, and what is known of the others by the store's.
    family, began = (process_identity()["host"], os.getppid()), process_began() + now - time.time()
    return any(
        (one.get("host"), one.get("parent")) == family and began + _CLOCK < one.get("at", 0.0) < now + _SKEW
        for one in trial.processes
    )
