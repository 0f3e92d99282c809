"""Options: the environment, then one JSON file, then the default of whoever asks."""

from __future__ import annotations

import functools
import logging
import os
from typing import Any

__all__ = ["ATTEMPT_VARIABLE", "OPTIONS", "find_configuration", "none", "options", "reset_configuration", "several"]

logger = logging.getLogger(__name__)


class _DefaultNone:
    """The type of `none`."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "none"

    def __reduce__(self) -> str:
        return "none"


none = _DefaultNone()
"""What `options` returns where neither a value nor a default is given; false."""

OPTIONS: dict[str, tuple[Any, str]] = {
    "artifacts.url": ("", "folder or URL where the files of trials are stored; beside the store by default"),
    "log.backend.name": ("none", "URI of the backend a client uses; none keeps everything in memory"),
    "log.backend.lock_timeout": (30, "seconds to wait for another process's lock"),
    "log.stdout_capture": (50, "how many of the last writes to standard output are kept"),
    "log.stderr_capture": (50, "how many of the last writes to standard error are kept"),
    "log.print.throttle": (None, "print the progress line every so many steps"),
    "log.print.every": (None, "print the progress line at most once in so many seconds"),
    "log.print.disable": (False, "never print the progress line"),
    "log.spill.folder": ("", "folder of the events on their way to servers; ~/.cache/track/spill by default"),
    "em.host": (None, "upload store of track.em: a URL such as file:///data/store or s3://bucket/prefix"),
    "em.api_key": (None, "key for it; for S3 <access key>:<secret>"),
    "socket.folder": ("", "folder of the servers' certificate; ~/.config/track/server by default"),
    "socket.known_hosts": ("", "servers trusted at first sight; ~/.config/track/known_hosts by default"),
    "log.heartbeat_timeout": (900.0, "seconds of silence after which a trial of another host is shown broken"),
    "experiment.requeue": (True, "ask Slurm to run the job of an experiment again whose time is over (SIGUSR1)"),
    "log.environment": ("all", "what is recorded of where a trial runs: all, none, some parts, or -argv,-user"),
    "monitor": ("", "seconds between two records of what a trial uses of its machine: processors, memory, GPUs; as 10"),
    "process.hooks": (True, "notice signals and sys.exit while a trial runs"),
    "log.level": ("WARNING", "level of a logger made by track.utils.log, a name or a number"),
    "log.save": (none, "accepted for old configuration files, without effect"),
}
"""Every option of the library: name, default and meaning. `options` itself applies none of these defaults."""

_FILE_NAME = "track.config"
_FILE_VARIABLE = "TRACK_CONFIG"
ATTEMPT_VARIABLE = "TRACK_ATTEMPT"
"""Of the environment: the attempt in which a worker has reserved its trial for the processes that it starts."""
# Options whose default does not show the type of their values.
_KINDS: dict[str, type] = {
    "log.backend.lock_timeout": float,
    "log.print.throttle": int,
    "log.print.every": float,
}
_WORDS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}

_loaded: dict[str, Any] | None = None


def options(key: str, default: Any = none) -> Any:
    """Return the value of an option.

    The environment variable comes first: ``TRACK_`` and the key in capitals, dots as underscores. Its text is
    converted to the type of the default where that is a bool, an int or a float. Then the configuration file,
    where null means not set, then `default`.

    Parameters
    ----------
    key: str
        Dotted name, such as ``log.print.every``; each part is one level of the file.
    default: object
        What to return when the option is not set. Without one that is `none`, and a warning is logged.

    Raises
    ------
    ValueError
        The variable does not hold a value of the expected type, or the file is not a JSON object.
    FileNotFoundError
        ``TRACK_CONFIG`` names a file that does not exist.

    Examples
    --------
    >>> options("log.print.disable", False)
    False
    """
    return several((key, default))[0]


def several(*asked: tuple[str, Any]) -> list[Any]:
    """Return the values of several options, each given as key and default: the file is looked for once."""
    found: list[Any] = []
    content = _loaded
    for key, default in asked:
        variable, encoded = _variable_of(key)
        text = _text_of(variable, encoded)
        if text is not None:
            logger.debug("option %s comes from the environment variable %s", key, variable)
            found.append(_convert(text, variable, _KINDS.get(key, type(default))))
            continue
        if content is None:
            content = find_configuration()
        # Most often there is none.
        value = _look_up(content, key) if content else None
        if value is None and default is none:
            logger.warning("option %s is not set and has no default", key)
        found.append(default if value is None else value)
    return found


def _text_of(variable: str, encoded: Any) -> str | None:
    """Return the text of an environment variable; None where it is not set, as most are."""
    environment: Any = os.environ
    try:
        # To be told so by an exception, as `get` is, takes five times as long: each trial that starts asks.
        if encoded not in environment._data:
            return None
    except AttributeError:
        # A program, or another Python, may have put something else there.
        pass
    text: str | None = environment.get(variable)
    return text


def _encoded(variable: str) -> Any:
    """Return a name as the environment of this system has it, bytes or text."""
    return os.fsencode(variable) if os.name == "posix" else variable.upper()


@functools.cache
def _file_variable() -> tuple[str, Any]:
    return _FILE_VARIABLE, _encoded(_FILE_VARIABLE)


@functools.cache
def _variable_of(key: str) -> tuple[str, Any]:
    variable = "TRACK_" + key.upper().replace(".", "_")
    return variable, _encoded(variable)


def find_configuration(file: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Return the content of the configuration file, and keep it for `options`; empty where there is none.

    Parameters
    ----------
    file: path, optional
        The file to use from now on. Otherwise the first of: the file named by ``TRACK_CONFIG``,
        ``track.config`` in the working directory, ``track.config`` beside the package.

    Raises
    ------
    ValueError
        The file is not a JSON object.
    FileNotFoundError
        `file`, or the file named by ``TRACK_CONFIG``, does not exist.
    """
    global _loaded  # noqa: PLW0603
    path = _find_file() if file is None else os.fspath(file)
    if path is None:
        return {}
    _loaded = _read(path)
    return _loaded


