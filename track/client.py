"""The facade: a store, a project, a group, and one trial at a time in them."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Mapping
from html import escape
from threading import get_ident
from types import TracebackType
from typing import Any

from track.configuration import ATTEMPT_VARIABLE, options
from track.errors import InvalidCall, MissingExtra, NotChosen, NotFound, TrialDoesNotExist, UnknownAttribute
from track.front import (
    Current,
    as_dict,
    check_fields,
    check_kind,
    checked_parts,
    identity,
    innermost_block,
    is_other,
    key_hash,
    named_metadata,
    named_trial,
    open_keyed,
    own_choice,
    parent_in,
    require_queue,
    reserve,
    show_arguments,
    store_trial,
    take_parameters,
    tell_fields_stay,
    tell_nothing_is_stored,
    tell_trial_stays,
    tell_what_stays,
    unfinished,
    waiting_query,
)
from track.logger import TrialLogger
from track.naming import named, was_deleted
from track.persistence.registry import get_protocol
from track.persistence.utils import mask_secrets, names_no_store
from track.shown import cut, shown
from track.structure import Project, Trial, TrialGroup, set_current_project
from track.utils.delay import delay_call
from track.verbs import HERE, way_out
from track.versioning import default_version_hash

__all__ = ["TrackClient", "TrialDoesNotExist"]

logger = logging.getLogger(__name__)

_ORPHAN = "orphan"


class TrackClient:
    """Tracks one trial at a time, in a store.

    Parameters
    ----------
    backend: str
        The store's URI: ``file://report.json``, ``ephemeral:``. ``"none"`` is the option
        ``log.backend.name`` (``TRACK_LOG_BACKEND_NAME``), or memory where that is not set.
    environment: bool, str or list of str, optional
        What is recorded of where trials run: all, none, or some parts, as in ``"git,packages"`` or ``"-argv,-user"``.
        By default what the URI says (``?environment=0``), then the option ``log.environment``, then all.

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

    project = Current[Project]()
    group = Current[TrialGroup]()
    logger = Current[TrialLogger]()
    # Found on the class: a client that is being copied or unpickled has nothing yet.
    _chosen: Mapping[str, Any] = {}
    _thread = 0

    def __init__(self, backend: str = "none", *, environment: Any = None) -> None:
        self._parts = checked_parts(environment)
        is_configured = names_no_store(backend) and backend != "none:"
        if is_configured:
            backend = options("log.backend.name", None)
        self.protocol = get_protocol(backend)
        self._thread = get_ident()
        self._stores_nothing = names_no_store(backend)
        self._version: Callable[[], str] = default_version_hash
        self.protocol.check_writable()
        # What a worker has started may open another store as well.
        attempt = os.environ.get(ATTEMPT_VARIABLE, "")
        if is_configured or not attempt:
            self._attach_to_environment(attempt)

    def _attach_to_environment(self, attempt: str) -> None:
        """Take the project, group and trial that the program which started this one chose, or reserved for it."""
        for prefix in ("ORION", "TRACK"):
            group = os.environ.get("ORION_EXPERIMENT" if prefix == "ORION" else "TRACK_GROUP")
            project, trial = os.environ.get(f"{prefix}_PROJECT"), os.environ.get(f"{prefix}_TRIAL_ID")
            if project:
                self.set_project(name=project, get_only=True)
            if group:
                self.set_group(name=group, get_only=True)
            if trial:
                self.set_trial(uid=trial)
            if trial and attempt.isdecimal():
                self.protocol.share_attempt(trial, int(attempt))

    # choosing

    @property
    def trial(self) -> Trial | None:
        """The current trial as it is stored; None before there is one."""
        return None if self.logger is None else self.logger.trial

    @property
    def version(self) -> str:
        """The version that the next trial gets."""
        return self._version()

    def set_version(self, version: str | None = None, version_fun: Callable[[], str] | None = None) -> TrackClient:
        """Choose how trials are versioned; by default the digest of the script.

        Parameters
        ----------
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
        InvalidCall
            A field does not exist, or the project is no `Project`.
        MissingIdentity
            There is no name.
        """
        check_kind(Project, project, "set_project(name='digits')")
        check_fields(Project, kwargs)
        wanted = project or Project(**kwargs)
        # One that nobody chose gives way.
        if self.project is not None and self.project.uid != _ORPHAN and not force:
            tell_what_stays("project", self.project, wanted)
            return self.project
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
        force: bool
            Whether to replace a group that is chosen already.
        get_only: bool
            Whether to fail instead of creating it.
        **kwargs
            Fields of a `TrialGroup`; ``project_id`` is the current project by default.

        Raises
        ------
        NotChosen
            No project is set (a RuntimeError too).
        NotFound
            `get_only`, and the group is not stored (a RuntimeError too).
        InvalidCall
            A field does not exist, or the group is no `TrialGroup`.
        """
        check_kind(TrialGroup, group, "set_group(name='idea')")
        check_fields(TrialGroup, kwargs)
        group = group or TrialGroup(**kwargs)
        if self.group is not None and not force:
            tell_what_stays("group", self.group, group)
            return self.group
        if group._uid is None and group.project_id is None:
            if self.project is None:
                raise NotChosen("a group is in a project: call set_project first")
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
        force: bool
            Whether to replace a trial that is set and has not finished.
        **kwargs
            ``uid``; or ``hash`` and ``revision``; or the fields of a `Trial`, hashed with the current version. What is
            no whole uid may be the beginning of one, from four characters on, ``name``, ``name/revision``, ``@last``,
            ``@best:loss``.

        Raises
        ------
        TrialDoesNotExist
            It is not stored.
        AmbiguousName
            Several trials go by what is given as the uid.
        InvalidCall
            A field does not exist, or the trial is no `Trial`.
        """
        check_kind(Trial, trial, "set_trial(uid=...)")
        check_fields(Trial, kwargs, extra=("uid", "hash"))
        current: TrialLogger | None = (
            None if force else unfinished(self.logger if not (trial or kwargs) else own_choice(self, "logger"))
        )
        if current is not None and (str(kwargs.get("uid")) == current._created().uid or not (trial or kwargs)):
            return current
        name = kwargs.get("uid")
        wanted = trial or named_trial(kwargs, self.version, self.protocol)
        if current is not None:
            if current._created().uid != wanted.uid:
                tell_trial_stays(current)
            return current
        found = self.protocol.get_trial(wanted) or []
        stored = next((stored for stored in found if stored.uid == wanted.uid), None)
        if stored is None and name is not None:
            stored = named(self.protocol, name)
        if stored is not None and stored.deleted:
            raise was_deleted(stored, self.protocol)
        if stored is None:
            raise TrialDoesNotExist(f"no trial {wanted.uid!r} is stored in {self._place()}")
        self._adopt_owners(stored)
        self.logger = self._logger_of(stored)
        return self.logger

    def _logger_of(self, trial: Any) -> TrialLogger:
        return TrialLogger(trial, self.protocol, environment=self._parts)

    def _adopt_owners(self, trial: Trial) -> None:
        if self.project is None and trial.project_id is not None:
            self.project = self.protocol.get_project(Project(_uid=trial.project_id, name=trial.project_id))
        if self.group is None and trial.group_id is not None:
            self.group = self.protocol.get_trial_group(TrialGroup(_uid=trial.group_id))

    def new_trial(self, force: bool = False, **kwargs: Any) -> TrialLogger:
        """Create a trial and return its logger.

        A trial is identified by its parameters: without them it waits, and is created by `log_arguments`, or
        empty at the first number logged. The same parameters again make the next revision.

        A trial that this thread or task has begun and not finished goes on, and its logger is returned, where nothing
        else is asked for: no fields, or the same name, version, parameters and group. Where another trial is asked
        for it is begun; the earlier one stays unfinished, and its logger works on. A trial that is begun inside the
        ``with`` block of another one has it as ``parent`` in its metadata.

        Parameters
        ----------
        force: bool
            Whether to begin another trial in any case.
        **kwargs
            Fields of a `Trial`: ``name``, ``description``, ``tags``, ``parameters`` (a mapping, a Namespace,
            an object with fields, or an ArgumentParser; ``arguments`` is the same), ...

        Raises
        ------
        InvalidCall
            A field does not exist, or the parameters have no fields.
        """
        if not isinstance(force, (bool, int)):
            raise InvalidCall(f"what is {force!r}? Write new_trial(parameters={{'lr': 0.1}}), new_trial(name='first')")
        parameters = take_parameters(kwargs)
        asks_for_nothing = not kwargs and parameters is None
        current: TrialLogger | None = (
            None if force else unfinished(self.logger if asks_for_nothing else own_choice(self, "logger"))
        )
        if current is not None:
            if asks_for_nothing or not self._is_other(current._created(), parameters, kwargs):
                tell_fields_stay(current._created(), kwargs)
                return current
            logger.info("trial %r has not finished; another one is begun", current.label)
        create = self._create_trial
        trial = delay_call(create, **kwargs) if parameters is None else create(parameters, **kwargs)
        self.logger = current = self._logger_of(trial)
        return current

    def _is_other(self, current: Trial, parameters: dict[str, Any] | None, fields: dict[str, Any]) -> bool:
        version = None if self._version is default_version_hash else self.version
        return is_other(current, identity(parameters, fields, version, self.project, self.group))

    def _made_trial(
        self, parameters: dict[str, Any], fields: dict[str, Any], project: Project, group: TrialGroup | None
    ) -> Trial:
        if self._stores_nothing:
            self._stores_nothing = False
            tell_nothing_is_stored()
        parent = parent_in(self.protocol)
        if parent is not None:
            fields["metadata"] = {"parent": parent, **named_metadata(fields)}
        owners = {"project_id": project.uid, "group_id": group and group.uid}
        return Trial(**{"version": self.version, **owners, **fields, "parameters": parameters})

    def _owners(self) -> tuple[Project, TrialGroup | None]:
        return self.project or self.set_project(name=_ORPHAN), self.group

    def _create_trial(self, parameters: dict[str, Any], **fields: Any) -> Trial:
        owners = self._owners()
        trial = self._made_trial(parameters, fields, *owners)
        return store_trial(self.protocol, trial, True, *owners) or trial

    def open_trial(self, key: str, **kwargs: Any) -> TrialLogger:
        """Return the trial with this key in the current project and group: to begin or go on in one line.

        The first who asks creates it. While it is not finished, others join it, as the ranks of a job do; after a
        crash it goes on. Once it has ended well, the next revision begins. A key is no secret: it is in the metadata.

        Parameters
        ----------
        key: str
            ``os.environ["SLURM_JOB_ID"]``, ``"ablation 3"``.
        **kwargs
            Fields of a `Trial`, as for `new_trial`, for the one that is created.

        Raises
        ------
        InvalidCall
            A field does not exist, or the trial goes on and has other parameters (a ValueError too).
        """
        parameters = take_parameters(kwargs)
        kwargs["metadata"] = {**named_metadata(kwargs), "key": str(key)}
        owners = self._owners()
        wanted = self._made_trial(parameters or {}, kwargs, *owners)
        wanted.hash = key_hash(key, *owners)
        stored = open_keyed(self.protocol, wanted, parameters, *owners)
        current: TrialLogger | None = unfinished(own_choice(self, "logger"))
        if current is None or current._created().uid != stored.uid:
            current = self.logger = self._logger_of(stored)
        return current

    def next_trial(self, query: Any = None, *, patience: float = 300.0) -> TrialLogger | None:
        """Take the oldest trial that waits, and return its logger, started; None where none waits.

        Of the current project and group, if there are any. A trial waits that was created and never started, that was
        given the status ``submitted``, or whose process is gone (``Broken``). Each is taken by one process only, which
        owns it from then on; should that die, the trial is the next one again, in its next attempt
        (``trial.attempt``), and what the earlier process still says of it is dropped and counted.

        Parameters
        ----------
        query: mapping or list of pairs, optional
            What else must hold, as for ``track.fetch``: ``{"attempt": {"$lt": 3}}``. A condition on ``status``
            replaces the one above; what a live process runs is never taken.
        patience: float
            Seconds for which a store that is busy or away is asked again.

        Raises
        ------
        BackendUnavailable
            It was busy or away for so long.
        NotFound
            The store is a file that is not there; none is made.
        """
        require_queue(self.protocol)
        trial = reserve(self.protocol, waiting_query(query, self.project, self.group), patience)
        if trial is None:
            return None
        self.logger = current = self._logger_of(trial)
        current._begin()
        return current

    # hiding

    def delete_trial(self, name: Any) -> Trial:
        """Hide a trial from every listing, query and name, and return it; `restore_trial` brings it back.

        Everything of it is kept, its files too, and a program that still runs it goes on. ``track.fetch(uri,
        {"deleted": True})`` lists what is hidden, and ``track gc`` removes it for good.

        Parameters
        ----------
        name: str, Trial or TrialLogger
            The trial, or its uid, the beginning of it, ``name``, ``name/revision``, ``@last``, ``@best:loss``.

        Raises
        ------
        TrialDoesNotExist
            No trial is called so, or it is hidden already.
        AmbiguousName
            Several are.
        """
        trial = named(self.protocol, _uid_or_name(name))
        self.protocol.delete_trial(trial)
        return trial

    def restore_trial(self, name: Any) -> Trial:
        """Show a trial again that was hidden by `delete_trial`, and return it.

        Parameters
        ----------
        name: str, Trial or TrialLogger
            As for `delete_trial`, among the trials that are hidden.

        Raises
        ------
        TrialDoesNotExist
            No hidden trial is called so.
        AmbiguousName
            Several are.
        """
        trial = named(self.protocol, _uid_or_name(name), deleted=True)
        self.protocol.restore_trial(trial)
        return trial

    # the current trial

    def log_arguments(
        self,
        args: Any = None,
        show: bool = False,
        **kwargs: Any,
    ) -> argparse.Namespace:
        """Give the trial its parameters, and return them all.

        Parameters
        ----------
        args: optional
            A mapping, a Namespace, an object with fields (of a dataclass, attrs, pydantic, OmegaConf, ...), or an
            ArgumentParser, which parses the command line.
        show: bool
            Whether to print them.
        **kwargs
            More parameters; `args` wins where both name one.

        Raises
        ------
        NotChosen
            There is no trial (a RuntimeError too).
        InvalidCall
            `args` is something else.
        """
        arguments = {**kwargs, **as_dict(args)}
        if show:
            show_arguments(arguments)
        return self._current().log_arguments(arguments)

    get_arguments = log_arguments

    def add_tags(self, /, *unnamed: Any, **kwargs: Any) -> None:
        """Add tags to the trial, also to one that waits for its parameters."""
        self._current().add_tags(*unnamed, **kwargs)

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
        NotChosen
            There is no trial (a RuntimeError too).
        InvalidCall
            The style is unknown.
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
        return self._current().__enter__()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> bool | None:
        ended: bool | None = (innermost_block() or self._current()).__exit__(exc_type, exc_val, exc_tb)
        return ended

    def __dir__(self) -> list[str]:
        """Name the verbs of the current trial too, so that an editor or a notebook completes them."""
        verbs = [] if self.logger is None else [name for name in dir(self.logger) if not name.startswith("_")]
        return sorted({*super().__dir__(), *verbs})

    def __getattr__(self, name: str) -> Any:
        """Look for anything else on the current trial's logger: ``client.log_metrics``, ``client.chrono``."""
        remedy = ""
        if not name.startswith("_"):
            if self.logger is not None:
                try:
                    return getattr(self.logger, name)
                except AttributeError:
                    # What exists and fails keeps its own error.
                    if hasattr(TrialLogger, name):
                        raise
            remedy = self._remedy(name)
        raise UnknownAttribute(f"{type(self).__name__!r} object has no attribute {name!r}{remedy}")

    def _remedy(self, name: str) -> str:
        if self.logger is None and hasattr(TrialLogger, name):
            return " (there is no trial yet: call new_trial)"
        return way_out(
            name, sorted(known for known in {*dir(self), *dir(TrialLogger)} - {*HERE} if not known.startswith("_"))
        )

    def __repr__(self) -> str:
        parts = [cut(repr(self._place()), 120)]
        if self.project is not None and self.project.uid != _ORPHAN:
            parts.append(f"project={shown(self.project.name, 40)}")
        if self.group is not None:
            parts.append(f"group={shown(self.group.name, 40)}")
        if self.logger is not None:
            parts.append(f"trial={shown(self.logger.label, 40)}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>" if self.logger is None else self.logger._repr_html_()

    def _place(self) -> str:
        return mask_secrets(self.protocol.uri or repr(self.protocol))

    def _current(self) -> TrialLogger:
        if self.logger is None:
            raise NotChosen("there is no trial: call new_trial or set_trial first")
        return self.logger


def _uid_or_name(trial: Any) -> Any:
    if isinstance(trial, TrialLogger):
        return trial._created().uid
    return trial.uid if isinstance(trial, Trial) else trial


class _MissingObject(NotFound, RuntimeError):
    """`get_only`, and it is not stored: a RuntimeError too, as the original raised."""
