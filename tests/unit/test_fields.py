"""What people configure a training with, and what it holds: one conversion, in every front."""

from __future__ import annotations

import argparse
import array
import collections
import dataclasses
import datetime
import enum
import pathlib
import subprocess
import sys
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import MagicMock

import attrs
import ml_collections
import msgspec
import numpy
import omegaconf
import pandas
import pydantic
import pytest

import track
from track import TrackClient, fetch
from track.errors import InvalidCall, InvalidEvent
from track.fields import fields_of, given_fields
from track.plain import printable, restore, to_number, to_plain


@dataclasses.dataclass
class _Data:
    lr: float = 0.1
    constant: typing.ClassVar[int] = 3


@dataclasses.dataclass(slots=True)
class _Slots:
    lr: float = 0.1


class _Pair(typing.NamedTuple):
    lr: float = 0.1


class _Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    lr: float = 0.1


class _Struct(msgspec.Struct):
    lr: float = 0.1


_Attrs = attrs.make_class("_Attrs", {"lr": attrs.field(default=0.1)}, slots=True)

CONFIGURATIONS: dict[str, Any] = {
    "dict": {"lr": 0.1},
    "mapping proxy": types.MappingProxyType({"lr": 0.1}),
    "Namespace": argparse.Namespace(lr=0.1),
    "SimpleNamespace": types.SimpleNamespace(lr=0.1),
    "dataclass": _Data(),
    "dataclass with slots": _Slots(),
    "NamedTuple": _Pair(),
    "attrs": _Attrs(),
    "pydantic": _Model(),
    "msgspec": _Struct(),
    "OmegaConf": omegaconf.OmegaConf.create({"lr": 0.1}),
    "OmegaConf of a dataclass": omegaconf.OmegaConf.structured(_Data),
    "ml_collections": ml_collections.ConfigDict({"lr": 0.1}),
    "ml_collections, frozen": ml_collections.FrozenConfigDict({"lr": 0.1}),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    return parser


@pytest.mark.parametrize("configuration", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_configuration_is_its_fields(configuration: Any) -> None:
    """At the top and inside, as parameters, metadata and tags, of a client and of a logger, it is a dictionary."""
    inside = {"inside": configuration}
    trial = TrackClient("ephemeral:").new_trial(parameters=configuration, metadata=configuration)
    trial.log_metadata(**inside)
    trial.add_tags(**inside)
    client = TrackClient("ephemeral:")
    client.new_trial()

    returned = client.log_arguments(configuration, **inside)

    stored = trial.trial
    assert stored.parameters == {"lr": 0.1}
    assert (stored.metadata["lr"], stored.metadata["inside"], stored.tags) == (
        0.1,
        {"lr": 0.1},
        {"inside": {"lr": 0.1}},
    )
    assert client.trial is not None
    assert client.trial.parameters == {"lr": 0.1, "inside": {"lr": 0.1}}
    assert returned.lr == 0.1


@pytest.mark.parametrize("through", ["parameters", "log_arguments", "client"])
def test_parser_parses_the_command_line(through: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser is parsed wherever it is given, and what it found comes back."""
    monkeypatch.setattr(sys, "argv", ["train.py", "--lr", "0.5"])
    client = TrackClient("ephemeral:")

    if through == "parameters":
        client.new_trial(parameters=_parser())
    elif through == "log_arguments":
        assert client.new_trial().log_arguments(_parser()) == argparse.Namespace(lr=0.5)
    else:
        client.new_trial()
        assert client.log_arguments(_parser()) == argparse.Namespace(lr=0.5)

    assert client.trial is not None
    assert client.trial.parameters == {"lr": 0.5}


@pytest.mark.parametrize("configuration", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_runs_take_the_same(configuration: Any) -> None:
    """The hyperparameters of `track.em` are converted as a trial's parameters are."""
    from track.em.containers import Params

    params = Params(lambda: None, configuration)
    params.update(configuration)
    params["inside"] = configuration

    assert params.as_dict()["inside"] in ({"lr": 0.1}, (0.1,))
    assert params.as_dict()["lr"] == 0.1


def test_what_has_no_fields_is_refused() -> None:
    """A number, a list and a class are no parameters."""
    for given in (3, [1], _Data):
        with pytest.raises(InvalidCall, match="parameters are a dict or a Namespace"):
            TrackClient("ephemeral:").new_trial(parameters=given)


class _Colour(enum.Enum):
    RED = frozenset({1})


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (
            omegaconf.OmegaConf.create({"layers": [64, {"a": "${b}"}], "b": 1, "lr": "???"}),
            {"layers": [64, {"a": 1}], "b": 1, "lr": "???"},
        ),
        (omegaconf.OmegaConf.create({"a": "${nowhere}"}), {"a": "${nowhere}"}),
        (omegaconf.OmegaConf.create([1, [2]]), [1, [2]]),
        (ml_collections.FieldReference(3), 3),
        (_Model(lr=0.5, more=1), {"lr": 0.5, "more": 1}),  # type: ignore[call-arg]
        (collections.deque([1]), [1]),
        (collections.UserList([1]), [1]),
        (collections.UserString("text"), "text"),
        (array.array("d", [0.5]), [0.5]),
        ({"a": 1}.values(), [1]),
        (range(10_000), "range(0, 10000)"),
        (_Colour.RED, [1]),
        ([pathlib.PurePosixPath("a"), datetime.timedelta(1)], ["a", 86400.0]),
        (numpy.longdouble(1.5), 1.5),
        (numpy.array([1.5, 2.5], dtype=numpy.longdouble), [1.5, 2.5]),
        (numpy.ma.array([1.0, 2.0], mask=[True, False]), [None, 2.0]),
        (numpy.ma.masked, None),
        (numpy.datetime64("1970-01-02", "ns"), 86400.0),
        (numpy.array(["1970-01-02", "NaT"], dtype="datetime64[s]"), [86400.0, None]),
        (numpy.timedelta64(1, "s"), 1.0),
        (pandas.NaT, None),
        (pandas.Timestamp("1970-01-02"), 86400.0),
        (pandas.Series([1, 2]), [1, 2]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_of_libraries(value: Any, plain: Any) -> None:
    """What libraries call a list, a number or a date is one; what is missing in it is None, or as it is written."""
    assert to_plain(value) == plain


def test_half_of_a_dataclass_is_what_it_has() -> None:
    """A field that is set later is left out; a property that fails says so."""

    @dataclasses.dataclass
    class Late:
        lr: float = 0.1
        steps: int = dataclasses.field(init=False)

    class Failing(_Struct):
        def __getattribute__(self, name: str) -> Any:
            if name == "lr":
                raise RuntimeError("not now")
            return super().__getattribute__(name)

    assert to_plain(Late()) == {"lr": 0.1}
    assert to_plain(Failing()) == {"lr": "<lr: reading it failed with RuntimeError>"}


# numbers


@pytest.mark.parametrize(
    ("number", "stored"),
    [
        (numpy.float32(0.1), 0.1),
        (numpy.float16(0.1), 0.1),
        (numpy.float32(1e-45), 1e-45),
        (numpy.float32(16777217), 16777216.0),
        (numpy.array([0.1, 3e38], dtype=numpy.float32), [0.1, 3e38]),
        (numpy.float64(0.1) + 0.2, 0.30000000000000004),
    ],
)
def test_parameter_of_32_bits_is_its_shortest_decimal(number: Any, stored: Any) -> None:
    """It is found by the number that a person writes."""
    assert to_plain(number) == stored


def test_brain_float_is_its_shortest_decimal() -> None:
    """The 16 bits of bfloat16, as torch has them, are known too."""
    tensor = types.SimpleNamespace(shape=(), dtype="torch.bfloat16", item=lambda: 0.10009765625)

    assert to_plain(tensor) == 0.1


def test_parameters_are_found_and_metrics_are_exact() -> None:
    """A query for a number of 32 bits finds the parameter by its decimal, and the metric by its every bit."""
    client = TrackClient("ephemeral:")
    with client.new_trial(parameters={"lr": numpy.float32(0.1)}) as trial:
        trial.log_metrics(loss=numpy.float32(0.1))
    found = client.protocol.fetch_trials

    assert dict(trial.trial.metrics)["loss"] == [float(numpy.float32(0.1))]
    assert len(found({"parameters.lr": 0.1})) == len(found({"parameters.lr": numpy.float32(0.1)})) == 1
    assert len(found({"metrics.loss": numpy.float32(0.1)})) == 1


@pytest.mark.parametrize("number", [10**5000, -(10**5000), 2**2000], ids=["positive", "negative", "binary"])
def test_integer_of_5000_digits_comes_back(number: int, tmp_path: Any) -> None:
    """Python refuses to write it in decimals; a store does not, and a report shows it in hexadecimal."""
    uri = f"file://{tmp_path}/a.json"
    with TrackClient(uri).new_trial(parameters={"n": number}) as trial:
        trial.log_metrics(step=number, n=number)
    trial.save()

    stored = track.fetch(uri)[0]

    assert stored.parameters == {"n": number}
    assert dict(stored.metrics["n"]) == {number: number}
    assert printable({"n": number}) == {"n": hex(number)}
    assert len(repr(stored.metrics)) < 300


@pytest.mark.parametrize(
    ("value", "number"),
    [(numpy.ma.masked, "nan"), (numpy.longdouble(1.5), "1.5"), (numpy.clongdouble(1j), "None"), (MagicMock(), "1.0")],
    ids=["masked", "long double", "complex", "mock"],
)
def test_metric_of_odd_objects(value: Any, number: str) -> None:
    """The mean of nothing is NaN; an object that answers anything does not recurse for ever."""
    assert repr(to_number(value)) == number


# keys and texts


def test_bytes_are_base64_in_a_report() -> None:
    """They come back as bytes, and a person sees text."""
    with TrackClient("ephemeral:").new_trial(parameters={"key": b"abc"}) as trial:
        pass

    assert trial.trial.parameters == {"key": b"abc"}
    assert track.to_json(trial.trial, short=True)["parameters"] == {"key": "YWJj"}


def test_keys_that_are_the_same_text_are_both_kept(caplog: pytest.LogCaptureFixture) -> None:
    """The second is named with its type, and that is said."""
    assert to_plain({1: "a", "1": "b", "1 (str)": "c"}) == {"1": "a", "1 (str)": "b", "1 (str) (str)": "c"}
    assert "two keys are the same text '1': the second is named '1 (str)'" in caplog.text


def test_lone_surrogates_are_stored(tmp_path: Any) -> None:
    """Half of a pair, as in a file name of another encoding, becomes a question mark wherever it stands."""
    odd = "caf\udce9"
    uri = f"sqlite://{tmp_path}/a.db"
    with TrackClient(uri).new_trial(name=odd, parameters={odd: odd}, description=odd) as trial:
        trial.log_metrics({odd: 1.0}, step=odd)
        trial.add_tags(**{odd: odd})
    trial.protocol.flush()

    stored = track.fetch(uri)[0]

    assert (stored.name, stored.description) == ("caf?", "caf?")
    assert stored.parameters == stored.tags == {"caf?": "caf?"}
    assert {name: dict(values) for name, values in stored.metrics.items()} == {"caf?": {"caf?": 1.0}}


# objects that misbehave


class _Hostile:
    """Raises whatever it is asked."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class _Endless(collections.abc.Mapping[str, Any]):
    """A mapping that makes up items for ever."""

    def __getitem__(self, key: str) -> Any:
        return _Endless()

    def __iter__(self) -> Iterator[str]:
        count = 0
        while True:
            yield str(count)
            count += 1

    def __len__(self) -> int:
        return 1


class _Deeper(collections.abc.Mapping[str, Any]):
    """A mapping that is inside of itself, each time another object."""

    def __getitem__(self, key: str) -> Any:
        return _Deeper()

    def __iter__(self) -> Iterator[str]:
        return iter(("deeper",))

    def __len__(self) -> int:
        return 1


def _circle() -> list[Any]:
    circle: list[Any] = []
    circle.append({"again": circle})
    return circle


def _recursive() -> Any:
    class Recursive:
        def __repr__(self) -> str:
            return repr(self)

    return Recursive()


def _everything() -> Any:
    class Everything:
        def __getattr__(self, name: str) -> Any:
            return self

        def __call__(self, *args: Any) -> Any:
            return self

    return Everything()


@pytest.mark.parametrize(
    "make", [_Hostile, _Endless, _Deeper, _circle, _recursive, _everything, lambda: object, lambda: _circle]
)
def test_nothing_an_object_does_stops_a_training(make: Callable[[], Any]) -> None:
    """As parameter, metadata, tag, name and error it is kept as text; as a metric it is refused by an error of ours."""
    value = make()
    client = TrackClient("ephemeral:")

    trial = client.new_trial(name=value, description=value, parameters={"x": value, "deep": [value]})
    trial.log_metadata(x=value)
    trial.add_tags(x=value)
    trial.set_status("exception", value)
    with pytest.raises(InvalidEvent, match="metric 'x' is "):
        trial.log_metrics(x=value)

    assert restore(to_plain(trial.trial.parameters)) == trial.trial.parameters
    assert len(repr(trial.trial)) < 300


@pytest.mark.parametrize("make", [_Hostile, _circle, _recursive, _everything])
def test_nothing_stops_the_other_fronts(
    make: Callable[[], Any], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parameters of a run, fields given to a trial that waits, arguments that are printed, and queries."""
    from track.em.containers import Params

    value = make()
    client = TrackClient("ephemeral:")
    log = client.new_trial(metadata={"a": value}, tags=[value], name="first")
    log.log_metadata(x=value)
    log.add_tags(x=value)
    client.log_arguments({"x": value}, show=True)
    client.set_project(name="orphan", metadata={"x": value})
    client.new_trial(parameters={"x": value}, metadata={"y": value}, name="first")
    params = Params(lambda: None, {"x": value})

    found = client.protocol.fetch_trials({"parameters.x": value, "name": {"$in": ["first", value]}})

    assert [trial.name for trial in found] == ["first"]
    assert len(repr(params)) < 300


def test_pending_trial_keeps_metadata_of_any_form() -> None:
    """What is logged before its parameters joins what it was given, also by an object with fields or in a list."""
    log = TrackClient("ephemeral:").new_trial(metadata=_Data(), tags=["draft"])

    log.log_metadata(gpu="V100")
    log.add_tags(paper="v2")
    log.log_arguments(lr=0.1)

    trial = log.trial
    assert (trial.metadata["lr"], trial.metadata["gpu"]) == (0.1, "V100")
    assert trial.tags == {"draft": True, "paper": "v2"}


@pytest.mark.parametrize(
    ("value", "logged"),
    [
        (numpy.ma.masked, "nan"),
        (numpy.ma.array([1.0], mask=[True]), "nan"),
        (numpy.longdouble(1.5), "1.5"),
        (numpy.ones((1, 1)), "1.0"),
        (numpy.float32(0.1), "0.10000000149011612"),
    ],
)
def test_runs_log_odd_numbers(value: Any, logged: str, tmp_path: Any) -> None:
    """`track.em` takes the same numbers as a trial, and what is masked is NaN."""
    from track.em.metrics import MetricsFile

    client = TrackClient("ephemeral:")
    file = MetricsFile(f"{tmp_path}/train.yaml")
    with client.new_trial() as trial:
        file.tell_to(trial, "train")

        file.append({"loss": value}, 0, None)

    (fetched,) = client.protocol.fetch_trials()
    assert [repr(point) for point in fetched.metrics["train/loss"].values()] == [str(logged)]


def test_run_refuses_what_is_no_number(tmp_path: Any) -> None:
    """An object that raises at everything is refused as any other."""
    from track.em.metrics import MetricsFile

    with pytest.raises(TypeError, match="metric 'loss' is of type _Hostile"):
        MetricsFile(f"{tmp_path}/train.yaml").append({"loss": _Hostile()}, 0, None)


def test_deep_data_are_kept_to_a_depth() -> None:
    """Two hundred levels are data; what is below the deepest is text."""
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    deeper: Any = deep
    for _ in range(200):
        deeper = [deeper]

    assert to_plain(deep) == deep
    assert "[[[" in str(to_plain(deeper))


def test_fields_cost_no_import() -> None:
    """Nobody imports a library of configurations to look whether a value is one of its own."""
    code = "import track.plain, sys; track.plain.to_plain(object()); print({'omegaconf', 'numpy'} & {*sys.modules})"

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert shown.strip() == "set()"


def test_fields_are_one_level() -> None:
    """What is inside stays what it is."""
    inner = _Data()

    assert fields_of({"inner": inner}) == {"inner": inner}


@pytest.mark.parametrize(
    "own",
    [{"dtype": "ring", "arguments": [2, "d"], "value": [1.0]}, {"dtype": "stat"}, {"dtype": 1, "value": {"a": 2}}],
)
@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_what_looks_like_a_state_is_metadata(kind: str, own: Any, tmp_path: pathlib.Path) -> None:
    """A dictionary of a program's own comes back as it was, inside of metadata and as all of them."""
    uri = f"{kind}:{tmp_path}/store"
    for metadata in (own, {"inside": own}):
        with TrackClient(uri).new_trial(parameters={}, metadata=metadata) as trial:
            trial.log_metadata(later=own)

        [stored] = [found for found in fetch(uri) if found.uid == trial.trial.uid]

        assert {name: stored.metadata[name] for name in (*metadata, "later")} == {**metadata, "later": own}


def test_dataclass_that_names_more_than_its_fields() -> None:
    """What a configuration was given beside its fields is there, as it says itself; other attributes are not."""

    @dataclasses.dataclass
    class Config:
        depth: int = 2

        def to_dict(self) -> dict[str, Any]:
            return {"depth": self.depth, "lr": 0.5, "kind": "config"}

    config = Config()
    config.lr, config.cache = 0.5, {}  # type: ignore[attr-defined]

    assert given_fields(config) == {"depth": 2, "lr": 0.5}
