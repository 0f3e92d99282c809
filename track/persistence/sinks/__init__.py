"""Live copies in other trackers, which may be slow: Weights & Biases and MLflow, told from a queue."""

from __future__ import annotations

from track.persistence.sinks.mlflow import MLflowProtocol
from track.persistence.sinks.queued import QueuedSink
from track.persistence.sinks.wandb import WandbProtocol

__all__ = ["MLflowProtocol", "QueuedSink", "WandbProtocol"]
