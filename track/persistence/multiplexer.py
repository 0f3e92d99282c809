"""Several backends as one: the last decides and answers, the others are told the same."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from track.events import Event
from track.persistence.ephemeral import EphemeralProtocol
from track.persistence.mirrors import Mirror
from track.persistence.protocol import Factory, Forgotten, Protocol
from track.persistence.utils import artifacts_home, named_from_elsewhere
from track.shown import cut
from track.structure import Trial, TrialGroup

__all__ = ["ProtocolMultiplexer", "make_mirror"]

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


def make_mirror() -> EphemeralProtocol:
    """Return a store in memory that accepts what its main backend accepts."""
    return EphemeralProtocol("ephemeral:", strict=False)


def _told(name: str) -> Any:
    """Return the method that tells every backend; what the main one returns is returned."""

    @functools.wraps(getattr(Protocol, name))
    def tell(self: ProtocolMultiplexer, /, *args: Any, **kwargs: Any) -> Any:
        return self._tell(name, *args, **kwargs)

    return tell


def _asked(name: str) -> Any:
    """Return the method that asks the main backend, then the mirrors, until one has an answer.

    Nothing, or None, is no answer of a backend that was written method by method: it may only listen.
    """

    @functools.wraps(getattr(Protocol, name))
    def ask(self: ProtocolMultiplexer, /, *args: Any, **kwargs: Any) -> Any:
        answers = []
        for backend in reversed(self.protos):
            try:
                answer = getattr(backend, name)(*args, **kwargs)
            except NotImplementedError:
                continue
            if answer or backend.answers:
                return answer
            answers.append(answer)
        if not answers:
            raise NotImplementedError(f"none of {self!r} implements {name}")
        return answers[0]

    return ask


def _derived(name: str) -> Any:
    """Return the method that asks a main backend which has one of its own, and else does what the contract says."""
    default = getattr(Protocol, name)

    @functools.wraps(default)
    def ask(self: ProtocolMultiplexer, /, *args: Any, **kwargs: Any) -> Any:
        if self._main.answers or getattr(type(self._main), name, default) is not default:
            try:
                return getattr(self._main, name)(*args, **kwargs)
            except NotImplementedError:
                pass
        return default(self, *args, **kwargs)

    return ask


class ProtocolMultiplexer(Protocol):
    """Tells every backend the same; the last one decides, and its answers and errors are the caller's.

    What a main backend of events (`EventProtocol`) stores is what the other backends of events are told, with the
    same times and revisions; backends of methods are called as it was. A mirror's failure is said once and counted in
    `unsaved`, never raised. A question that the last backend does not answer (NotImplementedError; or None or nothing,
    from one that was written method by method) is answered by the first mirror that does; so a backend of one's own
    may implement the few methods it cares for.

    Parameters
    ----------
    *backends: Protocol
        At least one; the last is the main one.

    Raises
    ------
    ValueError
        There is no backend.
    """

    answers = True

    def __init__(self, *backends: Protocol) -> None:
        if not backends:
            raise ValueError("a multiplexer needs at least one backend")
        self.protos = backends
        self._main = main = backends[-1]
        self.uri, self.server, self.raises = main.uri, main.server, main.raises
        self.stores_at_once, self.takes_events = main.stores_at_once, main.takes_events
        self.keeps_numbers = main.takes_events and main.keeps_numbers
        self._mirrors = [Mirror(backend, artifacts_home(main.file)) for backend in backends[:-1]]
        # Those that hear what the main backend has decided; the others are called as it is.
        self._hearing = [mirror for mirror in self._mirrors if main.takes_events and mirror.backend.takes_events]
        self._called = [mirror for mirror in self._mirrors if mirror not in self._hearing]
        if main.takes_events:
            self.listeners = main.listeners
            self.listeners.extend(mirror.hear for mirror in self._hearing)
        self.takes_times = main.takes_times and all(mirror.backend.takes_times for mirror in self._called)
        self._is_missing_said = False

    def __repr__(self) -> str:
        return cut(f"{type(self).__name__}({', '.join(map(repr, self.protos))})")

    # what the main backend is

    @property
    def main(self) -> Protocol:
        return self._main if self._main.answers else self

    @property
    def file(self) -> str | None:
        return self._main.file

    @property
    def files(self) -> list[str]:
        return [path for backend in self.protos for path in backend.files]

    @property
    def artifacts(self) -> str:
        return self._main.artifacts

    def identity(self) -> str:
        return self._main.identity()

    def former_identities(self) -> list[str]:
        return self._main.former_identities()

    def store_time(self) -> float | None:
        return self._main.store_time()

    def unread(self) -> list[str]:
        return self._main.unread()

    def require_store(self, identity: str) -> None:
        self._main.require_store(identity)

    # telling

    def _tell(self, method: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call the method of the main backend, then of each mirror; return what the main one returned."""
        answer = self._call_main(method, args, kwargs)
        for mirror in self._called:
            mirror.call(method, *args, **kwargs)
        return answer

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

    @property
    def _first(self) -> Protocol:
        """The backend that decides what the main one cannot."""
        return self._mirrors[0].backend

    log_trial_start = _told("log_trial_start")
    log_trial_signal = _told("log_trial_signal")
    log_trial_chrono_finish = _told("log_trial_chrono_finish")
    log_trial_time = _told("log_trial_time")
    log_trial_arguments = _told("log_trial_arguments")
    log_trial_metadata = _told("log_trial_metadata")
    log_trial_metrics = _told("log_trial_metrics")
    log_trial_series = _told("log_trial_series")
    set_trial_status = _told("set_trial_status")
    add_trial_tags = _told("add_trial_tags")
    log_trial_environment = _told("log_trial_environment")
    delete_trial = _told("delete_trial")
    restore_trial = _told("restore_trial")
    set_group_metadata = _told("set_group_metadata")
    add_project_trial = _told("add_project_trial")
    confirm_project = _told("confirm_project")
    add_group_trial = _told("add_group_trial")

    def log_trial_artifact(self, trial: Trial, name: str, uri: str, *args: Any, **kwargs: Any) -> None:
        self._call_main("log_trial_artifact", (trial, name, uri, *args), kwargs)
        elsewhere = named_from_elsewhere(uri, artifacts_home(self.file))
        for mirror in self._called:
            mirror.call("log_trial_artifact", trial, name, elsewhere, *args, **kwargs)

    def log_trial_finish(self, trial: Trial, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        self._tell("log_trial_finish", trial, exc_type, exc_val, exc_tb)
        # A file heard of the end as an event.
        for mirror in self._hearing:
            mirror.call("tidy")

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
            rest = self._called
        for mirror in rest:
            mirror.call("log_trial_chrono_start", trial, name, **kwargs)

    # creating

    def new_project(self, project: Any) -> Any:
        return self._tell("new_project", project) or project

    def new_trial_group(self, group: Any) -> Any:
        return self._tell("new_trial_group", group) or group

    def new_trial(self, trial: Trial, auto_increment: bool = False) -> Trial | None:
        """Store a trial: the main backend chooses the revision, the mirrors take it as it is."""
        if not self._mirrors:
            return self._main.new_trial(trial, auto_increment)
        try:
            made = self._main.new_trial(trial, auto_increment)
        except NotImplementedError:
            self._say_what_is_missing()
            return self._first.new_trial(trial, auto_increment)
        if made is None and auto_increment:
            # A backend that only listens answers nothing.
            return self._first.new_trial(trial, auto_increment)
        if made is not None:
            trial.revision = made.revision
            for mirror in self._called:
                mirror.call("new_trial", made)
        return made

    def commit(self, file_name_override: str | None = None, **kwargs: Any) -> None:
        """Make everything permanent, everywhere; the main backend writes ``file_name_override``."""
        if file_name_override is None:
            self._everywhere("commit", **kwargs)
            return
        self._call_main("commit", (), {"file_name_override": file_name_override, **kwargs})
        if self._mirrors and not self._main.takes_events:
            # A backend of one's own has seldom anything to write there.
            self._first.commit(file_name_override=file_name_override, **kwargs)

    # deciding

    def fetch_and_update_trial(self, query: Any, attr: str, *args: Any, **kwargs: Any) -> Trial:
        """Change the first match of the main backend, and the same trial in the mirrors."""
        changed: Trial = self._fetch_and_update("fetch_and_update_trial", query, attr, args, kwargs)
        return changed

    def fetch_and_update_group(self, query: Any, attr: str, *args: Any, **kwargs: Any) -> TrialGroup:
        """Change the first match of the main backend, and the same group in the mirrors."""
        changed: TrialGroup = self._fetch_and_update("fetch_and_update_group", query, attr, args, kwargs)
        return changed

    def _fetch_and_update(self, method: str, query: Any, attr: str, args: Any, kwargs: Any) -> Any:
        changed = None
        try:
            changed = getattr(self._main, method)(query, attr, *args, **kwargs)
        except NotImplementedError:
            if not self._mirrors:
                raise
        if changed is None and self._mirrors:
            changed = getattr(self._first, method)(query, attr, *args, **kwargs)
            self._call_main(attr, (changed, *args), kwargs)
            rest = self._mirrors[1:]
        else:
            rest = self._called
        for mirror in rest:
            mirror.call(attr, changed, *args, **kwargs)
        return changed

    def forget_trials(self, older: float = 0.0) -> Forgotten:
        try:
            return self._main.forget_trials(older)
        except NotImplementedError:
            if not self._mirrors:
                raise
            return self._first.forget_trials(older)

    # asking

    get_project = _asked("get_project")
    get_trial_group = _asked("get_trial_group")
    fetch_trials = _asked("fetch_trials")
    fetch_groups = _asked("fetch_groups")
    fetch_projects = _asked("fetch_projects")
    select_trials = _derived("select_trials")
    brief_trials = _derived("brief_trials")
    brief_lines = _derived("brief_lines")
    changes = _derived("changes")
    fetch_points = _derived("fetch_points")
    fetch_buckets = _derived("fetch_buckets")
    first_trial = _derived("first_trial")
    refresh = _derived("refresh")
    glimpse = _derived("glimpse")
    project_tags = _derived("project_tags")
    reserved_attempt = _derived("reserved_attempt")
    share_attempt = _derived("share_attempt")

    def revisions(self, digest: str) -> set[int]:
        known: set[int] = _revisions(self, digest)
        # Of one that was written method by method only a mirror knows which are hidden.
        hiding = () if self._main.answers else self._mirrors[:1]
        return known.union(*(mirror.backend.revisions(digest) for mirror in hiding))

    def has(self, kind: type, uid: Any) -> bool:
        hiding = () if self._main.answers else self._mirrors[:1]
        return bool(_has(self, kind, uid)) or any(mirror.backend.has(kind, uid) for mirror in hiding)

    def get_trial(self, trial: Trial) -> list[Trial]:
        found: list[Trial] = _ask_for_trial(self, trial)
        return found or []

    # as facts

    def apply(self, *events: Event) -> None:
        if not self.takes_events:
            super().apply(*events)
            return
        self._main.apply(*events)
        self._pass_on(events)

    def receive(self, writer: str, first: int, events: Sequence[Event], lines: bytes | None = None) -> None:
        if not self.takes_events:
            super().receive(writer, first, events, lines)
            return
        new = events[max(0, self.last(writer) + 1 - first) :] if self._mirrors else ()
        self._main.receive(writer, first, events, lines)
        self._pass_on(new)

    def _pass_on(self, events: Sequence[Event]) -> None:
        for mirror in self._hearing:
            mirror.hear(events)
        for mirror in self._called:
            mirror.call("apply", *events)

    def last(self, writer: str) -> int:
        return self._main.last(writer) if self.takes_events else super().last(writer)

    def atomically(self, action: Callable[[], Result]) -> Result:
        return self._main.atomically(action)

    def at_once(self) -> AbstractContextManager[bool]:
        return self._main.at_once()

    # how far

    def unsaved(self) -> int:
        """Return how many events some backend could not store."""
        return sum(proto.unsaved() for proto in self.protos) + sum(mirror.missed for mirror in self._mirrors)

    @property
    def remedy(self) -> str:
        missed = [f"{mirror.backend!r} missed {mirror.missed}" for mirror in self._mirrors if mirror.missed]
        return "; ".join([*missed, *filter(None, (proto.remedy for proto in self.protos))])

    def left_behind(self) -> int:
        return self._main.left_behind()

    def check_writable(self) -> None:
        """Return if the backend that decides can be written to; a mirror that cannot is said.

        Raises
        ------
        BackendUnavailable
            It cannot.
        """
        self._main.check_writable()
        for mirror in self._mirrors:
            mirror.call("check_writable")

    def flush(self, timeout: float | None = None) -> None:
        # A backend of one's own may know of no time-out.
        self._everywhere("flush", *(() if timeout is None else (timeout,)))

    def tidy(self) -> None:
        self._everywhere("tidy")

    def compact(self, tell: Callable[[float], None] | None = None) -> bool:
        return self._main.compact(tell)

    def close(self) -> None:
        self._everywhere("close")

    def _everywhere(self, method: str, *args: Any, **kwargs: Any) -> None:
        try:
            self._call_main(method, args, kwargs)
        finally:
            for mirror in self._mirrors:
                mirror.call(method, *args, **kwargs)


_ask_for_trial = _asked("get_trial")
_revisions, _has = _derived("revisions"), _derived("has")
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
