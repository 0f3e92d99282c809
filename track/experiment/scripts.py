"""What a set of experiments is begun with: its defaults, its script, the program that the script runs."""

from __future__ import annotations

import copy
import functools
import os
import shlex
import stat
from typing import Any

from track.errors import InvalidCall
from track.experiment.names import folder_name
from track.experiment.params import DEFAULTS, to_defaults
from track.experiment_utils import get_run_script, get_version
from track.origin import header_lines, innermost, module_name, source_file
from track.utils.files import replace_file
from track.utils.machine import identity
from track.yaml12 import dump


def version_of(kind: Any) -> dict[str, Any]:
    """Return where the code of a class of experiments is; of one that was made of a function, that of the function.

    It is asked for once: the code that runs is that which was imported, whatever is committed meanwhile.
    """
    return copy.deepcopy(_version_of(kind))


@functools.lru_cache(maxsize=64)
def _version_of(kind: Any) -> dict[str, Any]:
    return get_version(cls=kind) if kind.fn is None else get_version(fn=kind.run)


def write_defaults(experiment: Any, folder: str) -> None:
    """Write ``defaults.yml``."""
    os.makedirs(folder, exist_ok=True)
    content = to_defaults(experiment, identity(), version_of(type(experiment)))
    replace_file(os.path.join(folder, DEFAULTS), [dump(content).encode()], sync=False)


def write_root(experiment: Any, folder: str, shell: str) -> None:
    """Write ``defaults.yml``, ``script.sh`` and the program."""
    kind: Any = type(experiment)
    module, name = kind.fn or (module_name(kind), kind.__qualname__)
    if "<locals>" in name or module == "__main__":
        raise InvalidCall(f"{name} is made inside of a function, or at a prompt: another program cannot import it")
    code = kind if kind.fn is None else innermost(kind.run)
    write_defaults(experiment, folder)
    program = os.path.join(folder, folder_name(f"{module}.{name}"))
    write_program(program, get_run_script(module, name))
    write_program(os.path.join(folder, "script.sh"), _shell_script(program, shell, source_file(code)))


def _shell_script(program: str, shell: str, file: str | None) -> str:
    """Return the script of a set, which is given the path of a ``params.yml``."""
    return "\n".join([f"#!{shell}", *header_lines(file), "", f'exec {shlex.quote(program)} --execute "${{1}}"']) + "\n"


def write_program(path: str, text: str) -> None:
    """Write a file that whoever may read it may run."""
    replace_file(path, [text.encode()], sync=False)
    make_runnable(path)


def make_runnable(path: str) -> None:
    """Let whoever may read a file run it."""
    mode = os.stat(path).st_mode
    os.chmod(path, mode | (mode & (stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)) >> 2)
