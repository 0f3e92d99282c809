"""What is known of the experiments of a set: from its store, or from the files of those that have no trial there."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from track.errors import IncompatibleYmlException, NotFound, TrackError
from track.experiment.parts import (
    DEFAULTS,
    NAME,
    TRIAL,
    as_now,
    load_file,
    messages_in,
    name_of,
    notes_in,
    place_of,
    stamp,
)
from track.manager.conditions import MESSAGES, Conditions
from track.manager.sets import STATE_FILE
from track.reading import open_to_read
from track.structure import Trial
from track.utils.files import open_regular, stamp_of
from track.utils.once import cached_property

logger = logging.getLogger(__name__)
_OF_SETS = ("_root", "_purpose", "_type", "_notes", "_created", "_meta")
SPECIAL = (*_OF_SETS, "_name", "_version", "_status", "_messages")
"""What is said of each experiment beside its parameters."""
SPECIAL_OF_DEFAULTS = (*_OF_SETS, "_name", "_version")
"""What the defaults of a set and the overrides of its experiments say."""
SPECIAL_OF_SETS = (*_OF_SETS, "_version", "_experiments")
_MOST_FILES = 50_000


class Row(NamedTuple):
    """One experiment, or one set."""

    special: dict[str, Any]
    parameters: Mapping[str, Any]
    matching: list[str]
    """The names of the parameters, and of the messages, that conditions are about."""


def matching(
    special: Callable[[], dict[str, Any]], parameters: Mapping[str, Any], conditions: Conditions
) -> Row | None:
    """Return the row of an experiment where the conditions hold, else None; of most, what is special is not needed."""
    if not conditions.conditions:
        return Row(special(), parameters, [])
    if not (conditions.is_special or conditions.is_of_messages):
        names = conditions.found(parameters)
        return None if names is None else Row(special(), parameters, names)
    found = special()
    messages = {}
    if conditions.is_of_messages:
        messages = {f"{MESSAGES}{name}": value for name, value in (found.get("_messages") or {}).items()}
    names = conditions.found({**found, **parameters} if conditions.is_special else parameters, messages)
    if names is None:
        return None
    return Row(found, {**messages, **parameters}, [name for name in names if name not in found])


class KnownSet:
    """A set of experiments as its files say; nothing is created, and nothing written.

    Parameters
    ----------
    root: str
        Its folder, absolute.
    facts: mapping
        What else is known of it: ``type``, ``purpose``, ``notes`` and ``created`` where its file does not say.

    Raises
    ------
    OSError, IncompatibleYmlException
        It has no ``experiment.yml``, or one that is none.
    """

    def __init__(self, root: str, facts: Mapping[str, Any] | None = None) -> None:
        self.root = root
        path = os.path.join(root, STATE_FILE)
        self._content = _parsed(path, stamp_of(path))
        known = {"type": None, "purpose": "", "notes": None, "created": None, **(facts or {})}
        known |= {name: self._content[name] for name in known if self._content.get(name) not in (None, "", [])}
        self.type, self.purpose, self.created = known["type"], known["purpose"] or "", known["created"]
        notes = known["notes"]
        self.notes = [] if notes in (None, "") else notes if isinstance(notes, list) else [str(notes)]

    @cached_property
    def names(self) -> list[str]:
        """The names of the folders of its experiments, wherever the set was when they were written."""
        return [str(path).rstrip("/").rpartition("/")[2] for path in self._content.get("experiments") or ()]

    def path(self, name: str) -> str:
        """Return where an experiment is."""
        return os.path.join(self.root, name)

    @cached_property
    def _defaults(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What ``defaults.yml`` says, special and not; nothing where there is none."""
        path = os.path.join(self.root, DEFAULTS)
        try:
            content = _parsed(path, stamp_of(path))
        except OSError:
            content = {}
        special, parameters = _parted(content)
        shown = {
            "_root": self.root, "_purpose": self.purpose, "_type": self.type, "_notes": self.notes,
            "_created": self.created or special["_timestamps"].get("created"), "_meta": special["_meta"],
            "_version": special["_version"],
        }  # fmt: skip
        return shown, parameters

    def as_row(self, conditions: Conditions) -> Row | None:
        """Return the set itself: its defaults, and where its experiments are."""
        special, parameters = self._defaults
        return matching(lambda: {**special, "_experiments": list(map(self.path, self.names))}, parameters, conditions)

    def rows(self, conditions: Conditions, names: Iterable[str] | None = None) -> Iterator[Row | None]:
        """Yield a row an experiment, None where the conditions do not hold."""
        wanted = self._wanted(names)
        trials, is_part = self._trials(conditions) if wanted else ({}, False)
        for name in wanted:
            trial = trials.get(name)
            if trial is not None:
                yield matching(functools.partial(self._special, name, trial), trial.parameters, conditions)
            elif not (is_part and _names_trial(self.path(name))):
                yield row_of_folder(self.path(name), conditions, self)

    def _wanted(self, names: Iterable[str] | None) -> list[str]:
        if names is None:
            return self.names
        wanted = set(names)
        return [name for name in self.names if name in wanted]

    def rows_of_defaults(self, conditions: Conditions, names: Iterable[str] | None = None) -> Iterator[Row | None]:
        """Yield what `rows` does, of the defaults and what was overridden, without a look at stores and folders."""
        overrides = list(self._content.get("overides") or ())
        special, parameters = self._defaults
        wanted = set(self._wanted(names))
        for place, name in enumerate(self.names):
            if name in wanted:
                changed = overrides[place] if place < len(overrides) and isinstance(overrides[place], Mapping) else {}
                shown = {**special, "_name": name}
                yield matching(shown.copy, {**parameters, **changed}, conditions)

    def _trials(self, conditions: Conditions) -> tuple[dict[str, Trial], bool]:
        """Return the trials of the set by name, and whether a server has left out some for which conditions fail."""
        place = place_of(self.path(self.names[0]), str(self.type or "experiments"))
        if place.uri is None or place.group is None:
            return {}, False
        try:
            protocol = open_to_read(place.uri)
            # Stores of this machine have looked at each trial before they could be asked.
            asked = [] if protocol.server is None else conditions.query()
            found = protocol.brief_trials([("group_id", place.group.uid), *asked])
        except NotFound:
            return {}, False
        except (TrackError, OSError) as error:
            # One store that is away, or broken, keeps nobody from seeing the others.
            logger.warning("the files of %s are read, as its store cannot be: %s", self.root, error)
            return {}, False
        # A folder may have been renamed since it was registered.
        paths = ((str(trial.metadata.get("path") or trial.name), trial) for trial in found)
        return {path.rpartition("/")[2]: trial for path, trial in paths}, bool(asked)

    def _special(self, name: str, trial: Trial) -> dict[str, Any]:
        metadata = trial.metadata
        created = trial.timestamps.get("created")
        return {
            "_root": self.root,
            "_purpose": metadata.get("purpose") or self.purpose,
            "_type": self.type,
            "_notes": notes_in(metadata),
            "_created": None if created is None else stamp(created),
            "_meta": metadata.get("meta") or {},
            "_name": name,
            "_version": metadata.get("version") or {},
            "_status": name_of(trial.status),
            "_messages": messages_in(metadata),
        }


