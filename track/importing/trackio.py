"""trackio: a SQLite database a project, and the media beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from track.importing.database import Database, databases
from track.importing.files import Folder, read_json
from track.importing.report import Report
from track.importing.runs import Run, Taking
from track.importing.words import time_of

_SPECIAL = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_NO_END = "trackio does not store how a run ended: it counts as completed"
_PARQUET = ".parquet"
_ROW = ("timestamp", "step", "metrics")


def runs(path: str, report: Report) -> Iterator[Run]:
    """Yield the runs of a database, or of each in a folder; of Parquet where a project has none."""
    if os.path.isdir(path) or path.endswith(_PARQUET):
        from track.importing.tables import projects

        for database, folder, project in projects(path, report):
            yield from _runs(database, folder, project, report)
        if not os.path.isdir(path):
            return
    needed = ("timestamp", "run_name", "step", "metrics")
    for database, folder, name in databases(path, report, "trackio", (".db",), metrics=needed):
        yield from _runs(database, folder, name.removesuffix(".db"), report)


def _runs(database: Database, folder: Folder, project: str, report: Report) -> Iterator[Run]:
    # Of before runs had ids.
    uid = "run_id" if database.has("metrics", "run_id") else "run_name"
    configs = {}
    if database.has("configs", uid, "config"):
        configs = dict(database.rows("configs", (uid, "config")))
    columns = (uid, "run_name", "timestamp", "id")
    found: dict[str, tuple[Any, Any, int]] = {}
    for one, name, at, row in database.rows("metrics", columns, "ORDER BY id"):
        if isinstance(one, str):
            first = found.get(one, (name, at, row))
            found[one] = (first[0], first[1], row)
    for one, (name, at, last) in found.items():
        config = _mapping(configs.get(one), report, project)
        group = config.pop("_Group", None)
        created = time_of(str(config.pop("_Created", "") or "")) or time_of(str(at)) or 0.0
        user = config.pop("_Username", None)

        def read(taking: Taking, one: str = one, config: dict[str, Any] = config, user: Any = user) -> None:
            taking.parameters(config)
            taking.metadata({} if user is None else {"user": user})
            taking.leave("status", _NO_END)
            reading = _Reading(taking, folder)
            for at, step, data in database.rows("metrics", _ROW, f"WHERE {uid} = ? ORDER BY id", one):
                reading.row(data, step, time_of(str(at)))
            if database.has("system_metrics", uid, "metrics"):
                for at, data in database.rows(
                    "system_metrics", ("timestamp", "metrics"), f"WHERE {uid} = ? ORDER BY id", one
                ):
                    reading.row(data, None, time_of(str(at)), "system/")
            for table, title in (("alerts", "title"), ("traces", "key"), ("run_artifact_links", "direction")):
                if database.has(table, uid):
                    for (said,) in database.rows(table, (title,), f"WHERE {uid} = ?", one):
                        taking.leave(table.split("_")[-1].removesuffix("s"), "has no place here", str(said))

        key = f"{project}/{one}" if uid == "run_id" else f"{project}/{one}@{created!r}"
        group = str(group) if group else None
        yield Run(key, str(last), read, created, str(name), project, group)


class _Reading:
    """Tells rows of one run."""

    def __init__(self, taking: Taking, folder: Folder) -> None:
        self._taking, self._folder = taking, folder

    def row(self, data: Any, step: Any, at: float | None, prefix: str = "") -> None:
        """Tell what was logged at once."""
        try:
            found = read_json(data)
        except (ValueError, TypeError, RecursionError, AttributeError):
            self._taking.damage("a row is no JSON")
            return
        if isinstance(found, dict):
            for name, value in found.items():
                self._tell(f"{prefix}{name}", value, step, at)

    def _tell(self, name: str, value: Any, step: Any, at: float | None, depth: int = 0) -> None:
        value = _SPECIAL.get(value, value) if isinstance(value, str) else value
        if isinstance(value, (int, float)):
            self._taking.point(name, value, step, at)
        elif isinstance(value, dict) and "_type" in value:
            self._tell_media(name, str(value["_type"]).removeprefix("trackio."), value, step)
        elif isinstance(value, dict) and depth < 50:
            for key, item in value.items():
                self._tell(f"{name}.{key}", item, step, at, depth + 1)
        elif isinstance(value, str):
            self._taking.medium("text", name, value, step)
        elif value is not None:
            self._taking.leave("list", "is logged at steps, and no number", name)

    def _tell_media(self, name: str, kind: str, value: dict[str, Any], step: Any) -> None:
        path, caption = value.get("file_path"), value.get("caption")
        if kind == "table" and isinstance(value.get("_value"), list):
            self._taking.medium(kind, name, value["_value"], step, caption)
        elif isinstance(path, str) and self._folder.has(inside := f"media/{path}"):
            self._taking.medium(kind, name, self._folder.at(inside), step, caption)
        else:
            self._taking.leave(kind, "has no file in the folder of the source", name)


def _mapping(data: Any, report: Report, project: str) -> dict[str, Any]:
    if data is None:
        return {}
    try:
        found = read_json(data)
    except (ValueError, TypeError, RecursionError, AttributeError):
        report.damage("a configuration is no JSON", project)
        return {}
    return found if isinstance(found, dict) else {}
