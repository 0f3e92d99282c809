"""`trial.log_series`: an array in one call."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.children import printed_by
from track import TrackClient
from track.columns import MOST
from track.errors import InvalidEvent
from track.events import MetricsLogged, decode, encode
from track.logger import TrialLogger
from track.persistence.contract.given import given_series


@pytest.fixture
def trial() -> TrialLogger:
    """Give a trial in memory."""
    return TrackClient("ephemeral:").new_trial(parameters={"lr": 0.1})


def test_series_starts_the_trial(trial: TrialLogger) -> None:
    """As with the first number, the trial runs from then on."""
    trial.log_series("loss", [0.5, 0.25], steps=[3, 6])

    assert (dict(trial.trial.metrics["loss"]), trial.trial.status.name) == ({3: 0.5, 6: 0.25}, "Running")


def test_series_after_the_end_is_kept_and_said(trial: TrialLogger, caplog: pytest.LogCaptureFixture) -> None:
    """As with a number, one warning says that the trial has finished."""
    with trial:
        pass

    trial.log_series("loss", [0.5])

    assert trial.trial.metrics["loss"] == [0.5]
    assert "has finished" in caplog.text


def _torch(numbers: Any) -> Any:
    torch = pytest.importorskip("torch")
    return torch.tensor(numbers, requires_grad=isinstance(numbers[0], float))


def _bfloat(numbers: Any) -> Any:
    torch = pytest.importorskip("torch")
    return torch.tensor(numbers, dtype=torch.bfloat16)


def _pandas(numbers: Any) -> Any:
    return pytest.importorskip("pandas").Series(numbers, index=[7] * len(numbers))


def _nullable(numbers: Any) -> Any:
    return pytest.importorskip("pandas").array(numbers)


def _arrow(numbers: Any) -> Any:
    return pytest.importorskip("pyarrow").array(numbers)


@pytest.mark.parametrize("make", [_torch, _pandas, _nullable, _arrow], ids=lambda make: make.__name__)
@pytest.mark.parametrize("numbers", [[1, 2**53 + 1], [0.1, 0.25]])
def test_series_of_other_packages(trial: TrialLogger, make: Callable[[Any], Any], numbers: list[float]) -> None:
    """Tensors, series and arrays are their numbers, exactly."""
    given = make(numbers)

    trial.log_series("loss", given, steps=make([4, 2]))

    expected = given.tolist() if hasattr(given, "tolist") else list(given)
    assert list(trial.trial.metrics["loss"].items()) == list(zip([4, 2], expected, strict=True))
    assert list(map(type, trial.trial.metrics["loss"].values())) == list(map(type, numbers))


def test_series_of_a_type_that_numpy_does_not_have(trial: TrialLogger) -> None:
    """A tensor of bfloat16 is taken as it is."""
    trial.log_series("loss", _bfloat([0.5, 0.25]))

    assert trial.trial.metrics["loss"] == [0.5, 0.25]


class _Tensor:
    """What a tensor has that needs gradients, or is on a device."""

    def __init__(self, numbers: list[Any], place: str = "device") -> None:
        self._numbers, self._place = numbers, place
        self.shape = (len(numbers),)

    def __len__(self) -> int:
        return len(self._numbers)

    def detach(self) -> _Tensor:
        return _Tensor(self._numbers, "device without gradients")

    def cpu(self) -> _Tensor:
        assert self._place == "device without gradients"
        return _Tensor(self._numbers, "here")

    def tolist(self) -> list[Any]:
        assert self._place == "here"
        return self._numbers


def test_series_of_a_tensor_elsewhere(trial: TrialLogger) -> None:
    """A tensor is detached from its gradients, and fetched from its device."""
    trial.log_series("loss", _Tensor([0.5, 0.25]), _Tensor([1, 2]))

    assert dict(trial.trial.metrics["loss"]) == {1: 0.5, 2: 0.25}


def test_tensor_with_two_dimensions_is_refused(trial: TrialLogger) -> None:
    """The error says how to give one dimension."""
    torch = pytest.importorskip("torch")

    with pytest.raises(InvalidEvent, match=r"2 dimensions.*ravel"):
        trial.log_series("loss", torch.zeros(2, 2))


def test_series_imports_nothing() -> None:
    """A list, a range and an array of the standard library need no other package."""
    script = (
        "import array, sys; from track import TrackClient\n"
        "trial = TrackClient('ephemeral:').new_trial(parameters={})\n"
        "trial.log_series('loss', [0.5, 1], range(2), [1e9, 2e9])\n"
        "trial.log_series('loss', array.array('f', [0.5]))\n"
        "print(len(trial.trial.metrics['loss']), 'numpy' in sys.modules)\n"
    )

    assert printed_by(script).split() == ["3", "False"]


def test_steps_that_count_up_evenly_take_no_room() -> None:
    """They are a first one and a stride, whether they come as a range, a list or an array."""
    given: list[Any] = [range(10, 410, 4), list(range(10, 410, 4))]
    if "numpy" in sys.modules:
        given.append(sys.modules["numpy"].arange(10, 410, 4))

    for steps in given:
        (made,) = given_series("loss", [0.5] * 100, steps).columns()

        assert (made.first, made.stride, made.step) == (10, 4, None)


def test_event_of_a_series_is_bounded() -> None:
    """However long the texts are that are steps, an event has about a mebibyte, and at most 4,096 points."""
    steps = [f"{number}{'x' * 2000}" for number in range(5000)]

    events = [
        MetricsLogged("ab_0", {}, 1.0, columns=columns)
        for columns in given_series("loss", [0.5] * 5000, steps).columns()
    ]

    assert max(len(encode(event)) for event in events) < 1_100_000
    assert max(event.columns.size for event in events if event.columns) <= MOST
    assert [step for event in events if event.columns for step, _, _ in event.columns.points(1.0)] == steps


def test_line_with_the_text_null_is_exact() -> None:
    """Bytes whose base64 has the letters of null are no reason to touch the numbers."""
    (columns,) = given_series("null", memoryview(b"\x9e\xe9e" * 8).cast("d")).columns()
    event = MetricsLogged("ab_0", {}, 1.0, columns=columns)

    assert b"null" in encode(event).replace(b'"null"', b"")
    assert decode(encode(event)) == event


@pytest.mark.parametrize(
    "columns",
    [
        '{"name":"a","size":0,"value":[]}',
        '{"name":"a","size":4097,"value":[1],"first":0}',
        '{"name":"a","size":2,"value":[1]}',
        '{"name":"a","size":1,"value":{"typecode":"d","data":"AAA="}}',
        '{"name":"a","size":1,"value":{"typecode":"f","data":"AAAAAAAA8D8="}}',
        '{"name":"a","size":1,"value":{"typecode":"d","data":"AAAAAAAA8D8=","odd":{"1":2}}}',
        '{"name":"a","size":2,"value":[1,2],"step":[1]}',
        '{"name":"a","size":2,"value":[1,2],"step":[1,2],"first":1}',
        '{"name":"a","size":2,"value":[1,2],"first":9223372036854775807}',
        '{"name":"a","size":2,"value":[1,2],"at":"AAAAAAAA8D8="}',
        '{"name":"a","size":1,"value":{"typecode":"d","data":"no base64"}}',
    ],
)
def test_damaged_columns_are_no_event(columns: str) -> None:
    """A line whose columns do not belong together is refused as a whole, before anybody applies it."""
    line = f'{{"event":"metrics","trial":"ab_0","values":{{}},"at":1.0,"columns":{columns}}}'

    with pytest.raises(InvalidEvent, match="not an event"):
        decode(line.encode())
