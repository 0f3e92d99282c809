"""Points a second of a series that is logged in one call.

``trial.log_series(name, array)`` on ``file:``, on ``ephemeral:`` and on ``socket:`` (into the spill), without steps,
with steps that count up, with others, with times, and of a list, against ``os.write`` of ``array.tobytes()`` in pieces
of as many points in the same run. Then how long it takes to read a series back from the file.
"""

from __future__ import annotations

import os
import socket
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _common import MET, MISSED, Row, fresh, new_trial, run

TARGET = 10.0
"""Millions of points a second."""
_PIECE = 4096


def measure(folder: str, points: int, rounds: int) -> list[Row]:
    rows: list[Row] = fresh(_measure, folder, points, rounds)
    return [*rows, *fresh(_read, folder, points)]


def _measure(folder: str, points: int, rounds: int) -> list[Row]:
    import numpy

    here = Path(folder)
    os.environ["TRACK_LOG_SPILL_FOLDER"] = str(here / "spill")
    values, count = numpy.random.default_rng(0).random(points), numpy.arange(points)
    odd_steps, times = numpy.cumsum(1 + count % 3), 1.7e9 + count / 64
    written = os.open(here / "bytes", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    file, memory = new_trial(f"file:{here}/store.json"), new_trial("ephemeral:")
    # Of what stays in memory, or waits for a server, a tenth.
    tenth, few = slice(points // 10), values[: points // 10].tolist()
    cases: dict[str, Callable[[], int]] = {
        "os.write of the bytes": lambda: _write(written, values),
        "file:": lambda: _log(file, values),
        "file: steps that count up": lambda: _log(file, values, count),
        "file: steps in any order": lambda: _log(file, values, odd_steps),
        "file: steps and times": lambda: _log(file, values, odd_steps, times),
        "file: integers": lambda: _log(file, count),
        "file: a list, steps of a range": lambda: _log(file, few, range(len(few))),
        "ephemeral: steps that count up": lambda: _log(memory, values[tenth], count[tenth]),
    }
    with _Away() as port:
        spilled = _spilling(f"socket://127.0.0.1:{port}?offline=1&security_layer=None")
        cases["socket: to the spill"] = lambda: _log(spilled, values[tenth], count[tenth])
        speeds = {name: statistics.median(_speed(case) for _ in range(rounds)) for name, case in cases.items()}
    os.close(written)
    peer = speeds.pop("os.write of the bytes")
    return [_row(name, speed, peer) for name, speed in speeds.items()]


def _row(name: str, speed: float, peer: float) -> Row:
    has_target = name.startswith("file:")
    verdict = "" if not has_target else MET if speed >= TARGET else MISSED
    peers = f"os.write: {peer:,.1f} M points/s" + (f" (at least {TARGET:g} M/s)" if has_target else "")
    return Row(name, f"{speed:,.1f} M points/s", peers, f"{speed / peer:.2f}", verdict)


def _speed(case: Callable[[], int]) -> float:
    start = time.perf_counter()
    count = case()
    return count / (time.perf_counter() - start) / 1e6


def _log(trial: Any, values: Any, steps: Any = None, times: Any = None) -> int:
    _log.number += 1  # type: ignore[attr-defined]
    trial.log_series(f"loss{_log.number}", values, steps, times)  # type: ignore[attr-defined]
    return len(values)


_log.number = 0  # type: ignore[attr-defined]


def _write(descriptor: int, values: Any) -> int:
    for start in range(0, len(values), _PIECE):
        os.write(descriptor, values[start : start + _PIECE].tobytes())
    return len(values)


class _Away:
    """A port at which nobody answers."""

    def __enter__(self) -> int:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        port: int = self._socket.getsockname()[1]
        return port

    def __exit__(self, *error: object) -> None:
        self._socket.close()


def _spilling(uri: str) -> Any:
    import logging

    logging.getLogger("track").setLevel(logging.CRITICAL)
    return new_trial(uri)


def _read(folder: str, points: int) -> list[Row]:
    import numpy

    here = Path(folder)
    trial = new_trial(f"file:{here}/read.json")
    trial.log_series("loss", numpy.random.default_rng(0).random(points), numpy.arange(points))
    trial.protocol.flush()
    return fresh(_read_back, f"{here}/read.json", points)


def _read_back(path: str, points: int) -> list[Row]:
    import numpy  # noqa: F401 - as a program has that reads arrays

    import track

    start = time.perf_counter()
    (trial,) = track.fetch(f"file:{path}")
    steps, _ = trial.metrics["loss"].to_numpy()
    took = time.perf_counter() - start
    assert len(steps) == points
    return [Row("read back, as arrays", f"{points / took / 1e6:,.1f} M points/s")]


if __name__ == "__main__":
    run(__doc__, measure, points=(4_000_000, 50_000), rounds=(3, 1))
