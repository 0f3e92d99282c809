"""What git knows of a folder: asked in one way, which runs no program of the repository and asks nobody."""

from __future__ import annotations

import os
import threading
import time

from track.utils.masking import mask_remote

_PATIENCE = 5.0
# Inside a hook these would answer for another repository than the one of the folder.
_MISLEADING = {
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_DIR", "GIT_EXTERNAL_DIFF", "GIT_INDEX_FILE",
    "GIT_NAMESPACE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_WORK_TREE",
}  # fmt: skip
_SETTINGS = ("--no-pager", "-c", "core.fsmonitor=false", "-c", "log.showSignature=false")


def ask_git(folder: str, *arguments: str, timeout: float = _PATIENCE, limit: int | None = None) -> bytes | None:
    """Return what a command of git, which only reads, prints; None where it fails within seconds, or there is no git.

    With a `limit`, of more bytes than that only so many and one: no more of them are in memory.

    One that shows differences wants ``--no-ext-diff --no-textconv``, or runs what the repository's settings say.
    """
    import subprocess

    environment = {name: value for name, value in os.environ.items() if name not in _MISLEADING}
    command = ["git", "-C", folder, *_SETTINGS, *arguments]
    try:
        with subprocess.Popen(
            command,
            env={**environment, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            end = time.monotonic() + timeout
            patience = threading.Timer(timeout, process.kill)
            patience.start()
            try:
                answer: bytes = process.stdout.read(-1 if limit is None else limit + 1)  # type: ignore[union-attr]
                if limit is not None and len(answer) > limit:
                    return answer
                return answer if process.wait() == 0 and time.monotonic() < end else None
            finally:
                patience.cancel()
                process.kill()
                # Whoever looks for threads, as before a fork, finds none of ours.
                patience.join()
    except (OSError, ValueError):
        return None


def ask_text(folder: str, *arguments: str) -> str:
    """Return what a command of git prints, as text without white space around it; '' where it fails."""
    return (ask_git(folder, *arguments) or b"").decode("utf-8", "replace").strip()


def head_of(folder: str) -> tuple[str, str]:
    """Return commit and branch; each '' where there is none."""
    commit = ask_text(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    return commit, ask_text(folder, "symbolic-ref", "--quiet", "--short", "HEAD")


def remote_of(folder: str, branch: str | None = None) -> str:
    """Return the URL of the remote of a branch, else of ``origin``, else of the first one; '' where there is none.

    Without a branch it is the first one, by name. Credentials in it are ``***``.
    """
    entries = ask_text(folder, "config", "-z", "--get-regexp", r"^(branch\..*\.remote|remote\..*\.url)$").split("\0")
    known = dict(entry.partition("\n")[::2] for entry in entries)
    remotes = sorted(name[len("remote.") : -len(".url")] for name in known if name.startswith("remote."))
    wanted = () if branch is None else (known.get(f"branch.{branch}.remote"), "origin")
    name = next((name for name in (*wanted, *remotes) if name in remotes), None)
    return "" if name is None else mask_remote(ask_text(folder, "remote", "get-url", "--", name))
