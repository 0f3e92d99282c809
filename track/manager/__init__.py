"""Sets of experiments, and the workers that run them."""

from track.manager.worker import work

__all__ = ["work"]
