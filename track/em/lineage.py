"""What went into a run and what came out of it."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from track.em.artifact import Artifact
from track.em.store import Store
from track.shown import shown

logger = logging.getLogger(__name__)
_KINDS = ("Model", "Dataset", "Branch", "Tag", "Commit")


class Lineage:
    """The inputs and outputs of a run, as its metadata have them: artifacts, and what other systems keep.

    An artifact that only the metadata name is looked for in the folders `near`: anybody may have written them.
    """

    def __init__(self, associations: Mapping[str, Any] | None, near: Sequence[str]) -> None:
        self._near = [os.path.realpath(folder) for folder in near]
        self._all: dict[str, list[dict[str, str]]] = copy.deepcopy(dict(associations or {}))
        for side in ("inputs", "outputs"):
            self._all[side] = [dict(entry) for entry in self._all.get(side) or ()]
        self._live: dict[str, Artifact] = {}

    def as_dict(self) -> dict[str, list[dict[str, str]]]:
        """Return a copy of all of it."""
        return copy.deepcopy(self._all)

    def mark(self, side: str, resource: Any) -> bool:
        """Add a resource to a side, or return False; TypeError where it can be none, ValueError where it is on both."""
        entry = _described(resource)
        other = "outputs" if side == "inputs" else "inputs"
        if any(_is_same(entry, known) for known in self._all[other]):
            raise ValueError(f"{entry['type']} {shown(entry['name'])} is among the {other} of this run already")
        if isinstance(resource, Artifact):
            self._live[resource.alternative_name] = resource
        if any(_is_same(entry, known) for known in self._all[side]):
            return False
        self._all[side].append(entry)
        return True

    def made_here(self) -> list[Artifact]:
        """Return the artifacts that came out and are on this machine, as they are now."""
        found = (self._artifact(entry) for entry in self._all["outputs"])
        return [artifact for artifact in found if artifact is not None]

    def send_artifacts(self, store: Store, folder: str, make_folder: bool, strategy: str) -> None:
        """Upload the artifacts that are not in the store as they are now, and note where each is."""
        for entry in [*self._all["inputs"], *self._all["outputs"]]:
            artifact = self._artifact(entry)
            if artifact is None:
                continue
            path = artifact.path_in(store)
            if path is None:
                node = artifact.send(store, folder, make_folder, strategy)
                path = node.path if node is not None else None
            if path is not None:
                entry["path"] = path

    def _artifact(self, entry: Mapping[str, str]) -> Artifact | None:
        if entry.get("type") != "Artifact":
            return None
        live = self._live.get(entry.get("alternative_name", ""))
        if live is not None and live.is_in(live.local):
            live.refresh()
            return live
        local = entry.get("local", "")
        if not os.path.isabs(local) or not Artifact.is_in(local):
            return None
        if os.path.dirname(os.path.realpath(local)) not in self._near:
            logger.warning(
                "the artifact in %s is left out: it is not in EM_ARTIFACT_PARENT_DIR, nor in the folder 'artifacts' "
                "beside the runs; upload it by itself",
                local,
            )
            return None
        return Artifact.load(local)


def _described(resource: Any) -> dict[str, str]:
    if isinstance(resource, Artifact):
        names = {"name": resource.name, "alternative_name": resource.alternative_name, "local": resource.local}
        return {"type": "Artifact", **names}
    kind = getattr(resource, "kind", None) or type(resource).__name__
    kind = str(kind).capitalize() if str(kind).capitalize() in _KINDS else type(resource).__name__
    found = {name: getattr(resource, name, None) for name in ("name", "path", "id")}
    known = {name: str(value) for name, value in found.items() if value is not None}
    if kind not in _KINDS or not known:
        raise TypeError(f"{shown(resource)} is no Artifact, Model, Dataset, Branch, Tag or Commit: it cannot be marked")
    return {"type": kind, "name": next(iter(known.values())), **known}


def _is_same(entry: Mapping[str, str], known: Mapping[str, str]) -> bool:
    keys = ("type", "alternative_name") if "alternative_name" in entry else ("type", "name", "path", "id")
    return all(entry.get(key) == known.get(key) for key in keys)
