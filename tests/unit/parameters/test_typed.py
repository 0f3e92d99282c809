"""Which attributes are parameters, along the classes that a class extends, and what its docstring says."""

from __future__ import annotations

import abc
from typing import Any, Generic, Protocol, TypeVar

from track.experiment_utils import TypedMeta, get_attribute_helps, get_docs
from track.parameters import param

Value = TypeVar("Value")


class Runs(Protocol):
    """What runs."""

    def run(self) -> int:
        """Run."""


class Base(metaclass=TypedMeta):
    """The base."""

    a: int = 3  # @p my first
    b: str = "5"  # @p my second
    c = 1.0  # @p a number

    def __init__(self) -> None:
        self.d: list = [1]  # @p in init
        self.e = len("xy")  # @p computed
        self.d[0] = 3  # @p no attribute of it


class Child(Base):
    """The child."""

    a = 7
    b: bytes = b"x"  # @p another help
    d = (2,)

    f: int = 1  # @p own

    def c(self) -> None:  # type: ignore[override]
        """Say."""


class Mixin:
    """No class of parameters, which changes one."""

    a = 9


class Both(Mixin, Child):
    """All."""


def test_entries_are_tuples_of_five() -> None:
    """Default, type, help, line and owner; nothing is known of what is computed in ``__init__`` but its text."""
    assert tuple(Base._params["a"]) == (3, "int", "my first", "a: int=3 ~ my first", "Base")
    assert tuple(Base._params["d"]) == ([1], "list", "in init", "d: list=[1] ~ in init", "Base")
    assert tuple(Base._params["e"]) == (None, None, "computed", "e=len('xy') ~ computed", "Base")
    assert list(Base._params) == ["a", "b", "c", "d", "e"]


def test_a_subclass_changes_defaults_and_inherits_help() -> None:
    """A plain assignment is another default; a new comment another help; a method is no parameter."""
    assert Child._params["a"] == (7, "int", "my first", "a: int=7 ~ my first", "Base")
    assert Child._params["b"] == (b"x", "bytes", "another help", "b: bytes=b'x' ~ another help", "Child")
    assert Child._params["d"].default == (2,)
    assert set(Child._params) == {"a", "b", "d", "e", "f"}


def test_left_most_class_wins() -> None:
    """The order is that of Python's own look-up, also for a class without parameters of its own."""
    assert Both._params["a"].default == Both.a == 9


def test_property_is_no_parameter() -> None:
    """What computes a value has no default."""

    class Computed(Base):
        @property
        def a(self) -> int:  # type: ignore[override]
            return 1

    assert "a" not in Computed._params


def test_function_as_default_is_a_parameter() -> None:
    """A lambda, or a function that has another name, is a value like any other."""

    class Acts(Base):
        c = lambda x: x  # noqa: E731

    assert "c" in Acts._params


def test_docstring_lists_parameters_by_class() -> None:
    """The class's own come first, then those that it inherits, each in one style."""
    doc = Child.__doc__
    assert doc is not None

    own, inherited = doc.split("Parameters of Base:")
    assert own == "The child.\n\nParameters:\n    b: bytes=b'x' ~ another help\n    f: int=1 ~ own\n\n"
    assert "    a: int=7 ~ my first\n" in inherited


def test_helps_of_attributes_are_found() -> None:
    """Of classes with parameters, and of plain ones, from their docstrings."""

    class Plain:
        """Do.

        Parameters
        ----------
        no : int
            ...
        """

    Plain.__doc__ = "Do.\n\nParameters:\n    a (int) : my first (default=3)\n    b: int=1 ~ second\n    c\n"

    assert get_attribute_helps(Child) == {
        "a": "my first", "b": "another help", "d": "in init", "e": "computed", "f": "own",
    }  # fmt: skip
    assert get_attribute_helps(Plain) == {"a": "my first", "b": "second", "c": None}


def test_docs_end_with_those_of_object() -> None:
    """All docstrings of a hierarchy are there, in order."""
    docs = get_docs(Child)

    assert docs[0] == Child.__doc__
    assert docs[-1] == object.__doc__


def test_other_metaclasses_of_the_library_mix_in() -> None:
    """Abstract classes, generic ones and protocols may be extended, too."""

    class Made(Base, Runs, Generic[Value], abc.ABC):
        g: int = 1  # @p own

        def run(self) -> int:
            return self.g

    assert Made().run() == 1
    assert "g" in Made._params


def test_param_declares_without_source() -> None:
    """In a class that ``exec`` makes, `param` says what a comment cannot."""
    namespace: dict[str, Any] = {"TypedMeta": TypedMeta, "param": param}
    exec("class Made(metaclass=TypedMeta):\n  a: float = param(0.1, 'the step')\n  b = 1  # @p no", namespace)
    made = namespace["Made"]

    assert tuple(made._params["a"]) == (0.1, "float", "the step", "a: float=0.1 ~ the step", "Made")
    assert made.a == 0.1
    assert set(made._params) == {"a"}


def test_a_broken_repr_breaks_no_class() -> None:
    """A default that cannot be shown is no reason to fail."""

    class Bad:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    class Made(metaclass=TypedMeta):
        a = Bad()  # @p bad

    assert Made._params["a"].help == "bad"


def test_anything_may_be_asked_whether_it_is_of_such_a_class() -> None:
    """`isinstance` answers for what is none, too."""

    class Typed(metaclass=TypedMeta):
        pass

    assert isinstance(Typed(), Typed)
    assert not isinstance(5, Typed)
    assert not issubclass(int, Typed)
