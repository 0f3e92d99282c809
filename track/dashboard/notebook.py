"""The page inside of a notebook: one document in a frame that reaches nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from track.client import TrackClient
from track.dashboard.onefile import Written, written
from track.dashboard.source import Source, loose, stored
from track.errors import InvalidCall
from track.logger import TrialLogger
from track.reading import Trials, open_to_read
from track.shown import shown
from track.structure import Trial

_LIMIT = 2_000_000
_FEW = 500


class Shown:
    """The page of some trials, as a notebook shows it.

    Parameters
    ----------
    made: Written
        The page as a document.
    height: int
        Pixels.
    """

    def __init__(self, made: Written, height: int) -> None:
        self._made = made
        self._height = height

    def __repr__(self) -> str:
        return f"<page of {self._made.runs:,} trials, {self._made.note}>"

    def _repr_html_(self) -> str:
        style = f"width: 100%; height: {self._height}px; border: 1px solid #8884; border-radius: 8px"
        document = escape(self._made.html)
        return f'<iframe title="trials" sandbox="allow-scripts" style="{style}" srcdoc="{document}"></iframe>'

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file, which any browser opens."""
        with open(path, "w", encoding="utf-8") as file:
            file.write(self._made.html)


def show(trials: Any, *, height: int = 640, limit: int = _LIMIT) -> Shown:
    """Return the page of trials, as a notebook shows it: table, charts, comparison and each run's page.

    Everything is in the notebook: it asks no server, so it works on a hub, in VS Code and in what ``nbconvert`` makes,
    and still does when it is opened a year later. Long curves are thinned until all has room, which the page says.

    Parameters
    ----------
    trials: Trials, Trial, TrialLogger, TrackClient, str, or several trials
        A client or a URI stands for all trials of its store. Of trials that a store is known of, the page has what is
        stored by now.
    height: int
        Pixels.
    limit: int
        Bytes of the page, at most. Where not all trials have room, it has the newest.

    Raises
    ------
    InvalidCall
        These are no trials, or a number is none.

    Examples
    --------
    >>> from track import TrackClient
    >>> client = TrackClient("ephemeral:", environment="none")
    >>> with client.new_trial(parameters={"lr": 0.1}) as trial:
    ...     trial.log_metrics(step=1, loss=0.5)
    >>> page = show(client)
    >>> page._repr_html_()[:57]
    '<iframe title="trials" sandbox="allow-scripts" style="wid'
    """
    for name, value in (("height", height), ("limit", limit)):
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise InvalidCall(f"{name}={shown(value)} is no number of {'pixels' if name == 'height' else 'bytes'}")
    try:
        return Shown(written(_source(trials), limit), height)
    except ValueError as error:
        raise InvalidCall(str(error)) from error


def _source(trials: Any) -> Source:
    if isinstance(trials, str):
        protocol = open_to_read(trials)
        return stored(protocol, protocol.brief_trials())
    if isinstance(trials, TrackClient):
        return stored(trials.protocol, trials.protocol.brief_trials())
    if isinstance(trials, TrialLogger):
        return stored(trials.protocol, trials.protocol.brief_trials({"uid": trials.trial.uid}))
    some: Sequence[Any] = (
        [trials] if isinstance(trials, Trial) else list(trials) if isinstance(trials, Iterable) else [trials]
    )
    some = [one.trial if isinstance(one, TrialLogger) else one for one in some]
    for one in some:
        if not isinstance(one, Trial):
            raise InvalidCall(f"{shown(one)} is no trial: show(track.fetch('file://report.json'))")
    store = trials._store if isinstance(trials, Trials) else None
    if store is None:
        return loose(list({trial.uid: trial for trial in some}.values()))
    uids = {trial.uid for trial in some}
    query = {"uid": {"$in": list(uids)}} if len(uids) <= _FEW else None
    return stored(store, [trial for trial in store.brief_trials(query) if trial.uid in uids])
