"""What a call of the client must look like: fields that exist, values with their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from track.errors import InvalidCall, suggestion
from track.plain import to_plain
from track.structure import Project, Trial, TrialGroup
from track.utils.out import write_out

_NOUNS: dict[type, str] = {Project: "a project", TrialGroup: "a group", Trial: "a trial"}


def check_fields(kind: type, fields: Iterable[str], extra: Iterable[str] = ()) -> None:
    """Raise InvalidCall where one is no field of a `Project`, `TrialGroup` or `Trial`, and none of `extra`."""
    known = {*kind.__dataclass_fields__, *extra}  # type: ignore[attr-defined]
    unknown = sorted(set(fields) - known)
    if not unknown:
        return
    way_out = suggestion(unknown[0], known)
    if not way_out and kind is Trial:
        way_out = "; parameters go in parameters={...}"
    raise InvalidCall(f"{_NOUNS[kind]} has no field {unknown[0]!r}{way_out}")


def check_kind(kind: type, given: Any, example: str) -> None:
    """Raise InvalidCall, which shows the `example`, where `given` is neither None nor an object of this kind."""
    if given is not None and not isinstance(given, kind):
        raise InvalidCall(f"{given!r} is no {kind.__name__}: write {example}")


def as_dict(arguments: Any) -> dict[str, Any]:
    """Return arguments given as a mapping, a Namespace or None as a dictionary; InvalidCall for anything else."""
    if arguments is None:
        return {}
    if not isinstance(arguments, Mapping) and (isinstance(arguments, type) or not hasattr(arguments, "__dict__")):
        raise InvalidCall(
            f"parameters are a dict or a Namespace, not {arguments!r}: write parameters={{'lr': 0.1}}, "
            "log_arguments(lr=0.1), or log_arguments(values) for a dict"
        )
    values = arguments if isinstance(arguments, Mapping) else vars(arguments)
    return {str(name): value for name, value in values.items()}


def differing_arguments(stored: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Return the names whose given value is not the stored one."""
    return [name for name, value in given.items() if to_plain(stored.get(name)) != to_plain(value)]


def differing_fields(chosen: Any, wanted: Any) -> list[str]:
    """Return the fields that `wanted`, an object of the same kind, has and that are not so in `chosen`."""
    differing = []
    for name in ("name", "description", "project_id", "metadata", "tags"):
        value = getattr(wanted, name, None)
        if not value:
            continue
        stored = getattr(chosen, name)
        is_mapping = isinstance(stored, Mapping) and isinstance(value, Mapping)
        if differing_arguments(stored, value) if is_mapping else to_plain(stored) != to_plain(value):
            differing.append(name)
    uid = getattr(wanted, "_uid", None)
    if not differing and uid is not None and uid != chosen.uid:
        differing.append("uid")
    return differing


def take_parameters(fields: dict[str, Any]) -> dict[str, Any] | None:
    """Return the parameters among the fields of a trial, which lose them; None where none are given.

    Raises
    ------
    InvalidCall
        A field does not exist, or the parameters are no dict and no Namespace.
    """
    check_fields(Trial, fields, extra=("arguments",))
    given = fields.pop("arguments", None)
    given = fields.pop("parameters", given)
    return None if given is None else as_dict(given)


def show_arguments(arguments: Mapping[str, Any]) -> None:
    """Print arguments between two lines."""
    rule = "-" * 80
    lines = [rule, *(f"{name:>30}: {value}" for name, value in arguments.items()), rule]
    write_out("\n".join(lines) + "\n")
