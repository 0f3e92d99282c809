"""The code of a trial: the script that runs, and what git knows of it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from track.persistence.utils import mask_secrets

logger = logging.getLogger(__name__)

_PATIENCE = 30.0
_SHOWN = 100
# A repository's own settings may neither run a program nor change what the patch is of.
_PLAIN = (
    "--no-ext-diff", "--no-textconv", "--no-color", "--no-relative", "--src-prefix=a/", "--dst-prefix=b/", "--binary",
)  # fmt: skip
_UNTRACKED = ("ls-files", "-z", "--others", "--exclude-standard", "--directory", "--full-name", "--", ":/")
# Inside a hook these would answer for another repository than the one of the script.
_MISLEADING = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_EXTERNAL_DIFF")


@dataclass(frozen=True)
class Code:
    """A script.

    Parameters
    ----------
    name: str
        Of its file, without folders.
    content: bytes
    facts: dict
        The script's path, and what `describe_repository` found.
    difference: bytes
        What is changed and not committed, as a patch; empty where nothing is.
    """

    name: str
    content: bytes
    facts: dict[str, Any]
    difference: bytes

    @property
    def text(self) -> str:
        """The content as text."""
        return self.content.decode("utf-8", "replace")


def describe_code(script: str | None = None) -> Code | None:
    """Return the script that runs, or another; None where there is none to read, as in an interactive session."""
    path = script or getattr(sys.modules.get("__main__"), "__file__", None)
    if not path:
        return None
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return None
    path = os.path.abspath(path)
    facts, difference = describe_repository(os.path.dirname(path))
    return Code(os.path.basename(path), content, {"script": path, **facts}, difference)


def describe_repository(folder: str) -> tuple[dict[str, Any], bytes]:
    """Return commit, branch, remote, whether anything is not committed and what is untracked, and the patch of that.

    Both are empty where there is no repository, no commit, or no working ``git``. The patch is of files that git
    knows; others are named, the first 100 of them.
    """
    commit = _ask(folder, "rev-parse", "HEAD")
    if not commit:
        _tell_silent(folder)
        return {}, b""
    facts: dict[str, Any] = {"commit": commit.decode().strip()}
    branch = _ask(folder, "symbolic-ref", "--short", "-q", "HEAD")
    if branch:
        facts["branch"] = branch.decode("utf-8", "replace").strip()
    remote = _ask(folder, "config", "--get", f"branch.{facts.get('branch')}.remote") or b"origin"
    url = _ask(folder, "config", "--get", f"remote.{remote.decode('utf-8', 'replace').strip()}.url")
    if url:
        facts["remote"] = _masked(url.decode("utf-8", "replace").strip())
    changes, difference = _describe_changes(folder)
    return {**facts, **changes}, difference


def _describe_changes(folder: str) -> tuple[dict[str, Any], bytes]:
    """Return whether anything is not committed and what is untracked, and the patch; nothing where git is silent."""
    facts: dict[str, Any] = {}
    difference = _ask(folder, "diff", *_PLAIN, "HEAD")
    if difference is not None:
        facts["is_changed"] = bool(difference)
    untracked = _ask(folder, *_UNTRACKED)
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


def _masked(url: str) -> str:
    """Return a remote without its credentials; a token may stand where a user does."""
    head, scheme, rest = url.partition("://")
    user, at, host = rest.partition("/")[0].rpartition("@")
    if scheme and at and (":" in user or user != "git"):
        path = rest.partition("/")[2]
        return f"{head}://***@{host}/{path}"
    return mask_secrets(url)


def _ask(folder: str, *arguments: str) -> bytes | None:
    environment = {name: value for name, value in os.environ.items() if name not in _MISLEADING}
    command = ["git", "-C", folder, "-c", "core.fsmonitor=false", *arguments]
    try:
        answer = subprocess.run(
            command,
            env={**environment, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=True,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return answer.stdout
