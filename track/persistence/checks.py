"""What the methods of a backend decide before a fact is recorded: pure functions."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

import msgspec

from track.aggregators.aggregator import specification
from track.containers.series import hashable
from track.errors import InvalidEvent, refuse_unnamed
from track.events import TrialCreated
from track.metrics import container_to_plain, metrics_to_plain
from track.plain import is_number, restore, to_number, to_plain, utf8
from track.structure import CustomStatus, Status, Trial
from track.structure import status as make_status
from track.utils import _exit_code, signal

MUTATORS = frozenset(
    {
        "add_group_trial",
        "add_project_trial",
        "add_trial_tags",
        "log_trial_arguments",
        "log_trial_metadata",
        "log_trial_metrics",
        "set_group_metadata",
        "set_trial_status",
    }
)
"""The methods that ``fetch_and_update_*`` may call by name."""
REFUSALS = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError)
"""What a backend raises for an event, or a call, that makes no sense to it: the same again would be vain."""
_LARGEST = 2.0**62
_COUNTED = ("_update_count", "_last_change")
_RAISED_FOR_OTHERS = (signal.__file__, _exit_code.__file__)
"""Files of ours that raise what a signal, or ``sys.exit``, means."""


def plain_fields(values: dict[str, Any]) -> dict[str, Any]:
    """Return user-named values as JSON-safe data, whatever the names are."""
    return {utf8(str(name)): to_plain(value) for name, value in values.items()}


def normal_status(status: Any) -> Status | CustomStatus:
    """Return the status that an object, a name or a code says.

    Raises
    ------
    InvalidEvent
        It says none. A status of one's own is ``CustomStatus(name, code)``.
    """
    if isinstance(status, (Status, CustomStatus)):
        return status
    made: Any = None
    if isinstance(status, str):
        made = make_status(status)
    elif isinstance(status, int) and not isinstance(status, bool):
        made = make_status(value=status)
    elif isinstance(status, dict) and {"name", "value"} <= set(status):
        return make_status(status["name"], status["value"]) or Status.CreatedGroup
    if isinstance(made, Status) or (isinstance(status, str) and made.value is not None):
        chosen: Status | CustomStatus = made
        return chosen
    names = ", ".join([*(member.name for member in Status), "submitted", "pruned"])
    raise InvalidEvent(f"{status!r} is no status; use {names}, or CustomStatus(name, code)")


def final_status(exc_type: Any, exc_val: Any) -> Status:
    """Return the status of a trial that ends with this exception, or with none."""
    if exc_type is None:
        return Status.Completed
    if issubclass(exc_type, KeyboardInterrupt):
        return Status.Interrupted
    if issubclass(exc_type, SystemExit):
        code = getattr(exc_val, "code", exc_val)
        if code in (None, 0):
            return Status.Completed
        return Status.Interrupted if code == 128 + 15 else Status.Exception
    return Status.Exception


def describe_error(exc_type: Any, exc_val: Any, exc_tb: Any) -> str:
    """Return ``TypeName: message`` and the end of the traceback, down to where the program was."""
    try:
        text = str(exc_val) if exc_val is not None else ""
    except Exception as error:  # noqa: BLE001 - whatever it raises, there is an error to describe
        text = f"its text cannot be shown ({type(error).__name__})"
    head = f"{exc_type.__name__}: {text}" if text else str(exc_type.__name__)
    frames = traceback.extract_tb(exc_tb)
    while frames and frames[-1].filename in _RAISED_FOR_OTHERS:
        frames.pop()
    tail = "".join(traceback.format_list(frames[-3:]))
    return f"{head}\n{tail}".rstrip()


def numbers(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values as Python numbers.

    Raises
    ------
    InvalidEvent
        One of them is no number.
    """
    converted = {}
    for name, value in values.items():
        number = to_number(value)
        if number is None:
            raise InvalidEvent(
                f"metric {name!r} is {value!r}, of type {type(value).__name__}: a metric is a number; "
                "other values belong in log_metadata"
            )
        converted[name] = number
    return converted


