"""Which trial is meant: by uid or the beginning of one, by name, as the last or the best one; and which groups."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from track.errors import AmbiguousName, InvalidQuery, NotFound, TrialDoesNotExist, suggestion
from track.metrics import briefs_of, unknown_metric
from track.persistence.protocol import Protocol
from track.persistence.query import ALSO_DELETED, DEEPEST
from track.persistence.utils import mask_secrets
from track.shown import cut, shown
from track.structure import Trial, created_of

_SHORTEST = 4
"""How many characters the beginning of a uid has at least."""
_LISTED = 6
_SHORT = 16
_OWNERS = {"group": "group_id", "group_id": "group_id", "project": "project_id", "project_id": "project_id"}
WAYS = "a uid, its first 4 characters or more, name, name/revision, @last, @best:loss or @best:max:acc"
"""How a trial is named, in messages."""


def named(protocol: Protocol, name: Any, deleted: bool = False, in_brief: bool = False) -> Trial:
    """Return the stored trial that is meant.

    Parameters
    ----------
    name: str
        Its uid; the beginning of it, of at least four characters, that no other has; such a beginning, ``_`` and the
        revision, where trials differ in that only; its name; ``name/revision``;
        ``@last``, the one that was created last; ``@best:loss``, the one whose last loss is least;
        ``@best:max:acc``, the one whose last acc is greatest. A uid as a whole counts before everything else.
    deleted: bool
        Whether one that is hidden is meant, instead of one that is not.
    in_brief: bool
        Whether its points are not wanted: what its metrics come to is enough.

    Raises
    ------
    TrialDoesNotExist
        No trial is called so.
    AmbiguousName
        Several are.
    NotFound
        `@best` by a metric that no trial has.
    """
    if not isinstance(name, str) or not name:
        raise TrialDoesNotExist(f"{shown(name)} names no trial: it goes by {WAYS}")
    if name.startswith("@"):
        return _described(protocol, name, _among(deleted), in_brief)
    fetch = protocol.brief_trials if in_brief else protocol.fetch_trials
    exact = fetch({"uid": name, **(_among(deleted) or {})})
    if exact:
        return exact[0]
    trials = protocol.brief_trials(_among(deleted))
    found = [trial for trial in trials if _is_meant(trial, name)]
    if not found:
        raise _unknown(protocol, name, trials, deleted)
    if len(found) > 1:
        raise AmbiguousName(f"{name!r} may be {len(found)} trials: {_listed(found, trials)}. Say which by its uid")
    return found[0] if in_brief else _whole(protocol, found[0])


def best_of(trials: Iterable[Trial], metric: str, mode: str = "min", of: str = "last") -> Trial:
    """Return the trial whose value of a metric is best, the earliest of equals; see `track.best`."""
    if mode not in ("min", "max") or of not in ("last", "min", "max"):
        raise InvalidQuery(f"mode is 'min' or 'max', and of is 'last', 'min' or 'max'; not {mode!r}, {of!r}")
    found = list(trials)
    values = [(value, trial) for trial in found if (value := _measured(trial, metric, of)) is not None]
    if not values:
        known = {str(name) for trial in found for name in briefs_of(trial.metrics)}
        if metric in known:
            raise NotFound(f"no trial is best by {metric!r}: every trial has NaN there, or nothing")
        raise unknown_metric(metric, known)
    return (min if mode == "min" else max)(values, key=lambda one: one[0])[1]


def best_stored(protocol: Protocol, metric: str, mode: str = "min", of: str = "last", query: Any = None) -> Trial:
    """Return the best of the stored trials that match; see `track.best`."""
    if of == "last" and mode in ("min", "max") and "." not in metric:
        sign = "-" if mode == "max" else ""
        first = protocol.select_trials(query, f"{sign}metrics.{metric}", 1)
        if first and _measured(first[0], metric, of) is not None:
            return first[0]
    return _whole(protocol, best_of(protocol.brief_trials(query), metric, mode, of))


def _among(deleted: bool) -> dict[str, Any] | None:
    """Return the query for the trials that may be meant."""
    return {"deleted": True} if deleted else None


def _described(protocol: Protocol, name: str, query: Any, in_brief: bool) -> Trial:
    what, *words = name.removeprefix("@").split(":", 1)
    if what == "last" and not words:
        trials = protocol.brief_trials(query)
        if not trials:
            what = "none" if query is None else "none that was deleted"
            raise TrialDoesNotExist(f"there is no last trial: {_place(protocol)} has {what}")
        # Of those that were created at once, the one that was stored last.
        last = max(reversed(trials), key=lambda trial: created_of(trial) or 0.0)
        return last if in_brief else _whole(protocol, last)
    if what == "best" and words and words[0]:
        mode, separator, metric = words[0].partition(":")
        if not separator or mode not in ("min", "max"):
            mode, metric = "min", words[0]
        if in_brief:
            return best_of(protocol.brief_trials(query), metric, mode)
        return best_stored(protocol, metric, mode, query=query)
    raise TrialDoesNotExist(f"{name!r} names no trial: it goes by {WAYS}")


def _whole(protocol: Protocol, trial: Trial) -> Trial:
    """Return a trial that was found in brief, with its points."""
    return next(iter(protocol.fetch_trials({"uid": trial.uid, **ALSO_DELETED})), trial)


def _is_meant(trial: Trial, name: str) -> bool:
    is_beginning = len(name) >= _SHORTEST and trial.uid.startswith(name)
    beginning, _, revision = name.rpartition("_")
    if len(beginning) >= _SHORTEST and revision == str(trial.revision):
        is_beginning = is_beginning or trial.hash.startswith(beginning)
    return is_beginning or (trial.name is not None and name in (trial.name, f"{trial.name}/{trial.revision}"))


def _unknown(protocol: Protocol, name: str, trials: list[Trial], deleted: bool) -> TrialDoesNotExist:
    others = protocol.fetch_trials({"deleted": not deleted}) if protocol.answers else []
    other = next((trial for trial in others if trial.uid == name or _is_meant(trial, name)), None)
    if other is not None:
        return is_not_deleted(other) if deleted else was_deleted(other, protocol)
    near = suggestion(name, {str(trial.name) for trial in trials if trial.name})
    short = 0 < len(name) < _SHORTEST and any(trial.uid.startswith(name) for trial in trials)
    way_out = "; of a uid, give 4 characters or more" if short else near
    return TrialDoesNotExist(f"no trial {name!r} is stored in {_place(protocol)}{way_out}")


def was_deleted(trial: Trial, protocol: Protocol) -> TrialDoesNotExist:
    """Return the error that says of a trial that it was deleted."""
    return TrialDoesNotExist(
        f"trial {trial.name or trial.uid!r} was deleted from {_place(protocol)}: track restore URI {trial.uid[:12]} "
        "brings it back, and so does client.restore_trial"
    )


def is_not_deleted(trial: Trial) -> TrialDoesNotExist:
    """Return the error that says of a trial that there is nothing to restore."""
    return TrialDoesNotExist(f"trial {trial.name or trial.uid!r} ({trial.uid[:12]}) was not deleted")


def _listed(trials: list[Trial], everything: Iterable[Trial]) -> str:
    """Return what each may be called: of a long uid as much as no other of all trials has."""
    short = {uid: uid if len(uid) <= _SHORT else one for uid, one in short_uids(one.uid for one in everything).items()}
    lines = [f"{short[trial.uid]} ({cut(trial.name or '-', 40)}/{trial.revision}, {trial.status})" for trial in trials]
    more = f" and {len(lines) - _LISTED} more" if len(lines) > _LISTED else ""
    return ", ".join(lines[:_LISTED]) + more


def _measured(trial: Trial, metric: str, of: str) -> Any:
    """Return a trial's value of a metric that can be best: a number, and no NaN."""
    brief = briefs_of(trial.metrics).get(metric)
    if brief is None:
        return None
    value = {"last": brief.last, "min": brief.least, "max": brief.greatest}[of]
    return value if isinstance(value, (int, float)) and not math.isnan(value) else None


