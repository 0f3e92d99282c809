"""The cost of ``import track``, and of ``track --help``.

New interpreters in turn, against ``python -c pass``; and whether numpy or fsspec came along.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from _common import MET, MISSED, Row, at_most, run

HEAVY = ("numpy", "fsspec")


def measure(folder: str, rounds: int) -> list[Row]:
    uri = f"file:{Path(folder) / 'store.json'}"
    programs = {
        "pass": "pass",
        "import track": "import track",
        "from track import TrackClient": "from track import TrackClient",
        "TrackClient('file:...')": f"from track import TrackClient; TrackClient({uri!r})",
    }
    taken: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], check=True)
            taken[name].append((time.perf_counter() - start) * 1000)
    median = {name: statistics.median(times) for name, times in taken.items()}
    bare = median.pop("pass")
    rows = [
        Row("python -c pass", f"{bare:.1f} ms"),
        at_most("import track: more", median["import track"] - bare, 50, "ms"),
    ]
    others = [name for name in median if name != "import track"]
    rows += [Row(f"{name}: more", f"{median[name] - bare:.1f} ms") for name in others]
    rows.append(
        at_most(
            "track --help: more CPU", _spent(rounds, "-m", "track", "--help") - _spent(rounds, "-c", "pass"), 60, "ms"
        )
    )
    return rows + [_came_along(name, programs[name]) for name in median]


def _spent(rounds: int, *words: str) -> float:
    """Return the median of the CPU time that interpreters take, in milliseconds."""
    spent = []
    for _ in range(rounds):
        with subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL) as child:
            _, code, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(code)
        assert child.returncode == 0, words
        spent.append((used.ru_utime + used.ru_stime) * 1000)
    return statistics.median(spent)


def _came_along(name: str, program: str) -> Row:
    check = f"{program}; import sys; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    found = subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True).stdout.split()
    verdict = MISSED if found else MET
    return Row(f"{name}: imports", ", ".join(found) or "neither", "neither " + " nor ".join(HEAVY), "", verdict)


if __name__ == "__main__":
    run(__doc__, measure, rounds=(21, 2))
