"""Specifications: which variables, and when."""

from __future__ import annotations

import re

import pytest

from track.errors import InvalidSpec
from track.monitor import Hook, Spec
from track.monitor.monitor import paired

FORMS = [
    ("^loss$@100s", "^loss$", 100, "step"),
    ("a|b@2step", "a|b", 2, "step"),
    ("x@1e", "x", 1, "epoch"),
    ("x@1er", "x", 1, "era"),
    ("x@1eo", "x", 1, "eon"),
    ("x@1se", "x", 1, "supereon"),
    ("x@07supereon", "x", 7, "supereon"),
    ("@10s", None, 10, "step"),
    ("user@host@3e", "user@host", 3, "epoch"),
    ("fig", "fig", None, None),
]


@pytest.mark.parametrize(("text", "regex", "modulo", "trigger"), FORMS)
def test_a_specification_is_read(text: str, regex: str | None, modulo: int | None, trigger: str | None) -> None:
    """What follows the last `@` is when, and its text is read as the same again."""
    spec = Spec(text)

    again = Spec(str(spec))

    assert (spec.regex, spec.modulo, spec.trigger) == (regex, modulo, trigger)
    assert (again.regex, again.modulo, again.trigger) == (regex, modulo, trigger)


@pytest.mark.parametrize(
    "text", ["x@10", "x@s", "x@0s", "x@-2s", "x@10ss", "x@3epochs", "me@home", "x@", "", "(@1s", 3]
)
@pytest.mark.parametrize("kind", [AssertionError, ValueError])
def test_what_is_none_is_refused(text: str, kind: type[Exception]) -> None:
    """An error names the text and the forms; it is of both kinds that programs expect."""
    with pytest.raises(kind) as caught:
        Hook(text)

    assert isinstance(caught.value, InvalidSpec)
    assert repr(text) in str(caught.value)


def test_a_regex_matches_from_the_beginning() -> None:
    """`opt` is the beginning of a name, `^opt$` all of it."""
    assert [Spec("opt@1e").matches(name) for name in ("opt", "optimizer", "my_opt")] == [True, True, False]
    assert not Spec("^opt$@1e").matches("optimizer")


def test_what_goes_with_an_option_is_one_or_as_many() -> None:
    """One value is for all; a list has one for each, or is refused."""
    assert paired("log", ["a", "b"], fn=len, format=["x", "y"]) == [("a", len, "x"), ("b", len, "y")]
    assert paired("log", None, fn=len) == []
    with pytest.raises(ValueError, match=re.escape("log_fn is one value, or 2 as log; not 3")):
        paired("log", ["a", "b"], fn=[len, len, len])
