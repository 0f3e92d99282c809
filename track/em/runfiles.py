"""The files of a run: identity, parameters, metrics, where it ran, what it printed."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Mapping
from types import NoneType
from typing import Any
from urllib.parse import unquote

from track.em.metrics import MetricsFile, file_name, read_items
from track.em.store import LocalFile
from track.em.texts import read_own, write_list, write_mapping
from track.errors import CorruptJournal, NothingThere, UnsafePath
from track.utils.files import inside

logger = logging.getLogger(__name__)
METADATA = "metadata.yaml"
_INDEX, _LOG, _METRICS = "index.yaml", "stdout.log", "metrics"
_PARTS = {"hyperparameters": "hyperparameters.yaml", "platform": "platform.yaml", "git": "git.yaml"}
_FILES = {**_PARTS, "log": _LOG}
_METRICS_FILE = re.compile(r"[^/\\\0.][^/\\\0]*\.yaml|%\.yaml")


class RunFiles:
    """The directory of a run. A file that cannot be written is an error as long as `raises` is true.

    When it is not, as while a run goes on, that is said once, and the file is written when there is room.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.raises = True
        self._waiting: dict[str, Mapping[str, Any]] = {}
        self._has_failed = False
        self._index: dict[str, Any] = {}
        self._open: dict[str, MetricsFile] = {}
        self._lock = threading.RLock()
        if os.path.lexists(self._path(_INDEX)):
            self._index = self._checked_index(read_own(self._path(_INDEX)))
        elif os.path.isdir(self._path(_METRICS)):
            self._index = self._found_metrics()

    def _found_metrics(self) -> dict[str, Any]:
        """Return the table of contents that the files of metrics make without one: somebody has removed it."""
        names = sorted(filter(_METRICS_FILE.fullmatch, os.listdir(self._path(_METRICS))))
        return {_METRICS: {unquote(name.removesuffix(".yaml")): f"{_METRICS}/{name}" for name in names}}

    def _path(self, name: str) -> str:
        """Return the path of a file of the run; UnsafePath where it is a link: it could be to anything."""
        path = inside(self.folder, name)
        if os.path.islink(path):
            raise UnsafePath(f"{path} is a link: the files of a run are its own")
        return path

    def _checked_index(self, index: dict[str, Any]) -> dict[str, Any]:
        """Return a table of contents, whoever wrote it; UnsafePath where it names what is no file of a run."""
        place = self._path(_INDEX)
        for part, name in index.items():
            if part == _METRICS:
                continue
            if name != _FILES.get(part):
                raise UnsafePath(f"{place} names {name!r} for {part!r}, which is no file of a run")
        kinds = index.get(_METRICS)
        if not isinstance(kinds, (dict, NoneType)):
            raise CorruptJournal(f"{place} cannot be read: its metrics are no mapping of types to files")
        for name in (kinds or {}).values():
            folder, _, file = str(name).partition("/")
            if folder != _METRICS or not _METRICS_FILE.fullmatch(file):
                raise UnsafePath(f"{place} names {name!r} for metrics, which is not in their folder")
        return {part: name for part, name in index.items() if name is not None}

    def read_metadata(self) -> dict[str, Any]:
        """Return what is in the file of metadata; NothingThere when it is none of a run."""
        metadata = read_own(self._path(METADATA))
        missing = [name for name in ("name", "alternative_name") if not isinstance(metadata.get(name), str)]
        if missing:
            raise NothingThere(f"{self._path(METADATA)} is no run's: it has no {missing[0]!r}")
        return metadata

    def read_part(self, part: str) -> dict[str, Any]:
        """Return the ``"hyperparameters"``, ``"platform"`` or ``"git"`` of the run; empty where it has none."""
        try:
            return read_own(self._path(_PARTS[part]))
        except FileNotFoundError:
            return {}

    def write_part(self, part: str, values: Mapping[str, Any]) -> None:
        """Write such a part."""
        self.write(_PARTS[part], values)
        self._list(part, _PARTS[part])

    def list_log(self) -> str:
        """Put the log of what is printed into the table of contents, and return its path."""
        self._list("log", _LOG)
        return self._path(_LOG)

    def _list(self, part: str, name: str) -> None:
        with self._lock:
            if self._index.get(part) != name:
                self._index[part] = name
                self.write(_INDEX, self._index)

    def write(self, name: str, mapping: Mapping[str, Any]) -> None:
        """Write a file of the run, such as that of metadata."""
        with self._lock:
            self._waiting[name] = mapping
            self._write_waiting()

    def _write_waiting(self) -> None:
        for name, mapping in list(self._waiting.items()):
            try:
                write_mapping(self._path(name), mapping)
            except OSError as error:
                if self.raises:
                    raise
                if not self._has_failed:
                    self._has_failed = True
                    logger.warning("%s: %s; it is written when there is room", self._path(name), error)
                return
            del self._waiting[name]

    def open_metrics(self, kind: str) -> MetricsFile:
        """Return the file of a type of metrics, making it when it is the first of its type."""
        with self._lock:
            known = self._open.get(kind)
            if known is not None:
                return known
            names = self._index.setdefault(_METRICS, {})
            is_new = kind not in names
            if is_new:
                taken = [str(name).rpartition("/")[2] for name in names.values()]
                names[kind] = f"{_METRICS}/{file_name(kind, taken)}"
            opened = self._open[kind] = MetricsFile(self._metrics_path(kind))
            if is_new:
                self.write(_INDEX, self._index)
            return opened

    def _metrics_path(self, kind: str) -> str:
        return self._path(str(self._index[_METRICS][kind]))

    def read_metrics(self) -> dict[str, list[dict[str, Any]]]:
        """Return the items of each type."""
        found = {}
        for kind in list(self._index.get(_METRICS) or {}):
            path = self._metrics_path(kind)
            found[kind] = read_items(path) if os.path.exists(path) else []
        return found

    def write_metrics(self, metrics: Mapping[str, list[dict[str, Any]]]) -> None:
        """Write all items of all types, for a run that has none yet."""
        for kind, items in metrics.items():
            self.open_metrics(kind)
            if items:
                write_list(self._metrics_path(kind), items)
            del self._open[kind]

    def close(self) -> tuple[int, int]:
        """Close the files of metrics; return how many items, and how many other files, could not be written."""
        with self._lock:
            self._write_waiting()
            unsaved = sum(metrics.unsaved() for metrics in self._open.values())
            self._open.clear()
            return unsaved, len(self._waiting)

    def local_files(self) -> list[LocalFile]:
        """Return the files as they are now, the table of contents last."""
        kinds = self._index.get(_METRICS) or {}
        names = [METADATA, *(name for part, name in self._index.items() if part != _METRICS), *kinds.values(), _INDEX]
        found = [(str(name), self._path(str(name))) for name in names]
        return [LocalFile.at(name, path) for name, path in found if os.path.lexists(path)]
