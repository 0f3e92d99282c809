"""sacred: the database of a MongoObserver, with a document a run, one a metric, and files in GridFS."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from track.errors import BackendUnavailable, NothingThere
from track.importing.mongo import Documents, is_id, opened
from track.importing.report import Report
from track.importing.runs import UNREADABLE, Run, Taking
from track.importing.sacred import COLUMNS, ELSEWHERE, Observed, listing, mapping, moment_of, tell_points
from track.shown import cut

_OPTIONS: dict[str, Any] = {"collection": (str, ""), "collection_prefix": (str, "")}
"""What a MongoObserver may be told, by the same names: where its runs are."""
_BRIEF = ("status", "start_time", "stop_time", "heartbeat", "experiment", "artifacts", "omniboard")
_PART = 100_000
"""Points of a metric that are read at once."""
_MOST = 1_000_000
_LONGEST = 200
_TOO_MANY = f"is one of more than {_MOST:,}"
_MOST_POINTS = 1 << 24
"""More of them are in no document, which has 16 megabytes at most."""


def runs(uri: str, report: Report) -> Iterator[Run]:
    """Yield the runs of a database, by number.

    Raises MissingExtra: pymongo is not installed. BackendUnavailable: the server cannot be reached, or does not let in.
    NothingThere: it has no run.
    """
    with opened(uri, _OPTIONS) as documents:
        prefix = documents.options["collection_prefix"]
        prefix = f"{prefix}_" if prefix else ""
        own = documents.options["collection"] or f"{prefix}runs"
        uids = list(_sound(documents.ids(own), report))
        if not uids and not report.damages:
            raise NothingThere(_nothing(documents, own))
        metrics = _metrics(documents, f"{prefix}metrics", report)
        for uid in uids:
            told = metrics.pop(_key(uid), [])
            try:
                brief = documents.one(own, uid, *_BRIEF)
            except ValueError as error:
                report.damage("a run cannot be read", f"{uid}: {error}")
                continue
            if brief is None or not brief.keys() & {"status", "experiment"}:
                report.leave("run", "is none of sacred's", str(uid))
                continue
            yield _run(documents, (own, f"{prefix}metrics"), uid, brief, told)
        for uid, left in metrics.items():
            report.leave("metric", "is of a run that is not there", uid, len(left))


def _nothing(documents: Documents, own: str) -> str:
    names = [name for name in documents.names() if not name.startswith(("fs.", "system."))]
    found = cut(", ".join(names), _LONGEST) or "nothing"
    way = "a MongoObserver with a collection_prefix has ?collection_prefix=... here, too"
    return f"no run of sacred is in the collection {own} of {documents.place}, which has {found}; {way}"


def _sound(uids: Iterator[Any], report: Report) -> Iterator[Any]:
    """Yield the ids that sacred, or somebody who mends what it wrote, makes."""
    for number, uid in enumerate(uids):
        if number >= _MOST:
            report.leave("run", _TOO_MANY, str(uid)[:_LONGEST])
        elif is_id(uid):
            yield uid
        else:
            report.damage("a run has an id that sacred does not make", str(uid)[:_LONGEST])


def _key(uid: Any) -> str:
    """Return what is the same for two ids that are the same to a database, to which 1.0 is 1."""
    return repr(int(uid)) if isinstance(uid, (int, float)) and uid == uid // 1 else repr(uid)


def _metrics(documents: Documents, collection: str, report: Report) -> dict[str, list[tuple[Any, int]]]:
    """Return ids and counts of the metrics of each run: sacred has no index by which those of one are found."""
    found: dict[str, list[tuple[Any, int]]] = {}
    for number, (uid, run, points) in enumerate(documents.counts(collection, "run_id", COLUMNS[0])):
        if number >= _MOST:
            report.leave("metric", _TOO_MANY, str(uid)[:_LONGEST])
        elif not is_id(uid) or not is_id(run):
            report.damage("a metric is of no run", str(uid)[:_LONGEST])
        else:
            found.setdefault(_key(run), []).append((uid, points))
    return found


def _run(
    documents: Documents, places: tuple[str, str], uid: Any, brief: dict[str, Any], metrics: list[tuple[Any, int]]
) -> Run:
    own, measured = places
    name = str(uid)
    omniboard = mapping(brief.get("omniboard"))
    notes = omniboard.get("notes")

    def read(taking: Taking) -> None:
        about = documents.one(own, uid)
        if about is None:
            raise LookupError("it was removed while it was read")
        observed = Observed(name, about)
        observed.tell(taking, about.get("config"), _info(about.get("info")))
        taking.tags(dict.fromkeys(map(str, listing(omniboard.get("tags"))), True))
        for metric, _ in sorted(metrics, key=lambda one: str(one[0])):
            _tell_metric(documents, measured, metric, uid, taking)
        with tempfile.TemporaryDirectory(prefix="track-sacred-") as folder:
            _Files(documents, taking, os.path.join(folder, "file")).tell(observed)
        observed.tell_end(taking)

    said = [moment_of(brief.get(key)) for key in ("stop_time", "heartbeat")]
    said += [len(listing(brief.get("artifacts"))), len(metrics), sum(points for _, points in metrics)]
    stamp = "+".join(map(str, (*said, f"{zlib.crc32(repr(omniboard).encode()):x}")))
    return Observed(name, brief).run(stamp, read, notes if isinstance(notes, str) and notes else None)


def _info(info: Any) -> Any:
    """Return what a program has noted, without the ids of its metrics, which sacred adds."""
    if not isinstance(info, dict):
        return info
    return {key: value for key, value in info.items() if key != "metrics" or not _are_metrics(value)}


def _are_metrics(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) and one.keys() == {"name", "id"} for one in value)


def _tell_metric(documents: Documents, collection: str, uid: Any, run: Any, taking: Taking) -> None:
    for begin in range(0, _MOST_POINTS, _PART):
        try:
            part = documents.part(collection, uid, COLUMNS, begin, _PART)
        except ValueError as error:
            taking.damage("a metric cannot be read", f"{uid}: {error}")
            return
        name = None if part is None else part.get("name")
        if part is None or not isinstance(name, str) or _key(part.get("run_id")) != _key(run):
            taking.damage("a metric has no name, or is not of its run any more", str(uid))
            return
        if tell_points(part, name, taking) < _PART:
            return


class _Files:
    """Tells the files of a run, one after the other from the same path."""

    def __init__(self, documents: Documents, taking: Taking, path: str) -> None:
        self._documents, self._taking, self._path = documents, taking, path

    def tell(self, observed: Observed) -> None:
        """Tell the output, the artifacts, the program and what it has read, as far as they are in the database."""
        output = observed.about.get("captured_out")
        if output and isinstance(output, str):
            with self._room(), open(self._path, "w", encoding="utf-8", errors="replace", newline="") as file:
                file.write(output)
            self._taking.file("cout.txt", self._path)
        for artifact in map(mapping, listing(observed.about.get("artifacts"))):
            self._tell_stored("artifact", artifact.get("name"), artifact.get("file_id"))
        for name, uid in observed.sources(self._taking):
            self._tell_stored("source", f"code/{name}", uid)
        for resource in listing(observed.about.get("resources")):
            is_sound = isinstance(resource, list) and [type(one) for one in resource] == [str, str]
            # Older versions have stored them.
            uid = self._documents.file_of(*resource) if is_sound else None
            if uid is None:
                self._taking.leave("resource", ELSEWHERE, str(resource)[:_LONGEST])
            else:
                self._tell_stored("resource", f"resources/{resource[0].lstrip('/')}", uid)

    def _tell_stored(self, kind: str, name: Any, uid: Any) -> None:
        if not isinstance(name, str) or not is_id(uid):
            self._taking.damage(f"a file has no name or no id ({kind})", str(name)[:_LONGEST])
            return
        try:
            with self._room():
                self._documents.download(uid, self._path)
        except BackendUnavailable:
            raise
        except UNREADABLE as error:
            self._taking.damage(f"a file cannot be read ({kind})", f"{name[:_LONGEST]}: {error}")
        else:
            self._taking.file(name, self._path)

    @contextmanager
    def _room(self) -> Iterator[None]:
        """Say that the disk takes no more, which is no damage of the source."""
        try:
            yield
        except BackendUnavailable:
            raise
        except OSError as error:
            raise BackendUnavailable(
                f"files of {self._documents.place} are copied to {os.path.dirname(self._path)}, which fails "
                f"({error.strerror}): make room there, or name another folder by TMPDIR"
            ) from error
