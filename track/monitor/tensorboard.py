"""Summaries for TensorBoard, of variables of a loop."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from track.containers.arrays import import_numpy
from track.errors import InvalidSpec, missing_extra
from track.monitor.hooks import Hook, Watching
from track.monitor.spec import Spec
from track.plain import to_number
from track.shown import text_of

logger = logging.getLogger(__name__)
FOLDER = "summaries"
KINDS = ("image", "scalar", "histogram", "figure", "video", "text", "pr_curve", "mesh")


class TensorboardLogger(Hook):
    """Writes summaries to ``<directory>/summaries``, by step; scalars are metrics of the trial, too.

    A dictionary is a summary a key, ``<name>_<key>``; a list or tuple one an index; None is none.

    Parameters
    ----------
    type: str
        ``image``, ``scalar``, ``histogram``, ``figure``, ``video``, ``text``, ``pr_curve``, ``mesh``.
    spec: str
        Which variables, and when.
    fn: callable, optional
        What is done to a value before.
    prefix: str
        What names begin with.
    prepend: bool
        Whether names of what is in a dictionary begin with the dictionary's.
    **options
        How a batch of images becomes one: ``nrow``, ``padding``, ``normalize``, ``range``, ``scale_each``,
        ``pad_value``; of other types, what the writer's method takes.

    Raises
    ------
    InvalidSpec
        There is no such type (a NotImplementedError and a ValueError too).
    """

    writes = True

    def __init__(
        self,
        type: str,
        spec: str | Spec,
        fn: Callable[[Any], Any] | None = None,
        prefix: str = "",
        prepend: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(spec)
        if type not in KINDS:
            raise InvalidSpec(f"{type!r} is no type of summary: there are {', '.join(KINDS)}")
        self._kind, self._process, self._prefix, self._prepend, self._options = type, fn, prefix, prepend, options
        self._writer: Any = None
        self._folder: str | None = None
        self._said: set[str] = set()

    def __call__(self, var_dict: dict[str, Any], monitor: Watching) -> None:
        values: dict[str, Any] = {}
        for name, value in var_dict.items():
            values |= self._summaries(name, value if self._process is None else self._process(value))
        if self._kind == "scalar":
            monitor.log_numbers(values, self.trigger)
        if monitor.directory is None:
            self._say_once("", "no summary is written: give the monitor a directory, as in TorchMonitor('runs/first')")
            return
        for name, value in values.items():
            self._add(name, value, monitor)

    def _summaries(self, name: str, value: Any) -> dict[str, Any]:
        if isinstance(value, Mapping):
            named = {f"{name}_{text_of(key)}" if self._prepend else text_of(key): one for key, one in value.items()}
        elif isinstance(value, (list, tuple)):
            named = {f"{name}_{number}": one for number, one in enumerate(value)}
        else:
            named = {name: value}
        found = {}
        for one, part in named.items():
            if part is not None:
                try:
                    found[f"{self._prefix}{one}"] = self.make_compatible(part)
                except Exception as error:  # noqa: BLE001 - whatever a value does when it is asked; the training goes on
                    self._say_once(one, "%s is no %s: %s", one, self._kind, text_of(error))
        return found

    def make_compatible(self, v: Any) -> Any:
        """Return a value as the writer takes it: a number for a scalar, a picture for an image, else as it is.

        What is no scalar is its mean; of images ``[B, C, H, W]`` a grid is made, ``[C, H, W]`` is one image.
        """
        if callable(getattr(type(v), "detach", None)):
            v = v.detach()
        if self._kind == "scalar":
            number = to_number(v)
            return float(v.mean()) if number is None else number
        if self._kind == "image":
            return grid(_as_array(v), **self._options)
        return v.clone() if callable(getattr(type(v), "clone", None)) else v

    def _add(self, name: str, value: Any, monitor: Watching) -> None:
        if self._writer is None:
            assert monitor.directory is not None
            self._writer = _writer_in(os.path.join(monitor.directory, FOLDER))
        add = getattr(self._writer, f"add_{self._kind}")
        values = value if isinstance(value, tuple) and self._kind == "pr_curve" else (value,)
        options = {} if self._kind == "image" else self._options
        try:
            add(name, *values, global_step=monitor.step, **options)
        except Exception as error:  # noqa: BLE001 - what a writer does with a value that is none for it
            self._say_once(name, "no %s of %s is written: %s", self._kind, name, text_of(error))

    def flush(self) -> None:
        if self._writer is not None:
            self._writer.flush()

    def _say_once(self, name: str, text: str, *values: Any) -> None:
        if name not in self._said:
            self._said.add(name)
            logger.warning(text, *values)


_writers: dict[str, Any] = {}


def _writer_in(folder: str) -> Any:
    """Return the one writer of a folder in this process."""
    place = os.path.realpath(folder)
    if place not in _writers:
        _writers[place] = writer_kind()(place, flush_secs=10)
    return _writers[place]


def writer_kind() -> Any:
    """Return torch's class of writers where torch is used, else that of tensorboardX; MissingExtra without both."""
    names = ["torch.utils.tensorboard"] if "torch" in sys.modules else []
    for name in [*names, "tensorboardX"]:
        try:
            return importlib.import_module(name).SummaryWriter
        except ImportError:
            continue
    raise missing_extra("summaries need tensorboardX", "tensorboard")


def _as_array(value: Any) -> Any:
    numpy = import_numpy()
    if callable(getattr(type(value), "cpu", None)):
        value = value.cpu()
    return numpy.asarray(value)


def grid(
    images: Any,
    *,
    nrow: int = 8,
    padding: int = 2,
    normalize: bool = True,
    range: tuple[float, float] | None = None,
    scale_each: bool = True,
    pad_value: float = 0.0,
) -> Any:
    """Return one image ``[C, H, W]`` of a batch ``[B, C, H, W]``, or of one image.

    Parameters
    ----------
    images: array
        With 1 or 3 channels.
    nrow, padding: int
        Images in a row, and pixels between them, which are `pad_value`.
    normalize: bool
        Whether values are shifted and scaled to 0 ... 1, from `range` or their least and greatest, with `scale_each` of
        each image.
    """
    numpy = import_numpy()
    if images.ndim not in (3, 4):
        raise ValueError(f"an image is [C, H, W] or [B, C, H, W], not {list(images.shape)}")
    batch = images.reshape((-1, *images.shape[-3:])).astype(numpy.float32)
    if batch.shape[1] == 1:
        batch = batch.repeat(3, axis=1)
    if normalize:
        over = (1, 2, 3) if scale_each else (0, 1, 2, 3)
        least, most = range or (batch.min(over, keepdims=True), batch.max(over, keepdims=True))
        batch = ((batch - least) / numpy.maximum(most - least, 1e-5)).clip(0, 1)
    elif images.dtype.kind in "ui":
        batch /= 255
    count, channels, height, width = batch.shape
    if count == 1:
        return batch[0]
    columns = min(nrow, count)
    rows = -(-count // columns)
    size = (channels, rows * (height + padding) + padding, columns * (width + padding) + padding)
    made = numpy.full(size, pad_value, numpy.float32)
    for number, image in enumerate(batch):
        top, left = number // columns * (height + padding) + padding, number % columns * (width + padding) + padding
        made[:, top : top + height, left : left + width] = image
    return made
