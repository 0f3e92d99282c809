"""The contract of a backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from track.aggregators.aggregator import Aggregator, StatAggregator, ValueAggregator
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
from track.plain import restore
from track.structure import Project, Trial, TrialGroup, split_uid
from track.structure import status as make_status

if TYPE_CHECKING:
    from track.events import Event

__all__ = ["Factory", "Protocol", "call_method"]

Factory = Callable[[], Aggregator]
"""Makes an aggregator: ``StatAggregator.lazy(1)``."""
_once = StatAggregator.lazy(1)
_value = ValueAggregator.lazy()


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
    """

    def log_trial_start(self, trial: Trial) -> None:
        """Record that the trial runs now, in this process."""
        raise NotImplementedError

    def log_trial_finish(self, trial: Trial, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        """Record that the trial ended, well or with this exception, and how long it ran."""
        raise NotImplementedError

    def log_trial_chrono_start(
        self,
        trial: Trial,
        name: str,
        aggregator: Factory = _once,
        start_callback: Callable[[], Any] | None = None,
        end_callback: Callable[[], Any] | None = None,
    ) -> None:
        """Start a timer.

        Parameters
        ----------
        trial: Trial
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

    def log_trial_arguments(self, trial: Trial, /, **kwargs: Any) -> None:
        """Merge parameters into the trial; its uid stays."""
        raise NotImplementedError

    def log_trial_metadata(self, trial: Trial, /, aggregator: Factory | None = _value, **kwargs: Any) -> None:
        """Merge metadata into the trial; with an aggregator other than the default, append to it."""
        raise NotImplementedError

    def log_trial_metrics(
        self, trial: Trial, /, step: Any = None, aggregator: Factory | None = None, **kwargs: Any
    ) -> None:
        """Record one number a name.

        Parameters
        ----------
        trial: Trial
        step: any hashable value, optional
            The same step again replaces the value.
        aggregator: callable, optional
            Makes the aggregator of a name that is first logged without a step; default: keep all values.
        **kwargs
            Number by metric name.
        """
        raise NotImplementedError

    def set_trial_status(self, trial: Trial, status: Any, error: Any = None) -> None:
        """Replace the status; `error`, when given, is added to the trial's errors as text."""
        raise NotImplementedError

    def add_trial_tags(self, trial: Trial, /, **kwargs: Any) -> None:
        """Merge tags into the trial."""
        raise NotImplementedError

    def log_trial_artifact(
        self, trial: Trial, name: str, uri: str, digest: str | None = None, size: int | None = None
    ) -> None:
        """Add a file to the trial's manifest; a backend without manifests keeps it in the metadata.

        Parameters
        ----------
        trial: Trial
        name: str
        uri: str
            Where its content is.
        digest: str, optional
            A sha256; ``etag:...`` for data that is not in a store of ours.
        size: int, optional
            Bytes.
        """
        fact: Any = {"uri": uri, "digest": digest, "size": size}
        self.log_trial_metadata(trial, **{f"artifact.{name}": fact})

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

    def add_group_trial(self, group: TrialGroup, trial: Trial) -> None:
        """Add the trial to the group; it stays in the others."""
        raise NotImplementedError

    def commit(self, **kwargs: Any) -> None:
        """Make everything so far permanent; ``file_name_override`` writes it to another file."""
        raise NotImplementedError

    def get_trial(self, trial: Trial) -> list[Trial]:
        """Return the trial with this uid, then the other revisions of its hash; ``[]`` when unknown."""
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
        """Call ``self.<attr>(trial, *args, **kwargs)`` on the first match, as one step, and return it changed.

        Raises
        ------
        ItemNotFound
            Nothing matches.
        """
        raise NotImplementedError

    def fetch_and_update_group(self, query: Any, attr: str, *args: Any, **kwargs: Any) -> TrialGroup:
        """Call ``self.<attr>(group, *args, **kwargs)`` on the first match, as one step, and return it changed.

        Raises
        ------
        ItemNotFound
            Nothing matches.
        """
        raise NotImplementedError

    def fetch_trials(self, query: Any = None) -> list[Trial]:
        """Return the trials that match, oldest first; see `track.persistence.query`."""
        raise NotImplementedError

    def fetch_groups(self, query: Any = None) -> list[TrialGroup]:
        """Return the groups that match, oldest first."""
        raise NotImplementedError

    def fetch_projects(self, query: Any = None) -> list[Project]:
        """Return the projects that match, oldest first."""
        raise NotImplementedError

    def set_group_metadata(self, group: TrialGroup, /, **kwargs: Any) -> None:
        """Merge metadata into the group."""
        raise NotImplementedError

    def refresh(self, trial: Trial) -> None:
        """Bring `trial` up to date with what is stored."""
        stored = self.get_trial(trial)
        if stored:
            vars(trial).update(vars(stored[0]))

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

    def close(self) -> None:
        """Give back files and connections; nothing logged is lost."""
        return

    def apply(self, *events: Event) -> None:
        """Tell the backend facts by calling its own methods: a backend of methods can follow one of events.

        The objects passed carry identity and the event's values only.
        """
        # Imported at first use: a program may import the client and never log.

        for event in events:
            call_method(self, event)


def call_method(protocol: Protocol, event: Event) -> None:
    """Say an event with the method of `protocol` that means the same.

    The objects passed carry identity and the event's values only. Times, which only a clock of the backend's own
    could say, become metadata.
    """
    match event:
        case ProjectCreated():
            protocol.new_project(Project(event.uid, event.name, event.description, restore(event.metadata)))
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
            protocol.log_trial_metrics(_reference(event.trial), step=restore(event.step), **_restored(event.values))
        case StatusChanged():
            protocol.set_trial_status(_reference(event.trial), make_status(*event.status), event.error)
        case ArtifactAdded():
            protocol.log_trial_artifact(_reference(event.trial), event.name, event.uri, event.digest, event.size)
        case TimeLogged():
            protocol.log_trial_metadata(_reference(event.trial), **{f"chrono.{event.name}": event.seconds})


def _restored(values: dict[str, Any]) -> dict[str, Any]:
    # One by one: values named "dtype" and "value" are no tag.
    return {name: restore(value) for name, value in values.items()}


def _reference(uid: str) -> Trial:
    digest, revision = split_uid(uid)
    return Trial(digest, revision)
