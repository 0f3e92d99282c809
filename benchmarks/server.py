"""What a track server costs: points through it, decisions, log calls in front of it, idle clients.

The server and every client are processes of their own, all on this machine, over loopback.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from _common import MET, MISSED, Row, against, at_most, interleaved, run

CLIENTS = 8
LAYERS = {"plain": "None", "AES": "AES"}
LEAST = {"ephemeral:": 100_000, "file:": 80_000}
SHARE = 0.8


def measure(folder: str, points: int, decisions: int, calls: int, idle: int, rounds: int) -> list[Row]:
    os.environ["TRACK_LOG_SPILL_FOLDER"] = str(Path(folder) / "spill")
    os.environ["TRACK_SOCKET_FOLDER"] = str(Path(folder) / "certificate")
    os.environ["TRACK_SOCKET_KNOWN_HOSTS"] = str(Path(folder) / "known_hosts")
    rows = through(folder, points, rounds)
    rows += deciding(folder, decisions, rounds)
    rows += log_calls(folder, calls, rounds)
    return rows + idling(idle)


@contextlib.contextmanager
def server(backend: str, layer: str) -> Iterator[tuple[int, int]]:
    """Give port and process number of a server."""
    command = [sys.executable, "-m", "track", "serve", backend, "--port", "0", "--limit", "clients=3000"]
    command += ["--security-layer", layer] if layer != "None" else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline().rpartition(":")[2]), process.pid
    finally:
        process.terminate()
        process.communicate()


def in_clients(function, *arguments) -> list:
    """Return what each of the clients returns, which begin at the same time."""
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(CLIENTS), context.Queue()
    children = [context.Process(target=_client, args=(function, barrier, answers, arguments)) for _ in range(CLIENTS)]
    for child in children:
        child.start()
    found = [answers.get(timeout=600) for _ in children]
    for child in children:
        child.join()
    return found


def _client(function, barrier, answers, arguments) -> None:
    try:
        answers.put(function(barrier, *arguments))
    except BaseException as error:
        barrier.abort()
        answers.put(error)
        raise


# Points


def through(folder: str, points: int, rounds: int) -> list[Row]:
    rates: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        for backend in LEAST:
            for layer, option in LAYERS.items():
                place = f"file:{folder}/{layer}-{number}.json" if backend == "file:" else backend
                with server(place, option) as (port, _):
                    rate = _rate(f"socket://127.0.0.1:{port}?security_layer={option}", points)
                rates.setdefault((backend, layer), []).append(rate)
    return [row for backend in LEAST for row in _rate_rows(backend, rates)]


def _rate(uri: str, points: int) -> float:
    spans = in_clients(_log_points, uri, points // CLIENTS)
    return points / (max(end for _, end in spans) - min(start for start, _ in spans))


def _log_points(barrier, uri: str, points: int) -> tuple[float, float]:
    from track import TrackClient

    trial = TrackClient(uri).new_trial(parameters={"process": os.getpid()})
    barrier.wait()
    start = time.time()
    for step in range(points):
        trial.log_metrics(step=step, loss=0.1234567 * step)
    trial.protocol.flush(300)
    end = time.time()
    if trial.protocol.unsaved():
        raise RuntimeError(f"{trial.protocol.unsaved()} points were not delivered")
    trial.protocol.close()
    return start, end


def _rate_rows(backend: str, rates: dict) -> list[Row]:
    rows = []
    for layer in LAYERS:
        rate, least = statistics.median(rates[backend, layer]), LEAST[backend]
        what = f"points a second into {backend}, {CLIENTS} clients, {layer}"
        verdict = MET if rate >= least else MISSED
        rows.append(Row(what, f"{rate:,.0f}", f"at least {least:,}", f"{rate / least:.2f}", verdict))
    plain, encrypted = (statistics.median(rates[backend, layer]) for layer in LAYERS)
    share = encrypted / plain
    verdict = MET if share >= SHARE else MISSED
    what = f"AES beside plain, into {backend}"
    rows.append(Row(what, f"{encrypted:,.0f}", f"plain: {plain:,.0f}", f"{share:.2f} (at least {SHARE})", verdict))
    return rows


# Decisions


def deciding(folder: str, decisions: int, rounds: int) -> list[Row]:
    taken: dict[tuple[str, str], list[list[float]]] = {}
    for number in range(rounds):
        for backend in LEAST:
            for layer, option in LAYERS.items():
                place = f"file:{folder}/decided-{layer}-{number}.json" if backend == "file:" else backend
                with server(place, option) as (port, _):
                    found = in_clients(_decide, f"socket://127.0.0.1:{port}?security_layer={option}", decisions)
                ordered = sorted(seconds * 1000 for one in found for seconds in one)
                taken.setdefault((backend, layer), []).append(ordered)
    rows = []
    for (backend, layer), ordered in taken.items():
        median = statistics.median(one[len(one) // 2] for one in ordered)
        slow = statistics.median(one[int(len(one) * 0.99)] for one in ordered)
        what = f"new_trial into {backend}, {CLIENTS} clients at once, {layer}"
        rows.append(at_most(f"{what}, median", median, 2.0, "ms"))
        rows.append(Row(f"{what}, slowest in a hundred", f"{slow:.3g} ms"))
    return rows


def _decide(barrier, uri: str, decisions: int) -> list[float]:
    from track import TrackClient
    from track.structure import Trial

    protocol = TrackClient(uri).protocol
    protocol.new_trial(Trial(parameters={"process": os.getpid()}))
    barrier.wait()
    taken = []
    for number in range(decisions):
        trial = Trial(parameters={"process": os.getpid(), "number": number})
        start = time.perf_counter()
        protocol.new_trial(trial)
        taken.append(time.perf_counter() - start)
    protocol.close()
    return taken


# Log calls


def log_calls(folder: str, calls: int, rounds: int) -> list[Row]:
    from track import TrackClient

    with contextlib.ExitStack() as stack:
        uris = {"file": f"file:{folder}/calls.json"}
        for layer, option in LAYERS.items():
            port, _ = stack.enter_context(server("ephemeral:", option))
            uris[layer] = f"socket://127.0.0.1:{port}?security_layer={option}"
        trials = {name: TrackClient(uri).new_trial(parameters={"lr": 0.1}) for name, uri in uris.items()}
        costs = interleaved({name: _log_call(trial) for name, trial in trials.items()}, rounds, calls)
        for trial in trials.values():
            trial.protocol.close()
    rows = []
    for layer in LAYERS:
        rows.append(
            against(f"log call, {layer}, median", costs[layer].median, costs["file"].median, "file:", "us", 1.5)
        )
        rows.append(against(f"log call, {layer}, mean", costs[layer].mean, costs["file"].mean, "file:", "us"))
    return rows


def _log_call(trial):
    trial.start()
    return lambda index: trial.log_metrics(step=index, loss=0.1234567 * index, acc=0.7654321)


# Idle clients


def idling(count: int) -> list[Row]:
    from track import TrackClient
    from track.persistence.rpc.client import SocketClient

    rows = []
    for layer, option in LAYERS.items():
        with server("ephemeral:", option) as (port, pid), contextlib.ExitStack() as stack:
            uri = f"socket://127.0.0.1:{port}?security_layer={option}"
            for _ in range(count):
                client = SocketClient(uri)
                client.link.call("ping", {})
                stack.callback(client.link.close)
            rows.append(at_most(f"server with {count:,} idle clients, {layer}", _resident(pid) / 1e6, 150.0, "MB"))
            taken = []
            for number in range(20):
                start = time.perf_counter()
                client = TrackClient(uri)
                client.protocol.new_trial(_trial(number))
                taken.append(time.perf_counter() - start)
                client.protocol.close()
            what = f"new client with {count:,} idle ones, to its first trial, {layer}"
            rows.append(at_most(what, statistics.median(taken) * 1000, 50.0, "ms"))
    return rows


def _trial(number: int):
    from track.structure import Trial

    return Trial(parameters={"number": number})


def _resident(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


if __name__ == "__main__":
    run(
        __doc__,
        measure,
        points=(800_000, 8_000),
        decisions=(300, 10),
        calls=(20_000, 500),
        idle=(1_000, 50),
        rounds=(3, 1),
    )