# groups and projects

Owners = Callable[[str], Mapping[str, Any]]
"""Returns the names of groups (``group_id``) or projects (``project_id``) by uid."""


def owners_of(protocol: Protocol) -> Owners:
    """Return what knows the names of a store's groups and projects; it asks for each once."""

    @cache
    def names(field: str) -> Mapping[str, Any]:
        owners: list[Any] = protocol.fetch_groups() if field == "group_id" else protocol.fetch_projects()
        return {owner.uid: owner.name for owner in owners}

    return names


def with_uids(query: Any, owners: Owners, depth: int = 0) -> Any:
    """Return a query in which groups and projects that are named by their names are named by their uids."""
    if not isinstance(query, (Mapping, list, tuple)) or depth > DEEPEST:
        return query
    pairs: list[tuple[Any, Any]] = []
    try:
        for attribute, condition in query.items() if isinstance(query, Mapping) else query:
            pairs.extend(_by_uid(attribute, condition, owners, depth))
    except (TypeError, ValueError):
        # What is wrong with it is said where it is parsed.
        return query
    return pairs


def _by_uid(attribute: Any, condition: Any, owners: Owners, depth: int) -> list[tuple[Any, Any]]:
    if attribute in ("$or", "$and") and isinstance(condition, (list, tuple)):
        return [(attribute, [with_uids(query, owners, depth + 1) for query in condition])]
    if attribute == "$not":
        return [(attribute, with_uids(condition, owners, depth + 1))]
    if attribute not in _OWNERS:
        return [(attribute, condition)]
    field = _OWNERS[attribute]
    if not isinstance(condition, Mapping):
        return [(field, _named_owner("$eq", condition, owners(field)))]
    return [
        ("$not", with_uids([(attribute, operand)], owners, depth + 1))
        if name == "$not"
        else (field, _named_owner(name, operand, owners(field)))
        for name, operand in condition.items()
    ]


