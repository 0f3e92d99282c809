"""``python -m track``."""

from __future__ import annotations

import sys

from track.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
