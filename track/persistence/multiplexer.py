"""Several backends as one: the last decides and answers, the others are told the same."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from track.events import Event
from track.persistence.ephemeral import EphemeralProtocol
from track.persistence.eventprotocol import EventProtocol
from track.persistence.mirrors import EventRecorder, Mirror
from track.persistence.protocol import Factory, Protocol
from track.structure import Project, Trial, TrialGroup

__all__ = ["ProtocolMultiplexer", "Telling", "make_mirror"]

logger = logging.getLogger(__name__)
_WRITING = (
    "new_project",
    "new_trial_group",
    "new_trial",
    "add_project_trial",
    "add_group_trial",
    "log_trial_start",
    "log_trial_finish",
    "log_trial_chrono_start",
    "log_trial_chrono_finish",
    "log_trial_arguments",
    "log_trial_metadata",
    "log_trial_metrics",
    "set_trial_status",
    "add_trial_tags",
    "set_group_metadata",
)


class Telling(Protocol):
    """A main backend that decides, and mirrors that are told.

    Parameters
    ----------
    *backends: Protocol
        At least one; the last is the main one.

    Raises
    ------
    ValueError
        There is no backend.
    """

    def __init__(self, *backends: Protocol) -> None:
        if not backends:
            raise ValueError("a multiplexer needs at least one backend")
        self.protos = backends
        self._main = backends[-1]
        self._mirrors = [Mirror(backend) for backend in backends[:-1]]
        is_heard = isinstance(self._main, EventProtocol) and self._mirrors
        self._recorder = EventRecorder(self._main) if is_heard else None  # type: ignore[arg-type]
        self._is_missing_said = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.protos))})"

    # telling

    def _tell(self, method: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call the method of the main backend, then of each mirror; return what the main one returned."""
        with self._mirrored():
            answer = self._call_main(method, args, kwargs)
        for mirror in self._called():
            mirror.call(method, *args, **kwargs)
        return answer

    @contextmanager
    def _mirrored(self) -> Iterator[None]:
        """Tell the mirrors of events what the main backend stores meanwhile."""
        if self._recorder is None:
            yield
            return
        with self._recorder.listening() as events:
            try:
                yield
            finally:
                for mirror in self._mirrors:
                    if isinstance(mirror.backend, EventProtocol):
                        mirror.apply(events)

    def _called(self) -> list[Mirror]:
        """Return the mirrors that are told by their methods."""
        if self._recorder is None:
            return self._mirrors
        return [mirror for mirror in self._mirrors if not isinstance(mirror.backend, EventProtocol)]

    def _call_main(self, method: str, args: Any, kwargs: Any) -> Any:
        try:
            return getattr(self._main, method)(*args, **kwargs)
        except NotImplementedError:
            if not self._mirrors:
                raise
            self._say_what_is_missing()
            return None

    def _say_what_is_missing(self) -> None:
        """Say once which methods the main backend leaves to the mirror."""
        if self._is_missing_said:
            return
        self._is_missing_said = True
        kind = type(self._main)
        missing = [name for name in _WRITING if getattr(kind, name, None) is getattr(Protocol, name)]
        logger.warning("%s leaves to a copy in memory: %s", kind.__name__, ", ".join(missing))

    def apply(self, *events: Event) -> None:
        """Tell every backend facts."""
        if self._recorder is None:
            super().apply(*events)
            return
        with self._mirrored():
            self._main.apply(*events)
        for mirror in self._called():
            mirror.call("apply", *events)

    # asking

    def _ask(self, method: str, *args: Any) -> Any:
        for backend in reversed(self.protos):
            try:
                return getattr(backend, method)(*args)
            except NotImplementedError:
                continue
        raise NotImplementedError(f"none of {self!r} implements {method}")

    @property
    def _first(self) -> Protocol:
        """The backend that decides what the main one cannot."""
        return self._mirrors[0].backend


def make_mirror() -> EphemeralProtocol:
    """Return a store in memory that accepts what its main backend accepts."""
    return EphemeralProtocol("ephemeral:", strict=False)


