"""Times as experiments write them: local, down to the microsecond."""

from __future__ import annotations

from datetime import datetime

FORMAT = "%y-%m-%d-%H-%M-%S-%f"
NAMES = ("created", "start", "stopped", "last", "registered")


def stamp() -> str:
    """Return the time now."""
    return datetime.now().strftime(FORMAT)
