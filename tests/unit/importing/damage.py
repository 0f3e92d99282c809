"""Damage to what a tracker has written."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


def damaged(folder: Path, change: Callable[[random.Random, bytearray], None], times: int) -> Any:
    """Yield copies of a folder in which one of the files is other than it was."""
    chance = random.Random(0)
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink() and path.stat().st_size]
    files = sorted(path.relative_to(folder) for path in paths)
    for number in range(times):
        copy = folder.with_name(f"copy{number}")
        shutil.copytree(folder, copy, symlinks=True)
        path = copy / chance.choice(files)
        content = bytearray(path.read_bytes())
        change(chance, content)
        path.write_bytes(content)
        yield copy
        shutil.rmtree(copy)


def flip(chance: random.Random, content: bytearray) -> None:
    """Change one bit, or eight."""
    for _ in range(chance.choice((1, 1, 1, 8))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def cut(chance: random.Random, content: bytearray) -> None:
    """Take the end away."""
    del content[chance.randrange(len(content)) :]
