"""``track copy``: copy runs from one store to another."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from operator import eq
from typing import Any

from msgspec.structs import replace

from track.aggregators.aggregator import TimeSeriesAggregator
from track.artifacts import shared
from track.cli.shell import as_uri, code_of, opened, say_json, take_forms
from track.columns import Columns
from track.containers.points import Points
from track.containers.series import Series
from track.errors import InvalidEvent, InvalidUri, TrackError
from track.events import Event, FieldsMerged, GroupCreated, MetricsLogged, ProjectCreated, TrialAttached
from track.naming import WAYS, named
from track.persistence.contract import counted, moments_copied, stored_series, trial_copied
from track.persistence.query import ALSO_DELETED
from track.persistence.registry import get_protocol
from track.persistence.state import DELETED, hidden
from track.persistence.utils import mask_secrets
from track.plain import to_plain
from track.reading import open_to_read
from track.shown import short_uid
from track.structure import Project, Status, Trial, TrialGroup
from track.utils.environment import PACKAGES

_DESCRIPTION = """
Copies projects, groups and trials, with all that they have measured. It may be run again: what is there is not copied
twice. Files of trials stay where they are, and the copies name them there.
"""
# More points than these are sent in columns, so many at a time: a server takes messages of a few megabytes.
_WHOLE = 50_000
_PIECE = 4
_SHOWN = 5


def add_parser(verbs: Any, name: str) -> None:
    """Add the command to the parser of the program."""
    parser = verbs.add_parser(name, description=_DESCRIPTION)
    parser.add_argument(
        "source", type=as_uri, metavar="FROM", help="the store to copy from, as it is given to TrackClient"
    )
    parser.add_argument(
        "target", type=as_uri, metavar="TO", help="the store to copy to; a file that does not exist is made"
    )
    parser.add_argument(
        "trials", metavar="TRIAL", nargs="*", default=[], help=f"only these trials: {WAYS} (default: all)"
    )
    parser.add_argument("--running", action="store_true", help="copy trials that are running, too, as they are now")
    take_forms(parser, is_list=False)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Copy, and return the exit code."""
    try:
        copying = _Copying(arguments.source, arguments.target, arguments.trials)
        copying.run(arguments.running)
    except (TrackError, OSError) as error:
        print(f"track copy: {error}", file=sys.stderr)
        return code_of(error)
    return copying.report(arguments.json)


