"""Comments, types and defaults, as the source has them: of functions of any make, of classes."""

from __future__ import annotations

import builtins
import functools
import importlib.util
import linecache
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.children import python
from track.parameters import TypedMeta, described_arguments


def _module(folder: Path, text: str, encoding: str = "utf-8", newline: str | None = None) -> ModuleType:
    """Return a module whose file has this text."""
    path = folder / f"made_{len(list(folder.iterdir()))}.py"
    path.write_text(textwrap.dedent(text), encoding=encoding, newline=newline)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _comments(function: Callable[..., Any]) -> dict[str, str | None]:
    return {name: found.comment for name, found in described_arguments(function).items()}


# Each is a text that defines `f`, and what is said of its arguments.
CASES = {
    "a line each": (
        """
        def f(root,  # not a parameter
              a: int = 1,  # first
              b: str = 'x',  # second
              c=3):
            # the body
            pass
        """,
        {"root": "not a parameter", "a": "first", "b": "second", "c": None},
    ),
    "on one line": ("def f(root, a=1, b=2): pass  # both", {"root": "both", "a": "both", "b": "both"}),
    "continued": (
        """
        def f(root, a=1,  # first
              # goes on
              # and on

              # not this
              b=2  # second
              ):  # nobody's
            pass
        """,
        {"root": "first goes on and on", "a": "first goes on and on", "b": "second"},
    ),
    "a lambda over lines": (
        """
        def f(root, a=lambda x: (x,  # inside
                                 ")"),  # the end
              b=2): pass
        """,
        {"root": "inside", "a": "the end", "b": None},
    ),
    "a dictionary over lines": (
        """
        def f(
            root,
            a={  # opens
                "k": [1, 2],  # one
            },  # closes
            b=1 if True else 2,  # conditional
        ): pass
        """,
        {"root": None, "a": "closes", "b": "conditional"},
    ),
    "signs in strings": (
        """
        def f(root, a: "list[str] # no" = '#1 = (:', # yes
              b='''
              # no
              ''',  # also
              c="\\"#", d=1  # two
              ): pass
        """,
        {"root": "yes", "a": "yes", "b": "also", "c": "two", "d": "two"},
    ),
    "nested parentheses": (
        """
        def f(root, a: dict[str, tuple[int, ...]] = dict(x=(1, (2, 3))),  # deep
              *, b: int = int("3"),  # keyword only
              **rest): pass  # rest
        """,
        {"root": "deep", "a": "deep", "b": "keyword only"},
    ),
    "positional only": (
        "def f(root, a=1, /,  # first\n b=2): pass  # second",
        {"root": "first", "a": "first", "b": "second"},
    ),
    "decorated with arguments": (
        """
        import functools
        def deco(*args):  # not this
            def wrap(g):
                @functools.wraps(g)
                def inner(*a, **k): return g(*a, **k)  # nor this
                return inner
            return wrap
        @deco(1, # nor that
              "(")  # no
        def f(root, a=1,  # yes
              b=2): pass
        """,
        {"root": "yes", "a": "yes", "b": None},
    ),
    "a continued line": ("def f(root, a=1, \\\n b=2):  # end\n    pass", {"root": None, "a": None, "b": "end"}),
    "tabs and form feeds": (
        "\fdef f(root,\ta=1,\t# tab\n\t\tb=2):\t#\tend\n\tpass",
        {"root": "tab", "a": "tab", "b": "end"},
    ),
    "in an if": (
        "if True:\n  def f(root, a=1): pass  # yes\nelse:\n  def f(root, a=1): pass  # no",
        {"root": "yes", "a": "yes"},
    ),
    "defined twice": ("def f(root, a=1): pass  # old\ndef f(root, a=2): pass  # new", {"root": "new", "a": "new"}),
    "async": ("async def f(root, a=1): pass  # yes", {"root": "yes", "a": "yes"}),
    "future annotations": (
        "from __future__ import annotations\ndef f(root: Nowhere, a: int | None = None): pass  # yes",
        {"root": "yes", "a": "yes"},
    ),
    "a method": ("class C:\n  def g(self, a=1): pass  # yes\nf = C.g", {"self": "yes", "a": "yes"}),
    "a bound method": ("class C:\n  def g(self, a=1): pass  # yes\nf = C().g", {"self": "yes", "a": "yes"}),
    "an object that is called": (
        "class C:\n  def __call__(self, root, a=1): pass  # yes\nf = C()",
        {"self": "yes", "root": "yes", "a": "yes"},
    ),
    "nested": ("def outer():\n  def f(root, a=1): pass  # yes\n  return f\nf = outer()", {"root": "yes", "a": "yes"}),
    "partial": (
        "import functools\ndef g(root, a=1): pass  # yes\nf = functools.partial(g, a=2)",
        {"root": "yes", "a": "yes"},
    ),
    "mangled": ("class C:\n  def g(self, __a=1): pass  # yes\nf = C.g", {"self": "yes", "__a": "yes"}),
    "an empty comment": ("def f(root, a=1): pass  #", {"root": None, "a": None}),
    "a lambda": ("f = lambda root, a=1: 3  # no", {}),
    "a builtin": ("f = len", {}),
    "a class": ("class f:\n  def __init__(self, a=1): pass  # no", {}),
    "a wrapper that hides": (
        "def deco(g):\n  def inner(root, *, b=1): pass  # inner\n  return inner\n@deco\ndef f(root, a=1): pass  # no",
        {"root": "inner", "b": "inner"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_comments_of_arguments(case: str, tmp_path: Path) -> None:
    """A comment belongs to each argument that ends on its line, however the function is made."""
    text, expected = CASES[case]

    assert _comments(_module(tmp_path, text).f) == expected


def test_types_and_defaults_are_texts(tmp_path: Path) -> None:
    """Annotations and defaults are shown as they are written; none of them is evaluated."""
    module = _module(
        tmp_path,
        "from __future__ import annotations\ndef f(root: Gone, a: dict[str, Gone] | None = None, b=1e-3): pass",
    )

    found = described_arguments(module.f)

    assert (found["a"].type, found["a"].default) == ("dict[str, Gone] | None", "None")
    assert (found["b"].type, found["b"].default) == (None, "0.001")
    assert described_arguments(_module(tmp_path, "def f(root, a: 'Gone' = ''): pass").f)["a"][:2] == ("Gone", "''")


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lines_end_as_they_like(newline: str, tmp_path: Path) -> None:
    """Files of Windows and of old Macs have the same comments."""
    module = _module(tmp_path, "def f(root, a=1,  # first\n      b=2):  # second\n    pass\n", newline=newline)

    assert _comments(module.f) == {"root": "first", "a": "first", "b": "second"}


def test_coding_line_is_respected(tmp_path: Path) -> None:
    """Comments in a file of another encoding are read as it says."""
    module = _module(tmp_path, "# -*- coding: latin-1 -*-\ndef f(root, a=1): pass  # größer\n", encoding="latin-1")

    assert _comments(module.f)["a"] == "größer"


def test_changed_source_says_nothing_wrong(tmp_path: Path) -> None:
    """Where the file was changed since the import, and the arguments are others, or it is no Python, there are none."""
    module = _module(tmp_path, "def f(root, a=1): pass  # old")
    assert module.__file__ is not None

    Path(module.__file__).write_text("def f(root, b=1, c=2): pass  # new, and longer\n")
    assert described_arguments(module.f) == {}

    Path(module.__file__).write_text("def f(root, a=1: pass  # no Python any more, and longer again\n")
    assert described_arguments(module.f) == {}

    Path(module.__file__).unlink()
    assert described_arguments(module.f) == {}


def test_functions_without_source_have_no_comments() -> None:
    """What ``exec`` has made, a builtin or a frozen function is no error."""
    namespace: dict[str, Any] = {}
    exec("def f(root, a=1): pass  # no", namespace)

    for function in (namespace["f"], builtins.print, importlib._bootstrap._find_spec, functools.partial(print, 1)):  # type: ignore[attr-defined]
        assert described_arguments(function) == {}


def test_wrappers_in_a_circle_are_no_error() -> None:
    """A function that says it wraps itself has no comments."""

    def f(root: Any, a: int = 1) -> None: ...

    f.__wrapped__ = f  # type: ignore[attr-defined]

    assert described_arguments(f) == {}


def test_cell_of_a_notebook_is_read_and_read_again() -> None:
    """A cell is in `linecache`, as IPython puts it there; one that was run again has its new comments."""
    for comment in ("old", "new"):
        text = f"def f(root, a=1): pass  # {comment}\n"
        name = f"<ipython-input-{comment}>"
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        namespace: dict[str, Any] = {}
        exec(compile(text, name, "exec"), namespace)

        assert _comments(namespace["f"])["a"] == comment


@pytest.mark.parametrize("flag", ["-c", "-"])
def test_programs_without_a_file_have_types_and_defaults(flag: str) -> None:
    """``python -c`` and standard input: whatever the interpreter knows of the source, nothing fails."""
    script = (
        "from track.functional import functional_experiment\nfrom track.experiment import Experiment\n"
        "def add(root, a: int = 1): pass  # c\n"
        "class A(Experiment):\n    b: int = 2  # @p d\n"
        "print(functional_experiment(add)._params['a'][:2])\n"
    )

    done = python("-c", script) if flag == "-c" else python("-", given=script)

    assert (done.stdout, done.stderr) == ("(1, 'int')\n", "")


# classes


def test_attributes_with_a_mark_are_parameters() -> None:
    """Only a comment ``# @p`` makes a parameter, at whatever end of the attribute's lines; more comments go on."""

    class Made(metaclass=TypedMeta):
        # fmt: off
        a: int = 1  # @p first
                    # goes on
        # not this
        b = "# @p"  # @p: in quotes
        c: Any = frozenset([1,  # @p opens
                            2])
        d = (1,
             2)  #@p closes
        e = f = 3  # @p both
        g: str  # @p no default
        h = 4  # no
        i = 5  # see @p
        _j = 6  # @p private
        k = 7; l = 8  # @p two  # noqa: E702, E741
        # fmt: on

    helps = {name: parameter.help for name, parameter in Made._params.items()}

    assert helps == {
        "a": "first goes on", "b": "in quotes", "c": "opens", "d": "closes", "e": "both", "f": "both",
        "g": "no default",
        "k": "two  # noqa: E702, E741", "l": "two  # noqa: E702, E741",
    }  # fmt: skip
    assert Made._params["c"].type == "Any"
    assert Made._params["c"].default == {1, 2}


def test_class_of_the_same_name_is_not_taken() -> None:
    """Each of two classes of one name has its own comments."""

    def make(is_first: bool) -> Any:
        if is_first:

            class Made(metaclass=TypedMeta):
                a = 1  # @p first

        else:

            class Made(metaclass=TypedMeta):  # type: ignore[no-redef]
                a = 1  # @p second

        return Made

    assert [make(is_first)._params["a"].help for is_first in (True, False)] == ["first", "second"]


def test_class_that_is_called_into_being_has_no_comments() -> None:
    """A class made by a call takes nothing of the lines where it is made."""
    made: Any = TypedMeta("Made", (), {"a": 1})  # @p no

    assert made._params == {}
