"""Who is logged in where: the upload store of this process."""

from __future__ import annotations

import getpass
import logging
import os
from collections.abc import Iterator, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from track.configuration import options
from track.em.folders import checked_name
from track.em.store import DirectoryPlace, RemotePlace, Store, StorePlace
from track.em.texts import read_mapping
from track.errors import InvalidUri, NotLoggedIn
from track.persistence.utils import mask_secrets, parse_options, uri_path

logger = logging.getLogger(__name__)
_PATIENCE = 30
_store: Store | None = None


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
        Seconds to wait for the store to send something; 30 by default.

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
        raise ValueError(f"timeout is a number of seconds above 0, not {timeout!r}")
    if not host:
        raise ValueError("which store? give login an ais_host such as 'file:///data/store', or set TRACK_EM_HOST")
    url, _, query = str(host).partition("?")
    settings = parse_options(query)
    user = checked_name(settings.pop("user")) if "user" in settings else getpass.getuser()
    url = url.rstrip("/") if urlsplit(url).path.strip("/") else url
    place = _open_place(url, key, settings, timeout or _PATIENCE)
    place.check()
    _store = Store(place, f"file://{place.root}" if isinstance(place, DirectoryPlace) else mask_secrets(url), user)


def _open_place(url: str, key: str | None, settings: dict[str, Any], timeout: int) -> StorePlace:
    scheme = url.partition(":")[0] if ":" in url else ""
    if scheme == "file" or url.startswith("/"):
        if settings:
            raise InvalidUri(f"a directory has no option {min(settings)!r}; the options are: user")
        path = uri_path(url) if scheme else url
        if not path:
            raise InvalidUri(f"{url!r} names no directory")
        return DirectoryPlace(path)
    if not scheme or "://" not in url:
        raise InvalidUri(
            f"{mask_secrets(url)!r} is no URL: it should read like file:///data/store or s3://bucket/prefix"
        )
    if scheme in ("http", "https"):
        raise InvalidUri(
            f"{mask_secrets(url)!r} cannot be written to: an upload store is a directory, file:///data/store, or a "
            "place that keeps files, such as s3://bucket/prefix"
        )
    if scheme in ("s3", "s3a"):
        return RemotePlace(url, _s3_settings(key, settings, timeout))
    return RemotePlace(url, {**settings, **({"token": key} if key else {})})


def _s3_settings(key: str | None, settings: dict[str, Any], timeout: int) -> dict[str, Any]:
    unknown = sorted(settings.keys() - {"endpoint_url", "region"})
    if unknown:
        raise InvalidUri(f"S3 has no option {unknown[0]!r}; the options are: endpoint_url, region, user")
    found: dict[str, Any] = {"config_kwargs": {"connect_timeout": min(timeout, 10), "read_timeout": timeout}}
    if "endpoint_url" in settings:
        found["endpoint_url"] = settings["endpoint_url"]
    if "region" in settings:
        found["client_kwargs"] = {"region_name": settings["region"]}
    if key:
        access, colon, secret = key.partition(":")
        if not colon or not access or not secret:
            raise ValueError("Invalid API Key: for S3 it reads <access key>:<secret>")
        found |= {"key": access, "secret": secret}
    return found


def logout() -> None:
    """Forget the upload store; a warning when there was none."""
    global _store  # noqa: PLW0603
    if _store is None:
        logger.warning("nobody is logged in: there is nothing to log out from")
    _store = None


def current_store() -> Store:
    """Return the store that was logged in to.

    Raises
    ------
    NotLoggedIn
        There is none (a RuntimeError).
    """
    if _store is None:
        raise NotLoggedIn("nobody is logged in: call login(ais_host=...) first")
    return _store


def find_store() -> Store | None:
    """Return the store that was logged in to, or None."""
    return _store


_KEYS = ("aistore_host", "asset_hub_host", "api_key")
_OPTIONS = {"aistore_host": "em.host", "api_key": "em.api_key"}


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
        shown = {**self.to_dict(), "api_key": "***" if self["api_key"] else None}
        return f"Config({shown!r})"

    def to_dict(self) -> dict[str, Any]:
        """Return all settings as a dictionary."""
        return {name: self[name] for name in self}


def _known(key: str) -> str:
    if key not in _KEYS:
        raise ValueError(f"there is no setting {key!r}; the settings are: {', '.join(_KEYS)}")
    return key


def _in_file(name: str) -> Any:
    named = os.environ.get("T9K_CONFIG")
    if named and not os.path.isfile(named):
        raise FileNotFoundError(f"T9K_CONFIG names {named!r}, which does not exist")
    path = named or os.path.join(os.path.expanduser("~"), ".t9k", "t9k-config.yaml")
    return read_mapping(path).get(name) if os.path.isfile(path) else None


CONFIG = Config()
"""The settings of this process; changes are in memory only."""
