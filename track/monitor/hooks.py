"""What is done when a monitor's count is due: print, log to the trial, send messages, tell times."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any, Protocol

from track.errors import InvalidSpec
from track.experiment import Experiment
from track.experiment_utils import get_meta
from track.monitor.spec import SHORT, Spec, compiled, level_of
from track.monitor.variables import names_in
from track.plain import to_number
from track.shown import text_of

logger = logging.getLogger(__name__)


class Watching(Protocol):
    """What hooks ask of a monitor."""

    directory: str | None

    @property
    def step(self) -> int:
        """Bodies of innermost loops so far."""

    @property
    def trial(self) -> Any:
        """What numbers are logged to; None without a trial."""

    @property
    def triggers(self) -> dict[str, int]:
        """All counts."""

    def summary(self, verbose: int = 0) -> dict[str, str]:
        """Return counts and times."""

    def position(self, trigger: str | None = None, by: str = "step") -> int:
        """Return the step of what is logged now."""

    def say(self, text: str) -> None:
        """Print a line."""

    def log_numbers(self, values: Mapping[str, Any], trigger: str | None = None, by: str = "step") -> None:
        """Log those values that are numbers to the trial."""


class Hook(Spec):
    """What a monitor calls with the variables that match: extend it, and write `__call__`.

    Parameters
    ----------
    spec: str
        Which variables, and when, as in ``^loss$@100s``; without ``@`` it is called by `Monitor.to_hooks`.

    Examples
    --------
    >>> from track import Monitor
    >>> class Show(Hook):
    ...     def __call__(self, var_dict, monitor):
    ...         print(monitor.step, var_dict)
    >>> for x in Monitor(hooks=[Show("^x$@2s")])("abcd"):
    ...     pass
    2 {'x': 'b'}
    4 {'x': 'd'}
    """

    writes = False
    """Whether it is for others to see, so that one process of a distributed job says it for all."""

    def __init__(self, spec: str | Spec) -> None:
        super().__init__(spec)
        self._names: dict[int, tuple[CodeType, tuple[str, ...]]] = {}

    def __call__(self, var_dict: dict[str, Any], monitor: Any) -> None:
        """Do it.

        Parameters
        ----------
        var_dict: dict
            The variables that match, by name.
        monitor: Monitor
            Whose count is due.
        """
        raise NotImplementedError(f"{type(self).__name__} has no __call__(self, var_dict, monitor)")

    def flush(self) -> None:
        """Put what waits where it belongs; called when no loop is open any more."""

    def chosen(self, namespace: Mapping[str, Any], code: CodeType | None = None) -> dict[str, Any]:
        """Return those variables that match; `code` is the function that they are of."""
        if self.regex is None:
            return {}
        known = self._names.get(id(code)) if code is not None else None
        if known is None:
            names = None if code is None else names_in(code)
            if code is None or names is None:
                return {name: namespace[name] for name in [*namespace] if self.matches(name)}
            known = self._names[id(code)] = (code, tuple(name for name in names if self.matches(name)))
            logger.debug("%s matches %s in %s", self, ", ".join(known[1]) or "nothing", code.co_name)
        # A variable without a value yet is none.
        return {name: namespace[name] for name in known[1] if name in namespace}


class Logger(Hook):
    """Prints variables, beside the time and the counts; numbers are metrics of the trial, too.

    Parameters
    ----------
    spec: str
        Which variables, and when.
    format: str
        How values are written, as in ``.3f``.
    process_func: callable, optional
        What is done to a value before.

    Examples
    --------
    >>> from track import Monitor
    >>> m = Monitor(hooks=[Logger("^words$@1s", process_func="|".join), Logger("^y$@2s", format=".2f")])
    >>> for words, y in m([(["cat"], 1), (["cat", "dog"], 2)]):
    ...     pass
    [... 1/2]: words = cat
    [... 2/2]: words = cat|dog
    [... 2/2]: y = 2.00
    """

    writes = True

    def __init__(self, spec: str | Spec, format: str = "", process_func: Callable[[Any], Any] | None = None) -> None:
        super().__init__(spec)
        self._format = format
        self._process = process_func

    def __call__(self, var_dict: dict[str, Any], monitor: Watching) -> None:
        processed = {name: value if self._process is None else self._process(value) for name, value in var_dict.items()}
        if processed:
            monitor.say(" ".join(f"{name} = {formatted(value, self._format)}" for name, value in processed.items()))
        monitor.log_numbers(var_dict, self.trigger)


def formatted(value: Any, format: str) -> str:
    """Return a value as a format says, or its text where it cannot be written so."""
    try:
        return value.__format__(format) if format else str(value)
    except Exception:  # noqa: BLE001 - whatever an object does when it is asked; the training goes on
        return text_of(value)


class Metrics(Hook):
    """Logs numbers to the trial, and prints nothing.

    Parameters
    ----------
    spec: str
        Which variables, and when; of these, what is a number.
    by: str
        Which count is the step of the metric; by default ``step``, so that all curves have one axis.
    """

    writes = True

    def __init__(self, spec: str | Spec, by: str = "step") -> None:
        super().__init__(spec)
        level_of(by)
        self._by = by

    def __call__(self, var_dict: dict[str, Any], monitor: Watching) -> None:
        monitor.log_numbers(var_dict, self.trigger, self._by)


class Timer(Hook):
    """Prints how long it has taken and will take, and the times of the innermost loop: see `Monitor.summary`."""

    writes = True

    def __call__(self, var_dict: dict[str, Any], monitor: Watching) -> None:
        found = monitor.summary(verbose=1).items()
        monitor.say(" ".join(f"{name}={value}" for name, value in found if name not in (*SHORT, "last")))


class XmenMessenger(Hook):
    """Sends variables to experiments as messages, and always when it was, and how long it takes.

    Parameters
    ----------
    spec: str
        ``variables->experiments@10s``, two regular expressions; or ``experiments@10s``, for the times alone. An
        experiment is a variable that has ``message``.
    keep: str
        What is kept where there is a message already: the ``latest``, the ``min``, the ``max``.
    leader: str, optional
        A regular expression of the one variable that decides for all.
    expand: bool
        Whether a dictionary is a message a key.
    prepend: bool, optional
        Whether that is called ``<variable>_<key>``.
    """

    writes = True

    def __init__(
        self,
        spec: str | Spec,
        keep: str = "latest",
        leader: str | None = None,
        expand: bool = False,
        prepend: bool | None = None,
    ) -> None:
        super().__init__(spec)
        if keep not in ("latest", "min", "max"):
            raise InvalidSpec(f"keep is one of latest, min, max, not {keep!r}")
        self._keep, self._expand, self._prepend = keep, expand, prepend
        self._leader = None if leader is None else compiled(leader, leader)

    def _compiled(self, text: str) -> tuple[Any, ...]:
        values, arrow, experiments = (self.regex or "").rpartition("->")
        if not experiments:
            raise InvalidSpec(f"{text!r} names no experiment: it is 'variables->experiments@10s' or 'experiments@10s'")
        self._experiments = compiled(experiments, text)
        self._values = compiled(values, text) if arrow else None
        return (self._experiments,) if self._values is None else (self._values, self._experiments)

    def __call__(self, var_dict: dict[str, Any], monitor: Watching) -> None:
        takes = {name for name, value in var_dict.items() if callable(getattr(type(value), "message", None))}
        receivers = [var_dict[name] for name in var_dict if name in takes and self._experiments.match(name)]
        if not receivers:
            return
        wanted = self._values
        values = {
            name: value
            for name, value in var_dict.items()
            if wanted is not None and name not in takes and wanted.match(name)
        }
        if self._expand:
            values = expanded(values, bool(self._prepend))
        leader = self._leader_of(values) if values else None
        summary = monitor.summary(verbose=1)
        for receiver in receivers:
            # A number is a metric of the experiment's trial, where the monitor may log it, too: as one curve.
            step = {"step": monitor.position(self.trigger)} if isinstance(receiver, Experiment) else {}
            if self._keep == "latest":
                receiver.message({**summary, **values}, **step)
                continue
            receiver.message({name: value for name, value in summary.items() if name not in values}, **step)
            if values:
                receiver.message(values, keep=self._keep, leader=leader, **step)

    def _leader_of(self, values: dict[str, Any]) -> str | None:
        if self._leader is None:
            return None
        found = [name for name in values if self._leader.match(name)]
        if len(found) != 1:
            names = ", ".join(found or values)
            raise InvalidSpec(f"the leader {self._leader.pattern!r} is one variable, not {len(found)} of {names}")
        return found[0]


Messenger = XmenMessenger


def expanded(values: Mapping[str, Any], prepend: bool) -> dict[str, Any]:
    """Return values with each dictionary among them as a value a key."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= {f"{name}_{text_of(key)}" if prepend else text_of(key): one for key, one in value.items()}
        else:
            found[name] = value
    return found


