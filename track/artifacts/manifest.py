"""Which artifacts trials have: by name, by version, by digest."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec

from track.artifacts.artifact import Artifact
from track.artifacts.keys import SPECIFIC, split_uri
from track.artifacts.location import in_order, places_of, protocol_of
from track.containers.columns import hashable
from track.errors import InvalidCall, InvalidQuery, NotFound, suggestion
from track.naming import named, owners_of, with_uids
from track.structure import Trial

logger = logging.getLogger(__name__)


class _Line(msgspec.Struct):
    name: str
    uri: str
    digest: str | None = None
    size: int | None = None
    at: float | None = None
    step: Any = None
    media: dict[str, Any] | None = None


def artifacts(source: Any, query: Any = None) -> list[Artifact]:
    """Return what trials have logged, oldest first.

    Parameters
    ----------
    source: str, TrackClient, TrialLogger or Protocol
        A store.
    query: mapping or str, optional
        Which trials, or the name of one, as for `track.fetch`. Versions are numbered among the artifacts that are
        returned.

    Examples
    --------
    >>> from track import TrackClient
    >>> trial = TrackClient("file://runs.json").new_trial(parameters={})
    >>> logged = trial.log_artifact(b"weights", "model.bin")
    >>> [(found.name, found.size, found.version) for found in artifacts("file://runs.json")]
    [('model.bin', 7, 0)]
    """
    protocol = protocol_of(source)
    asked = protocol if isinstance(source, str) else _asked(source)
    is_name = isinstance(query, str)
    trials = [named(asked, query)] if is_name else asked.brief_trials(with_uids(query, owners_of(asked)))
    found = (_of_line(line, trial, protocol) for trial in trials for line in trial.artifacts)
    return _number(sorted(filter(None, found), key=lambda artifact: artifact.at))


def artifacts_in(source: Any, trial: Trial) -> list[Artifact]:
    """Return what the manifest of a trial of a store names, oldest first, without versions."""
    protocol = protocol_of(source)
    return [found for line in trial.artifacts if (found := _of_line(line, trial, protocol)) is not None]


def artifacts_of(trial: Trial) -> list[Artifact]:
    """Return what the manifest of a trial that was read names, oldest first, without versions."""
    found = (_of_line(line, trial, None) for line in trial.artifacts)
    return [artifact for artifact in found if artifact is not None]


def _of_line(line: Any, trial: Trial, protocol: Any) -> Artifact | None:
    """Return the artifact that a line of a trial's manifest says; None, with a warning, where it is none."""
    try:
        said = msgspec.convert(line, _Line)
    except msgspec.ValidationError as error:
        logger.warning("the trial %s names an artifact that is none, which is left out: %s", trial.uid, error)
        return None
    recorded = split_uri(said.uri)[0]
    places = in_order(*trial.places, recorded) if protocol is None else places_of(protocol, recorded)
    fields = (said.name, said.uri, said.digest, said.size, said.at or 0.0)
    more = {"step": hashable(said.step), "media": said.media}
    return Artifact(*fields, trial=trial.uid, project=trial.project_id, _places=places, **more)


def _number(found: Iterable[Artifact]) -> list[Artifact]:
    """Return artifacts with their versions: a content keeps the number it got first."""
    known: dict[tuple[Any, str], dict[str, int]] = {}
    numbered = []
    for artifact in found:
        contents = known.setdefault((artifact.project, artifact.name), {})
        version = contents.setdefault(artifact.digest or artifact.uri, len(contents))
        numbered.append(replace(artifact, version=version))
    return numbered


def versions(source: Any, name: str, project: str | None = None) -> list[Artifact]:
    """Return the contents that a name has had, each as it was logged last, first version first.

    Raises
    ------
    NotFound
        Nothing has this name.
    InvalidQuery
        Several projects have it, and `project` does not say which.
    """
    latest = {artifact.version or 0: artifact for artifact in _named(source, name, project)}
    return [latest[version] for version in sorted(latest)]


def find(source: Any, name: str, project: str | None = None, trial: str | None = None) -> Artifact:
    """Return one artifact.

    Parameters
    ----------
    source: str, TrackClient, TrialLogger or Protocol
        A store; a trial's logger looks in its own project.
    name: str
        ``model`` is what was logged last, of a trial's logger what that trial has logged last, if it has;
        ``model:latest`` what was logged last by any trial, ``model:v3`` the fourth content of this name,
        ``model@9f86d081`` the one whose digest begins so. Numbers follow the time of logging, so a content that
        arrives late, from a process that was offline, may move them: a digest is certain.
    project: str, optional
        Needed where several projects have the name.
    trial: str, optional
        Only what this trial has logged: its uid, the beginning of it, its name, ``@last``, ``@best:loss``, as for
        `track.fetch`.

    Raises
    ------
    NotFound
        Nothing has this name, or not this version.
    InvalidQuery
        Several projects have it, and `project` does not say which.
    AmbiguousName
        Several trials go by the name that `trial` is.
    """
    try:
        found = _named(source, name, project, trial)
        # What others have logged meanwhile is not what this trial means.
        own = [artifact for artifact in found if artifact.trial == _uid_of(source)]
        return (own or found)[-1]
    except NotFound:
        match = SPECIFIC.fullmatch(name)
        if match is None:
            raise
    found = _named(source, match["name"], project, trial)
    for artifact in reversed(found):
        if match["latest"] or _is_meant(artifact, match["version"], match["digest"]):
            return artifact
    last = max(artifact.version or 0 for artifact in found)
    raise NotFound(f"no artifact {name!r}: there " + (f"are v0 to v{last}" if last else "is only v0"))


def _uid_of(source: Any) -> str | None:
    """Return which trial asks; None where a store does."""
    return None if getattr(source, "has_started", None) is None else source.trial.uid


def _is_meant(artifact: Artifact, version: str | None, digest: str | None) -> bool:
    if version is not None:
        return artifact.version == int(version)
    return digest is not None and (artifact.digest or "").startswith(digest)


def _named(source: Any, name: str, project: str | None, trial: str | None = None) -> list[Artifact]:
    if not isinstance(name, str):
        raise InvalidCall(f"an artifact goes by its name, as in 'model.bin' or 'model.bin:v0', not by {name!r}")
    whose = None if trial is None else named(_asked(source), trial)
    if whose is not None:
        project = whose.project_id
    elif project is None and getattr(source, "has_started", None) is not None:
        project = source.trial.project_id
    query = {} if project is None else {"project_id": project}
    known = [artifact for artifact in artifacts(source, query) if whose is None or artifact.trial == whose.uid]
    found = [artifact for artifact in known if artifact.name == name]
    if not found:
        where = "" if project is None else f" in project {project!r}"
        where = where if whose is None else f" of trial {trial!r}"
        raise NotFound(f"no artifact {name!r}{where}{suggestion(name, {artifact.name for artifact in known})}")
    projects = sorted({str(artifact.project) for artifact in found})
    if len(projects) > 1:
        raise InvalidQuery(f"several projects have an artifact {name!r}: say which of {', '.join(projects)}")
    return found


def _asked(source: Any) -> Any:
    """Return the backend of a store, or what it is itself."""
    protocol = protocol_of(source)
    return protocol if isinstance(source, str) else getattr(source, "protocol", source)
