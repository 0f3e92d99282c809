"""StatStream: statistics in constant space, in one process and in several."""

from __future__ import annotations

import copy
import ctypes
import json
import math
import multiprocessing
import pickle
import statistics
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.children import join, printed_by
from track.utils.stat import StatStream, StatStreamStruct

numbers = st.floats(-1e6, 1e6)


def _stream(values: object, drop: int = 10, shared: bool = False) -> StatStream:
    stream = StatStream(drop, shared=shared)
    for value in values:  # type: ignore[attr-defined]
        stream.update(value)
    return stream


@pytest.mark.parametrize("shared", [False, True])
def test_pinned_numbers_of_0_to_99(shared: bool) -> None:
    """The numbers that users of the first implementation rely on; min is the last dropped observation."""
    stream = _stream(range(100), shared=shared)

    assert (stream.avg, stream.min, stream.max, stream.count) == (54.5, 9, 99, 90)
    assert stream.sd == pytest.approx(25.97915831328387, rel=1e-14)
    assert stream.total == sum(range(10, 100)) == 4905
    assert stream.val == 99


@given(values=st.lists(numbers, min_size=1), drop=st.integers(0, 5))
def test_agrees_with_the_statistics_module(values: list[float], drop: int) -> None:
    """Mean, deviation, sum and count are those of the observations after the dropped ones."""
    stream = _stream(values, drop)
    retained = values[drop:]

    assert stream.count == len(retained)
    assert stream.avg == pytest.approx(statistics.fmean(retained) if retained else 0, abs=1e-6)
    assert stream.sd == pytest.approx(statistics.pstdev(retained) if retained else 0, abs=1e-3)
    assert stream.total == pytest.approx(math.fsum(retained), abs=1e-6)
    assert stream.val == pytest.approx(values[-1], abs=1e-6)


@given(st.lists(st.tuples(numbers, st.integers(0, 5)), min_size=1), st.integers(0, 8))
def test_weight_is_that_many_observations(pairs: list[tuple[float, int]], drop: int) -> None:
    """An observation of weight w changes everything that w observations change, across the boundary too."""
    weighted = StatStream(drop, shared=False)
    for value, weight in pairs:
        weighted.update(value, weight)
    repeated = _stream([value for value, weight in pairs for _ in range(weight)], drop)

    assert weighted.current_count == repeated.current_count
    assert weighted.avg == pytest.approx(repeated.avg, abs=1e-6)
    assert weighted.sd == pytest.approx(repeated.sd, abs=1e-3)
    if weighted.count:
        assert (weighted.min, weighted.max) == (repeated.min, repeated.max)


@given(st.lists(numbers, max_size=30))
def test_shared_and_plain_streams_are_the_same(values: list[float]) -> None:
    """Where the state lives does not change a single bit of it."""
    assert _stream(values, 3).state_dict() == _stream(values, 3, shared=True).state_dict()


def test_weight_that_jumps_over_the_boundary_counts_its_retained_part() -> None:
    """With 10 to drop, a first weight of 14 leaves 4 observations, and their value is the origin."""
    stream = StatStream(10, shared=False)

    stream.update(5.0, weight=14)
    stream.update(10.0)

    assert (stream.count, stream.first_obs, stream.avg, stream.min) == (5, 5.0, 6.0, 5.0)


def test_variance_of_large_close_values_survives() -> None:
    """Shifting by the first observation keeps the digits that matter."""
    stream = _stream([1e9 + i % 2 for i in range(1000)], drop=0)

    assert stream.var == pytest.approx(0.25)


@pytest.mark.parametrize("value", [0.1, 1e-300, 1e16 / 3])
def test_variance_of_a_constant_is_zero(value: float) -> None:
    """Rounding never makes a variance negative."""
    stream = _stream([value] * 1000, drop=0)

    assert (stream.var, stream.sd) == (0, 0)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0]])
def test_nothing_retained_reports_nothing(values: list[float]) -> None:
    """Until the first retained observation a report has zeros and no bounds."""
    stream = _stream(values, drop=2)

    summary = stream.to_dict()

    assert summary == {"avg": 0, "min": None, "max": None, "sd": 0, "count": 0, "unit": "s"}
    assert list(summary) == ["avg", "min", "max", "sd", "count", "unit"]
    assert stream.val == (values[-1] if values else 0)


def test_empty_state_has_infinite_bounds() -> None:
    """The state tells an empty stream from one that saw a zero."""
    state = StatStream(shared=False).state_dict()

    assert (state["min"], state["max"], state["drop_obs"]) == (math.inf, -math.inf, 10)


def test_count_is_an_int() -> None:
    """A report prints 3750, not 3750.0."""
    count = _stream(range(3751), drop=1).to_dict()["count"]

    assert (count, type(count)) == (3750, int)


@pytest.mark.parametrize("values", [[], [math.nan], [math.inf, 1.0], [1.0, -math.inf]])
def test_json_never_holds_a_number_json_does_not_know(values: list[float]) -> None:
    """What is not finite reads null."""

    def refuse(token: str) -> None:
        raise AssertionError(token)

    summary = json.loads(_stream(values, drop=0).to_json(), parse_constant=refuse)

    assert (summary["sd"] is None, summary["unit"]) == (bool(values), "s")


