"""EstimatedTime: what nested loops have done and what they still need."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from track.utils.eta import EstimatedTime, get_time, to_list
from track.utils.stat import StatStream


def _timer(*seconds: float, drop: int = 0) -> StatStream:
    timer = StatStream(drop, shared=False)
    for value in seconds:
        timer += value
    return timer


def test_text_of_a_simple_loop() -> None:
    """The text has the step, the total and the minutes that remain."""
    eta = EstimatedTime(_timer(60), total=10)

    assert eta.show_eta(4, msg="hi", show=False) == "[ 5/10] | ETA      5.00 min hi"


def test_text_of_nested_loops_has_a_name_and_each_level() -> None:
    """Every level is aligned to its own total."""
    eta = EstimatedTime(_timer(60), total=(2, 100), name="train")

    assert eta.show_eta((0, 9), show=False) == "[1/2] [ 10/100] | ETA train   190.00 min "


def test_text_is_written_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    """By default the text is one line of standard output, and None is returned."""
    eta = EstimatedTime(_timer(60), total=2)

    assert eta.show_eta(0) is None
    assert capsys.readouterr().out == "[1/2] | ETA      1.00 min \n"


@given(totals=st.lists(st.integers(1, 4), min_size=1, max_size=3), start=st.integers(0, 2))
def test_remaining_counts_down_to_zero(totals: list[int], start: int) -> None:
    """Over all the loops, each innermost iteration leaves one less, and the last one leaves none."""
    eta = EstimatedTime(_timer(60), totals, start)
    steps = list(itertools.product(*(range(start, start + total) for total in totals)))

    remaining = [eta.estimated_time(step) for step in steps]

    assert remaining == list(range(len(steps) - 1, -1, -1))


@pytest.mark.parametrize(("step", "remaining"), [((0, 4), 5), ((1, 0), 4), ((1, 4), 0), ([1, 3], 1), (2, 7)])
def test_remaining_of_two_epochs_of_five(step: object, remaining: float) -> None:
    """Indexes of each loop and a count over all of them are both understood."""
    eta = EstimatedTime(_timer(60), total=(2, 5))

    assert eta.estimated_time(step) == remaining  # type: ignore[arg-type]


def test_unit_and_short_name() -> None:
    """Minutes unless another unit is asked for, under either name."""
    eta = EstimatedTime(_timer(60), total=11)

    assert eta.estimate_time(0, unit=1) == 600
    assert eta.elapsed() == 1
    assert eta.elapsed(unit=1) == 60


def test_step_beyond_the_total_makes_it_grow() -> None:
    """A wrong total is corrected, and what is left is no longer claimed to be known."""
    eta = EstimatedTime(_timer(60, 60), total=(1, 2))

    text = eta.show_eta((0, 4), "!", show=False)

    assert text == "[1/1] [5/5] | Elapsed      2.00 min !"
    assert eta.total == 5
    assert "ETA" in str(eta.show_eta((0, 4), show=False))


def test_remaining_is_never_negative() -> None:
    """Beyond the end nothing remains."""
    assert EstimatedTime(_timer(60), total=3).estimated_time(7) == 0


@pytest.mark.parametrize("total", [None, 0, (None, 0), ()])
def test_unknown_total_is_no_error(total: object) -> None:
    """Without totals the elapsed time is shown."""
    eta = EstimatedTime(_timer(60), total)  # type: ignore[arg-type]

    text = eta.show_eta((1, 1), show=False)

    assert text == "[2/2] [2/2] | Elapsed      1.00 min "


def test_count_of_more_levels_than_totals() -> None:
    """Levels nobody announced have a total of one."""
    eta = EstimatedTime(_timer(60), total=3)

    assert eta.show_eta((1, 0), show=False) == "[2/3] [1/1] | ETA      1.00 min "


@pytest.mark.parametrize(("item", "offset", "count"), [([2, 3], 0, 6), ((1, 2), 1, 6), (7, 1, 7), ([], 0, 1)])
def test_count_multiplies_lists_and_tuples(item: object, offset: int, count: int) -> None:
    """A number is left as it is."""
    assert EstimatedTime.count(item, offset) == count


def test_total_is_the_product() -> None:
    """Totals can be changed, and multiply."""
    eta = EstimatedTime(_timer(), total=1)

    eta.set_totals((3, 4))

    assert eta.total == 12


def test_last_time_stands_in_for_the_average() -> None:
    """While all observations are dropped there is no average."""
    assert get_time(_timer(5, drop=10)) == 5
    assert get_time(_timer(1, 3)) == 2


def test_to_list_takes_anything() -> None:
    """An iterable gives its items, a number a list of one."""
    assert to_list(range(2)) == [0, 1]
    assert to_list(5) == [5]
