"""The examples of the original's documentation of monitors and sets, with other imports.

Those of single experiments are in tests/unit/experiment.

Where an example contradicts the signature beside it, or is no Python, it is written as the signature says, and the test
says so.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.children import python
from track import Experiment, ExperimentManager, Monitor, TorchMonitor
from track.experiment_utils import TypedMeta, load_param
from track.monitor import Hook, XmenMessenger

pytest.importorskip("yaml")


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty directory."""
    monkeypatch.chdir(tmp_path)


def _run(program: str) -> list[str]:
    """Return what a program prints, without the time of day, and how long anything took."""
    Path("program.py").write_text(program)
    done = python("program.py")
    assert (done.returncode, done.stderr) == (0, "")
    return [
        re.sub(r"^\[\d\d:\d\d[AP]M \d\d/\d\d/\d\d ?", "[", line)
        for line in done.stdout.splitlines()
        if "wall=" not in line
    ]


def test_monitor_of_five_loops() -> None:
    """``monitor.Monitor``: each hook at its level; the limit of 20 steps lets the bodies that run come to their end."""
    lines = _run(
        """
from track import Experiment
from track.monitor import Monitor

X = Experiment("x", "an example")

a, b, c, d, e, f = 0, 0, 0, 0, 0, 0


def identity(x):
    return x


def mult(x):
    return 10 * x


m = Monitor(
    log=('a|b@2s', 'b@1e', 'c@1er', "d|e@1eo", "e@1se"),
    log_fn=(mult, identity, identity, identity, identity),
    log_format='.3f',
    msg='a->X@1s',
    time=('@2s', '@1e'),
    probe='X@10s',
    limit='@20s')
for _ in m(range(2)):
    for _ in m(range(2)):
        for _ in m(range(3)):
            for _ in m(range(4)):
                for _ in m(range(5)):
                    a += 1
                b += 1
            c += 1
        d += 1
    e += 1
print(X.messages["a"], m.triggers)
"""
    )

    steps = [
        f"[0/2 0/4 0/12 {(n - 1) // 5}/48 {n}/240]: a = {10 * n}.000 b = {10 * ((n - 1) // 5)}.000"
        for n in range(2, 21, 2)
    ]
    assert [line for line in lines if " a = " in line] == steps
    outer = [f"[0/2 0/4 0/12 {n}/48]: b = {n}.000" for n in range(1, 5)]
    outer += ["[0/2 0/4 1/12]: c = 1.000", "[0/2 1/4]: d = 1.000 e = 0.000", "[1/2]: e = 1.000"]
    assert [line for line in lines if line in outer] == outer
    assert sum("cpu_usage" in line for line in lines) == 2
    assert lines[-1] == "20 {'step': 20, 'epoch': 4, 'era': 1, 'eon': 1, 'supereon': 1}"


def test_logger_of_two_loops() -> None:
    """``monitor.Logger``, whose output lacks the last character of a value in the original: here values are whole."""
    lines = _run(
        """
from track.monitor import Monitor, Logger

m = Monitor(
    hooks=[
        Logger('x@2s', process_func=lambda x: '|'.join(x)),
        Logger('y@1e', format='.5f')])

x = ['cat', 'dog']
y = 0.
for _ in m(range(3)):
    for i in m(range(5)):
        y += i
"""
    )

    x = "x = cat|dog"
    assert lines == [
        f"[0/3 2/15]: {x}", f"[0/3 4/15]: {x}", "[1/3]: y = 10.00000",
        f"[1/3 6/15]: {x}", f"[1/3 8/15]: {x}", f"[1/3 10/15]: {x}", "[2/3]: y = 20.00000",
        f"[2/3 12/15]: {x}", f"[2/3 14/15]: {x}", "[3/3]: y = 30.00000",
    ]  # fmt: skip


def test_messenger_with_two_experiments(capsys: pytest.CaptureFixture[str]) -> None:
    """``monitor.XmenMessenger``, example 1; it prints one experiment's messages twice, as the original does."""
    messenger = XmenMessenger("y.*->ex.*@10s")  # log all variables matching the loss to experiments matching ex
    m = Monitor(hooks=[messenger])
    y1, y2 = 0, 0
    ex1, ex2 = Experiment(), Experiment()
    ex1.link("tmp", "ex1")
    ex2.link("tmp", "ex2")
    for i in m(range(40)):
        y1 += 1  # noqa: SIM113 - as in the example
        y2 += 2
        if i % 10 == 1:
            print(
                ", ".join(
                    [f"ex1: {k} = {ex1.messages.get(k, None)}" for k in ("y1", "y2")]
                    + [f"ex2: {k} = {ex1.messages.get(k, None)}" for k in ("y1", "y2")]
                )
            )

    pairs: list[tuple[Any, Any]] = [(None, None), (10, 20), (20, 40), (30, 60)]
    expected = [f"ex1: y1 = {a}, ex1: y2 = {b}, ex2: y1 = {a}, ex2: y2 = {b}" for a, b in pairs]
    assert capsys.readouterr().out.splitlines() == expected
    assert (ex2.messages["y1"], ex2.messages["y2"]) == (40, 80)


