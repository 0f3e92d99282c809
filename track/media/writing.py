"""Media on their way into a store: where each goes, how many of a name are kept, and what could not be."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Any

from track.artifacts import Artifact, Recorder, artifact_name, finish_spooled
from track.errors import BackendUnavailable, FileChanged, InvalidEvent, UnsafePath
from track.media.content import Content
from track.media.medium import Medium, media_in, said_of
from track.persistence.contract import plain_step
from track.shown import shown, text_of
from track.structure import Trial

logger = logging.getLogger(__name__)

MOST = 1000
"""So many of a name are kept; of more every second one, then every fourth, ..., and the first and the last."""
INLINE = 64 * 1024
"""Bytes of a text, a table or a histogram that go into the trial's manifest itself,"""
ALL_INLINE = 1024 * 1024
"""and those of all of a trial together: a manifest is read whenever its trial is."""
_CAPTION = 1000
_HELD = 16 * 1024 * 1024
_TEXTS = frozenset({"histogram", "table", "text"})


def kept_of(count: int) -> int:
    """Return how many of so many media of one name are kept.

    Examples
    --------
    >>> kept_of(1000), kept_of(1200)
    (1000, 601)
    """
    kept, every = 0, 1
    for index in range(count):
        if kept >= MOST:
            kept, every = (kept + 1) // 2, every * 2
        kept += index % every == 0
    return kept + (count > 0 and (count - 1) % every > 0)


@dataclass
class _Name:
    """What is known of the media of one name."""

    next: int = 0
    kept: int = 0
    every: int = 1
    held: _One | None = None
    missing: int = 0
    is_cut: bool = False


@dataclass(frozen=True)
class _One:
    content: Content
    step: Any
    said: dict[str, Any]


class MediaWriter:
    """Stores the media of a trial; `raises`: what cannot be stored is an error, as in the program of an import."""

    def __init__(self, told: Any, trial: Trial, raises: bool = False) -> None:
        self._told = told
        self._raises = raises or told.raises
        self._trial = trial
        self._lock = threading.RLock()
        self._names: dict[str, _Name] = {}
        self._inline = 0
        self._go_on(trial)

    def _go_on(self, trial: Trial) -> None:
        """Take note of what earlier lives of the trial have logged."""
        for line in trial.artifacts:
            said = said_of(line.get("media")) if isinstance(line, dict) else None
            if said is None or said.thumb:
                continue
            known = self._names.setdefault(str(line.get("name")), _Name())
            known.next, known.every = max(known.next, said.index + 1), max(known.every, said.every, 1)
            known.kept += 1
            if str(line.get("uri")).startswith("data:"):
                self._inline += int(line.get("size") or 0)

    def add(self, name: str, content: Content, step: Any = None, caption: str | None = None) -> Medium | None:
        """Store a medium, and return it; None where it is not kept, or could not be.

        InvalidEvent or UnsafePath where name, step or caption are none.
        """
        if not isinstance(name, str):
            raise UnsafePath(f"media go by their names, as in 'val/sample', not by {shown(name, 60)}")
        artifact_name(name, name)
        plain_step(step)
        if caption is not None and len(caption := text_of(caption)) > _CAPTION:
            raise InvalidEvent(f"the caption of {name!r} has {len(caption):,} letters: {_CAPTION:,} can be shown")
        said = {"kind": content.kind, "type": content.type, **content.facts}
        with self._lock:
            known = self._names.setdefault(name, _Name())
            one = _One(content, step, {**said, **({} if caption is None else {"caption": caption})})
            if known.kept >= MOST:
                self._thin(name, known)
            index, known.next = known.next, known.next + 1
            one.said.update(index=index, **({"every": known.every} if known.every > 1 else {}))
            if index % known.every == 0:
                known.held = None
                known.kept += 1
                return self._store(name, known, one)
            if content.path is None and len(content.data) <= _HELD:
                # The last one is kept, too: which that is will be seen.
                known.held = one
        return None

    def _thin(self, name: str, known: _Name) -> None:
        known.every *= 2
        known.kept = (known.kept + 1) // 2
        if known.every == 2:
            text = (
                "%r has %s media: every second one is kept from now on, of twice as many every fourth, and so on, and "
                "the first and the last"
            )
            logger.warning(text, name, f"{MOST:,}")

    def flush(self) -> None:
        """Store the last of each name, where it would not be kept otherwise."""
        with self._lock:
            for name, known in self._names.items():
                held, known.held = known.held, None
                if held is not None:
                    self._store(name, known, held)
        finish_spooled(self._trial.uid)

    def tell_cut(self, name: str) -> None:
        """Say once of a name that values were no pixels."""
        known = self._names.setdefault(name, _Name())
        if not known.is_cut:
            known.is_cut = True
            logger.warning(
                "image %r has values outside of 0 to 1 (of floats) or 255 (of integers), which are shown as these", name
            )

    def not_stored(self) -> dict[str, int]:
        """Return how many media of which names could not be stored."""
        return {name: known.missing for name, known in self._names.items() if known.missing}

    def _store(self, name: str, known: _Name, one: _One) -> Medium | None:
        try:
            return self._put(name, one)
        except (BackendUnavailable, FileChanged, OSError) as error:
            if self._raises:
                raise
            known.missing += 1
            if known.missing == 1:
                logger.warning("%s %r is not stored: %s", one.content.kind, name, error)
            return None

    def _put(self, name: str, one: _One) -> Medium | None:
        content = one.content
        lines: list[Artifact] = []
        if content.thumb is not None:
            thumb = {**one.said, "type": content.thumb.type, "thumb": True}
            recorder = Recorder(self._told, self._trial, one.step, thumb)
            lines.append(recorder.add_small(content.thumb.data, content.thumb.ending, name))
        recorder = Recorder(self._told, self._trial, one.step, one.said)
        if content.path is not None:
            lines.append(recorder.add_file(content.path, name))
        elif content.kind in _TEXTS and len(content.data) <= min(INLINE, ALL_INLINE - self._inline):
            self._inline += len(content.data)
            lines.append(recorder.add_inline(content.data, content.type, name))
        else:
            lines.append(recorder.add_small(content.data, content.ending, name))
        return media_in(self._trial, name, lines)[-1]
