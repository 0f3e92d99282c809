"""The pages of other trackers: the same 100 runs of 2,000 points in tensorboard, trackio and mlflow."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _common import Row, against

SECONDS = 90
IDLE = 10
_CURVES = """
import math, os, random, sys
runs, points, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
random.seed(0)
def values(run):
    return [math.exp(-3 * step / points) + random.gauss(0, 0.05) + run / runs for step in range(points)]
"""
_FILL = {
    "tensorboard": """
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
for run in range(runs):
    writer = EventFileWriter(os.path.join(folder, f"run{run}"))
    for step, value in enumerate(values(run)):
        summary = Summary(value=[Summary.Value(tag="loss", simple_value=value)])
        writer.add_event(Event(step=step, wall_time=1.7e9 + step, summary=summary))
    writer.close()
""",
    "trackio": """
os.environ["TRACKIO_DIR"] = folder
import trackio
for run in range(runs):
    trackio.init(project="benchmark", name=f"run{run}", config={"number": run})
    for step, value in enumerate(values(run)):
        trackio.log({"loss": value}, step=step)
    trackio.finish()
""",
    "mlflow": """
from mlflow import MlflowClient
from mlflow.entities import Metric
client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
experiment = client.create_experiment("benchmark")
for run in range(runs):
    uid = client.create_run(experiment, run_name=f"run{run}").info.run_id
    points_of = [Metric("loss", value, 1_700_000_000_000 + step, step) for step, value in enumerate(values(run))]
    for first in range(0, points, 1000):
        client.log_batch(uid, metrics=points_of[first : first + 1000])
    client.set_terminated(uid)
""",
}
_SERVE: dict[str, Callable[[str, int], list[str]]] = {
    "tensorboard": lambda folder, port: ["-m", "tensorboard.main", "--logdir", folder, "--port", str(port)],
    "trackio": lambda _, port: [
        "-c",
        f"import trackio; trackio.show('benchmark', open_browser=False, block_thread=True, server_port={port})",
    ],
    "mlflow": lambda folder, port: [
        *("-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--port", str(port)),
        *("--host", "127.0.0.1", "--workers", "1"),
    ],
}
_PLACE = {
    "tensorboard": "/#timeseries",
    "trackio": "/?project=benchmark",
    "mlflow": "/#/experiments/1/runs?compareRunsMode=CHART",
}


@dataclass(frozen=True)
class Seen:
    """What a page took: milliseconds until curves were seen, megabytes sent and in the heap, kilobytes when idle."""

    after: float
    sent: float
    heap: float
    idle: float


def rows(browser: Any, python: str, ours: Callable[[], Seen], folder: str, runs: int, points: int) -> list[Row]:
    """Return rows for each tracker that a Python has."""
    found = []
    us = ours()
    for name, script in _FILL.items():
        version = _version(python, name)
        if version is None:
            found.append(Row(f"{name} is not installed", ""))
            continue
        said = f"{name} {version}"
        home = Path(folder) / name
        home.mkdir()
        subprocess.run(
            [python, "-c", _CURVES + script, str(runs), str(points), str(home)], check=True, env=_quiet(home)
        )
        peer = _visit(browser, python, name, str(home))
        if peer is None:
            found.append(Row(f"{said}: no curves within {SECONDS} s", ""))
            continue
        what = f"{runs} runs of {points:,} points"
        found += [
            against(f"{what}: curves are seen after", us.after, peer.after, said, "ms"),
            against("  transferred", us.sent, peer.sent, said, "MB"),
            against("  JavaScript's heap", us.heap, peer.heap, said, "MB"),
            Row(f"  {IDLE} idle seconds", f"{us.idle:,.2f} kB", f"{said}: {peer.idle:,.2f} kB"),
        ]
    return found


def look(browser: Any, link: str, seconds: float = SECONDS) -> Seen | None:
    """Return what a page takes until it shows curves of many colours, and after that."""
    context = browser.new_context(viewport={"width": 1300, "height": 850})
    try:
        tab = context.new_page()
        session, sizes = context.new_cdp_session(tab), []
        session.send("Network.enable")
        session.on("Network.loadingFinished", lambda said: sizes.append(said["encodedDataLength"]))
        session.on("Network.responseReceived", lambda said: sizes.append(_empty(said["response"])))
        start = time.perf_counter()
        tab.goto(link, wait_until="commit")
        while not _has_curves(tab.screenshot(timeout=seconds * 1e3)):
            if time.perf_counter() > start + seconds:
                return None
        after = (time.perf_counter() - start) * 1e3
        tab.wait_for_timeout(3000)
        sent = sum(sizes)
        sizes.clear()
        tab.wait_for_timeout(IDLE * 1000)
        idle = sum(sizes)
        session.send("HeapProfiler.collectGarbage")
        heap = tab.evaluate("performance.memory.usedJSHeapSize")
        return Seen(after, sent / 1e6, heap / 1e6, idle / 1e3)
    finally:
        context.close()


def _empty(response: dict[str, Any]) -> float:
    """Return the bytes of an answer without a body, after which nothing is said to have been loaded."""
    return float(response["encodedDataLength"]) if response["status"] == 204 else 0.0


def _has_curves(picture: bytes) -> bool:
    """Return whether the middle of a page has lines of at least five colours."""
    from PIL import Image

    image = Image.open(io.BytesIO(picture)).convert("HSV").crop((480, 150, 1300, 850))
    hues: dict[int, int] = {}
    for count, (hue, saturation, value) in image.getcolors(1 << 20):
        if saturation > 90 and value > 60:
            hues[hue // 20] = hues.get(hue // 20, 0) + count
    return sum(count > 100 for count in hues.values()) >= 5


def _visit(browser: Any, python: str, name: str, folder: str) -> Seen | None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [python, *_SERVE[name](folder, port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(command, env=_quiet(Path(folder)), start_new_session=True, **quiet)  # type: ignore[call-overload]
    try:
        place = f"http://127.0.0.1:{port}"
        end = time.monotonic() + SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{place}/", timeout=5).read()
                break
            except OSError:
                if time.monotonic() > end:
                    return None
                time.sleep(0.2)
        return look(browser, place + _PLACE[name])
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _version(python: str, name: str) -> str | None:
    asked = f"import importlib.metadata as m; print(m.version('{name}'))"
    done = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _quiet(folder: Path) -> dict[str, str]:
    """Return an environment in which nobody phones home, and the library beside this folder is not on the path."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return kept | {
        "TRACKIO_DIR": str(folder),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
