"""Settings of the documentation, and a place of its own for what its examples write."""

import os
import re
from pathlib import Path

from docutils import nodes

for _name in [name for name in os.environ if name.startswith(("TRACK_", "ORION_"))]:
    del os.environ[_name]  # examples must not depend on the settings of the machine

project = "track"
author = "the track developers"
release = re.search(
    r"""^__version__(?:: *\w+)? *= *["']([^"']+)""",
    (Path(__file__).parents[1] / "track" / "__init__.py").read_text(encoding="utf-8"),
    re.MULTILINE,
)[1]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]
# Some names are documented where they are defined and again where the original had them.
suppress_warnings = ["ref.python"]
html_theme = "furo"
html_title = f"track {release}"

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_ivar = True

# Examples run in a temporary directory: they may write `file://report.json` and leave nothing behind.
doctest_global_setup = """
import os as _os, tempfile as _tempfile
_back = _os.getcwd()
_room = _tempfile.TemporaryDirectory()
_os.chdir(_room.name)
"""
doctest_global_cleanup = """
_os.chdir(_back)
_room.cleanup()
"""


def _leave_docstrings_to_the_tests(app, doctree):
    """Show the examples of docstrings without running them: the tests do, with the names of their module."""
    for block in list(doctree.findall(nodes.doctest_block)):
        if "docstring of" in (block.source or ""):
            text = block.astext()
            block.replace_self(nodes.literal_block(text, text, language="pycon"))


def setup(app):
    """Called by Sphinx."""
    app.connect("doctree-read", _leave_docstrings_to_the_tests)