class ProtocolMultiplexer(Telling):
    """Tells every backend the same; the last one decides, and its answers and errors are the caller's.

    What a main backend of events (`EventProtocol`) stores is what the other backends of events are told, with the
    same times and revisions; backends of methods are called as it was. A mirror's failure is said once and counted in
    `unsaved`, never raised. A question that the last backend does not answer (NotImplementedError) is answered by the
    first mirror that does; so a backend of one's own may implement the few methods it cares for.

    Parameters
    ----------
    *backends: Protocol
        At least one; the last is the main one.

    Raises
    ------
    ValueError
        There is no backend.
    """

    # logging

    def log_trial_start(self, trial: Trial) -> None:
        """Record the start everywhere."""
        self._tell("log_trial_start", trial)

    def log_trial_finish(self, trial: Trial, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        """Record the end everywhere."""
        self._tell("log_trial_finish", trial, exc_type, exc_val, exc_tb)
        for mirror in self._mirrors:
            # A file that heard of the end as an event.
            if self._recorder is not None and hasattr(mirror.backend, "save_if_worth"):
                mirror.call("save_if_worth")

    def log_trial_chrono_start(
        self,
        trial: Trial,
        name: str,
        aggregator: Factory | None = None,
        start_callback: Callable[[], Any] | None = None,
        end_callback: Callable[[], Any] | None = None,
    ) -> None:
        """Start a timer everywhere; the callbacks are called once, for the main backend."""
        kwargs: dict[str, Any] = {} if aggregator is None else {"aggregator": aggregator}
        callbacks: dict[str, Any] = {"start_callback": start_callback, "end_callback": end_callback}
        try:
            self._main.log_trial_chrono_start(trial, name, **kwargs, **callbacks)
        except NotImplementedError:
            if not self._mirrors:
                raise
            self._say_what_is_missing()
            self._first.log_trial_chrono_start(trial, name, **kwargs, **callbacks)
            rest = self._mirrors[1:]
        else:
            rest = self._called()
        for mirror in rest:
            mirror.call("log_trial_chrono_start", trial, name, **kwargs)

    def log_trial_chrono_finish(self, trial: Trial, name: str, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        """Stop the timer everywhere."""
        self._tell("log_trial_chrono_finish", trial, name, exc_type, exc_val, exc_tb)

    def log_trial_arguments(self, trial: Trial, /, **kwargs: Any) -> None:
        """Merge parameters everywhere."""
        self._tell("log_trial_arguments", trial, **kwargs)

    def log_trial_metadata(self, trial: Trial, /, aggregator: Factory | None = None, **kwargs: Any) -> None:
        """Merge metadata everywhere."""
        chosen = {} if aggregator is None else {"aggregator": aggregator}
        self._tell("log_trial_metadata", trial, **chosen, **kwargs)

    def log_trial_metrics(
        self, trial: Trial, /, step: Any = None, aggregator: Factory | None = None, **kwargs: Any
    ) -> None:
        """Record numbers everywhere."""
        self._tell("log_trial_metrics", trial, step=step, aggregator=aggregator, **kwargs)

    def set_trial_status(self, trial: Trial, status: Any, error: Any = None) -> None:
        """Replace the status everywhere."""
        self._tell("set_trial_status", trial, status, error)

    def add_trial_tags(self, trial: Trial, /, **kwargs: Any) -> None:
        """Merge tags everywhere."""
        self._tell("add_trial_tags", trial, **kwargs)

    def log_trial_artifact(
        self, trial: Trial, name: str, uri: str, digest: str | None = None, size: int | None = None
    ) -> None:
        """Add a file to the trial's manifest, everywhere."""
        self._tell("log_trial_artifact", trial, name, uri, digest, size)

    def set_group_metadata(self, group: TrialGroup, /, **kwargs: Any) -> None:
        """Merge metadata everywhere."""
        self._tell("set_group_metadata", group, **kwargs)

    # creating

    def get_project(self, project: Project) -> Project | None:
        """Return the stored project with this uid, or None."""
        found: Project | None = self._ask("get_project", project)
        return found

    def new_project(self, project: Project) -> Project:
        """Store a project everywhere."""
        return self._tell("new_project", project) or project

    def get_trial_group(self, group: TrialGroup) -> TrialGroup | None:
        """Return the stored group with this uid, or None."""
        found: TrialGroup | None = self._ask("get_trial_group", group)
        return found

    def new_trial_group(self, group: TrialGroup) -> TrialGroup:
        """Store a group everywhere."""
        return self._tell("new_trial_group", group) or group

    def add_project_trial(self, project: Project, trial: Trial) -> None:
        """Move the trial into the project, everywhere."""
        self._tell("add_project_trial", project, trial)

    def add_group_trial(self, group: TrialGroup, trial: Trial) -> None:
        """Add the trial to the group, everywhere."""
        self._tell("add_group_trial", group, trial)

    def commit(self, file_name_override: str | None = None, **kwargs: Any) -> None:
        """Make everything permanent, everywhere; the main backend writes ``file_name_override``."""
        if file_name_override is None:
            self._tell("commit", **kwargs)
            return
        self._call_main("commit", (), {"file_name_override": file_name_override, **kwargs})
        if self._recorder is None and self._mirrors:
            # A backend of one's own has seldom anything to write there.
            self._first.commit(file_name_override=file_name_override, **kwargs)

    def get_trial(self, trial: Trial) -> list[Trial]:
        """Return the trial with this uid, then the other revisions of its hash."""
        return self._ask("get_trial", trial) or []

    def new_trial(self, trial: Trial, auto_increment: bool = False) -> Trial | None:
        """Store a trial: the main backend chooses the revision, the mirrors take it as it is."""
        if not self._mirrors:
            return self._main.new_trial(trial, auto_increment)
        try:
            with self._mirrored():
                made = self._main.new_trial(trial, auto_increment)
        except NotImplementedError:
            self._say_what_is_missing()
            return self._first.new_trial(trial, auto_increment)
        if made is None and auto_increment:
            # A backend that only listens answers nothing.
            return self._first.new_trial(trial, auto_increment)
        if made is not None:
            trial.revision = made.revision
            for mirror in self._called():
                mirror.call("new_trial", made)
        return made

    # deciding

    def fetch_and_update_trial(self, query: Any, attr: str, *args: Any, **kwargs: Any) -> Trial:
        """Change the first match of the main backend, and the same trial in the mirrors."""
        return cast("Trial", self._fetch_and_update("fetch_and_update_trial", query, attr, args, kwargs))

    def fetch_and_update_group(self, query: Any, attr: str, *args: Any, **kwargs: Any) -> TrialGroup:
        """Change the first match of the main backend, and the same group in the mirrors."""
        return cast("TrialGroup", self._fetch_and_update("fetch_and_update_group", query, attr, args, kwargs))

    def _fetch_and_update(self, method: str, query: Any, attr: str, args: Any, kwargs: Any) -> Any:
        try:
            with self._mirrored():
                changed = getattr(self._main, method)(query, attr, *args, **kwargs)
        except NotImplementedError:
            if not self._mirrors:
                raise
            changed = getattr(self._first, method)(query, attr, *args, **kwargs)
            self._call_main(attr, (changed, *args), kwargs)
            rest = self._mirrors[1:]
        else:
            rest = self._called()
        for mirror in rest:
            mirror.call(attr, changed, *args, **kwargs)
        return changed

    def fetch_trials(self, query: Any = None) -> list[Trial]:
        """Return the trials that match, oldest first."""
        found: list[Trial] = self._ask("fetch_trials", query)
        return found

    def fetch_groups(self, query: Any = None) -> list[TrialGroup]:
        """Return the groups that match, oldest first."""
        found: list[TrialGroup] = self._ask("fetch_groups", query)
        return found

    def fetch_projects(self, query: Any = None) -> list[Project]:
        """Return the projects that match, oldest first."""
        found: list[Project] = self._ask("fetch_projects", query)
        return found

    def refresh(self, trial: Trial) -> None:
        """Bring `trial` up to date with what is stored."""
        self._ask("refresh", trial)

    def unsaved(self) -> int:
        """Return how many events some backend could not store."""
        return sum(proto.unsaved() for proto in self.protos) + sum(mirror.missed for mirror in self._mirrors)

    @property
    def remedy(self) -> str:
        """What becomes of events that are not stored."""
        missed = [f"{mirror.backend!r} missed {mirror.missed}" for mirror in self._mirrors if mirror.missed]
        return "; ".join([*missed, *filter(None, (getattr(proto, "remedy", "") for proto in self.protos))])

    def flush(self, timeout: float | None = None) -> None:
        """Flush every backend."""
        # A backend of one's own may know of no time-out.
        self._everywhere("flush", *(() if timeout is None else (timeout,)))

    def close(self) -> None:
        """Close every backend."""
        self._everywhere("close")

    def _everywhere(self, method: str, *args: Any) -> None:
        try:
            self._call_main(method, args, {})
        finally:
            for mirror in self._mirrors:
                mirror.call(method, *args)
