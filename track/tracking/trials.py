"""Results as trials: each key a trial without parameters, in any track store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from track.aggregators.aggregator import METADATA_AGGREGATOR
from track.client import TrackClient
from track.errors import NotFound
from track.logger import TrialLogger
from track.persistence.utils import mask_secrets
from track.plain import restore, to_plain
from track.structure import Project, Trial
from track.tracking.base import KeyType, ResultTracker, ResultType, checked_results
from track.tracking.files import FsspecResultTracker
from track.versioning import compute_hash

_RESULTS = "results"
# Parameters of the method that logs metrics: results of these names are in the map only.
_TAKEN = ("step", "aggregator")


class TrackResultTracker(ResultTracker):
    """Keeps the results of each key in a trial of that name, beside all other trials of the store.

    The whole map is the trial's metadata ``results``, replaced in one step. Its numbers are the trial's metrics,
    too, so that reports, queries and data frames show them; a number that a later `put` leaves out keeps its last
    value there.

    Parameters
    ----------
    uri_or_client: str or TrackClient
        A store.
    project: str
        The project of the trials; trackers of different projects do not see each other's keys.

    Examples
    --------
    >>> tracker = TrackResultTracker("file://runs.json")
    >>> tracker[1] = {"l2norm/mean": 1.2}
    >>> tracker["1"]
    {'l2norm/mean': 1.2}
    """

    def __init__(self, uri_or_client: str | TrackClient, project: str = "results") -> None:
        if not isinstance(uri_or_client, (str, TrackClient)):
            raise TypeError(f"a store is a URI or a TrackClient, not {type(uri_or_client).__name__}")
        if not isinstance(project, str):
            raise TypeError(f"a project's name is a str, not {type(project).__name__}")
        if not project:
            raise ValueError("a project needs a name")
        client = TrackClient(uri_or_client) if isinstance(uri_or_client, str) else uri_or_client
        self.protocol = client.protocol
        self._project = Project(name=project)
        self._is_created = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.protocol!r}, project={self._project.name!r})"

    def put(self, key: KeyType, /, **results: ResultType) -> None:
        """Store the results under ``str(key)``, in place of those that were there.

        Raises
        ------
        TypeError
            The key is no int and no str; or a result is no number and no text.
        ValueError
            The key is empty; or a text is longer than 1,024 bytes.
        """
        name, values = _checked_key(key), checked_results(results)
        # A result is no run: it may have been computed anywhere.
        trial = TrialLogger(self._stored(name), self.protocol, environment=False)
        with trial:
            trial.log_metadata(None, **{_RESULTS: to_plain(values)})
            numbers = {
                name: value for name, value in values.items() if name not in _TAKEN and not isinstance(value, str)
            }
            if numbers:
                trial.log_metrics(numbers, aggregator=METADATA_AGGREGATOR)

    def get(self, key: KeyType) -> dict[str, ResultType]:
        found = self._found(self._trial(_checked_key(key)))
        return {} if found is None else _results_of(found)

    def keys(self, prefix: str = "") -> Iterator[str]:
        yield from (key for key, _ in self.items(prefix))

    def items(self, prefix: str = "") -> Iterator[tuple[str, dict[str, ResultType]]]:
        found = self.protocol.fetch_trials({"project_id": self._project.uid})
        ours = [trial for trial in found if trial.hash == self._trial(str(trial.name)).hash]
        for trial in sorted(ours, key=lambda trial: str(trial.name)):
            if str(trial.name).startswith(prefix):
                yield str(trial.name), _results_of(trial)

    def _found(self, wanted: Trial) -> Trial | None:
        """Return the stored trial of a key; None where there is none, or it was deleted."""
        return next(iter(self.protocol.fetch_trials({"hash": wanted.hash})), None)

    def _trial(self, name: str) -> Trial:
        # The project is part of the identity: the same key in two projects is two trials.
        return Trial(compute_hash("result", self._project.uid, key=name), name=name, project_id=self._project.uid)

    def _stored(self, name: str) -> Trial:
        wanted = self._trial(name)
        found = self._found(wanted)
        if found is not None:
            return found
        if not self._is_created:
            self.protocol.get_project(self._project) or self.protocol.new_project(self._project)
            self._is_created = True
        # Those of results that were deleted stay taken.
        taken = self.protocol.revisions(wanted.hash)
        found = self._found(wanted) if taken else None
        if found is not None:
            return found
        wanted.revision = max(taken, default=-1) + 1
        stored = self.protocol.new_trial(wanted)
        if stored is None:
            # Somebody else was faster.
            return self.protocol.get_trial(wanted)[0]
        self.protocol.confirm_project(self._project, stored)
        return stored


def import_results(
    tracker_base: str | os.PathLike[str], uri_or_client: str | TrackClient, project: str = "results"
) -> TrackResultTracker:
    """Copy a folder of results into a store, a trial each; again changes nothing but what has changed.

    Parameters
    ----------
    tracker_base: path or URL
        As for `FsspecResultTracker`; files of torchx are the same.

    Raises
    ------
    NotFound
        There are no results.
    CorruptJournal
        A file holds something else.

    Examples
    --------
    >>> FsspecResultTracker("old").put("attempt_1/out", accuracy=0.233)
    >>> import_results("old", "file://runs.json")["attempt_1/out"]
    {'accuracy': 0.233}
    """
    source = FsspecResultTracker(tracker_base)
    keys = list(source)
    if not keys:
        raise NotFound(f"there are no results in {mask_secrets(os.fspath(tracker_base))!r}: nothing is imported")
    target = TrackResultTracker(uri_or_client, project)
    known = dict(target.items())
    for key in keys:
        results = source[key]
        if key not in known or repr(known[key]) != repr(results):
            target.put(key, **results)
    return target


def _checked_key(key: Any) -> str:
    if not isinstance(key, (int, str)):
        raise TypeError(f"a key is an int or a str, not {type(key).__name__}")
    if key == "":
        raise ValueError("'' cannot be a key: it names nothing")
    return str(key)


def _results_of(trial: Trial) -> dict[str, ResultType]:
    plain: dict[str, ResultType] = restore(trial.metadata.get(_RESULTS) or {})
    return plain
