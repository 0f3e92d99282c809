"""Where this process runs: found out once, without importing or starting anything but git."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from track.plain import to_plain
from track.utils.git import ask_git
from track.utils.masking import mask_command
from track.utils.system import hostname

logger = logging.getLogger(__name__)
ENVIRONMENT = "_environment"
"""The name in a trial's metadata of where it runs."""
PACKAGES = "_packages_"
"""What names begin with in a project's metadata that hold packages: the rest is their digest."""
PARTS = ("argv", "python", "host", "user", "folder", "git", "packages", "gpus")
"""What is found out, each part by itself."""
_ALL, _NONE = ("all", "1", "true", "yes", "on"), ("none", "0", "false", "no", "off", "")
_PATIENCE = 1.0
_LONGEST, _MOST = 1000, 200
_DISTRIBUTION = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)(-.*)?\.(dist|egg)-info")
_VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


class Environment(NamedTuple):
    """Where a process runs.

    Attributes
    ----------
    facts: dict
        JSON-safe data by part; `packages` is the digest of them.
    packages: str
        Name and version of each, ``name==version`` in a line; '' where none is known.
    """

    facts: dict[str, Any]
    packages: str


def read_parts(chosen: Any) -> tuple[str, ...]:
    """Return the parts that an option names.

    Parameters
    ----------
    chosen: bool, str or list of str
        Whether all; ``all``, ``none``; some, as ``git,packages``; or all but some, as ``-argv,-user``.

    Raises
    ------
    ValueError
        It names something else.

    Examples
    --------
    >>> read_parts("git,packages"), read_parts("0"), read_parts("-argv,-user")[:3]
    (('git', 'packages'), (), ('python', 'host', 'folder'))
    """
    if isinstance(chosen, (bool, int)):
        return PARTS if chosen else ()
    words = chosen.split(",") if isinstance(chosen, str) else list(chosen)
    words = [str(word).strip().lower() for word in words]
    if len(words) <= 1 and (not words or words[0] in _NONE):
        return ()
    if len(words) == 1 and words[0] in _ALL:
        return PARTS
    without = all(word.startswith("-") for word in words)
    named = {word.removeprefix("-") for word in words} if without else set(words)
    if not named <= set(PARTS):
        raise ValueError(f"it should be all, none, or some of {','.join(PARTS)}; -argv,-user is all but these")
    return tuple(part for part in PARTS if (part in named) is not without)


@functools.lru_cache(maxsize=8)
def environment_of(parts: tuple[str, ...]) -> Environment:
    """Return where this process runs, as it was when it was first asked; what cannot be found out is left out."""
    facts: dict[str, Any] = {}
    packages = ""
    for part in parts:
        try:
            found = _finders[part]()
        except Exception as error:  # noqa: BLE001 - it is a courtesy, whatever the machine is like
            logger.debug("%s cannot be found out: %s", part, error)
            continue
        if part == "packages":
            packages = found
            found = digest_of(found) if found else None
        if found not in (None, "", {}, []):
            facts[part] = found
    return Environment(to_plain(facts), packages)


def digest_of(packages: str) -> str:
    """Return by what packages are named."""
    return hashlib.sha256(packages.encode()).hexdigest()[:16]


def command_line(facts: Mapping[str, Any]) -> str | None:
    """Return the command of stored facts as a shell takes it; None where it was not recorded.

    Examples
    --------
    >>> command_line({"argv": ["train.py", "--name", "two words"]})
    "train.py --name 'two words'"
    """
    argv = facts.get("argv")
    if not isinstance(argv, list):
        return None if argv is None else str(argv)
    # Only who is shown it needs this.
    import shlex

    return shlex.join(map(str, argv))


def find_command() -> list[str]:
    """Return the command line, without what is secret in it."""
    words = mask_command([str(word) for word in sys.argv])
    cut = [word if len(word) <= _LONGEST else f"{word[:_LONGEST]}…" for word in words]
    return cut if len(cut) <= _MOST else [*cut[:_MOST], "…"]


