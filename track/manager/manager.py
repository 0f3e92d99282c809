"""The class that manages a set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from track.errors import InvalidCall
from track.experiment.parts import DEFAULTS, NAME, load_file
from track.manager.folders import locked, parameters_in, write_params
from track.manager.grid import combinations, drawn, parse
from track.manager.initialising import initialise
from track.manager.registering import Asked, name_of_overrides, register_all
from track.manager.sets import SCRIPT, ExperimentSet, State
from track.utils.files import absolute_path
from track.yaml12 import Commented


class ExperimentManager:
    """A set of experiments in one root: a program, its defaults, and a folder for each combination of parameters.

    Parameters
    ----------
    root: path
        The root, which is made where there is none; by default the working directory.
    headless: bool
        Whether to do without the user's configuration file: then nothing outside of the root is read or written.

    Examples
    --------
    >>> from track.experiment import Experiment, param
    >>> manager = ExperimentManager("sweep")
    """

    def __init__(self, root: str | os.PathLike[str] = "", headless: bool = False) -> None:
        self.root = absolute_path(os.fspath(root) or ".")
        self.headless = headless
        os.makedirs(self.root, exist_ok=True)
        self._set = ExperimentSet(self.root)
        self._state: State = self._set.read()

    # what it is

    @property
    def defaults(self) -> str | None:
        """The path of ``defaults.yml``; None before the set is initialised."""
        return self._set.path(DEFAULTS) if self._set.exists() else None

    @property
    def script(self) -> str | None:
        """The path of ``script.sh``; None before the set is initialised."""
        return self._set.path(SCRIPT) if self._set.exists() else None

    @property
    def created(self) -> str | None:
        """When the set was initialised, in local time."""
        return self._state.created

    @property
    def experiments(self) -> list[str]:
        """The paths of the experiments that are managed."""
        return [self._set.path(name) for name in self._state.experiments]

    @property
    def overides(self) -> list[dict[str, Any]]:
        """The parameters of each that are other than their defaults."""
        return [dict(values) for values in self._state.experiments.values()]

    @property
    def notes(self) -> list[str]:
        """What was noted about the set."""
        return list(self._state.notes)

    @property
    def purpose(self) -> str:
        """What the set is for."""
        return self._state.purpose

    @property
    def type(self) -> str | None:
        """What its experiments are called: their class; None of a program that is none."""
        return self._state.type

    def __repr__(self) -> str:
        return f"<ExperimentManager of {self.root!r}, {len(self._state.experiments)} experiments>"

    # its files

    def check_initialised(self) -> None:
        """Return if ``experiment.yml``, ``script.sh`` and ``defaults.yml`` are all there.

        Raises
        ------
        InvalidExperimentRoot
            One is missing (a ValueError too).
        """
        self._set.require()
        self._state = self._set.read()

    def load_defaults(self) -> Commented:
        """Return what ``defaults.yml`` says, with the comment of each key in ``comments``."""
        return self._set.defaults()

    def save_params(self, params: Mapping[str, Any], root: str | os.PathLike[str]) -> None:
        """Write parameters to the ``params.yml`` of a folder: its path, or its name in the root."""
        folder = self._folder(root)
        with locked(folder):
            write_params(folder, Commented(params, getattr(params, "comments", {})))

    def load_params(self, experiment_path: str | os.PathLike[str], experiment_name: bool = False) -> Commented:
        """Return what the ``params.yml`` of an experiment says.

        Parameters
        ----------
        experiment_path: path
            Its folder, or its ``params.yml``.
        experiment_name: bool
            Whether that is the name of an experiment of this set.
        """
        path = os.fspath(experiment_path)
        path = self._set.path(path) if experiment_name else absolute_path(path)
        return load_file(path if os.path.basename(path) == NAME else os.path.join(path, NAME))

    def _folder(self, root: str | os.PathLike[str]) -> str:
        return os.path.join(self.root, os.fspath(root))

    # declaring

    def initialise(self, *, defaults: str = "", script: str = "", purpose: str = "", name: Any = None) -> None:
        """Make the root the root of a set.

        Parameters
        ----------
        defaults, script: str
            The paths of a ``defaults.yml`` and a ``script.sh``, which are copied; by default those in the working
            directory.
        purpose: str
            What the set is for.
        name: str or class, optional
            Instead of both: an experiment in Python, by its class, or as ``package.module.Class``.

        Raises
        ------
        SetExists
            The root is one already (a FileExistsError too).
        InvalidCall
            The files are not there, or no experiment goes by the name (a ValueError too).
        """
        self._state = initialise(self._set, defaults, script, purpose, name)

    def register(  # noqa: PLR0917 - the published signature
        self,
        name: str | None = None,
        string_params: str | None = None,
        purpose: str = "",
        header: str | None = None,
        shell: str = "/bin/bash",
        repeats: int = 1,
        *,
        trials: int | None = None,
        sampler: Any = None,
        goal: str | None = None,
        seed: int = 0,
    ) -> None:
        """Register experiments: each has a folder and a trial, and waits to be run."""
        self._set.require()
        if name is None and string_params is None:
            raise InvalidCall("register needs the parameters of experiments, or a name for one with the defaults")
        space = parse(string_params or "", parameters_in(self._set.defaults()))
        chosen = combinations(space) if trials is None else drawn(space, trials, seed)
        named = [(name or name_of_overrides(one) or "defaults", one) for one in chosen for _ in range(repeats)]
        asked = Asked(purpose or self._state.purpose, header or "", shell)
        register_all(self._set, named, asked)
        self._state = self._set.read()

    link = register
