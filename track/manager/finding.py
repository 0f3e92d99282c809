"""What is known of the experiments of a set: from its store, or from the files of those that have no trial there."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from track.errors import BackendUnavailable, IncompatibleYmlException, NotFound
from track.experiment.params import DEFAULTS, NAME, TRIAL, as_now, load_file
from track.experiment.record import messages_in, notes_in, place_of
from track.experiment.status import name_of
from track.experiment.times import FORMAT
from track.manager.conditions import Conditions
from track.reading import open_to_read
from track.structure import Trial
from track.utils.files import open_regular, stamp_of

logger = logging.getLogger(__name__)
SET_FILE = "experiment.yml"
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
        path = os.path.join(root, SET_FILE)
        self._content = _parsed(path, stamp_of(path))
        known = {"type": None, "purpose": "", "notes": None, "created": None, **(facts or {})}
        known |= {name: self._content[name] for name in known if self._content.get(name) not in (None, "", [])}
        self.type, self.purpose, self.created = known["type"], known["purpose"] or "", known["created"]
        self.notes = as_list(known["notes"])

    @functools.cached_property
    def names(self) -> list[str]:
        """The experiments, each by its path below the root: the set may have been moved since it was written."""
        before = str(self._content.get("root") or self.root)
        return [os.path.relpath(path, before) if os.path.isabs(path) else path for path in self._paths()]

    def _paths(self) -> Iterator[str]:
        return map(str, self._content.get("experiments") or ())

    def path(self, name: str) -> str:
        """Return where an experiment is."""
        return os.path.join(self.root, name)

    @functools.cached_property
    def defaults(self) -> Row:
        """What ``defaults.yml`` says; nothing where there is none."""
        path = os.path.join(self.root, DEFAULTS)
        try:
            content = _parsed(path, stamp_of(path))
        except OSError:
            content = {}
        special, parameters = _parted(content)
        timestamps = special["_timestamps"]
        shown = {
            "_root": self.root, "_purpose": self.purpose, "_type": self.type, "_notes": self.notes,
            "_created": self.created or timestamps.get("created"), "_meta": special["_meta"],
        }  # fmt: skip
        return Row({**shown, "_version": special["_version"]}, parameters)

    def as_row(self) -> Row:
        """Return the set itself: its defaults, and where its experiments are."""
        special, parameters = self.defaults
        return Row({**special, "_experiments": list(map(self.path, self.names))}, parameters)

    def rows(self, conditions: Conditions, names: Iterable[str] | None = None) -> Iterator[Row]:
        """Yield a row an experiment; those for which the conditions cannot hold may be left out."""
        wanted = self.names if names is None else [name for name in self.names if name in set(names)]
        trials, is_part = self._trials(conditions) if wanted else ({}, False)
        for name in wanted:
            trial = trials.get(os.path.basename(name))
            if trial is not None:
                yield self._from_trial(name, trial)
            elif not (is_part and _names_trial(self.path(name))):
                row = self._from_file(name)
                if row is not None:
                    yield row

    def rows_of_defaults(self, names: Iterable[str] | None = None) -> Iterator[Row]:
        """Yield a row an experiment: the defaults, and what was overridden, without a look at stores and folders."""
        overrides = list(self._content.get("overides") or ())
        wanted = None if names is None else set(names)
        for place, name in enumerate(self.names):
            if wanted is not None and name not in wanted:
                continue
            changed = overrides[place] if place < len(overrides) and isinstance(overrides[place], Mapping) else {}
            yield Row({**self.defaults.special, "_name": name}, {**self.defaults.parameters, **changed})

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
        except BackendUnavailable as error:
            logger.warning("the files of %s are read, as its store is away: %s", self.root, error)
            return {}, False
        return {str(trial.name): trial for trial in found}, bool(asked)

    def _from_trial(self, name: str, trial: Trial) -> Row:
        metadata = trial.metadata
        created = trial.timestamps.get("created")
        special = {
            "_root": self.root,
            "_purpose": metadata.get("purpose") or self.purpose,
            "_type": self.type,
            "_notes": notes_in(metadata),
            "_created": None if created is None else datetime.fromtimestamp(created).strftime(FORMAT),
            "_meta": metadata.get("meta") or {},
            "_name": name,
            "_version": metadata.get("version") or {},
            "_status": name_of(trial.status),
            "_messages": messages_in(metadata),
        }
        return Row(special, trial.parameters if isinstance(trial.parameters, Mapping) else {})

    def _from_file(self, name: str) -> Row | None:
        row = row_of_folder(self.path(name))
        if row is None:
            return None
        row.special.update(_root=self.root, _name=name, _type=self.type)
        row.special["_purpose"] = row.special["_purpose"] or self.purpose
        return row


def row_of_folder(folder: str) -> Row | None:
    """Return what the ``params.yml`` of a folder says; None where there is none, or one that cannot be read."""
    path = os.path.join(folder, NAME)
    try:
        content = _parsed(path, stamp_of(path))
    except (IncompatibleYmlException, OSError) as error:
        logger.warning("nothing is known of %s: %s", folder, error)
        return None
    special, parameters = _parted(content)
    version = special["_version"]
    shown = {
        "_root": os.path.dirname(folder), "_purpose": special["_purpose"],
        "_type": version.get("class") or version.get("function"), "_notes": special["_notes"],
        "_created": special["_timestamps"].get("created"), "_meta": special["_meta"],
        "_name": os.path.basename(folder), "_version": version, "_status": special.get("_status"),
        "_messages": special["_messages"],
    }  # fmt: skip
    return Row(shown, parameters)


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


def as_list(notes: Any) -> list[str]:
    """Return notes as a list, also those that somebody wrote as one text, or not at all."""
    return [] if notes in (None, "") else list(map(str, notes)) if isinstance(notes, (list, tuple)) else [str(notes)]
