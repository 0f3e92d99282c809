"""A set that is computed at the first look."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from track.containers.lazy import LazySet


class _Loader:
    """Gives members, and counts how often it is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> list[str]:
        self.calls += 1
        return ["b", "a", "b"]


@pytest.mark.parametrize(
    "look",
    [len, list, lambda s: "a" in s, lambda s: s == {"a"}, lambda s: s.add("c"), lambda s: s.discard("z")],
    ids=["len", "iterate", "contains", "equal", "add", "discard"],
)
def test_members_are_fetched_once(look: Any) -> None:
    """Nothing is fetched before somebody looks, and then once."""
    loader = _Loader()
    members = LazySet(loader)
    before = loader.calls

    look(members)
    look(members)

    assert (before, loader.calls) == (0, 1)


def test_it_is_a_set() -> None:
    """Members are unique, in the order they came, and compare and combine like those of a set."""
    members = LazySet(_Loader())

    assert list(members) == ["b", "a"]
    assert members == {"a", "b"}
    assert {"a", "b"} == members
    assert members | {"c"} == {"a", "b", "c"}
    assert type(members & {"a"}) is set


def test_it_can_be_changed() -> None:
    """Members are added and removed; one that is not there is no error."""
    members = LazySet(_Loader())

    members.add("c")
    members.discard("a")
    members.discard("z")

    assert members == {"b", "c"}


def test_repr_fetches_nothing() -> None:
    """A set of a million members shows at once that it is in a store; one that was fetched shows some of them."""
    loader = _Loader()
    members = LazySet(loader)

    before = repr(members)

    assert (before, loader.calls) == ("<a set in a store, read when it is looked at>", 0)
    assert "b" in members
    assert repr(members) in ("{'a', 'b'}", "{'b', 'a'}")


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_copy_is_a_plain_set(clone: Any) -> None:
    """A copy holds the members, not the way to fetch them."""
    assert clone(LazySet(lambda: ["a"])) == {"a"}
