"""Which project, group and trial a client works on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from track.errors import NotFound, TrialDoesNotExist
from track.logger import TrialLogger
from track.persistence.protocol import Protocol
from track.persistence.utils import mask_secrets
from track.structure import Project, Trial, TrialGroup, set_current_project, split_uid
from track.utils.delay import delay_call
from track.versioning import default_version_hash

__all__ = ["Chooser", "as_dict"]

logger = logging.getLogger(__name__)

_ORPHAN = "orphan"
_Self = TypeVar("_Self", bound="Chooser")


class Chooser:
    """Chooses the project, the group and the trial, and creates what is not stored.

    Parameters
    ----------
    protocol: Protocol
    stores_nothing: bool
        Whether to say, when the first trial is created, that nothing will be stored.
    """

    # Found on the class: a client that is being copied or unpickled has no logger yet.
    logger: TrialLogger | None = None

    def __init__(self, protocol: Protocol, stores_nothing: bool) -> None:
        self.protocol = protocol
        self.project: Project | None = None
        self.group: TrialGroup | None = None
        self.logger = None
        self._stores_nothing = stores_nothing
        self._version: Callable[[], str] = default_version_hash

    @property
    def trial(self) -> Trial | None:
        """The current trial as it is stored; None before there is one."""
        return None if self.logger is None else self.logger.trial

    @property
    def version(self) -> str:
        """The version that the next trial gets."""
        return self._version()

    def set_version(self: _Self, version: str | None = None, version_fun: Callable[[], str] | None = None) -> _Self:
        """Choose how trials are versioned; by default the digest of the script.

        Parameters
        ----------
        version: str, optional
        version_fun: callable, optional
            Returns the version, when a trial is created.
        """
        if version is not None:
            self._version = lambda: version
        else:
            self._version = version_fun or default_version_hash
        return self

    def set_project(
        self, project: Project | None = None, force: bool = False, get_only: bool = False, **kwargs: Any
    ) -> Project:
        """Choose the project, creating it when it is not stored, and return it as stored.

        Parameters
        ----------
        project: Project, optional
        force: bool
            Whether to replace a project that is chosen already.
        get_only: bool
            Whether to fail instead of creating it.
        **kwargs
            Fields of a `Project`, where none is given.

        Raises
        ------
        NotFound
            `get_only`, and the project is not stored (a RuntimeError too).
        MissingIdentity
            There is no name.
        """
        if self.project is not None and not force:
            logger.info("the project is %r already: pass force=True to change it", self.project.name)
            return self.project
        wanted = project or Project(**kwargs)
        stored = self.protocol.get_project(Project(_uid=wanted.uid, name=wanted.name))
        if stored is None:
            if get_only:
                raise _MissingObject(f"project {wanted.name!r} does not exist: drop get_only to create it")
            stored = self.protocol.new_project(wanted)
        self.project = stored
        set_current_project(stored)
        return stored

    def set_group(
        self, group: TrialGroup | None = None, force: bool = False, get_only: bool = False, **kwargs: Any
    ) -> TrialGroup:
        """Choose the group, creating it when it is not stored, and return it as stored.

        Parameters
        ----------
        group: TrialGroup, optional
        force: bool
            Whether to replace a group that is chosen already.
        get_only: bool
            Whether to fail instead of creating it.
        **kwargs
            Fields of a `TrialGroup`; ``project_id`` is the current project by default.

        Raises
        ------
        RuntimeError
            No project is set.
        NotFound
            `get_only`, and the group is not stored (a RuntimeError too).
        """
        if self.group is not None and not force:
            logger.info("the group is %r already: pass force=True to change it", self.group.name)
            return self.group
        group = group or TrialGroup(**kwargs)
        if group._uid is None and group.project_id is None:
            if self.project is None:
                raise RuntimeError("a group is in a project: call set_project first")
            group.project_id = self.project.uid
        stored = self.protocol.get_trial_group(group)
        if stored is None:
            if get_only:
                raise _MissingObject(f"group {group.name!r} does not exist: drop get_only to create it")
            stored = self.protocol.new_trial_group(group)
        self.group = stored
        return stored

    def set_trial(self, trial: Trial | None = None, force: bool = False, **kwargs: Any) -> TrialLogger:
        """Go on with a stored trial, and return its logger.

        Parameters
        ----------
        trial: Trial, optional
        force: bool
            Whether to replace a trial that is set already.
        **kwargs
            ``uid``; or ``hash`` and ``revision``; or the fields of a `Trial`, hashed with the current version.

        Raises
        ------
        TrialDoesNotExist
            It is not stored.
        """
        if self.logger is not None and not self.logger.is_pending and not force:
            logger.info("a trial is set already: pass force=True to change it")
            return self.logger
        wanted = trial or self._wanted_trial(kwargs)
        found = self.protocol.get_trial(wanted) or []
        exact = [stored for stored in found if stored.uid == wanted.uid]
        if not exact:
            raise TrialDoesNotExist(f"no trial {wanted.uid!r} is stored in {self._place()}")
        stored = exact[0]
        self._adopt_owners(stored)
        self.logger = TrialLogger(stored, self.protocol)
        return self.logger

    def _wanted_trial(self, fields: dict[str, Any]) -> Trial:
        uid = fields.pop("uid", None)
        if uid is not None:
            try:
                digest, revision = split_uid(uid)
            except ValueError as error:
                raise TrialDoesNotExist(f"no trial {uid!r} is stored in {self._place()}: {error}") from error
            return Trial(digest, revision)
        if "hash" in fields:
            return Trial(fields["hash"], fields.get("revision", 0))
        return Trial(**{"version": self.version, **fields})

    def _adopt_owners(self, trial: Trial) -> None:
        if self.project is None and trial.project_id is not None:
            self.project = self.protocol.get_project(Project(_uid=trial.project_id, name=trial.project_id))
        if self.group is None and trial.group_id is not None:
            self.group = self.protocol.get_trial_group(TrialGroup(_uid=trial.group_id))

    def new_trial(self, force: bool = False, **kwargs: Any) -> TrialLogger:
        """Create a trial and return its logger.

        A trial is identified by its parameters: without them it waits, and is created by `log_arguments`, or
        empty at the first number logged. The same parameters again make the next revision.

        Parameters
        ----------
        force: bool
            Whether to replace a trial that is set already.
        **kwargs
            Fields of a `Trial`: ``name``, ``description``, ``tags``, ``parameters`` (a dict or Namespace;
            ``arguments`` is the same), ...
        """
        if self.logger is not None and not self.logger.is_pending and not force:
            logger.warning("a trial is set already and goes on: pass force=True to begin another one")
            return self.logger
        if "arguments" in kwargs:
            kwargs["parameters"] = kwargs.pop("arguments")
        parameters = kwargs.pop("parameters", None)
        unknown = sorted(kwargs.keys() - Trial.__dataclass_fields__.keys())
        if unknown:
            raise TypeError(f"a trial has no field {unknown[0]!r}; parameters go in parameters={{...}}")
        if parameters is None:
            self.logger = TrialLogger(delay_call(self._create_trial, **kwargs), self.protocol)
        else:
            self.logger = TrialLogger(self._create_trial(parameters, **kwargs), self.protocol)
        return self.logger

    def _create_trial(self, parameters: Any, **fields: Any) -> Trial:
        if self._stores_nothing:
            self._stores_nothing = False
            logger.warning(
                "nothing will be stored: give a backend, as in TrackClient('file://report.json'), "
                "or set TRACK_LOG_BACKEND_NAME"
            )
        project = self.project or self.set_project(name=_ORPHAN)
        group = self.group
        trial = Trial(
            **{
                "version": self.version,
                "project_id": project.uid,
                "group_id": group and group.uid,
                **fields,
                "parameters": as_dict(parameters),
            }
        )
        stored = self.protocol.new_trial(trial, auto_increment=True) or trial
        self.protocol.add_project_trial(project, stored)
        if group is not None:
            self.protocol.add_group_trial(group, stored)
        return stored

    def _place(self) -> str:
        return mask_secrets(str(getattr(self.protocol, "uri", self.protocol)))


class _MissingObject(NotFound, RuntimeError):
    """`get_only`, and it is not stored: a RuntimeError too, as the original raised."""


def as_dict(arguments: Any) -> dict[str, Any]:
    """Return arguments given as a mapping, a Namespace or None as a dictionary."""
    if arguments is None:
        return {}
    values = arguments if isinstance(arguments, Mapping) else vars(arguments)
    return {str(name): value for name, value in values.items()}
