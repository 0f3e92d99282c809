"""Options: environment, then file, then default."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
from pathlib import Path

import pytest

import track.configuration
from track.configuration import OPTIONS, find_configuration, none, options, reset_configuration, several


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_nothing_found_is_none_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Without value and default the sentinel is returned, and said."""
    with caplog.at_level(logging.WARNING):
        assert options("x") is none

    assert "option x is not set" in caplog.text


def test_default_is_returned_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    """A default, None included, is what the caller wanted."""
    assert options("x", None) is None
    assert options("x", 3) == 3
    assert caplog.text == ""


def test_sentinel_is_false_and_stays_the_only_one() -> None:
    """Copies of the sentinel are the sentinel."""
    assert not none
    assert repr(none) == "none"
    assert pickle.loads(pickle.dumps(none)) is none
    assert copy.deepcopy(none) is none


def test_file_of_the_working_directory_is_read(folder: Path) -> None:
    """Dots go down the levels of the file."""
    _write(folder / "track.config", {"log": {"backend": {"name": "file:report.json"}}})

    assert options("log.backend.name", "none") == "file:report.json"


def test_environment_wins_over_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is TRACK_ and the key, dots as underscores; a log line says so."""
    _write(folder / "track.config", {"log": {"backend": {"name": "file:"}}})
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", "ephemeral:")

    assert options("log.backend.name", "none") == "ephemeral:"


@pytest.mark.parametrize("value", [False, 0, "", [], {}])
def test_false_values_of_the_file_are_values(folder: Path, value: object) -> None:
    """Only null means not set."""
    _write(folder / "track.config", {"a": {"b": value, "c": None}})

    assert options("a.b", 7) == value
    assert options("a.c", 7) == 7


def test_path_through_a_value_gives_the_default(folder: Path) -> None:
    """A level that is no object has nothing below it."""
    _write(folder / "track.config", {"a": 5})

    assert options("a.b.c", "default") == "default"


@pytest.mark.parametrize(
    ("text", "default", "value"),
    [
        ("7", 1, 7),
        ("0.5", 1.0, 0.5),
        ("Yes", False, True),
        ("off", True, False),
        ("0", True, False),
        ("7", "text", "7"),
        ("7", None, "7"),
        ("7", none, "7"),
        ("", "text", ""),
    ],
)
def test_environment_takes_the_type_of_the_default(
    text: str, default: object, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text becomes a bool, int or float where the default is one."""
    monkeypatch.setenv("TRACK_A_B", text)

    result = options("a.b", default)

    assert (result, type(result)) == (value, type(value))


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("log.print.throttle", "5", 5),
        ("log.print.every", "0.5", 0.5),
        ("log.backend.lock_timeout", "0.5", 0.5),
    ],
)
def test_known_options_have_a_type_of_their_own(
    key: str, text: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A default of None, or a whole number of seconds, does not decide the type."""
    monkeypatch.setenv("TRACK_" + key.upper().replace(".", "_"), text)

    assert options(key, OPTIONS[key][0]) == value


@pytest.mark.parametrize(("default", "kind"), [(1, "int"), (1.0, "float"), (True, "bool")])
def test_wrong_text_in_the_environment_is_named(default: object, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the variable, its text and the expected type."""
    monkeypatch.setenv("TRACK_A_B", "perhaps")

    with pytest.raises(ValueError, match=f"TRACK_A_B='perhaps' must be of type {kind}"):
        options("a.b", default)


@pytest.mark.parametrize(("content", "message"), [("{", "track.config' is not JSON"), ("[1]", "JSON object, not list")])
def test_broken_file_is_named(folder: Path, content: str, message: str) -> None:
    """A file that cannot be used is an error, not a default."""
    _write(folder / "track.config", content)

    with pytest.raises(ValueError, match=message):
        options("a", 1)


def test_named_file_wins_over_the_working_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TRACK_CONFIG says which file; an explicit argument says it louder."""
    _write(folder / "track.config", {"a": "directory"})
    monkeypatch.setenv("TRACK_CONFIG", str(_write(folder / "named.json", {"a": "named"})))
    explicit = _write(folder / "explicit.json", {"a": "explicit"})

    named = options("a", None)
    found = find_configuration(explicit)

    assert (named, found, options("a", None)) == ("named", {"a": "explicit"}, "explicit")


def test_package_directory_is_the_last_place(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file beside the package is used where the working directory has none."""
    package = tmp_path / "package"
    package.mkdir()
    _write(package / "track.config", {"a": "package"})
    monkeypatch.setattr(track.configuration, "__file__", str(package / "configuration.py"))

    beside = options("a", None)
    reset_configuration()
    _write(folder / "track.config", {"a": "directory"})

    assert (beside, options("a", None)) == ("package", "directory")


def test_missing_named_file_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was asked for by name must exist."""
    with pytest.raises(FileNotFoundError, match=r"absent\.json"):
        find_configuration(folder / "absent.json")

    monkeypatch.setenv("TRACK_CONFIG", "absent.json")
    with pytest.raises(FileNotFoundError, match=r"TRACK_CONFIG names 'absent\.json'"):
        options("a", 1)


def test_file_is_kept_until_reset(folder: Path) -> None:
    """Changes of the file count after `reset_configuration`."""
    path = _write(folder / "track.config", {"a": 1})
    assert options("a", None) == 1

    _write(path, {"a": 2})
    kept = options("a", None)
    reset_configuration()

    assert (kept, options("a", None)) == (1, 2)


def test_no_file_is_an_empty_configuration() -> None:
    """Without any file there is nothing to find, and no error."""
    assert find_configuration() == {}


@pytest.mark.parametrize("key", sorted(OPTIONS))
def test_every_option_has_a_meaning(key: str) -> None:
    """The table says what each option is for."""
    default, meaning = OPTIONS[key]

    assert meaning
    assert default is none or options(key, default) == default


def test_several_are_what_each_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the environment, of the file and of nobody, asked for together."""
    _write(folder / "track.config", {"monitor": "10", "log": {"environment": "git"}})
    monkeypatch.setenv("TRACK_LOG_ENVIRONMENT", "none")
    monkeypatch.delenv("TRACK_PROCESS_HOOKS", raising=False)
    asked = (("log.environment", "all"), ("monitor", ""), ("process.hooks", True))

    assert several(*asked) == [options(*each) for each in asked] == ["none", "10", True]


def test_environment_that_somebody_has_replaced_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests put a dictionary in its place."""
    monkeypatch.setattr(os, "environ", {"TRACK_LOG_PRINT_DISABLE": "yes"})

    assert options("log.print.disable", False) is True
    assert options("log.print.every", None) is None
