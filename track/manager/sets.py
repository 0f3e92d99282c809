"""The files of a set of experiments: ``experiment.yml``, and which group of which store the set is."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from track.configuration import options
from track.errors import IncompatibleYmlException, InvalidExperimentRoot
from track.experiment.parts import DEFAULTS, SET_FILE, SET_FOLDER, Place, load_file, place_of
from track.front import reserve
from track.persistence.file import StoreLock
from track.persistence.protocol import Protocol
from track.persistence.registry import get_protocol
from track.structure import Project, TrialGroup
from track.utils.files import replace_file
from track.versioning import compute_hash
from track.yaml12 import Commented, dump

STATE_FILE, SCRIPT = "experiment.yml", "script.sh"
FILES = (STATE_FILE, SCRIPT, DEFAULTS)
KIND = "experiments"
"""The project of a set whose experiments are no class."""
_LOCK, _TEMPORARY = "set.lock", ".experiment.yml.tmp"


@dataclass
class State:
    """What ``experiment.yml`` says.

    Parameters
    ----------
    root: str
        Where the set was when that was written.
    experiments: dict
        The overrides of each experiment, by the name of its folder, in the order in which they were registered.
    """

    root: str | None = None
    experiments: dict[str, dict[str, Any]] = field(default_factory=dict)
    created: str | None = None
    purpose: str = ""
    notes: list[str] = field(default_factory=list)
    type: str | None = None


class ExperimentSet:
    """The set in a root; its files are replaced whole, under its lock.

    Parameters
    ----------
    root: str
        The absolute path.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.lock = StoreLock(os.path.join(root, SET_FOLDER, _LOCK), float(options("log.backend.lock_timeout", 30)))
        self._protocol: tuple[str | None, Protocol] | None = None

    def path(self, name: str) -> str:
        """Return the path of a file or folder of the set."""
        return os.path.join(self.root, name)

    # experiment.yml

    def exists(self) -> bool:
        """Return whether there is an ``experiment.yml``."""
        return os.path.exists(self.path(STATE_FILE))

    def require(self) -> None:
        """Return if this is a set; InvalidExperimentRoot where one of its files is missing."""
        missing = [name for name in FILES if not os.path.isfile(self.path(name))]
        if missing:
            raise InvalidExperimentRoot(
                f"{self.root} is not the root of a set of experiments: it has no {', '.join(missing)}"
            )

    def read(self) -> State:
        """Return what ``experiment.yml`` says; an empty state where there is none."""
        if not self.exists():
            return State()
        try:
            return _state_of(load_file(self.path(STATE_FILE)))
        except IncompatibleYmlException as error:
            raise IncompatibleYmlException(
                f"{self.path(STATE_FILE)} is damaged: {error}; where it cannot be mended, empty it, and "
                "exp relink -e '*' lists the folders of experiments again"
            ) from error

    @contextmanager
    def changing(self) -> Iterator[State]:
        """Give the state, and write it when the block ends well; others wait."""
        with self.locked():
            state = self.read()
            yield state
            self.write(state)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep all others from changing the files of the set."""
        os.makedirs(self.path(SET_FOLDER), exist_ok=True)
        with self.lock:
            yield

    def write(self, state: State) -> None:
        """Replace ``experiment.yml``; the caller has the lock."""
        content = {
            "root": self.root, "defaults": self.path(DEFAULTS), "script": self.path(SCRIPT),
            "experiments": [self.path(name) for name in state.experiments],
            "overides": list(state.experiments.values()),
            "created": state.created, "purpose": state.purpose or None, "notes": list(state.notes), "type": state.type,
        }  # fmt: skip
        replace_file(self.path(STATE_FILE), [dump(content).encode()], self.path(_TEMPORARY), sync=False, follow=False)

    def defaults(self) -> Commented:
        """Return what ``defaults.yml`` says."""
        return load_file(self.path(DEFAULTS))

    def comments(self) -> dict[Any, str]:
        """Return the comments in ``defaults.yml``; none without such a file, as on a machine that only works."""
        return self.defaults().comments if os.path.isfile(self.path(DEFAULTS)) else {}

    # the group

    @property
    def place(self) -> Place:
        """The store, the project and the group."""
        return place_of(self.path("experiment"), KIND)

    @property
    def protocol(self) -> Protocol:
        """The store: the configured one, else a file in the root."""
        uri = self.place.uri
        if self._protocol is None or self._protocol[0] != uri:
            protocol = get_protocol(uri)
            self._protocol = uri, protocol
        return self._protocol[1]

    def require_store(self) -> None:
        """Return if the store answers itself, rather than this process by what it knows of it.

        Raises
        ------
        BackendUnavailable
            It is away: whether a trial is there nobody can say.
        """
        reserve(self.protocol, {"uid": "none", "status": "none"}, 0.0)

    def close(self) -> None:
        """Give back the store."""
        if self._protocol is not None:
            self._protocol[1].close()
            self._protocol = None

    def begin(self, kind: str | None, known_as: str | None = None) -> None:
        """Write down which group the set is, unless that is known; the caller has the lock.

        `known_as`: the root of a set that another program has made; what was recorded of it is in the group of that.
        """
        path = self.path(os.path.join(SET_FOLDER, SET_FILE))
        if os.path.exists(path):
            return
        project = kind or KIND
        name = os.path.basename(self.root) or self.root
        of_path = TrialGroup(name=known_as, project_id=project)
        uid = of_path.uid if known_as else compute_hash("set", uuid.uuid4().hex)
        self._write_group(path, uid, name, project)

    def join(self, group: TrialGroup) -> None:
        """Write down which group the set is, where that was declared on another machine."""
        with self.locked():
            self._write_group(self.path(os.path.join(SET_FOLDER, SET_FILE)), group.uid, group.name, group.project_id)

    def _write_group(self, path: str, uid: str, name: str | None, project: Any) -> None:
        content = {"uid": uid, "name": name, "project": project, "root": self.root}
        replace_file(path, [json.dumps(content, indent=1).encode()])

    def store(self) -> tuple[Protocol, Project, TrialGroup]:
        """Return the store, and the project and the group in it, which are made where they are not there yet."""
        if self.exists() and not os.path.exists(self.path(os.path.join(SET_FOLDER, SET_FILE))):
            # Another program has made it.
            with self.locked():
                state = self.read()
                self.begin(state.type, known_as=state.root or self.root)
        place, protocol = self.place, self.protocol
        protocol.check_writable()
        project = protocol.new_project(Project(name=place.project))
        assert place.group is not None
        return protocol, project, protocol.new_trial_group(place.group)


def _state_of(content: Mapping[Any, Any]) -> State:
    if content and "experiments" not in content:
        raise IncompatibleYmlException("it lacks 'experiments'")
    paths, values = content.get("experiments") or [], content.get("overides") or []
    for key, found in (("experiments", paths), ("overides", values)):
        if not isinstance(found, list):
            raise IncompatibleYmlException(f"{key!r} should be a list, not {type(found).__name__}")
    names = [os.path.basename(os.path.normpath(str(path))) for path in paths]
    for path, name in zip(paths, names, strict=True):
        if not isinstance(path, str) or name in ("", ".", ".."):
            raise IncompatibleYmlException(f"{path!r} in 'experiments' is no folder of an experiment")
    given = [dict(one) if isinstance(one, Mapping) else {} for one in values]
    given += [{} for _ in names[len(given) :]]
    notes = content.get("notes") or []
    return State(
        None if content.get("root") is None else str(content["root"]),
        dict(zip(names, given, strict=False)),
        content.get("created"),
        str(content.get("purpose") or ""),
        [str(one) for one in notes] if isinstance(notes, list) else [str(notes)],
        content.get("type"),
    )
