"""The base of our own backends; what they all claim is in `track.testing.conformance`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from track.aggregators.aggregator import RingAggregator, StatAggregator
from track.client import TrackClient
from track.errors import InvalidEvent, NotFound, TrialDoesNotExist
from track.events import Event, MetricsLogged, StatusChanged, TimeLogged, TrialCreated
from track.persistence.ephemeral import EphemeralProtocol
from track.persistence.eventprotocol import EventProtocol
from track.persistence.protocol import call_method
from track.structure import CustomStatus, Project, Status, Trial, TrialGroup


class _Recording(EphemeralProtocol):
    """A store that shows the facts it is told, with a clock that stands still."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = lambda: 5.0
        self.told: list[Event] = []

    def apply(self, *events: Event) -> None:
        """Remember them."""
        self.told.extend(events)
        super().apply(*events)


@pytest.fixture
def protocol() -> _Recording:
    """Give a store with a project, a group and a trial."""
    protocol = _Recording()
    protocol.new_project(Project(name="p"))
    protocol.new_trial_group(TrialGroup(name="g", project_id="p"))
    protocol.new_trial(Trial("ab"))
    protocol.told.clear()
    return protocol


def test_one_call_is_one_fact(protocol: _Recording) -> None:
    """Several values logged together are one event, with the time of the clock."""
    protocol.log_trial_metrics(Trial("ab"), step=3, loss=0.5, acc=1)

    assert protocol.told == [MetricsLogged("ab_0", {"loss": 0.5, "acc": 1}, 5.0, 3)]


def test_aggregator_is_written_down(protocol: _Recording) -> None:
    """A factory is in the event as its specification."""
    protocol.log_trial_metrics(Trial("ab"), aggregator=RingAggregator.lazy(2, "d"), loss=0.5)

    assert protocol.told == [MetricsLogged("ab_0", {"loss": 0.5}, 5.0, None, ["ring", 2, "d"])]


def test_start_says_who_runs(protocol: _Recording) -> None:
    """The fact that a trial runs has the process."""
    protocol.log_trial_start(Trial("ab"))

    (event,) = protocol.told
    assert isinstance(event, StatusChanged)
    assert event.process is not None
    assert {"host", "pid"} <= event.process.keys()


def test_finish_says_how_long_and_how(protocol: _Recording) -> None:
    """The end is the run time, which is a sum, and the status, with the process and the attempt that ended."""
    protocol.log_trial_start(Trial("ab"))
    (start,) = protocol.told
    protocol.told.clear()

    protocol.log_trial_finish(Trial("ab"), None, None, None)

    time, status = protocol.told
    assert isinstance(time, TimeLogged)
    assert isinstance(start, StatusChanged)
    assert (time.name, time.aggregator) == ("runtime", ["sum"])
    assert status == StatusChanged("ab_0", ("Completed", 302), 5.0, process=start.process, attempt=1)


def test_finish_without_a_start_has_no_time(protocol: _Recording) -> None:
    """A trial that another process started ends without a run time."""
    protocol.log_trial_finish(Trial("ab"), None, None, None)

    assert [type(event) for event in protocol.told] == [StatusChanged]


def test_timer_that_was_not_started_is_named(protocol: _Recording) -> None:
    """Stopping what does not run is a mistake."""
    with pytest.raises(NotFound, match="no timer 'batch' was started in this thread"):
        protocol.log_trial_chrono_finish(Trial("ab"), "batch", None, None, None)


def test_end_callback_runs_also_after_an_error(protocol: _Recording) -> None:
    """A device is waited for whether the block raised or not, and a failing callback is only logged."""
    calls: list[str] = []

    def end() -> None:
        calls.append("end")
        raise RuntimeError("the device is gone")

    protocol.log_trial_chrono_start(Trial("ab"), "batch", end_callback=end)
    protocol.log_trial_chrono_finish(Trial("ab"), "batch", ValueError, ValueError(), None)

    assert (calls, protocol.told) == (["end"], [])


def test_failing_callback_of_a_good_block_is_the_callers(protocol: _Recording) -> None:
    """Without another exception, the callback's own is raised."""

    def end() -> None:
        raise RuntimeError("the device is gone")

    protocol.log_trial_chrono_start(Trial("ab"), "batch", end_callback=end)

    with pytest.raises(RuntimeError, match="the device is gone"):
        protocol.log_trial_chrono_finish(Trial("ab"), "batch", None, None, None)