class _Copying:
    """Two stores, and what became of each trial."""

    def __init__(self, source: str, target: str, names: list[str]) -> None:
        self._places = (mask_secrets(source), mask_secrets(target))
        self._source, self._target = opened(open_to_read, source), get_protocol(target)
        known = self._source.fetch_trials(ALSO_DELETED)
        chosen = {named(self._source, name).uid for name in names}
        self._trials = [trial for trial in known if trial.uid in chosen] if names else known
        self._is_part = bool(names)
        if not self._target.takes_events:
            raise InvalidUri(f"{self._places[1]} is no store that runs can be copied to")
        if self._source.file is not None and self._source.file == self._target.file:
            raise InvalidUri(f"{self._places[0]} and {self._places[1]} are one store")
        self._target.check_writable()
        # What a target has seen from a writer it drops: should a connection break, nothing is stored twice.
        self._writer, self._sent = f"copy-{secrets.token_hex(8)}", 0
        self._moments = {(trial.uid, _created(trial)) for trial in known}
        self._outcomes: dict[str, list[str]] = {}
        self._uids: dict[str, list[str]] = {}
        self._files: dict[str, int] = {}

    def run(self, with_running: bool) -> None:
        """Copy what is not there yet."""
        groups = self._source.fetch_groups()
        self._copy_owners(*self._owners(self._source.fetch_projects(), groups))
        for trial in self._trials:
            if trial.status == Status.Running and not with_running:
                self._note("running", trial)
                continue
            # The group that it was put into last is its own.
            members = [group.uid for group in groups if trial.uid in group.trials]
            if trial.deleted:
                # Its group does not name it.
                members = [group.uid for group in groups if group.uid == trial.group_id]
            members.sort(key=partial(eq, trial.group_id))
            try:
                self._copy(trial, members)
            except InvalidEvent as error:
                self._note("refused", trial, f" ({error})")
        self._target.commit()
        for store in (self._source, self._target):
            store.close()

    def _copy_packages(self, project: Project) -> None:
        """Give a project that is there the packages that trials name which are copied."""
        known = {name for there in self._target.fetch_projects({"uid": project.uid}) for name in there.metadata}
        new = {name: text for name, text in project.metadata.items() if name.startswith(PACKAGES)}
        missing = {name: to_plain(text) for name, text in new.items() if name not in known}
        if missing:
            self._send([FieldsMerged("project", project.uid, "metadata", missing, self._target.clock())])

    def _owners(self, projects: list[Project], groups: list[TrialGroup]) -> tuple[list[Project], list[TrialGroup]]:
        """Return the projects and groups to copy: all, or those of the trials that were chosen."""
        if not self._is_part:
            return projects, groups
        uids = {trial.uid for trial in self._trials}
        owners = {owner for trial in self._trials for owner in (trial.group_id, trial.project_id)}
        groups = [group for group in groups if group.uid in owners or uids & group.trials]
        owners |= {group.project_id for group in groups}
        return [project for project in projects if project.uid in owners], groups

    def _copy_owners(self, projects: list[Project], groups: list[TrialGroup]) -> None:
        now = time.time()
        for project in projects:
            if self._target.has(Project, project.uid):
                self._copy_packages(project)
            else:
                facts = (to_plain(project.metadata), to_plain(project.tags))
                moments = moments_copied(project)
                self._send([ProjectCreated(project.uid, now, project.name, project.description, *facts, moments)])
        for group in groups:
            if not self._target.has(TrialGroup, group.uid):
                facts = (to_plain(group.metadata), to_plain(group.project_id))
                moments = moments_copied(group)
                self._send([GroupCreated(group.uid, now, group.name, group.description, *facts, moments)])

    def _copy(self, trial: Trial, groups: list[str]) -> None:
        there = self._target.fetch_trials({"hash": trial.hash, **ALSO_DELETED})
        same = next((found for found in there if self._is_same(found, trial)), None)
        events = _Facts(trial, groups)
        if same is None:
            taken = self._target.revisions(trial.hash)
            if trial.revision in taken - {found.revision for found in there}:
                self._note("forgotten", trial)
                return
            revision = max(taken) + 1 if trial.revision in taken else trial.revision
        elif events.is_large and -1 < self._target.last(events.writer) < events.count - 1:
            revision = same.revision
        else:
            if same.deleted and not trial.deleted:
                self._note("deleted", trial)
                return
            self._note("present" if trial.deleted or _changes(trial) <= _changes(same) else "changed", trial)
            return
        events.created = replace(events.created, revision=revision, artifacts=self._manifest(trial))
        self._send_trial(events)
        self._note("copied", trial)
        if trial.deleted:
            self._note("hidden", trial)
        if revision != trial.revision:
            self._note("renumbered", trial, f" is revision {revision}")

    def _is_same(self, found: Trial, trial: Trial) -> bool:
        """Return whether a trial of the target is the copy of this one: both were created at the same moment."""
        ours, theirs = _created(trial), _created(found)
        if found.uid == trial.uid:
            # Files of the original know no moment.
            return ours == theirs or not ours or not theirs
        return 0 < ours == theirs and (found.uid, theirs) not in self._moments

    def _send_trial(self, events: _Facts) -> None:
        if not events.is_large:
            self._send(list(events))
            return
        # Numbered for good: a copy that was broken off goes on where it was.
        number, facts = 0, iter(events)
        while piece := list(islice(facts, _PIECE)):
            self._target.receive(events.writer, number, piece)
            number += len(piece)

    def _send(self, events: list[Event]) -> None:
        self._target.receive(self._writer, self._sent, events)
        self._sent += len(events)

    def _manifest(self, trial: Trial) -> list[dict[str, Any]]:
        if not trial.artifacts:
            return []
        try:
            lines, places = shared(trial.artifacts, self._source.main, self._target.main)
        except (TrackError, OSError) as error:
            print(f"track copy: files of {_shown(trial)} cannot be looked up: {error}", file=sys.stderr)
            return to_plain(trial.artifacts)  # type: ignore[no-any-return]
        for place in places:
            self._files[place] = self._files.get(place, 0) + 1
        return to_plain(lines)  # type: ignore[no-any-return]

    def _note(self, outcome: str, trial: Trial, more: str = "") -> None:
        self._outcomes.setdefault(outcome, []).append(f"{_shown(trial)}{more}")
        self._uids.setdefault(outcome, []).append(trial.uid)

    def report(self, as_json: bool) -> int:
        """Say what was copied and what was not, and return the exit code."""
        if as_json:
            outcomes = {outcome: self._uids.get(outcome, []) for outcome in ("copied", *_TEXTS)}
            places = {mask_secrets(place): count for place, count in self._files.items()}
            say_json(source=self._places[0], target=self._places[1], **outcomes, files=places)
        else:
            self._say()
        return 1 if self._outcomes.keys() & {"running", "changed", "refused"} else 0

    def _say(self) -> None:
        source, target = self._places
        print(f"copied {_count(self._outcomes.get('copied', []), 'trial')} from {source} to {target}")
        for outcome, text in _TEXTS.items():
            trials = self._outcomes.get(outcome, [])
            if trials:
                more = f" and {len(trials) - _SHOWN} more" if len(trials) > _SHOWN else ""
                names = "" if outcome == "present" else f": {', '.join(trials[:_SHOWN])}{more}"
                print(f"  {_count(trials, 'trial')} {text}{names}")
        for place, count in self._files.items():
            print(f"  files of {count} of them stay in {mask_secrets(place)}: keep that place")


