"""What the callbacks of all frameworks do alike: which trial they write to, who ends it and how, and never raising."""

from __future__ import annotations

import functools
import logging
import os
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from track.client import TrackClient
from track.errors import InvalidCall, Pruned, TrialDoesNotExist
from track.front import ProgramEnd, as_dict, check_fields, innermost_block, pickled_uri, with_password
from track.logger import TrialLogger
from track.monitor import Hook, Monitor
from track.plain import flatten, to_number
from track.structure import Trial

logger = logging.getLogger("track.integrations")
Method = TypeVar("Method", bound=Callable[..., Any])


_open: weakref.WeakValueDictionary[tuple[str, str], Recording] = weakref.WeakValueDictionary()
"""By store and uid of the trial, what was begun here and has not ended."""


class LoopLeft(RuntimeError):
    """The framework has begun its loop and never said how it ended: an exception left it that the program handled."""

    def __init__(self, text: str = "the training was left by an exception, which the program has handled") -> None:
        super().__init__(text)


def safely(method: Method) -> Method:
    """Let a method of a callback never raise into the framework: what fails in it is a warning, once for each method.

    `Pruned` goes through, which is raised on purpose, and ends the trial: many frameworks do not say what left them.
    """

    @functools.wraps(method)
    def guarded(self: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return method(self, *arguments, **named)
        except Pruned as error:
            self._recording.end(error)
            raise
        except Exception as error:
            told = vars(self).setdefault("_track_told", set())
            if method.__name__ not in told:
                told.add(method.__name__)
                text = "%s.%s is not recorded, and the training goes on: %s"
                logger.warning(text, type(self).__name__, method.__name__, error, exc_info=True)
            return None

    return guarded  # type: ignore[return-value]


def numbers(values: Mapping[str, Any]) -> dict[str, int | float]:
    """Return what of a framework's values is a number, by name; tensors and arrays of one element are numbers too."""
    found = {}
    for name, value in values.items():
        kind = type(value)
        if type(name) is not str or (kind is not float and kind is not int):
            return _converted(values)
        # Most frameworks say nothing else: each call more is felt between two steps, where caches are cold.
        found[name] = value
    return found


def _converted(values: Mapping[str, Any]) -> dict[str, int | float]:
    """Return what of values of any kind is a number."""
    found = {}
    for name, value in flatten(dict(values)).items():
        number = to_number(value)
        if number is None and _size(value) == 1:
            number = to_number(value.reshape(()) if hasattr(value, "reshape") else value)
        if number is not None:
            found[str(name)] = number
    return found


def _size(value: Any) -> int | None:
    """Return how many elements an array or tensor has; None for what is neither."""
    shape = getattr(value, "shape", None)
    if shape is None:
        return None
    size = 1
    for length in tuple(shape):
        size *= length
    return size


class Recording:
    """The trial that a callback writes to, and whether it is the callback's own.

    It is the one that is given; else the one whose ``with`` block the program is in when the loop begins; else one that
    is made then, and ended when the loop ends. The others are ended by who began them.

    Parameters
    ----------
    trial: TrialLogger, optional
        The trial to write to.
    client: TrackClient, optional
        In whose store, project and group a trial is made; by default the store that is configured.
    key: str, optional
        Of the trial, as for `TrackClient.open_trial`: after a crash it goes on, and all ranks of a job share it.
    fields: mapping
        Fields of the trial that is made: ``name``, ``tags``, ...
    hooks: iterable of Hook
        Of `track.monitor`: they are called with what is logged, and count as the framework does.

    Raises
    ------
    InvalidCall
        A field does not exist, or what is given is no trial, no client, no hook.
    """

    def __init__(
        self,
        trial: TrialLogger | None = None,
        client: TrackClient | None = None,
        key: str | None = None,
        fields: Mapping[str, Any] | None = None,
        hooks: Iterable[Hook] = (),
    ) -> None:
        if trial is not None and not isinstance(trial, TrialLogger):
            raise InvalidCall(f"trial is what client.new_trial() returns, not {type(trial).__name__}")
        if client is not None and not isinstance(client, TrackClient):
            raise InvalidCall(f"client is a TrackClient, not {type(client).__name__}: TrackClient('file:runs.json')")
        check_fields(Trial, fields or {})
        self._given, self._client, self._key, self._fields = trial, client, key, dict(fields or {})
        self._hooks = tuple(hooks)
        for hook in self._hooks:
            if not isinstance(hook, Hook):
                raise InvalidCall(f"hooks are those of track.monitor, not {type(hook).__name__}")
        self._monitor: Monitor | None = None
        self._place: tuple[str, Any, Any] | None = None
        self.trial: TrialLogger | None = None
        self.is_own = False
        self._watch: _LoopEnd | None = None
        self._handled: BaseException | None = None

    # in other places

    def __deepcopy__(self, memo: dict[int, Any]) -> Recording:
        """Return itself while a loop runs; before that a copy, whose loop has a trial of its own."""
        return self if self.is_open else Recording(self._given, self._client, self._key, self._fields, self._hooks)

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs: who began a trial ends it, so that there it is no longer its own."""
        state = {**vars(self), "_client": None, "_watch": None, "_monitor": None, "_handled": None, "is_own": False}
        if self._client is not None:
            project, group = self._client.project, self._client.group
            place = (pickled_uri(self._client.protocol), project and project.name, group and group.name)
            state["_place"] = place
        return state

    def client(self) -> TrackClient:
        """Return the client that makes trials."""
        if self._client is None and self._place is not None:
            uri, project, group = self._place
            self._client = TrackClient(with_password(uri))
            if project is not None:
                self._client.set_project(name=project)
            if group is not None:
                self._client.set_group(name=group)
        if self._client is None:
            self._client = TrackClient()
        return self._client

    # the life of a loop

    @property
    def is_open(self) -> bool:
        """Whether there is a trial that has not ended."""
        return self.trial is not None and not self.trial.has_finished

    def begin(
        self,
        parameters: Any = None,
        uid: str | None = None,
        step: float | None = None,
        end: Callable[[], BaseException | None] | None = None,
        goes_on: bool = False,
    ) -> TrialLogger:
        """Return the trial, begun; a loop that begins again, as after `fit` was called twice, goes on with it.

        Parameters
        ----------
        parameters: mapping or object with fields
            Of the loop; a trial that is there keeps those it has, and gets the others.
        uid, step: optional
            Of the trial that the checkpoint belongs to which the loop goes on from, and after which step.
        end: callable, optional
            How the loop ended where the framework did not say so: an error, or None where it ended well.
        goes_on: bool
            Whether its own trial, once it has ended, goes on, and no other one is begun.
        """
        if self.trial is not None and self.is_open and parameters is None:
            return self.trial
        parameters = as_dict(parameters)
        if self.is_open:
            assert self.trial is not None
            self._add_parameters(parameters)
            return self.trial
        given = self._given if self._given is not None else innermost_block()
        self.is_own, self._handled = given is None, sys.exc_info()[1]
        if given is not None:
            self.trial = trial = given
        elif not (goes_on and self.trial is not None and uid in {None, self.trial._created().uid}):
            self.trial = trial = self._made(parameters, uid)
        else:
            trial = self.trial
        if trial.is_pending:
            trial.log_arguments(parameters)
        if self.is_own:
            self.trial = trial = self._taken_over(trial)
            _open[_place_of(trial)] = self
        trial.start()
        if self.is_own:
            # The newest is told first of the end of the process.
            self._watch = _LoopEnd(self, end)
        if uid is not None and step is not None and trial._created().uid == uid:
            trial.resume_from(step)
        self._add_parameters(parameters)
        self._monitor = Monitor(hooks=self._hooks, trial=trial) if self._hooks else None
        return trial

    def _taken_over(self, trial: TrialLogger) -> TrialLogger:
        """Return the logger of another loop of this process that was left in this trial, and take it from it."""
        other = _open.pop(_place_of(trial), None)
        if other is None or other is self or other.trial is None or other.trial.has_finished:
            return trial
        other._leave()
        return other.trial

    def _made(self, parameters: Mapping[str, Any] | None, uid: str | None) -> TrialLogger:
        client = self.client()
        if uid is not None:
            try:
                return client.set_trial(uid=uid, force=True)
            except TrialDoesNotExist:
                logger.warning("the checkpoint is of trial %r, which is not stored here: another one is begun", uid)
        if self._key is not None:
            return client.open_trial(self._key, **self._fields)
        return self.new_trial(parameters)

    def new_trial(self, parameters: Mapping[str, Any] | None) -> TrialLogger:
        """Return another trial, with the fields that were given."""
        return self.client().new_trial(force=True, **{"parameters": dict(parameters or {}), **self._fields})

    def _add_parameters(self, parameters: Mapping[str, Any] | None) -> None:
        """Give the trial the parameters that it does not have."""
        assert self.trial is not None
        stored = self.trial._created()
        missing = {name: value for name, value in (parameters or {}).items() if name not in stored.parameters}
        if missing:
            self.trial.protocol.log_trial_arguments(stored, **missing)

    def log(self, values: Mapping[str, Any], step: Any = None, done: Mapping[str, int] | None = None) -> None:
        """Record what of the values is a number, by whatever name, where a loop has begun.

        Parameters
        ----------
        values, step
            What is recorded, and where.
        done: mapping, optional
            How many steps, epochs, ... are done, for hooks.
        """
        trial, found = self.trial, numbers(values)
        if not found or trial is None:
            return
        if not trial.has_started:
            trial.start()
        # Not `log_metrics`, whose own arguments are no names there: programs do log a number that is called "step".
        trial._log_numbers(step, None, found)
        if self._monitor is not None and done is not None:
            self._monitor.report(found, **done)

    def end_left(self) -> None:
        """End its own trial of the loop before this one, of whose end the framework has said nothing."""
        if self._watch is not None and self.is_open:
            self.end(self._watch.outcome())

    def left_by(self) -> BaseException | None:
        """Return the exception that is leaving the loop: not one that was handled when it began."""
        error = sys.exc_info()[1]
        return None if error is self._handled else error

    def keep(self, path: str | os.PathLike[str], kind: str) -> None:
        """Keep a checkpoint, a file or a folder, with the trial: as ``checkpoint-best`` or ``checkpoint-last``."""
        if self.trial is not None and os.path.exists(path):
            self.trial.log_artifact(path, name=f"checkpoint-{kind}")

    def at_end(self, say: Callable[[], Any]) -> None:
        """Call something when the trial ends well, whoever ends it: of what the framework says only then, or never."""
        if self.trial is not None:
            self.trial._last_words.append(say)

    def note(self, **facts: Any) -> None:
        """Record facts that are no parameters."""
        if self.trial is not None:
            self.trial.log_metadata(None, **facts)

    def resume(self, step: float) -> None:
        """Take note that the loop begins with a step that is not the first: a trial that goes on does so from there."""
        if self.trial is not None and self.is_own and self._key is not None:
            self.trial.resume_from(step)

    def end(self, error: BaseException | None = None) -> None:
        """End the trial, where it is its own: well, or as the error says."""
        is_own, trial = self.is_own, self.trial
        self._leave()
        if trial is None or not is_own:
            return
        if error is None:
            # What is being handled around the loop is no business of it.
            trial._finish(None, None, None)
        else:
            trial.finish(type(error), error, error.__traceback__)

    def _leave(self) -> None:
        """Have nothing to do with the end of the trial any more."""
        self.is_own, self._handled = False, None
        if self._watch is not None:
            self._watch.close()
            self._watch = None


def _place_of(trial: TrialLogger) -> tuple[str, str]:
    """Return the store of a trial and its uid, which trials of the same key have alike in every store."""
    try:
        store = pickled_uri(trial.protocol)
    except InvalidCall:
        store = f"memory {id(trial.protocol)}"
    return store, trial._created().uid


class Recorded:
    """What has a recording."""

    _recording: Recording

    @property
    def trial(self) -> TrialLogger | None:
        """The trial; None before the training has begun."""
        return self._recording.trial


def checked_freq(freq: int | None) -> int | None:
    """Return every how many batches something is recorded; InvalidCall where that is no number of them."""
    if freq is not None and (not isinstance(freq, int) or freq < 1):
        raise InvalidCall(f"freq is a number of batches, from 1 on, not {freq!r}")
    return freq


def checked_checkpoints(kind: Any, kinds: Sequence[Any] = ("best", "last")) -> Any:
    """Return which checkpoints are kept; InvalidCall where there is no such kind."""
    if kind is not None and kind not in kinds:
        raise InvalidCall(f"checkpoints is one of {', '.join(map(repr, kinds))}, not {kind!r}")
    return kind


class _LoopEnd(ProgramEnd):
    """Ends a trial when the process ends, where the framework did not: before what ends trials that are just there."""

    def __init__(self, recording: Recording, end: Callable[[], BaseException | None] | None) -> None:
        self._recording, self._end = recording, end
        super().__init__()

    def atexit(self) -> None:
        """Say how the loop ended, unless the process ends for an error, which is the end of the trial then."""
        if not self._recording.is_open:
            return
        error = self.error()
        if error is None:
            self._recording.end(self.outcome())
        elif isinstance(error, SystemExit) and error.__context__ is not None:
            # Who starts children for a framework exits with a code in them, for what left the training.
            self._recording.end(error.__context__)

    def outcome(self) -> BaseException | None:
        """Return the error by which the loop ended; None for none."""
        if self._end is not None:
            return self._end()
        return LoopLeft()
