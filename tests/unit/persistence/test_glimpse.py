"""The facts that a process has written, for the report of a long run."""

from __future__ import annotations

import pytest

from track.persistence.file import glimpse
from track.persistence.file.glimpse import Facts


def test_facts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of a process that says very many are remembered."""
    monkeypatch.setattr(glimpse, "_MOST_FACTS", 100)
    facts = Facts()

    for number in range(5):
        facts.note(b"%d" % number * 40)

    assert [line[:1] for line in facts.lines] == [b"0", b"1", b"2"]


def test_facts_that_were_read_are_forgotten() -> None:
    """What a state has is no part of a glimpse."""
    facts = Facts()
    facts.note(b"a")

    facts.clear()
    facts.note(b"b")

    assert facts.lines == [b"b"]
