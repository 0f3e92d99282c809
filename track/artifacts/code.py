"""The code of a trial: the script that runs, and what git knows of it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from track.persistence.utils import mask_secrets

__all__ = ["Code", "describe_code", "describe_repository"]

_PATIENCE = 30.0
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
    """Return commit, branch, remote and whether anything is not committed, and the patch of that.

    Both are empty where there is no repository, no commit, or no working ``git``.
    """
    commit = _ask(folder, "rev-parse", "HEAD")
    if not commit:
        return {}, b""
    facts: dict[str, Any] = {"commit": commit.decode().strip()}
    branch = _ask(folder, "symbolic-ref", "--short", "-q", "HEAD")
    if branch:
        facts["branch"] = branch.decode("utf-8", "replace").strip()
    remote = _ask(folder, "config", "--get", f"branch.{facts.get('branch')}.remote") or b"origin"
    url = _ask(folder, "config", "--get", f"remote.{remote.decode('utf-8', 'replace').strip()}.url")
    if url:
        facts["remote"] = _masked(url.decode("utf-8", "replace").strip())
    # Set by the repository's owner: none of these may run a program of the repository.
    difference = _ask(folder, "diff", "--no-ext-diff", "--no-textconv", "--no-color", "--binary", "HEAD") or b""
    facts["is_changed"] = bool(difference)
    return facts, difference


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
