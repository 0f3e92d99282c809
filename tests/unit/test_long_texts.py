"""No error repeats a text of somebody's that nobody would read: a name of a hundred thousand characters is cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import track
from track import TrackClient, artifacts, em
from track.errors import NotFound, TrackError
from track.shown import bounded

LONG = "x" * 100_000
CALLS: dict[str, Callable[[TrackClient], Any]] = {
    "a trial": lambda client: client.set_trial(uid=LONG),
    "a field": lambda client: client.new_trial(**{LONG: 1}),
    "a field of a project": lambda client: client.set_project(name="ok", **{LONG: 1}),
    "a verb": lambda client: getattr(client, LONG),
    "a scheme": lambda client: TrackClient(f"{LONG}:x"),
    "an option": lambda client: TrackClient(f"file:x.json?{LONG}=1"),
    "the value of an option": lambda client: TrackClient(f"file:x.json?fsync={LONG}"),
    "a port": lambda client: TrackClient(f"socket://h:{LONG}"),
    "an attribute": lambda client: track.fetch("ephemeral:", {LONG: 1}),
    "an operator": lambda client: track.fetch("ephemeral:", {"name": {f"${LONG}": 1}}),
    "a field to sort by": lambda client: track.fetch("ephemeral:", sort=LONG),
    "a store": lambda client: artifacts.gc(f"file:/{LONG}"),
    "an artifact": lambda client: artifacts.find(client, LONG),
    "a path": lambda client: client.new_trial().log_artifact(b"", f"/{LONG}"),
    "a style": lambda client: client.new_trial().report(style=LONG),
    "a step": lambda client: client.new_trial().resume_from(LONG),
    "a copy": lambda client: client.save(LONG),
    "a run": lambda client: em.create_run(name=f"{LONG}/.."),
    "a setting": lambda client: em.CONFIG.__setitem__(LONG, 1),
    "words": lambda client: client.set_trial(uid="so many words " * 10_000),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_long_text_is_not_repeated_whole(
    call: Callable[[TrackClient], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is called so: the error shows how it begins and ends, and says what is wrong."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises((TrackError, ValueError)) as caught:
        call(TrackClient("ephemeral:"))

    assert len(str(caught.value)) < 9_000
    assert all(len(one) < 9_000 for one in caught.value.args if isinstance(one, str))


def test_message_of_usual_length_is_as_it_was_written() -> None:
    """Paths and names that there are stay whole, and what is no text is left alone."""
    path = f"/data/{'y' * 900}"

    assert str(NotFound(f"there is no {path}")) == f"there is no {path}"
    assert NotFound("no trial", 3).args == ("no trial", 3)
    assert bounded(f"a {'z' * 5_000} b") == f"a {'z' * 400}...{'z' * 200} b"
