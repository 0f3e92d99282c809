"""The class that manages a set."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from typing import Any

from track import home
from track.errors import InvalidCall
from track.experiment.parts import DEFAULTS, NAME, folder_name, load_file
from track.manager.folders import locked, parameters_in, write_params
from track.manager.grid import combinations, drawn, parse
from track.manager.initialising import initialise
from track.manager.linking import relink, unlink
from track.manager.marking import note, note_set, reset, rows, update_meta
from track.manager.moving import move
from track.manager.registering import Asked, name_of_overrides, register_all
from track.manager.removing import clean, remove, unmanaged
from track.manager.sampling import declare
from track.manager.sets import SCRIPT, ExperimentSet, State
from track.shown import clean as on_one_line
from track.shown import shown, text_of
from track.utils.files import absolute_path, open_regular
from track.yaml12 import Commented

Names = list[str]
Rows = list[dict[str, Any]]
Codes = list[int]


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
    >>> from pathlib import Path
    >>> _ = Path("defaults.yml").write_text("{lr: 0.1, name: adam}")
    >>> _ = Path("script.sh").write_text("cat ${1}")
    >>> manager = ExperimentManager("sweep", headless=True)
    >>> manager.initialise(purpose="which step")
    >>> manager.register(string_params="{lr: 1e-3 | 1, name: sgd}")
    >>> manager.overides
    [{'lr': 0.001, 'name': 'sgd'}, {'lr': 1.0, 'name': 'sgd'}]
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

    def close(self) -> None:
        """Give back the connection to the store; it is opened again where it is needed."""
        self._set.close()

    # declaring

    def initialise(
        self,
        *,
        defaults: str = "",
        script: str = "",
        purpose: str = "",
        name: Any = None,
        updates: str | None = None,
    ) -> None:
        """Make the root the root of a set.

        Parameters
        ----------
        defaults, script: str
            The paths of a ``defaults.yml`` and a ``script.sh``, which are copied; by default those in the working
            directory.
        purpose: str
            What the set is for.
        name: str or class, optional
            Instead of both: an experiment in Python, by its class, as ``package.module.Class``, or by the name that
            `track.config.GlobalExperimentManager.add_experiment` has made known.
        updates: str, optional
            Defaults that are other than those of the program, as a mapping of YAML.

        Raises
        ------
        SetExists
            The root is one already (a FileExistsError too).
        InvalidCall
            The files are not there, or no experiment goes by the name (a ValueError too).
        """
        programs = {} if self.headless else home.known("python_experiments")
        self._state = initialise(self._set, defaults, script, purpose, name, updates, programs)
        self._remember()

    def _remember(self) -> None:
        """Note the set in the user's list of all sets."""
        if not self.headless:
            state = self._state
            facts = {"created": state.created, "type": state.type, "purpose": state.purpose, "notes": list(state.notes)}
            home.remember(self.root, facts)

    def _forget(self, root: str) -> None:
        if not self.headless:
            home.forget(root)

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
        """Register experiments: each has a folder and a trial, and waits to be run.

        Parameters
        ----------
        name: str, optional
            What they are called; by default as their parameters, ``lr=0.1__opt=adam``. One that is taken gets a number.
        string_params: str, optional
            The parameters that are other than their defaults, as a mapping of YAML: ``{lr: 0.1 | 0.2, opt: a | b}``
            are all four combinations. With `trials` there may be ranges, ``lr: 1e-5 .. 1e-1 log``.
        purpose: str
            What they are for; by default what the set is for.
        header: str, optional
            What ``run.sh`` begins with, such as the directives of a scheduler: a text, or the path of a file.
        shell: str
            What runs ``run.sh``, and ``script.sh`` in it.
        repeats: int
            How many experiments of each combination.
        trials: int, optional
            How many combinations, chosen at random; or one after the other, by `sampler`.
        sampler: str or object, optional
            ``"tpe"``, or another sampler of Optuna: ``module:name``, or an object. Then workers make the trials, each
            once they can run it, by what is known of the others.
        goal: str, optional
            What the sampler is after: ``min:val_loss`` or ``max:accuracy``, a message, or the last value of a metric.
        seed: int
            What chance depends on: the same trials come out the same.

        Raises
        ------
        InvalidCall
            The text makes no sense, or no parameter goes by a name (a ValueError too). Nothing is registered.
        AlreadyExists
            There are a hundred experiments of one name (a ValueError too).
        InvalidExperimentRoot
            The root is not initialised.
        """
        self._set.require()
        if name is None and string_params is None:
            raise InvalidCall("register needs the parameters of experiments, or a name for one with the defaults")
        _require_counts(repeats=repeats, trials=trials)
        asked = Asked(purpose or self._set.read().purpose, _text_or_file(self._header(header)), shell)
        space = parse(string_params or "", parameters_in(self._set.defaults()))
        if sampler is None or sampler == "random":
            if goal is not None:
                raise InvalidCall("a goal is what a sampler is after: give sampler='tpe', too")
            if trials is None and sampler is not None:
                raise InvalidCall("a sampler needs to know how many trials: register(..., trials=50)")
            chosen = combinations(space) if trials is None else drawn(space, trials, seed)
            given = None if name is None else folder_name(name)
            named = [(given or name_of_overrides(one), one) for one in chosen for _ in range(repeats)]
            register_all(self._set, named, asked)
        else:
            if trials is None or repeats != 1:
                raise InvalidCall("a sampler needs to know how many trials, and repeats none: register(..., trials=50)")
            declare(self._set, space, asked, trials=trials, sampler=sampler, goal=goal, seed=seed, name=name)
        self._state = self._set.read()

    def link(self, *args: Any, **kwargs: Any) -> None:
        """Register experiments: ``link("{lr: 0.1 | 0.2}")`` is by their parameters; otherwise as `register`."""
        if len(args) == 1 and "string_params" not in kwargs and _is_mapping(args[0]):
            self.register(string_params=args[0], **kwargs)
        else:
            self.register(*args, **kwargs)

    def _header(self, header: str | None) -> str | None:
        """Return the header that was given, else that of the user's settings."""
        return header if header is not None or self.headless else str(home.known("header"))

    # what is there

    def list(self, pattern: str = "*") -> Rows:
        """Print the experiments, unless headless, and return of each name, status, purpose, notes and overrides.

        Parameters
        ----------
        pattern: str
            As a shell has it, of their names; ``all`` is ``*``.
        """
        self.check_initialised()
        found = [*rows(self._set, pattern)]
        if not self.headless:
            sys.stdout.write(f"{table(found)}\n")
        return found

    def note(self, pattern: str, msg: str, remove: bool = False) -> None:
        """Leave a note with experiments, or remove it.

        Parameters
        ----------
        pattern: str
            As a shell has it, of their names; ``all`` is ``*``.
        msg: str
        remove: bool
            Whether to remove the notes that say this.
        """
        self._set.require()
        note(self._set, pattern, msg, remove)

    def annotate(self, msg: str, remove: bool = False) -> None:
        """Leave a note with the set itself, or remove it; see `notes`."""
        self._set.require()
        note_set(self._set, msg, remove)
        self._state = self._set.read()
        self._remember()

    def reset(self, pattern: str, status: str = "registered", *, force: bool = False) -> None:
        """Give experiments another status; those that are ``registered`` are run again.

        Parameters
        ----------
        pattern: str
            As a shell has it, of their names; ``all`` is ``*``.
        status: str
            default, registered, submitted, running, finished, error, stopped, timeout, requeue.
        force: bool
            Whether to do so even where a process runs one.

        Raises
        ------
        InvalidCall
            There is no such status (a ValueError too).
        AlreadyRuns
            One of them runs (a ValueError too).
        """
        self._set.require()
        reset(self._set, pattern, status, force)

    def update_meta(self) -> None:
        """Say in ``defaults.yml`` and in the ``params.yml`` of each experiment that this is the machine."""
        self._set.require()
        update_meta(self._set)

    # what is managed

    def unlink(self, pattern: str = "*") -> Names:
        """Let experiments go, and return their names: their folders stay, no worker runs them.

        Their trials are hidden, and show again after `relink`.
        """
        self._set.require()
        names = unlink(self._set, pattern)
        self._state = self._set.read()
        return names

    def relink(self, pattern: str | None = "*") -> Names:
        """Manage the folders in the root again that were let go, moved or copied here; return the names of new ones.

        None means only those that are managed: what was let go stays so, after the whole set was moved or copied.

        A folder that was copied gets a trial of its own. Where the root was moved by hand, its files name the new
        place then. The parameters of a folder must be some of those in ``defaults.yml``.
        """
        self._set.require()
        names = relink(self._set, pattern)
        self._state = self._set.read()
        self._remember()
        return names

    def unmanaged(self) -> Names:
        """Return the names of the folders that `clean` would delete."""
        return unmanaged(self._set)

    def clean(self) -> Names:
        """Delete the folders of experiments in the root that are not managed, and return their names.

        Links are neither deleted nor followed, and what holds no ``params.yml`` stays.
        """
        self._set.require()
        return clean(self._set)

    def rm(self) -> None:
        """Delete the set: its experiments, its files, and the root where nothing else is in it; its trials are hidden.

        Raises
        ------
        AlreadyRuns
            One of its experiments runs (a ValueError too).
        """
        remove(self._set)
        self._state = self._set.read()
        self._forget(self.root)

    def move(self, dest: str | os.PathLike[str]) -> None:
        """Move the set to another root; its trials stay the same.

        Raises
        ------
        AlreadyRuns
            One of its experiments runs (a ValueError too).
        SetExists
            There is something at the new place (a FileExistsError too).
        InvalidCall
            The new place is in the old one (a ValueError too).
        """
        before = self.root
        self._set = move(self._set, absolute_path(os.fspath(dest)))
        self.root, self._state = self._set.root, self._set.read()
        self._forget(before)
        self._remember()

    # running

    def run(self, pattern: str, *flags: str, parallel: int = 1) -> Codes:
        """Start a command for each experiment that matches and is registered, in their order, and wait for it.

        Exactly one of those who ask at the same time starts each. What a command that waits for its experiment has
        not said itself its exit code says; an experiment in a queue is ``submitted`` until it runs. With
        `track.manager.work` any command can go on after any crash.

        Parameters
        ----------
        pattern: str
            A glob of names; ``all`` is ``*``.
        *flags: str
            The command, word by word, which is given the path of the experiment's ``run.sh``: ``"bash"``, ``"sbatch",
            "--time=60"``. ``sbatch`` is also told the name of the job, and where its output goes.
        parallel: int
            How many at the same time.

        Returns
        -------
        list of int
            The exit code of each command.

        Raises
        ------
        InvalidCall
            The command cannot be started (a ValueError too).
        """
        self._set.require()
        from track.manager.launch import run

        return run(self, pattern, *flags, parallel=parallel)


def table(found: Rows) -> str:
    """Return rows as columns of text; what somebody has named is on one line, and says nothing to a terminal."""
    names = ("name", "status", "purpose", "notes")
    lines = [names, *([on_one_line(_shown(row[name])) for name in names] for row in found)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _shown(value: Any) -> str:
    return "; ".join(value) if isinstance(value, list) else text_of(value)


def _is_mapping(text: Any) -> bool:
    return isinstance(text, str) and re.match(r"\s*\{|[^:]+:\s", text) is not None


def _require_counts(**counts: Any) -> None:
    for name, count in counts.items():
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
            raise InvalidCall(f"{name} is a whole number, at least 1, not {shown(count)}")


def _text_or_file(header: str | None) -> str:
    """Return a text, or what is in the file of this path."""
    if not header or "\n" in header or not os.path.isfile(header):
        return header or ""
    with open_regular(header) as file:
        return (file.readall() or b"").decode()
