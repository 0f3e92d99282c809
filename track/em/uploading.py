"""Upload runs and artifacts out of their directories."""

from __future__ import annotations

import logging
import os

from track.em.artifact import Artifact
from track.em.errors import NothingThere, UploadFailed
from track.em.folders import is_alternative_name
from track.em.run import Run
from track.em.session import current_store
from track.em.store import checked_strategy

__all__ = ["upload"]

logger = logging.getLogger(__name__)


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
    several = [found for found in below if is_alternative_name(os.path.basename(found)) and _is_any(found)]
    if not several:
        raise NothingThere(f"{path!r} holds no run and no artifact, and there is none directly below it")
    failed = [f"{os.path.basename(found)}: {error}" for found in several if (error := _try_upload(found, target))]
    if failed:
        raise UploadFailed(f"{len(failed)} of {len(several)} are not uploaded: {'; '.join(failed)}")


def _is_any(folder: str) -> bool:
    return os.path.isdir(folder) and (Artifact.is_in(folder) or Run.is_in(folder))


def _loaded(folder: str) -> Run | Artifact | None:
    if Artifact.is_in(folder):
        return Artifact.load(folder)
    if Run.is_in(folder):
        run: Run = Run.load(folder)
        return run
    return None


def _try_upload(folder: str, target: tuple[str, bool, str]) -> Exception | None:
    try:
        found = _loaded(folder)
        if found is not None:
            found.upload(*target)
    except (OSError, RuntimeError, ValueError) as error:
        logger.warning("%s is not uploaded: %s", folder, error)
        return error
    return None
