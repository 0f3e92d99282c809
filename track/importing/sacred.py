"""sacred: what its observers say of a run, and the folder of a FileStorageObserver, a folder with a number a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from track.importing.files import Folder, read_json
from track.importing.report import Report
from track.importing.runs import Run, Taking, stamp_of
from track.importing.words import time_of
from track.shown import cut
from track.structure import CustomStatus, Status

_STATUSES: dict[str, Status | CustomStatus] = {
    "COMPLETED": Status.Completed,
    "FAILED": Status.Exception,
    "INTERRUPTED": Status.Interrupted,
    "TIMEOUT": Status.Interrupted,
    "DIED": Status.Broken,
    "RUNNING": Status.Broken,
    "QUEUED": CustomStatus("submitted", 2),
}
_SAID = {
    "RUNNING": "was running when it was read, or was killed: it counts as broken",
    "QUEUED": "waited to be run: once it was, it is another run, for it has no start before",
}
_LARGEST = 1 << 28
_LONGEST = 1000
_READ_HERE = frozenset(("run.json", "config.json", "metrics.json", "info.json"))
_KINDS: dict[str, type] = {
    "experiment": dict,
    "host": dict,
    "meta": dict,
    "config": dict,
    "captured_out": str,
    "fail_trace": list,
    "artifacts": list,
    "resources": list,
}
COLUMNS = ("values", "steps", "timestamps")
"""What a metric has, each as long as the others."""
ELSEWHERE = "is a file that the run has read, elsewhere"


@dataclass(frozen=True)
class Observed:
    """What an observer says of a run: a document with the same names in a file and in a database.

    `name`: what the observer calls it, a number as a rule.
    """

    name: str
    about: dict[str, Any]

    def run(self, stamp: str, read: Callable[[Taking], None], description: str | None = None) -> Run:
        """Return the run; `stamp` is another one once it went on."""
        start, project = self.about.get("start_time"), mapping(self.about.get("experiment")).get("name")
        project = cut(project, _LONGEST) if isinstance(project, str) else None
        # Times of a database have a zone, which sacred does not write.
        said = str(start.replace(tzinfo=None).isoformat() if isinstance(start, datetime) else start)
        return Run(
            f"{project}/{self.name}@{cut(said, _LONGEST)}",
            f"{self.status}+{stamp}",
            read,
            moment_of(start) or 0.0,
            f"{project or 'run'}-{self.name}",
            project,
            description=description,
        )

    @property
    def status(self) -> str:
        """How it ended, in sacred's words."""
        return cut(str(self.about.get("status")), _LONGEST)

    def sources(self, taking: Taking) -> Iterator[tuple[str, Any]]:
        """Yield the names of the program's files, and where each is kept."""
        for source in listing(mapping(self.about.get("experiment")).get("sources")):
            if isinstance(source, list) and len(source) == 2 and isinstance(source[0], str):
                yield source[0], source[1]
            else:
                taking.damage("a source is no name and place", str(source)[:_LONGEST])

    def tell(self, taking: Taking, config: Any, info: Any) -> None:
        """Tell the parameters, and what else is said of the run."""
        for name, kind in _KINDS.items():
            said = config if name == "config" else self.about.get(name)
            if said is not None and not isinstance(said, kind):
                taking.damage(f"a run has something else in the place of its {name}")
        experiment, host = mapping(self.about.get("experiment")), mapping(self.about.get("host"))
        taking.parameters({key: value for key, value in mapping(config).items() if key != "__annotations__"})
        facts: dict[str, Any] = {"command": self.about.get("command"), "result": self.about.get("result")}
        facts["host"] = {key: host[key] for key in ("hostname", "os", "python_version", "cpu", "gpus") if key in host}
        facts["dependencies"] = experiment.get("dependencies")
        facts["repositories"] = experiment.get("repositories")
        facts["info"] = info
        facts["comment"] = mapping(self.about.get("meta")).get("comment")
        taking.metadata({key: value for key, value in facts.items() if value not in (None, {}, [])})

    def tell_end(self, taking: Taking) -> None:
        """Tell how the run ended."""
        trace = self.about.get("fail_trace")
        error = "".join(map(str, trace)) if isinstance(trace, list) else None
        if self.status not in _STATUSES:
            taking.leave("status", "is none of sacred's own: it counts as broken", self.status)
        elif self.status in _SAID:
            taking.leave("status", _SAID[self.status])
        if self.status != "QUEUED" and moment_of(self.about.get("start_time")) is None:
            taking.leave("start", "is not said: the run counts as of 1970")
        end = self.about.get("stop_time") or self.about.get("heartbeat")
        taking.ended(_STATUSES.get(self.status, Status.Broken), moment_of(end), error)


