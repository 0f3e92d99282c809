"""Hooks that were due and never found a variable: that is said once, at the end of their monitor."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from track.monitor.hooks import Hook
from track.shown import shown

logger = logging.getLogger(__name__)
_MOST = 20


class Unmatched:
    """Which hooks of a monitor have found nothing yet, and which variables were there instead."""

    def __init__(self) -> None:
        self._matched: set[int] = set()
        self._missed: dict[int, tuple[Hook, list[str]]] = {}

    def note(self, hook: Hook, chosen: Mapping[str, Any], namespace: Mapping[str, Any]) -> None:
        """Take note of what a hook that was due has found among the variables that were there."""
        if hook.regex is None or id(hook) in self._matched or not namespace:
            return
        if chosen:
            self._matched.add(id(hook))
            self._missed.pop(id(hook), None)
        else:
            self._missed[id(hook)] = hook, [name for name in namespace if not name.startswith("__")]

    def tell(self) -> None:
        """Say which ones have found nothing."""
        for hook, names in self._missed.values():
            there = ", ".join([*map(shown, names[:_MOST]), *(["..."] if len(names) > _MOST else [])])
            logger.warning("the %s %r has matched no variable; there were %s", type(hook).__name__, str(hook), there)
        self._missed.clear()
