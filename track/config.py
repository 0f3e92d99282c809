"""All sets of experiments of a user, and the settings for them: one file, and questions about what is in the sets."""

from __future__ import annotations

import copy
import logging
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from types import TracebackType
from typing import TYPE_CHECKING, Any

from track import home
from track.errors import IncompatibleYmlException, InvalidCall, missing_extra, suggestion
from track.utils.collecting import making
from track.utils.files import open_regular, replace_file

if TYPE_CHECKING:
    import pandas as pd

    from track.manager.parts import Conditions, KnownSet, Row

__all__ = ["Found", "GlobalExperimentManager"]

logger = logging.getLogger(__name__)


class Found(dict[str, list[Any]]):
    """What `GlobalExperimentManager.find` has found: columns of the same length, by name.

    The names that begin with ``_`` and are no parameters are in ``special_keys``.
    """

    def __init__(self, special: Iterable[str]) -> None:
        super().__init__({name: [] for name in special})
        self.special_keys = list(self)

    @property
    def parameters(self) -> list[str]:
        """The names of the parameters, in the order in which they were found."""
        return [name for name in self if name not in self.special_keys]

    def add(self, rows: Iterable[Row | None], missing: Any = "") -> None:
        """Append rows, but for those that are None."""
        special = [(name, self[name]) for name in self.special_keys]
        size = len(special[0][1])
        for row in rows:
            if row is None:
                continue
            for name, column in special:
                column.append(row.special.get(name))
            for name in row.matching:
                column = self.setdefault(name, [])
                column.extend([missing] * (size - len(column)))
                column.append(row.parameters[name])
            size += 1
        for name in self.parameters:
            self[name].extend([missing] * (size - len(self[name])))


