"""Where code is: the module that others import, its file, its repository."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from track.utils.git import ask_text, head_of, remote_of


def git_of(path: str) -> dict[str, str | None]:
    """Return local, remote, commit and branch of the repository that a path is in; {} where it is in none."""
    path = os.path.abspath(path)
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    local = ask_text(folder, "rev-parse", "--show-toplevel")
    if not local:
        return {}
    commit, branch = head_of(folder)
    return {
        "local": local,
        "remote": remote_of(folder, branch or None) or None,
        "commit": commit or None,
        "branch": branch or None,
    }


def innermost(function: Any) -> Any:
    """Return the function that is behind wrappers and partial ones, as far as they say what they wrap."""
    seen: list[Any] = []
    while function not in seen:
        seen.append(function)
        function = function.func if isinstance(function, functools.partial) else function
        function = getattr(function, "__wrapped__", getattr(function, "__func__", function))
    return function


def module_name(code: Any) -> str:
    """Return the module of a class or function, as another process imports it: not ``__main__``."""
    if code.__module__ != "__main__":
        return str(code.__module__)
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return str(spec.name).removesuffix(".__main__")
    file = getattr(main, "__file__", None)
    return "__main__" if file is None else os.path.splitext(os.path.basename(file))[0]


def source_file(code: Any) -> str | None:
    """Return the absolute path of the file that a class or function is written in; None where there is none."""
    try:
        file = inspect.getsourcefile(inspect.unwrap(code))
    except (TypeError, ValueError):
        return None
    return os.path.abspath(file) if file is not None and os.path.exists(file) else None


def file_of_module(module: str) -> str | None:
    """Return the path of a module's file, by its name or as it is; None where there is none. Nothing is imported."""
    if os.path.exists(module):
        return os.path.abspath(module)
    found = getattr(sys.modules.get(module), "__file__", None)
    if found is None:
        main = sys.modules.get("__main__")
        file = getattr(main, "__file__", None)
        is_main = file is not None and os.path.splitext(os.path.basename(file))[0] == module
        found = file if is_main else None
    if found is None:
        import importlib.util

        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            spec = None
        found = None if spec is None or not spec.has_location else spec.origin
    return None if found is None else os.path.abspath(found)


def header_lines(file: str | None, comment: str = "#") -> list[str]:
    """Return the comments that begin a generated script: when it was made, and of which commit."""
    lines = [f"{comment} File generated on the {time.strftime('%I:%M%p %B %d, %Y')}"]
    git = git_of(file) if file else {}
    if git:
        lines.append(f"{comment} GIT:")
        named = {"repo": git["local"], "remote": git["remote"], "commit": git["commit"]}
        lines += [f"{comment} - {name} {' '.join(str(value).split())}" for name, value in named.items() if value]
    return lines


@contextmanager
def importable_here() -> Iterator[None]:
    """Find modules in the working directory, too, as a program that is there would."""
    here = os.getcwd()
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)
