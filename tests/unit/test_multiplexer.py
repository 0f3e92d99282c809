"""Several backends as one; what they have in common with every backend is in tests/conformance."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from track import TrackClient
from track.errors import BackendUnavailable
from track.persistence import register, unregister
from track.persistence.ephemeral import EphemeralProtocol
from track.persistence.multiplexer import ProtocolMultiplexer, make_mirror
from track.persistence.protocol import Protocol
from track.structure import Project, Status, Trial, TrialGroup


class _Broken(EphemeralProtocol):
    """A backend whose server is away."""

    def apply(self, *events: Any) -> None:
        """Refuse."""
        raise BackendUnavailable("no route to host")


class _Metrics(Protocol):
    """A backend of somebody who cares for metrics only."""

    def __init__(self, uri: str = "byob:") -> None:
        self.logged: list[Any] = []

    def log_trial_metrics(self, trial: Trial, /, step: Any = None, aggregator: Any = None, **kwargs: Any) -> None:
        """Keep them."""
        self.logged.append((step, kwargs))


class _Silent(_Metrics):
    """A backend that listens to the creation of objects and answers nothing."""

    def new_project(self, project: Project) -> Any:
        """Hear of it."""

    def new_trial(self, trial: Trial, auto_increment: bool = False) -> Any:
        """Hear of it."""


@pytest.fixture
def trial() -> Trial:
    """Give a trial that is not stored."""
    return Trial(parameters={"lr": 0.1})


@pytest.fixture(params=[_Metrics, _Silent])
def client(request: pytest.FixtureRequest) -> Iterator[TrackClient]:
    """Give a client of a backend with few methods."""
    register("byob", request.param)
    yield TrackClient("byob://host")
    unregister("byob")


def _main(client: TrackClient) -> Any:
    assert isinstance(client.protocol, ProtocolMultiplexer)
    return client.protocol.protos[-1]


# mirrors


def test_failing_mirror_is_reported_once_and_never_raised(trial: Trial, caplog: pytest.LogCaptureFixture) -> None:
    """A mirror that fails disturbs nobody: one warning a method, and the main backend has the data."""
    main = EphemeralProtocol()
    both = ProtocolMultiplexer(_Broken(), main)
    both.new_trial(trial)

    for step in range(5):
        both.log_trial_metrics(trial, step=step, loss=1.0)

    assert len(main.get_trial(trial)[0].metrics["loss"]) == 5
    assert caplog.text.count("log_trial_metrics of _Broken") == 1


def test_failing_main_backend_raises(trial: Trial) -> None:
    """The main backend's errors are the caller's."""
    both = ProtocolMultiplexer(make_mirror(), _Broken())

    with pytest.raises(BackendUnavailable, match="no route to host"):
        both.new_trial(trial)


def test_main_backend_decides_the_revision(trial: Trial) -> None:
    """The mirror takes the revision that the main backend chose."""
    main, mirror = EphemeralProtocol(), make_mirror()
    main.new_trial(Trial(parameters={"lr": 0.1}))

    made = ProtocolMultiplexer(mirror, main).new_trial(trial, auto_increment=True)

    assert made is not None
    assert (made.revision, trial.revision) == (1, 1)
    assert [stored.uid for stored in mirror.fetch_trials()] == [made.uid]


@pytest.mark.parametrize("mirrors", [0, 1, 2])
def test_callbacks_are_called_once(trial: Trial, mirrors: int) -> None:
    """However many backends there are, a device is waited for once."""
    calls: list[str] = []
    both = ProtocolMultiplexer(*(make_mirror() for _ in range(mirrors)), EphemeralProtocol())
    both.new_trial(trial)

    both.log_trial_chrono_start(
        trial, "batch", start_callback=lambda: calls.append("start"), end_callback=lambda: calls.append("end")
    )
    both.log_trial_chrono_finish(trial, "batch", None, None, None)

    assert calls == ["start", "end"]
    assert all("batch" in proto.get_trial(trial)[0].chronos for proto in both.protos)


def test_changes_by_query_reach_the_mirrors(trial: Trial) -> None:
    """What the main backend decides on, the mirrors follow."""
    both = ProtocolMultiplexer(make_mirror(), EphemeralProtocol())
    both.new_project(Project(name="p"))
    both.new_trial_group(TrialGroup(name="g", project_id="p"))
    both.new_trial(trial)

    both.fetch_and_update_trial({"status": "createdgroup"}, "set_trial_status", Status.Running)
    both.fetch_and_update_group({"name": "g"}, "set_group_metadata", done=True)

    assert [proto.get_trial(trial)[0].status for proto in both.protos] == [Status.Running] * 2
    assert [proto.fetch_groups()[0].metadata for proto in both.protos] == [{"done": True}] * 2


def test_what_is_not_stored_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that any backend could not store are counted."""
    both = ProtocolMultiplexer(make_mirror(), make_mirror())
    for count, proto in enumerate(both.protos, start=1):
        monkeypatch.setattr(proto, "unsaved", lambda count=count: count)

    assert both.unsaved() == 3