def test_messenger_with_a_leader() -> None:
    """``monitor.XmenMessenger``, example 2."""
    ex = Experiment()
    ex.link("tmp", "ex")
    m = Monitor(hooks=[XmenMessenger("^y$|^i$->^ex$@10s", keep="min", leader="^y$")])

    seen = []
    x = -50
    for i in m(range(100)):
        x += 1
        y = x**2  # noqa: F841
        if i % 10 == 1:
            seen.append([ex.messages.get(k, None) for k in ("i", "y")])

    assert seen == [[None, None], [9, 1600], [19, 900], [29, 400], [39, 100], *[[49, 0]] * 5]


@pytest.mark.parametrize(("leader", "prepend", "names"), [("y", None, "i y x"), ("z_y", True, "z_i z_y z_x")])
def test_messenger_of_a_dictionary(leader: str, prepend: bool | None, names: str) -> None:
    """``monitor.XmenMessenger``, examples 3 and 4."""
    ex = Experiment()
    ex.link("tmp", "ex")
    m = Monitor(hooks=[XmenMessenger("z->^ex$@10s", keep="min", leader=leader, expand=True, prepend=prepend)])

    seen = []
    z = {"x": 5, "y": 10}
    for i in m(range(100)):
        z["i"] = i
        z["x"] += 1
        z["y"] = z["x"] ** 2
        if i % 10 == 1:
            seen.append([ex.messages.get(k, None) for k in names.split()])

    assert seen == [[None] * 3, *[[9, 225, 15]] * 9]


class _Model:
    """Stands for a module of torch, which is not needed: anything with a state."""

    def __init__(self) -> None:
        self.seen = 0

    def state_dict(self) -> dict[str, int]:
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.seen = state["seen"]


class _MyVeryOwnHook(Hook):
    calls = 0

    def __call__(self, var_dict: dict[str, Any], monitor: Any) -> None:
        self.calls += 1


def test_monitor_of_a_training(capsys: pytest.CaptureFixture[str]) -> None:
    """``monitor.TorchMonitor``, example 1; its ``checkpoint=`` is ``ckpt=`` in the signature, its ``em`` is ``m``."""
    pytest.importorskip("numpy")
    model, dataset = _Model(), [(number, number) for number in range(20)]
    opt = _Model()  # noqa: F841
    hook = _MyVeryOwnHook("@50s")
    m = TorchMonitor(
        "directory",
        ckpt=("^model$@1e", "^opt$@100s"),  # Checkpoint the model once per epoch and opt every 100 steps
        log="^loss$@100s",  # Log the loss to stdout every 100 steps
        time=("@100s",),  # Generate timing statistics every 100 steps
        hooks=[hook],  # Custom hooks are also supported
    )

    for _epoch in m(range(10)):
        for x, y in m(dataset):
            model.seen += 1
            loss = abs(x - y)  # noqa: F841
        m.log("Manual Logging is also supported")

    # Steps and epoch have been incremented
    assert m.step == len(dataset) * 10
    assert m.epoch == 10
    # Lets reload the model at the 5th epoch
    m.load(step=5 * len(dataset), model=model)
    # The step and epoch will be updated
    assert (m.step, m.epoch, model.seen) == (100, 5, 100)
    assert sorted(os.listdir("directory/checkpoints/opt")) == ["100.pt", "200.pt"]
    lines = capsys.readouterr().out.splitlines()
    assert [sum(text in line for line in lines) for text in ("loss = 0", "wall=", "Manual Logging")] == [2, 2, 10]
    assert hook.calls == 4


