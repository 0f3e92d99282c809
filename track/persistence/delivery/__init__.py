"""On the way to a server: events go to a spill file first, and a thread sends them."""

from __future__ import annotations

from track.persistence.delivery.batches import send_leftover
from track.persistence.delivery.protocol import DELIVERY_OPTIONS, DeliveredProtocol, deliver
from track.persistence.delivery.refused import Refused, refused_in
from track.persistence.delivery.segment import UNREAD
from track.persistence.delivery.spill import Leftover, leftovers, spill_folders, spill_places

__all__ = [
    "DELIVERY_OPTIONS",
    "UNREAD",
    "DeliveredProtocol",
    "Leftover",
    "Refused",
    "deliver",
    "leftovers",
    "refused_in",
    "send_leftover",
    "spill_folders",
    "spill_places",
]
