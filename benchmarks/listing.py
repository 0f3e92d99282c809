"""The time to open a store of many trials and list some, or all in brief.

10,000 trials with 5 parameters and 3 metrics of 100 points each; those with ``parameters.lr <= 0.01`` are listed, in
a new process, from opening the store on. No metric of any trial may be decoded for it.

Databases list all in brief: 10,000 trials with 12 parameters, what is recorded of where they ran, and 10 metrics,
which are not read, so that it does not matter how many points each has. Of MongoDB it is said how long the server
itself takes for its answer, since the one that stands in for it is a slow one.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

from _common import MET, MISSED, Row, at_most, fresh, run
from databases import BATCH, _mongo, _postgres, _store
from server import server as served

RATES = (0.1, 0.03, 0.01, 0.003)


IN_BRIEF = {"SQLite": 0.5, "PostgreSQL": 0.7, "MongoDB wire": 1.5, "a server over SQLite": 1.0}
"""Seconds to list all trials in brief."""
PLACE = {
    "argv": ["train.py", "--lr", "0.1"],
    "folder": "/home/me/projects/train",
    "git": {"commit": "a" * 40, "branch": "main", "dirty": False},
    "gpus": ["A100", "A100"],
    "host": "node-17",
    "packages": "b" * 64,
    "python": "3.11.7",
    "user": "me",
}


def measure(folder: str, trials: int, points: int, rounds: int) -> list[Row]:
    path = Path(folder) / "store.json"
    uri = f"file:{path}"
    seconds = fresh(build, uri, trials, points)
    rows = [Row(f"building {trials:,} trials", f"{seconds:,.1f} s", "", f"{seconds / trials * 1e6:,.0f} us a trial")]
    rows += _listed("as the run left it", path, trials, rounds, is_saved=False)
    fresh(save, uri)
    rows += _listed("after client.save()", path, trials, rounds, is_saved=True) + _in_brief(uri)
    return rows + _of_databases(folder, trials, points)


def _of_databases(folder: str, trials: int, points: int) -> list[Row]:
    os.environ["TRACK_LOG_SPILL_FOLDER"] = str(Path(folder) / "spill")
    os.environ["TRACK_SOCKET_FOLDER"] = str(Path(folder) / "certificate")
    os.environ["TRACK_SOCKET_KNOWN_HOSTS"] = str(Path(folder) / "known_hosts")
    uri = f"sqlite:{folder}/list.db"
    fresh(fill, uri, trials, points)
    rows = _all_in_brief("SQLite", uri)
    with served(uri, "None") as (port, _):
        rows += _all_in_brief("a server over SQLite", f"socket://127.0.0.1:{port}?security_layer=None")
    for name, start in (("PostgreSQL", _postgres), ("MongoDB wire", _mongo)):
        server = start()
        if server is None:
            rows.append(Row(name, "not installed"))
            continue
        try:
            uri = server.new_database()
            fresh(fill, uri, trials, points)
            rows += _all_in_brief(name, uri)
            if name == "MongoDB wire":
                rows.append(Row("  of it the server's answer, without a look at it", f"{fresh(answer_of, uri):.3g} s"))
        finally:
            server.close()
    return rows


def _all_in_brief(name: str, uri: str) -> list[Row]:
    taken, decoded, changes = fresh(list_in_brief, uri)
    return [
        at_most(f"{name}: list all in brief", taken, IN_BRIEF[name], "s"),
        _count("  of them with decoded metrics", decoded, 0, is_target=True),
        at_most(f"{name}: changes, when nothing has changed", changes, 5, "ms"),
    ]


def fill(uri: str, trials: int, points: int) -> None:
    """Store trials in a database."""
    from track.events import FieldsMerged, MetricsLogged, ProjectCreated, StatusChanged, TrialCreated

    store, events = _store(uri), [ProjectCreated("p", 1.0, "p")]
    for number in range(trials):
        digest = f"{number:064x}"
        uid = f"{digest}_0"
        parameters = {f"parameter_{place}": (0.1 * place, place, "text", True)[place % 4] for place in range(11)}
        process = {"host": "node-17", "pid": number + 1, "started": 1e9}
        events += [
            TrialCreated(digest, 0, 1e9, project_id="p", parameters={**parameters, "seed": number}),
            FieldsMerged("trial", uid, "metadata", PLACE, 1e9),
            StatusChanged(uid, ["Running", 101], 1e9, process=process),
            *(
                MetricsLogged(
                    uid, {f"metric_{place}": 0.1234567 * step + place for place in range(10)}, 1e9 + step, step
                )
                for step in range(points)
            ),
            StatusChanged(uid, ["Completed", 302], 2e9, process=process),
        ]
    for first in range(0, len(events), BATCH):
        store.receive("writer", first, events[first : first + BATCH])
    store.close()


def answer_of(uri: str) -> float:
    """Return the seconds until the documents of all trials are here, as bytes."""
    store = _store(uri)
    store.brief_trials(limit=1)
    start = time.perf_counter()
    for _ in store.mongo._database["trials"].find_raw_batches({}, sort=[("position", 1)]):
        """Not decoded."""
    return time.perf_counter() - start


def _in_brief(uri: str) -> list[Row]:
    taken, decoded, changes = fresh(list_in_brief, uri)
    return [
        at_most("open and list all in brief, after client.save()", taken, 0.5, "s"),
        _count("  of them with decoded metrics", decoded, 0, is_target=True),
        at_most("changes, when nothing has changed", changes, 1, "ms"),
    ]


def _listed(state: str, path: Path, trials: int, rounds: int, is_saved: bool) -> list[Row]:
    journal = Path(f"{path}.journal")
    snapshot, rest = (file.stat().st_size / 1e6 if file.exists() else 0.0 for file in (path, journal))
    sizes = f"{snapshot:,.0f} MB snapshot, {rest:,.0f} MB journal"
    found = [fresh(open_and_list, f"file:{path}") for _ in range(rounds)]
    seconds = statistics.median(taken for taken, _, _ in found)
    _, listed, decoded = found[0]
    return [
        at_most(f"open and list, {state}", seconds, 1, "s"),
        _count("  trials listed", listed, trials // 2, is_target=True),
        # Trials that only the journal holds are replayed, metrics included.
        _count(f"  of them with decoded metrics ({sizes})", decoded, 0, is_target=is_saved),
    ]


def _count(what: str, found: int, wanted: int, is_target: bool) -> Row:
    verdict = (MET if found == wanted else MISSED) if is_target else ""
    return Row(what, f"{found:,}", f"exactly {wanted:,}" if is_target else "", "", verdict)


def build(uri: str, trials: int, points: int) -> float:
    from track import TrackClient

    start = time.perf_counter()
    client = TrackClient(uri)
    client.set_project(name="benchmark")
    for number in range(trials):
        parameters = {"lr": RATES[number % 4], "seed": number, "model": "mlp", "width": 64, "dropout": 0.5}
        with client.new_trial(force=True, parameters=parameters) as trial:
            for step in range(points):
                trial.log_metrics(step=step, loss=1 / (step + 1), acc=0.37 + step / 300, norm=0.01 * number + step)
    return time.perf_counter() - start


def save(uri: str) -> None:
    from track import TrackClient

    TrackClient(uri).save()


def open_and_list(uri: str) -> tuple[float, int, int]:
    import track
    import track.persistence.local
    import track.reading

    start = time.perf_counter()
    found = track.fetch(uri, {"parameters.lr": {"$lte": 0.01}})
    taken = time.perf_counter() - start
    return taken, len(found), sum(trial.metrics.is_loaded for trial in found)


def list_in_brief(uri: str) -> tuple[float, int, float]:
    import track.reading
    from track.persistence import get_protocol

    start = time.perf_counter()
    is_remote = uri.startswith("socket:")
    is_file = uri.startswith("file:")
    store = track.reading.open_to_read(uri) if is_file else get_protocol(uri) if is_remote else _store(uri)
    if not is_file:
        # What is imported and connected once is no part of it.
        store.brief_trials(limit=1)
        start = time.perf_counter()
    found = store.brief_trials()
    for trial in found:
        trial.metrics.briefs()
    taken = time.perf_counter() - start
    cursor, _ = store.changes()
    moments = []
    for _ in range(20):
        start = time.perf_counter()
        cursor, _ = store.changes(cursor)
        moments.append(time.perf_counter() - start)
    return taken, sum(trial.metrics.is_loaded for trial in found), statistics.median(moments) * 1e3


if __name__ == "__main__":
    run(__doc__, measure, trials=(10_000, 40), points=(100, 5), rounds=(5, 1))
