"""Functions as experiments."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from track import Experiment, Root, functional_experiment
from track.experiment_utils import load_param
from track.functional import autodoc, read_comments

pytest.importorskip("yaml")


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty directory."""
    monkeypatch.chdir(tmp_path)


def _train(
    root: Root,
    lr: float = 0.1,  # the step
    layers: Any = (64, 10),  # widths of
    # each layer
    name="x",
    *,
    seed: int | None = None,  # of the generator
    **more: Any,
) -> dict[str, Any]:
    """Train."""
    root.message({"lr": lr})
    return {"lr": lr, "layers": layers, "name": name, "seed": seed, "root": root.directory, "more": more}


def test_arguments_are_parameters() -> None:
    """With types, defaults and comments; the class is called as the function, and runs it."""
    made = functional_experiment(_train)

    assert issubclass(made, Experiment)
    assert (made.__name__, made.__module__, made.fn) == ("_train", __name__, (__name__, "_train"))
    assert {name: tuple(found)[:3] for name, found in made._params.items() if name[0] != "_"} == {
        "lr": (0.1, "float", "the step"),
        "layers": ((64, 10), "Any", "widths of each layer"),
        "name": ("x", None, None),
        "seed": (None, "int | None", "of the generator"),
    }
    assert (made.__doc__ or "").splitlines() == [
        "Train.",
        "",
        "Parameters:",
        "    lr: float=0.1 ~ the step",
        "    layers: Any=(64, 10) ~ widths of each layer",
        "    name='x'",
        "    seed: int | None=None ~ of the generator",
    ]


def test_a_run_calls_the_function() -> None:
    """With the parameters, and returns what it returns."""
    experiment = functional_experiment(_train)("runs/a", lr=0.5, seed=3)

    found = experiment()

    assert found == {"lr": 0.5, "layers": (64, 10), "name": "x", "seed": 3, "root": experiment.root, "more": {}}
    assert experiment.status == "finished"
    assert load_param("runs/a")["_version"]["function"] == "_train"
    assert load_param("runs/a")["_messages"] == {"lr": 0.5}


def test_it_is_a_pair_too() -> None:
    """As programs for the original unpack it."""
    made, nothing = functional_experiment(_train)  # type: ignore[misc]

    assert issubclass(made, Experiment)
    assert nothing is None


def test_root_is_an_experiment() -> None:
    """Under another name."""
    assert issubclass(Root, Experiment)
    assert inspect.signature(Root.__init__) == inspect.signature(Experiment.__init__)


def test_comments_are_a_text_with_parameters() -> None:
    """The help a line each, folded at 70 columns; and what each is made of."""

    def made(root: Any, a: int = 1, b: str = "y" * 80) -> None:  # one
        ...

    found = read_comments(made)

    first, *rest = found.splitlines()
    assert first == "    a: int=1 ~ one"
    assert rest[-1] == "      ~ one"
    assert all(len(line) <= 72 for line in read_comments(_train).splitlines())
    assert tuple(found.params["a"]) == (1, "int", "one", "a: int=1 ~ one", "made")


def test_autodoc_adds_once() -> None:
    """The docstring gets the parameters, the function is the same one, and its class has them once."""

    @autodoc
    def made(root: Any, a: int = 1) -> None:  # one
        """Do."""

    assert made.__doc__ == "Do.\n\nParameters:\n    a: int=1 ~ one"
    assert autodoc(made).__doc__ == made.__doc__
    assert (functional_experiment(made).__doc__ or "").count("Parameters:") == 1
    assert autodoc(lambda root: None).__doc__ == ""


def test_missing_default_is_none_and_said(caplog: pytest.LogCaptureFixture) -> None:
    """An argument without a default is None until somebody gives it a value."""

    def made(root: Any, a: Any, b: int = 1) -> Any:
        return a

    assert functional_experiment(made)("runs/a")() is None
    assert "made was given no a, which has no default" in caplog.text
    caplog.clear()
    assert functional_experiment(made)("runs/b", a=3)() == 3
    assert not caplog.records


def test_positional_arguments_stay_positional() -> None:
    """What cannot be given by its name is not."""

    def made(root: Any, a: int = 1, /, b: int = 2, *, c: int = 3) -> tuple[int, ...]:
        return a, b, c

    assert functional_experiment(made)("runs/a", a=4, c=5)() == (4, 2, 5)


def test_arguments_without_names_are_refused() -> None:
    """When the class is made, not when it runs."""

    def many(root: Any, *rest: Any) -> None: ...

    def none() -> None: ...

    with pytest.raises(TypeError, match=r"many takes \*args"):
        functional_experiment(many)
    with pytest.raises(TypeError, match="none takes no arguments"):
        functional_experiment(none)


@pytest.mark.parametrize("name", ["run", "message", "main", "update", "register"])
def test_parameters_called_as_methods_are_refused(name: str) -> None:
    """They would take the place of what the library calls."""
    namespace: dict[str, Any] = {}
    exec(f"def made(root, {name}=1): pass", namespace)

    with pytest.raises(TypeError, match=f"a parameter '{name}'"):
        functional_experiment(namespace["made"])


@pytest.mark.parametrize("name", ["debug", "user", "host", "version", "purpose", "start", "last", "notes", "root"])
def test_parameters_may_be_called_as_properties(name: str) -> None:
    """Names that people use, and that nothing depends on."""
    namespace: dict[str, Any] = {}
    exec(f"def made(_, {name}=1): return {name}", namespace)
    experiment = functional_experiment(namespace["made"])()
    experiment.update({name: 5})
    experiment.register("runs/a")

    assert experiment() == 5
    assert load_param("runs/a")["_status"] == "finished"


def test_coroutine_is_run() -> None:
    """An async function is run to its end."""

    async def made(root: Any, a: int = 1) -> int:  # one
        return a

    assert functional_experiment(made)("runs/a")() == 1


def test_wrapped_and_partial_functions() -> None:
    """A wrapper that says what it wraps has its parameters; bound arguments are none."""

    def deco(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def inner(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs) + 1

        return inner

    @deco
    def made(root: Any, a: int = 1, b: int = 2) -> int:  # both
        return a + b

    assert functional_experiment(made)("runs/a", a=3)() == 6
    assert functional_experiment(made)._params["a"].help == "both"
    bound = functional_experiment(functools.partial(made, b=10))
    assert (bound.__name__, "b" in bound._params) == ("made", False)
    assert bound("runs/b")() == 12


def test_functions_without_source() -> None:
    """They have types and defaults, and run."""
    namespace: dict[str, Any] = {}
    exec("def made(root, a: int = 1): return a  # no", namespace)
    made = functional_experiment(namespace["made"])

    assert made._params["a"].line == "a: int=1"
    assert made("runs/a", a=2)() == 2
    assert functional_experiment(lambda root, a=3: a)("runs/b")() == 3
    with pytest.raises(TypeError):
        functional_experiment(print)