def test_creation_of_a_trial_is_one_fact() -> None:
    """A client's trial is created in its project: that it is in it is not said once more."""
    client = TrackClient("ephemeral:")
    client.protocol = protocol = _Recording()
    client.set_project(name="p")
    protocol.told.clear()

    client.new_trial(parameters={"lr": 0.1})

    assert [type(event) for event in protocol.told] == [TrialCreated]


def test_creation_in_a_project_that_is_not_stored_is_refused(protocol: _Recording) -> None:
    """A trial whose project is gone is no trial of it, also where its creation says so."""
    trial = protocol.new_trial(Trial("cd", project_id="gone"))
    assert trial is not None

    with pytest.raises(NotFound, match="no project 'gone'"):
        protocol.confirm_project(Project(name="gone"), trial)


@pytest.mark.parametrize(
    "call",
    [
        lambda p, t: p.log_trial_start(t),
        lambda p, t: p.log_trial_finish(t, None, None, None),
        lambda p, t: p.log_trial_arguments(t, a=1),
        lambda p, t: p.log_trial_metadata(t, a=1),
        lambda p, t: p.log_trial_metrics(t, a=1),
        lambda p, t: p.add_trial_tags(t, a=1),
        lambda p, t: p.set_trial_status(t, "running"),
        lambda p, t: p.add_project_trial(Project(name="p"), t),
    ],
    ids=["start", "finish", "arguments", "metadata", "metrics", "tags", "status", "attach"],
)
def test_unknown_trial_is_refused_by_every_verb(protocol: _Recording, call: Any) -> None:
    """A trial that is not stored is a mistake of the program, said at once, and nothing is stored."""
    with pytest.raises(TrialDoesNotExist, match="no trial 'zz_0' is stored in ephemeral:: create it with new_trial"):
        call(protocol, Trial("zz"))

    assert protocol.told == []


def test_trial_created_by_another_is_known(protocol: _Recording) -> None:
    """A trial may come from another writer at any time."""
    other = _Recording()
    other.store = protocol.store

    other.log_trial_metrics(Trial("ab"), loss=1.0)

    assert len(other.told) == 1


@pytest.mark.parametrize(
    ("call", "missing"),
    [
        (lambda p: p.add_project_trial(Project(name="q"), Trial("ab")), "no project 'q'"),
        (lambda p: p.add_group_trial(TrialGroup(_uid="q"), Trial("ab")), "no group 'q'"),
        (lambda p: p.set_group_metadata(TrialGroup(_uid="q", name="idea"), a=1), "no group 'idea'"),
        (lambda p: p.new_trial_group(TrialGroup(name="n", project_id="q")), "no project 'q'"),
    ],
)
def test_missing_owner_is_named(protocol: _Recording, call: Any, missing: str) -> None:
    """An attachment needs both of its ends."""
    with pytest.raises(NotFound, match=missing):
        call(protocol)


def test_mirror_takes_what_comes() -> None:
    """A store that is not strict accepts a child before its parent."""
    mirror = EphemeralProtocol(strict=False)
    mirror.new_trial(Trial("ab"))

    group = mirror.new_trial_group(TrialGroup(name="idea", project_id="nowhere"))
    mirror.add_group_trial(group, Trial("ab"))
    mirror.add_project_trial(Project(name="nowhere"), Trial("ab"))

    assert mirror.get_trial(Trial("ab"))[0].project_id == "nowhere"


@pytest.mark.parametrize("values", [{"dtype": 1, "value": 2}, {"name": "x", "uid": "y"}, {"when": math.inf}])
def test_group_metadata_of_any_name(protocol: _Recording, values: dict[str, Any]) -> None:
    """Metadata of a group may have any names and values."""
    group = protocol.fetch_groups()[0]

    protocol.set_group_metadata(group, **values)

    assert protocol.fetch_groups()[0].metadata == values


