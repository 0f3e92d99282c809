"""Settings of the documentation."""

import doctest
import importlib.util
import posixpath
import re
from pathlib import Path

from docutils import nodes

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
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]
# Some names are documented where they are defined and again where the original had them.
suppress_warnings = ["ref.python"]
html_theme = "furo"
html_show_copyright = False
html_title = f"track {release}"

# Frameworks that are not installed are made up, so that what serves them is documented.
_FRAMEWORKS = (
    "accelerate", "catboost", "fastai", "hydra", "ignite", "keras", "lightgbm", "lightning", "omegaconf", "optuna",
    "ray", "sklearn", "torch", "transformers", "xgboost",
)  # fmt: skip
autodoc_mock_imports = [name for name in _FRAMEWORKS if importlib.util.find_spec(name) is None]
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_ivar = True


def _show_what_can_be_copied(app, doctree):
    """Show the examples of docstrings without prompts, so that they can be copied."""
    for block in list(doctree.findall(nodes.doctest_block)):
        parts = []
        for example in doctest.DocTestParser().get_examples(block.astext()):
            if parts and parts[-1][1] == "python":
                parts[-1][0] += "\n" + example.source.rstrip()
            else:
                parts.append([example.source.rstrip(), "python"])
            if example.want:
                parts.append([example.want.rstrip(), "text"])
        block.replace_self([nodes.literal_block(text, text, language=language) for text, language in parts])


def _link_pages(app, doctree, docname):
    """Links between pages name files, as the repository's own page needs them; here they lead to pages."""
    folder = posixpath.dirname(docname)
    for link in list(doctree.findall(nodes.reference)):
        path, mark, part = link.get("refuri", "").partition("#")
        name, suffix = posixpath.splitext(posixpath.normpath(posixpath.join(folder, path)))
        if suffix in (".rst", ".md") and "://" not in path:
            link["refuri"] = app.builder.get_relative_uri(docname, name) + mark + part
        elif suffix == ".py" and "://" not in path:
            link.replace_self(link.children)  # a file of the repository, which is not among these pages


def setup(app):
    """Called by Sphinx."""
    app.connect("doctree-read", _show_what_can_be_copied)
    app.connect("doctree-resolved", _link_pages)
