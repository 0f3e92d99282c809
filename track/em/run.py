"""Runs: one execution of a program, and what it says of itself while it goes on."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from track.em.capture import OutputLog, is_wanted
from track.em.environment import git_facts, platform_facts
from track.em.errors import RunFinished
from track.em.folders import checked_labels, checked_name, make_directory, run_parent, timestamp
from track.em.metrics import ALIASES
from track.em.record import RunRecord, is_configured
from track.em.runend import RunEnd
from track.em.runupload import UploadedRun
from track.logger import TrialLogger
from track.persistence.decisions import final_status
from track.structure import Status

__all__ = ["Run"]

logger = logging.getLogger(__name__)

_Log = Callable[[Mapping[str, Any], Any, Any], tuple[float, ...]]
_Record = Callable[[Mapping[str, Any], tuple[float, ...], Any, Any], None]


class Run(UploadedRun):
    """A run of a program: `track.em.create_run` makes one.

    What is logged is in files of its directory when the call returns. Where a store is configured
    (``TRACK_LOG_BACKEND_NAME``), the run is a trial in it, too.

    Parameters
    ----------
    metadata: dict
        At least ``name``; more of what `to_dict` gives. A directory that is not there is made.
    hparams, platform, git: dict, optional
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

    def __init__(
        self,
        metadata: Mapping[str, Any],
        hparams: Mapping[str, Any] | None = None,
        metrics: Mapping[str, list[dict[str, Any]]] | None = None,
        platform: Mapping[str, Any] | None = None,
        git: Mapping[str, Any] | None = None,
    ) -> None:
        self._pid = os.getpid()
        self._has_begun = False
        self._folder = "default"
        self._streams: dict[str, tuple[_Log, _Record | None]] = {}
        self._output: OutputLog | None = None
        self._ending: RunEnd | None = None
        super().__init__(metadata, hparams, metrics, platform, git)

    @classmethod
    def create(
        cls, name: str, hparams: Mapping[str, Any] | None, labels: Sequence[str] | None, description: str, folder: str
    ) -> Run:
        """Return a new run, in a new directory, that has begun."""
        fields = {"name": checked_name(name), "labels": checked_labels(labels), "description": description}
        local = make_directory(run_parent(), name)
        metadata = {**fields, "alternative_name": os.path.basename(local), "local": local}
        run = None
        try:
            run = cls(metadata, hparams, None, platform_facts(), git_facts())
            run._folder = folder
            if is_wanted():
                run._output = OutputLog(run._files.log_path)
                run._files.list_log()
            run._begin()
        except BaseException:
            # There never was such a run.
            if run is not None:
                run._end_output()
            shutil.rmtree(local, ignore_errors=True)
            raise
        return run

    def __repr__(self) -> str:
        return f"<Run {self._alternative_name!r}, {self._status}, in {self._local}>"

    def parse_from_dict(self, data: Mapping[str, Any]) -> None:
        """Become what `to_dict` gave; what else the data hold is kept.

        Raises
        ------
        ValueError
            It is no run's.
        """
        with self._lock:
            super().parse_from_dict(data)
            # The files may be others now.
            self._streams.clear()

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
            if is_configured():
                facts = {"run": {"local": self._local}, "platform": self._platform, "git": self._git}
                fields: dict[str, Any] = {"description": self._description or None, "metadata": facts}
                fields |= {"tags": dict.fromkeys(self._labels, True), "parameters": self._hparams.as_dict()}
                self._record = RunRecord(self._name, self._alternative_name, self._folder, **fields)
            self._ending = RunEnd(self)

    def _changed(self) -> None:
        self._begin()
        if self._record is not None:
            self._record.set_params(self._hparams)
            self._record.set_labels(self._labels)
            self._record.set_facts(description=self._description, associations=self.associations)
        self._notify()

    def update(self, new_params: Any = (), override: bool = True, **kwargs: Any) -> None:
        """Set hyperparameters: ``run.hparams.update(...)``."""
        self._hparams.update(new_params, override, **kwargs)

    # logging

    def log(self, type: str, metrics: Mapping[str, float], step: int, epoch: int | None = None) -> None:
        """Record metrics at a step; any thread may call it.

        Parameters
        ----------
        type: str
            ``"train"`` (``training``), ``"val"`` (``validate``, ``validation``), ``"test"`` (``testing``, ``eval``,
            ``evaluate``, ``evaluation``), or a type of one's own.
        metrics: dict
            Number by name; arrays and tensors of one element are numbers.
        step: int
        epoch: int, optional

        Raises
        ------
        TypeError
            A value is no number, or the step no whole one; nothing is recorded.
        RunFinished
            The run has ended (a RuntimeError).
        """
        # A type that cannot be a key is no type either.
        stream = self._streams.get(type) if isinstance(type, str) else None
        append, record = stream if stream is not None else self._open_stream(type)
        values = append(metrics, step, epoch)
        if record is not None:
            record(metrics, values, step, epoch)
        uploader = self._uploader
        if uploader is not None:
            uploader.notify()

    def _open_stream(self, kind: str) -> tuple[_Log, _Record | None]:
        if not isinstance(kind, str):
            raise TypeError(f"the type of metrics is a str, not {type(kind).__name__}")
        with self._lock:
            if self.has_finished:
                raise RunFinished(f"run {self._alternative_name!r} has ended: nothing can be logged any more")
            self._begin()
            name = ALIASES.get(kind, kind)
            record = None if self._record is None else self._record.metrics(name)
            self._streams[kind] = (self._files.open_metrics(name).append, record)
            return self._streams[kind]

    # lineage

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

    # the end

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
                self._record.keep(artifact.name, artifact.local)
            self._record.finish(*exception)
        self._end_upload()
        if self._ending is not None:
            self._ending.close()

    def _end_output(self) -> None:
        if self._output is not None:
            self._output.close()
            self._output = None

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        # A forked child that leaves the block of its parent says nothing about the run.
        if self._pid == os.getpid() and not self.has_finished:
            self.finish(exc_type, exc_val, exc_tb)
