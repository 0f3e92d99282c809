"""print_stack shows how a line was reached."""

from __future__ import annotations

import pytest

from track.utils.debug import print_stack


def _outer() -> None:
    _inner()


def _inner() -> None:
    print_stack("here")


def test_calls_are_printed_outermost_first(capsys: pytest.CaptureFixture[str]) -> None:
    """The message comes first, then the calls; the function itself is not among them."""
    _outer()

    text = capsys.readouterr().out
    assert text.startswith("here\n")
    assert text.index("in _outer") < text.index("in _inner")
    assert "in print_stack" not in text