def runs(path: str, report: Report) -> Iterator[Run]:
    """Yield the runs of a folder, by number, or that of one folder."""
    if os.path.isfile(os.path.join(path, "run.json")):
        folder, names = Folder(os.path.dirname(path), report), [os.path.basename(path)]
    else:
        folder = Folder(path, report)
        names = [name for name in folder.folders() if folder.has(f"{name}/run.json")]
    for name in sorted(names, key=lambda name: (not name.isdecimal(), len(name), name)):
        about = folder.json(f"{name}/run.json")
        if isinstance(about, dict):
            yield _run(folder, name, about)


def _run(folder: Folder, name: str, about: dict[str, Any]) -> Run:
    observed = Observed(name, about)

    def read(taking: Taking) -> None:
        observed.tell(taking, folder.json(f"{name}/config.json"), folder.json(f"{name}/info.json"))
        _tell_metrics(folder, f"{name}/metrics.json", taking)
        for path in folder.files(name):
            inside = path.removeprefix(f"{name}/")
            if inside not in _READ_HERE:
                taking.file(inside, folder.at(path))
        _tell_sources(folder, observed, taking)
        for resource in listing(about.get("resources")):
            taking.leave("resource", ELSEWHERE, str(resource))
        observed.tell_end(taking)

    paths = [folder.at(f"{name}/{one}") for one in ("run.json", "metrics.json")]
    return observed.run(stamp_of(*paths), read)


def _tell_metrics(folder: Folder, path: str, taking: Taking) -> None:
    text = folder.read(path, _LARGEST)
    if text is None:
        return
    try:
        found = read_json(text)
    except (ValueError, RecursionError):
        taking.damage("is no JSON", path)
        return
    for name, metric in mapping(found).items():
        tell_points(mapping(metric), name, taking)


def tell_points(metric: dict[str, Any], name: str, taking: Taking) -> int:
    """Tell the points of a metric, or of a part of it, and return how many there are; 0 where they are damaged."""
    columns = [metric.get(key) for key in COLUMNS]
    lists = [column for column in columns if isinstance(column, list)]
    if len(lists) < len(columns):
        taking.damage("a metric has no values, steps and times", name)
        return 0
    for value, step, at in zip(*lists, strict=False):
        # Numbers of numpy are written as JSON of pickles.
        number = value.get("value") if isinstance(value, dict) else value
        if isinstance(number, (int, float)):
            taking.point(name, number, step if isinstance(step, (int, float)) else None, moment_of(at))
        else:
            taking.leave("point", "is no number", name)
    count = min(map(len, lists))
    if count < max(map(len, lists)):
        taking.damage("a metric has not as many values as steps and times", name)
        return 0
    return count


def _tell_sources(folder: Folder, observed: Observed, taking: Taking) -> None:
    for name, path in observed.sources(taking):
        if isinstance(path, str) and folder.has(path):
            taking.file(f"code/{name}", folder.at(path))
        else:
            taking.leave("source", "is not in the folder", name)


def moment_of(said: Any) -> float | None:
    """Return unix seconds of a date, or of the text of one; None where it says none."""
    return time_of(str(said or ""))


def mapping(data: Any) -> dict[str, Any]:
    """Return a dictionary, an empty one where something else is in its place."""
    return data if isinstance(data, dict) else {}


def listing(data: Any) -> list[Any]:
    """Return a list, an empty one where something else is in its place."""
    return data if isinstance(data, list) else []
