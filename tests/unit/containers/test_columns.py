"""Columns of numbers, one after another."""

from __future__ import annotations

from typing import Any

import pytest

from track.containers.columns import Column


@pytest.mark.parametrize("others", [["end"], [0.5], [2**70, "x"]], ids=str)
def test_steps_that_count_up_are_followed_by_others(others: list[Any]) -> None:
    """What takes no room does so until something else comes after it: all of it is there."""
    column = Column()
    column.extend(Column.run(range(11, 3, -4)))

    column.extend(Column.from_list(others))

    assert column.tolist() == [11, 7, *others]


@pytest.mark.parametrize("value", [15, 0.5, "end", 2**70], ids=str)
def test_steps_that_count_up_are_appended_to(value: Any) -> None:
    """One more value after them is as good as many."""
    column = Column()
    column.extend(Column.run(range(7, 12, 4)))

    column.append(value)

    assert column.tolist() == [7, 11, value]
