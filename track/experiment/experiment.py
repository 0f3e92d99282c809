"""The class of experiments."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from track.errors import AlreadyExists, AlreadyRegistered, AlreadyRuns, InvalidCall, suggestion
from track.experiment.ending import TimeLimitSignal
from track.experiment.messages import changed_notes, make_offer
from track.experiment.names import folder_name
from track.experiment.params import DEFAULTS, TRIAL, from_content, load_file
from track.experiment.status import DEFAULT, OPEN, RUNNING
from track.parameters import TypedMeta, copied, param
from track.utils.files import absolute_path

if TYPE_CHECKING:
    import argparse

    from typing_extensions import Self

    from track.experiment.folder import Folder
    from track.logger import TrialLogger

logger = logging.getLogger(__name__)


class Experiment(metaclass=TypedMeta):
    """What runs with parameters: extend it, declare parameters as attributes with a comment ``# @p``, write `run`.

    A registered experiment has a folder, whose ``params.yml`` shows it, and a trial in the configured store, like any
    other of ``track``.

    Parameters
    ----------
    root: path, optional
        A folder to register it to at once.
    purpose: str
        What it is for.
    copy_params: bool
        Whether the defaults of parameters are copied deeply, so that no two experiments share a list.
    **kwargs
        Parameters that are other than their defaults.

    Raises
    ------
    InvalidCall
        There is no such parameter (a ValueError too).

    Examples
    --------
    >>> class Greeting(Experiment):
    ...     name: str = param("World", help="whom to greet")
    ...
    ...     def run(self):
    ...         self.message({"text": f"Hello {self.name}!"})
    >>> greeting = Greeting("runs/first", name="you")
    >>> greeting()
    >>> greeting.status, greeting.messages
    ('finished', {'text': 'Hello you!'})
    """

    # All is said by `param`: our own source is not read for comments at each import.
    _described: ClassVar[dict[str, Any]] = {}
    _root: str | None = param(None, help="the folder of the experiment")
    _status: str = param(DEFAULT, help="default, registered, running, finished, error, stopped, timeout, ...")
    _purpose: str = param("", help="what the experiment is for")
    _messages: dict[str, Any] = param({}, help="what it has said so far")
    _version: dict[str, Any] = param({}, help="where its code is, and which commit it is of")
    _meta: dict[str, Any] = param({}, help="the machine it was registered on, or runs on")
    _user: str | None = param(None, help="who registered it")
    _host: str | None = param(None, help="where")
    _notes: list[str] = param([], help="what people have noted")
    _timestamps: dict[str, str | None] = param({}, help="when it was created, registered, started, stopped")

    fn: tuple[str, str] | None = None
    """Module and name of the function that the experiment was made of."""
    # What this process holds of it, which no file says.
    _given: Mapping[str, Any]
    _asked: str | os.PathLike[str] | None
    _folder: Folder | None
    _block: TimeLimitSignal | None
    _unkept: TrialLogger | None
    _is_debug: bool
    _wants_output: bool

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Return an experiment with its defaults, whether or not a subclass calls our ``__init__``."""
        made = super().__new__(cls)
        # The third argument is ours only where ``__init__`` is.
        is_ours = len(args) > 2 and cls.__init__ is Experiment.__init__
        is_copied = kwargs.get("copy_params", args[2] if is_ours else True)
        made.__dict__.update(_given={}, _asked=None, _folder=None, _block=None, _unkept=None)
        made.__dict__.update(_is_debug=False, _wants_output=False)
        for name, parameter in cls._params.items():
            if name.startswith("_"):
                made.__dict__[name] = copy.copy(parameter.default)
            elif name not in cls._init_params or name in cls.__dict__:
                default = getattr(cls, name, parameter.default)
                made.__dict__[name] = copied(default) if is_copied else default
        made.__dict__["_user"], made.__dict__["_host"] = None, None
        return made

    def __init__(
        self, root: str | os.PathLike[str] | None = None, purpose: str = "", copy_params: bool = True, **kwargs: Any
    ) -> None:
        self._purpose = purpose
        self._asked = root
        self._given = kwargs
        Experiment.update(self, kwargs)

    def _settle(self) -> None:
        """Finish what ``__init__`` of subclasses has begun: what was given counts, and what a subclass overrides."""
        cls = type(self)
        for name in cls._overridden:
            if name not in self._given:
                self.__dict__[name] = copied(getattr(cls, name))
        self.__dict__.update(self._given)
        root, self._asked = self._asked, None
        if root is not None:
            Experiment.register(self, root, self._purpose)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in type(self)._params and self._status not in OPEN and not name.startswith("_"):
            raise AlreadyRegistered(f"{name!r} is a parameter, and the experiment is {self._status}: it stays as it is")
        object.__setattr__(self, name, value)

    # what it is

    @property
    def trial(self) -> TrialLogger | None:
        """The trial of the experiment, to log metrics, times and files to; None while it is not registered.

        One that runs without a folder has a trial in memory, gone with the run.
        """
        if self._folder is not None:
            registered: TrialLogger = self._folder.trial
            return registered
        if self._block is not None and self._unkept is None:
            from track.client import TrackClient

            self._unkept = TrackClient("ephemeral:").new_trial(name=type(self).__name__, parameters=self._parameters())
        return self._unkept

    @property
    def root(self) -> str | None:
        """The folder of the experiment; None without one."""
        return self._root

    @property
    def directory(self) -> str | None:
        """The folder of the experiment, as `root`."""
        return self._root

    @property
    def status(self) -> str:
        """``default``, ``registered``, ``running``, ``finished``, ``error``, ``stopped``, ``timeout``, ..."""
        return self._status

    @property
    def purpose(self) -> str:
        """What the experiment is for."""
        return self._purpose

    @property
    def messages(self) -> dict[str, Any]:
        """What the experiment has said, by subject; a copy."""
        return dict(self._messages)

    @property
    def notes(self) -> list[str]:
        """What people have noted; a copy."""
        return list(self._notes)

    @property
    def version(self) -> dict[str, Any]:
        """Where the code is, and which commit it is of; a copy."""
        return copy.deepcopy(self._version)

    @property
    def user(self) -> str | None:
        """Who registered the experiment."""
        return self._user

    @property
    def host(self) -> str | None:
        """Where the experiment was registered."""
        return self._host

    @property
    def created(self) -> str | None:
        """When the parameters were first registered, in local time."""
        return self._timestamps.get("created")

    @property
    def registered(self) -> str | None:
        """When the experiment was registered last, in local time."""
        return self._timestamps.get("registered")

    @property
    def start(self) -> str | None:
        """When it started running last, in local time."""
        return self._timestamps.get("start")

    @property
    def stopped(self) -> str | None:
        """When it stopped last, in local time."""
        return self._timestamps.get("stopped")

    @property
    def last(self) -> str | None:
        """When something of it was last written, in local time."""
        return self._timestamps.get("last")

    @property
    def is_debug(self) -> bool:
        """Whether `debug` was called by the command line."""
        return bool(self._is_debug)

    def get_param_helps(self) -> dict[str, str]:
        """Return the line of help of each parameter, inherited and special ones too."""
        return {name: parameter.line for name, parameter in type(self)._params.items()}

    def __repr__(self) -> str:
        special = {"root": self._root, "status": self._status, "purpose": self._purpose, "notes": self._notes}
        lines = [f"{name}: {value!r}" for name, value in special.items()]
        lines += ["parameters:", *(f"  {name}: {value!r}" for name, value in self._parameters().items())]
        return "\n".join(lines)

    def _parameters(self) -> dict[str, Any]:
        names = (name for name in type(self)._params if not name.startswith("_"))
        return {name: self.__dict__[name] for name in names if name in self.__dict__}

    # what it is given

    def update(self, kwargs: Mapping[str, Any]) -> None:
        """Change parameters.

        Raises
        ------
        InvalidCall
            One of them does not exist (a ValueError too). Nothing is changed.
        AlreadyRegistered
            The parameters stay as they are (a ValueError too).
        """
        known = [name for name in type(self)._params if not name.startswith("_")]
        unknown = [name for name in kwargs if name not in known]
        if unknown:
            hints = suggestion(str(unknown[0]), known)
            raise InvalidCall(
                f"{type(self).__name__} has no parameter {', '.join(map(repr, unknown))}{hints}; it has: "
                f"{', '.join(known) or 'none'}"
            )
        if kwargs and self._status not in OPEN:
            raise AlreadyRegistered(f"the experiment is {self._status}: its parameters stay as they are")
        self.__dict__.update(kwargs)

    def debug(self) -> Self:
        """Change parameters to those of a small example, as ``--debug`` asks; a subclass says which."""
        return self

    def from_yml(self, path: str | os.PathLike[str], copy: bool = False) -> None:
        """Take everything from a ``params.yml``, or a ``defaults.yml``.

        Parameters
        ----------
        path: path
            The name of the file says which it is.
        copy: bool
            Whether to take the parameters only. Otherwise this object becomes the experiment of the file.

        Raises
        ------
        IncompatibleYmlException
            It is no YAML, or more than plain data.
        AlreadyRegistered
            The experiment is registered already (a ValueError too).
        """
        if self._status not in OPEN:
            raise AlreadyRegistered(f"the experiment is {self._status}: it cannot become another one")
        path = absolute_path(os.fspath(path))
        parameters, special, more = from_content(load_file(path), type(self)._params)
        self.__dict__.update({name: value for name, value in parameters.items() if name in self.__dict__})
        if copy:
            return
        is_default = os.path.basename(path) == DEFAULTS
        self.__dict__.update({name: value for name, value in special.items() if name in type(self)._params})
        self._status = DEFAULT if is_default else self._status
        # Where it is now, not where it was when the file was written.
        self._root = None if is_default else os.path.dirname(path)
        if not is_default:
            # What only an experiment with a folder needs is imported with its first one.
            from track.experiment.folder import Folder

            self._folder = Folder(self, os.path.dirname(path), special.get(TRIAL), more)
            if self._folder.is_given:
                self._folder.be_ready()

    # its folder

    def link(self, root: str | os.PathLike[str], name: str | None = None, **kwargs: Any) -> None:
        """Register the experiment to the folder `name` in `root`; see `register`."""
        folder = os.fspath(root) if name is None else os.path.join(root, folder_name(str(name)))
        Experiment.register(self, folder, **kwargs)

    def register(
        self,
        root: str | os.PathLike[str],
        purpose: str = "",
        force: bool = True,
        same_names: int = 100,
        restart: bool = False,
        **_: Any,
    ) -> None:
        """Give the experiment a folder and a trial; its status is ``registered`` then, and its parameters stay.

        Parameters
        ----------
        root: path
            The folder; it is made where there is none.
        purpose: str
            What the experiment is for.
        force: bool
            Whether to take the first free one of ``root_0``, ``root_1``, ... where there is an experiment already.
        same_names: int
            How many of them there may be.
        restart: bool
            Whether to become the experiment that is there, to run it again; its messages and parameters stay.

        Raises
        ------
        AlreadyExists
            There is an experiment already, or so many (a ValueError too).
        AlreadyRegistered
            This one is registered.
        AlreadyRuns
            It should be run again, and is running.
        """
        if _:
            logger.warning("register knows nothing of %s", ", ".join(_))
        if self._status not in OPEN:
            raise AlreadyRegistered(f"the experiment is {self._status} already, in {self._root}")
        from track.experiment.folder import Folder

        root = absolute_path(os.fspath(root))
        numbered = (f"{root}_{number}" for number in range(same_names))
        for path in (root, *(numbered if force and not restart else ())):
            if Folder(self, path).take(purpose, restart):
                return
        tried = f"{root}_0 to {root}_{same_names - 1}, too" if force else "force=True takes another name"
        raise AlreadyExists(f"there is an experiment in {root} already ({tried})")

    def to_defaults(self, defaults_dir: str | os.PathLike[str]) -> None:
        """Write ``defaults.yml``: the parameters as they are, each with its help.

        Raises
        ------
        AlreadyRegistered
            The experiment is registered already (a ValueError too).
        """
        from track.experiment.scripts import write_defaults

        self._require_default()
        write_defaults(self, absolute_path(os.fspath(defaults_dir)))

    to_yaml = to_defaults
    """`to_defaults`, as examples of ``xmen`` call it."""

    def to_root(self, root_dir: str | os.PathLike[str], shell: str = "/bin/bash") -> None:
        """Write what a set of experiments needs: ``defaults.yml``, ``script.sh``, and the program that it runs.

        Parameters
        ----------
        root_dir: path
            The root of the set; it is made where there is none.
        shell: str
            What runs ``script.sh``.

        Raises
        ------
        AlreadyRegistered
            The experiment is registered already (a ValueError too).
        """
        from track.experiment.scripts import write_root

        self._require_default()
        write_root(self, absolute_path(os.fspath(root_dir)), shell)

    def _require_default(self) -> None:
        if self._status not in OPEN:
            raise AlreadyRegistered(f"the experiment is {self._status}: defaults are of one that is not registered")

    # running

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Do what the experiment is for; a subclass says what.

        Raises
        ------
        NotImplementedError
            It does not.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what it does: define run(self)")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the experiment, and return what `run` returns."""
        with self:
            return self.run(*args, **kwargs)

    def __enter__(self) -> Self:
        if self._status == DEFAULT:
            raise InvalidCall("the experiment is not registered: give it a folder with register('runs/first')")
        if self._block is not None:
            raise AlreadyRuns("the experiment is running, in this process")
        self._block = TimeLimitSignal().__enter__()
        try:
            if self._folder is not None:
                self._folder.start(self._wants_output)
        except BaseException:
            self._block.__exit__()
            self._block = None
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> bool | None:
        block, self._block = self._block, None
        if block is not None:
            block.__exit__()
        if self._unkept is not None:
            unkept, self._unkept = self._unkept, None
            unkept.finish(exc_type, exc_val, exc_tb)
        # A child of this process that leaves the block says nothing about the experiment.
        if self._folder is None or self._status != RUNNING or not self._folder.is_own:
            return None
        try:
            return self._folder.stop(exc_type, exc_val, exc_tb)
        except Exception:
            # The program's own exception must not be lost behind one of ours.
            if exc_type is None:
                raise
            logger.exception("the end of the experiment in %s is not recorded", self._root)
            return None

    def stdout_to_txt(self) -> None:
        """Write what is printed to ``out.txt`` in the folder, too, until the experiment ends."""
        if self._folder is not None:
            self._folder.begin_output()

    # what it says

    def note(self, string: str, remove: bool = False) -> None:
        """Leave a note with the experiment, or remove it; it is saved at once.

        Parameters
        ----------
        string: str
        remove: bool
            Whether to remove a note that says this; a warning where there is none.
        """
        if self._folder is not None:
            is_done = self._folder.note(string, remove)
        else:
            self._notes, is_done = changed_notes(self._notes, string, remove)
        if not is_done:
            logger.warning("there is no note %r to remove", string)

    def message(
        self, messages: Mapping[str, Any], keep: str = "latest", leader: str | None = None, *, step: Any = None
    ) -> None:
        """Say something about the experiment, by subject; nothing happens where it is not registered.

        A message stands in ``params.yml``, within a second, and in the trial's metadata; a number is a metric of the
        trial, too.

        Parameters
        ----------
        messages: dict
            Numbers and texts by subject; anything else becomes a number, or a text.
        keep: str
            What is kept where there is a message already: the ``latest``, the ``min``, the ``max``.
        leader: str, optional
            The subject that decides for all of them: they are kept where it is.
        step: optional
            Of the metric that a number is, which then is a curve of what was kept.

        Raises
        ------
        InvalidKeep, InvalidCall
            There is no such rule, or the leader is none of the messages (ValueErrors too).
        """
        offer = make_offer(messages, keep, leader, step)
        if self._folder is not None:
            self._folder.message(offer)
            self._folder.between_messages()

    # its command line

    def parse_args(self, args: Any = None) -> argparse.Namespace:
        """Set the experiment up as the command line says, and return what was said."""
        from track.experiment.cli import parse

        return parse(self, args)

    def main(self, args: Any = None) -> Any:
        """Do what the command line says, and return what the run returns, if there is one.

        Parameters
        ----------
        args: Namespace or list of str, optional
            What `parse_args` returned, which is not read again; or words. By default the program's own.
        """
        from track.experiment.cli import execute, parse

        parsed = args if hasattr(args, "execute") else parse(self, args)
        return execute(self, parsed)