def test_metadata_under_the_default_aggregator_replaces(protocol: _Recording) -> None:
    """Only another aggregator than the default appends."""
    for value in (1.0, 3.0):
        protocol.log_trial_metadata(Trial("ab"), plain=value)
        protocol.log_trial_metadata(Trial("ab"), aggregator=StatAggregator.lazy(0), stat=value)

    metadata = protocol.get_trial(Trial("ab"))[0].metadata
    assert (metadata["plain"], metadata["stat"].avg) == (3.0, 2.0)


def test_new_project_that_is_stored_is_returned(protocol: _Recording, caplog: pytest.LogCaptureFixture) -> None:
    """Two programs that create a project at once have done nothing wrong: both get the stored one, silently."""
    stored = protocol.new_project(Project(name="p", description="another"))

    assert stored.description != "another"
    assert caplog.text == ""


def test_unknown_status_stores_nothing(protocol: _Recording) -> None:
    """A word that is no status is refused before anything is stored."""
    with pytest.raises(InvalidEvent, match="'runing' is no status"):
        protocol.set_trial_status(Trial("ab"), "runing", "why")

    assert protocol.told == []


@pytest.mark.parametrize("method", ["apply", "atomically"])
def test_base_says_what_is_missing(method: str) -> None:
    """A backend of events writes these."""
    with pytest.raises(NotImplementedError):
        getattr(EventProtocol("byob:"), method)(None)


# from facts back to methods


def test_facts_are_said_with_methods(protocol: _Recording) -> None:
    """A backend of methods that is told the facts of another one ends up with the same trial."""
    protocol.log_trial_metrics(Trial("ab"), step=3, dtype=0.5, value=math.inf)
    protocol.log_trial_metadata(Trial("ab"), dtype=1, value=2)
    protocol.log_trial_arguments(Trial("ab"), lr=0.1)
    protocol.add_trial_tags(Trial("ab"), a=1)
    protocol.set_trial_status(Trial("ab"), CustomStatus("new", 42), "why")
    protocol.add_project_trial(Project(name="p"), Trial("ab"))
    group = protocol.fetch_groups()[0]
    protocol.add_group_trial(group, Trial("ab"))
    protocol.set_group_metadata(group, dtype=1, value=2)
    copy = EphemeralProtocol(strict=False)
    copy.new_project(Project(name="p"))
    copy.new_trial_group(TrialGroup(_uid=group.uid, name="g", project_id="p"))
    copy.new_trial(Trial("ab"))

    for event in protocol.told:
        call_method(copy, event)

    seen, wanted = copy.get_trial(Trial("ab"))[0], protocol.get_trial(Trial("ab"))[0]
    names = ("parameters", "tags", "status", "errors", "project_id", "group_id")
    assert [getattr(seen, name) for name in names] == [getattr(wanted, name) for name in names]
    assert repr(seen.metrics) == repr(wanted.metrics)
    assert (seen.metadata["dtype"], copy.fetch_groups()[0].metadata) == (1, {"dtype": 1, "value": 2})
    assert seen.status == CustomStatus("new", 42)
    assert Status.Running not in (seen.status, wanted.status)


@pytest.mark.parametrize("uri", ["ephemeral:", "file:{}/a.json", "sqlite:{}/a.db"])
def test_bytes_that_are_no_text_are_stored_as_question_marks(uri: str, tmp_path: Path) -> None:
    """A name of a file with odd bytes, anywhere in parameters or metadata, does not stop a training."""
    client = TrackClient(uri.format(tmp_path))
    trial = client.new_trial(parameters={"path": Path("a\udcff")})
    trial.log_metadata(**{"k\udcff": ["\ud800"]})
    trial.finish()

    (found,) = client.protocol.fetch_trials()

    assert found.parameters == {"path": "a?"}
    assert found.metadata["k?"] == ["?"]


@pytest.mark.parametrize("uri", ["ephemeral:", "file:{}/a.json", "sqlite:{}/a.db"])
@pytest.mark.parametrize("name", [3, "a\udcff"])
def test_name_of_a_project_is_text(uri: str, name: Any, tmp_path: Path) -> None:
    """Another one is refused before anything is written."""
    client = TrackClient(uri.format(tmp_path))

    with pytest.raises(InvalidEvent, match="the name of a project is text"):
        client.set_project(name=name)

    assert client.protocol.fetch_projects() == []
