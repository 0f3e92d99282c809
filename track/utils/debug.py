"""Help while hunting a bug."""

from __future__ import annotations

import sys

from track.utils.out import write_out

__all__ = ["print_stack"]


def print_stack(msg: str = "--") -> None:
    """Write `msg` and the calls that led here, outermost first, to standard output."""
    import traceback

    frames = traceback.format_stack(sys._getframe(1))
    write_out(f"{msg}\n{''.join(frames)}")
