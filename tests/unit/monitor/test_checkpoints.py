"""Checkpoints: what is saved, what is kept, what is loaded, and what is never run."""

from __future__ import annotations

import json
import logging
import math
import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from track.errors import CheckpointNotFound, InvalidCall, MissingExtra, UnsafeCheckpoint
from track.monitor import Checkpointer, Monitor, TorchMonitor, load
from track.monitor.statefiles import read_state, write_state

numpy = pytest.importorskip("numpy")


class Model:
    """Something with a state."""

    def __init__(self, state: Any = None) -> None:
        self.state = state

    def state_dict(self) -> Any:
        return self.state

    def load_state_dict(self, state: Any) -> None:
        self.state = state


def _saved(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob("*.pt"))


def test_checkpoints_are_saved_and_the_newest_kept(tmp_path: Path) -> None:
    """The example of the original: so many of each; a name that only begins so is meant, too."""
    m = TorchMonitor(tmp_path, ckpt=["^model$@5s", "opt@1e", "^model2$@20s"], ckpt_keep=[5, 1, None])
    model, model2, optimizer = Model({}), Model({}), Model({})  # noqa: F841

    for _ in m(range(10)):
        for _ in m(range(20)):
            pass

    folder = tmp_path / "checkpoints"
    assert _saved(folder / "model") == [180, 185, 190, 195, 200]
    assert _saved(folder / "model2") == [*range(20, 201, 20)]
    assert _saved(folder / "optimizer") == [200]
    assert not [name for _, _, names in os.walk(tmp_path) for name in names if not name.endswith(".pt")]


def test_what_was_saved_is_loaded_and_counting_goes_on(tmp_path: Path) -> None:
    """The newest, or the exact step; counts become those of then, unless they are not to."""
    m = TorchMonitor(str(tmp_path), ckpt="^model$@5s")
    model = Model()

    for _ in m(range(3)):
        for _ in m(range(10)):
            model.state = {"weights": numpy.full(2, m.step), 3: (1, None, "ü", -0.0)}
    new = Model()
    found = m.load(model=new, step=15)

    assert found == {"model": new}
    assert new.state["weights"].tolist() == [14, 14]
    assert new.state[3] == (1, None, "ü", -0.0)
    assert (m.step, m.epoch) == (15, 1)
    assert load(tmp_path / "checkpoints", model=new)[1] == {"step": 30, "epoch": 2}
    m.load(model=new, update_triggers=False)
    assert (m.step, new.state["weights"].tolist()) == (15, [29, 29])


def test_a_step_is_exact(tmp_path: Path) -> None:
    """5 is not 15."""
    m = TorchMonitor(tmp_path)
    m.set_triggers(step=15)
    m.checkpoint(model=Model({}))

    with pytest.raises(CheckpointNotFound, match=r"at step 5 in .*: there are 15"):
        load(tmp_path / "checkpoints", step=5, attempt=False, model=Model())


def test_what_is_not_there_is_a_warning_or_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With `attempt` the object stays; without, it is an error of each kind that programs catch."""
    m = TorchMonitor(tmp_path)
    m.checkpoint(model=Model({"a": 1}))
    (tmp_path / "checkpoints" / "empty").mkdir()
    model, empty = Model("before"), Model("before")

    for kind in (ValueError, LookupError, RuntimeWarning):
        with pytest.raises(kind, match="no checkpoint of 'empty'"):
            load(tmp_path / "checkpoints", attempt=False, model=model, empty=empty)
    assert model.state == "before"
    modules, counts = load(tmp_path / "checkpoints", empty=empty, model=model)

    assert (modules["model"].state, modules["empty"].state, counts) == ({"a": 1}, "before", {})
    assert [record.getMessage() for record in caplog.records] == [
        f"no checkpoint of 'empty' in {tmp_path / 'checkpoints'}: there is none"
    ]


def test_without_a_directory_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Neither saving nor loading makes a folder somewhere: one warning each."""
    m = Monitor(hooks=[Checkpointer("^model$@1s")])
    model = Model({})  # noqa: F841

    for _ in m(range(3)):
        pass

    assert TorchMonitor().load(model=Model()) == {}
    assert len(caplog.records) == 2


def test_dictionaries_are_saved_by_key(tmp_path: Path) -> None:
    """`nets` is `nets_a` and `nets_b`, saved and loaded; a key is no path."""
    m = TorchMonitor(tmp_path / "in", ckpt="^nets$@1s")
    nets = {"a": Model({"x": 1}), "../../b": Model({"x": 2})}

    for _ in m(range(1)):
        pass
    new = {name: Model() for name in nets}
    m.load(nets=new)

    assert sorted(path.name for path in (tmp_path / "in" / "checkpoints").iterdir()) == ["nets_.._.._b", "nets_a"]
    assert [model.state for model in new.values()] == [{"x": 1}, {"x": 2}]


