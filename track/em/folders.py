"""How the folders of runs and artifacts are called, on this machine and in a store."""

from __future__ import annotations

import os
import re
import secrets
import string
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from track.shown import shown

_TAIL = re.compile(r".+_\d{6}_\d{6}_[a-z0-9]{6}", re.DOTALL)
_LETTERS = string.ascii_lowercase + string.digits
_LONGEST = 200
_BAD = re.compile(r"[\x00-\x1f\x7f/\\\ud800-\udfff]")
_TRIES = 100


def checked_name(name: str) -> str:
    """Return a name that can be a folder's; ValueError where it is empty, long, hidden, or has slashes or controls."""
    if not isinstance(name, str):
        raise TypeError(f"a name is a str, not {type(name).__name__}")
    if not name or name.startswith(".") or _BAD.search(name):
        raise ValueError(f"{shown(name)} cannot be a name: no slashes, no control characters, no dot at the beginning")
    if len(name.encode()) > _LONGEST:
        raise ValueError(f"the name {name[:40]!r}... is too long: at most {_LONGEST} bytes")
    return name


def checked_labels(labels: Any) -> list[str]:
    """Return labels as a list of texts, None as none; TypeError where they are one text, or cannot be listed."""
    if labels is None:
        return []
    if isinstance(labels, str) or not isinstance(labels, Iterable):
        raise TypeError(f"labels are a list of texts, not {shown(labels)}: write {shown([labels])}")
    return [str(label) for label in labels]


def alternative_name(name: str) -> str:
    """Return a name that is new: ``<name>_<yymmdd>_<HHMMSS>_<6 letters or digits>``, in local time."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(6))
    return f"{name}_{time.strftime('%y%m%d_%H%M%S')}_{letters}"


def is_alternative_name(name: str) -> bool:
    """Return whether a name, as ``cnn_220823_194728_4e48t2``, is of the kind that `alternative_name` makes."""
    return _TAIL.fullmatch(name) is not None


def make_directory(parent: str, name: str, new_name: Callable[[str], str] = alternative_name) -> str:
    """Create a directory for a new run or artifact, which nobody else has, and return its path."""
    os.makedirs(parent, exist_ok=True)
    for _ in range(_TRIES):
        path = os.path.join(parent, new_name(name))
        try:
            os.mkdir(path)
        except FileExistsError:
            continue
        return path
    raise FileExistsError(f"no free name for {shown(name)} was found in {parent}")


def timestamp(seconds: float | None = None) -> str:
    """Return a time (unix seconds; now by default) as ISO 8601, local, with its offset."""
    moment = datetime.fromtimestamp(time.time() if seconds is None else seconds)
    return moment.astimezone().isoformat(timespec="seconds")


def with_article(kind: str) -> str:
    """Return a word as sentences have it: ``a Run``, ``an Artifact``."""
    return f"{'an' if kind[:1].lower() in tuple('aeiou') else 'a'} {kind}"
