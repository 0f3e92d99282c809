"""TensorBoard as a sink: event files that ``tensorboard --logdir`` shows."""

from __future__ import annotations

import errno
import importlib
import io
import itertools
import os
import re
import secrets
import shutil
import socket
import struct
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from track.containers.columns import LARGEST
from track.errors import InvalidUri, missing_extra
from track.persistence.sink import SinkProtocol
from track.persistence.utils import mask_secrets, read_options, uri_path
from track.plain import digits, named_tags, nearest_double, restore, utf8
from track.shown import text_of
from track.structure import CustomStatus, Status, Trial

__all__ = ["TensorBoardProtocol", "run_name"]


class TensorBoardProtocol(SinkProtocol):
    """Writes an event file a trial, each in a folder of its own.

    Parameters
    ----------
    uri: str
        ``tensorboard:runs``, ``tensorboard:///data/runs``: the folder that ``tensorboard --logdir`` is given.

    Raises
    ------
    MissingExtra
        tensorboardX is not installed.
    InvalidUri
        The URI names no folder.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        read_options(uri, {})
        folder = uri_path(uri)
        if not folder:
            raise InvalidUri(f"{mask_secrets(uri)!r} should name a folder, as in tensorboard:runs")
        self.folder = os.path.abspath(folder)
        try:
            self._tensorboard: Any = importlib.import_module("tensorboardX")
            for name in ("proto.event_pb2", "record_writer", "summary"):
                importlib.import_module(f"tensorboardX.{name}")
        except ImportError as error:
            raise missing_extra("'tensorboard:' needs tensorboardX", "tensorboard") from error

    def run_open(self, trial: Trial) -> Any:
        """Begin an event file, with the trial's parameters, tags and metadata as texts."""
        return self._begun(trial, os.path.join(self.folder, run_name(trial)))

    def _begun(self, trial: Trial, folder: str, at: float | None = None) -> _Run:
        run = _Run(self._tensorboard, folder, at)
        facts = {"parameters": trial.parameters, "tags": named_tags(trial.tags), "metadata": trial.metadata}
        for kind, values in facts.items():
            self.run_facts(run, kind, values)
        return run

    def run_numbers(self, run: Any, values: dict[str, Any], step: Any) -> None:
        """Write scalars; those without a step, or with one that is no integer of 64 bits, are numbered."""
        for name, value in values.items():
            run.write_number(name, value, step)

    def run_facts(self, run: Any, kind: str, values: dict[str, Any]) -> None:
        plain = {name: restore(value) for name, value in values.items()}
        for name, value in plain.items():
            run.write_text(f"{kind}/{name}", digits(value) if type(value) is int else text_of(value))
        if kind == "parameters":
            run.parameters.update(plain)

    def run_status(self, run: Any, status: Status | CustomStatus, error: str | None) -> None:
        run.write_text("status", str(status.name))
        if error is not None:
            run.write_text("error", error)

    def run_flush(self, run: Any) -> None:
        """Do nothing: what was written is in the file."""

    def run_end(self, run: Any) -> None:
        """Write the table of parameters and numbers that the page *HParams* shows, and close the file."""
        run.end()

    def export(
        self, trial: Trial, metrics: Iterable[tuple[str, Any, Any, Any]], media: Iterable[tuple[Any, Any]] = ()
    ) -> None:
        """Write the event file of a trial that is stored elsewhere, all of it at the times at which it was logged.

        Its folder is there once it is whole.

        Parameters
        ----------
        metrics: iterable of (name, steps, values, times)
            Values that are no numbers are left out.
        media: iterable of (medium, content)
            Bytes of an image or a sound, a text, or a histogram.
        """
        shown = {name: value for name, value in trial.metadata.items() if not name.startswith("_")}
        folder = os.path.join(self.folder, run_name(trial))
        part = f"{folder}.{secrets.token_hex(4)}.part"
        stamps = trial.timestamps
        run = self._begun(replace(trial, metadata=shown), part, stamps.get("created"))
        try:
            for name, steps, values, times in metrics:
                for step, value, at in zip(steps, values, times, strict=True):
                    if isinstance(value, (int, float)):
                        run.write_number(name, value, step, at or None)
            for medium, content in media:
                run.write_medium(medium, content)
            run.at = stamps.get("finished") or run.at
            self.run_status(run, trial.status, "\n".join(map(str, trial.errors)) or None)
            self.run_end(run)
            os.replace(part, folder)
        except BaseException:
            run.close()
            shutil.rmtree(part, ignore_errors=True)
            raise


def run_name(trial: Trial) -> str:
    """Return the folder of a trial: its name as far as a file may be called so, and the beginning of its uid.

    Examples
    --------
    >>> run_name(Trial("0123456789ab", 1, name="../first try"))
    'first_try-01234567_1'
    """
    name = re.sub(r"[^\w.-]+", "_", trial.name or "")[:80].strip("._-")
    return f"{name}{name and '-'}{trial.hash[:8]}_{trial.revision}"


