"""Who is logged in where: the upload store of this process."""

from __future__ import annotations

import getpass
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from track.configuration import options
from track.em.folders import checked_name
from track.em.store import Store, failed, open_place
from track.em.texts import read_mapping
from track.errors import NotLoggedIn
from track.objectstore import ObjectStore
from track.persistence.utils import parse_options
from track.shown import shown
from track.utils.files import user_folder

logger = logging.getLogger(__name__)
_KEYS = ("aistore_host", "asset_hub_host", "api_key")
_OPTIONS = {"aistore_host": "em.host", "api_key": "em.api_key"}
_PATIENCE = 30
_store: Store | None = None
Result = TypeVar("Result")


def login(ais_host: str | None = None, api_key: str | None = None, timeout: int | None = None) -> None:
    """Choose the upload store of this process, once it has answered; a later call chooses another.

    Parameters
    ----------
    ais_host: str, optional
        The store: ``file:///data/store`` is a directory, ``s3://bucket/prefix`` a bucket, and anything that fsspec
        opens will do. After a ``?``: ``user=ann``, whose folders are meant (by default the user of this machine);
        for S3 ``endpoint_url=...`` and ``region=...``. By default ``CONFIG["aistore_host"]``.
    api_key: str, optional
        For S3 ``<access key>:<secret>``; without one the machine's own credentials are used. A directory needs
        none. By default ``CONFIG["api_key"]``.
    timeout: int, optional
        Seconds to wait for the store to answer, in all, and later for it to send something; 30 by default.

    Raises
    ------
    ValueError
        There is no host, it is no URL or one that can only be read, or the store refuses the key.
    FileNotFoundError
        ``T9K_CONFIG`` names a file that does not exist.
    ConnectionError
        The store does not answer (a `requests.HTTPError`, too, where requests is installed).
    MissingExtra
        The URL needs a package that is not installed.

    Examples
    --------
    >>> login("file:store?user=ann")
    >>> logout()
    """
    global _store  # noqa: PLW0603
    host = ais_host if ais_host is not None else CONFIG["aistore_host"]
    key = api_key if api_key is not None else CONFIG["api_key"]
    if timeout is not None and not (isinstance(timeout, (int, float)) and timeout > 0):
        raise ValueError(f"timeout is a number of seconds above 0, not {shown(timeout)}")
    if not host:
        raise ValueError("which store? give login an ais_host such as 'file:///data/store', or set TRACK_EM_HOST")
    url, _, query = str(host).partition("?")
    settings = parse_options(query)
    user = checked_name(settings.pop("user") if "user" in settings else _own_name())
    url = url.rstrip("/") if urlsplit(url).path.strip("/") else url
    patience = timeout or _PATIENCE
    objects, called = _within(patience, url, lambda: _answering(url, key, settings, patience))
    _store = Store(objects, called, user)


def _answering(url: str, key: str | None, settings: dict[str, Any], patience: int) -> tuple[ObjectStore, str]:
    objects, called = open_place(url, key, settings, patience)
    objects.check()
    return objects, called


def _within(seconds: float, url: str, action: Callable[[], Result]) -> Result:
    """Return what an action returns, or raise what it raises; ConnectionError when it takes longer.

    A driver may try again and again, each time for so long; a disk of another machine may never answer.
    """
    done: queue.SimpleQueue[tuple[Result | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            done.put((action(), None))
        except BaseException as error:  # noqa: BLE001 - whoever waits for it gets it
            done.put((None, error))

    threading.Thread(target=run, name="track-login", daemon=True).start()
    try:
        result, error = done.get(timeout=seconds)
    except queue.Empty:
        raise failed(url, TimeoutError(f"it has not answered within {seconds:g} s")) from None
    if error is not None:
        raise error
    return cast("Result", result)


def _own_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # In a container the system may not know its user.
        return str(os.getuid())


def logout() -> None:
    """Forget the upload store; a warning when there was none."""
    global _store  # noqa: PLW0603
    if _store is None:
        logger.warning("nobody is logged in: there is nothing to log out from")
    _store = None


def current_store() -> Store:
    """Return the store that was logged in to; NotLoggedIn (a RuntimeError) where there is none."""
    if _store is None:
        raise NotLoggedIn("nobody is logged in: call login(ais_host=...) first")
    return _store


def find_store() -> Store | None:
    """Return the store that was logged in to, or None."""
    return _store


class Config(MutableMapping[str, Any]):
    """Settings by name: ``aistore_host``, ``asset_hub_host``, ``api_key``; None where one is not set.

    What was set here wins; then come the options ``em.host`` and ``em.api_key`` (``TRACK_EM_HOST``,
    ``TRACK_EM_API_KEY``); then the YAML file named by ``T9K_CONFIG``, or ``~/.t9k/t9k-config.yaml``.

    Examples
    --------
    >>> config = Config()
    >>> config["aistore_host"] = "file:///data/store"
    >>> config["aistore_host"]
    'file:///data/store'
    """

    def __init__(self) -> None:
        self._set: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        name = _known(key)
        if name in self._set:
            return self._set[name]
        option = _OPTIONS.get(name)
        found = options(option, None) if option else None
        return found if found is not None else _in_file(name)

    def __setitem__(self, key: str, value: Any) -> None:
        self._set[_known(key)] = value

    def __delitem__(self, key: str) -> None:
        self._set.pop(_known(key), None)

    def __iter__(self) -> Iterator[str]:
        return iter(_KEYS)

    def __len__(self) -> int:
        return len(_KEYS)

    def __repr__(self) -> str:
        settings = {**self.to_dict(), "api_key": "***" if self["api_key"] else None}
        return f"Config({settings!r})"

    def to_dict(self) -> dict[str, Any]:
        """Return all settings as a dictionary."""
        return {name: self[name] for name in self}


def _known(key: str) -> str:
    if key not in _KEYS:
        raise ValueError(f"there is no setting {shown(key)}; the settings are: {', '.join(_KEYS)}")
    return key


def _in_file(name: str) -> Any:
    named = os.environ.get("T9K_CONFIG")
    if named and not os.path.isfile(named):
        raise FileNotFoundError(f"T9K_CONFIG names {named!r}, which does not exist")
    folder = user_folder("", ".t9k")
    path = named or (folder and os.path.join(folder, "t9k-config.yaml"))
    return read_mapping(path).get(name) if path and os.path.isfile(path) else None


CONFIG = Config()
"""The settings of this process; changes are in memory only."""
