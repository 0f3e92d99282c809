"""Make and load runs and artifacts."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from track.em.artifact import Artifact
from track.em.folders import is_alternative_name
from track.em.item import Item
from track.em.run import Run
from track.em.session import current_store, find_store
from track.em.store import Store, checked_strategy, download, remote_entry
from track.em.texts import read_mapping
from track.errors import CorruptJournal, NothingThere, UploadFailed
from track.shown import bounded, shown

logger = logging.getLogger(__name__)
_Item = TypeVar("_Item", bound=Item)


def create_run(  # noqa: PLR0917 - the published signature
    config_path: str | None = None,
    name: str = "default",
    hparams: Mapping[str, Any] | None = None,
    labels: Sequence[str] | None = None,
    description: str = "",
    auto_upload: bool = False,
    folder: str = "default",
    make_folder: bool = False,
    conflict_strategy: str = "new",
    *,
    folder_path: str | None = None,
) -> Run:
    """Return a new run, which has begun; its directory is in ``EM_RUN_PARENT_DIR``, ``.em/runs`` by default.

    What the program prints is kept in its ``stdout.log``, too, unless ``EM_CAPTURE_STDOUT`` is 0.

    Parameters
    ----------
    config_path: str, optional
        A YAML file with any of the other arguments; what it says wins.
    hparams: dict, optional
        The first hyperparameters.
    auto_upload: bool
        Whether to upload it now, and again in the background whenever it has changed; needs `login`.
    folder, make_folder, conflict_strategy:
        For the upload, as for `Run.upload`. In a configured store the first part of the folder is the project of
        the trial, the rest the group.
    folder_path: str, optional
        The same as `folder`.

    Raises
    ------
    ValueError
        The name cannot be a folder's, there is no such strategy, or the file is no YAML or has an unknown key.
    TypeError
        An argument is of another kind.
    FileNotFoundError
        There is no such config file.
    NotLoggedIn, UploadConflict, NothingThere
        With `auto_upload`, as for `Run.upload`.

    Examples
    --------
    >>> run = create_run(name="cnn_keras", hparams={"batch_size": 32, "epochs": 1})
    >>> run.hparams.batch_size
    32
    >>> run.finish()
    """
    folder = folder if folder_path is None else folder_path
    given: dict[str, Any] = {
        "name": name, "hparams": hparams, "labels": labels, "description": description, "auto_upload": auto_upload,
        "folder": folder, "make_folder": make_folder, "conflict_strategy": conflict_strategy,
    }  # fmt: skip
    if config_path is not None:
        given |= _read_config(config_path, given)
    target = _checked_target(given)
    if given["auto_upload"]:
        current_store()
    run = Run.create(given["name"], given["hparams"], given["labels"], given["description"], given["folder"])
    if given["auto_upload"]:
        _upload_or_finish(run, target)
    return run


def _checked_target(given: Mapping[str, Any]) -> tuple[str, bool, str]:
    for name in ("auto_upload", "make_folder"):
        if given[name] not in (True, False):
            raise TypeError(f"{name} is True or False, not {shown(given[name])}")
    if not isinstance(given["folder"], str):
        raise TypeError(f"a folder is a str, not {type(given['folder']).__name__}")
    return given["folder"], bool(given["make_folder"]), checked_strategy(given["conflict_strategy"])


def _upload_or_finish(run: Run, target: tuple[str, bool, str]) -> None:
    try:
        run.upload_from_now_on(*target)
    except BaseException as error:
        # Nobody will have the run to finish it.
        run.finish(type(error), error, error.__traceback__)
        raise


def _read_config(path: str, known: Mapping[str, Any]) -> dict[str, Any]:
    try:
        found = read_mapping(path)
    except FileNotFoundError as error:
        called = bounded(repr(path))
        raise FileNotFoundError(f"there is no config file {called}; a name is given as name={called}") from error
    except CorruptJournal as error:
        # Somebody wrote it by hand: nothing stored is damaged.
        raise ValueError(str(error)) from error
    found.pop("kind", None)
    if "folder_path" in found:
        found["folder"] = found.pop("folder_path")
    unknown = sorted(found.keys() - known.keys())
    if unknown:
        raise ValueError(f"{path} has an unknown key {shown(unknown[0])}; the keys are: {', '.join(known)}")
    return found


def create_artifact(name: str, labels: Sequence[str] | None = None, description: str = "") -> Artifact:
    """Return a new, empty artifact; its directory is in ``EM_ARTIFACT_PARENT_DIR``, ``.em/artifacts`` by default.

    Raises
    ------
    ValueError
        The name cannot be a folder's.

    Examples
    --------
    >>> create_artifact(name="tensorboard_logs").objects
    []
    """
    return Artifact.create(name, labels, description)


def load_run(
    path: str,
    auto_upload: bool = False,
    folder: str = "default",
    make_folder: bool = False,
    conflict_strategy: str = "new",
) -> Run:
    """Return a run out of its directory, or else out of the store that was logged in to.

    Parameters
    ----------
    path: str
        A directory; or a path in the store, from which it is downloaded into the folder of runs. ``/<user>/`` is
        put before one without a slash at the beginning.
    auto_upload, folder, make_folder, conflict_strategy:
        As for `create_run`.

    Raises
    ------
    NothingThere
        There is no run in either (a RuntimeError).
    CorruptArtifact
        What the store has is damaged.
    """
    target = (folder, make_folder, checked_strategy(conflict_strategy))
    run = _load(path, Run)
    if auto_upload:
        run.upload_from_now_on(*target)
    return run


def load_artifact(path: str) -> Artifact:
    """Return an artifact out of its directory, or else out of the store that was logged in to; see `load_run`.

    Raises
    ------
    NothingThere
        There is no artifact in either (a RuntimeError).
    CorruptArtifact
        What the store has is damaged.
    """
    return _load(path, Artifact)


def _load(path: str, cls: type[_Item]) -> _Item:
    store, path = find_store(), os.fspath(path)
    if not os.path.isdir(path):
        if store is None:
            raise NothingThere(f"{path!r} is no directory of this machine; to look for it in a store, call login first")
        return _fetch(store, path, cls)
    try:
        return cls.load(path)
    except NothingThere as here:
        if store is None or not store.is_path(path):
            raise
        try:
            return _fetch(store, path, cls)
        except NothingThere as there:
            raise NothingThere(f"{here}; {there}") from there


def _fetch(store: Store, path: str, cls: type[_Item]) -> _Item:
    found, node = download(store, store.absolute(path), cls.kind, cls.parent())
    loaded = cls.load(found)
    if node is not None:
        loaded.remember(remote_entry(store.host, node, "download", loaded.state))
    return loaded


def upload(path: str, folder: str = "default", make_folder: bool = False, conflict_strategy: str = "new") -> None:
    """Upload the run or artifact in a directory, or all of those that are in directories directly below it.

    Parameters
    ----------
    path: str
        A directory.
    folder, make_folder, conflict_strategy:
        As for `Run.upload`.

    Raises
    ------
    NotLoggedIn
        Call `login` first.
    NothingThere
        There is no run and no artifact.
    UploadFailed
        Of several, some could not be uploaded; the others were.
    """
    current_store()
    target = (folder, make_folder, checked_strategy(conflict_strategy))
    one = _loaded(path)
    if one is not None:
        one.upload(*target)
        return
    below = [os.path.join(path, name) for name in sorted(os.listdir(path))] if os.path.isdir(path) else []
    named = [found for found in below if is_alternative_name(os.path.basename(found))]
    several = [found for found in named if Artifact.is_in(found) or Run.is_in(found)]
    if not several:
        raise NothingThere(f"{path!r} holds no run and no artifact, and there is none directly below it")
    failed = [f"{os.path.basename(found)}: {error}" for found in several if (error := _try_upload(found, target))]
    if failed:
        raise UploadFailed(f"{len(failed)} of {len(several)} are not uploaded: {'; '.join(failed)}")


def _loaded(folder: str) -> Item | None:
    kinds: tuple[type[Item], ...] = (Artifact, Run)
    return next((kind.load(folder) for kind in kinds if kind.is_in(folder)), None)


def _try_upload(folder: str, target: tuple[str, bool, str]) -> Exception | None:
    try:
        found = _loaded(folder)
        if found is not None:
            found.upload(*target)
    except (OSError, RuntimeError, ValueError) as error:
        logger.warning("%s is not uploaded: %s", folder, error)
        return error
    return None
