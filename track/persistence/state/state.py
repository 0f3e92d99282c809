"""State in memory: the objects of one store, with their indexes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from track.aggregators.aggregator import Aggregator
from track.events import (
    ArtifactAdded,
    Batch,
    Event,
    FieldsMerged,
    GroupCreated,
    MetricsLogged,
    ProjectCreated,
    Record,
    StatusChanged,
    TimeLogged,
    TrialAttached,
    TrialCreated,
)
from track.persistence.buckets import Question, Source
from track.persistence.contract import FetchedPoints, Since, chosen, start_of, unknown_trial
from track.persistence.query import OPERATORS, Query, parse_query, parse_stored
from track.persistence.state.apply import (
    is_forgetting,
    is_overtaken,
    make_group,
    make_project,
    make_trial,
    update,
    update_by,
)
from track.persistence.state.liveness import Liveness
from track.persistence.state.looking import seen_trial
from track.persistence.state.order import newer
from track.persistence.state.outside import PointsFiles
from track.persistence.state.runs import Run, run_of
from track.persistence.state.statuses import StatusIndex
from track.persistence.state.unread import UnreadTrial
from track.persistence.state.views import Owner, resumes_of, shown_fields, shown_points, with_members
from track.plain import LEAVES, restore
from track.shown import clean, shown
from track.structure import FORGOTTEN, Project, Status, Trial, TrialGroup

logger = logging.getLogger(__name__)
_JOURNALS = 1000
_DIGITS = 20
_PLAIN = (dict, list)


class State:
    """The projects, groups and trials of one store, by uid, in the order they were created.

    Parameters
    ----------
    place: str, optional
        What messages call the store.
    clock: callable
        Returns unix seconds; to tell how long a trial has been silent.
    """

    def __init__(self, place: str | None = None, clock: Callable[[], float] = time.time) -> None:
        self.place = place
        self.liveness = Liveness(clock=clock)
        self.identity = ""
        """The id of the store; empty while it has none."""
        self.former: list[str] = []
        """The ids that it had before, oldest first."""
        self.home = ""
        """Where the file was that was last written: there it is looked for to tell a copy."""
        self.origin: dict[str, str] = {}
        """The numbers by which its files were known there: none of them is that of a copy."""
        self._projects: dict[str, Project] = {}
        self._groups: dict[str, TrialGroup] = {}
        self._trials: dict[str, Trial] = {}
        self._by_hash: dict[str, list[str]] = {}
        self._by_status = StatusIndex()
        self._members: dict[str, dict[str, None]] = {}
        self.unknown: dict[tuple[str, Any], dict[str, Any]] = {}
        """Fields of the last snapshot that this version does not know, by kind and uid of what they are of."""
        self.changed: set[str] = set()
        """The uids of trials that the last snapshot does not show as they are."""
        self.count = 0
        """How many events were applied, as all who read the same files count them."""
        self.marks: dict[str, int] = {}
        """The number of the last event of each trial."""
        self.journals: dict[str, int] = {}
        """How many events there were at the end of each journal that a snapshot holds, the last one last."""
        self.documents: dict[str, Any] = {}
        """The bytes of trials in the last snapshot."""
        self.sizes: dict[str, int] = {}
        """How many points the trials had when they were last counted."""
        self.outside = PointsFiles(place or "")
        """The points that the last snapshot names and does not hold."""
        self.unapplied: dict[str, int] = {}
        """How many events were about a trial, group or project that is not here, by its uid."""
        self.writers: dict[str, int] = {}
        """The number of the last event of each writer whose events come in batches."""

    @property
    def objects(self) -> dict[str, Any]:
        """Every stored object by uid."""
        return {**self._projects, **self._groups, **self._trials}

    @property
    def projects(self) -> set[str]:
        """The uids of the projects."""
        return set(self._projects)

    @property
    def groups(self) -> set[str]:
        """The uids of the groups."""
        return set(self._groups)

    @property
    def trials(self) -> set[str]:
        """The uids of the trials."""
        return set(self._trials)

    @property
    def project_names(self) -> dict[str | None, str]:
        """Project uid by name."""
        return {project.name: uid for uid, project in self._projects.items()}

    @property
    def group_names(self) -> dict[str | None, str]:
        """Group uid by name; the last one where projects have groups of the same name."""
        return {group.name: uid for uid, group in self._groups.items()}

    # changing

    def apply(self, records: Iterable[Record]) -> None:
        """Change the state as the events say; one that names a trial that is not here is reported and skipped."""
        change = self.prepared(records) if isinstance(records, list) else None
        if change is not None:
            change()
            return
        trials, changed, marks = self._trials, self.changed, self.marks
        for event in records:
            self.count = count = self.count + 1
            try:
                if type(event) is MetricsLogged:
                    uid = event.trial
                    trial = trials.get(uid)
                    if trial is not None:
                        changed.add(uid)
                        marks[uid] = count
                        update(trial, event)
                        continue
                _changes[type(event)](self, event)
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                # One damaged line must not hide the others.
                what = (self.place, clean(str(error)), shown(event))
                logger.warning("an event in %s makes no sense (%s) and is skipped: %s", *what)

    def prepared(self, records: Sequence[Record]) -> Callable[[], None] | None:
        """Return what changes the state at once as all of the records say; None where they are not alike."""
        run = run_of(records)
        trial = None if run is None else self._trials.get(run.trial)
        if run is None or trial is None or trial.deleted or not trial.metrics.is_loaded:
            return None
        return partial(self._apply_run, trial, run) if all(map(trial.metrics.is_made_of_points, run.values)) else None

    def _apply_run(self, trial: Trial, run: Run) -> None:
        self.count += len(run.times)
        self.changed.add(run.trial)
        self.marks[run.trial] = self.count
        update_by(trial, run)

    def _apply_batch(self, batch: Batch) -> None:
        """Apply what is new: the events after the last one of this writer, however often they were written."""
        last = self.writers.get(batch.writer, -1)
        self.apply(batch.events[max(0, last + 1 - batch.first) :])
        self.writers[batch.writer] = max(last, batch.first + len(batch.events) - 1)

    def _create_project(self, event: ProjectCreated) -> None:
        if event.uid not in self._projects:
            self.add_project(make_project(event))
            self._mark_trials_of(event.uid)

    def _create_group(self, event: GroupCreated) -> None:
        if event.uid not in self._groups:
            self.add_group(make_group(event), ())

    def _create_trial(self, event: TrialCreated) -> None:
        if event.trial not in self._trials:
            self.add_trial(make_trial(event))

    def _change_trial(self, event: MetricsLogged | TimeLogged | StatusChanged | ArtifactAdded) -> None:
        self._update(event.trial, event)

    def _update(self, uid: str, event: Event) -> None:
        trial = self._trials.get(uid)
        if trial is None:
            self._note_unapplied("trial", uid)
            return
        self.changed.add(uid)
        self.marks[uid] = self.count
        before = trial.status
        try:
            if type(trial) is not UnreadTrial or not trial.keep(event):
                update(trial, event)
        finally:
            if trial.status is not before:
                self._by_status.move(uid, before, trial.status)

    def _attach_trial(self, event: TrialAttached) -> None:
        trial = self._trials.get(event.trial)
        is_late = trial is not None and (trial.deleted == FORGOTTEN or is_overtaken(trial, event))
        if event.kind == "group" and not is_late:
            self._members.setdefault(event.owner, {})[event.trial] = None
        if trial is not None:
            self._update(event.trial, event)

    def _merge_fields(self, event: FieldsMerged) -> None:
        if event.kind in ("group", "project"):
            self._merge_into_owner(event)
            return
        self._update(event.uid, event)
        if is_forgetting(event):
            self.unknown.pop(("trial", event.uid), None)
            for members in self._members.values():
                members.pop(event.uid, None)

    def _merge_into_owner(self, event: FieldsMerged) -> None:
        owner: Any = (self._groups if event.kind == "group" else self._projects).get(event.uid)
        if owner is None:
            self._note_unapplied(event.kind, event.uid)
            return
        values = newer(owner.moments, event.field, event.values, event.at)
        getattr(owner, event.field).update({name: restore(value) for name, value in values.items()})
        if event.kind == "project" and event.field == "tags":
            self._mark_trials_of(event.uid)

    def _mark_trials_of(self, project: str) -> None:
        """Note that trials have changed, as those do that are shown with the tags of their project."""
        if self._projects[project].tags:
            of_project = (uid for uid, trial in self._trials.items() if trial.project_id == project)
            self.marks.update(dict.fromkeys(of_project, self.count))

    def is_forgotten(self, uid: str) -> bool:
        """Return whether nothing but the uid of a trial is kept."""
        return uid in self._trials and self._trials[uid].deleted == FORGOTTEN

    def _note_unapplied(self, kind: str, uid: str) -> None:
        count = self.unapplied[uid] = self.unapplied.get(uid, 0) + 1
        if count == 1:
            logger.warning(
                "an event of %s %s, which is not in %s, is skipped, as are those that follow",
                kind,
                clean(uid),
                self.place or "memory",
            )

    def add_project(self, project: Project) -> None:
        """Take a project; its trials and groups are added on their own."""
        self._projects[project.uid] = project

    def add_group(self, group: TrialGroup, members: Iterable[str]) -> None:
        """Take a group and the uids of its trials."""
        self._groups[group.uid] = group
        self._members.setdefault(group.uid, {}).update(dict.fromkeys(members))

    def add_trial(self, trial: Trial) -> None:
        """Take a trial."""
        uid = trial.uid
        self.take_trial(uid, trial, trial.hash, trial.status)
        self.changed.add(uid)

    def take_trial(self, uid: str, trial: Trial, digest: str, status: Any) -> None:
        """Take a trial that is in the snapshot as it is, without looking at it."""
        if (known := self._trials.get(uid)) is None:
            self._by_status.add(uid, status)
        else:
            self._by_status.move(uid, known.status, status)
        self._trials[uid] = trial
        self._by_hash.setdefault(digest, []).append(uid)
        self.marks[uid] = self.count

    # asking

    def find_trials(self, query: Any = None) -> Iterator[Trial]:
        """Return the trials that match, oldest first, as views that later events do not change."""
        parsed = parse_stored(query)
        asked = parsed.of_status
        alive: dict[Any, bool | None] = {}
        for trial in self._candidates(parsed):
            # So a worker that looks for one that waits looks at no more of those that run.
            if asked and trial.status is Status.Running:
                status = self.liveness.shown_status(trial, alive)
                if not all(OPERATORS[one.name](status, one.operand) for one in asked):
                    continue
            fields = shown_fields(trial, self._project_tags, self.liveness, alive)
            seen = _view(trial, fields) if fields else trial
            if parsed.matches(seen):
                yield seen if fields else _view(trial, fields)

    def shown(self, uid: str) -> Trial:
        """Return a trial that is stored, as a view that later events do not change."""
        trial = self._trials[uid]
        return _view(trial, shown_fields(trial, self._project_tags, self.liveness, {}))

    def copy_of(self, uid: str) -> Trial | None:
        """Return a view of a trial as it is stored, which may be changed; None where there is none."""
        trial = self._trials.get(uid)
        return None if trial is None else _view(trial, {})

    def show(self, view: Trial) -> None:
        """Change a view into what is shown of the trial."""
        vars(view).update(shown_fields(view, self._project_tags, self.liveness, {}))

    def tags_of(self, trial: Trial) -> dict[str, Any] | None:
        """Return the tags of a trial's project; None where it is in none."""
        return self._project_tags(trial.project_id) if isinstance(trial.project_id, str) else None

    def find_groups(self, query: Any = None) -> Iterator[TrialGroup]:
        """Return copies of the groups that match, oldest first."""
        return self._find_owners(query, TrialGroup, self._groups, self._group_view)

    def find_projects(self, query: Any = None) -> Iterator[Project]:
        """Return copies of the projects that match, oldest first; their groups and trials are for the caller."""
        return self._find_owners(query, Project, self._projects, self._project_view)

    def _find_owners(self, query: Any, kind: type, stored: dict[str, Any], view: Callable[[Any], Any]) -> Iterator[Any]:
        parsed = parse_query(query, kind)
        uid = parsed.exact("uid")
        for owner in stored.values() if uid is None else [stored[uid]] if uid in stored else []:
            seen = view(owner)
            if parsed.matches(seen):
                yield seen

    def changes(self, since: str | None, journal: str) -> tuple[str, list[str]]:
        """Return a cursor, and the trials that have changed since another one; all of them where that is not known.

        A cursor is a journal, and how many events there were. What the last snapshot holds goes by the journal that the
        snapshot names: the one after it may be removed without an event.

        `journal`: where the events since the last snapshot are.
        """
        held = next(reversed(self.journals), "")
        named = held if self.journals.get(held) == self.count else journal
        of, _, number = (since or "").partition(":")
        end = self.count if of == journal else self.journals.get(of, -1)
        is_known = bool(of) and number.isascii() and number.isdecimal() and len(number) < _DIGITS and int(number) <= end
        first = int(number) if is_known else -1
        uids = [uid for uid, mark in self.marks.items() if mark > first] if first < self.count else []
        return f"{named}:{self.count}", uids

    def points(self, uid: str, names: Iterable[str] | None, since: Since) -> dict[str, FetchedPoints]:
        """Return the points of metrics from a position on; TrialDoesNotExist where there is no such trial."""
        trial = self._trials.get(uid)
        if trial is None:
            raise unknown_trial(uid)
        resumes = resumes_of(trial)
        found = {
            name: shown_points(container, resumes, start_of(since, name))
            for name, container in chosen(trial.metrics, names).items()
        }
        return {name: points for name, points in found.items() if points is not None}

    def seen(self, uids: Iterable[str], question: Question) -> list[tuple[str, Source]]:
        """Return what the buckets of those trials are made of that are stored, as it is now."""
        return [(uid, seen_trial(self._trials[uid], question)) for uid in uids if uid in self._trials]

    def note_journal(self, journal: str) -> None:
        """Note that a snapshot holds a journal up to here; of the last journals it is known where they ended."""
        self.journals.pop(journal, None)
        self.journals[journal] = self.count
        while len(self.journals) > _JOURNALS:
            del self.journals[next(iter(self.journals))]

    def revisions(self, digest: str) -> set[int]:
        """Return the revisions of a hash that are stored."""
        return {self._trials[uid].revision for uid in self._by_hash.get(digest, ())}

    def has(self, kind: type, uid: Any) -> bool:
        """Return whether a trial, group or project with this uid is stored."""
        stored: dict[type, Any] = {Trial: self._trials, TrialGroup: self._groups, Project: self._projects}
        return uid in stored[kind]

    def _candidates(self, query: Query) -> Iterable[Trial]:
        uid, digest = query.exact("uid"), query.exact("hash")
        if uid is not None:
            return [self._trials[uid]] if uid in self._trials else []
        chosen = query.choices("uid")
        if chosen is not None:
            # Of the others nothing is decoded.
            wanted = frozenset(chosen)
            return [trial for uid, trial in self._trials.items() if uid in wanted]
        if digest is not None:
            return [self._trials[uid] for uid in self._by_hash.get(digest, ())]
        waiting = self._by_status.candidates(query)
        return list(self._trials.values()) if waiting is None else map(self._trials.__getitem__, waiting)

    def _project_tags(self, uid: str) -> dict[str, Any] | None:
        project = self._projects.get(uid)
        return None if project is None else project.tags

    def _group_view(self, group: TrialGroup) -> TrialGroup:
        fields = (group._uid, group.name, group.description, _copy(group.metadata))
        moments = _copy(group.moments)
        return self._with_members(TrialGroup(*fields, project_id=group.project_id, moments=moments))

    def _project_view(self, project: Project) -> Project:
        fields = (project._uid, project.name, project.description, _copy(project.metadata))
        return self._with_members(Project(*fields, tags=_copy(project.tags), moments=_copy(project.moments)))

    def _with_members(self, owner: Owner) -> Owner:
        return with_members(owner, self._shown_members, self.find_trials, self.find_groups)

    def _shown_members(self, group: str) -> list[str]:
        trials = self._trials
        return [uid for uid in self._members.get(group, ()) if uid not in trials or not trials[uid].deleted]

    def __len__(self) -> int:
        return len(self._trials)


