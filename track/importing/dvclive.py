"""dvclive: a folder a run, with a table a metric, parameters in YAML and plots."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from typing import Any

from track.errors import UnsafePath
from track.importing.files import Folder, checksum_of, lines
from track.importing.report import Report
from track.importing.runs import Keys, Run, Taking, stamp_of
from track.importing.words import number_of, time_of
from track.versioning import compute_hash

_METRICS = "plots/metrics/"
_LONGEST = 1 << 16
_NO_END = "dvclive does not store how a run ended, nor when: it counts as completed"


def runs(path: str, report: Report) -> Iterator[Run]:
    """Yield the runs of a folder of dvclive, and of those below a folder."""
    folder = Folder(path, report)
    together: dict[str, list[str]] = {}
    for name in folder.files():
        before, found, _ = f"/{name}".rpartition(f"/{_METRICS}")
        if found or os.path.basename(name) == "metrics.json":
            place = (before if found else os.path.dirname(f"/{name}")).strip("/")
            together.setdefault(place, [])
    for place in together:
        inside = folder.files(place)
        together[place] = [name.removeprefix(f"{place}/") if place else name for name in inside]
    keys = Keys()
    told = [
        _run(folder, place, names, keys)
        for place, names in together.items()
        if any(name.startswith(_METRICS) or name == "metrics.json" for name in names)
    ]
    yield from sorted(told, key=lambda run: run.created)


def _run(folder: Folder, place: str, names: list[str], keys: Keys) -> Run:
    def at(name: str) -> str:
        return f"{place}/{name}" if place else name

    own = os.path.join(folder.path, place) if place else folder.path
    name = os.path.basename(own)
    # All of them are called dvclive: the folder around it tells them apart.
    label = os.path.basename(os.path.dirname(own)) if name == "dvclive" else name
    paths = [folder.at(at(one)) for one in names]
    modified = min((os.lstat(one).st_mtime for one in paths), default=0.0)
    tables = [one for one in names if one.startswith(_METRICS) and one.endswith(".tsv")]
    begins = [_first_line(folder, at(one)) for one in tables]
    created = min((known for _, known in begins if known is not None), default=None)
    # Wherever the folder is copied to, it began when it did, or with these values.
    said = [folder.read(at("params.yaml")) or b"", *sorted(line for line, _ in begins)]
    key = f"dvclive@{created!r}" if created is not None else compute_hash("dvclive", *said)
    changes = [at(one) for one in (*tables, "metrics.json", "params.yaml")]
    stamp = f"{stamp_of(*paths)}-{compute_hash(*(checksum_of(folder.at(one)) for one in changes))[:16]}"

    def read(taking: Taking) -> None:
        parameters = folder.yaml(at("params.yaml"))
        taking.parameters(parameters if isinstance(parameters, dict) else {})
        taking.leave("status", _NO_END)
        plotted = set()
        for one in names:
            if one.startswith(_METRICS) and one.endswith(".tsv"):
                metric = one.removeprefix(_METRICS).removesuffix(".tsv")
                plotted.add(metric)
                _tell_metric(folder, at(one), metric, taking)
        last = folder.json(at("metrics.json"))
        if isinstance(last, dict):
            for metric, value in _flat(last).items():
                if metric not in plotted and metric != "step":
                    taking.point(metric, value, None, None)
        for one in names:
            if not one.startswith(_METRICS) and one not in ("params.yaml", "metrics.json"):
                taking.file(one, folder.at(at(one)))

    begun = modified if created is None else created
    return Run(keys.key_of(key, stamp), stamp, read, begun, label or "dvclive", None)


def _first_line(folder: Folder, path: str) -> tuple[bytes, float | None]:
    """Return the first line of a metric, and when that was measured; None where the table does not say."""
    try:
        with folder.open(path) as file:
            names, line = [(file.readline(_LONGEST)).strip() for _ in range(2)]
    except (OSError, UnsafePath):
        return b"", None
    columns, cells = names.split(b"\t"), line.split(b"\t")
    known = dict(zip(columns, cells, strict=False)).get(b"timestamp", b"")
    return line, time_of(known.decode("utf-8", "replace"))


def _flat(data: dict[str, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in data.items():
        if isinstance(value, dict) and depth < 50:
            found.update(_flat(value, f"{prefix}{name}/", depth + 1))
        else:
            found[f"{prefix}{name}"] = value
    return found


def _tell_metric(folder: Folder, path: str, name: str, taking: Taking) -> None:
    try:
        file = folder.open(path)
    except (OSError, UnsafePath) as error:
        taking.damage("cannot be opened", f"{path}: {error}")
        return
    with file:
        rows = csv.reader(_texts(file), delimiter="\t")
        try:
            names = next(rows, [])
            step = names.index("step") if "step" in names else None
            time = names.index("timestamp") if "timestamp" in names else None
            value = next((place for place in range(len(names)) if place not in (step, time)), None)
            if value is None:
                taking.damage("has no column of a metric", path)
                return
            for row in rows:
                if len(row) != len(names) or (number := number_of(row[value])) is None:
                    taking.damage("a line of a metric is damaged", path)
                    continue
                at = None if time is None else time_of(row[time])
                taking.point(name, number, None if step is None else number_of(row[step]), at)
        except csv.Error as error:
            taking.damage(f"is no table ({error})", path)


def _texts(file: Any) -> Iterator[str]:
    for line in lines(file, _LONGEST):
        yield "\n" if line is None else line.decode("utf-8", "replace").rstrip("\r") + "\n"
