"""What runs and artifacts remember of their uploads and downloads."""

from __future__ import annotations

from track.em.folders import timestamp
from track.em.nodes import Node

__all__ = ["remote_entry"]


def remote_entry(host: str, node: Node, action: str, state: str = "") -> dict[str, str]:
    """Return an entry: where, what, when.

    Parameters
    ----------
    host: str
    node: Node
    action: str
        ``"upload"`` or ``"download"``.
    state: str
        Which state of the content it was; by this a later change is known.
    """
    entry = {"host": host, "path": node.path, "id": str(node.record["id"]), "action": action, "timestamp": timestamp()}
    return {**entry, "state": state} if state else entry
