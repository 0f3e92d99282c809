"""The nine facts a store keeps, and their bytes: one line of JSON each.

An event names things by uid and says when it was decided (`at`, unix seconds). It holds plain data only:
no clock, no callable, no live object. The same bytes are the journal's line, the message on a socket and
the record in a spill file.

What a process says of a trial that it has *reserved* carries the `attempt` (1, 2, ...). Once the trial was reserved
again, every store drops what is said of an earlier one, and counts it.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import msgspec

from track.columns import Columns
from track.errors import InvalidEvent
from track.plain import text_keys, to_plain

__all__ = [
    "FORMAT",
    "ArtifactAdded",
    "Batch",
    "Event",
    "FieldsMerged",
    "GroupCreated",
    "MetricsLogged",
    "ProjectCreated",
    "Record",
    "StatusChanged",
    "TimeLogged",
    "TrialAttached",
    "TrialCreated",
    "decode",
    "decode_lines",
    "decode_record",
    "decode_records",
    "encode",
    "encode_batch",
    "encode_plain",
]

FORMAT = 1
"""Version of the bytes; a reader refuses a higher one."""


# What eight bytes hold: a larger one would be written in another form than it is read in.
_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]


class ProjectCreated(
    msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="event", tag="project_created"
):
    """A project exists."""

    uid: str
    at: float
    name: str | None = None
    description: str | None = None
    metadata: dict[str, Any] = {}
    tags: dict[str, Any] = {}
    moments: dict[str, dict[str, float]] = {}


class GroupCreated(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="event", tag="group_created"):
    """A group exists, in a project."""

    uid: str
    at: float
    name: str | None = None
    description: str | None = None
    metadata: dict[str, Any] = {}
    project_id: Any = None
    moments: dict[str, dict[str, float]] = {}


class TrialCreated(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="event", tag="trial_created"):
    """A trial exists.

    For one that comes from another store, `metrics` and `chronos` are full states, and the last nine fields say what
    else is known of it; `at` is its last change then.
    """

    hash: str
    revision: int
    at: float
    name: str | None = None
    description: str | None = None
    tags: Any = {}
    version: str | None = None
    group_id: Any = None
    project_id: Any = None
    parameters: dict[str, Any] = {}
    metadata: Any = {}
    metrics: Any = {}
    chronos: Any = {}
    errors: list[Any] = []
    status: tuple[str | None, int | None] | None = None
    changes: _Count = 0
    timestamps: dict[str, float] = {}
    process: dict[str, Any] | None = None
    artifacts: list[dict[str, Any]] = []
    attempt: _Count = 0
    processes: list[dict[str, Any]] = []
    is_set: bool = False
    latest: float = 0.0
    moments: dict[str, dict[str, float]] = {}

    @property
    def trial(self) -> str:
        """The trial's uid."""
        return f"{self.hash}_{self.revision}"


class TrialAttached(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="event", tag="trial_attached"):
    """A trial belongs to a project, or is in a group; `kind` is "project" or "group"."""

    trial: str
    kind: str
    owner: str
    at: float
    attempt: _Count | None = None


class FieldsMerged(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="event", tag="fields_merged"):
    """Values replace those of the same names in one field of an object.

    `kind` is "trial", "group" or "project"; `field` is "parameters", "metadata" or "tags". With an
    `aggregator`, the values are appended to aggregators of that specification instead. Of a trial, `field` may be
    "deleted": whether it is hidden, or "forgotten".
    """

    kind: str
    uid: str
    field: str
    values: dict[str, Any]
    at: float
    aggregator: list[Any] | None = None
    attempt: _Count | None = None


class MetricsLogged(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="event", tag="metrics"):
    """A trial measured values, at a step or at none; or, in `columns`, one value after another under one name."""

    trial: str
    values: dict[str, Any]
    at: float
    step: Any = None
    aggregator: list[Any] | None = None
    attempt: _Count | None = None
    columns: Columns | None = None


class TimeLogged(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="event", tag="time"):
    """Something in a trial took `seconds`."""

    trial: str
    name: str
    seconds: Any
    at: float
    aggregator: list[Any] | None = None
    attempt: _Count | None = None


class StatusChanged(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="event", tag="status"):
    """A trial's status is another: as the program says, or as `process` begins or ends its part of an attempt.

    `process` has host, pid and start of a process, ``signal`` where one was told to stop and may yet go on, and
    ``reserved`` where it has the attempt for itself.
    """

    trial: str
    status: tuple[str | None, int | None]
    at: float
    error: str | None = None
    process: dict[str, Any] | None = None
    attempt: int | None = None


class ArtifactAdded(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="event", tag="artifact"):
    """A file belongs to a trial; `size` is in bytes, `digest` a sha256, or ``etag:...`` of data that is elsewhere.

    It may be of a `step`; `media` says in a few words what it shows, for who displays it.
    """

    trial: str
    name: str
    uri: str
    at: float
    digest: str | None = None
    size: int | None = None
    attempt: _Count | None = None
    step: Any = None
    media: dict[str, Any] | None = None


