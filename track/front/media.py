"""One trial's verbs for what is looked at: images, figures, histograms, tables, texts, sounds, videos and pages."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from track.media import Content, Media, MediaWriter, Medium
    from track.persistence.protocol import Protocol
    from track.structure import Trial

_making = threading.Lock()


class MediaVerbs:
    """The verbs of a trial that are about what is looked at; `TrialLogger` has them.

    What comes from numpy, torch, Pillow, matplotlib, plotly, pandas, polars or pyarrow is known by its type, without an
    import of these packages. A store that is full or away does not raise: it is said once a name, counted, and recorded
    in the trial's metadata (``artifacts_not_stored``) at the end. Of a name 1,000 are kept: of more every second one,
    then every fourth, and so on, the first and the last always.
    """

    protocol: Protocol
    _writer: MediaWriter | None = None

    if TYPE_CHECKING:

        def _created(self) -> Trial: ...

        def _tell_missing(self, missing: dict[str, str]) -> None: ...

        @property
        def trial(self) -> Trial: ...

    def log_image(self, name: str, image: Any, *, step: Any = None, caption: str | None = None) -> Medium | None:
        """Store an image, and return it; None where it is not kept, or the store is full or away.

        Parameters
        ----------
        name: str
            As that of a metric: ``val/sample``.
        image: array, tensor, image of Pillow, path or bytes
            HxW, HxWx3 or HxWx4 of bytes, or of floats of 0 to 1; a tensor of torch is CxHxW. A file is a PNG, JPEG,
            GIF, WebP or SVG, and stays what it is.
        step: any hashable value, optional
            That of the metrics to which it belongs, as in `log_metrics`.
        caption: str, optional
            What is said beside it.

        Raises
        ------
        InvalidEvent
            It is no image; the message says what is.
        FileNotFoundError, PermissionError
            There is no such file, or it may not be read.

        Examples
        --------
        >>> from track import TrackClient
        >>> trial = TrackClient("file://runs.json").new_trial(parameters={})
        >>> for step in range(3):
        ...     image = trial.log_image("sample", [[0.0, 0.5], [0.5, 1.0]], step=step)
        >>> trial.media("sample").steps
        [0, 1, 2]
        """
        from track.media import image_content

        content, is_cut = image_content(name, image)
        if is_cut:
            self._media_writer().tell_cut(name)
        return self._log_medium(name, content, step, caption)

    def log_figure(self, name: str, figure: Any, *, step: Any = None, caption: str | None = None) -> Medium | None:
        """Store a figure of matplotlib, as SVG and a small PNG, or of plotly, as its JSON; as `log_image` otherwise.

        Of very many points a figure is stored as a PNG. Of common traces of plotly there is a sketch beside the JSON.
        The figure is not closed.
        """
        from track.media import figure_content

        return self._log_medium(name, figure_content(name, figure), step, caption)

    def log_histogram(
        self,
        name: str,
        values: Any = None,
        *,
        counts: Any = None,
        edges: Any = None,
        step: Any = None,
        caption: str | None = None,
    ) -> Medium | None:
        """Record how values are distributed: 64 counts between their least and their greatest; see `log_image`.

        Parameters
        ----------
        values: array, tensor or list, optional
            Numbers, of any shape; of more than 100,000 every so manieth is counted. What is not finite is left out, and
            how many these are is recorded.
        counts, edges: list or array, optional
            Instead of values: what was counted already. What ``numpy.histogram`` returns may be given as `values`.

        Raises
        ------
        InvalidEvent
            There are no numbers, or counts and edges do not belong together.
        """
        from track.media import histogram_content

        return self._log_medium(name, histogram_content(name, values, counts, edges), step, caption)

    def log_table(
        self,
        name: str,
        rows: Any,
        columns: Iterable[Any] | None = None,
        *,
        step: Any = None,
        caption: str | None = None,
    ) -> Medium | None:
        """Store a table; see `log_image`.

        Parameters
        ----------
        rows: data frame, list or mapping
            A data frame of pandas, polars or pyarrow; rows, each a mapping, or a list beside `columns`; or a mapping of
            columns. A large one is stored as Parquet where pyarrow is installed, else as lines of JSON.
        columns: iterable of str, optional
            What the columns are called.

        Raises
        ------
        InvalidEvent
            It is no table, or has more than 10,000,000 cells.
        """
        from track.media import table_content

        return self._log_medium(name, table_content(name, rows, columns), step, caption)

    def log_text(
        self, name: str, text: str | os.PathLike[str], *, step: Any = None, caption: str | None = None
    ) -> Medium | None:
        """Store a text, or that of a file (a `pathlib.Path`); see `log_image`."""
        from track.media import text_content

        return self._log_medium(name, text_content(name, text), step, caption)

    def log_audio(
        self, name: str, samples: Any, rate: int | None = None, *, step: Any = None, caption: str | None = None
    ) -> Medium | None:
        """Store a sound; see `log_image`.

        Parameters
        ----------
        samples: array, tensor, path or bytes
            N samples, or Nx2 or 2xN of two channels: integers of 16 bits, or floats of -1 to 1, which are stored as a
            WAV. A file is a WAV, MP3, OGG or FLAC, and stays what it is.
        rate: int
            Samples a second; not of a file.

        Raises
        ------
        InvalidEvent
            It is no sound, or samples have no rate.
        """
        from track.media import audio_content

        return self._log_medium(name, audio_content(name, samples, rate), step, caption)

    def log_video(
        self, name: str, video: str | os.PathLike[str] | bytes, *, step: Any = None, caption: str | None = None
    ) -> Medium | None:
        """Store a video, an MP4, WebM or GIF, from its path or bytes; see `log_image`."""
        from track.media import video_content

        return self._log_medium(name, video_content(name, video), step, caption)

    def log_html(
        self, name: str, page: str | os.PathLike[str], *, step: Any = None, caption: str | None = None
    ) -> Medium | None:
        """Store a page of HTML, or that of a file (a `pathlib.Path`); see `log_image`.

        It is shown in a frame of its own, in which nothing of it may reach the page around it, and no script runs.
        """
        from track.media import html_content

        return self._log_medium(name, html_content(name, page), step, caption)

    def media(self, name: str | None = None) -> Media:
        """Return what the trial has logged to be looked at, by all these verbs, in the order it was logged.

        Parameters
        ----------
        name: str, optional
            Only what has this name.

        Raises
        ------
        NotFound
            Nothing has this name, and there are others.
        """
        from track.artifacts import artifacts_in
        from track.media import media_in

        if self._writer is not None:
            self._writer.flush()
        trial = self.trial
        return media_in(trial, name, artifacts_in(self.protocol, trial))

    def _log_medium(self, name: str, content: Content, step: Any, caption: str | None) -> Medium | None:
        return self._media_writer().add(name, content, step, caption)

    def _media_writer(self) -> MediaWriter:
        if self._writer is None:
            from track.media import MediaWriter

            trial = self._created()
            with _making:
                if self._writer is None:
                    self._writer = MediaWriter(self.protocol, trial)
        return self._writer

    def _end_media(self) -> None:
        """Store what was held back, and record what could not be stored."""
        if self._writer is None:
            return
        self._writer.flush()
        missing = self._writer.not_stored()
        if missing:
            known = self._created().metadata.get("artifacts_not_stored") or {}
            texts = {name: f"{count:,} of its media could not be stored" for name, count in missing.items()}
            self._tell_missing({**known, **texts})
