"""`Params`: items, attributes, and one word for each change."""

from __future__ import annotations

import argparse
import copy
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from track.em.containers import Params


@pytest.fixture
def upload() -> Mock:
    """Give what is told of changes."""
    return Mock()


@pytest.fixture
def params(upload: Mock) -> Params:
    """Give two parameters."""
    return Params(upload, {"lr": 0.1, "layers": [64, 10]})


def test_first_parameters_are_no_change(params: Params, upload: Mock) -> None:
    """Nobody is told of what was there at the beginning."""
    assert params.lr == params["lr"] == 0.1
    upload.assert_not_called()


def test_items_and_attributes_are_the_same(params: Params, upload: Mock) -> None:
    """Either way sets, reads and removes; each change is told once."""
    params.epochs = 3
    params["batch"] = 32
    del params.lr
    del params["layers"]

    assert (params["epochs"], params.batch) == (3, 32)
    assert list(params) == ["epochs", "batch"]
    assert upload.call_count == 4


def test_missing_parameter(params: Params) -> None:
    """It is an AttributeError or a KeyError, as Python's own containers say."""
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = params.nothing
    with pytest.raises(KeyError, match="nothing"):
        _ = params["nothing"]
    with pytest.raises(AttributeError, match="'nothing'"):
        del params.nothing
    with pytest.raises(KeyError, match="nothing"):
        del params["nothing"]


@pytest.mark.parametrize("name", ["update", "items", "_values", "_upload", "as_dict"])
def test_names_that_are_items_only(params: Params, upload: Mock, name: str) -> None:
    """A method is not covered by a parameter of its name, which is an item all the same."""
    with pytest.raises(AttributeError, match=f"params\\['{name}'\\]"):
        setattr(params, name, 1)

    params[name] = 1

    assert params[name] == 1
    assert callable(params.update)
    assert upload.call_count == 1


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({1, 2}, [1, 2]),
        (b"x", "eA=="),
        ({"a": {"b": 1j}}, {"a": {"b": "1j"}}),
        (SimpleNamespace(lr=0.1), {"lr": 0.1}),
        (10**5000, hex(10**5000)),
        (float("inf"), float("inf")),
        ((1, {2}), (1, [2])),
    ],
    ids=["set", "bytes", "complex", "namespace", "5,000 digits", "infinity", "tuple"],
)
def test_what_json_cannot_hold_is_converted(params: Params, upload: Mock, value: Any, kept: Any) -> None:
    """It is kept as a trial's parameters are, in a form that a file of text can hold; setting it is one change."""
    params["odd"] = value

    assert params["odd"] == kept
    upload.assert_called_once_with()


def test_value_that_contains_itself_has_an_end(params: Params) -> None:
    """Nothing that is set can stop the training."""
    circle: dict[str, Any] = {}
    circle["again"] = circle

    params["circle"] = circle

    assert list(params["circle"]) == ["again"]
    assert type(params["circle"]["again"]) is str


def test_name_must_be_text(params: Params) -> None:
    """A number is no name."""
    with pytest.raises(TypeError, match="1 is no name"):
        params[1] = 2  # type: ignore[index]


def test_numbers_of_libraries(params: Params) -> None:
    """Scalars of numpy become numbers, which files and JSON can hold."""
    numpy = pytest.importorskip("numpy")

    params.update(a=numpy.float64(0.5), b=numpy.int32(3), c=[numpy.float32(0.25)], d=numpy.bool_(True))

    assert repr(params.as_dict()).endswith("'a': 0.5, 'b': 3, 'c': [0.25], 'd': True}")


@pytest.mark.parametrize("given", [{"lr": 1, "new": 2}, argparse.Namespace(lr=1, new=2), [("lr", 1), ("new", 2)]])
def test_update(params: Params, upload: Mock, given: Any) -> None:
    """Several parameters at once, from whatever people have, are one change."""
    params.update(given, more=3)

    assert params.as_dict() == {"lr": 1, "layers": [64, 10], "new": 2, "more": 3}
    upload.assert_called_once_with()


def test_update_without_overriding(params: Params) -> None:
    """What is there stays, what is new is added."""
    params.update(new_params={"lr": 1, "new": 2}, override=False)

    assert params.as_dict() == {"lr": 0.1, "layers": [64, 10], "new": 2}


def test_dictionary_is_a_copy(params: Params) -> None:
    """Changing what was given out, or given in, changes nothing here."""
    given = {"deep": [1, [2]]}
    params.update(given)
    params.as_dict()["layers"].append(1)
    given["deep"].append(3)

    assert params.as_dict() == {"lr": 0.1, "layers": [64, 10], "deep": [1, [2]]}


def test_views_are_live(params: Params) -> None:
    """`keys`, `values` and `items` show what comes later."""
    keys, values, items = params.keys(), params.values(), params.items()
    params.a = 1

    assert list(keys) == ["lr", "layers", "a"]
    assert list(values)[-1] == 1
    assert ("a", 1) in items


def test_repr_copy_and_length(params: Params) -> None:
    """It shows as what it is, and can be copied."""
    copied = copy.deepcopy(params)
    copied.lr = 2

    assert repr(params) == "Params({'lr': 0.1, 'layers': [64, 10]})"
    assert (len(params), "lr" in params, params == {"lr": 0.1, "layers": [64, 10]}) == (2, True, True)


class TestParse:
    """`parse` finds out how a training is distributed, from the objects of the frameworks."""

    def test_tensorflow(self, params: Params) -> None:
        """Strategy and tasks of each job; the strategy of many workers has two names."""

        class CollectiveAllReduceStrategy:
            cluster_resolver = SimpleNamespace(
                cluster_spec=lambda: SimpleNamespace(as_dict=lambda: {"worker": ["a:1", "b:1"]})
            )

        params.parse(dist_tf_strategy=CollectiveAllReduceStrategy())

        assert params.api == "tf.distribute"
        assert params.policy == "CollectiveAllReduceStrategy (MultiWorkerMirroredStrategy)"
        assert params.config == {"worker": 2}

    def test_torch(self, params: Params) -> None:
        """Wrapper, number of workers and backend."""

        class DistributedDataParallel:
            process_group = SimpleNamespace(size=lambda: 4, name=lambda: "gloo")

        params.parse(dist_torch_model=DistributedDataParallel())

        assert (params.api, params.policy) == ("torch.distributed", "DistributedDataParallel")
        assert params.config == {"worker": 4, "backend": "gloo"}

    def test_horovod(self, params: Params) -> None:
        """The module's name and its size."""
        params.parse(dist_hvd=SimpleNamespace(__name__="horovod.torch", size=lambda: 8))

        assert (params.api, params.config) == ("horovod.torch", {"worker": 8})

    def test_first_that_is_given_counts(self, params: Params, upload: Mock) -> None:
        """The others are not looked at; without any nothing is changed."""
        params.parse()
        upload.assert_not_called()

        params.parse(dist_torch_model=SimpleNamespace(), dist_hvd=object())

        assert params.api == "torch.distributed"
        upload.assert_called_once_with()