def test_monitor_that_writes_for_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    """``monitor.TorchMonitor``, example 2, with arrays for tensors: each summary has its name, type and steps."""
    numpy = pytest.importorskip("numpy")
    from tests.unit.monitor.test_tensorboard import Writer
    from track.monitor import tensorboard

    made: dict[str, Writer] = {}
    monkeypatch.setattr(tensorboard, "_writers", made)
    monkeypatch.setattr(tensorboard, "writer_kind", lambda: Writer)
    chance = numpy.random.default_rng(0)
    ds = [(chance.random((8, 1, 64, 64)), None) for _ in range(31)]
    m = TorchMonitor(
        directory="tb_5",
        sca=["^z$|^X$@10s", "^a|^x$@5s"],
        img=["^mnist@10s", "^mnist@5s"],
        img_fn=[lambda x: x[:2], lambda x: x[:5]],
        img_pref=["2", "5"],
        hist="Z@1s",
        fig="fig@10s",
        txt="i@5s",
        txt_fn=lambda x: f"Hello at step {x}",
        vid="^mnist@10s",
        vid_fn=lambda x: (x[None] - x.min()) / (x.max() - x.min()),
    )

    # variables
    x = 0.0
    a = [1, 2]  # noqa: F841
    z: dict[str, Any] = {"x": 5, "y": 10}
    for i, (mnist, _) in m(zip(range(31), ds)):  # noqa: B007, B905 - as in the example
        fig = object()  # noqa: F841
        Z = chance.random((10, 3, 64, 64)) * i / 100  # noqa: F841
        x = (i - 15) ** 2  # noqa: F841
        z["i"] = i
        z["x"] += 1
        z["y"] = z["x"] ** 2

    (writer,) = made.values()
    steps: dict[tuple[str, str], list[int]] = {}
    for kind, tag, _, step in writer.written:
        steps.setdefault((kind.removeprefix("add_"), tag), []).append(step)
    fives, tens = [5, 10, 15, 20, 25, 30], [10, 20, 30]
    assert steps == {
        **{("scalar", f"z_{key}"): tens for key in "xyi"},
        **{("scalar", name): fives for name in ("a_0", "a_1", "x")},
        ("image", "2mnist"): tens,
        ("image", "5mnist"): fives,
        ("histogram", "Z"): [*range(1, 32)],
        ("figure", "fig"): tens,
        ("text", "i"): fives,
        ("video", "mnist"): tens,
    }


def test_typed_class() -> None:
    """``utils.TypedMeta``; the example is no Python, and lines of help are in one style for all here."""

    class MyClass(metaclass=TypedMeta):
        """This class is bound to do something..."""  # noqa: D404 - as in the example

        a: int = 3  # @p My first attribute
        b: int = 5  # @p My second attribute

    assert MyClass.__doc__ is not None
    assert MyClass.__doc__.startswith("This class is bound to do something...")
    assert "Parameters:\n    a: int=3 ~ My first attribute\n    b: int=5 ~ My second attribute" in MyClass.__doc__


def test_manager_of_a_set(capfd: pytest.CaptureFixture[str]) -> None:
    """``manager.ExperimentManager`` with the script of bash.

    ``initialise`` takes keywords, as its signature says; a list is a value, as ``register`` says, and alternatives have
    ``|`` between them; names are ``key=value``, as the original makes them, whatever its diagrams show.
    """
    Path("script.sh").write_text('#!/bin/bash\necho "$(cat ${1})"\n')
    Path("defaults.yml").write_text("_version: {path: .}\nparama: 3 #  This is the first parameter\nparamb: '4'\n")

    experiment_manager = ExperimentManager("root")  # Create experiment set in ROOT_PATH
    experiment_manager.initialise(script="script.sh", defaults="defaults.yml")
    experiment_manager.link("parama: 1, paramb: x | y")  # Register a set of experiments
    experiment_manager.unlink("parama=1__paramb=y")  # Remove an experiment
    experiment_manager.clean()  # Get rid of any experiments no longer managed
    assert experiment_manager.run("parama=1__paramb=x", "sh") == [0]  # Run an experiment
    assert experiment_manager.run("all") == []  # Run all created experiments: none is left
    experiment_manager.list()
    capfd.readouterr()

    assert sorted(path for path in os.listdir("root") if not path.startswith(".")) == [
        "defaults.yml", "experiment.yml", "parama=1__paramb=x", "script.sh",
    ]  # fmt: skip
    found = load_param("root/parama=1__paramb=x")
    assert (found["_status"], found["parama"], found["paramb"]) == ("finished", 1, "x")
    state = load_param("root", "experiment.yml")
    assert list(state)[:6] == ["root", "defaults", "script", "experiments", "overides", "created"]
    assert (state["experiments"], state["overides"]) == (
        [os.path.abspath("root/parama=1__paramb=x")],
        [{"parama": 1, "paramb": "x"}],
    )


def test_alternatives_of_dictionaries() -> None:
    """``ExperimentManager.register``: the examples of its text, with their note about the first level."""
    Path("script.sh").write_text("#!/bin/bash\n")
    Path("defaults.yml").write_text("{p1: 1, p2: 2, p3: 1, a: {a: 1.0, b: 2.0}, none: }\n")
    manager = ExperimentManager("root", headless=True)
    manager.initialise()

    manager.register(string_params="{p1: 11 | 12, p2: 2, p3: 31 | 32 | 33}")
    assert len(manager.experiments) == 6
    manager.register("dicts", "{a: {a: 1., b: 2.} | {a: 2., b: 2.}, none: }")
    assert manager.overides[6:] == [
        {"a": {"a": 1.0, "b": 2.0}, "none": None},
        {"a": {"a": 2.0, "b": 2.0}, "none": None},
    ]
    with pytest.raises(ValueError, match="a"):
        manager.register(string_params="{a: {a: 1. | 2., b: 2.}}")
