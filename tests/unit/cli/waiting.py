"""What happens while a command waits for the next look."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def happens(monkeypatch: pytest.MonkeyPatch, sleeping: Any, *actions: Callable[[], object]) -> None:
    """Let something happen each time that the program waits, in place of what is named `sleeping`; then Ctrl-C."""
    left = iter(actions)

    def sleep(_: float) -> None:
        action = next(left, None)
        if action is None:
            raise KeyboardInterrupt
        action()

    monkeypatch.setattr(sleeping, sleep)