class Probe(Hook):
    """Prints how busy the machine is, and sends it to experiments as messages.

    Parameters
    ----------
    spec: str
        Which experiments, and when.
    """

    writes = True

    def __call__(self, var_dict: dict[str, Any], monitor: Watching) -> None:
        facts = get_meta(get_cpu=True, get_memory=True, get_gpu=True, live=True)
        used = {f"{group}_{name}": value for group in ("cpu", "virtual") for name, value in _used(facts.get(group))}
        gpus = facts.get("gpu") or {}
        if gpus:
            used["gpu"] = text_of(gpus)
        for value in var_dict.values():
            if callable(getattr(type(value), "message", None)):
                value.message(used)
        monitor.say(" ".join(f"{name}={value}" for name, value in used.items()))


def _used(group: Any) -> list[tuple[str, Any]]:
    names = ("usage", "percentage", "used")
    return [(name, group[name]) for name in names if name in group] if isinstance(group, dict) else []


_AXES = ("step", "aggregator")
"""No metric can be called so: a variable ``step`` is the axis of the others."""


def numbers_in(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those values that are numbers, as Python has them."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name in _AXES:
            continue
        number = value if type(value) is float or type(value) is int else to_number(value)
        if number is not None:
            found[name] = number
    return found


def write_line(text: str) -> None:
    """Print a line, whole, in the order of what the program prints itself."""
    sys.stdout.write(f"{text}\n")
