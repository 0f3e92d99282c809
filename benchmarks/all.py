"""Run every benchmark, and print the tables one after another; options are handed on (``--quick``, ``--strict``)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NAMES = (
    "log_call",
    "mapped",
    "series",
    "media",
    "importing",
    "environment",
    "system",
    "memory",
    "processes",
    "reserve",
    "listing",
    "reopen",
    "short_trials",
    "ends",
    "import_time",
    "databases",
    "atsize",
    "buckets",
    "server",
    "artifacts",
    "em",
    "experiments",
    "growing",
    "page",
    "walks",
    "integrations",
    "paired",
    "peers",
)


def main() -> int:
    folder = Path(__file__).resolve().parent
    return max(subprocess.call([sys.executable, folder / f"{name}.py", *sys.argv[1:]]) for name in NAMES)


if __name__ == "__main__":
    sys.exit(main())
