"""A run that was found in a source, and what is told while it is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from track.errors import TrackError
from track.structure import CustomStatus, Status
from track.versioning import compute_hash

End = Status | CustomStatus
UNREADABLE = (OSError, TrackError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, RecursionError)
"""What a reader raises for damage that it did not foresee: it ends the reading, and nothing else."""


class Taking(Protocol):
    """Is told what a run has, in the order in which its source has it."""

    def point(self, name: str, value: Any, step: Any, at: float | None) -> None:
        """Take one value of a metric, measured at a step or at none (None), in unix seconds."""

    def series(self, name: str, values: Any, steps: Any, times: Any) -> None:
        """Take many values of a metric; steps and times may be None."""

    def parameters(self, values: dict[str, Any]) -> None:
        """Take parameters."""

    def metadata(self, values: dict[str, Any]) -> None:
        """Take what else is said of the run: notes, results, where it ran."""

    def tags(self, values: dict[str, Any]) -> None:
        """Take tags."""

    def file(self, name: str, path: str) -> None:
        """Take the file at a path, which was looked at before."""

    def medium(self, kind: str, name: str, content: Any, step: Any = None, caption: Any = None) -> None:
        """Take what is looked at: the path of a file, bytes, a text, rows, or counts and edges."""

    def ended(self, status: End, at: float | None = None, error: str | None = None) -> None:
        """Take how the run ended, and when."""

    def leave(self, kind: str, reason: str, what: str = "", count: int = 1) -> None:
        """Count what is not taken."""

    def damage(self, reason: str, what: str = "") -> None:
        """Count what cannot be read."""


@dataclass(frozen=True)
class Run:
    """What is known of a run before it is read.

    Parameters
    ----------
    key: str
        What the source calls it: the same whenever and wherever it is read, and no other run's.
    stamp: str
        Another one once the run has changed.
    read: callable
        Tells a `Taking` everything.
    created: float
        Unix seconds.
    alias: str
        Whose name the key is, where that is not the source: one tracker may have several kinds of stores.
    """

    key: str
    stamp: str
    read: Callable[[Taking], None]
    created: float
    name: str | None = None
    project: str | None = None
    group: str | None = None
    description: str | None = None
    alias: str | None = None

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.name or self.key


def digest_of_run(alias: str, key: str) -> str:
    """Return the hash of the trial that a run becomes: the same in every store."""
    return compute_hash("import", alias, key)


def uid_of(alias: str, key: str) -> str:
    """Return the uid of the trial that a run becomes."""
    return f"{digest_of_run(alias, key)}_0"


class Keys:
    """Keys that are made of how files begin: a file that begins like another one of the same import has its own."""

    def __init__(self) -> None:
        self._stamps: dict[str, str] = {}

    def key_of(self, key: str, stamp: str) -> str:
        """Return the key; where another run has it, one that says what is in the file, too."""
        return key if self._stamps.setdefault(key, stamp) == stamp else f"{key}+{stamp}"


def stamp_of(*paths: str) -> str:
    """Return what is another one once one of these files was written to: their sizes and times."""
    stamps = []
    for path in paths:
        try:
            found = os.stat(path, follow_symlinks=False)
        except OSError:
            continue
        stamps.append(f"{found.st_size}")
    return "+".join(stamps)