def metric_step(step: Any, values: dict[str, Any]) -> Any:
    """Return the step of metrics as JSON-safe data.

    Raises
    ------
    InvalidCall
        It is the metrics themselves, in a dictionary.
    InvalidEvent
        It cannot be a key, as a dictionary cannot.
    """
    if not values and isinstance(step, Mapping):
        refuse_unnamed(step, "log_metrics", "loss=0.5")
    number = to_number(step)
    plain = to_plain(step if number is None else number)
    if type(plain) is list or type(plain) is dict:
        try:
            hash(hashable(restore(plain)))
        except TypeError as error:
            raise InvalidEvent(f"step {step!r} cannot be a key: use a number, a text or a tuple of them") from error
    return plain


def metric_specification(aggregator: Any) -> list[Any] | None:
    """Return how to write the factory of a metric's aggregator down in an event.

    Raises
    ------
    InvalidCall
        It is no factory: a value without its name, perhaps.
    """
    if not callable(aggregator):
        refuse_unnamed(aggregator, "log_metrics", "loss=0.5")
    return specification(aggregator)


def trial_created(trial: Trial, at: float) -> TrialCreated:
    """Return the fact that `trial` exists."""
    status = None if trial.status is None else (trial.status.name, trial.status.value)
    if status == (Status.CreatedGroup.name, Status.CreatedGroup.value):
        status = None
    return TrialCreated(
        trial.hash,
        trial.revision,
        at,
        trial.name,
        trial.description,
        to_plain(trial.tags),
        trial.version,
        to_plain(trial.group_id),
        to_plain(trial.project_id),
        to_plain(trial.parameters),
        to_plain(trial.metadata),
        metrics_to_plain(trial.metrics),
        metrics_to_plain(trial.chronos),
        to_plain(trial.errors),
        status,
    )


def trial_copied(trial: Trial) -> TrialCreated:
    """Return the fact that `trial`, of another store, exists as it is there, with all that it measured."""
    created = trial_created(trial, counted(trial, "_last_change"))
    if isinstance(trial.metadata, dict):
        metadata = {name: value for name, value in trial.metadata.items() if name not in _COUNTED}
        created = msgspec.structs.replace(
            created, metadata={name: container_to_plain(value) for name, value in metadata.items()}
        )
    # A file that somebody else has written may hold anything.
    return msgspec.structs.replace(
        created,
        changes=int(counted(trial, "_update_count")),
        timestamps={str(name): _finite(at) for name, at in trial.timestamps.items()},
        process=to_plain(trial.process) if isinstance(trial.process, dict) else None,
        artifacts=[to_plain(artifact) for artifact in trial.artifacts if isinstance(artifact, dict)],
    )


def counted(trial: Trial, name: str) -> float:
    """Return what a store notes in a trial's metadata, ``_update_count`` or ``_last_change``; 0 where it does not."""
    return _finite(trial.metadata.get(name)) if isinstance(trial.metadata, dict) else 0.0


def _finite(value: Any) -> float:
    return float(value) if is_number(value) and -_LARGEST < value < _LARGEST else 0.0


def require_text(what: str, name: Any) -> None:
    """Check that a name can be stored; InvalidEvent when it is no text."""
    if not isinstance(name, str) or utf8(name) != name:
        raise InvalidEvent(f"{what} is text that has a UTF-8 form, not {name!r}")


def require_mutator(attr: str) -> None:
    """Check that ``fetch_and_update_*`` may call the method `attr`.

    Raises
    ------
    InvalidEvent
        It is none of `MUTATORS`.
    """
    if attr not in MUTATORS:
        raise InvalidEvent(f"{attr!r} cannot be called here; use one of {', '.join(sorted(MUTATORS))}")
