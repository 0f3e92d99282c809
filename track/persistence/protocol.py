"""The contract of a backend."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from track.aggregators.aggregator import METADATA_AGGREGATOR, TIMES_AGGREGATOR, Aggregator
from track.events import (
    ArtifactAdded,
    Event,
    FieldsMerged,
    GroupCreated,
    MetricsLogged,
    ProjectCreated,
    StatusChanged,
    TimeLogged,
    TrialAttached,
    TrialCreated,
)
from track.persistence.contract import (
    FetchedPoints,
    Known,
    Since,
    artifact_media,
    changes_by_sums,
    check_batch,
    compared,
    given_series,
    identity_of_place,
    require_one_of,
    unknown_trial,
)
from track.persistence.query import ALSO_DELETED, ordered, parse_limit, parse_sort
from track.persistence.utils import parse_uri
from track.plain import restore
from track.serialization import brief_lines
from track.structure import Project, Trial, TrialGroup, split_uid
from track.structure import status as make_status
from track.utils.environment import ENVIRONMENT

if TYPE_CHECKING:
    from track.persistence.buckets import Buckets, Question

__all__ = ["Factory", "Forgotten", "Listener", "NumbersTaker", "Protocol", "call_method"]

Factory = Callable[[], Aggregator]
"""Makes an aggregator: ``StatAggregator.lazy(1)``."""
Listener = Callable[[Sequence[Event]], None]
"""Is told what was stored."""
NumbersTaker = Callable[[Any, Factory | None, dict[str, Any]], None]
"""Is told the numbers of a call: the step, the aggregator, and number by name, which it may keep."""
Result = TypeVar("Result")


class Forgotten(NamedTuple):
    """What `Protocol.forget_trials` did.

    Parameters
    ----------
    trials: list of str
        The uids of those that were forgotten now.
    running: int
        How many hidden trials were left, because a process may still run them.
    late: int
        How many events came for trials that had been forgotten before, and were dropped.
    """

    trials: list[str]
    running: int
    late: int


class Protocol:
    """What a backend does. Extend it and write the methods; `register` makes it a URI scheme.

    **Threads.** Every method may be called from any thread. A value once returned does not change
    under its reader.

    **Identity.** Projects, groups and trials are named by their uid; two objects with the same uid are
    the same. `new_trial` with ``auto_increment`` chooses the next free revision, also among processes.

    **Order.** What one client writes is stored in the order it was written, once. ``fetch_*`` return
    objects in the order they were created.

    **Errors.** A logging method does not raise because of the environment (a full disk, a server that is
    away); it raises at once for a mistake in the program: `TrialDoesNotExist`, `InvalidEvent`.

    **What it is.** A caller never asks for the class of a backend: it reads the attributes below and calls the methods,
    each of which has a default that is true of a backend that was written method by method.

    Attributes
    ----------
    uri: str
        How it was opened.
    clock: callable
        Returns unix seconds.
    expected_store: str
        The id of the store that `receive_after` is for, as `require_store` checks; by default any.
    answers: bool
        Whether it answers every question itself; otherwise `track.persistence.get_protocol` adds a copy in memory.
    takes_events: bool
        Whether it is told of facts by `apply`, with their times and revisions; otherwise by its methods.
    takes_times: bool
        Whether it is told how long a block took; otherwise it is told of the block's start and finish, and times it.
    keeps_numbers: bool
        Whether the numbers of `receive` are stored with the events, for as long as these.
    stores_at_once: bool
        Whether what is logged is stored when the call returns; not where it waits to be sent, or to be saved.
    raises: bool
        Whether a logging method raises because of the environment after all (``?strict=1``).
    server: Server or None
        What a backend that delivers sends to.
    listeners: list of callables
        Of a backend that takes events: each is told what the methods have decided, once it is stored, in order.
    """

    uri: str = ""
    clock: Callable[[], float] = staticmethod(time.time)
    expected_store = ""
    answers = False
    takes_events = False
    takes_times = False
    keeps_numbers = False
    stores_at_once = True
    raises = False
    server: Any = None
    listeners: list[Listener]

    @property
    def main(self) -> Protocol:
        """The backend that decides: itself, or of several the last."""
        return self

    @property
    def file(self) -> str | None:
        """The absolute path of the file that the store is, as it was when it was opened; None where it is none."""
        return None

    @property
    def files(self) -> list[str]:
        """The absolute paths of its files and folders; its journal, lock and the like have longer names beside them."""
        return [] if self.file is None else [self.file]

    @property
    def artifacts(self) -> str:
        """Where its URI says that files of trials are kept, or the configuration did when it was opened; else ''."""
        return str(parse_uri(self.uri)["query"].get("artifacts", "")) if self.uri else ""

    @property
    def remedy(self) -> str:
        """What becomes of events that are not stored; '' where nothing is to be said."""
        return ""

    def identity(self) -> str:
        """Return the id of the store: 32 hexadecimal digits, made at its creation and kept when it is moved or served.

        By default it is derived from the URI: a backend written method by method has nothing else that tells one store
        from another, so two at one place, one after the other, have one id.

        Returns
        -------
        str
            ``""`` while there is none: nothing is stored yet, or nothing since stores have one; or it is no store.

        Raises
        ------
        BackendUnavailable
            A server that was not asked yet does not answer.
        """
        return identity_of_place(self.uri) if self.uri else ""

    def former_identities(self) -> list[str]:
        """Return the ids that the store had before it became one of its own; what is for them is for it."""
        return []

    def unread(self) -> list[str]:
        """Return what of the store cannot be read, each with its place: nothing may be removed for want of a record."""
        return []

    def require_store(self, identity: str) -> None:
        """Return if this is the store with this id, or was it before it became one of its own; ``""`` asks for none.

        Raises
        ------
        AnotherStore
            It is another one.
        """
        if identity and identity != (own := self.identity()):
            require_one_of([*self.former_identities(), own], identity, self.uri)

    def log_trial_start(self, trial: Trial) -> None:
        """Record that the trial runs now, in this process."""
        raise NotImplementedError

    def log_trial_finish(self, trial: Trial, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        """Record that the trial ended, well or with this exception, and how long it ran."""
        raise NotImplementedError

    def log_trial_signal(self, trial: Trial, name: str | None, error: str | None = None) -> None:
        """Record that this process was told to stop and may yet go on, or that it went on.

        Parameters
        ----------
        trial: Trial
        name: str or None
            ``SIGTERM``, ``SIGINT``, ...: should the process die now, it was interrupted. None where it went on.
        error: str, optional
            Added to the trial's errors.
        """
        return

    def log_trial_chrono_start(
        self,
        trial: Trial,
        name: str,
        aggregator: Factory = TIMES_AGGREGATOR,
        start_callback: Callable[[], Any] | None = None,
        end_callback: Callable[[], Any] | None = None,
    ) -> None:
        """Start a timer.

        Parameters
        ----------
        name: str
            Times with the same name are aggregated.
        aggregator: callable
            Makes the aggregator at the name's first use.
        start_callback, end_callback: callable, optional
            Called once each: before the clock starts, and before it stops.
        """
        raise NotImplementedError

    def log_trial_chrono_finish(self, trial: Trial, name: str, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        """Stop the timer of this name and record its seconds, unless there was an exception."""
        raise NotImplementedError

    def log_trial_time(
        self, trial: Trial, name: str, seconds: float, aggregator: Factory | None = TIMES_AGGREGATOR
    ) -> None:
        """Record how many seconds a block took, which the caller has timed; by default as metadata."""
        named: Any = {f"chrono.{name}": seconds}
        self.log_trial_metadata(trial, **named)

    def log_trial_arguments(self, trial: Trial, /, **kwargs: Any) -> None:
        """Merge parameters into the trial; its uid stays."""
        raise NotImplementedError

    def log_trial_metadata(
        self, trial: Trial, /, aggregator: Factory | None = METADATA_AGGREGATOR, **kwargs: Any
    ) -> None:
        """Merge metadata into the trial; with an aggregator other than the default, append to it."""
        raise NotImplementedError

    def log_trial_metrics(
        self, trial: Trial, /, step: Any = None, aggregator: Factory | None = None, **kwargs: Any
    ) -> None:
        """Record one number a name.

        Parameters
        ----------
        step: any hashable value, optional
            The same step again replaces the value. None takes the next step of a name that has steps; at the first
            step of one that has none, its values get the steps 0, 1, 2, ...
        aggregator: callable, optional
            Makes the aggregator of a name that is first logged without a step; default: keep all values. Such a name
            has no steps: they are ignored.
        **kwargs
            Number by metric name.
        """
        raise NotImplementedError

    def numbers_taker(self, trial: Trial) -> NumbersTaker:
        """Return what the numbers of a trial that has started are told to: `log_trial_metrics`, by default.

        It gets the step, the aggregator, and a dictionary of the numbers, which it may keep.
        """
        return lambda step, aggregator, values: self.log_trial_metrics(trial, step, aggregator, **values)

    def floats_taker(self, trial: Trial) -> NumbersTaker:
        """Return what such numbers are told to as are finite floats, or an int, at steps that are ints or None.

        By default that is `numbers_taker`: who knows this of them need not have it checked once more.
        """
        return self.numbers_taker(trial)

    def log_trial_series(self, trial: Trial, /, name: str, values: Any, steps: Any = None, times: Any = None) -> None:
        """Record many numbers under one name, as `log_trial_metrics` does one by one, which is the default.

        Parameters
        ----------
        name: str
        values: list, array or tensor of numbers, with one dimension
        steps: list, array, range, optional
            One for each value; without, the values have none, as in a call without a step.
        times: list or array of float, optional
            When each was measured, unix seconds; by default now. A backend of methods takes only what is measured now.

        Raises
        ------
        InvalidEvent
            Something is no list of numbers, or not as long as the others; nothing is stored then.
        """
        for step, value in given_series(name, values, steps, times).points():
            self.log_trial_metrics(trial, step=step, **{name: value})

    def set_trial_status(self, trial: Trial, status: Any, error: Any = None) -> None:
        """Replace the status; `error`, when given, is added to the trial's errors as text."""
        raise NotImplementedError

    def add_trial_tags(self, trial: Trial, /, **kwargs: Any) -> None:
        """Merge tags into the trial."""
        raise NotImplementedError

    def log_trial_environment(self, trial: Trial, facts: dict[str, Any], packages: str = "") -> None:
        """Record where the trial runs, by default in its metadata, without the packages.

        Parameters
        ----------
        facts: dict
            JSON-safe data by part, as `track.environment` returns them; ``packages`` is their digest.
        packages: str
            Name and version of each in a line. They are stored once for each digest, in the project's metadata.
        """
        named: Any = {ENVIRONMENT: facts}
        self.log_trial_metadata(trial, **named)

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
        """Add a file to the trial's manifest; a backend without manifests keeps it in the metadata.

        Parameters
        ----------
        uri: str
            Where its content is.
        digest: str, optional
            A sha256; ``etag:...`` for data that is not in a store of ours.
        size: int, optional
            Bytes.
        step: optional
            That of the metrics to which it belongs. It, and `media`, are given only where they are said.
        media: mapping, optional
            A few words, of at most 4,096 bytes as JSON, for who displays it.

        Raises
        ------
        InvalidEvent
            `media` is no mapping, or larger.
        """
        said = {"step": step, "media": None if media is None else artifact_media(media)}
        fact: Any = {"uri": uri, "digest": digest, "size": size}
        fact |= {key: value for key, value in said.items() if value is not None}
        self.log_trial_metadata(trial, **{f"artifact.{name}": fact})

    def delete_trial(self, trial: Trial) -> None:
        """Hide the trial: only a query that says ``deleted`` finds it, until it is restored.

        It keeps its uid, name and files, what it is told is stored, and `get_trial` returns it.
        """
        raise NotImplementedError(f"{self!r} cannot hide trials")

    def restore_trial(self, trial: Trial) -> None:
        """Show a trial again that was hidden."""
        raise NotImplementedError(f"{self!r} cannot hide trials")

    def forget_trials(self, older: float = 0.0) -> Forgotten:
        """Remove for good what is stored of hidden trials, but for those that a process still runs.

        Their uids stay taken: what is logged about them later is dropped and counted, and they are not created again.

        Parameters
        ----------
        older: float
            Only trials that were hidden at least so many seconds ago.

        Raises
        ------
        CorruptJournal
            Something of the store cannot be read, and may be about one of them. Nothing is removed.
        BackendUnavailable
            Another process has the store open. Nothing is removed.
        """
        raise NotImplementedError(f"{self!r} cannot hide trials")

    def get_project(self, project: Project) -> Project | None:
        """Return the stored project with this uid, or None."""
        raise NotImplementedError

    def new_project(self, project: Project) -> Project:
        """Store a project and return it; the stored one when there is one already."""
        raise NotImplementedError

    def get_trial_group(self, group: TrialGroup) -> TrialGroup | None:
        """Return the stored group with this uid, or None."""
        raise NotImplementedError

    def new_trial_group(self, group: TrialGroup) -> TrialGroup:
        """Store a group and return it; the stored one when there is one already."""
        raise NotImplementedError

    def add_project_trial(self, project: Project, trial: Trial) -> None:
        """Move the trial into the project."""
        raise NotImplementedError

    def confirm_project(self, project: Project, trial: Trial) -> None:
        """Take note of the project of a trial that was just created, by default as `add_project_trial` does."""
        self.add_project_trial(project, trial)

    def add_group_trial(self, group: TrialGroup, trial: Trial) -> None:
        """Add the trial to the group; it stays in the others."""
        raise NotImplementedError

    def commit(self, **kwargs: Any) -> None:
        """Make everything so far permanent; ``file_name_override`` writes it to another file."""
        raise NotImplementedError

    def get_trial(self, trial: Trial) -> list[Trial]:
        """Return the trial with this uid, hidden or not, then the other revisions of its hash that are shown.

        ``[]`` when it is unknown, or forgotten.
        """
        raise NotImplementedError

    def new_trial(self, trial: Trial, auto_increment: bool = False) -> Trial | None:
        """Store a trial and return it.

        Parameters
        ----------
        trial: Trial
            Its revision is changed when another one is chosen.
        auto_increment: bool
            Whether an existing uid gets the next free revision; otherwise None is returned for it.
        """
        raise NotImplementedError

    def fetch_and_update_trial(self, query: Any, attr: str, *args: Any, **kwargs: Any) -> Trial:
        """Call ``self.<attr>(trial, *args, **kwargs)`` on the first match, compare-and-set, and return it changed.

        With ``log_trial_start`` it *reserves* the trial for this process, in the trial's next attempt: one that a live
        process runs does not match. What this process logs of the trial from then on is said in that attempt, and is
        dropped and counted, in the metadata ``late_events``, once the trial was reserved again.

        Raises
        ------
        ItemNotFound
            Nothing matches.
        """
        raise NotImplementedError

    def reserved_attempt(self, uid: str) -> int | None:
        """Return the attempt for which this process has reserved a trial, as it did last; None where it has not."""
        return None

    def share_attempt(self, uid: str, attempt: int) -> None:
        """Take part in an attempt for which another process has reserved a trial: what is logged is said in it."""
        return

    def fetch_and_update_group(self, query: Any, attr: str, *args: Any, **kwargs: Any) -> TrialGroup:
        """Call ``self.<attr>(group, *args, **kwargs)`` on the first match, compare-and-set, and return it changed.

        Raises
        ------
        ItemNotFound
            Nothing matches.
        """
        raise NotImplementedError

    def fetch_trials(self, query: Any = None) -> list[Trial]:
        """Return the trials that match, oldest first; hidden ones only where asked; see `track.persistence.query`."""
        raise NotImplementedError

    def select_trials(self, query: Any = None, sort: Any = None, limit: int | None = None) -> list[Trial]:
        """Return the first `limit` of the trials that match, in the order `sort`; see `track.fetch`."""
        keys, most = parse_sort(sort, Trial), parse_limit(limit)
        return ordered(self.fetch_trials(query), keys)[:most]

    def brief_trials(self, query: Any = None, sort: Any = None, limit: int | None = None) -> list[Trial]:
        """Return what `select_trials` does, for who wants no points: ``trial.metrics.briefs()`` says what they come to.

        Points are read when somebody looks at a metric, maybe only then, as they are then.
        """
        return self.select_trials(query, sort, limit)

    def brief_lines(self, query: Any = None, sort: Any = None, limit: int | None = None) -> list[tuple[bytes, bytes]]:
        """Return what `brief_trials` does as JSON, which a server passes on without a look.

        Each trial is its document without what it measured, and a list: its times, and what its metrics come to.
        """
        return list(map(brief_lines, self.brief_trials(query, sort, limit)))

    def first_trial(self, query: Any = None) -> Trial | None:
        """Return the oldest trial that matches, or None."""
        return next(iter(self.fetch_trials(query)), None)

    def revisions(self, digest: str) -> set[int]:
        """Return the revisions of a trial's hash that are taken, those of hidden and forgotten trials too."""
        return {found.revision for found in self.fetch_trials({"hash": digest})}

    def has(self, kind: type, uid: Any) -> bool:
        """Return whether something is stored: `kind` is `Trial`, `TrialGroup` or `Project`.

        So is a trial that is hidden; and one that is forgotten: what is logged about it is taken, and dropped.
        """
        fetch: Any = {Trial: self.fetch_trials, TrialGroup: self.fetch_groups, Project: self.fetch_projects}[kind]
        return bool(fetch({"uid": uid}))

    def fetch_groups(self, query: Any = None) -> list[TrialGroup]:
        """Return the groups that match, oldest first."""
        raise NotImplementedError

    def fetch_projects(self, query: Any = None) -> list[Project]:
        """Return the projects that match, oldest first."""
        raise NotImplementedError

    def set_group_metadata(self, group: TrialGroup, /, **kwargs: Any) -> None:
        """Merge metadata into the group."""
        raise NotImplementedError

    def changes(self, since: str | None = None) -> tuple[str, list[str]]:
        """Return which trials have changed since an earlier call: everything that is stored of them counts.

        That a process died is no event, though its trial is shown otherwise: who watches asks again for those that
        were running. By default every trial is read and compared; a backend that is watched should do better.

        Parameters
        ----------
        since: str, optional
            The cursor that an earlier call returned, in this process or another one. Without it, and with one that is
            not known (any more), all trials are named.

        Returns
        -------
        cursor: str
            For the next call; its text means nothing to a caller.
        uids: list of str
            In the order in which the trials were created. One may be named that is as it was.
        """
        return changes_by_sums(since, self.fetch_trials())

    def fetch_points(self, uid: str, names: Sequence[str] | None = None, since: Since = 0) -> dict[str, FetchedPoints]:
        """Return the points of metrics from a position on, in columns: who follows a run reads only what is new.

        A position counts what is shown: each step once, the value logged last there, without what a resume hides. So
        the next one to ask for is that of the first point returned plus their number, while `generation` is the same;
        with another one, what is known is void, and is fetched from 0. By default the whole trial is read, and a
        generation is good for this process.

        Parameters
        ----------
        uid: str
            Of a trial.
        names: sequence of str, optional
            Of metrics, by default of all. What was not logged is left out, and what keeps no points, but a number of
            its own: the least, a mean.
        since: int or mapping of str to int
            The first position that is wanted, of every metric or by its name; of others all.

        Raises
        ------
        TrialDoesNotExist
            No trial with this uid is stored.
        """
        trial = self.first_trial({"uid": uid, **ALSO_DELETED})
        if trial is None:
            raise unknown_trial(uid)
        return compared(_compared.setdefault(self, {}), trial, names, since)

    def fetch_buckets(  # noqa: PLR0917 - a question of this many parts
        self,
        uids: Sequence[str],
        name: str,
        buckets: int,
        x: str = "step",
        start: float | None = None,
        end: float | None = None,
        smoothing: float | None = None,
    ) -> Buckets:
        """Return a metric of many trials in buckets, all on one grid of x: what a chart draws, however many points.

        Of each trial and bucket the least, greatest, mean and last value are returned, and how many there are: no spike
        is lost. NaN and infinities are counted apart. Points are those that are shown: each step once, with the value
        logged last there, without what a resume hides. Values and x are doubles: a whole number that none says exactly
        is the nearest one.

        By default every trial is read point by point; a backend that is looked at should do better.

        Parameters
        ----------
        uids: sequence of str
            Of trials, hidden or not; those that are not stored, and those without a point of the metric, are left out.
        name: str
            Of a metric that keeps its points.
        buckets: int
            How many of a trial, 1 to 100,000; all of as many trials as are asked for are at most 2,000,000.
        x: str
            ``"step"``: the step, or the position of the point in a metric without steps, from 0. ``"offset"``: how
            far the step is beyond the least of its trial. ``"relative"``: the steps of each trial from 0, the least,
            to 1, the greatest. ``"time"``: seconds since the trial was started,
            since its first point where that is not known. ``"wall"``: unix seconds. ``"metric:NAME"``: the value of
            another metric at the same step. A point that has no such number (a step that is a text, NaN, or no value
            of the other metric) is in no bucket; `Buckets.unplaced` counts it.
        start, end: float, optional
            Where the grid begins and ends, in units of x; by default where the points of these trials do, and from 0
            to 1 for ``"relative"``. Points outside are counted by `Buckets.outside`.
        smoothing: float, optional
            At least 0 and below 1: the moving mean of all points in the order of x, before there are buckets: each
            value counts so many times as much as the one after it, debiased as TensorBoard does. NaN and infinities
            are passed over, and stay.

        Raises
        ------
        InvalidQuery
            There is no such x, the grid ends before it begins, the smoothing is no such weight, or these are more
            buckets than one answer has.
        """
        from track.persistence.buckets import Question, uids_of

        return self._buckets(Question(name, buckets, x, start, end, smoothing), uids_of(uids))

    def _buckets(self, question: Question, uids: Sequence[str]) -> Buckets:
        """Answer a question that makes sense, as `fetch_buckets` says."""
        from track.persistence.buckets import bucketed, found_by_points

        return bucketed(question, uids, found_by_points(question, self.fetch_points, self._started))

    def _started(self, uid: str) -> float:
        """Return when a trial was started, unix seconds, 0 where it is not known."""
        trial = self.first_trial({"uid": uid, **ALSO_DELETED})
        return 0.0 if trial is None else float(trial.timestamps.get("started", 0.0))

    def refresh(self, trial: Trial) -> None:
        """Bring `trial` up to date with what is stored."""
        stored = self.get_trial(trial)
        if stored:
            vars(trial).update(vars(stored[0]))

    def glimpse(self, trial: Trial) -> tuple[Trial, str]:
        """Return a trial as a report shows it, and what of it was not read, as a sentence: mostly nothing.

        A process that has logged very much to a file need not read it all again: then each metric is a
        `track.briefs.LastValue`. By default all is read, and `trial` itself is brought up to date.
        """
        self.refresh(trial)
        return trial, ""

    def project_tags(self, trial: Trial) -> dict[str, Any]:
        """Return the tags that a trial has from its project, as they are known without reading a long run again."""
        project = trial.project_id
        found = self.fetch_projects({"uid": project}) if project is not None else []
        return found[0].tags if found else {}

    def store_time(self) -> float | None:
        """Return what time it is by the clock of the store, unix seconds, without asking for it now.

        None where the store has no clock of its own, or it was not asked yet: the clock of this machine counts.
        """
        return None

    def unsaved(self) -> int:
        """Return how many events this backend was told and could not store (yet)."""
        return 0

    def flush(self, timeout: float | None = None) -> None:
        """Return once what was logged is as safe as this backend makes it.

        Parameters
        ----------
        timeout: float, optional
            Seconds to wait for a server.
        """
        return

    def check_writable(self) -> None:
        """Return if the store can be written to; nothing is created.

        Raises
        ------
        BackendUnavailable
            It cannot.
        """
        return

    def left_behind(self) -> int:
        """Return how many events of processes that are gone wait on this machine, to be sent by the next one."""
        return 0

    def tidy(self) -> None:
        """Bring what is on disk up to date, where that is cheap."""
        return

    def compact(self, tell: Callable[[float], None] | None = None) -> bool:
        """Bring what is stored into its shortest form, whatever that costs, and return whether there is another one.

        Parameters
        ----------
        tell: callable, optional
            Hears again and again how much of it is done, from 0 to 1.
        """
        return False

    def close(self) -> None:
        """Give back files and connections; nothing logged is lost."""
        return

    # as facts

    def apply(self, *events: Event) -> None:
        """Tell the backend facts; by default by calling its own methods, so that it can follow one of events.

        The objects passed carry identity and the event's values only.
        """
        for event in events:
            call_method(self, event)

    def atomically(self, action: Callable[[], Result]) -> Result:
        """Return ``action()``, during which nobody else writes. `action` may be run more than once.

        By default it is simply run: a backend that cannot exclude others is written to by one server alone.
        """
        return action()

    def receive(self, writer: str, first: int, events: Sequence[Event], lines: bytes | None = None) -> None:
        """Store events that somebody has numbered, those that are new: what was sent before changes nothing.

        By default the numbers are remembered as long as the object lives.

        Parameters
        ----------
        writer: str
            Who numbers them.
        first: int
            The number of the first.
        lines: bytes, optional
            The same events as lines, where the caller has them.

        Raises
        ------
        InvalidEvent
            One of them can never be stored.
        BackendUnavailable
            They cannot be stored now.
        """
        known = _numbers.setdefault(self, {})
        for number, event in enumerate(events, first):
            if number > known.get(writer, -1):
                self.apply(event)
                known[writer] = number

    def receive_after(
        self, writer: str, after: int, first: int, events: Sequence[Event], lines: bytes | None = None
    ) -> None:
        """Store events as `receive` does, or nothing of them: not where some are lost before, or apply to nothing.

        A backend that forgets the numbers (`keeps_numbers` is false) just receives them.

        Parameters
        ----------
        after: int
            The number of the last event that was acknowledged as stored, -1 for none.

        Raises
        ------
        EventsMissing
            That one is not stored: the store was put back to an older state.
        UnknownSubject
            Some are about a trial, group or project that is not stored.
        AnotherStore
            It is not the store that `expected_store` says.
        """
        self.require_store(self.expected_store)
        if not self.keeps_numbers:
            self.receive(writer, first, events, lines)
            return

        def store() -> None:
            check_batch(self.uri, self.has, self.last(writer), after, first, events)
            self.receive(writer, first, events, lines)

        self.atomically(store)

    def last(self, writer: str) -> int:
        """Return the number of the last event that `receive` has stored of `writer`, -1 for none."""
        return _numbers.get(self, {}).get(writer, -1)

    # for a server that uses it alone

    def at_once(self) -> AbstractContextManager[bool]:
        """Say whether a short call need not wait for anybody, and keep it so meanwhile."""
        return nullcontext(False)


