"""Trials that are put into a file, and who is asked about them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from track.artifacts import artifacts_in
from track.media import Media, media_in
from track.persistence.buckets import Buckets, Question
from track.persistence.contract import points_of
from track.persistence.protocol import Protocol
from track.persistence.state import buckets_of
from track.persistence.utils import mask_secrets
from track.reading import environment_in
from track.structure import Trial
from track.utils.environment import ENVIRONMENT


@dataclass(frozen=True)
class Source:
    """Trials, and who is asked about them.

    Attributes
    ----------
    trials: sequence of Trial
        As a listing has them, oldest first.
    place: str
        What is shown as the place that they are from.
    points: callable
        Returns the points of metrics of a trial by name, of a uid and names.
    buckets: callable
        Returns the buckets of trials, of uids, a name, how many, and an x.
    group_name: callable
        Returns the name of a group by its uid.
    environment: callable
        Returns where a trial ran.
    media: callable
        Returns what a trial has logged to be looked at.
    """

    trials: Sequence[Trial]
    place: str
    points: Callable[[str, Sequence[str]], Mapping[str, Any]]
    buckets: Callable[[Sequence[str], str, int, str], Buckets]
    group_name: Callable[[Any], str]
    environment: Callable[[Trial], dict[str, Any]]
    media: Callable[[Trial], Media]


def stored(protocol: Protocol, trials: Sequence[Trial]) -> Source:
    """Return trials that a backend is asked about."""
    groups = {group.uid: str(group.name) for group in protocol.fetch_groups()}
    packages: dict[Any, Any] = {}

    def environment(trial: Trial) -> dict[str, Any]:
        # Most trials have the packages of another one: these are read once.
        recorded = trial.metadata.get(ENVIRONMENT)
        facts = dict(recorded) if isinstance(recorded, dict) else {}
        key = (trial.project_id, facts.pop("packages", None))
        if key not in packages:
            packages[key] = environment_in(protocol, trial).get("packages")
        return facts | ({"packages": packages[key]} if packages[key] else {})

    return Source(
        trials,
        _named(protocol.uri),
        protocol.fetch_points,
        protocol.fetch_buckets,
        lambda uid: groups.get(uid, str(uid)),
        environment,
        lambda trial: media_in(trial, None, artifacts_in(protocol, trial)),
    )


def loose(trials: Sequence[Trial]) -> Source:
    """Return trials that are asked themselves: nobody knows where they are from."""
    by_uid = {trial.uid: trial for trial in trials}
    return Source(
        trials,
        "",
        lambda uid, names: _points(by_uid[uid], names),
        lambda uids, name, size, x: buckets_of([by_uid[uid] for uid in uids], Question(name, size, x)),
        str,
        lambda _: {},
        lambda trial: media_in(trial, None),
    )


def _named(uri: str) -> str:
    """Return the last part of an address: who is given the file need not know the folders of this machine."""
    text = mask_secrets(uri).partition("?")[0].rstrip("/")
    return os.path.basename(text) or text


def _points(trial: Trial, names: Sequence[str]) -> dict[str, Any]:
    found = ((name, points_of(trial.metrics[name], 0)) for name in names if name in trial.metrics)
    return {name: points for name, points in found if points is not None}
