"""What an import has taken, and what it has not: counted, with the reason and the first example."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from track.shown import clean
from track.utils.masking import mask_text

_LONGEST = 200
_MOST = 1000
"""Reasons that are told apart: a damaged source has one for each of its bytes, otherwise."""

TAKEN = ("trials", "metrics", "points", "parameters", "metadata", "tags", "files", "bytes")


@dataclass
class Left:
    """Things of one kind that were not taken, or not as they were, for one reason; `first` is one of them."""

    kind: str
    reason: str
    count: int
    first: str


@dataclass
class Report:
    """What an import has done.

    Parameters
    ----------
    source: str
        Whose runs they were.
    path: str
        Where they were read.
    dry_run: bool
        Whether nothing was stored.
    runs: dict
        The names of the runs by what became of them: ``imported``, ``completed`` (their import had been broken off),
        ``continued`` (they went on since they were imported, and what is new was stored),
        ``present`` (there already), ``changed`` (there already, and other than they are now), ``deleted`` (deleted
        there), ``refused``.
    taken: dict
        How much was stored, or would be: ``trials``, ``metrics``, ``points``, ``parameters``, ``metadata``, ``tags``,
        ``files``, ``bytes``.
    """

    source: str
    path: str
    dry_run: bool = False
    runs: dict[str, list[str]] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TAKEN, 0))
    damages: int = 0
    _left: dict[tuple[str, str], Left] = field(default_factory=dict)

    @property
    def left(self) -> list[Left]:
        """What was not taken, or not as it was, by kind and reason."""
        return list(self._left.values())

    @property
    def is_complete(self) -> bool:
        """Whether all runs that are there are stored as they are, as far as their files could be read."""
        return not self.damages and not {"changed", "refused"} & self.runs.keys()

    def note(self, outcome: str, name: str) -> None:
        """Count a run."""
        self.runs.setdefault(outcome, []).append(clean(name, _LONGEST))

    def leave(self, kind: str, reason: str, what: str = "", count: int = 1) -> None:
        """Count what is not taken, or not as it was."""
        key = (clean(kind, _LONGEST), clean(reason, _LONGEST))
        if key not in self._left and len(self._left) >= _MOST:
            key = (key[0], "other reasons")
        known = self._left.get(key)
        if known is None:
            # An example may be what somebody has logged.
            self._left[key] = Left(*key, count, clean(mask_text(what), _LONGEST))
        else:
            known.count += count

    def damage(self, reason: str, what: str = "") -> None:
        """Count what cannot be read."""
        self.damages += 1
        self.leave("damaged", reason, what)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-safe data."""
        left = [{"kind": one.kind, "reason": one.reason, "count": one.count, "first": one.first} for one in self.left]
        return {
            "source": self.source,
            "path": self.path,
            "dry_run": self.dry_run,
            "runs": self.runs,
            "taken": self.taken,
            "left": left,
        }