def reset_configuration() -> None:
    """Forget the configuration file; the next `options` looks for one again."""
    global _loaded  # noqa: PLW0603
    _loaded = None
    _beside.cache_clear()


def _find_file() -> str | None:
    named = _text_of(*_file_variable())
    if named:
        if not os.path.isfile(named):
            raise FileNotFoundError(f"{_FILE_VARIABLE} names {named!r}, which is not a file")
        return named
    # Most often there is none, which `isfile` learns from an exception: each trial that starts asks.
    if os.access(_FILE_NAME, os.F_OK) and os.path.isfile(_FILE_NAME):
        return _FILE_NAME
    return _beside(__file__)


@functools.cache
def _beside(module: str) -> str | None:
    """Return the file beside the package: it is installed with it, or not."""
    path = os.path.join(os.path.dirname(module), _FILE_NAME)
    return path if os.path.isfile(path) else None


def _read(path: str) -> dict[str, Any]:
    import json

    with open(path, encoding="utf-8") as file:
        try:
            content = json.load(file)
        except ValueError as error:
            raise ValueError(f"configuration file {path!r} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"configuration file {path!r} must hold a JSON object, not {type(content).__name__}")
    return content


def _look_up(node: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(node, dict):
            return None
        node = node.get(part)
    return node


def _convert(text: str, variable: str, kind: type) -> Any:
    if kind not in (bool, int, float):
        return text
    try:
        return _WORDS[text.strip().lower()] if kind is bool else kind(text)
    except (KeyError, ValueError):
        message = f"environment variable {variable}={text!r} must be of type {kind.__name__}"
        raise ValueError(message) from None