class _Run:
    """One trial's event file; the file is written here, the records are made by tensorboardX.

    Its own writer hands them to a thread: what is lost by a kill would be many seconds, and a full disk would stop the
    training once the thread has died of it.
    """

    def __init__(self, tensorboard: Any, folder: str, at: float | None = None) -> None:
        self._tensorboard = tensorboard
        self._folder = folder
        self._file: io.FileIO | None = None
        self.at = at
        """When that was which has no time of its own, unix seconds; None for now."""
        self.parameters: dict[str, Any] = {}
        self._kinds: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._writing = threading.RLock()
        self._write(file_version="brain.Event:2")

    def write_number(self, name: str, value: Any, step: Any, at: float | None = None) -> None:
        """Write one number, which was logged at a time, unix seconds: by default now."""
        # Not tensorboardX's own: it logs a warning at every NaN.
        self._write_value(name, "number", step, at, simple_value=nearest_double(value))

    def write_text(self, name: str, text: str) -> None:
        """Write one text, which is shown as it is and not as Markdown."""
        indented = "\n".join(f"    {line}" for line in text.split("\n"))
        self._write_value(f"{name}/text_summary", "text", 0, None, **self._text(indented))

    def write_medium(self, medium: Any, content: Any) -> None:
        """Write an image, a sound, a histogram, or a text, which is Markdown here."""
        summary = self._tensorboard.summary
        made: dict[str, Any]
        match medium.kind:
            case "text":
                made = self._text(content)
            case "histogram":
                made = {"histo": _counted(summary.HistogramProto, content)}
            case "audio":
                facts = {"sample_rate": _fact(medium, "rate"), "content_type": utf8(medium.type)}
                made = {"audio": summary.Summary.Audio(encoded_audio_string=content, **facts)}
            case _:
                facts = {word: _fact(medium, word) for word in ("width", "height")}
                made = {"image": summary.Summary.Image(encoded_image_string=content, **facts)}
        self._write_value(medium.name, medium.kind, medium.step, medium.at or None, **made)

    def _write_value(self, name: str, kind: str, step: Any, at: float | None, **value: Any) -> None:
        with self._writing:
            tag = self._tag(name, kind)
            if type(step) is not int or not -LARGEST <= step < LARGEST:
                step = self._counts.get(tag, 0)
                self._counts[tag] = step + 1
            summary = self._tensorboard.summary.Summary
            self._write(at, step=step, summary=summary(value=[summary.Value(tag=tag, **value)]))

    def _text(self, text: str) -> dict[str, Any]:
        (made,) = self._tensorboard.summary.text("", utf8(text)).value
        return {"tensor": made.tensor, "metadata": made.metadata}

    def _tag(self, name: str, kind: str) -> str:
        """Return the name of something in TensorBoard, where all of one name are of one kind."""
        tag = utf8(name)
        while self._kinds.setdefault(tag, kind) != kind:
            tag = f"{tag} ({kind})"
        return tag

    def end(self) -> None:
        """Close the file; what comes later goes to another one beside it."""
        with self._writing:
            simple = {name: _simple(value) for name, value in self.parameters.items()}
            numbers = [tag for tag, kind in self._kinds.items() if kind == "number"]
            for summary in self._tensorboard.summary.hparams(simple, dict.fromkeys(sorted(numbers))):
                self._write(summary=summary)
            self.close()

    def close(self) -> None:
        """Close the file as it is."""
        with self._writing:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _write(self, at: float | None = None, **event: Any) -> None:
        at = self.at if at is None else at
        record = self._record(time.time() if at is None else at, **event)
        with self._writing:
            if self._file is None:
                self._file = self._open()
            size = self._file.tell()
            if self._file.write(record) != len(record):
                # What follows half a record could not be read.
                self._file.truncate(size)
                self._file.seek(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._file.name)

    def _record(self, at: float, **event: Any) -> bytes:
        made = self._tensorboard.proto.event_pb2.Event(wall_time=at, **event)
        data = made.SerializeToString()
        length = struct.pack("<Q", len(data))
        first, second = map(self._tensorboard.record_writer.masked_crc32c, (length, data))
        return b"".join((length, struct.pack("<I", first), data, struct.pack("<I", second)))

    def _open(self) -> io.FileIO:
        os.makedirs(self._folder, exist_ok=True)
        # A name of its own: files of two processes, or of one second, never meet.
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{next(_counter)}"
        return io.FileIO(os.path.join(self._folder, name), "x")


_counter = itertools.count()
_EXACT = 2**53


def _fact(medium: Any, word: str) -> int:
    """Return a number that is known of a medium; 0 for none: who writes to a store has said it."""
    found = medium.facts.get(word)
    return found if type(found) is int and 0 <= found < 2**31 else 0


def _counted(proto: Any, found: Any) -> Any:
    """Return a histogram as TensorBoard keeps it: sums are those of the middles of its bins."""
    middles = [(low + high) / 2 for low, high in itertools.pairwise(found.edges)]
    counts = list(map(nearest_double, found.counts))
    pairs = list(zip(middles, counts, strict=True))
    return proto(
        min=found.edges[0],
        max=found.edges[-1],
        num=sum(counts),
        sum=sum(middle * count for middle, count in pairs),
        sum_squares=sum(middle * middle * count for middle, count in pairs),
        bucket_limit=found.edges[1:],
        bucket=counts,
    )


def _simple(value: Any) -> bool | float | int | str:
    is_exact = not isinstance(value, int) or abs(value) <= _EXACT
    if isinstance(value, (bool, float, int)) and is_exact:
        return value
    return digits(value) if isinstance(value, int) else utf8(text_of(value))
