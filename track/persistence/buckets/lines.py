"""Lines of metrics that are read again and again: those that took long to make are kept, of others what is known."""

from __future__ import annotations

from typing import Any

from track.persistence.buckets.asking import engine
from track.persistence.buckets.cache import Cache, Kept
from track.persistence.buckets.columns import Found
from track.persistence.buckets.heads import ChunkedLine
from track.persistence.buckets.question import Question

# Points from which on a pyramid is built, and from which on what had to be sorted or smoothed is kept.
_LONG, _SOME = 1 << 16, 1 << 10
LINES = Cache()
"""Those of this process."""


class Source:
    """The metrics of a trial where they are.

    Attributes
    ----------
    stamp: object
        Another one than before where the metrics are not what they were.
    line: Line, optional
        What was made of them before, where they are what they were.
    """

    stamp: Any = None
    line: Any = None

    def found(self) -> Found | None:
        """Return the points that are shown; None where there are none."""
        raise NotImplementedError

    def chunked(self, kept: Kept) -> ChunkedLine | None:
        """Return the line of a metric of which most points stay on the disk; None where they are read, and kept.

        `kept`: where it is remembered what the chunks come to.
        """
        return None

    def as_stored(self) -> Found:
        """Return the points as they are stored; nobody looks for steps that were logged again."""
        raise NotImplementedError

    def is_as_stored(self, found: Found) -> bool:
        """Return whether the points that are shown are those that are stored, in their order."""
        raise NotImplementedError


def kept_line(stamp: Any, question: Question, key: tuple[str, ...]) -> Any:
    """Return the line of a trial that was kept; None where there is none, or the stamp is another one."""
    return LINES.get(_key(question, key), stamp) if key else None


def _key(question: Question, key: tuple[str, ...]) -> tuple[Any, ...]:
    return (*key, question.name, question.x, question.smoothing or 0.0)


def line_from(source: Source, question: Question, key: tuple[str, ...]) -> Any:
    """Return the line of a trial, what was made before where that is still so; None where it has no points.

    `key`: of the store and the trial; an empty one is none, and nothing is kept.
    """
    if source.line is not None:
        return source.line
    module = engine()
    is_kept = module.HAS_PYRAMIDS and bool(key)
    known = LINES.get(_key(question, key), source.stamp) if is_kept else None
    if known is not None:
        is_line = isinstance(known, module.Line)
        return known if is_line else module.plain_line(source.as_stored(), question, known)
    chunked = source.chunked(Kept(LINES, _key(question, key), source.stamp) if key else Kept())
    if chunked is not None:
        return chunked
    found = source.found()
    if found is None:
        return None
    line = module.line_of(found, question)
    if line is None or not is_kept:
        return line
    size = len(line.values)
    if size >= _LONG:
        line.pyramid = module.pyramid_of(line)
    if line.is_plain and source.is_as_stored(found):
        if line.pyramid is not None:
            LINES.put(_key(question, key), source.stamp, line.pyramid, line.pyramid.nbytes)
    elif size >= _SOME:
        kept = line.owned()
        LINES.put(_key(question, key), source.stamp, kept, kept.nbytes)
    return line
