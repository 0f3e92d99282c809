"""The facade: a store, and one trial at a time in it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from track.choosing import Chooser
from track.configuration import options
from track.errors import MissingExtra, NotChosen, TrialDoesNotExist, UnknownAttribute
from track.front import as_dict
from track.logger import TrialLogger
from track.persistence.registry import get_protocol
from track.verbs import way_out

__all__ = ["TrackClient", "TrialDoesNotExist"]

_CONFIGURED = "none"


class TrackClient(Chooser):
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

    def __init__(self, backend: str = _CONFIGURED) -> None:
        if backend in (None, "", _CONFIGURED):
            backend = options("log.backend.name", _CONFIGURED) or _CONFIGURED
        super().__init__(get_protocol(backend), stores_nothing=backend in (_CONFIGURED, f"{_CONFIGURED}:"))
        self.protocol.check_writable()
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
        NotChosen
            There is no trial (a RuntimeError too).
        InvalidCall
            `args` is something else.
        """
        if isinstance(args, argparse.ArgumentParser):
            args = args.parse_args()
        arguments = {**kwargs, **as_dict(args)}
        if show:
            _show(arguments)
        self._current().log_arguments(arguments)
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
        self.start()
        return self._current()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.finish(exc_type, exc_val, exc_tb)

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
        return way_out(name, (known for known in {*dir(self), *dir(TrialLogger)} if not known.startswith("_")))

    def __repr__(self) -> str:
        shown = [repr(self._place())]
        if self.project is not None:
            shown.append(f"project={self.project.name!r}")
        if self.group is not None:
            shown.append(f"group={self.group.name!r}")
        if self.logger is not None:
            shown.append(f"trial={self.logger.label!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def _current(self) -> TrialLogger:
        if self.logger is None:
            raise NotChosen("there is no trial: call new_trial or set_trial first")
        return self.logger


def _show(arguments: dict[str, Any]) -> None:
    rule = "-" * 80
    lines = [rule, *(f"{name:>30}: {value}" for name, value in arguments.items()), rule]
    sys.stdout.write("\n".join(lines) + "\n")
