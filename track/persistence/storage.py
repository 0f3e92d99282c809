"""`LocalStorage`: the state of a store with a file of its own, and no journal."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any

from track.errors import ConcurrentWrite
from track.persistence.state import State, read_snapshot, snapshot_bytes
from track.structure import Trial
from track.utils.files import replace_file

__all__ = ["LocalStorage", "load_database"]

logger = logging.getLogger(__name__)


class LocalStorage(State):
    """The projects, groups and trials of a file, in memory.

    Parameters
    ----------
    target_file: str, optional
        Where `commit` writes.
    clock: callable
        Returns unix seconds; to tell how long a trial has been silent.
    """

    def __init__(self, target_file: str | None = None, clock: Callable[[], float] = time.time) -> None:
        super().__init__(target_file, clock)
        self.target_file = target_file
        self._tags: dict[str, int] = {}

    def commit(self, file_name_override: str | None = None, **kwargs: Any) -> None:
        """Write everything to `file_name_override`, or to the target file; without either there is nothing to do.

        Raises
        ------
        ConcurrentWrite
            The target file has a journal: its backend saves it.
        """
        path = file_name_override or self.target_file
        if path is None:
            return
        if os.path.exists(f"{path}.journal"):
            raise ConcurrentWrite(f"{path} has a journal: save it with the commit of its backend")
        replace_file(path, snapshot_bytes(self, {}))

    def reload(self, filename: str | None = None) -> None:
        """Become what a file holds; the objects of before are let go.

        Raises
        ------
        CorruptJournal
            The file is no track file; the state stays as it was.
        """
        read = load_database(filename or self.target_file)
        own = {name: vars(self)[name] for name in ("target_file", "place", "liveness")}
        vars(self).update(vars(read) | own)

    def smart_reload(self, filename: str | None = None) -> None:
        """Take what a file has that is newer; objects that are here stay the same objects.

        Raises
        ------
        CorruptJournal
            The file is no track file; the state stays as it was.
        """
        read = load_database(filename or self.target_file)
        for project in read._projects.values():
            self._projects.setdefault(project.uid, project)
        for group in read._groups.values():
            self.add_group(self._groups.get(group.uid, group), read._members[group.uid])
        for uid, trial in read._trials.items():
            if uid not in self._trials:
                self.add_trial(trial)
            else:
                self._take_newer(self._trials[uid], trial)

    def _take_newer(self, ours: Trial, theirs: Trial) -> None:
        count, other = (int(trial.metadata.get("_update_count", 0)) for trial in (ours, theirs))
        self._tags[ours.uid] = count
        if other < count:
            logger.warning("trial %s in the file is older than here: ours is kept", ours.uid)
        elif other > count:
            vars(ours).update(vars(theirs))
            self.changed.add(ours.uid)

    # versions

    def get_current_version_tag(self, obj: Any) -> int | None:
        """Return how many changes a stored trial has seen; None for other objects."""
        trial = self._trials.get(getattr(obj, "uid", obj))
        return None if trial is None else int(trial.metadata.get("_update_count", 0))

    def get_previous_version_tag(self, obj: Any) -> int:
        """Return the trial's count before the last `smart_reload`; 0 when there was none."""
        return self._tags.get(getattr(obj, "uid", obj), 0)


def load_database(json_name: str | None) -> LocalStorage:
    """Return the state that a file holds; an empty one for None or a file that does not exist.

    Raises
    ------
    CorruptJournal
        The file is no track file, or of a newer version. It is left untouched.
    """
    storage = LocalStorage(json_name)
    if json_name is not None:
        read_snapshot(json_name, storage)
    return storage
