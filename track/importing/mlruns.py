"""MLflow's store of files: a folder an experiment, a folder a run, a file a parameter, tag and metric."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from track.errors import UnsafePath
from track.importing.files import Folder, lines
from track.importing.mlflow import DELETED, MlflowRun
from track.importing.report import Report
from track.importing.runs import Run, Taking

_STATUSES = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
_LONGEST = 1 << 20
_PIECE = 8192


def runs(path: str, report: Report) -> Iterator[Run]:
    """Yield the runs of a folder ``mlruns``, or of one that has it."""
    folder = Folder(path, report)
    if not any(folder.has(f"{name}/meta.yaml") for name in folder.folders()) and "mlruns" in folder.folders():
        folder = Folder(os.path.join(path, "mlruns"), report)
    if folder.has("meta.yaml"):
        # One experiment.
        folder = Folder(os.path.dirname(path), report)
        experiments = [os.path.basename(path)]
    else:
        experiments = [name for name in folder.folders() if not name.startswith(".")]
    for experiment in experiments:
        about = _mapping(folder.yaml(f"{experiment}/meta.yaml", is_needed=True))
        if not about:
            continue
        if about.get("lifecycle_stage") == "deleted":
            report.leave("experiment", DELETED, str(about.get("name")))
            continue
        found = []
        for uid in folder.folders(experiment):
            run = _run(folder, f"{experiment}/{uid}", about.get("name"), report)
            if run is not None:
                found.append(run)
        # Parents are there before their children.
        yield from sorted(found, key=lambda run: (run.created, run.key))


def _run(folder: Folder, place: str, experiment: Any, report: Report) -> Run | None:
    about = _mapping(folder.yaml(f"{place}/meta.yaml", is_needed=True))
    if not about:
        return None
    uid, name = os.path.basename(place), about.get("run_name")
    if about.get("lifecycle_stage") == "deleted":
        report.leave("run", DELETED, str(name or uid))
        return None
    tags = _texts(folder, f"{place}/tags")
    status = about.get("status")
    status = _STATUSES.get(status, "") if isinstance(status, int) else str(status)
    experiment = experiment if isinstance(experiment, str) else None
    found = MlflowRun(
        folder,
        uid,
        name=name,
        status=status,
        start=about.get("start_time"),
        end=about.get("end_time"),
        experiment=experiment,
        tags=tags,
        uri=None,
        places=[f"{place}/artifacts"],
    )

    def read(taking: Taking) -> None:
        found.tell(taking, _texts(folder, f"{place}/params"))
        for metric in folder.files(f"{place}/metrics"):
            try:
                with folder.open(metric) as file:
                    _tell_metric(file, metric.removeprefix(f"{place}/metrics/"), metric, taking)
            except (OSError, UnsafePath) as error:
                taking.damage("cannot be opened", f"{metric}: {error}")
        for inside in folder.files(f"{place}/inputs"):
            taking.leave("dataset", "has no place here", inside)
        found.tell_files(taking)

    count = sum(folder.size(one) for one in folder.files(f"{place}/metrics")) if status == "RUNNING" else ""
    return found.run(read, str(count))


def _tell_metric(file: Any, name: str, path: str, taking: Taking) -> None:
    values: list[float] = []
    times: list[float] = []
    steps: list[int] = []
    for line in lines(file, _LONGEST):
        words = [] if line is None else line.split()
        try:
            at, value, step = int(words[0]) / 1000, float(words[1]), int(words[2]) if len(words) > 2 else 0
        except (ValueError, IndexError, OverflowError):
            taking.damage("a line of a metric is damaged", path)
            continue
        values.append(value)
        times.append(at)
        steps.append(step)
        if len(values) == _PIECE:
            taking.series(name, values, steps, times)
            values, times, steps = [], [], []
    if values:
        taking.series(name, values, steps, times)


def _texts(folder: Folder, place: str) -> dict[str, str]:
    found = {}
    for name in folder.files(place):
        text = folder.read(name, _LONGEST)
        if text is not None:
            found[name.removeprefix(f"{place}/")] = text.decode("utf-8", "replace")
    return found


def _mapping(data: Any) -> dict[str, Any]:
    return data if isinstance(data, dict) else {}
