"""Optuna, as samplers and pruners use it: imported at the first use, and silent."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from track.errors import missing_extra

PRUNED_AT = "pruned_at"
"""What in the metadata of a trial says at which count it was pruned."""


def optuna_package() -> Any:
    """Return the package; MissingExtra where it is not installed."""
    try:
        import optuna  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise missing_extra("samplers that learn, and pruners, need Optuna", "sweep") from error
    return optuna


@contextmanager
def quiet_optuna() -> Iterator[Any]:
    """Keep Optuna from printing that it has made a study, and from warnings about what we ask for on purpose."""
    optuna = optuna_package()
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield optuna
    finally:
        optuna.logging.set_verbosity(level)