_compared: weakref.WeakKeyDictionary[Protocol, Known] = weakref.WeakKeyDictionary()
_numbers: weakref.WeakKeyDictionary[Protocol, dict[str, int]] = weakref.WeakKeyDictionary()


def call_method(protocol: Protocol, event: Event) -> None:
    """Say an event with the method of `protocol` that means the same.

    The objects passed carry identity and the event's values only. Times, which only a clock of the backend's own
    could say, become metadata.
    """
    match event:
        case ProjectCreated():
            fields = (event.uid, event.name, event.description, restore(event.metadata))
            protocol.new_project(Project(*fields, tags=restore(event.tags)))
        case GroupCreated():
            group = TrialGroup(event.uid, event.name, event.description, restore(event.metadata))
            group.project_id = event.project_id
            protocol.new_trial_group(group)
        case TrialCreated():
            names = ("name", "description", "tags", "version", "group_id", "project_id", "parameters", "metadata")
            values = {name: restore(getattr(event, name)) for name in names}
            protocol.new_trial(Trial(event.hash, event.revision, **values))
        case TrialAttached(kind="project"):
            protocol.add_project_trial(Project(_uid=event.owner, name=event.owner), _reference(event.trial))
        case TrialAttached():
            protocol.add_group_trial(TrialGroup(_uid=event.owner), _reference(event.trial))
        case FieldsMerged(kind="trial", field="deleted"):
            hide = protocol.delete_trial if event.values.get("deleted") else protocol.restore_trial
            hide(_reference(event.uid))
        case FieldsMerged(kind="trial"):
            method = {
                "parameters": protocol.log_trial_arguments,
                "metadata": protocol.log_trial_metadata,
                "tags": protocol.add_trial_tags,
            }[event.field]
            method(_reference(event.uid), **_restored(event.values))
        case FieldsMerged():
            protocol.set_group_metadata(TrialGroup(_uid=event.uid), **_restored(event.values))
        case MetricsLogged():
            _log_metrics(protocol, event)
        case StatusChanged():
            protocol.set_trial_status(_reference(event.trial), make_status(*event.status), event.error)
        case ArtifactAdded():
            said = {name: restore(getattr(event, name)) for name in ("step", "media")}
            given: Any = {name: value for name, value in said.items() if value is not None}
            fields = (event.name, event.uri, event.digest, event.size)
            protocol.log_trial_artifact(_reference(event.trial), *fields, **given)
        case TimeLogged():
            Protocol.log_trial_time(protocol, _reference(event.trial), event.name, event.seconds)


def _log_metrics(protocol: Protocol, event: MetricsLogged) -> None:
    trial = _reference(event.trial)
    if event.columns is None:
        protocol.log_trial_metrics(trial, step=restore(event.step), **_restored(event.values))
        return
    for step, value, _ in event.columns.points(event.at):
        protocol.log_trial_metrics(trial, step=step, **{event.columns.name: value})


def _restored(values: dict[str, Any]) -> dict[str, Any]:
    # One by one: values named "dtype" and "value" are no tag.
    return {name: restore(value) for name, value in values.items()}


def _reference(uid: str) -> Trial:
    digest, revision = split_uid(uid)
    return Trial(digest, revision)