def find_user() -> str | None:
    """Return the name of the user; None where there is none, as in some containers."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return None


def find_git(folder: str | None = None) -> dict[str, Any] | None:
    """Return commit, branch, and whether what git knows has changed: "unknown" after a second; None without git."""
    here = Path(folder or os.getcwd())
    if not any((place / ".git").exists() for place in (here, *here.parents)):
        return None
    end = time.monotonic() + _PATIENCE
    # Both at once: each process costs milliseconds.
    head = ask_git(str(here), "rev-parse", "HEAD", "--abbrev-ref", "HEAD", timeout=_PATIENCE)
    if head is None:
        return {"commit": "unknown"}
    commit, _, branch = head.decode("utf-8", "replace").strip().partition("\n")
    left = end - time.monotonic()
    status = ("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty", "--no-renames")
    changed = ask_git(str(here), *status, timeout=left, limit=1) if left > 0 else None
    found: dict[str, Any] = {"commit": commit, "is_dirty": "unknown" if changed is None else bool(changed)}
    # It is called HEAD where there is no branch.
    return found if branch in ("", "HEAD") else found | {"branch": branch}


def find_packages(folders: Iterable[str] | None = None) -> str:
    """Return the installed packages, one in a line, as the names of their records say; none is read or imported."""
    known: dict[str, str] = {}
    for folder in sys.path if folders is None else folders:
        try:
            names = os.listdir(folder or os.curdir)
        except OSError:
            continue
        for entry in names:
            # Nearly all are something else.
            if entry.endswith("-info") and (match := _DISTRIBUTION.fullmatch(entry)):
                # That of the first folder is imported.
                known.setdefault(re.sub(r"[-_.]+", "-", match["name"]).lower(), match["version"])
    return "\n".join(f"{name}=={version}" for name, version in sorted(known.items()))


def find_gpus(root: str = "/") -> dict[str, Any] | None:
    """Return the names of the GPUs that this process may see, as the system lists them; no driver is loaded.

    `root`: where the system's files are.
    """
    found: dict[str, Any] = {name: os.environ[name] for name in _VISIBLE if name in os.environ}
    names = [*_of_nvidia(Path(root)), *_of_amd(Path(root))]
    hidden = any(value.strip() in ("", "-1", "NoDevFiles") for value in found.values())
    return found | ({"names": names} if names and not hidden else {})


def _of_nvidia(root: Path) -> list[str]:
    # A container has the device files of its own ones, and the driver's list of all.
    devices = sorted(int(path.name[6:]) for path in (root / "dev").glob("nvidia[0-9]*") if path.name[6:].isdecimal())
    names = {}
    for information in (root / "proc/driver/nvidia/gpus").glob("*/information"):
        lines = information.read_text(encoding="utf-8", errors="replace").splitlines()
        said = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        names[said.get("Device Minor")] = said.get("Model")
    return [names.get(str(device)) or "NVIDIA GPU" for device in devices]


def _of_amd(root: Path) -> list[str]:
    if not (root / "dev/kfd").exists():
        return []
    found = []
    for node in sorted((root / "sys/class/kfd/kfd/topology/nodes").glob("*"), key=lambda path: (len(path.name), path)):
        try:
            lines = (node / "properties").read_text(encoding="utf-8").splitlines()
            said = dict(line.split(None, 1) for line in lines if " " in line)
            # A processor is a node, too.
            if int(said.get("simd_count", 0)):
                found.append(f"AMD {(node / 'name').read_text(encoding='utf-8').strip()}".strip())
        except (OSError, ValueError):
            continue
    return found


def _find_python() -> str:
    return ".".join(map(str, sys.version_info[:3]))


_finders: dict[str, Any] = {
    "argv": find_command,
    "python": _find_python,
    "host": hostname,
    "user": find_user,
    "folder": os.getcwd,
    "git": find_git,
    "packages": find_packages,
    "gpus": find_gpus,
}
