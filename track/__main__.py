"""``python -m track``."""

from __future__ import annotations

import sys

from track.cli import main

if __name__ == "__main__":
    sys.exit(main())
