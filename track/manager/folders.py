"""The folder of one experiment of a set, whatever program it is of: ``params.yml`` and ``run.sh``."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from track.configuration import options
from track.experiment.parts import NAME, SPECIAL, TIMES, TRIAL, load_file, write_program
from track.persistence.file import StoreLock
from track.utils.files import replace_file
from track.yaml12 import Commented, dump

RUN_FILE = "run.sh"
_LOCK, _TEMPORARY = ".lock", ".params.yml.tmp"


def content_of(special: Mapping[str, Any], parameters: Mapping[str, Any], comments: Mapping[Any, str]) -> Commented:
    """Return what a ``params.yml`` says: what is special in its order, then the parameters, with their comments."""
    known = {name: special.get(name) for name in SPECIAL}
    known["_timestamps"] = {name: (special.get("_timestamps") or {}).get(name) for name in TIMES}
    known["_messages"] = special.get("_messages") or {}
    known["_notes"], known["_purpose"] = special.get("_notes") or None, special.get("_purpose") or None
    if special.get(TRIAL):
        known[TRIAL] = special[TRIAL]
    return Commented({**known, **parameters}, {name: text for name, text in comments.items() if name in parameters})


def write_params(folder: str, content: Commented) -> None:
    """Write ``params.yml``, whole or not at all; the caller has the lock of the folder, or has just made it."""
    replace_file(
        os.path.join(folder, NAME), [dump(content).encode()], os.path.join(folder, _TEMPORARY), sync=False, follow=False
    )


@contextmanager
def locked(folder: str) -> Iterator[None]:
    """Keep all others from writing to ``params.yml``, as an experiment does that runs."""
    with StoreLock(os.path.join(folder, _LOCK), float(options("log.backend.lock_timeout", 30))):
        yield


def change_params(folder: str, change: Callable[[Commented], None]) -> None:
    """Read ``params.yml``, let it be changed, and write it."""
    with locked(folder):
        content = load_file(os.path.join(folder, NAME))
        change(content)
        write_params(folder, content)


def parameters_in(content: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the parameters that a file says, without what is special."""
    return {name: value for name, value in content.items() if not str(name).startswith("_")}


def write_run(root: str, folder: str, script: str, shell: str, header: str) -> None:
    """Write ``run.sh``, with which the experiment is started by hand, or by a scheduler."""
    write_program(os.path.join(folder, RUN_FILE), _run_text(root, folder, script, shell, header))


def _run_text(root: str, folder: str, script: str, shell: str, header: str) -> str:
    command = _command(root, folder, script, shell)
    lines = [f"#!{shell}", *([header.rstrip("\n")] if header.strip() else []), command]
    return "\n".join([*lines, "status=$?", 'echo "EXPERIMENT FINISHED!"', 'exit "$status"', ""])


def _command(root: str, folder: str, script: str, shell: str) -> str:
    """Return the line that runs the script of the set; `shell` may have arguments."""
    return f"{shell} {shlex.quote(os.path.join(root, script))} {shlex.quote(os.path.join(folder, NAME))}"