def test_what_has_no_state_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A number is no model."""
    m = TorchMonitor(tmp_path, ckpt="^number$@1s")
    number = 5  # noqa: F841

    for _ in m(range(3)):
        pass

    assert [record.getMessage() for record in caplog.records] == [
        "no checkpoint of number is saved: it has no state_dict()"
    ]


def test_a_full_disk_does_not_stop_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be written is a warning; the checkpoint before is whole, and nothing is left half."""
    m = TorchMonitor(tmp_path, ckpt="^model$@1s", ckpt_keep=1)
    model = Model({"x": 1})  # noqa: F841

    for step in m(range(2)):
        if step == 1:
            monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left")))

    assert [path.name for path in (tmp_path / "checkpoints" / "model").iterdir()] == ["1.pt"]
    assert "at step 2: " in caplog.records[0].getMessage()


def test_a_state_that_only_a_pickle_could_hold_is_refused(tmp_path: Path) -> None:
    """The error names where it is; nothing is written."""
    m = TorchMonitor(tmp_path)

    for state in ({"a": [1, {2: object()}]}, {"a": numpy.array([object()])}, {"f": len}):
        with pytest.raises(InvalidCall, match="which only a pickle could hold"):
            m.checkpoint(model=Model(state))
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InvalidCall, match="contains itself"):
        m.checkpoint(model=Model(loop))

    assert not list((tmp_path / "checkpoints" / "model").iterdir())


class Evil:
    """Runs something when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["TRACK_TEST_EVIL"],)


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder that a pickle makes when it is run."""
    monkeypatch.setenv("TRACK_TEST_EVIL", str(tmp_path / "evil"))
    return tmp_path / "evil"


def _make_evil(path: Path, how: str) -> None:
    """Write a checkpoint that runs something in whoever unpickles it."""
    path.parent.mkdir(parents=True)
    if how == "pickle":
        path.write_bytes(pickle.dumps({"state_dict": Evil()}))
        return
    with zipfile.ZipFile(path, "w") as archive:
        if how == "torch":
            archive.writestr("archive/data.pkl", pickle.dumps({"state_dict": Evil()}))
            return
        archive.writestr("track.json", '{"dict": [["state_dict", {"array": 0}]]}')
        head = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
        data = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + pickle.dumps([Evil()])
        archive.writestr("0.npy", data)


@pytest.mark.parametrize("how", ["pickle", "torch", "array"])
def test_nothing_in_a_checkpoint_is_run(tmp_path: Path, evil: Path, how: str) -> None:
    """A pickle, whatever it is called or hidden in, is not loaded."""
    _make_evil(tmp_path / "model" / "1.pt", how)

    with pytest.raises((UnsafeCheckpoint, MissingExtra)):
        load(tmp_path, model=Model())

    assert not evil.exists()


def _stand_in() -> types.ModuleType:
    """Return a module in the place of torch, which is not installed: what is asked of it is written down."""
    torch = types.ModuleType("torch")
    torch.asked = []  # type: ignore[attr-defined]

    class Tensor:
        def __init__(self, values: list[float]) -> None:
            self.values = values

    def save(content: Any, file: Any) -> None:
        torch.saved = content["state_dict"]  # type: ignore[attr-defined]
        plain = {**content, "state_dict": {"w": content["state_dict"]["w"].values}}
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", json.dumps(plain))

    def load(path: str, map_location: Any = None, weights_only: bool = False) -> Any:
        torch.asked.append((map_location, weights_only))  # type: ignore[attr-defined]
        data = zipfile.ZipFile(path).read("archive/data.pkl")
        if not data.startswith(b"{"):
            raise pickle.UnpicklingError("Weights only load failed")
        content = json.loads(data)
        return {**content, "state_dict": {name: Tensor(one) for name, one in content["state_dict"].items()}}

    Tensor.__module__ = "torch"
    torch.Tensor, torch.save, torch.load = Tensor, save, load  # type: ignore[attr-defined]
    return torch


def test_what_is_torchs_is_written_by_torch_and_read_as_weights_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in for torch: tensors go through it, and come back with `weights_only` and where they are wanted."""
    torch: Any = _stand_in()
    monkeypatch.setitem(sys.modules, "torch", torch)
    m = TorchMonitor(tmp_path)
    m.set_triggers(step=3)
    model, plain = Model(), Model()

    m.checkpoint(model=Model({"w": torch.Tensor([1.0, 2.0])}), plain=Model({"lr": 0.1}))
    _, counts = load(tmp_path / "checkpoints", map_location="cpu", model=model, plain=plain)

    assert model.state["w"].values == [1.0, 2.0]
    assert plain.state == {"lr": 0.1}
    assert counts == {"step": 3}
    assert torch.asked == [("cpu", True)]


def test_what_torch_refuses_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evil: Path) -> None:
    """With a stand-in for torch: no second attempt is made without `weights_only`."""
    torch: Any = _stand_in()
    monkeypatch.setitem(sys.modules, "torch", torch)
    _make_evil(tmp_path / "model" / "1.pt", "torch")

    with pytest.raises(UnsafeCheckpoint, match="does not hold weights alone"):
        load(tmp_path, model=Model())

    assert torch.asked == [(None, True)]
    assert not evil.exists()


def test_torch_is_given_what_it_reads_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for torch: its state, with numbers for those of numpy; anything else is refused."""
    torch: Any = _stand_in()
    monkeypatch.setitem(sys.modules, "torch", torch)
    m = TorchMonitor(tmp_path)
    state = OrderedDict(w=torch.Tensor([1.0]), groups=[{"lr": 0.1}])
    mixed = OrderedDict(state, lr=numpy.float64(0.1))
    mixed._metadata = {"version": 2}  # type: ignore[attr-defined]

    m.checkpoint(model=Model(state))
    assert torch.saved is state
    m.checkpoint(model=Model(mixed))

    assert type(torch.saved["lr"]) is float
    assert torch.saved._metadata == {"version": 2}
    assert type(mixed["lr"]) is numpy.float64
    with pytest.raises(InvalidCall, match=r"the state\['state_dict'\]\['f'\] is a Evil"):
        m.checkpoint(model=Model({"w": torch.Tensor([1.0]), "f": Evil()}))


