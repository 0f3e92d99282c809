"""Ages as they are written on a command line: ``45s``, ``30m``, ``12h``, ``7d``, ``2w``."""

from __future__ import annotations

import argparse
import re

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def age_of(given: str) -> float:
    """Return the seconds that a text like ``7d`` says, for a parser."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", given)
    if found is None:
        raise argparse.ArgumentTypeError(f"{given!r} is no age: write 45s, 30m, 12h, 7d or 2w")
    return float(found[1]) * _SECONDS[found[2]]
