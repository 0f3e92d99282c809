"""How several backends are told the same: the heart of the multiplexer, without its verbs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from track.events import Event
from track.persistence.eventprotocol import EventProtocol
from track.persistence.mirrors import EventRecorder, Mirror
from track.persistence.protocol import Protocol

__all__ = ["Telling"]

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
