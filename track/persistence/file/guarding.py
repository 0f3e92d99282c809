"""What other programs do to the files of a store: they remove, replace, empty and mix them, and nothing may be lost."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from track.persistence.file.folding import Folding
from track.persistence.file.journal import Journal
from track.persistence.file.kinship import Kin, head_of, kinship, replaced_in_use
from track.persistence.file.replaying import Replay
from track.persistence.state import put_aside_points
from track.utils.files import keep_aside, stamp_of

logger = logging.getLogger(__name__)


class Guard:
    """Sees whether the files are still those that this process knows, and goes on where they are not."""

    def __init__(self, known: Replay, journal: Journal, folding: Folding) -> None:
        self._known = known
        self._journal = journal
        self._folding = folding

    # before this process writes

    def start_afresh(self) -> None:
        """Put a journal aside that was left behind when somebody deleted the snapshot."""
        path, journal = self._known.path, self._journal
        if self._known.is_left_behind() and (left := journal.put_aside()):
            journal.close()
            logger.warning("%s was deleted: the store begins afresh; its old journal is kept as %s", path, left)
        if not (os.path.exists(path) or os.path.exists(journal.path)):
            for left in put_aside_points(path):
                logger.warning("%s was deleted: the store begins afresh; its points are kept as %s", path, left)

    def part_from_stranger(self) -> None:
        """Put a journal aside that does not go on from the snapshot.

        Raises BackendUnavailable: it is in use, by a process that knows another snapshot.
        """
        kin = self._known.kin
        if kin.is_read and kin is not Kin.SHORT:
            return
        self._journal.close()
        if left := self._journal.put_aside():
            logger.warning("%s %s: it is kept as %s", self._journal.path, kin.value, left)
            self._known.catch_up()
        elif kin is not Kin.SHORT:
            raise replaced_in_use(self._known.path)

    # while it does

    def stay_current(self) -> None:
        """Notice that somebody removed, replaced or emptied the files of a running store."""
        journal = self._journal
        if journal.is_current and journal.is_whole:
            if not self.is_snapshot_ours():
                self._replace_other_snapshot()
            return
        with self._known.turn, journal.paused():
            self._known.catch_up()
            if journal.is_current:
                self._go_on_after_emptying()
            elif os.path.exists(journal.path) and os.path.getsize(journal.path):
                self._follow()
            else:
                logger.warning("%s was removed while in use: it is written again", journal.path)
                Path(self._known.path).parent.mkdir(parents=True, exist_ok=True)
                journal.open()
                self._folding.write_after_new_journal()

    def is_snapshot_ours(self) -> bool:
        """Return whether the snapshot, if there is one, goes with the journal, whoever has saved it."""
        known, journal = self._known, self._journal
        # Each decision asks, and an exception would cost it more than the answer.
        if known.snapshot_stamp is None and not os.access(known.path, os.F_OK):
            return True
        stamp = stamp_of(known.path)
        if stamp is None or stamp == known.snapshot_stamp:
            return True
        identity, held = head_of(known.path)
        names = [known.state.identity, *known.state.former, ""]
        kin = kinship(held, names, journal.header, journal.size, journal.fileno())
        if identity not in names or not held.id or kin not in (Kin.SAME, Kin.NEXT):
            return False
        with known.turn:
            # What it does not hold is saved again.
            known.snapshot_stamp, known.snapshot_size = stamp, stamp[1]
            known.saved_offset = held.offset if kin is Kin.SAME else journal.start
        return True

    def is_as_left(self) -> bool:
        """Return whether nobody has removed or replaced the files, as far as their names say."""
        is_there = self._known.snapshot_stamp is None or os.path.exists(self._known.path)
        return is_there and self._journal.is_current and self.is_snapshot_ours()

    def is_saved(self) -> bool:
        """Return whether the snapshot has everything that the journal has."""
        if self._journal.is_current and not self.is_snapshot_ours():
            return False
        if self._journal.size != self._known.saved_offset:
            return False
        # All files gone, and nothing logged since: somebody removed the store, and it stays removed.
        return os.path.exists(self._known.path) or not self._journal.is_current

    def _follow(self) -> None:
        lost = self._journal.follow()
        self._journal.backlog.give_up(lost)
        text = "%s was replaced by another program: its present content counts; %d events are not in it"
        logger.warning(text, self._journal.path, lost)
        self._known.catch_up()

    def _go_on_after_emptying(self) -> None:
        lines = self._journal.begin_again()
        # How many there were since the last look, nobody knows.
        self._journal.backlog.give_up(1)
        logger.warning("%s was emptied by another program: what was logged last may be lost", self._journal.path)
        self._folding.write_after_new_journal()
        for line in lines:
            self._journal.append(line)
        self._known.catch_up()

    def _replace_other_snapshot(self) -> None:
        """Write the snapshot again where another program has put a file in its place, which is kept."""
        with self._known.turn:
            path = self._known.path
            left = keep_aside(path)
            text = "%s was replaced by another program while in use: that file is kept as %s, and the store goes on"
            logger.warning(text, path, left)
            self._known.catch_up()
            self._folding.write()
