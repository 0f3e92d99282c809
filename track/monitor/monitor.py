"""Loops that are counted and timed, and what is done at every so many of their bodies."""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from time import perf_counter
from types import CodeType, FrameType
from typing import Any, Generic, TypeVar

from track.errors import InvalidCall
from track.front import innermost_block
from track.monitor.hooks import Hook, Logger, Metrics, Probe, Timer, XmenMessenger, formatted, numbers_in, write_line
from track.monitor.loops import Loops, fraction_done, totals
from track.monitor.spec import SHORT, TRIGGERS, Spec, level_of
from track.monitor.unmatched import Unmatched
from track.monitor.variables import frame_of, tell_nothing_found, with_variables

Item = TypeVar("Item")
_NEVER = float("inf")


class Monitor:
    """Counts and times loops, and looks at the variables of the program every so many bodies.

    ``for batch in m(loader)``: the innermost loop counts steps, the next one epochs, then eras, eons, supereons. An
    option is one text or several; those that go with it are one value for all, or as many.

    Parameters
    ----------
    hooks: list of Hook
        What else is done.
    log, log_fn, log_format: optional
        What is printed, as in ``^loss$@100s``, what is done to a value before, and how it is written (``.3f``). Numbers
        are metrics of the trial, too.
    time: str, optional
        When times are printed, as in ``@100s``.
    msg, msg_keep, msg_leader, msg_expand, msg_prep: optional
        What is sent to experiments, as in ``^loss$->^ex$@100s``: see `XmenMessenger`.
    probe: str, optional
        When the use of the machine is printed, and sent to which experiments: ``ex@100s``.
    limit: str, optional
        After how many all loops end: ``@1000s``.
    metrics, metrics_by: optional
        Which numbers are logged to the trial, and by which count; nothing is printed.
    trial: TrialLogger or TrackClient, optional
        Where metrics are logged; by default the trial whose block the program is in, or the monitor was made in.
    source: callable, optional
        Returns the variables by name, where they are not those of the function with the loop.
    all_ranks: bool
        Whether all processes of a distributed job print, log and save, and not only the one of rank 0.

    Examples
    --------
    >>> m = Monitor(log="^total$@1e")
    >>> total = 0
    >>> for epoch in m(range(2)):
    ...     for x in m([1, 2, 3]):
    ...         total += x
    [... 1/2]: total = 6
    [... 2/2]: total = 12
    >>> m.step, m.epoch
    (6, 2)
    """

    directory: str | None = None
    """Where checkpoints and summaries are written."""

    def __init__(
        self,
        *,
        hooks: Iterable[Hook] = (),
        log: Any = None,
        log_fn: Any = None,
        log_format: Any = "",
        time: Any = (),
        msg: Any = None,
        msg_keep: Any = "latest",
        msg_leader: Any = None,
        msg_expand: Any = False,
        msg_prep: Any = None,
        probe: Any = None,
        limit: Any = None,
        metrics: Any = None,
        metrics_by: Any = "step",
        trial: Any = None,
        source: Callable[[], Mapping[str, Any]] | None = None,
        all_ranks: bool = False,
    ) -> None:
        self._made = perf_counter()
        self._trial, self._source, self._all_ranks = trial, source, all_ranks
        self._made_in = innermost_block()
        self._counts = [0] * len(TRIGGERS)
        self._counting = threading.Lock()
        self._loops = Loops()
        self._stopped: str | None = None
        self._unfound: set[int] = set()
        self._unmatched = Unmatched()
        # When nobody has the monitor any more, or the program ends: until then a later loop may have the variable.
        weakref.finalize(self, self._unmatched.tell)
        self.limit: list[Spec] = [Spec(one) for (one,) in paired("limit", limit)]
        self._limits: list[float] = [_NEVER] * len(TRIGGERS)
        for spec in self.limit:
            if spec.modulo is None:
                raise InvalidCall(f"limit says after how many, as in '@1000s', not {str(spec)!r}")
            self._limits[level_of(spec.trigger)] = spec.modulo
        self.hooks: list[Hook] = [
            Logger(one, form, fn) for one, fn, form in paired("log", log, fn=log_fn, format=log_format)
        ]
        self.hooks += [Metrics(one, by) for one, by in paired("metrics", metrics, by=metrics_by)]
        self.hooks += [Timer(one) for (one,) in paired("time", time)]
        with_msg = paired("msg", msg, keep=msg_keep, leader=msg_leader, expand=msg_expand, prep=msg_prep)
        self.hooks += [XmenMessenger(*options) for options in with_msg]
        self.hooks += [Probe(one) for (one,) in paired("probe", probe)]
        self.hooks += hooks

    # counts

    @property
    def step(self) -> int:
        """Bodies of innermost loops so far."""
        return self._counts[0]

    @property
    def epoch(self) -> int:
        """Bodies of the loops around those."""
        return self._counts[1]

    @property
    def era(self) -> int:
        """Bodies of the loops around epochs."""
        return self._counts[2]

    @property
    def eon(self) -> int:
        """Bodies of the loops around eras."""
        return self._counts[3]

    @property
    def supereon(self) -> int:
        """Bodies of the loops around eons."""
        return self._counts[4]

    @property
    def triggers(self) -> dict[str, int]:
        """All counts."""
        return dict(zip(TRIGGERS, self._counts, strict=True))

    @property
    def timers(self) -> dict[str, dict[str, float]]:
        """Of each open loop, the seconds of its last body and wait, ``step`` and ``load``, and of all, with an s."""
        return {
            TRIGGERS[loop.level]: {"step": loop.step, "load": loop.load, "steps": loop.steps, "loads": loop.loads}
            for loop in self._loops.current()
        }

    def set_triggers(self, **counts: int) -> None:
        """Go on from these counts: ``set_triggers(step=500, epoch=5)``; nothing is called for it."""
        for trigger, count in counts.items():
            self._counts[level_of(trigger)] = int(count)

    def modulo(self, trigger: str, modulo: int, exclude_1st: bool = False) -> bool:
        """Return whether a count is a multiple of `modulo`; with `exclude_1st` 0 is none."""
        count = self._counts[level_of(trigger)]
        return not count % modulo and not (exclude_1st and count == 0)

    # loops

    def __call__(self, iterable: Iterable[Item], length: int | None = None) -> Monitored[Item]:
        """Return what to loop over.

        Parameters
        ----------
        iterable: iterable
            It is asked for one item after the other, and no item is kept.
        length: int, optional
            How many there will be, for what remains; by default ``len(iterable)``, if it has one.
        """
        frame = sys._getframe(1)
        return Monitored(self, iterable, length, frame.f_code, frame.f_lasti)

    def _drive(self, iterable: Iterable[Item], length: int | None, code: CodeType, site: int) -> Iterator[Item]:
        if self._is_over():
            return
        counts, counting, limits, plan = self._counts, self._counting, self._limits, self._plan()
        draw, clock = iter(iterable).__next__, perf_counter
        drawn: list[Item] = []
        loop = self._loops.open(code, site, length, counts, sys._getframe())
        try:
            ended = clock()
            while True:
                try:
                    drawn.append(draw())
                except StopIteration:
                    return
                began = clock()
                loop.load = began - ended
                # No name for it here: it lives as long as the program wants it.
                yield drawn.pop()
                ended = clock()
                loop.step = step = ended - began
                loop.steps += step
                loop.loads += loop.load
                loop.done += 1
                level = loop.level
                with counting:
                    count = counts[level] = counts[level] + 1
                for modulo in plan[level]:
                    if not count % modulo:
                        self._look(plan[level], count, code)
                        ended = clock()
                        break
                if count >= limits[level]:
                    self._reach(level)
                if self._stopped is not None:
                    return
        finally:
            if self._loops.close(loop):
                for hook in self.hooks:
                    hook.flush()

    def _plan(self) -> list[dict[int, list[Hook]]]:
        """Return the hooks by level, and by how many bodies they are due after."""
        plan: list[dict[int, list[Hook]]] = [{} for _ in TRIGGERS]
        for hook in self._active():
            if hook.modulo is not None:
                plan[level_of(hook.trigger)].setdefault(hook.modulo, []).append(hook)
        return plan

    def _active(self) -> list[Hook]:
        """Return the hooks that are called in this process."""
        is_quiet = not self._all_ranks and _rank() != 0
        return [hook for hook in self.hooks if not (is_quiet and hook.writes)]

    def _due(self, plan: dict[int, list[Hook]], count: int) -> list[Hook]:
        due = [hooks for modulo, hooks in plan.items() if not count % modulo]
        if len(due) == 1:
            return due[0]
        called = {id(hook) for hooks in due for hook in hooks}
        return [hook for hook in self.hooks if id(hook) in called]

    def _look(self, plan: dict[int, list[Hook]], count: int, code: CodeType) -> None:
        due = self._due(plan, count)
        if self._source is not None or all(hook.regex is None for hook in due):
            self._call(due, {} if self._source is None else self._source(), None)
            return
        frame = frame_of(code)
        if frame is not None:
            self._call_in(frame, due)
            return
        if id(code) not in self._unfound:
            self._unfound.add(id(code))
            tell_nothing_found(code)
        self._call(due, {}, None)

    def _call_in(self, frame: FrameType, due: list[Hook]) -> None:
        code = frame.f_code
        with_variables(frame, lambda namespace: self._call(due, namespace, code))

    def _call(self, due: list[Hook], namespace: Mapping[str, Any], code: CodeType | None) -> None:
        for hook in due:
            chosen = hook.chosen(namespace, code)
            self._unmatched.note(hook, chosen, namespace)
            hook(chosen, self)

    # by hand, and by frameworks that own the loop

    def inc(self, trigger: str, back: int = 1) -> None:
        """Count one more, and look.

        Parameters
        ----------
        trigger: str
            ``step`` or ``s``, ``epoch`` or ``e``, ...
        back: int
            Whose variables: 1 for the caller's, 2 for those of its caller, ...
        """
        level = level_of(trigger)
        with self._counting:
            self._counts[level] += 1
            count = self._counts[level]
        due = self._due(self._plan()[level], count)
        if due and self._source is not None:
            self._call(due, self._source(), None)
        elif due:
            self._call_in(sys._getframe(back), due)
        if count >= self._limits[level]:
            self._reach(level)

    def report(self, values: Mapping[str, Any], **counts: int) -> None:
        """Take variables and counts from a framework that owns the loop: ``report({"loss": 0.5}, step=500, epoch=2)``.

        A hook is called once where its count has come to a multiple, or gone past one, since the last time; a hook
        without ``@`` each time.
        """
        plan, called = self._plan(), []
        for trigger, count in counts.items():
            level = level_of(trigger)
            before, self._counts[level] = self._counts[level], int(count)
            passed = [hooks for modulo, hooks in plan[level].items() if before // modulo < count // modulo]
            called += [id(hook) for hooks in passed for hook in hooks]
        for hook in self._active():
            if id(hook) in called or hook.modulo is None:
                chosen = hook.chosen(values)
                self._unmatched.note(hook, chosen, values)
                hook(chosen, self)
        for level, count in enumerate(self._counts):
            if count >= self._limits[level]:
                self._reach(level)

    def to_hooks(self, **kwargs: Any) -> None:
        """Give variables to those hooks that are called by hand, which have no ``@`` in their specification."""
        for hook in self._active():
            chosen = hook.chosen(kwargs) if hook.modulo is None else {}
            if chosen:
                hook(chosen, self)

    # the end

    def stop(self, msg: str = "stopped") -> None:
        """End all loops before their next item, and print why; bodies that run go on to their end."""
        if self._stopped is None:
            self._stopped = msg
            self.say(f"---- {msg} ----")

    def _reach(self, level: int) -> None:
        self.stop(f"Limit reached for {TRIGGERS[level]} {self._counts[level]}")

    def _is_over(self) -> bool:
        """Return whether no loop begins any more, and say so where one would have."""
        if self._stopped is None:
            for level, count in enumerate(self._counts):
                if count >= self._limits[level]:
                    self._reach(level)
        elif not self._loops.current():
            counted = ", ".join(f"{trigger} {count}" for trigger, count in self.triggers.items() if count)
            self.say(f"---- Stopped at {counted or 'the beginning'} ----")
        return self._stopped is not None

    # what is said

    def log(self, x: Any, format: str = "", process_func: Callable[[Any], Any] = str) -> None:
        """Print a value beside the time and the counts.

        Parameters
        ----------
        x: any
            The value.
        format: str
            How it is written, as in ``.3f``.
        process_func: callable
            What is done to it before.
        """
        self.say(formatted(x if format and process_func is str else process_func(x), format))

    def say(self, text: str) -> None:
        """Print a line, beside the time and the counts."""
        if self._all_ranks or _rank() == 0:
            summary = self.summary()
            levels = [summary[short] for short in reversed(SHORT) if short in summary]
            write_line(f"[{' '.join([summary['last'], *levels])}]: {text}")

    def log_numbers(self, values: Mapping[str, Any], trigger: str | None = None, by: str = "step") -> None:
        """Log those values that are numbers to the trial, if any; by `trigger` where `by` was never counted."""
        trial = self.trial
        numbers = None if trial is None else numbers_in(values)
        if numbers:
            trial.log_metrics(step=self.position(trigger, by), **numbers)

    @property
    def trial(self) -> Any:
        """What numbers are logged to: the trial that was given, or whose block the program is in; None without one."""
        return self._trial or innermost_block() or self._unfinished()

    def position(self, trigger: str | None = None, by: str = "step") -> int:
        """Return the step of what is logged now: the count `by`, or that of `trigger` where `by` was never counted."""
        return self._counts[level_of(by)] or self._counts[level_of(trigger or by)]

    def _unfinished(self) -> Any:
        """Return the trial in whose block the monitor was made: another thread is in no block."""
        return None if self._made_in is None or self._made_in.has_finished else self._made_in

    def summary(self, verbose: int = 0) -> dict[str, str]:
        """Return when it is, the counts of open loops, how long it has taken, and will take.

        Parameters
        ----------
        verbose: int
            Not 0: also the last and the mean time of a body of the innermost loop (``step``, ``m_step``) and of
            waiting for its item (``load``, ``m_load``), and when that loop ends (``next``).
        """
        found = {"last": time.strftime("%I:%M%p %d/%m/%y")}
        loops = self._loops.current()
        for loop, total in zip(loops, totals(loops), strict=True):
            count = self._counts[loop.level]
            found[SHORT[loop.level]] = f"{count}" if total is None or total < count else f"{count}/{total}"
        if not loops:
            counted = [(short, count) for short, count in zip(SHORT, self._counts, strict=True) if count]
            return {**found, **{short: str(count) for short, count in reversed(counted)}}
        elapsed, fraction = perf_counter() - loops[0].opened, fraction_done(loops)
        found["wall"] = _seconds(perf_counter() - self._made)
        if fraction:
            found["end"] = _seconds(elapsed * (1 - fraction) / fraction)
        return {**found, **_times(loops[-1])} if verbose else found

    def __repr__(self) -> str:
        facts = {**{trigger: count for trigger, count in self.triggers.items() if count}, **self.summary()}
        return f"<{type(self).__name__} {' '.join(f'{name}={value}' for name, value in facts.items())}>"


class Monitored(Generic[Item]):
    """What a monitor loops over; it has a length where the iterable has."""

    __slots__ = ("_code", "_items", "_length", "_monitor", "_site")

    def __init__(self, monitor: Monitor, items: Iterable[Item], length: int | None, code: CodeType, site: int) -> None:
        self._monitor, self._items, self._code, self._site = monitor, items, code, site
        self._length = _length(items) if length is None else length

    def __iter__(self) -> Iterator[Item]:
        return self._monitor._drive(self._items, self._length, self._code, self._site)

    def __len__(self) -> int:
        if self._length is None:
            raise TypeError("its length is not known")
        return self._length

    def __bool__(self) -> bool:
        return True


def _length(items: Any) -> int | None:
    try:
        return len(items)
    except Exception:  # noqa: BLE001 - whatever an iterable does when it is asked; it only tells what remains
        return None


def _times(loop: Any) -> dict[str, str]:
    bodies = max(loop.done, 1)
    times = {"step": loop.step, "m_step": loop.steps / bodies, "load": loop.load, "m_load": loop.loads / bodies}
    found = {name: str(timedelta(seconds=seconds)) for name, seconds in times.items()}
    if loop.length is None:
        return found
    remaining = max(loop.length - loop.done, 0) * (loop.steps + loop.loads) / bodies
    return {"next": _seconds(remaining), **found}


def _seconds(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _rank() -> int:
    """Return which process of a job of torch.distributed this is; 0 alone.

    Not the number that a scheduler gives a task: tasks that know nothing of each other all have something to say.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank())
    rank = os.environ.get("RANK", "")
    return int(rank) if rank.isdecimal() and "WORLD_SIZE" in os.environ else 0


def paired(option: str, specs: Any, **companions: Any) -> list[tuple[Any, ...]]:
    """Return the specifications of an option, each with its own of what goes with it.

    Raises InvalidCall: there are more or fewer of these (a ValueError).
    """
    wanted = [] if specs is None else [specs] if isinstance(specs, (str, Spec)) else list(specs)
    columns: list[Iterable[Any]] = [wanted]
    for name, value in companions.items():
        several = list(value) if isinstance(value, (list, tuple)) else None
        if several is not None and len(several) != len(wanted):
            raise InvalidCall(f"{option}_{name} is one value, or {len(wanted)} as {option}; not {len(several)}")
        columns.append(itertools.repeat(value, len(wanted)) if several is None else several)
    return list(zip(*columns, strict=True))