_changes: dict[type, Callable[[State, Any], None]] = {
    MetricsLogged: State._change_trial,
    TimeLogged: State._change_trial,
    StatusChanged: State._change_trial,
    ArtifactAdded: State._change_trial,
    FieldsMerged: State._merge_fields,
    ProjectCreated: State._create_project,
    GroupCreated: State._create_group,
    TrialCreated: State._create_trial,
    TrialAttached: State._attach_trial,
    Batch: State._apply_batch,
}


def _view(trial: Trial, shown: dict[str, Any]) -> Trial:
    view = Trial.__new__(Trial)
    fields = vars(view)
    fields.update(vars(trial), **shown)
    for name in ("tags", "parameters", "metadata", "errors", "artifacts", "timestamps"):
        value = fields[name]
        # Most have some that are empty.
        fields[name] = _copy(value) if value or type(value) not in _PLAIN else type(value)()
    if trial.moments:
        fields["moments"] = {field: times.copy() for field, times in trial.moments.items()}
    for name in ("metrics", "chronos"):
        fields[name] = fields[name].view()
    return view


def _copy(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {key: item if type(item) in LEAVES else _copy(item) for key, item in value.items()}
    if kind is list:
        return [item if type(item) in LEAVES else _copy(item) for item in value]
    if isinstance(value, Aggregator):
        import copy

        return copy.deepcopy(value)
    return value
