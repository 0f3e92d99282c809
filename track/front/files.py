"""One trial's files: what it made, what it used, and the code it ran."""

from __future__ import annotations

import errno
import functools
import logging
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from track.errors import BackendUnavailable, FileChanged, InvalidEvent
from track.shown import cut

if TYPE_CHECKING:
    from typing_extensions import Self

    from track.artifacts import Artifact, Recorder
    from track.persistence.protocol import Protocol
    from track.structure import Trial

logger = logging.getLogger(__name__)
Result = TypeVar("Result")
Given = ParamSpec("Given")
_SHOWN = 5
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def _said_when_out_of_files(verb: Callable[Given, Result]) -> Callable[Given, Result]:
    """Let a process that may open no more files train on: the artifact is missing, and that is said."""

    @functools.wraps(verb)
    def guarded(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        try:
            return verb(*args, **kwargs)
        except OSError as error:
            trial: Any = args[0]
            if error.errno not in (errno.EMFILE, errno.ENFILE) or trial.protocol.raises:
                raise
            texts = [str(given) for given in (*kwargs.values(), *args[:0:-1]) if isinstance(given, (str, os.PathLike))]
            return cast(Result, trial._not_stored(texts[0] if texts else "code", error))

    return guarded


def _tell_left_out(skipped: dict[str, str], name: str) -> None:
    for path, reason in list(skipped.items())[:_SHOWN]:
        logger.warning("%s is not in the artifact %r: it %s", path, name, reason)
    if len(skipped) > _SHOWN:
        text = "%s files in all are not in the artifact %r: its left_out() names them"
        logger.warning(text, f"{len(skipped):,}", name)


class FileVerbs:
    """The verbs of a trial that are about files; `TrialLogger` has them.

    What is stored is named in the trial's manifest, and the same bytes are stored once over all trials. A store
    that is full or away does not raise: it is said at once, and recorded in the trial's metadata
    (``artifacts_not_stored``).
    """

    protocol: Protocol
    code: str | None

    if TYPE_CHECKING:

        def _created(self) -> Trial: ...

        def log_metadata(self, /, aggregator: Any = None, **kwargs: Any) -> None:
            """Record facts about the trial; see `TrialLogger`."""

    @_said_when_out_of_files
    def log_file(
        self, file_name: str | os.PathLike[str], name: str | None = None, *, step: Any = None
    ) -> Artifact | None:
        """Store a file as it is now, and return its artifact; None where the store is full or away.

        Parameters
        ----------
        file_name: path
            A link is followed.
        name: str, optional
            What to call it, folders with ``/`` allowed; the file's own name by default. A name that was
            logged before gets another version.
        step: any hashable value, optional
            That of the metrics to which it belongs, as in `log_metrics`.

        Raises
        ------
        FileNotFoundError, PermissionError
            There is no such file, or it may not be read.
        UnsafePath
            It is a folder, a device or a pipe; or the name is absolute or climbs.

        Examples
        --------
        >>> from pathlib import Path
        >>> from track import TrackClient
        >>> _ = Path("model.txt").write_text("weights")
        >>> trial = TrackClient("file://runs.json").new_trial(parameters={})
        >>> trial.log_file("model.txt").size
        7
        """
        from track.artifacts import artifact_name, check_file

        path = os.fsdecode(file_name)
        chosen = artifact_name(path, name)
        check_file(path)
        return self._file(chosen, lambda recorder: recorder.add_file(path, chosen), step)

    @_said_when_out_of_files
    def log_directory(
        self, name: str | os.PathLike[str], recursive: bool = False, artifact: str | None = None, *, step: Any = None
    ) -> Artifact | None:
        """Store the files of a folder as one artifact, and return it; None where the store is full or away.

        Parameters
        ----------
        name: path
            The folder. Links to files in it are those files; links that leave it, devices and files that
            cannot be read, or are gone before they are, are left out, with a warning, and named in the listing
            (`Artifact.left_out`). The files of the store itself, in ``log_directory(".")``, are no part of it.
        recursive: bool
            Whether the folders in it belong to it; by default only its own files do.
        artifact: str, optional
            What to call it; the folder's own name by default.
        step: any hashable value, optional
            That of the metrics to which it belongs, as in `log_metrics`.

        Raises
        ------
        FileNotFoundError, PermissionError, UnsafePath
            There is no such folder, or it may not be read.
        """
        from track.artifacts import artifact_name, check_folder

        path = os.fsdecode(name)
        chosen = artifact_name(path, artifact)
        check_folder(path)
        stored = self._file(chosen, lambda recorder: recorder.add_directory(path, recursive, chosen), step)
        if stored is None:
            return None
        _tell_left_out(stored[1].skipped, chosen)
        if not stored[1].entries:
            way_out = "" if recursive else "; recursive=True takes its folders too"
            logger.warning("no file is in the artifact %r%s", chosen, way_out)
        return stored[0]

    @_said_when_out_of_files
    def log_artifact(
        self, content: bytes | str | os.PathLike[str], name: str | None = None, *, step: Any = None
    ) -> Artifact | None:
        """Store a file, a folder with all that is in it, or bytes; or name data that stays where it is.

        Parameters
        ----------
        content: path, URL or bytes
            A URL, such as ``s3://bucket/data.parquet`` or ``file:///data/train.csv``, is recorded with
            the size and the etag that its place tells; the data is not copied.
        name: str, optional
            What to call it; needed for bytes, else the last part of the path by default.
        step: any hashable value, optional
            That of the metrics to which it belongs, as in `log_metrics`: the checkpoint of an epoch.

        Raises
        ------
        FileNotFoundError, PermissionError, UnsafePath
            As for `log_file` and `log_directory`.
        InvalidEvent
            Bytes have no name.
        NotFound
            Nothing is at the URL.
        """
        from track.artifacts import artifact_name

        if isinstance(content, (bytes, bytearray, memoryview)):
            if name is None:
                raise InvalidEvent("bytes have no name of their own: log_artifact(data, 'model.bin')")
            data, chosen = bytes(content), artifact_name(name, name)
            return self._file(chosen, lambda recorder: recorder.add_bytes(data, chosen), step)
        path = os.fspath(content)
        if _URL.match(path):
            chosen = artifact_name(path, name)
            return self._file(chosen, lambda recorder: recorder.add_reference(path, chosen), step)
        if isinstance(path, str) and not os.path.lexists(path):
            way_out = "No such file; what is text is given as bytes: log_artifact(text.encode(), 'notes.txt')"
            raise FileNotFoundError(errno.ENOENT, way_out, cut(path, 100))
        if os.path.isdir(path):
            return self.log_directory(path, recursive=True, artifact=name, step=step)
        return self.log_file(path, name, step=step)

    def use_artifact(self, name: str | Artifact, project: str | None = None) -> Artifact:
        """Return an artifact of the project, and record in the metadata (``uses``) that this trial used it.

        Parameters
        ----------
        name: str or Artifact
            ``model``, ``model:latest``, ``model:v3`` or ``model@9f86d081``; see `track.artifacts.find`. Or what that
            returned.
        project: str, optional
            Another project.

        Raises
        ------
        NotFound
            There is no such artifact.
        """
        from track.artifacts import Artifact, find

        artifact = name if isinstance(name, Artifact) else find(self, name, project)
        used = {name: getattr(artifact, name) for name in ("name", "version", "digest", "uri", "trial")}
        trial = self._created()
        self.protocol.refresh(trial)
        known = list(trial.metadata.get("uses") or ())
        if used not in known:
            self.log_metadata(uses=[*known, used])
        return artifact

    def log_code(self) -> Self:
        """Store the script that runs, or the cells of a notebook, and what git knows of it.

        The script's text is in `code` and stored as ``code/<its name>``; in a notebook, or in IPython, what was run in
        this session as ``code/cells.py``, with all that was typed there. Where there is neither, as at the prompt of
        Python, that is said. In a git repository the metadata (``code``) has the commit, the branch, the remote with
        its password masked and the names of files that git does not know, and changes that are not committed are
        stored as ``code/uncommitted.diff``, up to 16 MiB; of more only the size is recorded, and said.
        """
        self._log_code()
        return self

    @_said_when_out_of_files
    def _log_code(self) -> None:
        from track.artifacts import describe_code

        found = describe_code()
        if found is None:
            logger.warning("log_code finds no script or notebook cells to store: this is no program in a file")
            return
        self.code = found.content.decode("utf-8", "replace")
        self.log_metadata(code=found.facts)
        self.log_artifact(found.content, f"code/{found.name}")
        if found.difference:
            self.log_artifact(found.difference, "code/uncommitted.diff")

    def _file(
        self,
        name: str,
        action: Callable[[Recorder], Result],
        step: Any = None,
        media: dict[str, Any] | None = None,
    ) -> Result | None:
        from track.artifacts import Recorder

        trial = self._created()
        recorder = Recorder(self.protocol, trial, step, media)
        try:
            stored = action(recorder)
        except (BackendUnavailable, FileChanged, OSError) as error:
            if self.protocol.raises:
                raise
            self._not_stored(name, error)
            return None
        missing = trial.metadata.get("artifacts_not_stored") or {}
        if name in missing:
            self._tell_missing({other: reason for other, reason in missing.items() if other != name})
        return stored

    def _not_stored(self, name: str, error: Exception) -> None:
        logger.warning("the artifact %r is not stored: %s", name, error)
        self._tell_missing({**(self._created().metadata.get("artifacts_not_stored") or {}), name: str(error)})

    def _tell_missing(self, missing: dict[str, str]) -> None:
        self._created().metadata["artifacts_not_stored"] = missing
        self.log_metadata(artifacts_not_stored=dict(missing))

    def _tell_not_stored(self) -> None:
        """Say at the end of a trial which of its artifacts are missing."""
        trial = getattr(self, "_trial", None)
        names = list(trial.metadata.get("artifacts_not_stored") or ()) if trial is not None else []
        if names:
            count = "1 artifact" if len(names) == 1 else f"{len(names)} artifacts"
            shown = ", ".join(map(repr, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")
            logger.warning("%s could not be stored: %s; the metadata artifacts_not_stored says why", count, shown)
