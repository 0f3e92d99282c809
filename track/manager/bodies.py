"""The body of one trial, in a child process or in this one, and how it has ended."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NoReturn

from track.errors import AlreadyExists, IncompatibleYmlException, InvalidCall, TrackError
from track.experiment import Experiment
from track.experiment.parts import (
    ATTEMPT_VARIABLE,
    FOLDER_VARIABLE,
    NAME,
    RUNNING,
    TRIAL_VARIABLE,
    TimeLimit,
    status_of,
)
from track.manager.child import Child
from track.manager.interrupting import Interruption, Lost, run_body
from track.manager.notice import Heartbeats, Notice
from track.manager.queue import Queue
from track.manager.registering import Asked, folder_of
from track.manager.sets import SCRIPT, ExperimentSet
from track.manager.showing import show_status
from track.persistence.state import identity_of
from track.shown import label_of
from track.structure import Status, Trial
from track.utils.files import open_regular
from track.utils.system import process_identity

logger = logging.getLogger(__name__)
_RUNNING = Status.Running.name


class Unusable(Exception):
    """A trial cannot run in what is in the place of its folder, or its file.

    Parameters
    ----------
    reason: Exception
    """

    def __init__(self, reason: Exception) -> None:
        super().__init__(reason)
        self.reason = reason


class BodyDied(RuntimeError):
    """The process of a trial has ended without saying how."""


class Bodies:
    """Runs the bodies of a set's trials.

    Parameters
    ----------
    experiments: ExperimentSet
    queue: Queue
    notice: Notice
    """

    def __init__(self, experiments: ExperimentSet, queue: Queue, notice: Notice) -> None:
        self._set, self._root = experiments, experiments.root
        self._queue = queue
        self._notice = notice
        queue.ended = lambda trial: self._show(trial, self.folder(trial))
        self._beats = Heartbeats()

    def close(self) -> None:
        """Run no more."""
        self._beats.end()

    def _heartbeats(self, trial: Trial, lost: Callable[[], None]) -> AbstractContextManager[None]:
        return self._beats.of(lambda: self._queue.is_ours(trial), lost)

    def folder(self, trial: Trial) -> str:
        """Return the folder of a trial, which is made from the record where it is missing, as is the program."""
        if not os.path.exists(self._set.path(SCRIPT)):
            Experiment.to_root(class_of(trial)(), self._root)
        try:
            return folder_of(self._set, trial)
        except AlreadyExists as error:
            raise Unusable(error) from error

    def run(self, trial: Trial, is_apart: bool) -> bool | None:
        """Run a body, apart or here, and return whether it has ended well; None where the trial is not ours any more.

        One that cannot even begin, for what is in its place, has failed: it must not be in the way of all others.
        """
        try:
            return self._run_apart(trial) if is_apart else self._run_here(trial)
        except Unusable as error:
            logger.warning("trial %r: %s", label_of(trial), error.reason)
            self._queue.end(trial, Status.Exception, error.reason)
            return False

    # in a child

    def _run_apart(self, trial: Trial) -> bool | None:
        path = self.folder(trial)
        script = self._set.path(SCRIPT)
        variables = {
            "TRACK_LOG_BACKEND_NAME": self._queue.uri,
            TRIAL_VARIABLE: trial.uid,
            ATTEMPT_VARIABLE: str(trial.attempt),
            FOLDER_VARIABLE: path,
        }
        shell = str(trial.metadata.get("shell") or Asked.shell)
        child = Child([script, os.path.join(path, NAME)], variables, shell)
        with self._notice.passing(child.tell), self._heartbeats(trial, lambda: child.tell(signal.SIGINT)):
            code = child.wait()
        return self._close(trial, path, code)

    def _close(self, trial: Trial, path: str, code: int) -> bool | None:
        """Say how a trial has ended whose process is gone, as far as it has not said so itself."""
        stored = self._queue.stored(trial)
        if stored is None or stored.attempt > trial.attempt:
            self._tell_lost(trial)
            return None
        own = identity_of(process_identity())
        said = [one["status"][0] for one in stored.processes if identity_of(one) != own]
        is_silent = _RUNNING in said or not (said or stored.is_set)
        if self._notice.is_told and not (code == 0 and Status.Completed.name in said):
            self._queue.give_back(trial)
            self._show(trial, path)
            return None
        if is_silent and (code or _RUNNING in said):
            error = BodyDied(_how(code))
            logger.warning("trial %r: %s", label_of(trial), error)
            self._queue.end(trial, Status.Exception, error)
        else:
            self._queue.end(trial)
        if is_silent or _shows_running(path):
            self._show(trial, path)
        return not is_silent and Status.Exception.name not in said if said else code == 0

    def _show(self, trial: Trial, path: str) -> None:
        """Write how a trial has ended into its folder, where its body has not."""
        show_status(self._queue.protocol, trial, path)

    def _tell_lost(self, trial: Trial) -> None:
        self._queue.forget()
        text = "trial %r was taken by another worker: what was said of it since is not stored"
        logger.warning(text, label_of(trial))

    # in this process

    def _run_here(self, trial: Trial) -> bool | None:
        experiment = load(trial, os.path.join(self.folder(trial), NAME))
        experiment._folder.hold(trial, self._queue.protocol)

        interruption = Interruption()
        experiment._folder.between_messages = interruption.check

        def give_back() -> NoReturn:
            # Now: whoever sends the signal may not wait for the end of the body.
            self._queue.protocol.set_trial_status(trial, status_of("requeue"))
            raise TimeLimit("the worker is to end")

        def hear(signum: int, frame: Any) -> None:
            if not experiment.trial.has_finished:
                interruption.call(give_back, signum, frame)

        try:
            with self._heartbeats(trial, interruption.lose), self._notice.passing(hear):
                _run_in_one_process(experiment, interruption)
        except Lost:
            self._tell_lost(trial)
            return None
        except TimeLimit:
            if not self._notice.is_told:
                raise
            self._queue.settle()
            self._queue.tell_given_back(trial)
            return None
        except Exception as error:  # noqa: BLE001 - the trial says it, too; the next one may be fine
            logger.warning("trial %r: %s: %s", label_of(trial), type(error).__name__, error)
            if experiment.trial.has_finished:
                self._queue.settle()
            else:
                # It has not come so far as to begin.
                self._queue.end(trial, Status.Exception, error)
            return False
        except SystemExit as left:
            self._queue.settle()
            return not left.code
        self._queue.settle()
        return True


def _run_in_one_process(experiment: Any, interruption: Interruption) -> None:
    pid = os.getpid()
    try:
        run_body(experiment)
    finally:
        interruption.is_over = True
        if os.getpid() != pid:
            _leave(sys.exc_info()[1])


def _leave(error: BaseException | None) -> None:
    """End a process that was forked in a body and has come out of it: it is no worker, and no caller of one."""
    code = error.code if isinstance(error, SystemExit) else error and 1
    if error is not None and not isinstance(error, SystemExit):
        traceback.print_exception(error)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def _shows_running(folder: str) -> bool:
    """Return whether a body that has ended could not write so, on a disk that was full perhaps."""
    try:
        with open_regular(os.path.join(folder, NAME)) as file:
            return f"\n_status: {RUNNING}\n".encode() in (file.readall() or b"")
    except (OSError, TrackError):
        return False


def _how(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        return f"its process was killed by {name}{' (for want of memory?)' if -code == signal.SIGKILL else ''}"
    return f"its process has ended with {code} in the middle of its body" if not code else f"it has ended with {code}"


def load(trial: Trial, path: str) -> Any:
    """Return the experiment of a ``params.yml``, of the class that its trial was registered with."""
    experiment = class_of(trial)()
    try:
        type(experiment).from_yml(experiment, path)
    except (IncompatibleYmlException, IsADirectoryError) as error:
        raise Unusable(error) from error
    return experiment


def class_of(trial: Trial) -> Any:
    """Return the class of a trial's experiment; InvalidCall where it is a script."""
    version = trial.metadata.get("version") or {}
    module, name = version.get("module"), version.get("class") or version.get("function")
    if not module or not name:
        raise InvalidCall(f"{label_of(trial)!r} is no Python experiment: it can only run in a process of its own")
    found: Any = _imported(module, version.get("path"))
    for part in name.split("."):
        found = getattr(found, part)
    if isinstance(found, type) and issubclass(found, Experiment):
        return found
    from track.functional import functional_experiment

    return functional_experiment(found)


def _imported(module: str, file: str | None) -> Any:
    main = sys.modules["__main__"]
    if file is not None and getattr(main, "__file__", None) and os.path.abspath(str(main.__file__)) == file:
        return main
    if module not in sys.modules and file is not None:
        levels = module.count(".") + (os.path.basename(file) == "__init__.py") + 1
        folder = file
        for _ in range(levels):
            folder = os.path.dirname(folder)
        if folder not in sys.path:
            sys.path.insert(0, folder)
    return importlib.import_module(module)
