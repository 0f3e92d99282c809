"""Runs: one execution of a program, and what it says of itself while it goes on."""

from __future__ import annotations

import copy
import logging
import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from track.configuration import options
from track.em.artifact import Artifact
from track.em.containers import Params
from track.em.environment import git_facts, platform_facts
from track.em.folders import timestamp
from track.em.item import Item
from track.em.lineage import Lineage
from track.em.metrics import ALIASES
from track.em.process import OutputLog, RunEnd, is_wanted
from track.em.record import RunRecord
from track.em.runfiles import METADATA, RunFiles
from track.em.session import current_store
from track.em.store import Node, Store, checked_strategy, remote_entry
from track.em.uploader import Uploader
from track.errors import RunFinished
from track.logger import TrialLogger
from track.persistence.contract import final_status
from track.persistence.utils import names_no_store
from track.shown import cut
from track.structure import Status

logger = logging.getLogger(__name__)
_FIELDS = ("start_timestamp", "end_timestamp", "status", "associations")
_PARTS = ("hparams", "metrics", "platform", "git")
_Log = Callable[[Mapping[str, Any], Any, Any], None]


class Run(Item):
    """A run of a program: `track.em.create_run` makes one.

    What is logged is in files of its directory when the call returns. Where a store is configured
    (``TRACK_LOG_BACKEND_NAME``), the run is a trial in it, too.

    Parameters
    ----------
    metadata: dict
        At least ``name``; more of what `to_dict` gives. A directory that is not there is made.
    metrics: dict, optional
        A list of items a type, as the attribute has it.

    Examples
    --------
    >>> from track import em
    >>> with em.create_run(name="cnn", hparams={"lr": 0.1}) as run:
    ...     run.log("train", {"loss": 0.5}, step=100, epoch=1)
    >>> run.status, run.metrics["train"][0]["value"]
    ('Complete', {'loss': 0.5})
    """

    kind = "Run"
    metadata_file = METADATA

    def __init__(
        self,
        metadata: Mapping[str, Any],
        hparams: Mapping[str, Any] | None = None,
        metrics: Mapping[str, list[dict[str, Any]]] | None = None,
        platform: Mapping[str, Any] | None = None,
        git: Mapping[str, Any] | None = None,
    ) -> None:
        self._lock, self._sending = threading.RLock(), threading.RLock()
        self._pid = os.getpid()
        self._has_begun = False
        self._folder = "default"
        self._record: RunRecord | None = None
        self._uploader: Uploader | None = None
        self._is_automatic = False
        self._streams: dict[str, _Log] = {}
        self._output: OutputLog | None = None
        self._ending: RunEnd | None = None
        self._more: dict[str, Any] = {}
        self._fill(metadata, hparams, metrics, platform, git)

    def _fill(self, metadata: Mapping[str, Any], hparams: Any, metrics: Any, platform: Any, git: Any) -> None:
        self._identify(metadata, *_FIELDS)
        self._start = str(metadata.get("start_timestamp") or timestamp())
        self._end = metadata.get("end_timestamp")
        self._status = str(metadata.get("status") or "Running")
        self._lineage = Lineage(metadata.get("associations"), self._near())
        self._hparams = Params(self._hparams_changed, hparams)
        self._platform, self._git = dict(platform or {}), dict(git or {})
        self._bring_up_to_date(metrics)

    def _near(self) -> list[str]:
        """Return the folders in which the artifacts of this run may be, whatever its files say."""
        beside = os.path.join(os.path.dirname(os.path.dirname(self._local)), "artifacts")
        return [Artifact.parent(), beside]

    def _become(self, data: Mapping[str, Any]) -> None:
        with self._lock:
            self._fill(data["metadata"], *(data.get(part) for part in _PARTS))
            # What else the data hold is kept.
            self._more = {key: value for key, value in data.items() if key not in (*_PARTS, "type", "metadata")}
            # The files may be others now.
            self._streams.clear()

    @classmethod
    def create(
        cls, name: str, hparams: Mapping[str, Any] | None, labels: Sequence[str] | None, description: str, folder: str
    ) -> Run:
        """Return a new run, in a new directory, that has begun."""
        metadata = cls._new(name, labels, description)
        run = None
        try:
            run = cls(metadata, hparams, None, platform_facts(), git_facts())
            run._folder = folder
            if is_wanted():
                run._output = OutputLog(run._files.list_log())
            run._begin()
        except BaseException:
            # There never was such a run.
            if run is not None:
                run._end_output()
            shutil.rmtree(metadata["local"], ignore_errors=True)
            raise
        return run

    def __repr__(self) -> str:
        return cut(f"<Run {self._alternative_name!r}, {self._status}, in {self._local}>")

    def _bring_up_to_date(self, metrics: Mapping[str, list[dict[str, Any]]] | None) -> None:
        """Write what the files do not say already: nothing at all, when the run was read from them."""
        is_new = not self.is_in(self._local)
        os.makedirs(self._local, exist_ok=True)
        self._files = RunFiles(self._local)
        parts = {"hyperparameters": self._hparams.as_dict(), "platform": self._platform, "git": self._git}
        for part, values in parts.items():
            if is_new or _as_read(values) != self._files.read_part(part):
                self._files.write_part(part, values)
        if metrics is not None and repr(metrics) != repr(self._files.read_metrics()):
            self._files.write_metrics(metrics)
        if is_new or _as_read(self._metadata()) != self._files.read_metadata():
            self._save()
        # From now on a full disk is no reason to stop a training.
        self._files.raises = False

    def _save(self) -> None:
        self._files.write(METADATA, self._metadata())

    @property
    def start_timestamp(self) -> str:
        """When it began, ISO 8601 with offset."""
        return self._start

    @property
    def end_timestamp(self) -> str | None:
        """When it ended; None before that."""
        return self._end

    @property
    def status(self) -> str:
        """``"Running"``, ``"Complete"`` or ``"Failed"``."""
        return self._status

    @property
    def associations(self) -> dict[str, list[dict[str, str]]]:
        """What went in and what came out: ``inputs`` and ``outputs``."""
        return self._lineage.as_dict()

    @property
    def hparams(self) -> Params:
        """The hyperparameters; what is changed is in the file at once."""
        return self._hparams

    params = hparams

    @property
    def metrics(self) -> dict[str, list[dict[str, Any]]]:
        """A list of items a type, each with its ``value`` and ``sequence``; read from the files."""
        return self._files.read_metrics()

    @property
    def platform(self) -> dict[str, Any]:
        """The machine and the packages."""
        return copy.deepcopy(self._platform)

    @property
    def git(self) -> dict[str, Any]:
        """The repository and the commit; empty where there was none."""
        return copy.deepcopy(self._git)

    def _own_metadata(self) -> dict[str, Any]:
        values = (self._start, self._end, self._status, self.associations)
        return dict(zip(_FIELDS, values, strict=True))

    def _parts(self) -> dict[str, Any]:
        parts = (self._hparams.as_dict(), self.metrics, self.platform, self.git)
        return {**dict(zip(_PARTS, parts, strict=True)), **copy.deepcopy(self._more)}

    @classmethod
    def _read(cls, folder: str) -> Run:
        files = RunFiles(folder)
        hparams, platform, git = map(files.read_part, ("hyperparameters", "platform", "git"))
        return cls(cls._checked_metadata(files.read_metadata(), folder), hparams, None, platform, git)

    @property
    def has_finished(self) -> bool:
        """Whether it has ended, in this process or in an earlier one."""
        return self._status != "Running"

    @property
    def trial(self) -> TrialLogger | None:
        """The trial that this run is in the configured store; None where there is none, or before the first change."""
        return None if self._record is None else self._record.trial

    def _begin(self) -> None:
        """Become a trial, and be told of the end; at the first change of a run that was loaded."""
        with self._lock:
            if self._has_begun or self.has_finished:
                return
            self._has_begun = True
            if not names_no_store(options("log.backend.name", None)):
                facts = {"run": {"local": self._local}, "platform": self._platform, "git": self._git}
                fields: dict[str, Any] = {"description": self._description or None, "metadata": facts}
                fields |= {"tags": dict.fromkeys(self._labels, True), "parameters": self._hparams.as_dict()}
                self._record = RunRecord(self._name, self._alternative_name, self._folder, **fields)
            if options("process.hooks", True):
                self._ending = RunEnd(self)

    def _hparams_changed(self) -> None:
        self._files.write_part("hyperparameters", self._hparams.as_dict())
        self._changed()

    def _described(self) -> None:
        self._save()
        self._changed()

    def _changed(self) -> None:
        self._begin()
        if self._record is not None:
            self._record.set_params(self._hparams)
            self._record.set_labels(self._labels)
            self._record.set_facts(description=self._description, associations=self.associations)
        if self._uploader is not None:
            self._uploader.notify()

    def update(self, new_params: Any = (), override: bool = True, **kwargs: Any) -> None:
        """Set hyperparameters: ``run.hparams.update(...)``."""
        self._hparams.update(new_params, override, **kwargs)

    def log(self, type: str, metrics: Mapping[str, float], step: int, epoch: int | None = None) -> None:
        """Record metrics at a step; any thread may call it.

        Parameters
        ----------
        type: str
            ``"train"`` (``training``), ``"val"`` (``validate``, ``validation``), ``"test"`` (``testing``, ``eval``,
            ``evaluate``, ``evaluation``), or a type of one's own.
        metrics: dict
            Number by name; arrays and tensors of one element are numbers.

        Raises
        ------
        TypeError
            A value is no number, or the step no whole one; nothing is recorded.
        RunFinished
            The run has ended (a RuntimeError).
        """
        try:
            stream = self._streams[type]
        except (KeyError, TypeError):
            # A type that cannot be a key is no type either.
            stream = self._open_stream(type)
        stream(metrics, step, epoch)
        uploader = self._uploader
        if uploader is not None:
            uploader.notify()

    def _open_stream(self, kind: str) -> _Log:
        if not isinstance(kind, str):
            raise TypeError(f"the type of metrics is a str, not {type(kind).__name__}")
        with self._lock:
            if self.has_finished:
                raise RunFinished(f"run {self._alternative_name!r} has ended: nothing can be logged any more")
            self._begin()
            name = ALIASES.get(kind, kind)
            file = self._files.open_metrics(name)
            if self._record is not None:
                file.tell_to(self._record.trial, name)
            self._streams[kind] = file.append
            return file.append

    def send(self, store: Store, folder: str, make_folder: bool, strategy: str) -> Node | None:
        with self._sending:
            if not store.accepts(self._bundle(), folder, make_folder, strategy):
                logger.info("run %r is not uploaded: the name is taken in %s", self._name, folder)
                return None
            self._lineage.send_artifacts(store, folder, make_folder, strategy)
            with self._lock:
                self._save()
            if self._record is not None:
                self._record.set_facts(associations=self.associations)
            node = store.upload(self._bundle(self._files.local_files()), folder, make_folder, strategy)
            if node is not None:
                self.remember(remote_entry(store.host, node, "upload"))
            return node

    def remember(self, entry: dict[str, str]) -> None:
        with self._lock:
            # A run that is uploaded again and again is told once, with its last time.
            same_time = {"timestamp": entry["timestamp"]}
            if self._is_automatic and self._remote and {**self._remote[-1], **same_time} == entry:
                self._remote.pop()
            super().remember(entry)

    def upload_from_now_on(self, folder: str, make_folder: bool, conflict_strategy: str) -> None:
        """Upload the run now, and in the background whenever it has changed, until it finishes.

        Raises
        ------
        UploadConflict, NothingThere
            As for `upload`; a store that does not answer is tried again in the background.
        """
        store, strategy = current_store(), checked_strategy(conflict_strategy)
        self._is_automatic = True
        try:
            if self.send(store, folder, make_folder, strategy) is None:
                return
        except ConnectionError as error:
            logger.warning("%s: the upload of run %r is tried again", error, self._alternative_name)
        again = lambda: self.send(store, folder, make_folder, strategy)  # noqa: E731 - a name for a message
        self._uploader = Uploader(f"run {self._alternative_name!r}", again)
        self._uploader.notify()

    def _end_upload(self) -> None:
        uploader, self._uploader = self._uploader, None
        if uploader is not None:
            uploader.notify()
            uploader.close()

    def mark_input(self, resource: Any) -> None:
        """Note that the run reads an artifact, or a model, data set, branch, tag or commit of another system.

        Raises
        ------
        TypeError
            It is something else.
        ValueError
            It is an output of this run.
        """
        self._mark("inputs", resource)

    def mark_output(self, resource: Any) -> None:
        """Note that the run made it; see `mark_input`."""
        self._mark("outputs", resource)

    def _mark(self, side: str, resource: Any) -> None:
        with self._lock:
            if self._lineage.mark(side, resource):
                self._save()
                self._changed()

    def finish(self, *args: Any, **kwargs: Any) -> None:
        """Say that the run is complete; given the three parts of an exception, that it failed.

        What waits to be uploaded is uploaded first. A second call does nothing but warn.
        """
        exception = args[:3] if len(args) >= 3 and isinstance(args[0], type) else (None, None, None)
        with self._lock:
            if self.has_finished:
                logger.warning("run %r has finished already", self._alternative_name)
                return
            self._begin()
            self._end_output()
            is_well = final_status(*exception[:2]) is Status.Completed
            self._status, self._end = "Complete" if is_well else "Failed", timestamp()
            self._streams.clear()
            self._platform = {**self._platform, **platform_facts()}
            self._files.write_part("platform", self._platform)
            self._save()
            items, files = self._files.close()
            if items or files:
                logger.warning("%d items of metrics and %d files are not stored in %s", items, files, self._local)
        if self._record is not None:
            # A label that was appended is not told of otherwise.
            self._record.set_labels(self._labels)
            for artifact in self._lineage.made_here():
                self._record.name_artifact(artifact)
            self._record.trial.finish(*exception)
        self._end_upload()
        if self._ending is not None:
            self._ending.close()

    def _end_output(self) -> None:
        if self._output is not None:
            self._output.close()
            self._output = None

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exception: Any) -> None:
        # A forked child that leaves the block of its parent says nothing about the run.
        if self._pid == os.getpid() and not self.has_finished:
            self.finish(*exception)


def _as_read(values: Any) -> Any:
    """Return data as a file gives it back: tuples are lists there."""
    if isinstance(values, Mapping):
        return {str(key): _as_read(value) for key, value in values.items()}
    return [_as_read(value) for value in values] if isinstance(values, (list, tuple)) else values