def test_mean_of_an_infinite_start_is_infinite() -> None:
    """An infinite first observation does not turn the mean into NaN."""
    assert _stream([math.inf, 1.0], drop=0).avg == math.inf


def test_row_of_a_table() -> None:
    """`to_array` gives avg, sd, min, max, count; a transformed row has no deviation."""
    stream = _stream([1.0, 3.0], drop=0)

    assert stream.to_array() == [2.0, 1.0, 1.0, 3.0, 2]
    assert stream.to_array(lambda seconds: seconds * 1000) == [2000.0, "NA", 1000.0, 3000.0, 2]
    assert StatStream(shared=False).to_array(str) == ["0.0", "NA", None, None, 0]


def test_in_place_addition_is_one_update() -> None:
    """`stream += x` keeps the stream and takes in x once."""
    stream = same = StatStream(0, shared=False)

    stream += 2.5

    assert stream is same
    assert (stream.count, stream.avg) == (1, 2.5)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    "copied",
    [
        copy.deepcopy,
        lambda stream: pickle.loads(pickle.dumps(stream)),
        lambda stream: StatStream.from_dict(stream.state_dict()),
        lambda stream: StatStream.from_dict(json.loads(json.dumps(stream.state_dict())), shared=False),
    ],
    ids=["deepcopy", "pickle", "state_dict", "json"],
)
def test_copy_continues_on_its_own(shared: bool, copied: object) -> None:
    """A copy has the same state, and later updates of one do not show in the other."""
    stream = _stream([4.0, 5.0, 7.0], drop=1, shared=shared)

    clone = copied(stream)  # type: ignore[operator]
    stream.update(100.0)
    clone.update(9.0)

    assert clone.state_dict() == _stream([4.0, 5.0, 7.0, 9.0], drop=1).state_dict()


def test_null_in_a_state_is_a_number_json_could_not_hold() -> None:
    """A state written by a strict JSON encoder comes back as it was."""
    state = StatStream(3, shared=False).state_dict()

    restored = StatStream.from_dict({**state, "min": None, "max": None}, shared=False)

    assert restored.state_dict() == state


def test_incomplete_state_is_refused() -> None:
    """The missing fields are named."""
    with pytest.raises(ValueError, match="lacks sum_sqr, first_obs"):
        StatStream.from_dict({"sum": 1, "min": 0, "max": 1, "current_count": 1, "current_obs": 0, "drop_obs": 0})


@pytest.mark.parametrize(
    ("value", "weight", "error", "message"),
    [
        ("3", 1, TypeError, "is a number, not '3'"),
        (None, 1, TypeError, "NoneType"),
        (1.0, -1, ValueError, "weight is a whole number >= 0"),
        (1.0, 0.5, TypeError, "float"),
    ],
)
def test_bad_update_changes_nothing(value: object, weight: object, error: type, message: str) -> None:
    """A value that is no number, or a weight that is no count, is refused at once."""
    stream = _stream([1.0], drop=0)
    before = stream.state_dict()

    with pytest.raises(error, match=message):
        stream.update(value, weight)  # type: ignore[arg-type]

    assert stream.state_dict() == before


def test_negative_drop_is_refused() -> None:
    """There is no such number of observations to leave out."""
    with pytest.raises(ValueError, match="drop_first_obs must be >= 0"):
        StatStream(-1, shared=False)


def test_numpy_scalars_become_plain_numbers() -> None:
    """A state never holds an object of another package."""
    numpy = pytest.importorskip("numpy")

    stream = _stream([numpy.float32(0.5), numpy.int64(1)], drop=0)

    assert {type(value) for value in stream.state_dict().values()} == {float, int}


def test_fields_cannot_be_written() -> None:
    """Only `update` changes a stream."""
    with pytest.raises(AttributeError, match="read-only"):
        StatStream(shared=False).min = 3  # type: ignore[assignment]


def test_struct_has_the_eight_fields() -> None:
    """The struct in shared memory is what `state_dict` shows."""
    assert issubclass(StatStreamStruct, ctypes.Structure)
    assert [name for name, *_ in StatStreamStruct._fields_] == list(StatStream(shared=False).state_dict())


def test_import_and_plain_use_are_light() -> None:
    """Neither the import nor a stream of one process loads multiprocessing or ctypes."""
    script = (
        "import sys; from track.utils.stat import StatStream; stream = StatStream(shared=False); stream += 1; "
        "print(*({'multiprocessing', 'ctypes'} & set(sys.modules)))"
    )

    assert printed_by(script) == ""


def _observe(stream: StatStream, count: int) -> None:
    for _ in range(count):
        stream.update(2.0)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_update_one_stream(method: str) -> None:
    """No update of several processes at once is lost, however they were started."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {method}")
    context = multiprocessing.get_context(method)
    stream = StatStream(0)
    workers = [context.Process(target=_observe, args=(stream, 2000)) for _ in range(2)]

    for worker in workers:
        worker.start()
    _observe(stream, 2000)
    for worker in workers:
        join(worker)

    assert [worker.exitcode for worker in workers] == [0, 0]
    assert (stream.count, stream.total) == (6000, 12000.0)


def test_threads_update_one_shared_stream() -> None:
    """No update of several threads at once is lost."""
    stream = StatStream(0)
    threads = [threading.Thread(target=_observe, args=(stream, 2000)) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert stream.count == 8000
