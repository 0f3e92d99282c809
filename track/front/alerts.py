"""What a trial tells people who do not look at it: the page, ``track show`` and ``track watch --on alert`` show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from track.aggregators.aggregator import Aggregator, RingAggregator, StatAggregator
from track.errors import InvalidCall, suggestion
from track.plain import utf8
from track.shown import cut, text_of

if TYPE_CHECKING:
    from track.persistence.protocol import Protocol
    from track.structure import Trial

ALERTS = "_alerts"
"""The name in a trial's metadata of its last alerts: when, how grave, title, text."""
TOLD = "_alerts_told"
"""The name in a trial's metadata of how many alerts it has told, with those that are no longer kept."""
LEVELS = ("info", "warning", "error")
_SYNONYMS = {"warn": "warning", "err": "error", "critical": "error", "fatal": "error"}
_MOST, _LONGEST_TITLE, _LONGEST_TEXT = 100, 300, 10_000
_KINDS = (float, str, str, str)


class Alert(NamedTuple):
    """An alert; `at` is in unix seconds."""

    at: float
    level: str
    title: str
    text: str


class AlertVerbs:
    """The verb of a trial with which it tells something; `TrialLogger` has it."""

    if TYPE_CHECKING:
        protocol: Protocol

        def _created(self) -> Trial: ...

    def alert(self, title: str, text: str | None = None, level: str = "warning") -> None:
        """Keep a notice for people with the trial: ``track watch --on alert COMMAND`` tells them.

        Parameters
        ----------
        title: str
            What happened, in a line. The last 100 notices of a trial are kept.
        text: str, optional
            More about it, of any length up to 10,000 letters.
        level: str
            ``"info"``, ``"warning"`` or ``"error"``.

        Raises
        ------
        InvalidCall
            The level is another word.
        """
        known = text_of(level).lower()
        known = _SYNONYMS.get(known, known)
        if known not in LEVELS:
            raise InvalidCall(f"level={level!r} is none of {', '.join(LEVELS)}{suggestion(known, LEVELS)}")
        texts = cut(utf8(text_of(title)), _LONGEST_TITLE), cut(utf8(text_of(text or "")), _LONGEST_TEXT)
        alert = [self.protocol.clock(), known, *texts]
        kept = RingAggregator.lazy(_MOST, "alerts")
        self.protocol.log_trial_metadata(self._created(), aggregator=kept, **{ALERTS: alert})
        # After it: who looks between the two misses none.
        self.protocol.log_trial_metadata(self._created(), aggregator=StatAggregator.lazy(0), **{TOLD: 1})


def alerts_in(metadata: Any) -> list[Alert]:
    """Return the alerts that are kept in a trial's metadata, oldest first."""
    kept = metadata.get(ALERTS) if isinstance(metadata, Mapping) else None
    found = kept.val if isinstance(kept, Aggregator) else kept
    if not isinstance(found, list):
        return []
    # A user may have logged metadata of this name.
    return [Alert(*one) for one in found if isinstance(one, list) and tuple(map(type, one)) == _KINDS]


def alerts_told(metadata: Any) -> int:
    """Return how many alerts a trial has told: those that are kept, and the earlier ones."""
    kept = len(alerts_in(metadata))
    told = metadata.get(TOLD) if isinstance(metadata, Mapping) else None
    return max(kept, told.count) if isinstance(told, StatAggregator) else kept
