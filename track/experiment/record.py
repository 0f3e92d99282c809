"""The trial of an experiment: where it is stored, and what the experiment tells it."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from track.aggregators.aggregator import METADATA_AGGREGATOR
from track.configuration import ATTEMPT_VARIABLE, options
from track.errors import AlreadyRuns, BackendUnavailable, ItemNotFound
from track.experiment.messages import Offer, applied, changed_notes, is_kept, query_of
from track.experiment.status import WAITING, name_of, status_of
from track.persistence.contract import final_status
from track.persistence.query import ALSO_DELETED
from track.persistence.utils import names_no_store
from track.structure import Project, Trial, TrialGroup, split_uid
from track.versioning import compute_hash, default_version_hash

if TYPE_CHECKING:
    from track.logger import TrialLogger
    from track.persistence.protocol import Protocol

logger = logging.getLogger(__name__)
SET_FOLDER, SET_FILE, STORE_FILE = ".track", "set.json", "report.json"
_MESSAGES, _NOTES = "messages.", "notes"
# Parameters of the method that logs metrics: such messages are no metrics.
_TAKEN = ("step", "aggregator")
TRIAL_VARIABLE, FOLDER_VARIABLE = "TRACK_TRIAL_ID", "TRACK_EXPERIMENT"
"""Of the environment: which trial a worker has reserved for this process, in which folder; also `ATTEMPT_VARIABLE`."""
_ATTEMPTS = 100
_PATIENCE = 60.0
"""Seconds for which a store that is busy or away is asked for an experiment that others may take."""


class Place(NamedTuple):
    """Where the trials of a folder go: the store, the project, the group; no URI where nothing is configured."""

    uri: str | None
    project: str
    group: TrialGroup | None


def place_of(folder: str, kind: str) -> Place:
    """Return where the trial of an experiment's folder goes.

    That is the configured store; for the folder of a set, where there is none, the store in the set's root.

    Parameters
    ----------
    folder: str
        Its absolute path.
    kind: str
        What the experiment is called: the project, unless its set says otherwise.
    """
    root = os.path.dirname(folder)
    group = None
    if _is_set(root):
        group = _read_set(root, kind)
        kind = str(group.project_id)
    configured = options("log.backend.name", None)
    if not names_no_store(configured):
        return Place(configured, kind, group)
    if group is None:
        return Place(None, kind, None)
    return Place(f"file://{quote(os.path.join(root, SET_FOLDER, STORE_FILE))}", kind, group)


def _is_set(root: str) -> bool:
    names = ("experiment.yml", os.path.join(SET_FOLDER, SET_FILE))
    return any(os.path.exists(os.path.join(root, name)) for name in names)


def _read_set(root: str, kind: str) -> TrialGroup:
    """Return the group that a set is, as its file says: uid, name and project; by default the kind, and the path."""
    import json

    try:
        with open(os.path.join(root, SET_FOLDER, SET_FILE), encoding="utf-8") as file:
            found = json.load(file)
        return TrialGroup(found.get("uid"), name=found.get("name") or root, project_id=found.get("project") or kind)
    except (OSError, ValueError, AttributeError):
        return TrialGroup(name=root, project_id=kind)


class Record:
    """A trial as an experiment uses it.

    Parameters
    ----------
    logger: TrialLogger
    is_stored: bool
        Whether its store lasts; otherwise the folder is all that is kept, and this trial is in memory.
    is_new: bool
        Whether this process has made the trial.

    Attributes
    ----------
    is_held: bool
        Whether a worker in this process has reserved the trial.
    """

    def __init__(self, logger: TrialLogger, is_stored: bool, is_new: bool = False) -> None:
        self.logger = logger
        self._is_new = is_new
        self.is_stored = is_stored
        self.is_held = False
        self._protocol, self._trial = logger.protocol, logger._created()
        self._named: dict[tuple[str, ...], tuple[str, ...]] = {}

    @classmethod
    def create(cls, place: Place, uid: str | None, status: str, fields: dict[str, Any]) -> Record:
        """Return the record of a new trial, `fields` of a `Trial`; with the identity of `uid`, where that is given."""
        from track.front import parent_in, store_trial
        from track.logger import TrialLogger
        from track.persistence.registry import get_protocol

        protocol = get_protocol(place.uri or "ephemeral:")
        protocol.check_writable()
        project = protocol.new_project(Project(name=place.project))
        group = None if place.group is None else protocol.new_trial_group(place.group)
        parent = parent_in(protocol)
        if parent is not None:
            fields["metadata"] = {"parent": parent, **fields["metadata"]}
        trial = Trial(
            split_uid(uid)[0] if uid else compute_hash("experiment", uuid.uuid4().hex),
            version=default_version_hash(),
            project_id=project.uid,
            group_id=None if group is None else group.uid,
            status=status_of(status),
            **fields,
        )
        stored = store_trial(protocol, trial, True, project, group) or trial
        return cls(TrialLogger(stored, protocol), place.uri is not None, is_new=True)

    @classmethod
    def find(cls, place: Place, uid: str | None) -> Record | None:
        """Return the record of a trial that is stored; None where there is none."""
        from track.logger import TrialLogger
        from track.persistence.registry import get_protocol

        if uid is None or place.uri is None:
            return None
        protocol = get_protocol(place.uri)
        found = protocol.get_trial(Trial(*split_uid(uid))) or []
        stored = next((trial for trial in found if trial.uid == uid), None)
        if stored is None:
            return None
        attempt = given_attempt(uid)
        if attempt is not None:
            protocol.share_attempt(stored.uid, attempt)
        return cls(TrialLogger(stored, protocol), True)

    @classmethod
    def held(cls, trial: Trial, protocol: Protocol) -> Record:
        """Return the record of a trial that a worker in this process has reserved."""
        from track.logger import TrialLogger

        record = cls(TrialLogger(trial, protocol), True)
        record.is_held = True
        return record

    @property
    def uid(self) -> str:
        """What the trial is found by."""
        return self._trial.uid

    @property
    def status(self) -> str:
        """What the experiment's status is, as far as the store says."""
        return name_of(self.logger.trial.status)

    def ended_as(self, exc_type: Any, exc_val: Any) -> str:
        """Return what the status is after an end: that of all processes of the trial, as far as the store answers."""
        own = final_status(exc_type, exc_val)
        try:
            if given_attempt(self.uid) is None:
                return self.status
            # For the worker that has given it to this process the trial runs until the process is gone.
            stored = self.logger.trial
            return name_of(stored.status if stored.is_set else own)
        except BackendUnavailable:
            return name_of(own)

    def start(self, is_waiting: bool) -> None:
        """Start the trial; one that waits is taken in the same step, by one process only.

        One that a worker has reserved, this process or the one that has started it, is taken already.

        Raises AlreadyRuns (a ValueError): another process has taken it.
        """
        if self.is_held:
            self.logger._begin()
        elif is_waiting and self.is_stored and given_attempt(self.uid) is None:
            self._take()
        self.logger.__enter__()

    def _take(self) -> None:
        from track.front import reserve

        # Of what this process has just made, nothing needs to be waited for.
        query = {"uid": self.uid, "status": {"$in": list(WAITING)}}
        try:
            taken = reserve(self._protocol, query, 0.0 if self._is_new else _PATIENCE)
        except BackendUnavailable:
            if not self._is_new:
                raise
            return
        if taken is None:
            raise AlreadyRuns(f"experiment {self._trial.name!r} is {self.status} by now: another process has taken it")
        self._trial = self.logger._trial = taken
        self.logger._begin()

    def set_status(self, name: str) -> None:
        """Set the status."""
        self.logger.set_status(status_of(name))

    def set_parameters(self, parameters: Mapping[str, Any]) -> bool:
        """Record the parameters that are used, and return whether some are others: a person may edit the file."""
        known = self._trial.parameters
        changed = {name: value for name, value in parameters.items() if repr(known.get(name)) != repr(value)}
        if changed:
            self._protocol.log_trial_arguments(self._trial, **changed)
        return bool(changed)

    def set_facts(self, **facts: Any) -> None:
        """Record metadata."""
        self.logger.log_metadata(None, **facts)

    def view(self) -> dict[str, Any]:
        """Return the metadata as they are stored now; BackendUnavailable while a server is away."""
        found = self._protocol.first_trial({"uid": self.uid, **ALSO_DELETED})
        return {} if found is None else dict(found.metadata)

    def message(self, offer: Offer, known: dict[str, Any]) -> dict[str, Any]:
        """Store what is kept of messages, and return it; `known` is what was stored when this process looked last."""
        if not self.is_stored:
            # Nobody else sees this store.
            kept = applied(offer, known)
        elif offer.keep == "latest":
            kept = dict(offer.values)
            self._store(kept)
        else:
            kept = {}
            for name, group in offer.groups:
                if self._decide(name, group, offer.keep, known):
                    kept |= group
        self._measure(kept, offer.step)
        return kept

    def _store(self, values: Mapping[str, Any]) -> None:
        names = tuple(values)
        prefixed = self._named.get(names)
        if prefixed is None:
            prefixed = self._named[names] = tuple(_MESSAGES + name for name in names)
        named: Any = dict(zip(prefixed, values.values(), strict=True))
        self._protocol.log_trial_metadata(self._trial, **named)

    def _decide(self, leader: str, group: dict[str, Any], keep: str, known: dict[str, Any]) -> bool:
        """Store a group if its leader is kept, compare-and-set, and return whether it was.

        While a server is away what this process knows decides: the least of its own must not be lost.
        """
        query = query_of(group[leader], f"metadata.{_MESSAGES}{leader}", keep)
        named: Any = as_metadata(group)
        try:
            self._protocol.fetch_and_update_trial({"uid": self.uid, **(query or {})}, "log_trial_metadata", **named)
        except ItemNotFound:
            return False
        except BackendUnavailable:
            if not is_kept(group[leader], known.get(leader), keep):
                return False
            self._store(group)
        return True

    def _measure(self, values: Mapping[str, Any], step: Any) -> None:
        numbers: Any = {
            name: value for name, value in values.items() if type(value) in (float, int, bool) and name not in _TAKEN
        }
        if numbers:
            aggregator = METADATA_AGGREGATOR if step is None else None
            self._protocol.log_trial_metrics(self._trial, step, aggregator, **numbers)

    def note(self, text: str, remove: bool, known: list[str]) -> tuple[list[str], bool]:
        """Add or remove a note, and return all of them, and whether there was one to remove.

        While a server is away that is done to those that are `known`.
        """
        try:
            return self._note(text, remove)
        except BackendUnavailable:
            notes, is_there = changed_notes(known, text, remove)
            self._protocol.log_trial_metadata(self._trial, notes=notes)
            return notes, is_there

    def _note(self, text: str, remove: bool) -> tuple[list[str], bool]:
        for _ in range(_ATTEMPTS):
            known = notes_in(self.view())
            notes, is_there = changed_notes(known, text, remove)
            expected: Any = {f"metadata.{_NOTES}": known} if known else {f"metadata.{_NOTES}": {"$in": [None, []]}}
            if not is_there:
                return known, False
            try:
                query = {"uid": self.uid, **expected}
                self._protocol.fetch_and_update_trial(query, "log_trial_metadata", notes=notes)
            except ItemNotFound:
                continue
            return notes, True
        raise BackendUnavailable("others keep changing the notes of the experiment")


