"""Variables: found where the loop is, looked at when it is due, and not kept."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from typing import Any

import pytest

from tests.unit.monitor.test_loops import Seen
from track import Monitor
from track.monitor import monitor as module


class Batch:
    """Something that is large, and can be asked whether it lives."""


def test_frames_are_looked_at_only_when_a_hook_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two due steps nobody walks the stack; a hook without variables never does."""
    looked = []
    original = module.frame_of
    monkeypatch.setattr(module, "frame_of", lambda code: looked.append(m.step) or original(code))
    m = Monitor(hooks=[Seen("^x$@10s"), Seen("@3s")])

    for x in m(range(35)):  # noqa: B007
        pass

    assert looked == [10, 20, 30]


def test_nothing_is_kept_alive() -> None:
    """A batch that the program has let go of is gone, within its body too, also after a hook has looked at it."""
    m = Monitor(hooks=[Seen("^size$@1s")])
    alive: list[int] = []
    batches: list[weakref.ref[Batch]] = []

    def loader() -> Any:
        for _ in range(4):
            batch = Batch()
            batches.append(weakref.ref(batch))
            yield batch
            del batch

    def train() -> None:
        for batch in m(loader()):
            size = id(batch)  # noqa: F841
            gen = None  # noqa: F841
            alive.append(sum(one() is not None for one in batches))

    train()

    # The one in the body, and none of those before: the loader holds one itself while it waits.
    assert alive == [1, 1, 1, 1]
    assert [one() for one in batches] == [None] * 4


def test_a_batch_may_be_freed_in_the_body() -> None:
    """`del batch` frees it: neither the monitor nor its generator has another name for it."""
    m = Monitor(hooks=[Seen("^x$@1s")])
    freed = []

    def train() -> None:
        x = 0  # noqa: F841
        for batch in m(Batch() for _ in range(3)):
            reference = weakref.ref(batch)
            del batch
            freed.append(reference() is None)

    train()

    assert freed == [True, True, True]


def test_what_the_program_has_of_its_variables_stays() -> None:
    """Who keeps `locals()` keeps what is in it, though a monitor has looked."""
    m = Monitor(hooks=[Seen("^x$@1s")])

    def train() -> dict[str, Any]:
        x = 5
        kept = locals()
        for _ in m(range(2)):
            pass
        return kept

    assert train()["x"] == 5


def test_code_of_a_module_or_a_notebook_keeps_its_names() -> None:
    """In `exec`, as in a module or a cell, the namespace is the program's own; what Python put there is not shown."""
    seen = Seen(".*@1s")
    namespace: dict[str, Any] = {"m": Monitor(hooks=[seen]), "__secret__": 1}

    exec("total = 0\nfor x in m(range(2)):\n    total += x\n", namespace)

    assert namespace["total"] == 1
    assert {"m", "x", "total"} <= seen.values[-1].keys()
    assert not [name for name in seen.values[-1] if name.startswith("__")]


def test_variables_of_closures_and_generators_are_found() -> None:
    """Cells and free variables are variables; a name without a value yet is none."""
    seen = Seen("^(own|free|cell|later)$@1s")
    m = Monitor(hooks=[seen])
    free = 1

    def run() -> Any:
        own, cell = 2, 3

        def inner() -> int:
            return cell + free

        for _ in m(range(1)):
            yield own, inner()
        later = 4  # noqa: F841

    list(run())

    assert seen.values == [{"own": 2, "cell": 3, "free": 1}]


def test_the_innermost_of_a_recursion_is_meant() -> None:
    """A function that calls itself is looked at where its loop runs."""
    seen = Seen("^depth$@1s")
    m = Monitor(hooks=[seen])

    def nested(depth: int) -> None:
        if depth:
            nested(depth - 1)
        for _ in m([0]):
            pass

    nested(2)

    assert [one["depth"] for one in seen.values] == [0, 1, 2]


def test_a_loop_in_another_thread_says_once_that_it_finds_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A loader that runs ahead in a thread has not the program's variables: one warning, and the way out."""
    seen = Seen("^x$@1s")
    m = Monitor(hooks=[seen])
    items = m(range(3))

    thread = threading.Thread(target=lambda: list(items))
    thread.start()
    thread.join()

    assert seen.values == [{}, {}, {}]
    assert [record.getMessage() for record in caplog.records if "its variables are not found" in record.getMessage()]
    assert len(caplog.records) == 1


def test_what_a_regex_matches_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Who asks for `opt` and gets `optimizer` can see it, at debug."""
    m = Monitor(hooks=[Seen("opt@1s")])
    opt = optimizer = 0  # noqa: F841

    with caplog.at_level(logging.DEBUG, "track.monitor"):
        for _ in m(range(3)):
            pass

    assert [record.getMessage() for record in caplog.records] == [
        "opt@1step matches opt, optimizer in test_what_a_regex_matches_is_said_once"
    ]


def test_a_monitor_does_not_live_on() -> None:
    """A monitor that nobody refers to is gone, with all it has seen."""

    def train() -> weakref.ref[Monitor]:
        m = Monitor(hooks=[Seen("^x$@1s")])
        for x in m(range(3)):  # noqa: B007
            pass
        return weakref.ref(m)

    reference = train()
    gc.collect()

    assert reference() is None
