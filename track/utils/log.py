"""The library's messages for people, on standard error.

Importing this module changes nothing. The modules of the library write to the logger named after them, all
below ``track``; the functions here write to ``TRACK``. Neither has a handler until `set_log_level` or
`make_logger` is called, so an application's own logging configuration decides.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

__all__ = [
    "critical", "debug", "error", "exception", "get_log_record_constructor", "info", "make_logger", "set_log_level",
    "warning",
]  # fmt: skip

_NAME = "TRACK"
_PACKAGE = __name__.partition(".")[0]
_FORMAT = "%(levelname)s %(name)s %(pathname)s:%(lineno)d %(message)s"
_LEVEL_VARIABLE = "TRACK_LOG_LEVEL"


class _StandardError(logging.StreamHandler):  # type: ignore[type-arg]  # no subscript before Python 3.11
    """Writes to whatever ``sys.stderr`` is at that moment."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter(_FORMAT))

    @property
    def stream(self) -> Any:
        return sys.stderr

    @stream.setter
    def stream(self, _: Any) -> None:
        return


def make_logger(name: str) -> logging.Logger:
    """Return the logger of that name, writing to standard error.

    Its level, unless it has one, is ``TRACK_LOG_LEVEL`` (a name or a number), WARNING when that is not set.

    Raises
    ------
    ValueError
        ``TRACK_LOG_LEVEL`` is no level.
    """
    logger = logging.getLogger(name)
    if logger.level == logging.NOTSET:
        logger.setLevel(_level_from_environment())
    _write_to_standard_error(logger)
    return logger


def set_log_level(level: int | str = logging.INFO) -> None:
    """Show the library's messages of this level and above on standard error.

    Parameters
    ----------
    level: int or str
        A level of `logging`, by number or name.

    Raises
    ------
    ValueError
        There is no level of that name.
    """
    for name in (_NAME, _PACKAGE):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        _write_to_standard_error(logger)


def get_log_record_constructor() -> Callable[..., logging.LogRecord]:
    """Return a maker of log records whose path starts at the package, for `logging.setLogRecordFactory`."""
    make_record = logging.getLogRecordFactory()
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parent = os.path.dirname(folder) + os.sep

    def construct(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make_record(*args, **kwargs)
        record.pathname = record.pathname.removeprefix(parent)
        return record

    return construct


def _write_to_standard_error(logger: logging.Logger) -> None:
    # Where the application has a handler already, a second one would print everything twice.
    if not logger.hasHandlers():
        logger.addHandler(_StandardError())


def _level_from_environment() -> int | str:
    text = os.environ.get(_LEVEL_VARIABLE, "WARNING").strip().upper()
    if text.isdigit():
        return int(text)
    if not isinstance(logging.getLevelName(text), int):
        raise ValueError(f"environment variable {_LEVEL_VARIABLE}={text!r} must be a level of logging")
    return text


def _at(level: int, extra: str = "", **defaults: Any) -> Callable[..., None]:
    def log(msg: str, *args: Any, **kwargs: Any) -> None:
        # The message is the caller's, or of one further up, where the caller says so.
        stacklevel = kwargs.pop("stacklevel", 1) + 1
        logging.getLogger(_NAME).log(level, msg, *args, stacklevel=stacklevel, **{**defaults, **kwargs})

    log.__doc__ = f"Log a message of level {logging.getLevelName(level)}{extra}."
    return log


debug = _at(logging.DEBUG)
info = _at(logging.INFO)
warning = _at(logging.WARNING)
error = _at(logging.ERROR)
critical = _at(logging.CRITICAL)
exception = _at(logging.ERROR, " with the exception being handled", exc_info=True)
