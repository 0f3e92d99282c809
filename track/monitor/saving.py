"""A monitor that also saves checkpoints, and writes summaries for TensorBoard."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from track.monitor.checkpoints import FOLDER, Checkpointer, load
from track.monitor.hooks import Hook
from track.monitor.monitor import Monitor, paired
from track.monitor.spec import TRIGGERS
from track.monitor.tensorboard import TensorboardLogger

logger = logging.getLogger(__name__)


class TorchMonitor(Monitor):
    """A `Monitor` that saves checkpoints and writes summaries for TensorBoard; torch is used where objects are torch's.

    Parameters
    ----------
    directory: path, optional
        Where, in ``checkpoints`` and ``summaries``.
    hooks, log, log_fn, log_format, time, msg, msg_keep, msg_leader, msg_expand, msg_prep, probe, limit, **others
        As for `Monitor`.
    ckpt, ckpt_keep: optional
        Of which variables checkpoints are saved, as in ``^model$@1e``, and how many of the newest are kept.
    sca, img, hist, fig, txt, vid: optional
        Which variables are scalars, images, histograms, figures, texts, videos, as in ``^loss$@100s``.
    sca_fn, ..., sca_pref, ..., sca_prep, ..., img_options: optional
        What is done to a value before, what names begin with, and whether names of what is in a dictionary begin with
        the dictionary's; and how a batch of images becomes one: see `TensorboardLogger`.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        hooks: Iterable[Hook] = (),
        ckpt: Any = None,
        ckpt_keep: Any = None,
        log: Any = None,
        log_fn: Any = None,
        log_format: Any = "",
        img: Any = None,
        img_fn: Any = None,
        img_pref: Any = "",
        img_prep: Any = True,
        img_options: Any = {},  # noqa: B006 - the published signature; it is read only
        sca: Any = None,
        sca_fn: Any = None,
        sca_pref: Any = "",
        sca_prep: Any = True,
        hist: Any = None,
        hist_fn: Any = None,
        hist_pref: Any = "",
        hist_prep: Any = True,
        fig: Any = None,
        fig_fn: Any = None,
        fig_pref: Any = "",
        fig_prep: Any = True,
        txt: Any = None,
        txt_fn: Any = None,
        txt_pref: Any = "",
        txt_prep: Any = True,
        vid: Any = None,
        vid_fn: Any = None,
        vid_pref: Any = "",
        vid_prep: Any = True,
        time: Any = (),
        msg: Any = None,
        msg_keep: Any = "latest",
        msg_leader: Any = None,
        msg_expand: Any = False,
        msg_prep: Any = None,
        probe: Any = None,
        limit: Any = None,
        metrics: Any = None,
        metrics_by: Any = "step",
        trial: Any = None,
        source: Callable[[], Mapping[str, Any]] | None = None,
        all_ranks: bool = False,
    ) -> None:
        made: list[Hook] = [Checkpointer(one, keep) for one, keep in paired("ckpt", ckpt, keep=ckpt_keep)]
        summaries: tuple[tuple[Any, ...], ...] = (
            ("image", "img", img, img_fn, img_pref, img_prep, img_options),
            ("scalar", "sca", sca, sca_fn, sca_pref, sca_prep, {}),
            ("histogram", "hist", hist, hist_fn, hist_pref, hist_prep, {}),
            ("figure", "fig", fig, fig_fn, fig_pref, fig_prep, {}),
            ("text", "txt", txt, txt_fn, txt_pref, txt_prep, {}),
            ("video", "vid", vid, vid_fn, vid_pref, vid_prep, {}),
        )
        for kind, option, specs, fn, pref, prep, options in summaries:
            with_options = paired(option, specs, fn=fn, pref=pref, prep=prep, options=options)
            made += [TensorboardLogger(kind, *others, **more) for *others, more in with_options]
        super().__init__(
            hooks=[*made, *hooks], log=log, log_fn=log_fn, log_format=log_format, time=time, msg=msg, msg_keep=msg_keep,
            msg_leader=msg_leader, msg_expand=msg_expand, msg_prep=msg_prep, probe=probe, limit=limit, metrics=metrics,
            metrics_by=metrics_by, trial=trial, source=source, all_ranks=all_ranks,
        )  # fmt: skip
        # The program may change its folder later.
        self.directory = None if directory is None else os.path.abspath(os.path.expanduser(os.fspath(directory)))

    def checkpoint(self, **kwargs: Any) -> None:
        """Save checkpoints of these objects now, by the names that they are given."""
        Checkpointer("checkpoint")(kwargs, self)

    def load(
        self,
        directory: str | os.PathLike[str] | None = None,
        step: int | None = None,
        attempt: bool = True,
        update_triggers: bool = True,
        *,
        map_location: Any = None,
        **modules: Any,
    ) -> dict[str, Any]:
        """Load the state of objects from their checkpoints, and go on counting from there; return them.

        Parameters
        ----------
        directory: path, optional
            The folder ``checkpoints``; by default the monitor's own.
        step, attempt, map_location, **modules
            As for `load`.
        update_triggers: bool
            Whether the counts become what they were.
        """
        if directory is None and self.directory is None:
            logger.warning("nothing is loaded: give load a directory, or the monitor, as in TorchMonitor('runs/first')")
            return {}
        folder = directory if self.directory is None or directory is not None else os.path.join(self.directory, FOLDER)
        assert folder is not None
        found, counts = load(folder, step, attempt, map_location=map_location, **modules)
        if update_triggers and counts:
            self.set_triggers(**{trigger: counts.get(trigger, 0) for trigger in TRIGGERS})
        return found
