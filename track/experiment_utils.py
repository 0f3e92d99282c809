"""What experiments are made with: their files, their versions, the machine; usable without any of them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from track.errors import IncompatibleYmlException, missing_extra
from track.origin import file_of_module, git_of, header_lines, innermost, module_name, source_file
from track.parameters import TypedMeta
from track.shown import text_of
from track.utils import machine
from track.utils.files import open_regular, replace_file
from track.yaml12 import Commented, dump, flow, load, load_mapping

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "IncompatibleYmlException",
    "TypedMeta",
    "dic_from_yml",
    "dic_to_yaml",
    "dics_to_pandas",
    "flatten",
    "get_attribute_helps",
    "get_docs",
    "get_git",
    "get_meta",
    "get_run_script",
    "get_size",
    "get_version",
    "load_param",
    "load_params",
    "save_param",
]

_HELP = re.compile(r"^\s{2,}(\*{0,2}\w+)\s*(?::|=|\(|~|$)")
_OTHER_HELP = re.compile(r"^\s+\w+\s*\([^()]*\)\s*:\s*(.*)")
_SECTION = re.compile(r"^\s*Parameters( of \w+)?:?\s*$")


# files


def load_param(root: str | os.PathLike[str], file: str = "params.yml") -> Commented:
    """Return what is in ``root/file``, a dictionary that keeps the comment of each key in ``comments``.

    Raises
    ------
    IncompatibleYmlException
        It is no YAML, or more than plain data.
    """
    path = os.path.join(root, file)
    with open_regular(path) as opened:
        return load_mapping(opened.readall() or b"", path)


def save_param(params: Mapping[str, Any], root: str | os.PathLike[str], file: str = "params.yml") -> None:
    """Write parameters to ``root/file``, whole or not at all, with the comments that `load_param` has found."""
    replace_file(os.path.join(root, file), [dump(params).encode()], sync=False)


def load_params(roots: Iterable[str | os.PathLike[str]]) -> list[dict[str, Any]]:
    """Return what is in the ``params.yml`` of each folder."""
    return [dict(load_param(root)) for root in roots]


def dic_to_yaml(dic: Mapping[str, Any], typ: str = "rt", default_flow_style: bool = False) -> str:
    """Return a dictionary as a text of YAML.

    Parameters
    ----------
    dic: mapping
        Plain data; with the comments that it has in ``comments``.
    typ: str
        Accepted, without effect: there is one dialect.
    default_flow_style: bool
        Whether to write it in one line, with braces.
    """
    return f"{flow(dic)}\n" if default_flow_style else dump(dic)


def dic_from_yml(*, string: str | None = None, path: str | os.PathLike[str] | None = None) -> Any:
    """Return what is in a text of YAML, or in a file.

    Parameters
    ----------
    string: str, optional
    path: path, optional
        One of the two.

    Raises
    ------
    AssertionError
        Both are given, or none.
    IncompatibleYmlException
        It is no YAML, or more than plain data.
    """
    if (string is None) == (path is None):
        raise AssertionError("dic_from_yml reads a string or a path: give one of them")
    if string is not None:
        return load(string)
    with open_regular(os.fspath(path)) as opened:  # type: ignore[arg-type]
        return load(opened.readall() or b"", os.fspath(path))  # type: ignore[arg-type]


# dictionaries


def flatten(d: Mapping[Any, Any], parent_key: str = "", sep: str = "_") -> dict[str, Any]:
    """Return a dictionary without dictionaries in it: their keys are joined.

    Examples
    --------
    >>> flatten({"a": {"b": {"c": 1}}, 2: 3})
    {'a_b_c': 1, '2': 3}
    """
    found: dict[str, Any] = {}
    for key, value in d.items():
        name = f"{parent_key}{sep}{text_of(key)}" if parent_key else text_of(key)
        found |= flatten(value, name, sep) if isinstance(value, Mapping) and value else {name: value}
    return found


def dics_to_pandas(dics: Iterable[Mapping[Any, Any]], reg: str) -> pd.DataFrame:
    """Return a row a dictionary, of the keys that match a regular expression once they are flattened; else NaN.

    Raises
    ------
    MissingExtra
        pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise missing_extra("a table needs pandas", "pandas") from error
    rows = [{key: value for key, value in flatten(dic).items() if re.match(reg, key)} for dic in dics]
    frame: pd.DataFrame = pd.DataFrame(rows)
    return frame


def get_size(bytes: float, suffix: str = "B") -> str:
    """Return a number of bytes as a person reads it: 1253656 is ``1.20MB``."""
    return machine.size_text(bytes, suffix)


# classes


def get_docs(cl: type) -> list[str | None]:
    """Return the docstrings of a class and of all that it extends, that of ``object`` last."""
    return [kind.__doc__ for kind in cl.__mro__]


def get_attribute_helps(cls: type) -> dict[str, str | None]:
    """Return the help of each parameter of a class, None where there is none.

    They are those that the class declares; else the lines in the section ``Parameters`` of its docstrings.
    """
    found: dict[str, str | None] = {}
    for kind in reversed(cls.__mro__):
        if "_params" not in vars(kind):
            found |= _helps_in(kind.__doc__ or "")
    declared = getattr(cls, "_params", {})
    return found | {name: parameter.help for name, parameter in declared.items() if not name.startswith("_")}


