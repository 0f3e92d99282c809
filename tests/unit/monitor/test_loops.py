"""Loops: levels, counts, limits, what remains."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tqdm import tqdm

from track import Monitor
from track.errors import InvalidCall
from track.monitor import Hook


class Seen(Hook):
    """Keeps the counts at which it was called, and the variables."""

    def __init__(self, spec: str) -> None:
        super().__init__(spec)
        self.counts: list[tuple[int, ...]] = []
        self.values: list[dict[str, Any]] = []

    def __call__(self, var_dict: dict[str, Any], monitor: Monitor) -> None:
        self.counts.append(tuple(count for count in monitor.triggers.values() if count))
        self.values.append(var_dict)


def test_five_loops_are_five_levels() -> None:
    """The innermost loop counts steps; counts are of the whole run."""
    m = Monitor()

    for _ in m(range(2)):
        for _ in m(range(2)):
            for _ in m(range(3)):
                for _ in m(range(4)):
                    for _ in m(range(5)):
                        pass

    assert m.triggers == {"step": 240, "epoch": 48, "era": 12, "eon": 4, "supereon": 2}


def test_a_level_sticks() -> None:
    """An epoch that has had its inner loop is counted as an epoch, each time; siblings share the steps."""
    seen = Seen("@1e")
    m = Monitor(hooks=[seen])

    for _ in m(range(3)):
        for _ in m(range(4)):
            pass
        for _ in m(range(2)):
            pass

    assert (m.step, m.epoch) == (18, 3)
    assert seen.counts == [(6, 1), (12, 2), (18, 3)]


def test_inner_hooks_come_first() -> None:
    """At the end of an epoch its last step was counted, and its hooks were called."""
    order: list[str] = []

    class Ordered(Hook):
        def __call__(self, var_dict: dict[str, Any], monitor: Monitor) -> None:
            order.append(f"{self.trigger} {monitor.step} {monitor.epoch}")

    m = Monitor(hooks=[Ordered("@1e"), Ordered("@1s")])

    for _ in m(range(2)):
        for _ in m(range(2)):
            pass

    assert order == ["step 1 0", "step 2 0", "epoch 2 1", "step 3 1", "step 4 1", "epoch 4 2"]


def test_a_sixth_loop_is_refused_before_its_first_item() -> None:
    """There are five levels; nothing is drawn for a sixth, and the others are closed."""
    m = Monitor()
    drawn = iter([1])

    def nested(depth: int) -> None:
        for _ in m(drawn if depth == 6 else [0]):
            nested(depth + 1)

    with pytest.raises(InvalidCall, match="5 loops inside each other"):
        nested(1)
    assert next(drawn) == 1
    assert "s" not in m.summary()


@pytest.mark.parametrize("leave", ["break", "return", "raise"])
def test_a_body_that_is_left_does_not_count(leave: str) -> None:
    """`break`, `return` and an exception close the loop; the next one is of the level that it should be."""
    m = Monitor()

    def left() -> None:
        for x in m(range(10)):
            if x == 3:
                if leave == "break":
                    break
                if leave == "return":
                    return
                raise LookupError

    for _ in m(range(2)):
        try:
            left()
        except LookupError as error:
            kept = error  # noqa: F841 - with its traceback, and so its frames
    for _ in m(range(2)):
        pass

    assert (m.step, m.epoch, m.era) == (6 + 2, 2, 0)


def test_a_loop_that_somebody_keeps_is_none_once_its_function_has_ended() -> None:
    """An iterator in the frames of an exception that is kept does not promote what comes later."""
    m = Monitor()
    saved = []

    def fails() -> None:
        bar = iter(m(range(10)))
        next(bar)
        raise LookupError

    try:
        fails()
    except LookupError as error:
        saved.append(error)
    for _ in m(range(3)):
        for _ in m(range(2)):
            assert {*m.timers} == {"step", "epoch"}

    assert m.triggers == {"step": 6, "epoch": 3, "era": 0, "eon": 0, "supereon": 0}


def test_a_cell_that_was_interrupted_leaves_no_level() -> None:
    """In a notebook the iterator of an interrupted cell lives on in the namespace; the next cell begins afresh."""
    namespace: dict[str, Any] = {"m": Monitor()}

    with pytest.raises(KeyboardInterrupt):
        exec("bar = iter(m(range(10)))\nfor x in bar:\n    raise KeyboardInterrupt", namespace)
    exec("for _ in m(range(2)):\n    for _ in m(range(3)):\n        levels = [*m.timers]", namespace)

    assert namespace["levels"] == ["epoch", "step"]
    assert namespace["m"].triggers == {"step": 6, "epoch": 2, "era": 0, "eon": 0, "supereon": 0}


def test_many_loops_leave_nothing_behind() -> None:
    """A monitor that has opened ten thousand loops is as large as before."""
    m = Monitor(hooks=[Seen("^x$@1000000s")])

    def epochs(count: int) -> None:
        for _ in m(range(count)):
            for x in m(range(1)):  # noqa: B007
                pass

    epochs(10)
    gc.collect()
    before = len(gc.get_objects())
    epochs(5000)
    gc.collect()

    assert len(gc.get_objects()) - before < 100


def test_a_loop_in_a_generator_stays_open() -> None:
    """Epochs that a generator gives are epochs, though its frame waits."""
    m = Monitor()

    def epochs() -> Iterator[int]:
        yield from m(range(3))

    for _ in epochs():
        for _ in m(range(2)):
            pass

    assert (m.step, m.epoch) == (6, 3)


@pytest.mark.parametrize("wrap", ["enumerate(m)", "tqdm(m)", "m(tqdm)", "zip"])
def test_a_loop_may_be_wrapped(wrap: str) -> None:
    """What stands between the loop and the monitor changes nothing: the variables are those of the program."""
    seen = Seen("^value$@2s")
    m = Monitor(hooks=[seen])
    loops: dict[str, Any] = {
        "enumerate(m)": enumerate,
        "tqdm(m)": lambda items: tqdm(items, disable=True),
        "m(tqdm)": lambda items: items,
        "zip": lambda items: zip(items, "abcd", strict=True),
    }
    items = m(tqdm(range(4), disable=True) if wrap == "m(tqdm)" else range(4))

    value = 0
    for _ in loops[wrap](items):
        value += 1  # noqa: SIM113 - `enumerate` is what is tried

    assert seen.values == [{"value": 2}, {"value": 4}]
    assert len(items) == 4


def test_threads_have_levels_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops of another thread are not inside those of this one, and no count is lost."""
    m = Monitor()

    class Slow(list[int]):
        """Counts between whose reading and writing another thread has its turn."""

        def __getitem__(self, index: Any) -> Any:
            found = super().__getitem__(index)
            time.sleep(0)
            return found

    monkeypatch.setattr(m, "_counts", Slow(m._counts))
    ready = threading.Barrier(4)

    def run() -> None:
        ready.wait()
        for _ in m(range(5)):
            for _ in m(range(200)):
                pass

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (m.step, m.epoch, m.era) == (4000, 20, 0)