def _named_owner(operator: str, operand: Any, names: Mapping[str, Any]) -> dict[str, Any]:
    """Return a condition on the uid of a group or project for one on its name, which may be its uid as well."""
    if operator == "$regex":
        pattern = re.compile(operand)
        return {"$in": [uid for uid, name in names.items() if pattern.search(str(name)) or pattern.search(uid)]}
    choices = operand if operator in ("$in", "$nin") else [operand]
    if operator not in ("$eq", "$ne", "$in", "$nin") or not all(isinstance(choice, str) for choice in choices):
        return {operator: operand}
    uids = [uid for uid, name in names.items() if name in choices and uid not in choices]
    return {"$in" if operator in ("$eq", "$in") else "$nin": [*choices, *uids]}


def _place(protocol: Protocol) -> str:
    return mask_secrets(protocol.uri or repr(protocol))


def short_uids(uids: Iterable[str]) -> dict[str, str]:
    """Return the shortest name of each uid: the beginning that no other has, of four characters at least.

    Where trials differ in their revision only, that comes after it.

    Examples
    --------
    >>> short_uids(["3f2a91_0", "3f2a9c_0", "91bc00_0", "91bc00_1"])
    {'3f2a91_0': '3f2a91', '3f2a9c_0': '3f2a9c', '91bc00_0': '91bc_0', '91bc00_1': '91bc_1'}
    """
    by_hash: dict[str, list[str]] = {}
    for uid in uids:
        by_hash.setdefault(uid.rpartition("_")[0], []).append(uid)
    known = sorted(by_hash)
    found = {}
    for place, digest in enumerate(known):
        others = [*known[max(0, place - 1) : place], *known[place + 1 : place + 2]]
        beginning = digest[: max([_SHORTEST, *(_common(digest, other) + 1 for other in others)])]
        for uid in by_hash[digest]:
            is_alone = len(by_hash[digest]) == 1 and digest != ""
            found[uid] = beginning if is_alone else f"{beginning}_{uid.rpartition('_')[2]}"
    return found


def _common(one: str, other: str) -> int:
    return next(
        (place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]),
        min(len(one), len(other)),
    )
