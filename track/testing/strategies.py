"""Random events for Hypothesis: lists that a store must accept, in any mixture and order."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from track.columns import Columns
from track.events import (
    Event,
    FieldsMerged,
    GroupCreated,
    MetricsLogged,
    ProjectCreated,
    StatusChanged,
    TimeLogged,
    TrialAttached,
    TrialCreated,
)
from track.persistence.contract import given_series
from track.structure import Status

_SERIES = ["series"]
_HASHES = ("aa", "bb")
_PROJECTS = ("p1", "p2")
_GROUPS = ("g1", "g2")


def names() -> st.SearchStrategy[str]:
    """Return names as users choose them: short, any letters, dots and quotes too."""
    return st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=8)


def finite_numbers() -> st.SearchStrategy[int | float]:
    """Return numbers that JSON can say: integers of 53 bits and finite floats, -0.0 too."""
    return st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))


def json_values() -> st.SearchStrategy[Any]:
    """Return JSON data: what `track.plain.to_plain` leaves as it is."""
    leaves = st.one_of(st.none(), st.booleans(), finite_numbers(), names())
    return st.recursive(leaves, _containers, max_leaves=5).filter(_is_untagged)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.lists(inner, max_size=3), st.dictionaries(names(), inner, max_size=3))


def _is_untagged(value: Any) -> bool:
    if isinstance(value, dict):
        return set(value) != {"dtype", "value"} and all(map(_is_untagged, value.values()))
    return not isinstance(value, list) or all(map(_is_untagged, value))


def _fields() -> st.SearchStrategy[dict[str, Any]]:
    reserved = {"_update_count", "_last_change", "dtype"}
    return st.dictionaries(names().filter(lambda name: name not in reserved), json_values(), max_size=3)


def _at() -> st.SearchStrategy[float]:
    """Return times in any order, as events that arrive late have; some of them are equal."""
    return st.one_of(st.sampled_from([1.0e9, 1.5e9, 2.0e9]), st.floats(1.0e9, 2.0e9))


@st.composite
def _columns(draw: st.DrawFn) -> Columns:
    """Return points as `log_series` writes them: of any numbers, with steps of any kind, or some, or none."""
    kinds = (st.floats(), st.integers(), st.one_of(st.floats(), st.integers(), st.booleans()))
    values = draw(st.one_of(*(st.lists(kind, min_size=1, max_size=8) for kind in kinds)))
    size = len(values)
    steps = draw(
        st.one_of(
            st.none(),
            st.builds(lambda first, stride: [first + stride * place for place in range(size)], _few(), _few()),
            st.lists(st.one_of(_few(), st.none(), names(), st.tuples(_few())), min_size=size, max_size=size),
        )
    )
    times = draw(st.one_of(st.none(), st.lists(_at(), min_size=size, max_size=size)))
    (made,) = given_series(draw(st.sampled_from(["loss", "acc", "null", "a.b"])), values, steps, times).columns()
    return made


def _few() -> st.SearchStrategy[int]:
    return st.integers(-5, 20)


def _trial_events(uid: str, groups: list[str]) -> st.SearchStrategy[Event]:
    steps = st.one_of(st.none(), st.integers(-5, 20), names())
    values = st.dictionaries(st.sampled_from(["loss", "acc", "null", "a.b"]), finite_numbers(), min_size=1)
    statuses = st.sampled_from([(status.name, status.value) for status in Status])
    kinds: list[st.SearchStrategy[Any]] = [
        st.builds(MetricsLogged, st.just(uid), values, _at(), steps),
        st.builds(MetricsLogged, st.just(uid), st.just({}), _at(), columns=_columns()),
        st.builds(TimeLogged, st.just(uid), names(), st.floats(0, 1e6), _at(), st.just(_SERIES)),
        st.builds(StatusChanged, st.just(uid), statuses, _at(), st.one_of(st.none(), names())),
        st.builds(
            FieldsMerged,
            st.just("trial"),
            st.just(uid),
            st.sampled_from(["parameters", "metadata", "tags"]),
            _fields(),
            _at(),
        ),
        st.builds(
            FieldsMerged,
            st.just("trial"),
            st.just(uid),
            st.just("deleted"),
            st.fixed_dictionaries({"deleted": st.booleans()}),
            _at(),
        ),
        st.builds(TrialAttached, st.just(uid), st.just("project"), st.sampled_from(_PROJECTS), _at()),
    ]
    if groups:
        kinds.append(st.builds(TrialAttached, st.just(uid), st.just("group"), st.sampled_from(groups), _at()))
    return st.one_of(kinds)


@st.composite
def event_lists(draw: st.DrawFn, max_size: int = 25) -> list[Event]:
    """Return events that make sense together: projects, groups and trials first, then anything about them.

    `draw`: given by Hypothesis. `max_size`: the most events after the first ones.
    """
    events: list[Event] = [draw(st.builds(ProjectCreated, st.just(uid), _at(), st.just(uid))) for uid in _PROJECTS]
    groups = draw(st.lists(st.sampled_from(_GROUPS), unique=True))
    events += [GroupCreated(uid, draw(_at()), uid, None, draw(_fields()), "p1") for uid in groups]
    trials = draw(st.lists(st.tuples(st.sampled_from(_HASHES), st.integers(0, 2)), unique=True, min_size=1, max_size=4))
    for digest, revision in trials:
        fields: dict[str, Any] = {"name": draw(st.one_of(st.none(), names())), "parameters": draw(_fields())}
        fields["project_id"] = "p1"
        events.append(TrialCreated(digest, revision, draw(_at()), **fields))
    uids = [f"{digest}_{revision}" for digest, revision in trials]
    about = st.sampled_from(uids).flatmap(lambda uid: _trial_events(uid, groups))
    if groups:
        group = st.sampled_from(groups)
        merged = st.builds(FieldsMerged, st.just("group"), group, st.just("metadata"), _fields(), _at())
        about = st.one_of(about, about, merged)
    return events + draw(st.lists(about, max_size=max_size))
