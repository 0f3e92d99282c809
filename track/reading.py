"""Read what is stored: trials by query, metrics as data frames."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

from track.errors import InvalidCall, NotFound
from track.frames import summary, to_arrow, to_pandas
from track.metrics import briefs_of, unknown_metric
from track.naming import best_of, best_stored, named, owners_of, with_uids
from track.persistence.buckets import Buckets, Question
from track.persistence.protocol import Protocol
from track.persistence.query import Query, ordered, parse_query, parse_sort
from track.persistence.registry import get_protocol
from track.persistence.state import buckets_of
from track.persistence.utils import artifact_places, file_of, is_stored, mask_secrets, store_path
from track.shown import cut
from track.structure import Status, Trial
from track.table import html_of, trials_html
from track.utils.environment import ENVIRONMENT, PACKAGES

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Trials",
    "best",
    "environment",
    "environment_in",
    "fetch",
    "open_stored",
    "open_to_read",
    "to_arrow",
    "to_pandas",
]


logger = logging.getLogger(__name__)

_SHOWN = 3


class Trials(list[Trial]):
    """Trials, with their numbers as data frames (the extra ``pandas``); a part of them, or more, are `Trials` too.

    Parameters
    ----------
    trials: iterable of Trial
    group_names: callable, optional
        Returns the names of groups by uid, for the column of a summary.
    store: Protocol, optional
        The backend that all of them were read from, which is asked for their buckets.
    """

    def __init__(
        self,
        trials: Iterable[Trial] = (),
        group_names: Callable[[], dict[str, str]] = dict,
        store: Protocol | None = None,
    ) -> None:
        super().__init__(trials)
        self._group_names = group_names
        self._store = store
        if store is not None and self:
            places = artifact_places(store.main.artifacts, store.main.file)
            for trial in self:
                trial.places = places

    def _some(self, trials: Iterable[Trial]) -> Trials:
        """Return some of these trials."""
        return Trials(trials, self._group_names, self._store)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Trial: ...
    @overload
    def __getitem__(self, index: slice) -> Trials: ...
    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return self._some(found) if isinstance(index, slice) else found

    def __add__(self, other: Any) -> Any:
        is_of_one = isinstance(other, Trials) and other._store is self._store
        return Trials([*self, *other], self._group_names, self._store if is_of_one else None)

    def filter(self, query: Any) -> Trials:
        """Return those that match a query, as `track.fetch` would.

        Raises
        ------
        InvalidQuery
            The query names an unknown attribute or operator.
        """
        parsed = parse_query(with_uids(query, self._owners), Trial)
        return self._some(filter(parsed.matches, self))

    def _owners(self, field: str) -> dict[str, str]:
        return self._group_names() if field == "group_id" else {}

    def sorted(self, by: str | Iterable[str]) -> Trials:
        """Return them in another order: equal ones stay as they are, missing values and NaN come last.

        Parameters
        ----------
        by: str or several
            A dotted attribute, as in a query: ``"metrics.loss"`` from the least, ``"-metrics.loss"`` from the
            greatest. Of several the first counts most.

        Raises
        ------
        InvalidQuery
            An attribute is unknown.
        """
        return self._some(ordered(self, parse_sort(by, Trial)))

    def best(self, metric: str, mode: str = "min", of: str = "last") -> Trial:
        """Return the best of them by a metric; see `track.best`."""
        return best_of(self, metric, mode, of)

    def copy(self) -> Trials:
        """Return another list of the same trials."""
        return self._some(self)

    def __reduce__(self) -> Any:
        return Trials, (list(self),)

    def __repr__(self) -> str:
        if len(self) <= _SHOWN:
            return f"[{', '.join(cut(repr(trial), 90) for trial in self)}]"
        return f"[{', '.join(cut(repr(trial), 90) for trial in self[:_SHOWN])}, ... ({len(self):,} trials)]"

    def _repr_html_(self) -> str:
        return html_of(lambda: trials_html(self), self)

    def to_pandas(self, *metrics: str, times: bool = False) -> pd.DataFrame:
        """Return the metrics of all trials, a row a step; see `track.to_pandas`."""
        frame: pd.DataFrame = to_pandas(self, *metrics, times=times)
        return frame

    def to_arrow(self, *metrics: str, times: bool = False) -> Any:
        """Return the metrics of all trials as a table of Arrow, a row a point; see `track.to_arrow`."""
        return to_arrow(self, *metrics, times=times)

    def summary(self) -> pd.DataFrame:
        """Return a row a trial, by uid.

        Its name, revision, status and group, when it started, its run time in seconds, its tags and parameters (nested
        ones by dotted names), and of each metric the last value, ``metrics.NAME``, and the least and the greatest,
        ``metrics.NAME.min`` and ``.max``: of the values that count, without NaN. A metric that is itself called
        ``NAME.min`` is in that column. A trial that was begun inside the block of another one has that one's uid under
        ``parent``.
        """
        frame: pd.DataFrame = summary(self, self._group_names())
        return frame

    def buckets(  # noqa: PLR0917 - as `Protocol.fetch_buckets`
        self,
        metric: str,
        buckets: int = 500,
        x: str = "step",
        start: float | None = None,
        end: float | None = None,
        smoothing: float | None = None,
    ) -> Buckets:
        """Return a metric of all trials in buckets, on one grid of x: what a chart draws of however many points.

        The store is asked, for what it has now; trials of several stores are looked at as they were fetched. See
        `Protocol.fetch_buckets` for what may be said of `x`, `start`, `end` and `smoothing`.

        Raises
        ------
        MetricNotFound
            None of the trials has the metric, or the one that `x` names, and they have others.

        Examples
        --------
        >>> from track import TrackClient
        >>> client = TrackClient("ephemeral:")
        >>> with client.new_trial(parameters={}) as trial:
        ...     for step in range(1000):
        ...         trial.log_metrics(step=step, loss=1 / (step + 1))
        >>> found = Trials([trial.trial]).buckets("loss", 2)
        >>> [round(float(value), 4) for value in found[trial.trial.uid].mean]
        [0.0136, 0.0014]
        """
        question = Question(metric, buckets, x, start, end, smoothing)
        uids = [trial.uid for trial in self]
        if self._store is None:
            found = buckets_of(self, question)
        else:
            found = self._store.fetch_buckets(uids, metric, buckets, x, start, end, smoothing)
        if found.low is None:
            self._require_metrics(question.names)
        return found

    def _require_metrics(self, names: Iterable[str]) -> None:
        """Return if one of the trials has each of these metrics, or nobody has logged any yet."""
        known = {name for trial in self for name in briefs_of(trial.metrics)}
        for name in names if known else ():
            if name not in known:
                raise unknown_metric(name, known)


def fetch(uri: str, query: Any = None, *, sort: str | Iterable[str] | None = None, limit: int | None = None) -> Trials:
    """Return the stored trials that match, oldest first. Nothing is created or locked.

    Parameters
    ----------
    uri: str
        A store, as for `TrackClient`.
    query: mapping or str, optional
        Such as ``{"parameters.lr": {"$lte": 0.01}, "status": "completed", "group": "ablation"}``; see
        `track.persistence.query`. Groups and projects go by their names. Or the name of one trial: its uid, the
        beginning of it from four characters on, ``name``, ``name/revision``, ``@last``, ``@best:loss`` (least),
        ``@best:max:acc``.
    sort: str or several, optional
        Another order: a dotted attribute, as in a query, ``"metrics.loss"`` from the least, ``"-metrics.loss"`` from
        the greatest; missing values and NaN come last. Of several the first counts most.
    limit: int, optional
        How many trials at most, the first ones in this order.

    Raises
    ------
    TrialDoesNotExist, AmbiguousName
        No trial, or several, go by this name.
    NotFound
        A file that does not exist.
    InvalidQuery
        The query names an unknown attribute or operator.

    Examples
    --------
    >>> fetch("ephemeral:", {"parameters.lr": {"$lte": 0.01}})
    []
    """
    protocol = open_to_read(uri)
    if isinstance(query, str):
        return Trials([named(protocol, query)], _names_of_groups(protocol), protocol)
    query = with_uids(query, owners_of(protocol))
    found = Trials(protocol.select_trials(query, sort, limit), _names_of_groups(protocol), protocol)
    if not found and limit != 0:
        _tell_unknown_statuses(protocol, parse_query(query, Trial))
    return found


def best(uri: str, metric: str, mode: str = "min", query: Any = None, of: str = "last") -> Trial:
    """Return the stored trial that is best by a metric: by its last value, as hyper-parameter searches have it.

    A NaN never wins, nor a trial without the metric; of equals the earliest does.

    Parameters
    ----------
    uri: str
        A store, as for `TrackClient`.
    mode: str
        ``"min"``: the least is best; ``"max"``: the greatest.
    query: mapping, optional
        Among which trials, as for `fetch`.
    of: str
        What counts of each trial: its ``"last"`` value, or its ``"min"`` or ``"max"`` of all.

    Raises
    ------
    NotFound
        No trial that matches has a number there.
    InvalidQuery
        `mode` or `of` is something else, or the query names an unknown attribute or operator.
    """
    protocol = open_to_read(uri)
    found = best_stored(protocol, metric, mode, of, with_uids(query, owners_of(protocol)))
    found.places = artifact_places(protocol.main.artifacts, protocol.main.file)
    return found


def environment(source: Any, trial: Any = None) -> dict[str, Any]:
    """Return where a trial ran, as was recorded when it last started.

    Parameters
    ----------
    source: str, TrackClient, TrialLogger or Protocol
        A store, as for `TrackClient`, or a trial's logger.
    trial: str or Trial, optional
        Any of its names, as for `fetch`, or what that returned; of a logger its own trial by default.

    Returns
    -------
    dict
        ``argv``, without what is secret in it; ``python``, its version; ``host``; ``user``; ``folder``; ``git``:
        ``commit``, ``branch``, and ``is_dirty``, which says whether a file that git knows was changed; ``packages``:
        the versions of all that were installed, by name; ``gpus``: their ``names``, and what the environment says of
        their visibility. What was not found out, or switched off (the option ``log.environment``), is not there.

    Raises
    ------
    TrialDoesNotExist, AmbiguousName
        No trial, or several, go by this name.
    InvalidCall
        The store is missing, or which trial of it is meant.

    Examples
    --------
    >>> from track import TrackClient
    >>> client = TrackClient("ephemeral:", environment="python,packages")
    >>> with client.new_trial(parameters={}) as trial:
    ...     pass
    >>> sorted(environment(client, "@last"))
    ['packages', 'python']
    """
    if isinstance(source, Trial) or (trial is None and isinstance(source, str)):
        raise InvalidCall("environment takes a store and a trial: track.environment('file://report.json', '@last')")
    protocol = open_to_read(source) if isinstance(source, str) else getattr(source, "protocol", source)
    if trial is None:
        # Of a logger; of others it is missing.
        return environment_in(protocol, source.trial)
    return environment_in(protocol, trial if isinstance(trial, Trial) else named(protocol, trial))


def environment_in(protocol: Protocol, trial: Trial) -> dict[str, Any]:
    """Return where a trial of a store ran, its packages by name; {} where that was not recorded."""
    recorded = trial.metadata.get(ENVIRONMENT)
    facts = dict(recorded) if isinstance(recorded, dict) else {}
    digest = facts.pop("packages", None)
    if digest is None:
        return facts
    name = f"{PACKAGES}{digest}"
    projects = protocol.fetch_projects({"uid": trial.project_id})
    text = next((project.metadata[name] for project in projects if name in project.metadata), "")
    packages = dict(line.partition("==")[::2] for line in str(text).splitlines())
    return facts | {"packages": packages} if packages else facts


def open_to_read(uri: str) -> Protocol:
    """Return the backend of a store that is there, and say what this machine has that is not in it yet.

    Raises
    ------
    NotFound
        A file that does not exist.
    """
    protocol = open_stored(uri)
    left_behind = protocol.left_behind()
    if left_behind:
        text = "%d events of processes that are gone are not in %s yet: `python -m track sync` sends them"
        logger.warning(text, left_behind, mask_secrets(uri))
    return protocol


def open_stored(uri: str) -> Protocol:
    """Return the backend of a URI whose store is there; nothing is created.

    Raises
    ------
    NotFound
        A file that does not exist.
    """
    if file_of(uri) is not None and not is_stored(path := store_path(uri)):
        raise NotFound(f"there is no store at {mask_secrets(uri)}: no file {os.path.realpath(path)}")
    return get_protocol(uri)


def _names_of_groups(protocol: Protocol) -> Callable[[], dict[str, str]]:
    return lambda: {one.uid: str(one.name) for one in protocol.fetch_groups()}


def _tell_unknown_statuses(protocol: Protocol, query: Query) -> None:
    """A status may have any name; one that no trial has may be a mistake."""
    for name in query.unknown_statuses():
        if not protocol.fetch_trials({"status": name}):
            known = ", ".join(str(status) for status in Status if not status.name.endswith("Group"))
            logger.warning("no trial has the status %r; those of the library are %s", name, known)
