"""The library's logging configures nothing until it is asked to."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.children import printed_by
from track.utils import log


@contextmanager
def _alone() -> Iterator[None]:
    """Hide the handlers that pytest adds for each test, and undo what the test configures."""
    root = logging.getLogger()
    hidden = root.handlers[:]
    root.handlers.clear()
    try:
        yield
    finally:
        root.handlers[:] = hidden
        for name in ("TRACK", "track", "track-test"):
            logging.getLogger(name).handlers.clear()
            logging.getLogger(name).setLevel(logging.NOTSET)


def test_import_changes_nothing() -> None:
    """After the import no logger has a handler or a level, and the record factory is Python's."""
    script = (
        "import logging, track.utils.log; "
        "loggers = [logging.getLogger(name) for name in ('', 'track', 'TRACK')]; "
        "print(*[(logger.handlers, logger.getEffectiveLevel()) for logger in loggers], "
        "logging.getLogRecordFactory() is logging.LogRecord)"
    )

    assert printed_by(script) == "([], 30) ([], 30) ([], 30) True"


@_alone()
def test_unconfigured_warnings_reach_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """A warning is seen on standard error, and nothing on standard output."""
    log.warning("disk %s", "full")
    log.info("details")

    captured = capsys.readouterr()

    assert (captured.out, captured.err) == ("", "disk full\n")


@_alone()
def test_set_log_level_shows_messages_once(capsys: pytest.CaptureFixture[str]) -> None:
    """However often it is called, a message of the chosen level is printed once, to standard error."""
    log.set_log_level(logging.INFO)
    log.set_log_level(logging.INFO)

    log.info("step %d", 3)
    log.debug("hidden")
    logging.getLogger("track.client").info("opened")

    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line.split()[0] for line in captured.err.splitlines()] == ["INFO", "INFO"]
    assert "test_log.py" in captured.err


@_alone()
def test_handlers_of_the_application_are_enough(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the application has configured logging, no second handler is added."""
    logging.getLogger("TRACK").addHandler(logging.NullHandler())

    log.set_log_level("DEBUG")

    log.error("not printed twice")
    assert capsys.readouterr().err == ""


@_alone()
def test_exception_logs_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """The exception being handled is part of the message."""
    log.set_log_level()

    try:
        raise KeyError("lost")
    except KeyError:
        log.exception("search failed")

    assert "KeyError: 'lost'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["debug", "info", "warning", "error", "critical"])
@_alone()
def test_level_of_each_function(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each function logs at the level it is named after, from the line that calls it."""
    log.set_log_level(logging.DEBUG)

    getattr(log, name)("message")

    line = capsys.readouterr().err
    assert line.startswith(f"{name.upper()} TRACK ")
    assert "test_log.py" in line


@pytest.mark.parametrize(("text", "level"), [(None, 30), ("debug", 10), ("25", 25)])
@_alone()
def test_made_logger_takes_its_level_from_the_environment(
    text: str | None, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WARNING unless TRACK_LOG_LEVEL says otherwise, as a name or a number."""
    if text is not None:
        monkeypatch.setenv("TRACK_LOG_LEVEL", text)

    logger = log.make_logger("track-test")

    assert (logger.level, len(logger.handlers)) == (level, 1)
    assert log.make_logger("track-test").handlers == logger.handlers


@_alone()
def test_unknown_level_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says which variable to mend."""
    monkeypatch.setenv("TRACK_LOG_LEVEL", "loud")

    with pytest.raises(ValueError, match="TRACK_LOG_LEVEL='LOUD'"):
        log.make_logger("track-test")


def test_record_constructor_shortens_paths_of_the_package() -> None:
    """A record of the library names its file from the package on, and nothing is installed."""
    construct = log.get_log_record_constructor()

    record = construct("TRACK", logging.INFO, log.__file__, 1, "hello %s", ("you",), None)

    assert record.pathname.replace("\\", "/") == "track/utils/log.py"
    assert record.getMessage() == "hello you"
    assert logging.getLogRecordFactory() is not construct
