"""What every backend must do: one claim a test. Subclass `ProtocolTests` and give it a `protocol` fixture."""

from __future__ import annotations

from track.testing.asking import AskingTests
from track.testing.bucketing import BucketTests
from track.testing.clocks import ClockTests
from track.testing.contract import ContractTests
from track.testing.creating import CreatingTests
from track.testing.deleting import DeletingTests
from track.testing.environment import EnvironmentTests
from track.testing.living import LivingTests
from track.testing.looking import LookingTests
from track.testing.measuring import MeasuringTests
from track.testing.ordering import OrderingTests
from track.testing.queueing import QueueTests
from track.testing.reading import ReadingTests
from track.testing.series import SeriesTests


class ProtocolTests(
    CreatingTests,
    MeasuringTests,
    LookingTests,
    SeriesTests,
    EnvironmentTests,
    LivingTests,
    ClockTests,
    QueueTests,
    OrderingTests,
    DeletingTests,
    ReadingTests,
    BucketTests,
    AskingTests,
    ContractTests,
):
    """The claims of the contract; see `track.persistence.protocol.Protocol`.

    A subclass defines the fixture `protocol`, an empty backend. A backend that keeps its data after the
    process also overrides `reopen`, which returns a new object on the same data.
    """
