"""Keep the end of what a trial prints: a tee on standard output and error."""

from __future__ import annotations

import sys

from track.configuration import options
from track.utils.out import RingOutputDecorator

__all__ = ["OutputCapture"]


class OutputCapture:
    """Tees ``sys.stdout`` and ``sys.stderr`` into rings, until `close`.

    Parameters
    ----------
    size: int
        Pieces of text to keep of each, > 0; the options ``log.stdout_capture`` and ``log.stderr_capture``
        win.
    """

    def __init__(self, size: int = 50) -> None:
        self.stdout = RingOutputDecorator(sys.stdout, options("log.stdout_capture", size))
        self.stderr: RingOutputDecorator | None = None
        # The same object twice would be written twice.
        if sys.stderr is not sys.stdout:
            self.stderr = RingOutputDecorator(sys.stderr, options("log.stderr_capture", size))
            sys.stderr = self.stderr
        sys.stdout = self.stdout

    def close(self) -> dict[str, str]:
        """Give the streams back, unless somebody replaced ours, and return what was kept by stream name."""
        kept = {}
        for name in ("stdout", "stderr"):
            ring = getattr(self, name)
            if ring is None:
                continue
            if getattr(sys, name) is ring:
                setattr(sys, name, ring.file)
            text = ring.output()
            if text:
                kept[name] = text
        return kept
