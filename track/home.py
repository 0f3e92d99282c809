"""The file of a user's settings and sets of experiments: read when it is asked for, changed under a lock."""

from __future__ import annotations

import copy
import functools
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from track.configuration import options
from track.errors import IncompatibleYmlException, InvalidCall, TrackError
from track.utils.files import open_regular, replace_file, stamp_of, user_folder
from track.yaml12 import dump, load_mapping

logger = logging.getLogger(__name__)
NAME = "experiments.yml"
_LOCK = ".experiments.lock"
# What the original wrote, the older one last, and how that called things.
_OLD_NAMES = ("xmen.yml", "config.yml")
_OLD_KEYS = {"prompt_for_message": "prompt", "server_host": "host", "server_port": "port"}
DEFAULTS: dict[str, Any] = {
    "prompt": True,
    "save_conda": False,
    "redirect_stdout": False,
    "requeue": True,
    "header": "",
    "host": None,
    "port": None,
    "meta": {},
    "python_paths": [],
    "python_experiments": {},
    "experiments": {},
    "linked": [],
}
"""Each setting as it is until somebody changes it."""


def folder() -> str:
    """Return where the file is: ``$TRACK_HOME``, else ``$XMEN``, else ``~/.config/track``.

    Raises InvalidCall (a ValueError): neither is set, and this user has no home.
    """
    named = next((variable for variable in ("TRACK_HOME", "XMEN") if os.environ.get(variable)), None)
    found = user_folder(named or "XDG_CONFIG_HOME", ".config")
    if found is None:
        raise InvalidCall("this user has no home for the list of experiments: set TRACK_HOME to a folder")
    return found if named else os.path.join(found, "track")


def path() -> str:
    """Return the path of the file, which need not be there."""
    return os.path.join(folder(), NAME)


def read() -> dict[str, Any]:
    """Return all settings, those that nobody has set as they are by default; nothing is created.

    As long as there is no file, what the original has left in ``$XMEN`` or ``~/.xmen`` counts.

    Raises
    ------
    IncompatibleYmlException
        The file is no YAML, or a setting in it is of another type than it should be.
    """
    at = path()
    found = _read(at)
    return _whole(_read_old() if found is None else found, at)


def setting(name: str) -> Any:
    """Return one setting."""
    return read()[name]


def known(name: str) -> Any:
    """Return one setting; what cannot be read is said, and is as by default: a training goes on."""
    try:
        return setting(name)
    except TrackError as error:
        logger.warning("the setting %s is as by default: %s", name, error)
        return copy.deepcopy(DEFAULTS[name])


@contextmanager
def changing() -> Iterator[dict[str, Any]]:
    """Give all settings to change, which are stored when the block ends; no other process changes them meanwhile."""
    # Who only reads needs no lock.
    from track.persistence.file import StoreLock

    at = path()
    with _reaching(at):
        os.makedirs(os.path.dirname(at), exist_ok=True)
    lock = StoreLock(os.path.join(os.path.dirname(at), _LOCK), float(options("log.backend.lock_timeout", 30)))
    with lock:
        settings = read()
        before = copy.deepcopy(settings)
        yield settings
        if settings != before or not os.path.exists(at):
            with _reaching(at):
                replace_file(at, [dump(settings).encode()], sync=False)


@contextmanager
def _reaching(at: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidCall(
            f"{at} cannot be used ({error.strerror or error}): TRACK_HOME names another folder for it"
        ) from error


def remember(root: str, facts: Mapping[str, Any]) -> None:
    """Note a set of experiments; where that cannot be written, that is said: the set works all the same."""
    with _tolerating(), changing() as settings:
        settings["experiments"][root] = {**settings["experiments"].get(root, {}), **facts}


def forget(*roots: str) -> None:
    """Note that sets are gone, as `remember` notes them."""
    with _tolerating(), changing() as settings:
        for root in roots:
            settings["experiments"].pop(root, None)


@contextmanager
def _tolerating() -> Iterator[None]:
    try:
        yield
    except (OSError, TrackError) as error:
        logger.warning("the list of all sets of experiments is not changed: %s", error)


def _read(at: str) -> dict[str, Any] | None:
    with _reaching(at):
        stamp = stamp_of(at)
        return None if stamp is None else copy.deepcopy(_parsed(at, stamp))


@functools.lru_cache(maxsize=4)
def _parsed(at: str, stamp: Any) -> dict[str, Any]:
    with open_regular(at) as opened:
        return dict(load_mapping(opened.readall() or b"", at))


def _read_old() -> dict[str, Any]:
    found: dict[str, Any] = {}
    place = user_folder("XMEN", ".xmen")
    for name in _OLD_NAMES if place is not None else ():
        try:
            content = _read(os.path.join(str(place), name)) or {}
        except (IncompatibleYmlException, OSError) as error:
            logger.warning("what %s says is not taken over: %s", os.path.join(str(place), name), error)
            continue
        # Accounts are of no use here: whoever they belong to is asked nothing.
        named = {_OLD_KEYS.get(key, key): value for key, value in content.items()}
        found = {name: value for name, value in named.items() if _fits(name, value)} | found
    return found


def _fits(name: str, value: Any) -> bool:
    default = DEFAULTS.get(name, ...)
    return default is not ... and (default is None or isinstance(value, type(default)))


def _whole(found: dict[str, Any], place: str) -> dict[str, Any]:
    for name, value in found.items():
        if name in DEFAULTS and value is not None and not _fits(name, value):
            kind = type(DEFAULTS[name]).__name__
            raise IncompatibleYmlException(f"{name} should be a {kind} in {place}, not {value!r}")
    given = {name: value for name, value in found.items() if value is not None}
    return {**copy.deepcopy(DEFAULTS), **given}
