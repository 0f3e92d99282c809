"""MLflow: the runs of a SQLite store, or of files, and the artifacts beside them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any
from urllib.parse import unquote, urlsplit

from track.importing.database import Database, databases
from track.importing.files import Folder
from track.importing.report import Report
from track.importing.runs import Run, Taking, uid_of
from track.importing.words import number_or_text
from track.structure import CustomStatus, Status

STATUSES: dict[str, Status | CustomStatus] = {
    "FINISHED": Status.Completed,
    "FAILED": Status.Exception,
    "KILLED": Status.Interrupted,
    "RUNNING": Status.Broken,
    "SCHEDULED": CustomStatus("submitted", 2),
}
DELETED = "was deleted there"
_STILL = "was running when it was read, or was killed: it counts as broken"
_LARGEST = 1.7976931348623157e308
"""What MLflow writes for an infinite number."""
_IMAGE = re.compile(
    r"images/(?P<name>.+)[+%]step[+%](?P<step>-?\d+)[+%]timestamp[+%]\d+[+%][0-9a-f-]+(?P<rest>.*)\.(?P<suffix>\w+)"
)
_PREFIX = "mlflow."
ENDINGS = (".db", ".sqlite", ".sqlite3")
_HIDDEN = frozenset(("mlflow.runName", "mlflow.note.content", "mlflow.loggedImages", "mlflow.loggedArtifacts"))
_RUN = ("run_uuid", "name", "status", "start_time", "end_time", "artifact_uri", "experiment_id", "lifecycle_stage")
_POINT = ("key", "value", "timestamp", "step", "is_nan")


def runs(path: str, report: Report) -> Iterator[Run]:
    """Yield the runs of a database, or of each ``mlflow.db`` or ``*.db`` in a folder."""
    needed = {"runs": ("run_uuid",), "metrics": ("run_uuid", *_POINT[:4])}
    for database, folder, _ in databases(path, report, "mlflow", ENDINGS, **needed):
        yield from _runs(database, folder, report)


def _runs(database: Database, folder: Folder, report: Report) -> Iterator[Run]:
    experiments = {
        uid: name for uid, name in database.rows("experiments", ("experiment_id", "name")) if isinstance(name, str)
    }
    # Parents are there before their children.
    for row in list(database.rows("runs", _RUN, "ORDER BY start_time, run_uuid")):
        uid, name, status, start, end, uri, experiment, stage = row
        if not isinstance(uid, str):
            report.damage("a run has no id")
            continue
        if stage == "deleted":
            report.leave("run", DELETED, name or uid)
            continue
        tags = texts(database.rows("tags", ("key", "value"), "WHERE run_uuid = ?", uid))
        places = [f"{root}{experiment}/{uid}/artifacts" for root in ("mlruns/", "mlartifacts/", "")]
        found = MlflowRun(
            folder,
            uid,
            name=name,
            status=status,
            start=start,
            end=end,
            experiment=experiments.get(experiment),
            tags=tags,
            uri=uri,
            places=places,
        )

        def read(taking: Taking, uid: str = uid, found: MlflowRun = found) -> None:
            found.tell(taking, texts(database.rows("params", ("key", "value"), "WHERE run_uuid = ?", uid)))
            # By its key only: the index is that of the run.
            order = "WHERE run_uuid = ? ORDER BY key, timestamp, step, value"
            for rows in database.chunks("metrics", _POINT, order, uid):
                _tell_points(rows, taking)
            if database.has("inputs", "source_id", "destination_id"):
                for (source,) in database.rows("inputs", ("source_id",), "WHERE destination_id = ?", uid):
                    taking.leave("dataset", "has no place here", str(source))
            found.tell_files(taking)

        count = ""
        if status == "RUNNING":
            count = str(sum(len(rows) for rows in database.chunks("metrics", ("key",), "WHERE run_uuid = ?", uid)))
        yield found.run(read, count)


def _tell_points(rows: list[Any], taking: Taking) -> None:
    for key, group in groupby(rows, key=lambda row: row[0]):
        _, values, times, steps, nans = map(list, zip(*group, strict=True))
        for place, (value, is_nan) in enumerate(zip(values, nans, strict=True)):
            if is_nan:
                values[place] = math.nan
            elif value in (_LARGEST, -_LARGEST):
                values[place] = math.copysign(math.inf, value)
        try:
            seconds = [at / 1000 for at in times]
        except TypeError:
            taking.damage("a time is no number", str(key))
            continue
        taking.series(str(key), values, steps, seconds)


def texts(rows: Any) -> dict[str, str]:
    """Return keys and values that are texts."""
    return {str(key): str(value) for key, value in rows if value is not None}


class MlflowRun:
    """What both stores say of a run."""

    def __init__(
        self,
        folder: Folder,
        uid: str,
        *,
        name: Any,
        status: Any,
        start: Any,
        end: Any,
        experiment: str | None,
        tags: dict[str, str],
        uri: Any,
        places: list[str],
    ) -> None:
        self._folder, self._uid, self._status, self._tags = folder, uid, status, tags
        self._start, self._end = seconds_of(start), seconds_of(end)
        self._name = name if isinstance(name, str) and name else tags.get("mlflow.runName")
        self._experiment, self._uri, self._places = experiment, uri, places

    def run(self, read: Any, count: str) -> Run:
        """Return the run."""
        created = self._start if self._start is not None else 0.0
        stamp = f"{self._status}@{self._end}{count}"
        notes = self._tags.get("mlflow.note.content")
        return Run(self._uid, stamp, read, created, self._name, self._experiment, None, notes, alias="mlflow")

    def tell(self, taking: Taking, parameters: dict[str, str]) -> None:
        """Tell parameters, tags and how it ended."""
        taking.parameters({name: number_or_text(value) for name, value in parameters.items()})
        taking.tags({name: value for name, value in self._tags.items() if not name.startswith(_PREFIX)})
        facts: dict[str, Any] = {}
        said = {
            name.removeprefix(_PREFIX): value
            for name, value in self._tags.items()
            if name.startswith(_PREFIX) and name not in _HIDDEN
        }
        parent = said.pop("parentRunId", None)
        if parent:
            facts["parent"] = uid_of("mlflow", parent)
        if said:
            facts["mlflow"] = said
        taking.metadata(facts)
        if self._status == "RUNNING":
            taking.leave("status", _STILL)
        taking.ended(STATUSES.get(self._status, Status.Broken), self._end)

    def tell_files(self, taking: Taking) -> None:
        """Tell the artifacts that are in the folder of the source."""
        place = self._place()
        if place is None:
            if isinstance(self._uri, str) and self._uri and not self._is_inside():
                taking.leave("artifacts", "of the run are not in the folder of the source", self._uri)
            return
        for name in self._folder.files(place):
            inside = name.removeprefix(f"{place}/")
            image = _IMAGE.fullmatch(inside)
            if image is None:
                taking.file(inside, self._folder.at(name))
            elif image["rest"]:
                taking.leave("image", "is a smaller copy of another one", inside)
            else:
                called = image["name"].replace("#", "/").replace("~", "/")
                step = int(image["step"]) if len(image["step"]) < 19 else None
                taking.medium("image", called, self._folder.at(name), step)

    def _place(self) -> str | None:
        """Return where the artifacts are in the folder: as the store says, or where they are once it was moved."""
        if self._is_inside() and os.path.isdir(path := os.path.realpath(self._path())):
            return path.removeprefix(f"{self._folder.path.rstrip('/')}/")
        places = [place for place in self._places if ".." not in place.split("/")]
        return next((place for place in places if os.path.isdir(f"{self._folder.path}/{place}")), None)

    def _is_inside(self) -> bool:
        root = self._folder.path.rstrip("/")
        return self._is_local() and os.path.realpath(self._path()).startswith(f"{root}/")

    def _path(self) -> str:
        split = urlsplit(self._uri)
        return unquote(split.path) if split.scheme == "file" else str(self._uri)

    def _is_local(self) -> bool:
        if not isinstance(self._uri, str) or not self._uri or "\0" in self._uri:
            return False
        try:
            return urlsplit(self._uri).scheme in ("", "file")
        except ValueError:
            return False


def seconds_of(milliseconds: Any) -> float | None:
    """Return a time of MLflow in unix seconds."""
    is_known = isinstance(milliseconds, (int, float)) and 0 < milliseconds < 1e14
    return milliseconds / 1000 if is_known else None