def given_attempt(uid: str | None) -> int | None:
    """Return the attempt in which a worker has given a trial to this process, which it has started; None for none."""
    attempt = os.environ.get(ATTEMPT_VARIABLE, "")
    return int(attempt) if uid is not None and os.environ.get(TRIAL_VARIABLE) == uid and attempt.isdecimal() else None


def given_uid(folder: str) -> str | None:
    """Return the uid of the trial that a worker has given to this process with a folder, whatever a file in it says."""
    uid = os.environ.get(TRIAL_VARIABLE)
    return uid if is_uid(uid) and os.environ.get(FOLDER_VARIABLE) == folder else None


def is_uid(uid: Any) -> bool:
    """Return whether something read from a file can be what a trial is found by."""
    try:
        return isinstance(uid, str) and bool(split_uid(uid))
    except ValueError:
        return False


def as_metadata(messages: Mapping[str, Any]) -> dict[str, Any]:
    """Return messages by their names in the metadata of a trial."""
    return {_MESSAGES + name: value for name, value in messages.items()}


def messages_in(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the messages in the metadata of a trial."""
    return {name.removeprefix(_MESSAGES): value for name, value in metadata.items() if name.startswith(_MESSAGES)}


def notes_in(metadata: Mapping[str, Any]) -> list[str]:
    """Return the notes in the metadata of a trial."""
    return list(metadata.get(_NOTES) or [])
