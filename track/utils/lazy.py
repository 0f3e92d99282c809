"""Names of a package that are imported when they are first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def names_from(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package: `homes` says in which of its modules each name is.

    Examples
    --------
    >>> names_from("track.dashboard", {"new_token": "security"})("new_token").__module__
    'track.dashboard.security'
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        # From now on it is found before this.
        setattr(sys.modules[package], name, value)
        return value

    return find
