"""A trial of a store that nobody has looked at yet: its document is read when somebody does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from track.structure import Trial

_KNOWN = frozenset({"_hash", "hash", "project_id", "revision", "status", "uid"})
"""What a store asks of every trial: its indexes are made of it."""
_loading = threading.RLock()


class UnreadTrial(Trial):
    """Becomes the `Trial` that `load` returns when anything is asked of it but what its store's indexes need."""

    def __init__(  # noqa: PLR0917 - made for each trial of a store
        self, digest: str, revision: int, project: Any, status: Any, load: Callable[[Any], Trial], stored: Any
    ) -> None:
        fields = object.__getattribute__(self, "__dict__")
        fields["_hash"], fields["revision"] = digest, revision
        fields["project_id"], fields["status"] = project, status
        fields["_load"] = load, stored

    def __getattribute__(self, name: str) -> Any:
        if name not in _KNOWN:
            _read(self)
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        _read(self)
        object.__setattr__(self, name, value)


def _read(trial: UnreadTrial) -> None:
    with _loading:
        fields = object.__getattribute__(trial, "__dict__")
        # Again: another thread may have been first.
        if "_load" not in fields:
            return
        load, stored = fields["_load"]
        known = fields["status"], fields["project_id"]
        fields.update(vars(load(stored)))
        # The same objects: an index may have them.
        fields["status"], fields["project_id"] = known
        del fields["_load"]
        object.__setattr__(trial, "__class__", Trial)
