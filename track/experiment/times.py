"""Times as experiments write them: local, down to the microsecond."""

from __future__ import annotations

from datetime import datetime

FORMAT = "%y-%m-%d-%H-%M-%S-%f"
NAMES = ("created", "start", "stopped", "last", "registered")


def stamp(at: float | None = None) -> str:
    """Return a time, unix seconds; by default now."""
    return (datetime.now() if at is None else datetime.fromtimestamp(at)).strftime(FORMAT)
