"""Where the events and the files of an imported run go: numbered, so that nothing of them is stored twice."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from track.artifacts import Recorder
from track.errors import InvalidEvent
from track.events import Event, FieldsMerged
from track.media import Content, MediaWriter
from track.persistence.protocol import Protocol
from track.structure import Trial
from track.utils.files import digest_of


class Store:
    """Where the events and the files of one trial go."""

    def __init__(self, protocol: Protocol, is_begun: bool, stored: Trial | None = None) -> None:
        self._protocol, self._is_begun, self._continued = protocol, is_begun or stored is not None, stored
        self._known: set[tuple[str, str, str | None]] = set()
        self._media: MediaWriter | None = None

    def begin(self, trial: Trial, writer: str, owners: list[Event]) -> None:
        """Begin with a trial: its owners are there before it is."""
        self._trial, self._writer, self._sent = trial, writer, 0
        self._stored = self._protocol.last(writer)
        if self._is_begun and self._continued is None and self._stored < 0:
            raise InvalidEvent("its import was broken off, and this store has forgotten how far it was")
        for event in owners:
            self._protocol.apply(event)

    def send(self, events: list[Event]) -> None:
        """Store events, those that are not there yet."""
        first, self._sent = self._sent, self._sent + len(events)
        if self._sent - 1 > self._stored:
            self._protocol.receive(self._writer, first, events)

    def merge(self, event: FieldsMerged) -> int:
        """Store fields that a run that went on has, and return how many: those that are there stay as they are."""
        there = getattr(self._continued, event.field)
        values = {name: value for name, value in event.values.items() if name not in there}
        if values:
            self._protocol.apply(msgspec.structs.replace(event, values=values))
        return len(values)

    def add_file(self, name: str, path: str) -> bool:
        """Store a file, unless it is there, and return whether it was not, or that is not known."""
        if self._is_begun and (name, repr(None), digest_of(path)) in self._there():
            return self._continued is None
        Recorder(self._protocol, self._trial).add_file(path, name)
        return True

    def add_medium(self, name: str, content: Content, step: Any, caption: str | None) -> bool:
        """Store a medium, unless it is there, and return whether it was not, or that is not known."""
        if self._is_begun:
            digest = hashlib.sha256(content.data).hexdigest()
            if (name, repr(step), digest) in self._there():
                return self._continued is None
        if self._media is None:
            found = self._protocol.brief_trials({"uid": self._trial.uid}) if self._is_begun else []
            self._media = MediaWriter(self._protocol, found[0] if found else self._trial, raises=True)
        self._media.add(name, content, step, caption)
        return True

    def end(self) -> None:
        """Store the media that were held back."""
        if self._media is not None:
            self._media.flush()

    def _there(self) -> set[tuple[str, str, str | None]]:
        """Return names, steps and digests of what the import that was broken off has stored."""
        if not self._known:
            found = self._protocol.brief_trials({"uid": self._trial.uid})
            self._known = {
                (one["name"], repr(one.get("step")), one.get("digest")) for trial in found for one in trial.artifacts
            }
        return self._known
