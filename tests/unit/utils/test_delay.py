"""Delayed calls: once, at the first use, and never by accident."""

from __future__ import annotations

import copy
import pickle
import threading
from types import SimpleNamespace

import pytest

from track.errors import TrackError
from track.utils.delay import DelayedCall, FutureIsNotReady, delay_call, is_delayed_call


class _Result:
    name = "result"
    _hidden = "hidden"

    def __call__(self, *args: object, **kwargs: object) -> tuple[object, object]:
        return args, kwargs


class _Counted:
    def __init__(self) -> None:
        self.calls: list[dict[str, object]] = []

    def __call__(self, **kwargs: object) -> _Result:
        self.calls.append(kwargs)
        return _Result()


def test_call_runs_once_with_all_arguments() -> None:
    """Arguments come from the creation, from `add_arguments` and from the call, later ones winning."""
    fun = _Counted()
    delayed = delay_call(fun, a=1, b=1, c=1)

    delayed.add_arguments(b=2, c=2)
    result = delayed(c=3)

    assert isinstance(result, _Result)
    assert fun.calls == [{"a": 1, "b": 2, "c": 3}]


def test_later_calls_go_to_the_result() -> None:
    """Once it has run, the delayed call is called like its result."""
    delayed = delay_call(_Counted())
    delayed()

    assert delayed(1, x=2) == ((1,), {"x": 2})


def test_attribute_runs_the_call() -> None:
    """Reading an attribute of the result needs the result."""
    delayed = delay_call(_Counted())

    assert delayed.name == "result"
    assert not is_delayed_call(delayed)
    assert delayed._hidden == "hidden"


@pytest.mark.parametrize(
    "probe",
    [
        repr,
        bool,
        hash,
        copy.copy,
        is_delayed_call,
        lambda delayed: hasattr(delayed, "__wrapped__"),
        lambda delayed: hasattr(delayed, "__len__"),
        lambda delayed: hasattr(delayed, "_repr_html_"),
        lambda delayed: delayed == 1,
        lambda delayed: isinstance(delayed, dict),
        lambda delayed: delayed.get_future().is_ready(),
        lambda delayed: delayed.get_future().get(),
    ],
)
def test_probe_does_not_run_the_call(probe: object) -> None:
    """What debuggers, notebooks, copy and pickle ask for never starts anything."""
    fun = _Counted()
    delayed = delay_call(fun)

    probe(delayed)  # type: ignore[operator]

    assert fun.calls == []
    assert is_delayed_call(delayed)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))])
def test_copy_can_run_on_its_own(copied: object) -> None:
    """A copy has the arguments known so far and a run of its own."""
    delayed = delay_call(dict, a=1)

    clone = copied(delayed)  # type: ignore[operator]
    clone.add_arguments(b=2)

    assert clone() == {"a": 1, "b": 2}
    assert is_delayed_call(delayed)
    assert delayed() == {"a": 1}


def test_copy_of_a_call_that_ran_has_the_result() -> None:
    """What ran once does not run again in a copy."""
    delayed = delay_call(dict, a=1)
    delayed()

    clone = pickle.loads(pickle.dumps(delayed))

    assert not is_delayed_call(clone)
    assert clone.get_future().get() == {"a": 1}


def test_result_may_be_none() -> None:
    """None is a result like any other."""
    calls: list[int] = []
    delayed = delay_call(calls.append)
    delayed(1)

    assert not is_delayed_call(delayed)
    assert delayed.get_future().is_ready()
    with pytest.raises(AttributeError, match="anything"):
        _ = delayed.anything
    assert calls == [1]


def test_call_that_needs_itself_is_refused() -> None:
    """A call cannot wait for its own result."""
    delayed: DelayedCall = delay_call(lambda: delayed.name)

    with pytest.raises(RuntimeError, match="Circular"):
        delayed()

    assert is_delayed_call(delayed)


def test_call_that_raised_can_be_repeated() -> None:
    """A failure is not a result."""
    answers = iter([ValueError("not yet"), SimpleNamespace(name="ready")])

    def answer() -> object:
        item = next(answers)
        if isinstance(item, Exception):
            raise item
        return item

    delayed = delay_call(answer)

    with pytest.raises(ValueError, match="not yet"):
        delayed()

    assert delayed.name == "ready"


def test_arguments_after_the_run_are_refused() -> None:
    """Arguments that would have no effect are a mistake, and named."""
    delayed = delay_call(dict)
    delayed()

    with pytest.raises(RuntimeError, match="takes no more arguments \\(late\\)"):
        delayed.add_arguments(late=1)


def test_threads_get_one_result() -> None:
    """Threads that meet at the first use run the call once and all get its result."""
    is_inside, may_return = threading.Event(), threading.Event()
    calls: list[int] = []
    results: list[object] = []

    class Itself:
        def __call__(self) -> Itself:
            return self

    def slow() -> object:
        calls.append(1)
        is_inside.set()
        may_return.wait()
        return Itself()

    delayed = delay_call(slow)
    threads = [threading.Thread(target=lambda: results.append(delayed())) for _ in range(4)]
    for thread in threads:
        thread.start()
    is_inside.wait()
    may_return.set()
    for thread in threads:
        thread.join()

    assert len(calls) == 1
    assert results == [delayed.get_future().get()] * 4


def test_future_waits_for_somebody_else() -> None:
    """A future shows the result, and refuses attributes before there is one."""
    delayed = delay_call(_Counted())
    future = delayed.get_future()

    with pytest.raises(FutureIsNotReady, match="'name' was read before"):
        _ = future.name
    before = (future.is_ready(), future.get())
    result = delayed()

    assert before == (False, None)
    assert future.is_ready()
    assert future.get() is result
    assert future.name == "result"


def test_future_error_is_of_the_tree() -> None:
    """One `except TrackError` catches it, and `hasattr` understands it."""
    future = delay_call(_Counted()).get_future()

    assert issubclass(FutureIsNotReady, TrackError)
    assert not hasattr(future, "name")
    assert copy.copy(future).get() is None