@pytest.mark.parametrize("how", ["pickle", "behind a tar", "script"])
def test_older_formats_of_torch_never_come_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evil: Path, how: str
) -> None:
    """With a stand-in for torch: pickles, tar files and programs, which `weights_only` did not always stop."""
    torch: Any = _stand_in()
    monkeypatch.setitem(sys.modules, "torch", torch)
    path = tmp_path / "model" / "1.pt"
    _make_evil(path, "pickle" if how == "pickle" else "torch")
    if how == "behind a tar":
        path.write_bytes(b"storages".ljust(512, b"\0") + path.read_bytes())
    if how == "script":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("archive/constants.pkl", b"")

    with pytest.raises(UnsafeCheckpoint, match=r"weights_only=False"):
        load(tmp_path, model=Model())

    assert torch.asked == []
    assert not evil.exists()


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(max_size=20), st.complex_numbers(),
    st.sampled_from([numpy.float32(0.1), numpy.arange(6).reshape(2, 3), numpy.array(["a"]), numpy.int64(2**62)]),
)  # fmt: skip
KEYS = st.one_of(st.text(), st.integers(), st.tuples(st.integers(), st.text()))
STATES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.sets(st.integers(), max_size=3),
    ),
    max_leaves=12,
)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return isinstance(other, dict) and [*one] == [*other] and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, (numpy.ndarray, numpy.generic)):
        return type(one) is type(other) and one.dtype == other.dtype and one.tolist() == other.tolist()
    if isinstance(one, float):
        return type(other) is float and (one.hex() == other.hex() or (math.isnan(one) and math.isnan(other)))
    if isinstance(one, complex):
        return type(other) is complex and _same([one.real, one.imag], [other.real, other.imag])
    return type(one) is type(other) and bool(one == other)


@settings(max_examples=60)
@given(state=STATES)
def test_a_state_comes_back_exactly(tmp_path_factory: pytest.TempPathFactory, state: Any) -> None:
    """Numbers, texts, bytes, arrays, and what holds them, are of the same type and value."""
    path = str(tmp_path_factory.mktemp("state") / "1.pt")

    write_state(path, {"state_dict": state}, by_torch=False)

    assert _same({"state_dict": state}, read_state(path))


def test_a_damaged_checkpoint_is_an_error_of_its_own(tmp_path: Path) -> None:
    """Cut anywhere, or with any byte changed, it is refused, or read as it was; nothing else is raised."""
    path = tmp_path / "1.pt"
    content = {"step": 3, "state_dict": {"w": numpy.arange(4.0), "n": [1, (2, math.pi)]}}
    write_state(str(path), content, by_torch=False)
    whole = path.read_bytes()
    damaged = [whole[:size] for size in range(0, len(whole), 7)]
    damaged += [whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(0, len(whole), 3)]

    for data in damaged:
        path.write_bytes(data)
        try:
            found = read_state(str(path))
        except (UnsafeCheckpoint, MissingExtra):
            continue
        assert _same(content, found)


def test_keeping_counts_what_was_left_from_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of an earlier run's surplus only the newest stay; other files are left alone."""
    folder = tmp_path / "checkpoints" / "model"
    folder.mkdir(parents=True)
    for name in ("1.pt", "2.pt", "10.pt", "9.pt", "notes.txt", "best.pt"):
        (folder / name).write_text("x")
    m = TorchMonitor(tmp_path, hooks=[Checkpointer("^model$@1s", to_keep=2)])
    m.set_triggers(step=10)
    model = Model({})  # noqa: F841

    with caplog.at_level(logging.WARNING):
        for _ in m(range(1)):
            pass

    assert sorted(path.name for path in folder.iterdir()) == ["10.pt", "11.pt", "best.pt", "notes.txt"]
    with pytest.raises(InvalidCall, match="to_keep is 1 or more"):
        Checkpointer("x", to_keep=0)
