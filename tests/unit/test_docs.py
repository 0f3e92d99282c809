"""The documentation and the code agree: options, schemes, pages, and the examples in docstrings."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
from pathlib import Path

import pytest

from track.configuration import OPTIONS
from track.persistence.protocol import Protocol
from track.persistence.registry import known_schemes

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    path for suffix in ("*.rst", "*.md") for path in DOCS.rglob(suffix) if "_build" not in path.relative_to(DOCS).parts
)
MODULES_WITH_EXAMPLES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "track").rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


def _rows(table: str, page: str = "backends.rst") -> list[list[str]]:
    """Return the cells of the list-table between `.. TABLE-begin` and `.. TABLE-end`, without its header."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.search(rf"^\.\. {table}-begin$(.*?)^\.\. {table}-end$", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/{page} has no table between '.. {table}-begin' and '.. {table}-end'"

    rows = re.split(r"^   \* - ", found[1], flags=re.MULTILINE)[2:]
    assert rows, f"the {table} table of docs/{page} has no rows"
    return [[cell.strip() for cell in re.split(r"^     - ", row, flags=re.MULTILINE)] for row in rows]


def _literal(cell: str) -> str:
    """Return the text between double backquotes that a cell begins with."""
    found = re.match(r"``(.+?)``", cell)
    assert found, f"expected ``literal``, found {cell!r}"
    return found[1]


def _toctree_entries(page: Path) -> set[Path]:
    """Return the files that the toctrees of a page name."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^\.\. toctree::\n((?:[ \t]+.*\n|\n)*)", text, re.MULTILINE)
    names = [line.strip() for block in blocks for line in block.splitlines()]
    return {page.parent / f"{name}{suffix}" for name in names for suffix in (".rst", ".md")}


def test_every_option_is_documented() -> None:
    """The table of options names the options that the code reads, no more and no less."""
    documented = [_literal(row[0]) for row in _rows("options")]

    assert sorted(documented) == sorted(OPTIONS)


def test_every_option_names_its_environment_variable() -> None:
    """An option is read from `TRACK_` and its name in capitals, dots turned into underscores."""
    for row in _rows("options"):
        assert _literal(row[1]) == f"TRACK_{_literal(row[0]).upper().replace('.', '_')}"


def test_every_scheme_is_documented() -> None:
    """The table of schemes names the schemes that the registry knows, no more and no less."""
    documented = [_literal(row[0]).rstrip(":/") for row in _rows("schemes")]

    assert sorted(documented) == sorted(known_schemes())


def test_every_member_of_the_contract_is_documented() -> None:
    """The table in docs/extending.rst names what callers may ask of any backend, beside the methods it is told by."""
    documented = {name for row in _rows("contract", "extending.rst") for name in re.findall(r"``(\w+)``", row[0])}

    told = {name for name in vars(Protocol) if name.startswith(("log_", "new_", "get_", "add_", "set_", "fetch_"))}
    explained = {"apply", "atomically", "refresh", "commit", "flush", "close", "uri"}
    asked = {name for name in {*vars(Protocol), *Protocol.__annotations__} if not name.startswith("_")}

    assert documented == asked - told - explained


def test_every_extra_is_documented() -> None:
    """The table of extras names those of setup.py and their packages, no more and no less."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    tables = [node for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)]
    extras = {name: ", ".join(packages) for table in tables for name, packages in ast.literal_eval(table.value).items()}

    documented = {_literal(row[0]): row[1] for row in _rows("extras", "quickstart.rst")}

    assert documented == extras | {"all": "all of these"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_every_page_is_in_a_toctree(page: Path) -> None:
    """Every page but the first can be reached from the first."""
    first = DOCS / "index.rst"
    listed = {first}.union(*(_toctree_entries(other) for other in PAGES if other.suffix == ".rst"))

    assert page in listed


@pytest.mark.parametrize("module", MODULES_WITH_EXAMPLES)
def test_examples_in_docstrings(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each example in a docstring does what it says, in a directory of its own."""
    tests = doctest.DocTestFinder().find(importlib.import_module(module))
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)

    for number, test in enumerate(tests):
        room = tmp_path / str(number)
        room.mkdir()
        monkeypatch.chdir(room)
        runner.run(test)

    assert runner.summarize(verbose=False).failed == 0
