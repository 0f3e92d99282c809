"""Where a trial runs is recorded when it starts."""

from __future__ import annotations

import logging
from collections.abc import Container
from functools import lru_cache
from typing import Any

from track.errors import InvalidCall
from track.persistence.protocol import Protocol
from track.persistence.registry import _opened_uris
from track.persistence.utils import parse_uri
from track.structure import Status, Trial
from track.utils.environment import ENVIRONMENT, environment_of, read_parts
from track.utils.system import process_identity

logger = logging.getLogger(__name__)


def checked_parts(chosen: Any) -> tuple[str, ...] | None:
    """Return the parts that an argument names, None for none given; InvalidCall where it names something else."""
    try:
        return None if chosen is None else read_parts(chosen)
    except ValueError as error:
        raise InvalidCall(f"environment={chosen!r}: {error}") from error


def record_environment(protocol: Protocol, trial: Trial, parts: tuple[str, ...] | None, configured: Any) -> None:
    """Record where a trial runs that is about to start, which never raises.

    `parts`: those that were asked for; without, the URI says, or `configured`, the option ``log.environment``.

    A process that joins others in a trial leaves it as they have recorded it.
    """
    try:
        chosen = _configured(protocol, configured) if parts is None else parts
        if not chosen or (ENVIRONMENT in trial.metadata and runs_elsewhere(trial)):
            return
        facts, packages = environment_of(chosen)
        if trial.metadata.get(ENVIRONMENT) != facts:
            protocol.log_trial_environment(trial, facts, packages)
            trial.metadata[ENVIRONMENT] = facts
    except InvalidCall as error:
        _tell(str(error))
    except Exception as error:  # noqa: BLE001 - it is a courtesy: no training stops for it
        _tell(f"{type(error).__name__}: {error}")


def runs_elsewhere(trial: Trial, but: Container[int] = ()) -> bool:
    """Return whether another process runs a trial; `but`: processes of this machine that are not asked for."""
    own, running = process_identity(), Status.Running.name
    others = (one for one in trial.processes if any(one.get(name) != own[name] for name in ("host", "pid", "started")))
    return any(
        one["status"][0] == running and not (one.get("host") == own["host"] and one.get("pid") in but) for one in others
    )


def _configured(protocol: Protocol, option: Any) -> tuple[str, ...]:
    said = _in_uri(_opened_uris.get(protocol) or protocol.uri)
    chosen = option if said is None else said
    try:
        return _read(chosen) if isinstance(chosen, str) else read_parts(chosen)
    except ValueError as error:
        raise InvalidCall(f"the option log.environment (TRACK_LOG_ENVIRONMENT) is {chosen!r}: {error}") from error


# Each trial asks.
_read = lru_cache(maxsize=16)(read_parts)


@lru_cache(maxsize=16)
def _in_uri(uri: str) -> str | None:
    said: str | None = parse_uri(uri)["query"].get("environment")
    return said


_told: set[str] = set()


def _tell(reason: str) -> None:
    if reason not in _told:
        _told.add(reason)
        logger.warning("where the trial runs is not recorded (%s)", reason)
