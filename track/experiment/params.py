"""What the files of an experiment say: the keys of ``params.yml`` and ``defaults.yml``, in their order."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from track.experiment.times import NAMES
from track.parameters import Parameter, as_data, restored
from track.utils.files import open_regular
from track.yaml12 import Commented, load_mapping

logger = logging.getLogger(__name__)
NAME, DEFAULTS = "params.yml", "defaults.yml"
_SPECIAL = ("_root", "_status", "_purpose", "_notes", "_user", "_host", "_timestamps", "_messages", "_version", "_meta")
TRIAL = "_trial"
# As other versions of the original have called them.
_GIT = {
    "local_path": "local", "remote_url": "remote", "hash": "commit", "git_local": "local", "git_remote": "remote",
    "git_commit": "commit", "git_branch": "branch",
}  # fmt: skip


def to_content(
    experiment: Any,
    parameters: Mapping[str, Any],
    trial: str | None,
    meta: Mapping[str, Any] | None = None,
    version: Mapping[str, Any] | None = None,
) -> Commented:
    """Return what a file says of an experiment; with `meta` and `version` that is a ``defaults.yml``."""
    if meta is not None:
        content: dict[str, Any] = {"_user": meta["user"], "_host": meta["host"], "_version": version, "_meta": meta}
        if experiment._timestamps.get("created"):
            content["_created"] = experiment._timestamps["created"]
    else:
        content = {name: getattr(experiment, name) for name in _SPECIAL}
        content["_timestamps"] = {name: experiment._timestamps.get(name) for name in NAMES}
        content["_notes"] = list(experiment._notes) or None
        content["_purpose"] = experiment._purpose or None
        if trial is not None:
            content[TRIAL] = trial
    lines = {name: found.line for name, found in type(experiment)._params.items() if not name.startswith("_")}
    content |= {name: as_data(value) for name, value in parameters.items()}
    return Commented({name: as_data(value) for name, value in content.items()}, lines)


def from_content(
    content: Mapping[str, Any], known: Mapping[str, Parameter]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parameters in a file, of the types that their defaults have, and what is special in it."""
    parameters: dict[str, Any] = {}
    special: dict[str, Any] = {}
    for name, value in content.items():
        if not isinstance(name, str):
            logger.debug("the key %r is no parameter", name)
        elif name.startswith("_"):
            special[name] = value
        elif name in known:
            parameters[name] = restored(value, known[name].default)
        else:
            logger.debug("there is no parameter %r: it is not read", name)
    return parameters, _as_now(special)


def _as_now(special: dict[str, Any]) -> dict[str, Any]:
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
