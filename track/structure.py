"""The nouns: projects, groups, trials and their status. Plain data; no storage."""

from __future__ import annotations

import contextvars
import enum
import logging
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from track.errors import MissingIdentity
from track.fields import given_fields
from track.plain import text_keys, to_plain
from track.shown import cut, shown, text_of
from track.versioning import compute_hash

__all__ = [
    "FORGOTTEN",
    "CustomStatus",
    "Project",
    "Status",
    "Trial",
    "TrialGroup",
    "created_of",
    "get_current_project",
    "get_current_trial",
    "set_current_project",
    "set_current_trial",
    "split_uid",
    "status",
]

logger = logging.getLogger(__name__)
FORGOTTEN = "forgotten"
"""What `Trial.deleted` is of a trial of which nothing but its uid is kept."""


class Status(enum.Enum):
    """Where a trial is in its life; the hundreds digit is the category.

    Examples
    --------
    >>> str(Status.Running), Status.Running.group
    ('running', <Status.RunningGroup: 100>)
    """

    CreatedGroup = 0
    RunningGroup = 100
    Running = 101
    ErrorGroup = 200
    Interrupted = 201
    Exception = 202
    Broken = 203
    FinishedGroup = 300
    Suspended = 301
    Completed = 302

    @property
    def group(self) -> Status:
        """The category: CreatedGroup, RunningGroup, ErrorGroup or FinishedGroup."""
        return Status(self.value // 100 * 100)

    def __str__(self) -> str:
        return self.name.lower()

    # That of `Enum` is a call of Python: each change of a status asks for some.
    __hash__ = object.__hash__


class CustomStatus:
    """A status that is not in `Status`.

    Parameters
    ----------
    name: str or None
        What to call it.
    value: int or None
        Its code; the hundreds digit says the category.
    """

    __slots__ = ("_name", "_value")

    def __init__(self, name: str | None, value: int | None) -> None:
        self._name = name
        self._value = value

    @property
    def name(self) -> str | None:
        """What it is called."""
        return self._name

    @property
    def value(self) -> int | None:
        """Its code."""
        return self._value

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return other == self._name
        if isinstance(other, dict):
            return bool(other.get("name") == self._name and other.get("value") == self._value)
        if hasattr(other, "name") and hasattr(other, "value"):
            return bool(other.name == self._name and other.value == self._value)
        return NotImplemented

    def __hash__(self) -> int:
        return hash((self._name, self._value))

    def __str__(self) -> str:
        return str(self._name).lower()

    def __repr__(self) -> str:
        return f"CStatus<{cut(text_of(self._name), 100)}>"


_known = {member.name.lower(): (member, member.value) for member in Status}
_custom_codes = {"submitted": 2, "pruned": 303}
"""Codes of custom statuses that need none given: one that waits to be begun, and one that was stopped early."""


def status(name: str | None = None, value: int | None = None) -> Status | CustomStatus | None:
    """Return the `Status` with this name (in any case) or code, else a `CustomStatus`.

    Examples
    --------
    >>> status("running"), status(value=302), status("waiting", 42), status()
    (<Status.Running: 101>, <Status.Completed: 302>, CStatus<waiting>, None)
    """
    if name is not None:
        member, code = _known.get(name.lower(), (None, None))
        if member is None:
            return CustomStatus(name, _custom_codes.get(name.lower()) if value is None else value)
        if value is not None and value != code:
            logger.warning("status %s has code %s, not %s: the name counts", name, code, value)
        return member
    if value is None:
        return None
    try:
        return Status(value)
    except ValueError:
        return CustomStatus(None, value)


def split_uid(uid: str) -> tuple[str, int]:
    """Return the hash and the revision of a trial's uid.

    Raises
    ------
    ValueError
        `uid` is not ``<hash>_<revision>``.

    Examples
    --------
    >>> split_uid("ab12_3")
    ('ab12', 3)
    """
    digest, separator, revision = uid.rpartition("_")
    if not separator or not revision.removeprefix("-").isdecimal():
        raise ValueError(f"{shown(uid)} is no trial uid: it should read <hash>_<revision>")
    return digest, int(revision)


@dataclass(eq=False, repr=False)
class Trial:
    """A single training run.

    Parameters
    ----------
    revision: int
        0 for the first trial with these parameters in a store, then 1, 2, ...; negative for one that was
        created while its server was away.
    version: str
        Which code ran: the sha256 of the script by default.
    errors: list of str
        What went wrong.
    artifacts: list
        Files that belong to the trial.
    timestamps: dict
        When it was created, started and finished, unix seconds.
    process: dict
        Which process began it last: host, pid and the process's start.
    attempt: int
        How often it was begun, from 1 on; it is begun again when it goes on after an end.
    processes: list of dict
        Those of the present attempt, each with its ``status``, name and code.
    is_set: bool
        Whether the program itself has said how it ended.
    latest: float
        When it last changed, unix seconds: the latest time of what is known, not of what came last; 0 for not yet.
    deleted: bool or str
        Whether it is hidden, as `delete_trial` makes it; ``"forgotten"`` once nothing but its uid is kept, which stays
        taken.
    moments: dict
        When what was given after its creation was given, unix seconds, by field and name.

    The uid is made of the hash of name, version and parameters, and of the revision. The hash is
    computed once: parameters logged later do not move the trial.
    """

    _hash: str | None = None
    revision: int = 0
    name: str | None = None
    description: str | None = None
    tags: Any = field(default_factory=dict)
    version: str | None = None
    group_id: Any = None
    project_id: Any = None
    parameters: Any = field(default_factory=dict)
    metadata: Any = field(default_factory=dict)
    metrics: Any = field(default_factory=dict)
    chronos: Any = field(default_factory=dict)
    status: Any = Status.CreatedGroup
    errors: list[Any] = field(default_factory=list)
    artifacts: list[Any] = field(default_factory=list, kw_only=True)
    timestamps: dict[str, float] = field(default_factory=dict, kw_only=True)
    process: dict[str, Any] | None = field(default=None, kw_only=True)
    attempt: int = field(default=0, kw_only=True)
    processes: list[dict[str, Any]] = field(default_factory=list, kw_only=True)
    is_set: bool = field(default=False, kw_only=True)
    latest: float = field(default=0.0, kw_only=True)
    deleted: bool | str = field(default=False, kw_only=True)
    moments: dict[str, dict[str, float]] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        self.revision = int(self.revision)

    def __repr__(self) -> str:
        # Not the uid: to look at a trial is no reason to fix its hash.
        digest = "" if self._hash is None else f" ({cut(text_of(self._hash), 15)}_{self.revision})"
        return f"<Trial {shown(self.name, 100)}{digest}, {cut(text_of(self.status), 100)}>"

    def _repr_html_(self) -> str:
        # Of all programs only a notebook shows trials so.
        from track.table import html_of, trial_html

        return html_of(lambda: trial_html(self), self)

    def compute_hash(self) -> str:
        """Return the hash of name, version and parameters, 64 hexadecimal digits."""
        given = self.parameters if isinstance(self.parameters, dict) else given_fields(self.parameters)
        # What has no fields is stored under this name, too.
        parameters = text_keys({"parameters": self.parameters}.items() if given is None else given.items())
        try:
            return compute_hash(self.name, self.version, **parameters)
        except Exception:  # noqa: BLE001 - a value that cannot be asked is identified by what is stored of it
            plain = {name: to_plain(item) for name, item in parameters.items()}
            return compute_hash(to_plain(self.name), to_plain(self.version), **plain)

    @property
    def hash(self) -> str:
        """The hash: as given, else computed at the first look and kept."""
        if self._hash is None:
            self._hash = self.compute_hash()
        return self._hash

    @hash.setter
    def hash(self, digest: str | None) -> None:
        self._hash = digest

    @property
    def uid(self) -> str:
        """``<hash>_<revision>``.

        Setting it splits at the last underscore; ValueError when there is none or the tail is no number.
        """
        return f"{self._hash or self.hash}_{self.revision}"

    @uid.setter
    def uid(self, uid: str) -> None:
        self._hash, self.revision = split_uid(uid)

    @property
    def reserved(self) -> int | None:
        """The attempt for which the holder of this object has reserved the trial; it is stored nowhere."""
        return vars(self).get("_reserved")

    @reserved.setter
    def reserved(self, attempt: int | None) -> None:
        # No field: what is stored of the trial replaces all of those.
        vars(self)["_reserved"] = attempt

    @property
    def places(self) -> tuple[str, str]:
        """Where the store that it was read from keeps artifacts: as it was told, and beside it; stored nowhere."""
        found: tuple[str, str] = vars(self).get("_places", ("", ""))
        return found

    @places.setter
    def places(self, places: tuple[str, str]) -> None:
        vars(self)["_places"] = places

    def media(self, name: str | None = None) -> Any:
        """Return what it has logged to be looked at: images, histograms, texts, ... in the order they were logged.

        Parameters
        ----------
        name: str, optional
            Only what has this name.

        Returns
        -------
        Media
            A list of `Medium`; a notebook shows it.

        Raises
        ------
        NotFound
            Nothing has this name, and there are others.
        """
        # What reads files stands above this: it is taken by its name when it is asked for, as a backend is.
        return import_module("track.media").media_in(self, name)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Trial):
            return self.uid == other.uid
        if isinstance(other, str):
            return self.uid == other
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.uid)


