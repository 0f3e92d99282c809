"""Starting what runs: a command or a job for each experiment of a set, or workers on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

from track.errors import InvalidCall, ItemNotFound, TrackError
from track.experiment.parts import REGISTERED, status_of
from track.manager.child import own_environment
from track.manager.folders import RUN_FILE
from track.manager.members import matching
from track.manager.notice import Notice
from track.manager.registering import folder_of, name_of_folder
from track.manager.sets import ExperimentSet
from track.manager.showing import show_status
from track.persistence.protocol import Protocol
from track.structure import Status, Trial
from track.utils.files import absolute_path

SUBMITTED = "submitted"
_SBATCH = "sbatch"
_QUEUES = frozenset({_SBATCH, "qsub", "bsub", "oarsub", "condor_submit", "at", "batch", "screen", "tmux"})
"""Commands that return before what they start has ended."""
_DETACHING = frozenset({"-d", "-dm", "-dmS", "--detach"})
_BY_SIGNAL = 128
_LAST_SIGNAL = 64


def run(manager: Any, pattern: str, *flags: str, parallel: int = 1) -> list[int]:
    """Start a command for each experiment of a set that matches and is registered; see `ExperimentManager.run`.

    `manager`: its ``root`` and its ``experiments`` are used.
    """
    if parallel < 1:
        raise InvalidCall(f"parallel is how many run at the same time, not {parallel}")
    experiments = ExperimentSet(manager.root)
    names = [os.path.basename(path) for path in manager.experiments]
    launcher = _Launcher(experiments, tuple(map(str, flags)))
    try:
        return launcher.run_all(matching(pattern, names), parallel)
    finally:
        experiments.close()


class _Launcher:
    def __init__(self, experiments: ExperimentSet, flags: Sequence[str]) -> None:
        self._set = experiments
        self._flags = flags
        self._protocol: Protocol
        self._protocol, _, self._group = experiments.store()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._is_over = False

    def run_all(self, names: Sequence[str], parallel: int) -> list[int]:
        """Start a command for each that is registered, and return their exit codes."""
        waiting = [("group_id", self._group.uid), ("status", REGISTERED)]
        known = {name_of_folder(trial): trial for trial in self._protocol.fetch_trials(waiting)}
        trials = [known[name] for name in names if name in known]
        with ThreadPoolExecutor(parallel, "track-run") as pool:
            try:
                # Not before the last has ended: they are given to threads, one after the other.
                return [code for code in pool.map(self._run, trials) if code is not None]
            except BaseException:
                self._is_over = True
                for process in list(self._running):
                    _terminate(process)
                raise

    def _run(self, trial: Trial) -> int | None:
        """Start the command for one, if nobody else has, and return its exit code."""
        if self._is_over:
            return None
        try:
            expected = {"uid": trial.uid, "status": REGISTERED}
            self._protocol.fetch_and_update_trial(expected, "set_trial_status", status_of(SUBMITTED))
        except ItemNotFound:
            return None
        folder = folder_of(self._set, trial)
        show_status(self._protocol, trial, folder)
        try:
            code = self._call(folder)
        except OSError as error:
            self._set_status(trial, folder, status_of(REGISTERED))
            raise InvalidCall(f"{self._flags[0] if self._flags else RUN_FILE} cannot be started: {error}") from error
        self._close(trial, folder, code)
        return code

    def _call(self, folder: str) -> int:
        # At a terminal Ctrl-C reaches all that a command has started; elsewhere that is a session of its own.
        command = [*self._command(folder), os.path.join(folder, RUN_FILE)]
        with subprocess.Popen(command, env=own_environment(), start_new_session=not _is_at_terminal()) as process:
            self._running.add(process)
            try:
                return process.wait()
            finally:
                self._running.discard(process)

    def _command(self, folder: str) -> list[str]:
        flags = list(self._flags)
        if flags and os.path.basename(flags[0]) == _SBATCH:
            more = []
            if not any(flag.startswith(("--job-name", "-J")) for flag in flags):
                more.append(f"--job-name={os.path.basename(folder)}")
            if not any(flag.startswith(("--output", "-o")) for flag in flags):
                more.append(f"--output={os.path.join(folder, 'slurm.out')}")
            flags[1:1] = more
        return flags

    def _close(self, trial: Trial, folder: str, code: int) -> None:
        """Say how an experiment has ended that has not said so itself, by the exit code."""
        stored = self._protocol.first_trial({"uid": trial.uid})
        status = None if stored is None else stored.status
        if status == status_of(SUBMITTED):
            is_queue = bool(self._flags) and (
                os.path.basename(self._flags[0]) in _QUEUES or not _DETACHING.isdisjoint(self._flags)
            )
            if code == 0 and (is_queue or trial.metadata.get("version", {}).get("module")):
                # Its job says so.
                return
            if is_queue:
                self._set_status(trial, folder, status_of(REGISTERED))
                return
        elif status is not Status.Broken:
            return
        self._set_status(trial, folder, _status_by(code), f"it has ended with {code}" if code else None)

    def _set_status(self, trial: Trial, folder: str, status: Any, error: str | None = None) -> None:
        self._protocol.set_trial_status(trial, status, error)
        self._protocol.flush()
        show_status(self._protocol, trial, folder)


def _is_at_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _terminate(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        if _is_at_terminal():
            process.terminate()
        else:
            os.killpg(process.pid, signal.SIGTERM)


def _status_by(code: int) -> Status:
    if code == 0:
        return Status.Completed
    is_signal = code < 0 or _BY_SIGNAL < code <= _BY_SIGNAL + _LAST_SIGNAL
    return Status.Interrupted if is_signal else Status.Exception


# workers on this machine

_WORKER = """
import json, logging, os, sys
logging.basicConfig(format="%(message)s")
sys.path.insert(0, os.getcwd())
from track.manager import work
done = work(sys.argv[2], **json.loads(sys.argv[3]))
os.write(int(sys.argv[1]), f"{done}\\n".encode())
"""


def work_in_processes(root: str | os.PathLike[str], processes: int | Sequence[int], **options: Any) -> int:
    """Run `work` in several processes of this machine, and return how many experiments ran in all of them.

    Parameters
    ----------
    root: path
        The folder of the set.
    processes: int or list of int
        How many; or the number of the GPU that each sees.
    **options
        Those of `work`.

    Raises
    ------
    TrackError
        None of them ended well.
    """
    gpus = [None] * processes if isinstance(processes, int) else list(processes)
    if not gpus:
        raise InvalidCall("there is nobody to work: processes is how many, at least 1")
    reader, writer = os.pipe()
    arguments = [str(writer), absolute_path(os.fspath(root)), json.dumps(options)]
    with ExitStack() as started, Notice() as notice:
        workers = [
            started.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", _WORKER, *arguments],
                    env={**os.environ, **({} if gpu is None else {"CUDA_VISIBLE_DEVICES": str(gpu)})},
                    pass_fds=(writer,),
                    start_new_session=True,
                )
            )
            for gpu in gpus
        ]
        os.close(writer)

        def end(signum: int, frame: Any) -> None:
            for worker in workers:
                worker.terminate()

        with notice.passing(end):
            codes = [worker.wait() for worker in workers]
        with os.fdopen(reader) as lines:
            done = [int(line) for line in lines]
        notice.pass_on()
    if not done and any(codes):
        raise TrackError(f"none of {len(codes)} workers has ended well: they have said why")
    return sum(done)