_TEXTS = {
    "present": "there already",
    "deleted": "not copied, because they were deleted there (track restore brings them back)",
    "forgotten": "not copied, because they were deleted there and removed for good",
    "hidden": "copied as deleted, which they were (track restore brings them back)",
    "renumbered": "with another revision, because theirs is another run's there",
    "running": "not copied, because they run (again when they have ended, or --running)",
    "changed": "not copied again, though they have changed since they were",
    "refused": "not copied, because they were refused",
}


class _Facts:
    """What there is to tell of one trial: that it exists, as it is; and what makes it large, in columns."""

    def __init__(self, trial: Trial, groups: list[str]) -> None:
        self._large = _large(trial)
        created = trial_copied(trial)
        self._groups = groups
        self._last = created.at
        self.is_large = bool(self._large)
        columns = sum(1 for _ in self._columns())
        self._attached = created.moments.get("owner", {}).get("group", self._last)
        # Each fact after the first is a change, and so is the last one, which says when the last change was.
        self._hidden = [created.moments.get(DELETED, {}).get(DELETED, self._last)] if trial.deleted else []
        said = {*self._hidden, *(self._attached for _ in groups)}
        self._closes = self.is_large or bool(said - {self._last})
        changes = columns + len(groups) + len(self._hidden) + self._closes
        metrics = {name: plain for name, plain in created.metrics.items() if name not in self._large}
        self.created = replace(created, metrics=metrics, changes=created.changes - changes)
        self.count = 1 + changes
        self.writer = f"copy-columns-{trial.uid}-{_changes(trial)}"

    def __iter__(self) -> Iterator[Event]:
        uid = self.created.trial
        yield self.created
        yield from (MetricsLogged(uid, {}, self._last, columns=columns) for columns in self._columns())
        yield from (TrialAttached(uid, "group", group, self._attached) for group in self._groups)
        yield from (hidden(uid, True, at) for at in self._hidden)
        if self._closes:
            yield FieldsMerged("trial", uid, "metadata", {}, self._last)

    def _columns(self) -> Iterator[Columns]:
        for name, container in self._large.items():
            yield from stored_series(name, *container.points.columns()).columns()


def _large(trial: Trial) -> dict[str, Any]:
    """Return what goes in columns: the metrics of most points, until the others together are few."""
    sizes = {name: len(found.points) for name, found in trial.metrics.items() if _has_columns(found)}
    left, large = sum(sizes.values()), {}
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if left < _WHOLE:
            break
        large[name] = trial.metrics[name]
        left -= sizes[name]
    return large


def _has_columns(container: Any) -> bool:
    if isinstance(container, Series):
        return True
    # A value with a step among values without one is no number; such a series goes as it is.
    return isinstance(container, TimeSeriesAggregator) and not _has_tuples(container.points)


def _has_tuples(points: Points) -> bool:
    _, values, _ = points.columns()
    return values.kind is None and any(isinstance(value, tuple) for value in values.tolist())


def _created(trial: Trial) -> float:
    at = trial.timestamps.get("created")
    return at if isinstance(at, float) else 0.0


def _changes(trial: Trial) -> int:
    return int(counted(trial, "_update_count"))


def _shown(trial: Trial) -> str:
    return f"{trial.name or 'a trial'} ({short_uid(trial)})"


def _count(things: Iterable[Any], noun: str) -> str:
    number = len(list(things))
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
