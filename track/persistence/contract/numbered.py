"""Events that a writer has numbered: which of a batch are new, and whether they may be stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from track.errors import EventsMissing, UnknownSubject
from track.events import Event, FieldsMerged, GroupCreated, MetricsLogged, ProjectCreated, TrialCreated
from track.persistence.utils import mask_secrets
from track.shown import shown
from track.structure import Project, Trial, TrialGroup

_CREATIONS = (ProjectCreated, GroupCreated, TrialCreated)
_KINDS = {"group": TrialGroup, "project": Project}


def check_batch(  # noqa: PLR0917 - what a store knows, and what it is asked
    uri: str, has: Callable[[type, str], bool], last: int, after: int, first: int, events: Sequence[Event]
) -> None:
    """Return if a batch follows what a store has of its writer, and is about what is stored.

    Parameters
    ----------
    uri: str
        The store's, for messages.
    has: callable
        Returns whether something of a kind is stored.
    last: int
        The number of the last event of this writer in the store.
    after: int
        The number of the last one that was acknowledged.
    first: int
        The number of the batch's first event.

    Raises
    ------
    EventsMissing
        What was acknowledged is not stored.
    UnknownSubject
        Some events are about nothing that is stored, or created by one before.
    """
    if last < after:
        raise EventsMissing(f"{mask_secrets(uri)} has events up to number {last} of a writer, and had number {after}")
    new = max(0, last + 1 - first)
    unknown = _unknown_subjects(events[new:], has)
    if unknown:
        example = shown(next(iter(unknown.values())))
        text = f"{mask_secrets(uri)} does not know what {len(unknown)} events are about, such as {example}"
        raise UnknownSubject(text, (first + new + place for place in unknown))


def _unknown_subjects(events: Sequence[Event], has: Callable[[type, str], bool]) -> dict[int, str]:
    """Return which events are about nothing, and the uid they name."""
    known: dict[tuple[type, str], bool] = {}
    trials: set[str] = set()
    unknown = {}
    for place, event in enumerate(events):
        # Nearly all of them.
        if type(event) is MetricsLogged and event.trial in trials:
            continue
        kind, uid = subject = subject_of(event)
        if not known.get(subject):
            known[subject] = type(event) in _CREATIONS or (subject not in known and has(kind, uid))
            if not known[subject]:
                unknown[place] = uid
            elif kind is Trial:
                trials.add(uid)
    return unknown


def subject_of(event: Event) -> tuple[type, str]:
    """Return what an event is about: `Trial`, `TrialGroup` or `Project`, and its uid."""
    match event:
        case FieldsMerged():
            return _KINDS.get(event.kind, Trial), event.uid
        case ProjectCreated():
            return Project, event.uid
        case GroupCreated():
            return TrialGroup, event.uid
    return Trial, event.trial
