"""Runs of other trackers, read from what they have written and stored as trials: with their times, steps and ends."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from track.errors import BackendUnavailable, InvalidCall, InvalidUri, MissingExtra, NotFound, NothingThere, suggestion
from track.importing.report import Report
from track.importing.runs import UNREADABLE, Run
from track.importing.sources import SOURCES, is_server, runs_of, way_from
from track.importing.writing import Target
from track.persistence.protocol import Protocol
from track.persistence.registry import get_protocol
from track.persistence.utils import mask_secrets
from track.reading import open_to_read

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")

__all__ = ["SOURCES", "Report", "import_runs"]


def import_runs(source: str, path: str | os.PathLike[str], to: str | Protocol, *, dry_run: bool = False) -> Report:
    r"""Store the runs of another tracker as trials, and return what was taken of them and what was not.

    A run has an alias, which is made of what the tracker calls it: one that is stored is not stored again, and one
    whose import was broken off is completed. Passwords, tokens and keys are masked.

    Parameters
    ----------
    source: str
        Whose runs they are: one of `SOURCES`.
    path: str or path
        The folder or file that the tracker has written. Nothing outside of it is read, and nothing in it is changed.
        Of sacred it may be the URI of a database, ``mongodb://host/database``, which is read only.
    to: str or Protocol
        The store, as it is given to `TrackClient`.
    dry_run: bool
        Whether everything is read and counted, and nothing is stored.

    Raises
    ------
    InvalidCall
        There is no such source, or the path is a URI.
    NothingThere
        The path does not exist, or no run is there.
    MissingExtra
        Reading it needs a package that is not installed; it is named.
    BackendUnavailable
        The server of a database cannot be reached, or is gone while it is read: what was stored until then is
        completed when the import is run again.

    Examples
    --------
    >>> from pathlib import Path
    >>> size = Path("runs.csv").write_text("run,step,loss\nfirst,0,0.5\nfirst,1,0.25\n")
    >>> report = import_runs("csv", "runs.csv", "ephemeral:")
    >>> report.taken["trials"], report.taken["points"]
    (1, 2)
    """
    if source not in SOURCES:
        known = ", ".join(SOURCES)
        raise InvalidCall(f"there is no source {source!r}{suggestion(source, SOURCES)}; these are: {known}")
    given = os.fspath(path)
    shown = given
    if _URI.match(given) and not os.path.exists(given):
        place, shown = given, mask_secrets(given)
        if not is_server(source, given):
            raise InvalidCall(f"{shown} is no path, and files are what is read: {way_from(source)}")
    else:
        place = os.path.realpath(given)
        if not os.path.exists(place):
            raise NothingThere(f"{given} does not exist")
    report = Report(source, shown, dry_run)
    target = Target(source, _opened(to, dry_run), report)
    try:
        found = 0
        for run in _readable(runs_of(source, place, report), report):
            target.take(run)
            found += 1
        if not found and not report.damages:
            raise NothingThere(f"no run of {source} is in {shown}: give {SOURCES[source]}")
        target.commit()
    finally:
        if not isinstance(to, Protocol):
            target.close()
    return report


def _readable(runs: Iterator[Run], report: Report) -> Iterator[Run]:
    """Yield the runs, up to where a source is damaged in a way that its reader did not foresee."""
    try:
        yield from runs
    except (NothingThere, MissingExtra, InvalidUri, BackendUnavailable):
        raise
    except UNREADABLE as error:
        report.damage(f"cannot be read on ({type(error).__name__})", str(error))


def _opened(to: str | Protocol, dry_run: bool) -> Any:
    """Return the store; None where nothing is written and it is not there."""
    if isinstance(to, Protocol):
        return to
    if not dry_run:
        return get_protocol(to)
    try:
        return open_to_read(to)
    except NotFound:
        return None
