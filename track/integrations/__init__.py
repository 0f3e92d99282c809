"""One line in a training that a framework runs: a module for each framework, which imports it; nothing else does."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from track.logger import TrialLogger

__all__ = ["current_trial"]


def current_trial() -> TrialLogger | None:
    """Return the trial whose block the program is in, in this thread or task; None outside of any.

    Examples
    --------
    >>> from track import TrackClient
    >>> with TrackClient("ephemeral:").new_trial(name="first", parameters={}):
    ...     current_trial().label
    'first'
    """
    from track.front import innermost_block

    trial: TrialLogger | None = innermost_block()
    return trial
