"""What the files of an experiment say: the keys of ``params.yml`` and ``defaults.yml``, in their order."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from track.experiment.times import NAMES
from track.parameters import Parameter, as_data, restored
from track.utils.files import open_regular
from track.yaml12 import Commented, load_mapping

logger = logging.getLogger(__name__)
NAME, DEFAULTS = "params.yml", "defaults.yml"
SPECIAL = ("_root", "_status", "_purpose", "_notes", "_user", "_host", "_timestamps", "_messages", "_version", "_meta")
TRIAL = "_trial"
_NAMES = {*SPECIAL, TRIAL, "_name", "_created"}
_NUMBERS = ("bool", "int", "float")
# As other versions of the original have called them.
_GIT = {
    "local_path": "local", "remote_url": "remote", "hash": "commit", "git_local": "local", "git_remote": "remote",
    "git_commit": "commit", "git_branch": "branch",
}  # fmt: skip


def to_content(experiment: Any, trial: str | None, more: Mapping[Any, Any]) -> Commented:
    """Return what the ``params.yml`` of an experiment says, and `more`."""
    special = {name: getattr(experiment, name) for name in SPECIAL}
    special["_timestamps"] = {name: experiment._timestamps.get(name) for name in NAMES}
    special["_notes"] = list(experiment._notes) or None
    special["_purpose"] = experiment._purpose or None
    if trial is not None:
        special[TRIAL] = trial
    return _commented(experiment, special, more)


def to_defaults(experiment: Any, meta: Mapping[str, Any], version: Mapping[str, Any]) -> Commented:
    """Return what a ``defaults.yml`` says of an experiment: who made it, where, and the parameters."""
    special = {"_user": meta["user"], "_host": meta["host"], "_version": version, "_meta": meta}
    if experiment._timestamps.get("created") is not None:
        special["_created"] = experiment._timestamps["created"]
    return _commented(experiment, special, {})


def _commented(experiment: Any, special: Mapping[str, Any], more: Mapping[Any, Any]) -> Commented:
    lines = {name: found.line for name, found in type(experiment)._params.items() if not name.startswith("_")}
    content = {**special, **experiment._parameters(), **more}
    comments = {**comments_in(more), **lines}
    return Commented({name: as_data(value) for name, value in content.items()}, comments)


def comments_in(content: Mapping[Any, Any]) -> dict[Any, str]:
    """Return the comments of what was read from a file; none of anything else."""
    return content.comments if isinstance(content, Commented) else {}


class Loaded(NamedTuple):
    """What a file of parameters says."""

    parameters: dict[str, Any]
    """Of the types that their defaults have."""
    special: dict[str, Any]
    """As it is called today."""
    more: Commented
    """What nobody here knows: it is kept, as the parameters of an earlier version of a program are, with comments."""


def from_content(content: Mapping[Any, Any], known: Mapping[str, Parameter]) -> Loaded:
    """Return what a file says to a class with these parameters."""
    loaded, comments = Loaded({}, {}, Commented()), comments_in(content)
    for name, value in content.items():
        if name in _NAMES:
            loaded.special[name] = value
        elif name in known:
            loaded.parameters[name] = found = restored(value, known[name].default)
            if isinstance(found, str) and known[name].type in _NUMBERS:
                logger.warning("the parameter %s is a text in the file, %r, and no %s", name, found, known[name].type)
        else:
            logger.debug("there is no parameter %r: it is not read", name)
            loaded.more[name] = value
            if name in comments:
                loaded.more.comments[name] = comments[name]
    return loaded._replace(special=as_now(loaded.special))


def as_now(special: dict[str, Any]) -> dict[str, Any]:
    """Return what is special as it is written today."""
    name = special.pop("_name", None)
    if name is not None and special.get("_root"):
        special["_root"] = os.path.join(str(special["_root"]), str(name))
    created = special.pop("_created", None)
    timestamps = {str(key): value for key, value in _mapping(special.get("_timestamps")).items()}
    if created is not None:
        timestamps.setdefault("created", created)
    notes = special.get("_notes")
    return {
        **special,
        "_purpose": special.get("_purpose") or "",
        "_notes": [] if notes is None else list(notes) if isinstance(notes, list) else [str(notes)],
        "_messages": {str(key): value for key, value in _mapping(special.get("_messages")).items()},
        "_timestamps": timestamps,
        "_version": _version_as_now(_mapping(special.get("_version"))),
        "_meta": _mapping(special.get("_meta")),
    }


def _mapping(value: Any) -> dict[Any, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _version_as_now(version: dict[Any, Any]) -> dict[Any, Any]:
    flat = {_GIT[key]: version.pop(key) for key in list(version) if key in _GIT and str(key).startswith("git_")}
    git = {_GIT.get(key, key): value for key, value in _mapping(version.get("git")).items()} | flat
    return {**version, "git": git} if git else version


def load_file(path: str) -> Commented:
    """Return what is in a file of parameters; IncompatibleYmlException where it is none."""
    with open_regular(path) as opened:
        return load_mapping(opened.readall() or b"", path)
