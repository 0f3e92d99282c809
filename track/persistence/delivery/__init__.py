"""On the way to a server: events go to a spill file first, and a thread sends them."""

from __future__ import annotations

from track.persistence.delivery.protocol import DELIVERY_OPTIONS, DeliveredProtocol, deliver
from track.persistence.delivery.sender import send_leftover
from track.persistence.delivery.spill import Leftover, leftovers, spill_folders, spill_places

__all__ = [
    "DELIVERY_OPTIONS",
    "DeliveredProtocol",
    "Leftover",
    "deliver",
    "leftovers",
    "send_leftover",
    "spill_folders",
    "spill_places",
]
