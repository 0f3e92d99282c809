"""The code of a trial: the script that runs, or the cells of a notebook, and what git knows of it."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from track.utils.git import ask_git, head_of, remote_of

logger = logging.getLogger(__name__)
_PATIENCE = 30.0
_LARGEST = 16 << 20
_SHOWN = 100
# A repository's own settings may neither run a program nor change what the patch is of.
_PLAIN = (
    "--no-ext-diff", "--no-textconv", "--no-color", "--no-relative", "--src-prefix=a/", "--dst-prefix=b/", "--binary",
)  # fmt: skip
_UNTRACKED = ("ls-files", "-z", "--others", "--exclude-standard", "--directory", "--full-name", "--", ":/")


@dataclass(frozen=True)
class Code:
    """A script, or cells: what to call them, the text, `describe_repository`'s facts with its path, and the patch."""

    name: str
    content: bytes
    facts: dict[str, Any]
    difference: bytes


def describe_code(script: str | None = None) -> Code | None:
    """Return the script that runs, or another; in IPython, or a notebook, the cells that were run in this session.

    None where there is neither, as at the prompt of Python.
    """
    path = script or getattr(sys.modules.get("__main__"), "__file__", None)
    if not path:
        return _describe_cells()
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return None
    path = os.path.abspath(path)
    facts, difference = describe_repository(os.path.dirname(path))
    return Code(os.path.basename(path), content, {"script": path, **facts}, difference)


def _describe_cells() -> Code | None:
    shell: Any = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None:
        return None
    cells = [(number, source) for _, number, source in shell.history_manager.get_range(raw=True, output=False)]
    text = "\n\n".join(f"# In[{number}]:\n{source}" for number, source in cells)
    facts, difference = describe_repository(os.getcwd())
    return Code("cells.py", f"{text}\n".encode("utf-8", "replace"), {"cells": len(cells), **facts}, difference)


def describe_repository(folder: str) -> tuple[dict[str, Any], bytes]:
    """Return commit, branch, remote, whether anything is not committed and what is untracked, and the patch of that.

    Both are empty where there is no repository, no commit, or no working ``git``. The patch is of files that git
    knows; others are named, the first 100 of them. A patch of more than 16 MiB is left out, and that is said.
    """
    commit, branch = head_of(folder)
    if not commit:
        _tell_silent(folder)
        return {}, b""
    named = {"branch": branch, "remote": remote_of(folder, branch)}
    facts: dict[str, Any] = {"commit": commit, **{name: value for name, value in named.items() if value}}
    difference = ask_git(folder, "diff", *_PLAIN, "HEAD", timeout=_PATIENCE, limit=_LARGEST)
    if difference is not None:
        facts["is_changed"] = bool(difference)
    if difference is not None and len(difference) > _LARGEST:
        size = f"more than {_LARGEST >> 20} MiB"
        logger.warning("what is not committed in %s is %s: the patch is not stored, commit it", folder, size)
        facts["difference_not_stored"], difference = size, b""
    untracked = ask_git(folder, *_UNTRACKED, timeout=_PATIENCE, limit=_LARGEST)
    if untracked:
        names = untracked.decode("utf-8", "replace").rstrip("\0").split("\0")
        facts["untracked"] = sorted(names)[:_SHOWN]
    return facts, difference or b""


def _tell_silent(folder: str) -> None:
    """Say that there is a repository, of which nothing is recorded."""
    at = Path(folder).absolute()
    for place in (at, *at.parents):
        if (place / ".git").exists():
            logger.warning(
                "git tells nothing of the repository in %s, no commit is recorded: git rev-parse HEAD says why", place
            )
            return
