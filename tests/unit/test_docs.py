"""The documentation and the code agree: options, schemes, pages, and the examples in docstrings."""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib.util
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from docutils import core

from tests import pages
from tests.pages import BLOCK, DOCS, ROOT, literal, rows
from track import em, fetch
from track.configuration import OPTIONS
from track.errors import DISTRIBUTION
from track.persistence.protocol import Protocol
from track.persistence.registry import known_schemes
from track.verbs import way_out

PAGES = sorted(
    path for suffix in ("*.rst", "*.md") for path in DOCS.rglob(suffix) if "_build" not in path.relative_to(DOCS).parts
)
MODULES_WITH_EXAMPLES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "track").rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


def _toctree_entries(page: Path) -> set[Path]:
    """Return the files that the toctrees of a page name."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^\.\. toctree::\n((?:[ \t]+.*\n|\n)*)", text, re.MULTILINE)
    names = [re.sub(r".*<(.+)>", r"\1", line.strip()) for block in blocks for line in block.splitlines()]
    return {page.parent / f"{name}{suffix}" for name in names for suffix in (".rst", ".md")}


def test_every_option_is_documented() -> None:
    """The table of options names the options that the code reads, no more and no less."""
    documented = [literal(row[0]) for row in rows("options")]

    assert sorted(documented) == sorted(OPTIONS)


def test_every_option_names_its_environment_variable() -> None:
    """An option is read from `TRACK_` and its name in capitals, dots turned into underscores."""
    for row in rows("options"):
        assert literal(row[1]) == f"TRACK_{literal(row[0]).upper().replace('.', '_')}"


def test_every_scheme_is_documented() -> None:
    """The table of schemes names the schemes that the registry knows, no more and no less."""
    documented = [literal(row[0]).rstrip(":/") for row in rows("schemes")]

    assert sorted(documented) == sorted(known_schemes())


def test_every_member_of_the_contract_is_documented() -> None:
    """The table of the page "Extending" names what callers may ask of any backend, beside the methods it is told by."""
    documented = {name for row in rows("contract", "howto/extending.rst") for name in re.findall(r"``(\w+)``", row[0])}

    told = {name for name in vars(Protocol) if name.startswith(("log_", "new_", "get_", "add_", "set_", "fetch_"))}
    explained = {"apply", "atomically", "refresh", "commit", "flush", "close", "uri"}
    asked = {name for name in {*vars(Protocol), *Protocol.__annotations__} if not name.startswith("_")}

    assert documented == asked - told - explained


def test_every_extra_is_documented() -> None:
    """The table of extras names those of setup.py and their packages, no more and no less."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    tables = [node for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)]
    extras = {name: ", ".join(packages) for table in tables for name, packages in ast.literal_eval(table.value).items()}

    documented = {literal(row[0]): row[1] for row in rows("extras", "howto/install.rst")}

    assert documented == extras | {"all": "all of these"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_every_page_is_in_a_toctree(page: Path) -> None:
    """Every page but the first can be reached from the first."""
    first = DOCS / "index.rst"
    listed = {first}.union(*(_toctree_entries(other) for other in PAGES if other.suffix == ".rst"))

    assert page in listed


def _page_id(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


PAGES_WITH_BLOCKS = [page for page in PAGES if ".. code-block:: python" in page.read_text(encoding="utf-8")]


@pytest.fixture
def logged_out() -> Iterator[None]:
    """What a page sets in the environment, and where it logs in, is undone."""
    with mock.patch.dict(os.environ):
        yield
    em.logout()


@pytest.mark.slow
@pytest.mark.timeout(300)  # frameworks take their time to be imported
@pytest.mark.parametrize("page", PAGES_WITH_BLOCKS, ids=_page_id)
def test_blocks_of_a_page(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, logged_out: None
) -> None:
    """What a page shows can be copied, runs in a new folder without a warning, and prints what the page says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for name in [name for name in os.environ if name.startswith("TRACK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    namespace: dict[str, object] = {"__name__": "__main__"}
    printed: str | None = ""
    missing: set[str] = set()
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        code = pages.code(block)
        needs = [name for name in re.findall(r"\w+", block["needs"] or "") if importlib.util.find_spec(name) is None]
        missing.update(needs)
        if needs:
            printed = None
        elif block["kind"] == "text":
            if printed is None:
                continue
            flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            assert doctest.OutputChecker().check_output(code, printed, flags), (
                f"{code}is not what it prints:\n{printed}"
            )
        elif block["kind"] == "sh":
            done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{code}{done.stdout}{done.stderr}"
            printed = done.stdout
        elif block["file"] and block["file"].endswith(".py"):
            Path(block["file"]).write_text(code, encoding="utf-8")
        else:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(code, str(page), "exec"), namespace)
            printed = out.getvalue()
    assert not [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    if missing:
        pytest.skip(f"without the blocks that need {', '.join(sorted(missing))}")


@pytest.mark.parametrize("page", PAGES, ids=_page_id)
def test_nobody_copies_a_prompt(page: Path) -> None:
    """What a page shows has no prompts in it."""
    assert not re.search(r"^ *(>>>|\$) ", page.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_links_between_pages_resolve(page: Path) -> None:
    """A relative link leads to a file of the repository, which renders there."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    pattern = r"\]\(([^)\s]+)\)" if page.suffix == ".md" else r"`[^`<]+ <([^>`\s]+\.(?:rst|md|py|svg)(?:#[\w-]*)?)>`_"

    links = [link.partition("#")[0] for link in re.findall(pattern, text) if "://" not in link]

    assert not [link for link in links if link and not (page.parent / link).is_file()]


PAGES_OF_TEXT = [page for page in PAGES if page.suffix == ".rst" and page.parent.name != "api"]


@pytest.mark.parametrize("page", PAGES_OF_TEXT, ids=_page_id)
def test_page_renders_where_the_repository_is_shown(page: Path) -> None:
    """A page has no role and no directive that only Sphinx knows, beside lists of pages and texts of files."""
    said = io.StringIO()
    settings = {"warning_stream": said, "report_level": 2, "halt_level": 5}

    core.publish_string(page.read_text(encoding="utf-8"), str(page), writer="html5", settings_overrides=settings)

    allowed = re.compile(r'Unknown directive type "(toctree|literalinclude)"')
    problems = re.findall(r"\((?:WARNING|ERROR|SEVERE)/\d\) (.*)", said.getvalue())
    assert not [problem for problem in problems if not allowed.search(problem)]


def test_readme_leads_to_every_kind_of_page() -> None:
    """The repository's page links the tutorial, the guides, the reference and the explanations."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(docs/([^)]+)\)", text))

    assert "tutorial.rst" in linked
    assert {"howto", "coming_from", "reference", "explanation"} <= {link.partition("/")[0] for link in linked}


def test_verbs_of_other_trackers_are_documented() -> None:
    """The table for people who come from another tool says what the error messages say."""
    for theirs, ours in rows("verbs", "coming_from/others.rst"):
        *_, verb = re.findall(r"(\w+)\(", literal(ours))
        said = {name: way_out(name, ()) for name in re.findall(r"``(\w+)``", theirs)}
        assert not {name: text for name, text in said.items() if f"{verb}(" not in text}


def test_installation_page_names_the_distribution() -> None:
    """The page, and the repository's, say what is installed, as the error messages do."""
    pages = [DOCS / "howto" / "install.rst", ROOT / "README.md"]

    assert all(f"`{DISTRIBUTION}`" in page.read_text(encoding="utf-8") for page in pages)


def test_program_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first program that a visitor sees does what the sentence after it says."""
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)

    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(program, "README.md", "exec"), {})

    assert '"Completed"' in out.getvalue()
    assert len(fetch("file://report.json", {"parameters.lr": {"$lte": 0.01}})) == 1


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