class GlobalExperimentManager:
    """What a user has: settings, known experiments in Python, and all sets of experiments.

    All of it is in one file, ``experiments.yml`` in ``$TRACK_HOME``, else ``$XMEN``, else ``~/.config/track``. It is
    read here, and written when a ``with`` block ends, or by the methods that change something. Until there is one, what
    ``xmen`` has left in its folder counts, but for accounts.

    Attributes
    ----------
    prompt: bool
        Whether a person may be asked for something, at a terminal.
    save_conda, redirect_stdout, requeue: bool
        Whether an experiment lists its environment in a file, writes what it prints to ``out.txt``, and is put back
        into Slurm's queue when its time is over.
    header: str
        What each ``run.sh`` begins with.
    python_experiments: dict
        Programs of experiments by name; see `add_experiment`.
    python_paths: list
        Folders of their modules.
    experiments: dict
        The known sets by root, each with its ``type``, ``purpose``, ``notes`` and when it was ``created``.
    linked: list
        Folders of experiments without a set.
    meta, host, port
        Kept for old programs, without effect.

    Raises
    ------
    IncompatibleYmlException
        The file is no YAML.

    Examples
    --------
    >>> manager = GlobalExperimentManager()
    >>> manager.find(param_match=["lr <= 0.1", "opt == adam"])["_name"]
    []
    """

    prompt: bool
    save_conda: bool
    redirect_stdout: bool
    requeue: bool
    header: str
    python_experiments: dict[str, str]
    python_paths: list[str]
    experiments: dict[str, dict[str, Any]]
    linked: list[str]
    meta: dict[str, Any]
    host: str | None
    port: int | None

    def __init__(self) -> None:
        self.__dict__.update(copy.deepcopy(settings := home.read()))
        self._before = settings

    @property
    def prompt_for_message(self) -> bool:
        """As `prompt`, which older programs call so."""
        return self.prompt

    def __enter__(self) -> GlobalExperimentManager:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.save()

    def save(self) -> None:
        """Store what was changed here; what others have changed meanwhile stays."""
        with home.changing() as settings:
            for name, before in self._before.items():
                now = getattr(self, name)
                if now != before:
                    settings[name] = _merged(settings[name], before, now)
        self.__dict__.update(copy.deepcopy(settings))
        self._before = settings

    def clean(self) -> None:
        """Forget sets and experiments that no longer exist; no file of theirs is touched.

        A set has ``experiment.yml``, ``defaults.yml`` and ``script.sh``.
        """
        from track.manager.parts import FILES

        for root in list(self.experiments):
            if not all(os.path.isfile(os.path.join(root, name)) for name in FILES):
                del self.experiments[root]
        self.linked = [folder for folder in self.linked if os.path.isfile(os.path.join(folder, "params.yml"))]
        self.save()

    def add_experiment(self, module: str, name: str) -> str:
        """Make a class or function known as an experiment, by its name, and return the path of its program.

        Parameters
        ----------
        module: str
            The module it is in: its name, or the path of its file.
        name: str
            What the module calls it.

        Raises
        ------
        InvalidCall
            There is no such module, or nothing of this name in it (a ValueError too).
        """
        from track.experiment.parts import folder_name
        from track.experiment_utils import get_run_script
        from track.origin import importable_here

        with importable_here():
            _require_there(module, name)
            program = get_run_script(module, name)
        folder = os.path.join(home.folder(), "experiments")
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, folder_name(f"{module}.{name}"))
        replace_file(path, [program.encode()], sync=False)
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
        self.python_experiments[name] = path
        self.save()
        return path

    def program_of(self, name: str) -> str:
        """Return the path of the program of an experiment that `add_experiment` has made known.

        Raises
        ------
        InvalidCall
            None is called so (a ValueError too).
        """
        if name in self.python_experiments:
            return self.python_experiments[name]
        known = list(self.python_experiments)
        way_out = suggestion(name, known) or (f"; there are: {', '.join(known)}" if known else "")
        raise InvalidCall(
            f"no experiment in Python is called {name!r}{way_out}; `track exp python --add MODULE NAME` adds one"
        )

    def remove_experiment(self, name: str) -> None:
        """Forget an experiment that `add_experiment` has made known, with its program.

        Raises
        ------
        InvalidCall
            None is called so (a ValueError too).
        """
        path = self.program_of(name)
        del self.python_experiments[name]
        if os.path.dirname(path) == os.path.join(home.folder(), "experiments") and os.path.exists(path):
            os.unlink(path)
        self.save()

    # questions

    def find(  # noqa: PLR0917 - the published signature
        self,
        mode: str = "all",
        last: Mapping[str, list[Any]] | None = None,
        pattern: str = "*",
        param_match: Iterable[str] | str | None = None,
        types_match: Iterable[str] | None = None,
        load_defaults: bool = False,
        missing_entry: Any = "",
    ) -> Found:
        """Return what is known of experiments, in columns.

        Parameters
        ----------
        mode: str
            ``"all"``: a row an experiment. ``"set"``: a row a set, with its defaults, and the paths of its experiments
            under ``_experiments``.
        last: mapping, optional
            What `find` has returned before: only those are looked at.
        pattern: str
            A glob that the root of the set matches.
        param_match: str or several, optional
            Conditions that must all hold: ``"regex"``, ``"regex op value"`` or ``"value op regex op value"``, where op
            is one of ``<= == >= < > !=``. All parameters whose names begin with a match must satisfy it, and there
            must be one; each of them is a column. A regular expression that begins with ``_`` is about special ones,
            too: ``"_status == finished"``; one that begins with ``messages.`` about what they have said, which is
            a column of that name: ``"messages.accuracy > 0.9"``.
        types_match: several str, optional
            The types of sets that are meant.
        load_defaults: bool
            Whether to take defaults and overrides only, without a look at the experiments.
        missing_entry: object
            What stands where an experiment has no such parameter.

        Returns
        -------
        Found
            ``_root`` (of the set), ``_purpose``, ``_type``, ``_notes``, ``_created`` and ``_meta``; of experiments
            ``_name`` and ``_version``, and without `load_defaults` also ``_status`` and ``_messages``.

        Raises
        ------
        InvalidQuery
            A condition, or `mode`, is none (a ValueError too).
        """
        from track.manager.parts import SPECIAL, SPECIAL_OF_DEFAULTS, SPECIAL_OF_SETS, Conditions

        if mode not in ("all", "set"):
            raise InvalidCall(f"mode is 'all' or 'set', not {mode!r}")
        conditions = Conditions(param_match)
        special = SPECIAL_OF_SETS if mode == "set" else SPECIAL_OF_DEFAULTS if load_defaults else SPECIAL
        kinds = None if types_match is None else [types_match] if isinstance(types_match, str) else list(types_match)
        found = Found(special)
        for one, names in self._sets(pattern, kinds, last):
            with making(len(one.names)):
                if mode == "set":
                    found.add([one.as_row(conditions)], missing_entry)
                elif load_defaults:
                    found.add(one.rows_of_defaults(conditions, names), missing_entry)
                else:
                    found.add(one.rows(conditions, names), missing_entry)
        if mode == "all" and not load_defaults:
            found.add(self._linked(pattern, kinds, last, conditions), missing_entry)
        return found

    def _sets(
        self, pattern: str, kinds: list[str] | None, last: Mapping[str, list[Any]] | None
    ) -> Iterator[tuple[KnownSet, list[str] | None]]:
        """Yield the sets that are meant, and which of their experiments; None for all of them."""
        from track.manager.parts import KnownSet

        wanted = None if last is None else _by_root(last)
        for root, facts in self.experiments.items():
            if not fnmatchcase(root, pattern) or (wanted is not None and root not in wanted):
                continue
            try:
                one = KnownSet(root, facts)
            except OSError:
                # `clean` forgets it.
                continue
            except IncompatibleYmlException as error:
                logger.warning("the set %s is left out: %s", root, error)
                continue
            if kinds is None or one.type in kinds:
                yield one, None if wanted is None else wanted[root]

    def _linked(
        self, pattern: str, kinds: list[str] | None, last: Mapping[str, list[Any]] | None, conditions: Conditions
    ) -> Iterator[Row | None]:
        from track.manager.parts import row_of_folder

        known = set(self.experiments)
        wanted = None if last is None else _by_root(last)
        for folder in self.linked:
            root, name = os.path.split(folder)
            if root in known or not fnmatchcase(folder, pattern):
                continue
            if wanted is not None and name not in (wanted.get(root) or ()):
                continue
            row = row_of_folder(folder, conditions)
            if row is not None and (kinds is None or row.special["_type"] in kinds):
                yield row

    def find_to_dataframe(  # noqa: PLR0917 - the published signature
        self,
        table: Mapping[str, list[Any]],
        verbose: bool = True,
        display_git: bool | str | None = None,
        display_purpose: bool | str | None = None,
        display_date: bool | str | None = None,
        display_messages: bool | str | None = None,
        display_status: bool | str | None = None,
        display_meta: bool | str | None = None,
        display_params: bool | str | None = None,
    ) -> tuple[pd.DataFrame, str]:
        """Return what `find` has found as a data frame, and the folder that the names in it are below.

        Parameters
        ----------
        table: mapping
            What `find` has returned; it stays as it is.
        verbose: bool
            Whether to show everything, whatever the others say.
        display_git, display_purpose, ...: bool or str, optional
            Whether to show it; or a regular expression that the names of what is shown begin with.

        Raises
        ------
        MissingExtra
            pandas is not installed.
        """
        from track.manager.parts import ALL, Shown, columns_of

        try:
            import pandas as pd
        except ImportError as error:
            raise missing_extra("a data frame needs pandas", "pandas") from error
        chosen = (display_date, display_status, display_purpose, display_git, display_messages, display_meta)
        columns, prefix = columns_of(table, ALL if verbose else Shown(*chosen, display_params), float("nan"))
        roots = columns.pop("root")
        if "_name" in table:
            columns["name"] = [f"{root}/{name}" for root, name in zip(roots, columns["name"], strict=True)]
        else:
            columns["name"] = roots
        return pd.DataFrame(columns), prefix


