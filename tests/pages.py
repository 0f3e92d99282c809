"""What a page of the documentation shows: its blocks, and the cells of its tables."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

# What people copy: blocks without prompts, which tests run in the order of the page. A block of Python runs, or
# is written to the file that the sentence before it names; a block of shell (`sh`) runs; a block of text after one of
# them is what it prints. Blocks of `bash` show what only another machine can do. Where a comment before a block, as
# `.. needs: keras, torch`, names a package that is not installed, the block and what it prints are left out.
BLOCK = re.compile(
    r"(?:\.\. needs: (?P<needs>[^\n]*)\n\n)?"
    r"(?:``(?P<file>[\w.]+)``[^\n]*:\n\n)?\.\. code-block:: (?P<kind>python|sh|text)\n\n(?P<code>(?:(?:   [^\n]*)?\n)+)"
)


def code(block: re.Match[str]) -> str:
    """Return the lines of a block as they are written to a file."""
    return textwrap.dedent(block["code"]).strip("\n") + "\n"


def rows(table: str, page: str = "reference/backends.rst") -> list[list[str]]:
    """Return the cells of the list-table between `.. TABLE-begin` and `.. TABLE-end`, without its header."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.search(rf"^\.\. {table}-begin$(.*?)^\.\. {table}-end$", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/{page} has no table between '.. {table}-begin' and '.. {table}-end'"

    parts = re.split(r"^   \* - ", found[1], flags=re.MULTILINE)[2:]
    assert parts, f"the {table} table of docs/{page} has no rows"
    return [[cell.strip() for cell in re.split(r"^     - ", part, flags=re.MULTILINE)] for part in parts]


def literal(cell: str) -> str:
    """Return the text between double backquotes that a cell begins with."""
    found = re.match(r"``(.+?)``", cell)
    assert found, f"expected ``literal``, found {cell!r}"
    return found[1]
