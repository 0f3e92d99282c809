"""What a trial prints: its output is kept, and the time that is left is shown."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from track.aggregators.aggregator import RingAggregator
from track.configuration import options
from track.front.live import OUTPUT, LiveOutput, visible
from track.utils.eta import EstimatedTime
from track.utils.out import RingOutputDecorator
from track.utils.throttle import throttled

if TYPE_CHECKING:
    from typing_extensions import Self


logger = logging.getLogger(__name__)
_DESCRIPTORS = {"stdout": 1, "stderr": 2}


class OutputVerbs:
    """The verbs of a trial that are about standard output; `TrialLogger` has them."""

    if TYPE_CHECKING:

        def log_metadata(self, /, aggregator: Any = None, **kwargs: Any) -> None:
            """Record facts about the trial."""

        def note_output(self, name: str, value: Any, aggregator: Any) -> bool:
            """Record what was printed, and return whether the trial is there for it."""

    def __init__(self) -> None:
        self.eta: EstimatedTime | None = None
        self._capture: OutputCapture | None = None
        self._eta_totals: Any = None
        self._print_eta: Callable[..., Any] | None = None

    @property
    def stdout(self) -> Any:
        """The tee on standard output; None when it is not captured."""
        return None if self._capture is None else self._capture.stdout

    @property
    def stderr(self) -> Any:
        """The tee on standard error; None when it is not captured."""
        return None if self._capture is None else self._capture.stderr

    def capture_output(self, output_size: int = 50, *, children: bool = False) -> Self:
        """Keep the last `output_size` writes to standard output and error; they join the metadata at the end.

        While the trial lives, its last lines are recorded from a thread, at most five times a second: ``track output
        TRIAL -f`` follows them, and a kill loses those of its last moment only.

        Parameters
        ----------
        output_size: int
            How many writes to keep, or lines with `children`, >= 1.
        children: bool
            Also what child processes and C code write, that is whatever reaches the descriptors 1 and 2. They lead to a
            file in memory meanwhile, and another process shows what is written to it; nobody who writes waits.
        """
        if self._capture is None:
            kept = RingAggregator.lazy(output_size, "lines")
            self._capture = OutputCapture(
                output_size,
                lambda name, value: self.note_output(name, value, kept if name == OUTPUT else None),
                children,
            )
        return self

    def _end_capture(self) -> None:
        capture, self._capture = self._capture, None
        if capture is None:
            return
        try:
            kept = capture.close()
            if kept:
                self.log_metadata(None, **kept)
        except Exception:
            # How a trial ended is worth more than what it printed.
            logger.exception("the captured output is not recorded")

    def set_eta_total(self, t: Any) -> Self:
        """Say how many steps there are, a number for each level of loops, outermost first."""
        self._eta_totals = t
        if self.eta is not None:
            self.eta.set_totals(t)
        return self

    def show_eta(  # noqa: PLR0917 - the published signature
        self,
        step: Any,
        timer: Any,
        msg: str = "",
        throttle: int | None = None,
        every: float | None = None,
        no_print: bool = False,
    ) -> Self:
        """Print how far the training is and how long it will take.

        Parameters
        ----------
        step: int or tuple of int
            The current step, from 0; one number for each level of loops, outermost first.
        timer: StatStream or StatAggregator
            Times of one innermost step: what ``chrono`` gives.
        msg: str
            Printed after it.
        throttle: int, optional
            Print every `throttle` calls (option ``log.print.throttle``).
        every: float, optional
            Print at most once in this many seconds (option ``log.print.every``).
        no_print: bool
            Print nothing (option ``log.print.disable``).
        """
        if self._print_eta is None:
            self.eta = EstimatedTime(timer, self._eta_totals)
            throttle = options("log.print.throttle", None) if throttle is None else throttle
            every = options("log.print.every", None) if every is None else every
            self._print_eta = throttled(
                self.eta.show_eta,
                None if throttle is None else int(throttle),
                None if every is None else float(every),
            )
        if not (no_print or options("log.print.disable", False)):
            self._print_eta(step, msg)
        return self


class Tee(RingOutputDecorator):
    """Stands in for a standard stream, until `give_back`.

    Parameters
    ----------
    stream: str
        ``"stdout"`` or ``"stderr"``.
    size: int
        Pieces of text to keep, > 0.
    """

    _live: LiveOutput | None = None

    def __init__(self, stream: str, size: int) -> None:
        super().__init__(getattr(sys, stream), size)
        self._stream = stream
        # Where its descriptor leads may change meanwhile, and back.
        try:
            self._is_terminal = super().isatty()
        except ValueError:
            # It is closed.
            self._is_terminal = False
        setattr(sys, stream, self)

    def isatty(self) -> bool:
        return self._is_terminal

    def follow(self, live: LiveOutput | None) -> None:
        """Let what is written be heard of at once, that of handlers of `logging` too which have the stream already."""
        self._live = live
        _redirect(self.file, self)

    def write(self, string: str) -> int:
        size = super().write(string)
        if self._live is not None:
            self._live.feed(self._stream, string)
        return size

    def give_back(self) -> None:
        """Put the stream back, unless somebody replaced ours."""
        self._live = None
        _redirect(self, self.file)
        if getattr(sys, self._stream) is self:
            setattr(sys, self._stream, self.file)


def _redirect(old: Any, new: Any) -> None:
    """Let the handlers that write to a stream write to another one."""
    known = [logging.root, *logging.root.manager.loggerDict.values()]
    for handler in {one for place in known for one in getattr(place, "handlers", ())}:
        if isinstance(handler, logging.StreamHandler) and handler.stream is old:
            handler.setStream(new)


class OutputCapture:
    """Tees ``sys.stdout`` and ``sys.stderr`` into rings, until `close`.

    Parameters
    ----------
    size: int
        Pieces of text to keep of each, > 0; the options ``log.stdout_capture`` and ``log.stderr_capture``
        win.
    record: callable, optional
        Takes what was printed meanwhile; see `track.front.live`.
    with_descriptors: bool
        Also what child processes and C code write.
    """

    def __init__(
        self, size: int = 50, record: Callable[[str, Any], bool] | None = None, with_descriptors: bool = False
    ) -> None:
        # The same object twice would be written twice.
        is_one = sys.stderr is sys.stdout
        sizes = {name: options(f"log.{name}_capture", size) for name in _DESCRIPTORS}
        self.stdout = Tee("stdout", sizes["stdout"])
        self.stderr = None if is_one else Tee("stderr", sizes["stderr"])
        self._live = None if record is None else LiveOutput(record)
        self._written = _Written.listening(sizes, self._live) if with_descriptors else None
        for name, tee in (("stdout", self.stdout), ("stderr", self.stderr)):
            if tee is not None:
                # What reaches a descriptor is heard there.
                tee.follow(None if self._written is not None and self._written.takes(name, tee.file) else self._live)

    def close(self) -> dict[str, str]:
        """Give the streams back, and return what was kept by stream name."""
        kept = {}
        for name, tee in (("stdout", self.stdout), ("stderr", self.stderr)):
            if tee is not None:
                tee.give_back()
                kept[name] = tee.output()
        if self._written is not None:
            kept |= self._written.close()
        if self._live is not None:
            self._live.close()
        return {name: text for name, text in kept.items() if text}


class _Written:
    """The last lines of what was written to the descriptors of the standard streams."""

    def __init__(self, sizes: dict[str, int], live: LiveOutput | None) -> None:
        self._kept = {name: deque[str](maxlen=size) for name, size in sizes.items()}
        self._open = dict.fromkeys(sizes, "")
        self._live = live
        self._buffered: list[Any] = []

    @classmethod
    def listening(cls, sizes: dict[str, int], live: LiveOutput | None) -> _Written | None:
        """Return what hears of what is written from now on; None where that is not possible, which is said."""
        from track.front.descriptors import listen

        written = cls(sizes, live)
        return written if listen(written.hear) else None

    def takes(self, name: str, stream: Any) -> bool:
        """Return whether a stream writes to its descriptor; from now on each line at once."""
        try:
            is_it = bool(stream.fileno() == _DESCRIPTORS[name])
        except (AttributeError, OSError, ValueError):
            return False
        if is_it and getattr(stream, "line_buffering", True) is False and hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True)
            self._buffered.append(stream)
        return is_it

    def hear(self, name: str, text: str) -> None:
        """Take what was written."""
        *lines, rest = (self._open[name] + text).split("\n")
        self._kept[name].extend(f"{visible(line)}\n" for line in lines)
        self._open[name] = visible(rest) + ("\r" if rest.endswith("\r") else "")
        if self._live is not None:
            self._live.feed(name, text)

    def close(self) -> dict[str, str]:
        """Give the descriptors back, let the streams write when they did, and return what is kept by stream name."""
        from track.front.descriptors import unlisten

        unlisten(self.hear)
        for stream in self._buffered:
            with contextlib.suppress(ValueError, OSError):
                stream.reconfigure(line_buffering=False)
        found = {name: "".join([*lines, visible(self._open[name])]) for name, lines in self._kept.items()}
        return {name: text for name, text in found.items() if text}