Event: TypeAlias = (
    ProjectCreated
    | GroupCreated
    | TrialCreated
    | TrialAttached
    | FieldsMerged
    | MetricsLogged
    | TimeLogged
    | StatusChanged
    | ArtifactAdded
)
"""Any of the nine."""


class Batch(msgspec.Struct, frozen=True, tag_field="event", tag="batch"):
    """Events that one writer has numbered from `first` on, in one line of a store's journal.

    A line is there or it is not, so all of them are stored, or none. A reader passes over those whose numbers it
    has seen from this writer, so a batch that is written again changes nothing.
    """

    writer: str
    first: int
    events: list[Event]


Record: TypeAlias = Event | Batch
"""What a line of a journal says."""

# The last one: nested too deep.
_BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

# What the encoder raises for what JSON cannot say, but for numbers that are not finite.
_UNSAYABLE = (TypeError, OverflowError, ValueError)

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Event)
_record_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


def encode(event: Event) -> bytes:
    r"""Return the event's line, newline included.

    Values that JSON cannot say (NaN, integers past 64 bits, bytes) are tagged, so `decode` with
    `track.plain.restore` gives them back exactly.

    Examples
    --------
    >>> encode(MetricsLogged("ab_0", {"loss": 0.5}, at=1.0, step=3))
    b'{"event":"metrics","trial":"ab_0","values":{"loss":0.5},"at":1.0,"step":3}\n'
    """
    try:
        line = _encode(event)
    except _UNSAYABLE:
        line = b"null"
    # msgspec writes NaN as null: a line with a null anywhere is encoded again with its values tagged.
    if b"null" in line:
        line = _encode(_plain_event(event))
    return line + b"\n"


def encode_plain(event: Event) -> bytes:
    r"""Return the line of an event in which no number is NaN or infinite: the same as `encode`, without the search.

    Examples
    --------
    >>> encode_plain(MetricsLogged("ab_0", {"loss": 0.5}, at=1.0, step=3))
    b'{"event":"metrics","trial":"ab_0","values":{"loss":0.5},"at":1.0,"step":3}\n'
    """
    try:
        return _encode(event) + b"\n"
    except _UNSAYABLE:
        return encode(event)


def decode(line: bytes) -> Event:
    """Return the event of a line.

    Raises
    ------
    InvalidEvent
        The line is no event of this version.
    """
    try:
        event: Event = _decoder.decode(line)
    except _BROKEN as error:
        raise InvalidEvent(f"not an event: {error}") from error
    return event


def decode_lines(lines: bytes) -> list[Event]:
    """Return the events of many lines, much faster than one by one.

    Raises
    ------
    InvalidEvent
        One of the lines is no event of this version; decode them one by one to know which.
    """
    try:
        events: list[Event] = _decoder.decode_lines(lines)
    except _BROKEN as error:
        raise InvalidEvent(f"not an event: {error}") from error
    return events


def decode_record(line: bytes) -> Record:
    """Return what a line of a journal says, as `decode` does."""
    try:
        return _record_decoder.decode(line)
    except _BROKEN as error:
        raise InvalidEvent(f"not an event: {error}") from error


def decode_records(lines: bytes) -> list[Record]:
    """Return what many lines of a journal say, as `decode_lines` does."""
    try:
        return _record_decoder.decode_lines(lines)
    except _BROKEN as error:
        raise InvalidEvent(f"not an event: {error}") from error


def encode_batch(writer: str, first: int, lines: bytes) -> bytes:
    r"""Return the line of a batch.

    Parameters
    ----------
    first: int
        The number of the first event.
    lines: bytes
        The events' lines, which are known to be events.

    Examples
    --------
    >>> encode_batch("w", 7, b'{"event":"time"}\n{"event":"time"}\n')
    b'{"event":"batch","writer":"w","first":7,"events":[{"event":"time"},{"event":"time"}]}\n'
    """
    inside = lines.rstrip(b"\n").replace(b"\n", b",")
    return b'{"event":"batch","writer":%s,"first":%d,"events":[%s]}\n' % (_encode(writer), first, inside)


def _plain_event(event: Event) -> Event:
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    return type(event)(**{name: _tagged(value) for name, value in fields.items()})


def _tagged(value: Any) -> Any:
    """Return `value` with what JSON cannot say tagged; what is tagged already stays as it is."""
    if type(value) is dict:
        return {key: _tagged(item) for key, item in text_keys(value.items()).items()}
    if type(value) in (list, tuple):
        return [_tagged(item) for item in value]
    # Its values are tagged where they are put into columns.
    return value if type(value) is Columns else to_plain(value)
