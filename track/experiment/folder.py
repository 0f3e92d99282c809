"""The folder of one experiment and its trial: how they begin, what is written into them, how they end."""

from __future__ import annotations

import functools
import logging
import os
import platform
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from track.errors import AlreadyRuns, BackendUnavailable
from track.experiment.ending import TimeLimit, put_back_into_queue
from track.experiment.messages import Offer, applied, changed_notes
from track.experiment.params import comments_in, to_content
from track.experiment.paramsfile import ParamsFile
from track.experiment.record import (
    Record,
    as_metadata,
    given_attempt,
    given_uid,
    is_uid,
    messages_in,
    notes_in,
    place_of,
)
from track.experiment.scripts import version_of
from track.experiment.status import OPEN, REGISTERED, RUNNING, WAITING
from track.experiment.times import stamp
from track.experiment_utils import get_meta
from track.front import tell_nothing_is_stored
from track.home import known
from track.parameters import as_data, is_data
from track.utils.environment import find_packages
from track.utils.files import replace_file
from track.utils.lifecycle import watch_forks
from track.utils.machine import identity
from track.yaml12 import Commented, dump

if TYPE_CHECKING:
    from track.experiment.output import OutputFile

logger = logging.getLogger(__name__)
_clock = time.monotonic


class Folder:
    """The folder of an experiment.

    Where the trial is in a store that lasts, it is the truth, and the file shows it. Otherwise the file is the truth,
    which others may write, too: what this process has to say is added to what is there.

    Parameters
    ----------
    experiment: Experiment
        Its special attributes are those that the folder shows.
    path: str
        The absolute path.
    uid: str, optional
        Of the trial, as the file names it.
    more: mapping
        What else the file says, that the experiment does not know: it stays there.
    """

    def __init__(
        self, experiment: Any, path: str, uid: str | None = None, more: Mapping[Any, Any] = MappingProxyType({})
    ) -> None:
        self.path = path
        self.more = Commented(more, comments_in(more))
        self._experiment = experiment
        self._uid = given_uid(path) or (uid if is_uid(uid) else None)
        self._file = ParamsFile(path, self._content)
        self._record: Record | None = None
        self._output: OutputFile | None = None
        self._pid = 0
        self._is_told = False
        self.between_messages: Callable[[], None] = _nothing
        """Called after each message, when nothing is held: a worker interrupts its body there."""
        self.after_fork()
        watch_forks(self)

    def after_fork(self) -> None:
        """Begin with nothing that waits to be written, as in a child, where it is the parent's."""
        self._turn = threading.RLock()
        self._offers: list[Offer] = []
        self._new_notes: list[tuple[str, bool]] = []
        # What was said here while the store is read: it is later than what is read.
        self._recent: dict[str, Any] = {}
        self._file.renew()

    def __getstate__(self) -> dict[str, Any]:
        return {"experiment": self._experiment, "path": self.path, "uid": self._uid, "more": self.more}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @property
    def is_own(self) -> bool:
        """Whether this process runs the experiment; not a child of it."""
        return self._pid == os.getpid()

    @property
    def record(self) -> Record:
        """The trial; of an experiment that was loaded it is looked for at the first use, or made of the file."""
        if self._record is None:
            self._record = Record.find(self._place, self._uid) or self._new_record()
        return self._record

    @property
    def trial(self) -> Any:
        """The logger of the trial, for whoever logs more than messages to it: where nothing is stored, that is said."""
        if not self.record.is_stored and not self._is_told:
            self._is_told = True
            tell_nothing_is_stored()
        return self.record.logger

    @property
    def status(self) -> str:
        """What the status is, as far as is stored."""
        return self.record.status if self.record.is_stored else self._experiment._status

    # beginning

    def take(self, purpose: str, is_restart: bool) -> bool:
        """Register the experiment here, and return whether it was: not where there is one, unless it is run again."""
        os.makedirs(self.path, exist_ok=True)
        # Who has the lock and finds no file has the folder: exactly one of those who ask at once.
        with self._file.lock:
            if not self._file.exists():
                self._begin(purpose)
            elif is_restart:
                self._begin_again()
            else:
                return False
        return True

    def _begin(self, purpose: str) -> None:
        experiment, now = self._experiment, stamp()
        meta = identity()
        before = dict(vars(experiment))
        vars(experiment).update(
            _folder=self, _root=self.path, _status=REGISTERED, _meta=meta, _user=meta["user"], _host=meta["host"],
            _purpose=purpose or experiment._purpose, _version=version_of(type(experiment)),
            _timestamps={"created": now, **experiment._timestamps, "registered": now},
        )  # fmt: skip
        try:
            # The trial first: a folder that is missing can be made again from it.
            self._record = self._new_record()
            self._file.write()
        except BaseException:
            vars(experiment).update(before)
            raise

    def _begin_again(self) -> None:
        experiment, given = self._experiment, overrides(self._experiment)
        before = dict(vars(experiment))
        type(experiment).from_yml(experiment, self._file.path)
        # It holds the lock of the folder.
        self._uid, self.more, experiment._folder = experiment._folder._uid, experiment._folder.more, self
        if self.record.is_stored and self.record.status == RUNNING:
            vars(experiment).update(before)
            raise AlreadyRuns(f"the experiment in {self.path} is running, in another process")
        tell_kept(experiment, given)
        self.set_status(REGISTERED)

    def set_status(self, name: str) -> None:
        """Set the status, of an experiment that does not run."""
        experiment = self._experiment
        experiment._status = name
        if name == REGISTERED:
            experiment._timestamps = {**experiment._timestamps, "registered": stamp()}
        self.record.set_status(name)
        self._file.save()

    @property
    def _place(self) -> Any:
        return place_of(self.path, type(self._experiment).__name__)

    def _new_record(self) -> Record:
        experiment = self._experiment
        metadata = {
            "version": experiment._version, "meta": experiment._meta, "purpose": experiment._purpose,
            "path": self.path, "overrides": overrides(experiment), "notes": list(experiment._notes),
            **as_metadata(experiment._messages),
        }  # fmt: skip
        fields = {
            "name": os.path.basename(self.path),
            "description": experiment._purpose,
            "parameters": {name: as_data(value) for name, value in experiment._parameters().items()},
            "metadata": {name: value for name, value in metadata.items() if value not in ("", [], {}, None)},
        }
        record = Record.create(self._place, self._uid, experiment._status, fields)
        self._uid = record.uid if record.is_stored else self._uid
        return record

    # what the file says

    def _content(self, read: Callable[[], Mapping[str, Any]]) -> Commented:
        """Return what the file is to say, given what reads it as it is."""
        experiment, record = self._experiment, self._record
        if record is not None and record.is_stored:
            self._look(record)
        elif found := read():
            with self._turn:
                self._merge(found)
        if experiment._status == RUNNING:
            experiment._timestamps = {**experiment._timestamps, "last": stamp()}
        return to_content(experiment, self._uid, self.more)

    def _look(self, record: Record) -> None:
        """Take what the store has; while a server is away, what this process knows is shown."""
        with self._turn:
            self._recent.clear()
        try:
            view = record.view()
        except BackendUnavailable as error:
            logger.debug("the store is not read: %s", error)
            return
        # Nobody who says something waits for the store to be read.
        with self._turn:
            seen = {**as_metadata(self._experiment._messages), **view, **self._recent}
            self._experiment._messages, self._experiment._notes = messages_in(seen), notes_in(seen)

    def _merge(self, found: Mapping[str, Any]) -> None:
        """Take what others have written, and add what this process has to say."""
        offers, self._offers = self._offers, []
        notes, self._new_notes = self._new_notes, []
        messages, known = dict(found.get("_messages") or {}), list(found.get("_notes") or [])
        for offer in offers:
            messages |= applied(offer, messages)
        for text, is_removed in notes:
            known = changed_notes(known, text, is_removed)[0]
        self._experiment._messages, self._experiment._notes = messages, known

    def message(self, offer: Offer) -> None:
        """Store what is kept of messages; the file follows."""
        record = self._record or self.record
        with self._turn:
            kept = record.message(offer, self._experiment._messages)
            if not kept:
                return
            self._experiment._messages.update(kept)
            if record.is_stored:
                self._recent.update(as_metadata(kept))
            else:
                offer = offer._replace(values=kept)
                self._offers = [one for one in self._offers if not _is_covered(one, offer)]
                self._offers.append(offer)
        self._file.write_soon()

    def note(self, text: str, is_removed: bool) -> bool:
        """Add a note, or remove it, and return whether that could be done; it is saved at once."""
        record = self.record
        with self._turn:
            if record.is_stored:
                self._experiment._notes, is_done = record.note(text, is_removed, self._experiment._notes)
                self._recent["notes"] = self._experiment._notes
            else:
                self._experiment._notes, is_done = changed_notes(self._experiment._notes, text, is_removed)
                self._new_notes.append((text, is_removed))
        self._file.save()
        return is_done

    # running

    @property
    def is_given(self) -> bool:
        """Whether a worker has reserved the trial for this process, which it has started."""
        return given_attempt(self._uid) is not None

    def hold(self, trial: Any, protocol: Any) -> None:
        """Use a trial that this process has reserved."""
        self._record, self._uid = Record.held(trial, protocol), trial.uid
        self.be_ready()

    def be_ready(self) -> None:
        """Let the experiment be one that can run, whatever a person has left of its file: its trial is reserved."""
        if self._experiment._status in OPEN:
            self._experiment._status = REGISTERED

    def start(self, has_output: bool) -> None:
        """Begin the trial; `has_output`: write what is printed to a file, too."""
        experiment, record = self._experiment, self.record
        self._pid = os.getpid()
        record.start(experiment._status in WAITING)
        experiment._status = RUNNING
        experiment._timestamps = {**experiment._timestamps, "start": stamp()}
        experiment._meta = _machine()
        record.set_facts(meta=experiment._meta, purpose=experiment._purpose)
        used = {name: as_data(value) for name, value in experiment._parameters().items() if is_data(value)}
        if record.set_parameters(used):
            record.set_facts(overrides=overrides(experiment))
        self._file.save()
        if known("save_conda"):
            self._save_environment()
        if has_output:
            self.begin_output()

    def _save_environment(self) -> None:
        """Write which packages are installed, as ``conda env create`` reads it."""
        packages = ["pip", {"pip": find_packages().splitlines()}]
        content = {
            "name": os.environ.get("CONDA_DEFAULT_ENV"),
            "dependencies": [f"python={platform.python_version()}", *packages],
        }
        path = os.path.join(self.path, "environment.yml")
        try:
            replace_file(path, [dump(content).encode()], sync=False, follow=False)
        except OSError as error:
            logger.warning("%s is not written: %s", path, error)

    def begin_output(self) -> None:
        """Write what is printed to a file of the folder, too, until the end."""
        from track.experiment.output import NAME, OutputFile

        if self._output is None:
            self._output = OutputFile(os.path.join(self.path, NAME))

    def stop(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> bool | None:
        """End the trial, well or with an exception, write the file a last time, and return whether that was all."""
        experiment, record = self._experiment, self.record
        self._end_output()
        if isinstance(exc_val, TimeLimit):
            is_waiting = self.is_given or record.is_held or put_back_into_queue()
            record.set_status("requeue" if is_waiting else "timeout")
        is_over: bool | None = record.logger.__exit__(exc_type, exc_val, exc_tb)
        now = stamp()
        experiment._status = record.ended_as(exc_type, exc_val)
        experiment._timestamps = {**experiment._timestamps, "stopped": now, "last": now}
        self._file.finish()
        return is_over

    def _end_output(self) -> None:
        output, self._output = self._output, None
        if output is None:
            return
        output.close()
        if self.record.is_stored and os.path.exists(output.path):
            self.record.logger.log_file(output.path)


def _machine() -> dict[str, Any]:
    """Return what there is to say of this machine, and of the variables of this process as they are now."""
    try:
        folder = os.getcwd()
    except OSError:
        folder = ""
    measured = _measured(os.getpid(), folder, int(_clock()))
    return {**measured, **get_meta(get_slurm=True, get_conda=True, get_environ=True)}


@functools.lru_cache(maxsize=1)
def _measured(pid: int, folder: str, second: int) -> dict[str, Any]:
    # Most of what a short experiment costs: it is measured once for those that begin in one second.
    names = ("platform", "cpu", "memory", "disk", "network", "gpu")
    return get_meta(**{f"get_{name}": True for name in names})


def _nothing() -> None:
    """Do nothing."""


def overrides(experiment: Any) -> dict[str, Any]:
    """Return the parameters that are other than their defaults."""
    known = type(experiment)._params
    values = {name: as_data(value) for name, value in experiment._parameters().items()}
    return {name: value for name, value in values.items() if repr(value) != repr(as_data(known[name].default))}


def tell_kept(experiment: Any, given: Mapping[str, Any]) -> None:
    """Warn where an experiment that was loaded has other parameters than were given before, by `overrides`."""
    known = experiment._parameters()
    differing = [name for name, value in given.items() if repr(as_data(known[name])) != repr(value)]
    if differing:
        logger.warning("the experiment keeps its own parameters; these were asked for: %s", ", ".join(differing))


def _is_covered(old: Offer, new: Offer) -> bool:
    """Return whether an offer that was kept need not be made again, as a later one of its kind was kept."""
    return old.keep == new.keep and old.leader == new.leader and old.values.keys() <= new.values.keys()
