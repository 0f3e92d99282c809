"""Where the upload store is, and the key for it: `CONFIG`."""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from typing import Any

from track.configuration import options
from track.em.texts import read_mapping

__all__ = ["CONFIG", "Config"]

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