class _Owner:
    """What a group and a project share: who they are is their uid."""

    _uid: str | None

    def compute_uid(self) -> str:
        """Return the uid of one that was given none."""
        raise NotImplementedError

    @property
    def uid(self) -> str:
        """The uid: as given, else computed at the first look and kept."""
        if self._uid is None:
            self._uid = self.compute_uid()
        return self._uid

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return self.uid == other
        return self.uid == other.uid if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.uid)


@dataclass(eq=False, repr=False)
class TrialGroup(_Owner):
    """A named set of trials, inside a project; a trial may be in several.

    Parameters
    ----------
    trials: set of str
        The uids of its trials.
    moments: dict
        When its metadata was given, unix seconds, by field and name; not what it was created with.
    """

    _uid: str | None = None
    name: str | None = None
    description: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    trials: set[str] = field(default_factory=set)
    project_id: Any = None
    moments: dict[str, dict[str, float]] = field(default_factory=dict, kw_only=True)

    def __repr__(self) -> str:
        return f"<TrialGroup {shown(self.name, 100)} of project {shown(self.project_id, 100)}>"

    def compute_uid(self) -> str:
        """Return the hash of name and project.

        Raises
        ------
        MissingIdentity
            The group has no name or no project.
        """
        for attribute in ("name", "project_id"):
            if getattr(self, attribute) is None:
                raise MissingIdentity(f"a group's uid needs its {attribute}, which is not set")
        return compute_hash(self.name, self.project_id)