def test_tasks_have_levels_of_their_own() -> None:
    """Loops of two tasks that take turns are not inside each other."""
    m = Monitor()

    async def run() -> None:
        for _ in m(range(3)):
            for _ in m(range(2)):
                await asyncio.sleep(0)

    async def both() -> None:
        await asyncio.gather(run(), run())

    asyncio.run(both())

    assert (m.step, m.epoch, m.era) == (12, 6, 0)


def test_a_limit_ends_all_loops(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing more is drawn once a count has come to its limit; bodies that run go on to their end; it is said once."""
    m = Monitor(limit="@20s")
    drawn = itertools.count()

    for _ in m(range(10)):
        for _ in m(drawn):
            if next(drawn) > 100:
                break
    for _ in m(range(3)):
        pytest.fail("a loop that begins later gives nothing")

    assert (m.step, m.epoch) == (20, 1)
    out = capsys.readouterr().out
    assert out.count("---- Limit reached for step 20 ----") == 1
    assert "---- Stopped at step 20, epoch 1 ----" in out


def test_a_run_beyond_its_limit_does_nothing() -> None:
    """Who goes on from more than the limit gets no item."""
    m = Monitor(limit="@20s")
    m.set_triggers(step=30)

    assert list(m(range(3))) == []
    assert m.step == 30


def test_stop_ends_after_the_body() -> None:
    """`stop` lets the body end, and counts it."""
    m = Monitor()

    for x in m(range(10)):
        if x == 2:
            m.stop("enough")

    assert m.step == 3


def test_inc_counts_and_looks() -> None:
    """By hand: the caller's variables, or those of its caller."""
    seen = Seen("^x$@2e")
    m = Monitor(hooks=[seen])

    def inner() -> None:
        x = "inner"  # noqa: F841
        m.inc("epoch")
        m.inc("e", back=2)

    x = "outer"  # noqa: F841
    inner()
    inner()

    assert m.epoch == 4
    assert seen.values == [{"x": "outer"}, {"x": "outer"}]
    with pytest.raises(NotImplementedError, match="'epochs' is no trigger"):
        m.inc("epochs")


def test_modulo_is_true_at_the_beginning_unless_excluded() -> None:
    """0 is a multiple of everything."""
    m = Monitor()

    assert m.modulo("step", 5)
    assert not m.modulo("s", 5, exclude_1st=True)


def test_summary_shows_counts_of_all() -> None:
    """Totals are the product of lengths, siblings added; a loop without a length shows its count alone."""
    found = []
    m = Monitor()

    for _ in m(range(2)):
        for _ in m(range(3)):
            found.append(m.summary())  # noqa: PERF401
        for _ in m(range(1)):
            pass
    for _ in m(itertools.islice(itertools.count(), 1)):
        found.append(m.summary(verbose=1))  # noqa: PERF401

    assert [(one["e"], one["s"]) for one in found[:6]] == [
        ("0/2", "0/6"), ("0/2", "1/6"), ("0/2", "2/6"), ("1/2", "4/8"), ("1/2", "5/8"), ("1/2", "6/8"),
    ]  # fmt: skip
    assert {*found[5]} == {"last", "e", "s", "wall", "end"}
    assert found[6]["s"] == "8"
    assert {*found[6]} == {"last", "s", "wall", "step", "m_step", "load", "m_load"}
    assert {*m.summary()} == {"last", "e", "s"}
    assert len(repr(m)) < 300


def test_counts_of_a_framework_are_taken() -> None:
    """A hook is called once where its count went past a multiple; one without `@` each time."""
    due, always = Seen("^loss$@10s"), Seen("^loss$")
    m = Monitor(hooks=[due, always], source=lambda: {"loss": "from the source"})

    m.report({"loss": 1, "lr": 2}, step=5)
    m.report({"loss": 3}, step=27, epoch=1)
    m.report({"loss": 4}, step=29, epoch=1)
    m.inc("step")

    assert due.values == [{"loss": 3}, {"loss": "from the source"}]
    assert always.values == [{"loss": 1}, {"loss": 3}, {"loss": 4}]
    assert (m.step, m.epoch) == (30, 1)


def test_names_of_a_framework_need_not_be_those_of_variables() -> None:
    """What is reported may be called ``valid/loss`` or ``eval-rmse``."""
    seen = Seen("^(valid/loss|eval-rmse)$@2s")
    m = Monitor(hooks=[seen])

    m.report({"valid/loss": 1, "eval-rmse": 2, "train/loss": 3}, step=2)

    assert seen.values == [{"valid/loss": 1, "eval-rmse": 2}]


def test_what_cannot_be_looped_over_opens_no_loop() -> None:
    """A number is no iterable: the error is Python's, and no level is left open."""
    m = Monitor()

    with pytest.raises(TypeError, match="not iterable"):
        list(m(5))  # type: ignore[arg-type]

    assert not m.timers


def test_an_iterator_that_raises_is_not_covered_up() -> None:
    """Its exception comes to the program, and its loop is closed."""

    def broken() -> Iterator[int]:
        yield 1
        raise LookupError("no more data")

    m = Monitor()

    with pytest.raises(LookupError, match="no more data"):
        list(m(broken()))
    for _ in m(range(2)):
        pass

    assert (m.step, m.epoch) == (3, 0)


@pytest.mark.parametrize(
    ("items", "length", "shown", "count"),
    [
        (range(3), 2, ["0/2", "1/2", "2/2"], 3),
        (range(2), 5, ["0/5", "1/5"], 2),
        (range(0), None, [], 0),
        ((x for x in range(2)), None, ["0", "1"], 2),
    ],
)
def test_a_length_is_what_is_expected(items: Any, length: int | None, shown: list[str], count: int) -> None:
    """A length that was wrong, one that nobody knows, and no item at all stop nothing, and count what there was."""
    m = Monitor()

    found = [m.summary(verbose=1)["s"] for _ in m(items, length=length)]

    assert (found, m.step) == (shown, count)