def row_of_folder(folder: str, conditions: Conditions, owner: KnownSet | None = None) -> Row | None:
    """Return what the ``params.yml`` of a folder says; None where there is none to read, or the conditions fail."""
    path = os.path.join(folder, NAME)
    try:
        content = _parsed(path, stamp_of(path))
    except (IncompatibleYmlException, OSError) as error:
        logger.warning("nothing is known of %s: %s", folder, error)
        return None
    special, parameters = _parted(content)
    version = special["_version"]
    kind = version.get("class") or version.get("function")
    root, name = os.path.split(folder)
    shown = {
        "_root": root, "_purpose": special["_purpose"] or (owner.purpose if owner else ""),
        "_type": kind if owner is None else owner.type, "_notes": special["_notes"],
        "_created": special["_timestamps"].get("created"), "_meta": special["_meta"],
        "_name": name, "_version": version, "_status": special.get("_status"),
        "_messages": special["_messages"],
    }  # fmt: skip
    return matching(shown.copy, parameters, conditions)


def _names_trial(folder: str) -> bool:
    """Return whether the ``params.yml`` of a folder names its trial, without more than a look."""
    try:
        with open_regular(os.path.join(folder, NAME)) as opened:
            return f"\n{TRIAL}: ".encode() in (opened.readall() or b"")
    except OSError:
        return False


def _parted(content: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what is special in a file of parameters, and the parameters."""
    special = as_now({name: value for name, value in content.items() if str(name).startswith("_")})
    return special, {str(name): value for name, value in content.items() if not str(name).startswith("_")}


@functools.lru_cache(maxsize=_MOST_FILES)
def _parsed(path: str, stamp: Any) -> Mapping[str, Any]:
    """Return what is in a file of YAML, as long as nobody writes to it; it is not to be changed."""
    return load_file(path)
