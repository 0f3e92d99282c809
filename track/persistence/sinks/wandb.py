"""Weights & Biases as a sink: a live copy of each trial as a run, online or in a folder."""

from __future__ import annotations

import importlib
import importlib.util
import threading
from typing import Any

from track.errors import InvalidUri, missing_extra
from track.persistence.sinks.queued import QueuedSink
from track.persistence.utils import fixed_place, mask_secrets, read_options, uri_path
from track.plain import named_tags, restore
from track.structure import CustomStatus, Status, Trial
from track.utils.lifecycle import go_first

_MODES = ("online", "offline", "shared", "disabled")
_STEP = "step"
"""What the steps of numbers are called there."""


class WandbProtocol(QueuedSink):
    """Tells Weights & Biases what happens: one run a trial, from a thread of its own.

    It finds its key by itself, in ``WANDB_API_KEY`` or ``~/.netrc``: it is no part of the URI.

    Parameters
    ----------
    uri: str
        ``wandb:project``, or ``wandb:entity/project``; with ``?mode=offline`` nothing is sent, and ``wandb sync`` sends
        later what is in the folder ``?dir=folder``, ``./wandb`` by default.

    Raises
    ------
    MissingExtra
        wandb is not installed.
    InvalidUri
        The URI names no project.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        options = read_options(uri, {"mode": (_mode, None), "dir": (fixed_place, fixed_place("."))})
        self._mode, self._folder = options["mode"], options["dir"]
        entity, _, self._project = uri_path(uri).strip("/").rpartition("/")
        self._entity = entity or None
        if not self._project or "/" in entity:
            raise InvalidUri(f"{mask_secrets(uri)!r} should read like wandb:project or wandb:entity/project")
        if importlib.util.find_spec("wandb") is None:
            raise missing_extra("'wandb:' needs wandb", "wandb")

    def run_open(self, trial: Trial) -> Any:
        """Begin a run, with the trial's name, parameters, tags and metadata."""
        made: list[Any] = []

        def begin() -> None:
            try:
                made.append(self._begin_run(trial))
            except Exception as error:  # noqa: BLE001 - raised again below
                made.append(error)
            # At exit wandb stops what it sends with, which must not be before the end of the trial is told.
            go_first()

        # A program that ends meanwhile waits for such a thread, and not for the one that this runs in.
        thread = threading.Thread(target=begin, name="track-wandb", daemon=False)
        thread.start()
        thread.join()
        if isinstance(made[0], Exception):
            raise made[0]
        return made[0]

    def _begin_run(self, trial: Trial) -> _Run:
        wandb = importlib.import_module("wandb")
        tags = named_tags(trial.tags)
        # What else it would record of the process is recorded already.
        quiet = {"console": "off", "x_disable_stats": True, "disable_git": True, "disable_code": True, "silent": True}
        run = wandb.init(
            project=self._project,
            entity=self._entity,
            mode=self._mode,
            dir=self._folder,
            # The same trial is the same run, also when it goes on.
            id=f"{trial.hash[:32]}-{trial.revision}",
            resume=None if self._mode == "offline" else "allow",
            reinit="create_new",
            name=trial.name,
            notes=trial.description,
            tags=[_tag(name, value) for name, value in tags.items()] or None,
            config={name: restore(value) for name, value in trial.parameters.items()},
            settings=wandb.Settings(**quiet),
        )
        run.define_metric("*", step_metric=_STEP)
        run.config.update({"trial_uid": trial.uid}, allow_val_change=True)
        begun = _Run(run)
        self.run_facts(begun, "metadata", trial.metadata)
        return begun

    def run_numbers(self, run: Any, values: dict[str, Any], step: Any) -> None:
        """Note a row, with the step in a column of its own: rows at an earlier step would be dropped."""
        row = {**values, "_timestamp": self.at}
        if step is not None:
            row[_STEP] = step if isinstance(step, (int, float)) else str(step)
        run.run.log(row)

    def run_facts(self, run: Any, kind: str, values: dict[str, Any]) -> None:
        """Note parameters in the configuration, tags as ``name-value``, and other facts in the summary."""
        plain = {name: restore(value) for name, value in values.items()}
        if not plain:
            return
        if kind == "parameters":
            run.run.config.update(plain, allow_val_change=True)
        elif kind == "tags":
            run.run.tags = (*(run.run.tags or ()), *(_tag(name, value) for name, value in plain.items()))
        else:
            shown = {f"{kind}/{name}": value for name, value in plain.items() if not name.startswith("_")}
            run.run.summary.update(shown)

    def run_status(self, run: Any, status: Status | CustomStatus, error: str | None) -> None:
        run.run.summary.update({"trial_status": status.name, **({} if error is None else {"trial_error": error})})
        run.has_failed = isinstance(status, Status) and status is not Status.Completed

    def run_flush(self, run: Any) -> None:
        """Do nothing: wandb sends by itself."""

    def run_end(self, run: Any) -> None:
        run.run.finish(exit_code=1 if run.has_failed else 0)


class _Run:
    """A run, and whether it has failed: one that has not ended well has."""

    def __init__(self, run: Any) -> None:
        self.run = run
        self.has_failed = True


def _mode(text: str) -> str:
    if text not in _MODES:
        raise ValueError(f"it is one of {', '.join(_MODES)}")
    return text


def _tag(name: str, value: Any) -> str:
    """Return a tag of at most 64 characters, as wandb takes them."""
    return f"{name}-{restore(value)}"[:64]
