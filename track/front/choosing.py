"""What is current: of a client in each thread and task, and which block the program is in; what is said of it."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from threading import get_ident
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import ref

from track.front.arguments import differing_fields
from track.persistence.contract import text_or_none
from track.plain import to_plain
from track.structure import Project, Trial, TrialGroup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from track.persistence.protocol import Protocol

logger = logging.getLogger(__name__)
Chosen = TypeVar("Chosen")
_own: ContextVar[tuple[tuple[ref[Any], dict[str, Any]], ...]] = ContextVar("track_chosen", default=())
"""By client; replaced and never changed, as tasks begin with the choices of the one that made them."""
_blocks: ContextVar[tuple[Any, ...]] = ContextVar("track_blocks", default=())


class Current(Generic[Chosen]):
    """An attribute of a client with a value for each thread or task that has set it.

    The others see ``client._chosen``, what was set last in the thread that made the client, ``client._thread``.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, client: Any, kind: type) -> Chosen | None:
        if client is None:
            return None
        own = _choices(client)
        found: Chosen | None = own[self._name] if self._name in own else client._chosen.get(self._name)
        return found

    def __set__(self, client: Any, value: Chosen | None) -> None:
        mine = {**_choices(client), self._name: value}
        others = [choices for choices in _own.get() if choices[0]() not in (None, client)]
        # What a client has chosen is let go with it.
        _own.set((*others, (ref(client, lambda _: mine.clear()), mine)))
        if client._thread == get_ident():
            client._chosen = {**client._chosen, self._name: value}


def own_choice(client: Any, name: str) -> Any:
    """Return what this thread or task has chosen itself, or was begun with; None where that is nothing."""
    return _choices(client).get(name)


def _choices(client: Any) -> dict[str, Any]:
    for known, own in _own.get():
        if known() is client:
            return own
    return {}


def enter_block(trial: Any) -> None:
    """Note that the program enters the block of a trial, in this thread or task."""
    _blocks.set((*_blocks.get(), trial))


def leave_block(trial: Any) -> None:
    """Note that the program leaves the block of a trial, which may have been entered in another task."""
    _blocks.set(tuple(entered for entered in _blocks.get() if entered is not trial))


def innermost_block() -> Any:
    """Return the trial whose block the program is in, in this thread or task."""
    return next(reversed(_blocks.get()), None)


def parent_in(protocol: Protocol) -> str | None:
    """Return the uid of the trial whose block the program is in, where it is in the same store."""
    for trial in reversed(_blocks.get()):
        is_shared = trial.protocol.uri == protocol.uri and not protocol.uri.startswith("ephemeral:")
        if trial.protocol is protocol or is_shared:
            return str(trial._created().uid)
    return None


# what stays


def identity(
    parameters: Mapping[str, Any] | None,
    fields: Mapping[str, Any],
    version: str | None,
    project: Project | None,
    group: TrialGroup | None,
) -> dict[str, Any]:
    """Return what tells the trial that is asked for from others, as far as it is said.

    `fields`: of a `Trial`. `version`: the one that was chosen. `project`, `group`: those that are chosen.
    """
    wanted = {name: fields[name] for name in ("name", "version", "project_id", "group_id") if name in fields}
    if parameters is not None:
        wanted |= {"parameters": parameters, "name": fields.get("name")}
    chosen = {"version": version, "project_id": project and project.uid, "group_id": group and group.uid}
    return {**{name: value for name, value in chosen.items() if value is not None}, **wanted}


def is_other(current: Trial, identity: Mapping[str, Any]) -> bool:
    """Return whether a field that was asked for is not so in the current trial."""
    return any(_stored(name, value) != to_plain(getattr(current, name)) for name, value in identity.items())


def _stored(name: str, value: Any) -> Any:
    return text_or_none(value) if name in ("name", "version") else to_plain(value)


def tell_nothing_is_stored() -> None:
    """Warn that what is logged is kept in memory."""
    logger.warning(
        "nothing will be stored: give a backend, as in TrackClient('file://report.json'), or set TRACK_LOG_BACKEND_NAME"
    )


def tell_what_stays(noun: str, chosen: Project | TrialGroup, wanted: Project | TrialGroup) -> None:
    """Warn where another project or group was asked for than the one that is chosen."""
    differing = differing_fields(chosen, wanted)
    if differing:
        logger.warning(
            "the %s is %r already, and stays as it is (%s would differ): pass force=True to choose another one",
            noun,
            chosen.name or chosen.uid,
            ", ".join(differing),
        )


def unfinished(current: Any) -> Any:
    """Return the logger of a trial that exists and has not finished; None where another one may be chosen."""
    return None if current is None or current.is_pending or current.has_finished else current


def tell_fields_stay(current: Trial, fields: dict[str, Any]) -> None:
    """Warn where a trial that goes on was asked for with other fields than those of its identity."""
    differing = differing_fields(current, Trial(**fields))
    if differing:
        logger.warning(
            "trial %r goes on, and keeps its %s: pass force=True to begin another one",
            current.name or current.uid,
            ", ".join(differing),
        )


def tell_trial_stays(current: Any) -> None:
    """Warn that an unfinished trial goes on where another stored one was asked for."""
    logger.warning(
        "trial %r is set and has not finished, so it goes on: finish it, or pass force=True, to begin another one",
        current._created().uid,
    )
