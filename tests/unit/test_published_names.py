"""Programs written for the original systems find every name where they look for it."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

NAMES = json.loads((Path(__file__).parents[1] / "assets" / "published-names.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("module", NAMES)
def test_published_names_are_importable(module: str) -> None:
    """Each published name is in its module, and has the published methods."""
    loaded = importlib.import_module(module)

    missing = [name for name in NAMES[module] if not hasattr(loaded, name)]
    missing += [
        f"{name}.{member}"
        for name, members in NAMES[module].items()
        for member in members
        if not hasattr(getattr(loaded, name), member)
    ]

    assert not missing