@dataclass(eq=False, repr=False)
class Project(_Owner):
    """The top: all trials and groups of one piece of work.

    Parameters
    ----------
    tags: dict
        Inherited by every trial of the project, which cannot override them.
    moments: dict
        When its metadata and tags were given, unix seconds, by field and name; not what it was created with.
    """

    _uid: str | None = None
    name: str | None = None
    description: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    groups: set[TrialGroup] = field(default_factory=set)
    trials: set[Trial] = field(default_factory=set)
    tags: dict[str, Any] = field(default_factory=dict)
    moments: dict[str, dict[str, float]] = field(default_factory=dict, kw_only=True)

    def __repr__(self) -> str:
        return f"<Project {shown(self.name, 100)}>"

    def compute_uid(self) -> str:
        """Return the name.

        Raises
        ------
        MissingIdentity
            The project has no name.
        """
        if self.name is None:
            raise MissingIdentity("a project's uid is its name, which is not set")
        return self.name


_current_project: contextvars.ContextVar[Any] = contextvars.ContextVar("project", default=None)
_current_trial: contextvars.ContextVar[Any] = contextvars.ContextVar("trial", default=None)


def get_current_project() -> Any:
    """Return the project set last in this thread or task; None at first."""
    return _current_project.get()


def get_current_trial() -> Any:
    """Return the trial that is running in this thread or task; None when there is none."""
    return _current_trial.get()


def set_current_project(project: Any) -> Any:
    """Make `project` the current one of this thread or task, and return it."""
    _current_project.set(project)
    return project


def set_current_trial(trial: Any) -> Any:
    """Make `trial` the current one of this thread or task, and return it."""
    _current_trial.set(trial)
    return trial


def created_of(trial: Trial) -> float | None:
    """Return when a trial was created, in unix seconds; None where that is not known."""
    stamps = trial.timestamps
    return stamps.get("created", stamps.get("started"))
