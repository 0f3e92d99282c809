"""What a call of the client must look like: fields that exist, values with their names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from track.errors import InvalidCall, suggestion
from track.fields import given_fields
from track.persistence.contract import fields_by_name
from track.plain import restore, text_keys, to_plain
from track.shown import shown, text_of
from track.structure import Project, Trial, TrialGroup
from track.utils.out import write_out

_NOUNS: dict[type, str] = {Project: "a project", TrialGroup: "a group", Trial: "a trial"}


def check_fields(kind: type, fields: Iterable[str], extra: Collection[str] = ()) -> None:
    """Raise InvalidCall where one is no field of a `Project`, `TrialGroup` or `Trial`, and none of `extra`."""
    known: Mapping[str, Any] = kind.__dataclass_fields__  # type: ignore[attr-defined]
    unknown = sorted(name for name in fields if name not in known and name not in extra)
    if not unknown:
        return
    way_out = suggestion(unknown[0], {*known, *extra})
    if not way_out and kind is Trial:
        way_out = "; parameters go in parameters={...}"
    raise InvalidCall(f"{_NOUNS[kind]} has no field {unknown[0]!r}{way_out}")


def check_kind(kind: type, given: Any, example: str) -> None:
    """Raise InvalidCall, which shows the `example`, where `given` is neither None nor an object of this kind."""
    if given is not None and not isinstance(given, kind):
        raise InvalidCall(f"{shown(given)} is no {kind.__name__}: write {example}")


def as_dict(arguments: Any) -> dict[str, Any]:
    """Return the arguments in a mapping, an object with fields or a parser as a dictionary; InvalidCall for others."""
    if arguments is None:
        return {}
    try:
        fields = given_fields(arguments)
    except Exception:  # noqa: BLE001 - what an object does when it is asked must not stop a training
        fields = {type(arguments).__name__: arguments}
    if fields is None:
        raise InvalidCall(
            f"parameters are a dict or a Namespace, not {shown(arguments)}: write parameters={{'lr': 0.1}}, "
            "log_arguments(lr=0.1), or log_arguments(values) for a dict"
        )
    return text_keys(fields.items())


def named_metrics(first: Any, step: Any, aggregator: Any, named: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Return step, aggregator and metrics of a call that begins with a value without a name: metrics, or the step.

    Raises InvalidCall: a metric has the name of one of the other two.
    """
    if not issubclass(type(first), Mapping):
        # As in log_metrics(3, loss=0.5).
        return first, step if aggregator is None else aggregator, named
    metrics = as_dict(first)
    for name in ("step", "aggregator"):
        if name in metrics:
            raise InvalidCall(f"a metric cannot be called {name!r}: write log_metrics(values, step=3) for its step")
    return step, aggregator, {**named, **metrics}


def differing_arguments(stored: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Return the names whose given value is not the stored one."""
    return [name for name, value in given.items() if to_plain(stored.get(name)) != to_plain(value)]


def differing_fields(chosen: Any, wanted: Any) -> list[str]:
    """Return the fields that `wanted`, an object of the same kind, has and that are not so in `chosen`."""
    differing = []
    for name in ("name", "description", "project_id", "metadata", "tags"):
        value = restore(to_plain(getattr(wanted, name, None)))
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

    Raises InvalidCall: a field does not exist, or the parameters have no fields.
    """
    check_fields(Trial, fields, extra=("arguments",))
    given = fields.pop("arguments", None)
    given = fields.pop("parameters", given)
    return None if given is None else as_dict(given)


def named_metadata(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata among the fields of a trial by name, as it will be stored."""
    named: dict[str, Any] = restore(fields_by_name("metadata", fields.get("metadata")))
    return named


def show_arguments(arguments: Mapping[str, Any]) -> None:
    """Print arguments between two lines."""
    rule = "-" * 80
    lines = [rule, *(f"{name:>30}: {text_of(value)}" for name, value in arguments.items()), rule]
    write_out("\n".join(lines) + "\n")
