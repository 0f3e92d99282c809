"""Any list of events gives the same answers from every backend, and from a model that shares no code with them."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings

from tests.reopening import reopened
from tests.servers.mongo import new_database
from track.events import Event, decode, encode
from track.persistence.ephemeral import EphemeralProtocol
from track.persistence.eventprotocol import EventProtocol
from track.persistence.local import FileProtocol
from track.persistence.mongodb import MongoProtocol
from track.persistence.sqlite import SqliteProtocol
from track.testing.model import Model, answers
from track.testing.strategies import event_lists

_counter = itertools.count()


def _modelled(events: list[Event]) -> dict:
    model = Model()
    model.apply(*events)
    return model.answers()


@pytest.mark.parametrize("backend", ["ephemeral", "file", "saved file", "sqlite"])
@settings(max_examples=60)
@given(events=event_lists())
def test_backend_answers_like_the_model(tmp_path: Path, backend: str, events: list[Event]) -> None:
    """A backend's answers are the model's, also when the file is read again."""
    protocol: EventProtocol = EphemeralProtocol()
    path = str(tmp_path / f"{next(_counter)}.store")
    if backend == "sqlite":
        protocol = SqliteProtocol(f"sqlite:{path}")
    elif backend != "ephemeral":
        protocol = FileProtocol(f"file:{path}")

    protocol.apply(*events)
    if backend == "saved file":
        protocol.commit()
    if isinstance(protocol, FileProtocol):
        protocol = reopened(protocol)

    assert answers(protocol) == _modelled(events)


@pytest.mark.network
@pytest.mark.parametrize("has_transactions", [None, False], ids=["mongodb", "standalone mongodb"])
@settings(max_examples=15)
@given(events=event_lists())
def test_mongodb_answers_like_the_model(mongo_server: str, has_transactions: bool | None, events: list[Event]) -> None:
    """The answers of a MongoDB-wire server (SecantusDB) are the model's, with and without transactions."""
    protocol = MongoProtocol(new_database(mongo_server), has_transactions)

    protocol.receive("writer", 0, events[:5])
    protocol.receive("writer", 5, events[5:])

    try:
        assert answers(protocol) == _modelled(events)
    finally:
        protocol.close()


@settings(max_examples=60)
@given(events=event_lists())
def test_saving_in_the_middle_changes_nothing(tmp_path: Path, events: list[Event]) -> None:
    """A store that is saved after every third event answers like one that never was."""
    protocol = FileProtocol(f"file:{tmp_path}/{next(_counter)}.json")

    for position, event in enumerate(events):
        protocol.apply(event)
        if position % 3 == 0:
            protocol.commit()

    assert answers(protocol) == _modelled(events)


@given(events=event_lists())
def test_event_survives_its_bytes(events: list[Event]) -> None:
    """Encoding and decoding an event gives an equal one."""
    assert [decode(encode(event)) for event in events] == events