def _require_there(module: str, name: str) -> None:
    """Raise where a module cannot be found, or its text says nothing of the name; nothing of it is run."""
    from track.origin import file_of_module

    file = file_of_module(module)
    if file is None:
        raise InvalidCall(f"there is no module {module!r}: give the path of its file, or put its folder on PYTHONPATH")
    with open_regular(file) as opened:
        text = (opened.readall() or b"").decode("utf-8", "replace")
    if file.endswith(".py") and re.search(rf"\b{re.escape(name.partition('.')[0])}\b", text) is None:
        raise InvalidCall(f"{file} has no {name!r} in it")


def _by_root(last: Mapping[str, list[Any]]) -> dict[str, list[str] | None]:
    """Return what was found before: names of experiments by the root of their set; None where all of a set was."""
    names = last.get("_name")
    if names is None:
        return dict.fromkeys(last["_root"])
    found: dict[str, list[str] | None] = {}
    for root, name in zip(last["_root"], names, strict=True):
        known = found.setdefault(root, [])
        if known is not None:
            known.append(name)
    return found


def _merged(stored: Any, before: Any, now: Any) -> Any:
    """Return a setting as it was changed here; of one that has names, only those that were changed here."""
    if not isinstance(now, dict):
        return now
    kept = {name: value for name, value in stored.items() if name in now or name not in before}
    return kept | {name: value for name, value in now.items() if name not in before or before[name] != value}
