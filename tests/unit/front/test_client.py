"""TrackClient: choosing a store, a project, a group and a trial."""

from __future__ import annotations

import argparse
import copy
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from track import TrackClient
from track.aggregators.aggregator import StatAggregator
from track.errors import MissingExtra, MissingIdentity, NotFound, UnknownBackend
from track.persistence.ephemeral import EphemeralProtocol
from track.structure import Project, Status, TrialGroup, get_current_project, set_current_project
from track.utils.eta import EstimatedTime

# the store


@pytest.mark.parametrize("backend", ["none", "none:", "", None])
def test_client_of_nothing_is_in_memory(
    backend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that is told nothing writes no file, and says so once, at the first trial."""
    monkeypatch.chdir(tmp_path)

    client = TrackClient(backend)
    silent = caplog.text
    for seed in range(2):
        client.new_trial(force=True, parameters={"seed": seed})

    assert silent == ""
    assert caplog.text.count("nothing will be stored: give a backend") == 1
    assert list(tmp_path.iterdir()) == []


def test_store_in_memory_by_choice_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Who asks for memory is not told that nothing will be stored."""
    TrackClient("ephemeral:").new_trial(parameters={})

    assert caplog.text == ""


def test_environment_names_the_store(shared: EphemeralProtocol, monkeypatch: pytest.MonkeyPatch) -> None:
    """The option is read when the client is made, not when it is imported."""
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", "shared:")

    assert TrackClient().protocol is shared


def test_empty_option_is_no_store(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """An empty variable counts as not set, and the message says that nothing is stored."""
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", "")

    TrackClient().new_trial(parameters={})

    assert "nothing will be stored" in caplog.text


def test_argument_wins_over_the_environment(shared: EphemeralProtocol, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store given in the program is the one."""
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", "mogno:")

    assert TrackClient("shared:").protocol is shared


def test_unknown_store_is_refused() -> None:
    """A scheme that nobody serves is an error that says what it could have been."""
    with pytest.raises(UnknownBackend, match=r"'ephmeral:'; did you mean 'ephemeral:'\?"):
        TrackClient("ephmeral:")


# the project


def test_stored_project_wins(client: TrackClient, another: Callable[[], TrackClient]) -> None:
    """A project that is stored is returned as it is stored."""
    another().set_project(name="digits", description="the second")

    assert client.protocol.fetch_projects()[0].description is None


def test_project_that_is_set_stays(client: TrackClient, caplog: pytest.LogCaptureFixture) -> None:
    """Without force the current project is returned, an info line says so, and nothing is stored."""
    with caplog.at_level(logging.INFO):
        project = client.set_project(name="other")

    assert project.name == "digits"
    assert "the project is 'digits' already" in caplog.text
    assert len(client.protocol.fetch_projects()) == 1


def test_force_changes_the_project(client: TrackClient) -> None:
    """With force another project is chosen."""
    assert client.set_project(Project(name="other"), force=True).name == "other"


def test_get_only_does_not_create(client: TrackClient) -> None:
    """A missing project is an error that names it, and the client stays as it was."""
    before = client.project

    with pytest.raises(RuntimeError, match="project 'other' does not exist"):
        client.set_project(name="other", force=True, get_only=True)

    assert client.project is before


def test_project_needs_a_name() -> None:
    """A project without a name has no identity."""
    with pytest.raises(MissingIdentity, match="name"):
        TrackClient("ephemeral:").set_project(description="of nothing")


def test_project_is_the_current_one(client: TrackClient) -> None:
    """The project that is set is the current project of the program."""
    assert get_current_project() is client.project

    set_current_project(None)


# the group


def test_group_is_in_the_current_project(client: TrackClient) -> None:
    """A group belongs to the project that is set."""
    group = client.set_group(name="idea", description="first")

    assert (group.project_id, group.description) == ("digits", "first")


def test_group_object_is_in_the_current_project(client: TrackClient) -> None:
    """A group given as an object without a project belongs to the one that is set."""
    assert client.set_group(TrialGroup(name="idea")).project_id == "digits"


@pytest.mark.parametrize("arguments", [{"name": "idea"}, {"group": TrialGroup(name="idea")}])
def test_group_needs_a_project(arguments: dict[str, Any]) -> None:
    """Without a project the message says what to call first."""
    with pytest.raises(RuntimeError, match="call set_project first"):
        TrackClient("ephemeral:").set_group(**arguments)


def test_missing_group_is_named(client: TrackClient) -> None:
    """With get_only a group that is not stored is an error, and the client stays as it was."""
    with pytest.raises(NotFound, match="group 'idea' does not exist"):
        client.set_group(name="idea", get_only=True)

    assert client.group is None


def test_group_that_is_set_stays(client: TrackClient) -> None:
    """Without force the current group is returned, with force it is another."""
    first = client.set_group(name="idea")

    assert client.set_group(name="other") is first
    assert client.set_group(name="other", force=True).name == "other"


def test_trial_joins_project_and_group(client: TrackClient) -> None:
    """A new trial is in the project and in the group that are set."""
    group = client.set_group(name="idea")

    trial = client.new_trial(parameters={"lr": 0.1}).trial

    assert (trial.project_id, trial.group_id) == ("digits", group.uid)
    assert client.protocol.fetch_groups()[0].trials == {trial.uid}
    assert client.protocol.fetch_projects()[0].trials == {trial}


def test_trial_without_a_project_is_an_orphan() -> None:
    """A trial of no project is in the project ``orphan``, where it can be found."""
    client = TrackClient("ephemeral:")

    trial = client.new_trial(parameters={}).trial

    assert trial.project_id == "orphan"
    assert client.protocol.fetch_projects()[0].trials == {trial}


def test_project_that_nobody_chose_gives_way(caplog: pytest.LogCaptureFixture) -> None:
    """A program that logs first and names its project later hears nothing of ``orphan``."""
    client = TrackClient("ephemeral:")
    client.new_trial(parameters={})
    shown = repr(client)

    client.set_project(name="digits")

    assert client.project is not None
    assert client.project.name == "digits"
    assert "orphan" not in shown + caplog.text


# the rest of the facade


def test_logger_answers_for_the_client(client: TrackClient) -> None:
    """What the client has not is looked up on the current trial's logger."""
    client.new_trial(parameters={})

    client.log_metrics(step=0, loss=1.0)
    with client.chrono("batch") as times:
        pass

    assert client.trial is not None
    assert dict(client.trial.metrics["loss"]) == {0: 1.0}
    assert isinstance(times, StatAggregator)


def test_unknown_attribute_is_named(client: TrackClient) -> None:
    """An attribute of nobody is an AttributeError, with and without a trial."""
    with pytest.raises(AttributeError, match=r"'log_metrics' \(there is no trial yet: call new_trial\)"):
        _ = client.log_metrics
    client.new_trial(parameters={})
    with pytest.raises(AttributeError, match="log_metrcs"):
        _ = client.log_metrcs


def test_empty_client_does_not_recurse() -> None:
    """Copying and probing a client that has no attributes yet ends."""
    empty = TrackClient.__new__(TrackClient)

    assert not hasattr(empty, "log_metrics")
    assert not hasattr(copy.copy(empty), "chrono")


@pytest.mark.parametrize("verb", ["report", "start", "finish", "add_tags", "log_arguments"])
def test_verbs_need_a_trial(client: TrackClient, verb: str) -> None:
    """Without a trial the message says what to call first."""
    with pytest.raises(RuntimeError, match="call new_trial or set_trial first"):
        getattr(client, verb)()


def test_client_is_a_context_manager(client: TrackClient) -> None:
    """``with client as log`` gives the logger, and the trial is Completed after it."""
    client.new_trial(parameters={})

    with client as log:
        running = log.trial.status

    assert log is client.logger
    assert (running, log.trial.status) == (Status.Running, Status.Completed)


def test_device_needs_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torch the message says what is needed; nothing else needs it."""
    monkeypatch.setitem(sys.modules, "torch", None)

    with pytest.raises(MissingExtra, match="get_device needs torch"):
        TrackClient.get_device()


@pytest.mark.parametrize("name", ["estimate_time", "estimated_time"])
def test_eta_has_both_of_its_names(name: str) -> None:
    """The seed's own example uses the short name."""
    timer = StatAggregator(skip_obs=0)
    timer.append(60.0)

    assert getattr(EstimatedTime(timer, 10), name)(4) == 5.0


def test_namespace_of_arguments_is_accepted(client: TrackClient) -> None:
    """``arguments`` is another name of ``parameters``, and both take a Namespace."""
    for name in ("arguments", "parameters"):
        log = client.new_trial(force=True, **{name: argparse.Namespace(lr=0.1)})

        assert log.trial.parameters == {"lr": 0.1}
