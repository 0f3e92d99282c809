"""The time to open a store of many trials and list some.

10,000 trials with 5 parameters and 3 metrics of 100 points each; those with ``parameters.lr <= 0.01`` are listed, in
a new process, from opening the store on. No metric of any trial may be decoded for it.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from _common import MET, MISSED, Row, at_most, fresh, run

RATES = (0.1, 0.03, 0.01, 0.003)


def measure(folder: str, trials: int, points: int, rounds: int) -> list[Row]:
    path = Path(folder) / "store.json"
    uri = f"file:{path}"
    seconds = fresh(build, uri, trials, points)
    rows = [Row(f"building {trials:,} trials", f"{seconds:,.1f} s", "", f"{seconds / trials * 1e6:,.0f} us a trial")]
    rows += _listed("as the run left it", path, trials, rounds, is_saved=False)
    fresh(save, uri)
    return rows + _listed("after client.save()", path, trials, rounds, is_saved=True) + _in_brief(uri)


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

    start = time.perf_counter()
    store = track.reading.open_to_read(uri)
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
