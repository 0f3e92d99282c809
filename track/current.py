"""The project and the trial that this thread or task works on."""

from __future__ import annotations

import contextvars
from typing import Any

__all__ = ["get_current_project", "get_current_trial", "set_current_project", "set_current_trial"]

_current_project: contextvars.ContextVar[Any] = contextvars.ContextVar("project", default=None)
_current_trial: contextvars.ContextVar[Any] = contextvars.ContextVar("trial", default=None)


def get_current_project() -> Any:
    """Return the project set last in this thread or task; None at first."""
    return _current_project.get()


def get_current_trial() -> Any:
    """Return the trial that is running in this thread or task; None when there is none."""
    return _current_trial.get()


def set_current_project(project: Any) -> Any:
    """Make `project` the current one of this thread or task, and return it."""
    _current_project.set(project)
    return project


def set_current_trial(trial: Any) -> Any:
    """Make `trial` the current one of this thread or task, and return it."""
    _current_trial.set(trial)
    return trial
