"""Experiments: a class with parameters, a folder for each run of it, and a trial that the folder shows."""

from __future__ import annotations

from track.experiment.experiment import Experiment
from track.parameters import param

__all__ = ["Experiment", "param"]
