"""Parameters as help shows them: ``name: type=default ~ comment``."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from track.shown import cut, shown

_WIDTH = 70
_MOST = 60


def help_line(name: str, kind: str | None, default: str | None, comment: str | None) -> str:
    """Return the line of a parameter; what is None is left out.

    Examples
    --------
    >>> help_line("lr", "float", "0.1", "the step"), help_line("depth", None, "2", None)
    ('lr: float=0.1 ~ the step', 'depth=2')
    """
    line = name
    if kind is not None:
        line += f": {kind}"
    if default is not None:
        line += f"={default}"
    return line if not comment else f"{line} ~ {comment}"


def shown_default(value: Any) -> str:
    """Return a default as help shows it, in one line: the name of a function or class, else its repr."""
    if isinstance(value, type) or callable(value):
        name = getattr(value, "__qualname__", None)
        if isinstance(name, str):
            return name
    return cut(" ".join(shown(value, _MOST).split()), _MOST)


def annotation_text(annotation: Any) -> str:
    """Return an annotation as help shows it; nothing is evaluated."""
    if isinstance(annotation, str):
        return annotation
    return annotation.__qualname__ if type(annotation) is type else repr(annotation).replace("typing.", "")


def wrapped(line: str) -> str:
    """Return a line of help folded at 70 columns, indented."""
    return textwrap.fill(
        line, _WIDTH, initial_indent="    ", subsequent_indent="      ", break_long_words=False, break_on_hyphens=False
    )


def parameters_section(lines: Iterable[str]) -> str:
    """Return the section of a docstring that lists parameters; '' without any."""
    folded = "\n".join(map(wrapped, lines))
    return folded and f"Parameters:\n{folded}"


def documented(doc: str | None, owner: str, lines: Mapping[str, list[str]]) -> str | None:
    """Return a docstring with the parameters of a class: its own first, then those of each class that it extends."""
    own = parameters_section(lines.get(owner, []))
    others = [
        f"Parameters of {name}:\n" + "\n".join(map(wrapped, found)) for name, found in lines.items() if name != owner
    ]
    sections = [section for section in (own, *others) if section]
    if not sections or (doc and "\nParameters:\n" in doc):
        return doc
    return "\n\n".join([*([doc.rstrip()] if doc else []), *sections]) + "\n"