def test_multiplexer_of_nothing_is_refused() -> None:
    """There must be a backend that answers."""
    with pytest.raises(ValueError, match="needs at least one backend"):
        ProtocolMultiplexer()


def test_backends_are_known() -> None:
    """The attribute of the original, and what is shown."""
    mirror, main = make_mirror(), EphemeralProtocol("none:")

    both = ProtocolMultiplexer(mirror, main)

    assert both.protos == (mirror, main)
    assert repr(both) == "ProtocolMultiplexer(EphemeralProtocol('ephemeral:'), EphemeralProtocol('none:'))"


# a backend with few methods


def test_backend_of_few_methods_is_used_like_any_other(client: TrackClient, caplog: pytest.LogCaptureFixture) -> None:
    """What the backend does not implement is in the copy in memory, and the backend hears the rest."""
    client.set_project(name="digits")
    client.set_group(name="idea")
    log = client.new_trial(parameters={"lr": 0.1})
    with log:
        for step in range(2):
            log.log_metrics(step=step, loss=1.0)
        with log.chrono("batch"):
            pass
        log.log_metadata(gpu="V100")
        log.add_tags(a=1)

    trial = log.trial
    assert _main(client).logged == [(0, {"loss": 1.0}), (1, {"loss": 1.0})]
    assert (trial.status, dict(trial.metrics["loss"])) == (Status.Completed, {0: 1.0, 1: 1.0})
    assert (trial.tags, trial.metadata["gpu"], trial.project_id) == ({"a": 1}, "V100", "digits")
    assert "batch" in trial.chronos


def test_missing_methods_are_said_once(client: TrackClient, caplog: pytest.LogCaptureFixture) -> None:
    """One warning says what the backend leaves to the copy."""
    for seed in range(3):
        log = client.new_trial(force=True, parameters={"seed": seed})
        log.log_metadata(gpu="V100")
        log.set_status("suspended")

    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "leaves to a copy in memory" in warnings[0].getMessage()


def test_same_parameters_make_a_revision_without_the_backend(client: TrackClient) -> None:
    """The copy counts the revisions that the backend does not."""
    trials = [client.new_trial(force=True, parameters={"lr": 0.1}).trial for _ in range(2)]

    assert [trial.revision for trial in trials] == [0, 1]


def test_changes_by_query_reach_the_backend(client: TrackClient) -> None:
    """The copy finds the trial, the backend hears of the change."""
    client.new_trial(parameters={})

    client.protocol.fetch_and_update_trial({}, "log_trial_metrics", step=3, loss=1.0)

    assert _main(client).logged == [(3, {"loss": 1.0})]


@pytest.mark.parametrize(
    "call",
    [
        lambda alone, trial: alone.log_trial_start(trial),
        lambda alone, trial: alone.log_trial_chrono_start(trial, "batch"),
        lambda alone, trial: alone.new_trial(trial),
        lambda alone, trial: alone.get_trial(trial),
        lambda alone, trial: alone.fetch_trials(),
        lambda alone, trial: alone.fetch_and_update_trial({}, "add_trial_tags", a=1),
        lambda alone, trial: alone.fetch_and_update_group({}, "set_group_metadata", a=1),
    ],
    ids=["start", "chrono", "new", "get", "fetch", "update trial", "update group"],
)
def test_nobody_to_ask_is_said(trial: Trial, call: Any) -> None:
    """Without a mirror, a method that the backend lacks is NotImplementedError."""
    with pytest.raises(NotImplementedError):
        call(ProtocolMultiplexer(_Metrics()), trial)
