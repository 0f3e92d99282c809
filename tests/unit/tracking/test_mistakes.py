"""A wrong key, value, project or folder around results is one sentence that names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from track.errors import NotFound
from track.tracking import FsspecResultTracker, ResultTracker, TrackResultTracker, import_results


class _Mine(ResultTracker):
    """A tracker with the two methods that one must have."""

    def put(self, key: int | str, /, **results: Any) -> None:
        """Store nothing."""

    def get(self, key: int | str) -> dict[str, Any]:
        """Return one result for every key."""
        return {"loss": 0.5}


@pytest.fixture(params=["folder", "store"])
def tracker(request: pytest.FixtureRequest, tmp_path: Path) -> ResultTracker:
    """Give a tracker with two keys."""
    if request.param == "folder":
        tracker: ResultTracker = FsspecResultTracker(tmp_path / "results")
    else:
        tracker = TrackResultTracker(f"file:{tmp_path}/runs.json")
    tracker.put("b", loss=0.5)
    tracker.put(1, loss=0.25)
    return tracker


def test_keys_are_iterated_over(tracker: ResultTracker) -> None:
    """As those of any map; and a key is in it, or is not."""
    assert list(tracker) == ["1", "b"]
    assert (1 in tracker, "1" in tracker, "c" in tracker) == (True, True, False)


def test_tracker_that_cannot_list_is_no_endless_loop() -> None:
    """It says that it cannot, and knows all the same whether a key is there."""
    with pytest.raises(NotImplementedError, match="_Mine does not list its keys"):
        list(_Mine())
    assert "any" in _Mine()


def test_trackers_are_shown(tmp_path: Path) -> None:
    """With their place, and without its secrets."""
    uri = f"file:{tmp_path}/runs.json"

    assert repr(FsspecResultTracker("results")) == "FsspecResultTracker('results')"
    assert repr(FsspecResultTracker("memory://ann:secret@host/x")) == "FsspecResultTracker('memory://ann:***@host/x')"
    assert repr(TrackResultTracker(uri, "sweep")) == f"TrackResultTracker(FileProtocol({uri!r}), project='sweep')"


@pytest.mark.parametrize("results", [3, [("loss", 1)], None])
def test_results_that_are_no_map(tracker: ResultTracker, results: Any) -> None:
    """They are a TypeError that says so."""
    with pytest.raises(TypeError, match="results are a mapping of names to values, not"):
        tracker["b"] = results
    assert tracker["b"] == {"loss": 0.5}


@pytest.mark.parametrize("arguments", [{"timeout": "x"}, {"interval": 0}, {"interval": -1.0}, {"interval": "x"}])
def test_waiting_for_no_number(tracker: ResultTracker, arguments: dict[str, Any]) -> None:
    """An interval of 0 would be a loop that does nothing else."""
    with pytest.raises((TypeError, ValueError), match=f"{next(iter(arguments))} is a number of seconds"):
        tracker.wait("never", **{"timeout": 0, **arguments})


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (lambda: TrackResultTracker(None), TypeError, "a store is a URI or a TrackClient, not NoneType"),  # type: ignore[arg-type]
        (lambda: TrackResultTracker(3), TypeError, "a store is a URI or a TrackClient, not int"),  # type: ignore[arg-type]
        (lambda: TrackResultTracker("file:a.json", 3), TypeError, "a project's name is a str, not int"),  # type: ignore[arg-type]
        (lambda: TrackResultTracker("file:a.json", ""), ValueError, "a project needs a name"),
    ],
)
def test_tracker_of_nothing(
    make: Callable[[], Any], kind: type[Exception], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an error when it is made, not when the first results come."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(kind, match=said):
        make()


def test_import_of_nothing(tmp_path: Path) -> None:
    """A folder that is mistyped is said: an empty project would look like one whose results were lost."""
    (tmp_path / "file").write_text("x")

    for base in (tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(NotFound, match=rf"there are no results in '{base}'"):
            import_results(base, f"file:{tmp_path}/runs.json")
