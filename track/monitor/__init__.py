"""Monitored loops: every so many steps or epochs, variables are printed, logged, sent and saved."""

from __future__ import annotations

from track.monitor.checkpoints import Checkpointer, load
from track.monitor.hooks import Hook, Logger, Messenger, Metrics, Probe, Timer, XmenMessenger
from track.monitor.monitor import Monitor
from track.monitor.pruning import Pruner
from track.monitor.saving import TorchMonitor
from track.monitor.spec import Spec
from track.monitor.tensorboard import TensorboardLogger

__all__ = [
    "Checkpointer",
    "Hook",
    "Logger",
    "Messenger",
    "Metrics",
    "Monitor",
    "Probe",
    "Pruner",
    "Spec",
    "TensorboardLogger",
    "Timer",
    "TorchMonitor",
    "XmenMessenger",
    "load",
]