def _helps_in(doc: str) -> dict[str, str | None]:
    lines = iter(doc.splitlines())
    found: dict[str, str | None] = {}
    is_inside = False
    for line in lines:
        if _SECTION.match(line):
            is_inside = True
        elif is_inside and line.strip() and not line[:1].isspace():
            is_inside = False
        elif is_inside and (name := _HELP.match(line)):
            # ``name: type=default ~ help``, and ``name (type): help`` as other libraries write it.
            other = _OTHER_HELP.match(line)
            text = line.partition(" ~ ")[2] if other is None else other[1]
            found[name[1].lstrip("*")] = re.sub(r"\s*\(default=.*\)$", "", text).strip() or None
    return found


# versions


def get_git(path: str | os.PathLike[str]) -> dict[str, str | None]:
    """Return local, remote, commit and branch of the repository that a path is in; {} where it is in none.

    Each is None where there is none: a repository without a remote, a commit that no branch is at. Credentials in the
    remote are ``***``.
    """
    return git_of(os.fspath(path))


def get_version(
    *, path: str | os.PathLike[str] | None = None, cls: type | None = None, fn: Callable[..., Any] | None = None
) -> dict[str, Any]:
    """Return where code is, and which commit it is of.

    Parameters
    ----------
    path, cls, fn: optional
        A file or folder, a class, or a function: one of them.

    Returns
    -------
    dict
        ``path``; of a class or function also ``module`` and ``class`` or ``function``; ``git`` as `get_git` finds it,
        where there is a repository.

    Raises
    ------
    ValueError
        None is given, or more than one.
    """
    if sum(given is not None for given in (path, cls, fn)) != 1:
        raise ValueError("get_version takes one of path, cls and fn")
    if path is not None:
        found: dict[str, Any] = {"path": os.path.abspath(path)}
    else:
        code: Any = innermost(fn) if cls is None else cls
        kind = "function" if cls is None else "class"
        name = getattr(code, "__qualname__", type(code).__qualname__)
        found = {"module": module_name(code), kind: name, "path": source_file(code)}
    git = get_git(found["path"]) if found["path"] else {}
    return {**found, "git": git} if git else found


def get_run_script(module: str, name: str, shell: str = "/usr/bin/env python3", comment: str = "#") -> str:
    """Return a program that runs an experiment by its command line.

    Parameters
    ----------
    module: str
        The module it is in: its name, or the path of its file.
    name: str
        Of a class, or of a function, which is made an experiment.
    shell: str
        What runs the program, for its first line.
    comment: str
        What a comment begins with there.
    """
    file = file_of_module(module)
    imported = os.path.splitext(os.path.basename(file))[0] if os.path.exists(module) and file else module
    lines = [f"#!{shell}", *header_lines(file, comment), "import importlib", "import sys", ""]
    if file is not None:
        levels = imported.count(".") + (os.path.basename(file) == "__init__.py") + 1
        folder = file
        for _ in range(levels):
            folder = os.path.dirname(folder)
        lines += [f"sys.path.insert(0, {folder!r})"]
    lines += [
        "from track.experiment import Experiment",
        "from track.functional import functional_experiment",
        "",
        f"found = importlib.import_module({imported!r})",
        *[f"found = getattr(found, {part!r})" for part in name.split(".")],
        "if not (isinstance(found, type) and issubclass(found, Experiment)):",
        "    found = functional_experiment(found)",
        'if __name__ == "__main__":',
        "    found().main()",
    ]
    return "\n".join(lines) + "\n"


# the machine


def get_meta(  # noqa: PLR0917 - the published signature
    get_platform: bool = False,
    get_cpu: bool = False,
    get_memory: bool = False,
    get_disk: bool = False,
    get_slurm: bool = False,
    get_conda: bool = False,
    get_network: bool = False,
    get_gpu: bool = False,
    get_environ: bool = False,
    live: bool = False,
) -> dict[str, Any]:
    """Return facts about this machine: mac, host, user, home; and groups of more, each where it is asked for.

    What cannot be found out is left out. Of the environment there are variables of GPUs, schedulers, paths and virtual
    environments; what is named like a secret is ``***``.

    Parameters
    ----------
    live: bool
        Whether to say how busy the processors are.
    """
    wanted: dict[str, tuple[bool, Callable[[], Any]]] = {
        "system": (get_platform, machine.system),
        "cpu": (get_cpu, lambda: machine.cpu(live)),
        "disks": (get_disk, machine.disks),
        "network": (get_network, machine.network),
        "gpu": (get_gpu, machine.gpus),
        "slurm": (get_slurm, machine.slurm),
        "conda": (get_conda, machine.conda),
        "environ": (get_environ, machine.environment),
    }
    found = machine.facts({group: collect for group, (is_wanted, collect) in wanted.items() if is_wanted})
    memory = machine.facts({"memory": machine.memory}).get("memory", {}) if get_memory else {}
    return {**machine.identity(), **found, **memory}
