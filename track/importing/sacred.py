"""sacred: the folder of a FileStorageObserver, a folder with a number a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from track.importing.files import Folder, read_json
from track.importing.report import Report
from track.importing.runs import Run, Taking, stamp_of
from track.importing.words import time_of
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
_STILL = "was running when it was read, or was killed: it counts as broken"
_LARGEST = 1 << 28
_READ_HERE = frozenset(("run.json", "config.json", "metrics.json", "info.json"))


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
    experiment = _mapping(about.get("experiment"))
    project = experiment.get("name")
    start = str(about.get("start_time"))
    status = str(about.get("status"))

    def read(taking: Taking) -> None:
        config = _mapping(folder.json(f"{name}/config.json"))
        taking.parameters({key: value for key, value in config.items() if key != "__annotations__"})
        facts: dict[str, Any] = {"command": about.get("command"), "result": about.get("result")}
        host = _mapping(about.get("host"))
        facts["host"] = {key: host[key] for key in ("hostname", "os", "python_version", "cpu", "gpus") if key in host}
        facts["dependencies"] = experiment.get("dependencies")
        facts["repositories"] = experiment.get("repositories")
        facts["info"] = folder.json(f"{name}/info.json")
        facts["comment"] = _mapping(about.get("meta")).get("comment")
        taking.metadata({key: value for key, value in facts.items() if value not in (None, {}, [])})
        _tell_metrics(folder, f"{name}/metrics.json", taking)
        for path in folder.files(name):
            inside = path.removeprefix(f"{name}/")
            if inside not in _READ_HERE:
                taking.file(inside, folder.at(path))
        _tell_sources(folder, experiment.get("sources"), taking)
        resources = about.get("resources")
        for resource in resources if isinstance(resources, list) else ():
            taking.leave("resource", "is a file that the run has read, elsewhere", str(resource))
        trace = about.get("fail_trace")
        error = "".join(map(str, trace)) if isinstance(trace, list) else None
        if status == "RUNNING":
            taking.leave("status", _STILL)
        end = about.get("stop_time") or about.get("heartbeat")
        taking.ended(_STATUSES.get(status, Status.Broken), time_of(str(end or "")), error)

    paths = [folder.at(f"{name}/{one}") for one in ("run.json", "metrics.json")]
    created = time_of(start) or 0.0
    project = project if isinstance(project, str) else None
    stamp = f"{status}+{stamp_of(*paths)}"
    return Run(f"{project}/{name}@{start}", stamp, read, created, f"{project or 'run'}-{name}", project)


def _tell_metrics(folder: Folder, path: str, taking: Taking) -> None:
    text = folder.read(path, _LARGEST)
    if text is None:
        return
    try:
        found = read_json(text)
    except (ValueError, RecursionError):
        taking.damage("is no JSON", path)
        return
    for name, metric in _mapping(found).items():
        columns = [_mapping(metric).get(key) for key in ("values", "steps", "timestamps")]
        lists = [column for column in columns if isinstance(column, list)]
        if len(lists) < len(columns):
            taking.damage("a metric has no values, steps and times", name)
            continue
        for value, step, at in zip(*lists, strict=False):
            # Numbers of numpy are written as JSON of pickles.
            number = value.get("value") if isinstance(value, dict) else value
            if isinstance(number, (int, float)):
                taking.point(name, number, step if isinstance(step, (int, float)) else None, time_of(str(at)))
            else:
                taking.leave("point", "is no number", name)


def _tell_sources(folder: Folder, sources: Any, taking: Taking) -> None:
    for source in sources if isinstance(sources, list) else ():
        if isinstance(source, list) and len(source) == 2 and all(isinstance(one, str) for one in source):
            name, path = source
            if folder.has(path):
                taking.file(f"code/{name}", folder.at(path))
            else:
                taking.leave("source", "is not in the folder", name)


def _mapping(data: Any) -> dict[str, Any]:
    return data if isinstance(data, dict) else {}
