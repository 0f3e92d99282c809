"""Base of the backends that only listen: another tool's log, with a copy in memory that answers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from track.chrono import Timers
from track.errors import BackendUnavailable
from track.persistence.contract import describe_error, final_status, normal_status, numbers, plain_fields
from track.persistence.protocol import Factory, Protocol
from track.persistence.state import is_end
from track.persistence.utils import mask_secrets
from track.shown import cut
from track.structure import CustomStatus, Project, Status, Trial, TrialGroup

__all__ = ["SinkProtocol"]

logger = logging.getLogger(__name__)


class SinkProtocol(Protocol):
    """Tells another tool what happens in a trial. Extend it and write the six methods that begin with ``run_``.

    What the tool cannot answer is answered by the copy in memory that `track.persistence.get_protocol` adds. What it
    does not take, for whatever reason, is counted, said once, and never stops a training.

    Parameters
    ----------
    uri: str
        Where the tool stores.
    """

    takes_times = True

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._runs: dict[str, Any] = {}
        self._ended: set[str] = set()
        self._set: dict[str, Status | CustomStatus] = {}
        self._opening = threading.Lock()
        self._timers = Timers()
        self._missed = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({cut(repr(mask_secrets(self.uri)), 200)})"

    def identity(self) -> str:
        """Return ``""``: a tool that is told of trials is no store."""
        return ""

    # what a tool has to say

    def run_open(self, trial: Trial) -> Any:
        """Begin a run for a trial, note what the trial says already, and return what the other methods need."""
        raise NotImplementedError

    def run_numbers(self, run: Any, values: dict[str, Any], step: Any) -> None:
        """Note numbers, by name; `step` is None or any value that can be a key."""
        raise NotImplementedError

    def run_facts(self, run: Any, kind: str, values: dict[str, Any]) -> None:
        """Note ``parameters``, ``metadata`` or ``tags``, by name."""
        raise NotImplementedError

    def run_status(self, run: Any, status: Status | CustomStatus, error: str | None) -> None:
        """Note the status."""
        raise NotImplementedError

    def run_flush(self, run: Any) -> None:
        """Return once what was noted is as safe as the tool makes it."""
        raise NotImplementedError

    def run_end(self, run: Any) -> None:
        """End the run; it may be called again."""
        raise NotImplementedError

    # creating

    def new_project(self, project: Project) -> Project:
        """Return the project: the tool notes its name with each trial."""
        return project

    def new_trial_group(self, group: TrialGroup) -> TrialGroup:
        """Return the group: the tool notes its name with each trial."""
        return group

    def new_trial(self, trial: Trial, auto_increment: bool = False) -> Trial | None:
        """Begin a run and return the trial, with the next revision that this process has not used.

        Raises
        ------
        BackendUnavailable
            The tool begins no run: it is away, or refuses this user.
        """
        with self._opening:
            while trial.uid in self._runs:
                if not auto_increment:
                    return None
                trial.revision += 1
            try:
                self._runs[trial.uid] = self.run_open(trial)
            except Exception as error:
                raise BackendUnavailable(f"{self!r} begins no run: {type(error).__name__}: {error}") from error
        return trial

    def add_project_trial(self, project: Project, trial: Trial) -> None:
        """Note the name of the project."""
        self._tell(trial, self.run_facts, "metadata", {"project": project.name or project.uid})

    def add_group_trial(self, group: TrialGroup, trial: Trial) -> None:
        """Note the name of the group."""
        self._tell(trial, self.run_facts, "metadata", {"group": group.name or group.uid})

    # logging

    def log_trial_start(self, trial: Trial) -> None:
        """Note when the trial began."""
        self._set.pop(trial.uid, None)
        self._tell(trial, self.run_facts, "metadata", {"trial_start": time.time()})
        self._tell(trial, self.run_status, Status.Running, None)

    def log_trial_finish(self, trial: Trial, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        """Note when and how the trial ended, and end the run; an end that the program has set stays."""
        status = self._set.get(trial.uid) or final_status(exc_type, exc_val)
        error = None if exc_type is None or status is Status.Completed else describe_error(exc_type, exc_val, exc_tb)
        self._tell(trial, self.run_facts, "metadata", {"trial_end": time.time()})
        self._tell(trial, self.run_status, status, error)
        self._tell(trial, self.run_end)
        self._ended.add(trial.uid)

    def log_trial_chrono_start(
        self,
        trial: Trial,
        name: str,
        aggregator: Factory | None = None,
        start_callback: Callable[[], Any] | None = None,
        end_callback: Callable[[], Any] | None = None,
    ) -> None:
        self._timers.start(trial.uid, name, None, start_callback, end_callback)

    def log_trial_chrono_finish(self, trial: Trial, name: str, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        """Stop the timer and note its seconds as the number ``chrono_<name>``; NotFound when there is none."""
        seconds, _ = self._timers.stop(trial.uid, name, exc_type is not None)
        if seconds is not None:
            self.log_trial_time(trial, name, seconds)

    def log_trial_time(self, trial: Trial, name: str, seconds: float, aggregator: Factory | None = None) -> None:
        self._tell(trial, self.run_numbers, {f"chrono_{name}": seconds}, None)

    def log_trial_arguments(self, trial: Trial, /, **kwargs: Any) -> None:
        self._tell(trial, self.run_facts, "parameters", plain_fields(kwargs))

    def log_trial_metadata(self, trial: Trial, /, aggregator: Factory | None = None, **kwargs: Any) -> None:
        self._tell(trial, self.run_facts, "metadata", plain_fields(kwargs))

    def add_trial_tags(self, trial: Trial, /, **kwargs: Any) -> None:
        self._tell(trial, self.run_facts, "tags", plain_fields(kwargs))

    def log_trial_metrics(
        self, trial: Trial, /, step: Any = None, aggregator: Factory | None = None, **kwargs: Any
    ) -> None:
        """Note numbers; InvalidEvent when a value is none."""
        self._tell(trial, self.run_numbers, numbers(kwargs), step)

    def set_trial_status(self, trial: Trial, status: Any, error: Any = None) -> None:
        """Note the status; InvalidEvent when it is no status."""
        said = normal_status(status)
        if is_end(said):
            self._set[trial.uid] = said
        else:
            self._set.pop(trial.uid, None)
        self._tell(trial, self.run_status, said, None if error is None else str(error))

    # life

    def commit(self, **kwargs: Any) -> None:
        self.flush()

    def flush(self, timeout: float | None = None) -> None:
        for run in self._open_runs():
            self._attempt(self.run_flush, run)

    def close(self) -> None:
        """End every run."""
        for run in self._open_runs():
            self._attempt(self.run_end, run)
        self._ended.update(self._runs)

    def _open_runs(self) -> list[Any]:
        return [run for uid, run in list(self._runs.items()) if uid not in self._ended]

    def unsaved(self) -> int:
        return self._missed

    def _tell(self, trial: Trial, verb: Callable[..., None], /, *args: Any) -> None:
        self._attempt(lambda: verb(self._run(trial), *args))

    def _run(self, trial: Trial) -> Any:
        with self._opening:
            # A trial that another process began goes on in a run of its own.
            if trial.uid not in self._runs:
                self._runs[trial.uid] = self.run_open(trial)
            self._ended.discard(trial.uid)
            return self._runs[trial.uid]

    def _attempt(self, verb: Callable[..., None], *args: Any) -> None:
        try:
            verb(*args)
        except Exception as error:  # noqa: BLE001 - another tool raises classes of its own, and those of its transport
            self._missed += 1
            if self._missed == 1:
                logger.warning("%r does not take something (%s: %s)", self, type(error).__name__, error)
