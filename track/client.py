"""The facade: choose a store, a project, a group and a trial."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from track.configuration import options
from track.errors import MissingExtra, NotFound, TrialDoesNotExist
from track.logger import TrialLogger
from track.persistence.protocol import Protocol
from track.persistence.registry import get_protocol
from track.persistence.utils import mask_secrets
from track.structure import Project, Trial, TrialGroup, set_current_project, split_uid
from track.utils.delay import delay_call
from track.versioning import default_version_hash

__all__ = ["TrackClient", "TrialDoesNotExist"]

logger = logging.getLogger(__name__)

_CONFIGURED = "none"
_ORPHAN = "orphan"


class TrackClient:
    """Tracks one trial at a time, in a store.

    Parameters
    ----------
    backend: str
        The store's URI: ``file://report.json``, ``ephemeral:``. ``"none"`` is the option
        ``log.backend.name`` (``TRACK_LOG_BACKEND_NAME``), or memory where that is not set.

    Raises
    ------
    UnknownBackend, InvalidUri, MissingExtra
        The URI cannot be used.
    BackendUnavailable
        The store cannot be written to.

    Examples
    --------
    >>> client = TrackClient("ephemeral:")
    >>> project = client.set_project(name="mnist")
    >>> trial = client.new_trial(name="first", parameters={"lr": 0.1})
    >>> with trial:
    ...     trial.log_metrics(step=0, loss=0.5)
    >>> client.trial.metrics["loss"]
    {0: 0.5}
    """

    # Found on the class: a client that is being copied or unpickled has no logger yet.
    logger: TrialLogger | None = None

    def __init__(self, backend: str = _CONFIGURED) -> None:
        if backend in (None, "", _CONFIGURED):
            backend = options("log.backend.name", _CONFIGURED) or _CONFIGURED
        self.protocol: Protocol = get_protocol(backend)
        self._stores_nothing = backend in (_CONFIGURED, f"{_CONFIGURED}:")
        check = getattr(self.protocol, "check_writable", None)
        if check is not None:
            check()
        self.project: Project | None = None
        self.group: TrialGroup | None = None
        self.logger = None
        self._version: Callable[[], str] = default_version_hash
        self.set_version()
        self._attach_to_environment()

    def _attach_to_environment(self) -> None:
        """Take the project, group and trial that the program which started this one chose."""
        for prefix in ("ORION", "TRACK"):
            group = os.environ.get("ORION_EXPERIMENT" if prefix == "ORION" else "TRACK_GROUP")
            project, trial = os.environ.get(f"{prefix}_PROJECT"), os.environ.get(f"{prefix}_TRIAL_ID")
            if project:
                self.set_project(name=project, get_only=True)
            if group:
                self.set_group(name=group, get_only=True)
            if trial:
                self.set_trial(uid=trial)

    @property
    def trial(self) -> Trial | None:
        """The current trial as it is stored; None before there is one."""
        return None if self.logger is None else self.logger.trial

    @property
    def version(self) -> str:
        """The version that the next trial gets."""
        return self._version()

    # choosing

    def set_version(self, version: str | None = None, version_fun: Callable[[], str] | None = None) -> TrackClient:
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
            logger.info("a trial is set already: pass force=True to begin another one")
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
                "parameters": _as_dict(parameters),
            }
        )
        stored = self.protocol.new_trial(trial, auto_increment=True) or trial
        self.protocol.add_project_trial(project, stored)
        if group is not None:
            self.protocol.add_group_trial(group, stored)
        return stored

    # the current trial

    def log_arguments(
        self,
        args: argparse.ArgumentParser | argparse.Namespace | Mapping[str, Any] | None = None,
        show: bool = False,
        **kwargs: Any,
    ) -> argparse.Namespace:
        """Give the trial its parameters, and return them all.

        Parameters
        ----------
        args: ArgumentParser, Namespace or mapping, optional
            A parser parses the command line.
        show: bool
            Whether to print them.
        **kwargs
            More parameters; `args` wins where both name one.

        Raises
        ------
        RuntimeError
            There is no trial.
        """
        if isinstance(args, argparse.ArgumentParser):
            args = args.parse_args()
        arguments = {**kwargs, **_as_dict(args)}
        if show:
            _show(arguments)
        current = self._current()
        if current.is_pending:
            current.log_arguments(**arguments)
        else:
            self._compare(current.trial.parameters, arguments)
        given = argparse.Namespace()
        # Not as keywords: a parameter may be called anything.
        vars(given).update(arguments)
        return given

    def get_arguments(
        self,
        args: argparse.ArgumentParser | argparse.Namespace | Mapping[str, Any] | None = None,
        show: bool = False,
        **kwargs: Any,
    ) -> argparse.Namespace:
        """Give the trial its parameters, and return them all: another name of `log_arguments`."""
        return self.log_arguments(args, show, **kwargs)

    def _compare(self, stored: dict[str, Any], arguments: dict[str, Any]) -> None:
        from track.plain import restore, to_plain

        differing = [name for name, value in arguments.items() if stored.get(name) != restore(to_plain(value))]
        if differing:
            logger.warning("the trial exists and keeps its parameters; these differ: %s", ", ".join(differing))

    def add_tags(self, /, **kwargs: Any) -> None:
        """Add tags to the trial, also to one that waits for its parameters."""
        self._current().add_tags(**kwargs)

    def report(self, short: bool = True, style: str = "json") -> TrackClient:
        """Finish the trial and print what is stored of it.

        Parameters
        ----------
        short: bool
            What a person reads; False prints everything.
        style: str
            ``"json"``, or ``"table"`` on a terminal (the extra ``rich``).

        Raises
        ------
        RuntimeError
            There is no trial.
        """
        self._current().report(short, style)
        return self

    def save(self, file_name_override: str | None = None) -> None:
        """Make everything permanent, or write all of the store to another JSON file."""
        self.protocol.commit(file_name_override=file_name_override)

    @staticmethod
    def get_device() -> Any:
        """Return torch's cuda device where there is one, else its cpu device.

        Raises
        ------
        MissingExtra
            torch is not installed.
        """
        try:
            import torch  # type: ignore[import-not-found, unused-ignore]
        except ImportError as error:
            raise MissingExtra("get_device needs torch: see https://pytorch.org for how to install it") from error
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def start(self) -> None:
        """Start the trial."""
        self._current().start()

    def finish(
        self, exc_type: Any = None, exc_val: Any = None, exc_tb: Any = None, *, timeout: float | None = None
    ) -> None:
        """Finish the trial; `timeout` says how many seconds a server that is away is waited for."""
        self._current().finish(exc_type, exc_val, exc_tb, timeout=timeout)

    def __enter__(self) -> TrialLogger:
        self.start()
        return self._current()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.finish(exc_type, exc_val, exc_tb)

    def __getattr__(self, name: str) -> Any:
        """Look for anything else on the current trial's logger: ``client.log_metrics``, ``client.chrono``."""
        if not name.startswith("_") and self.logger is not None:
            return getattr(self.logger, name)
        hint = "" if self.logger is not None else " (there is no trial yet: call new_trial)"
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")

    def _current(self) -> TrialLogger:
        if self.logger is None:
            raise RuntimeError("there is no trial: call new_trial or set_trial first")
        return self.logger

    def _place(self) -> str:
        return mask_secrets(str(getattr(self.protocol, "uri", self.protocol)))


class _MissingObject(NotFound, RuntimeError):
    """`get_only`, and it is not stored: a RuntimeError too, as the original raised."""


def _as_dict(arguments: Any) -> dict[str, Any]:
    if arguments is None:
        return {}
    values = arguments if isinstance(arguments, Mapping) else vars(arguments)
    return {str(name): value for name, value in values.items()}


def _show(arguments: dict[str, Any]) -> None:
    rule = "-" * 80
    lines = [rule, *(f"{name:>30}: {value}" for name, value in arguments.items()), rule]
    sys.stdout.write("\n".join(lines) + "\n")
