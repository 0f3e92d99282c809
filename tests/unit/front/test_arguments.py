"""Calls that cannot be understood are one error that says how to write them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

import track.logger
from tests.children import python
from track import TrackClient
from track.errors import InvalidCall, TrackError
from track.logger import TrialLogger
from track.verbs import HERE


@pytest.fixture
def client() -> TrackClient:
    """Give a client on an empty store in memory, with a trial."""
    client = TrackClient("ephemeral:")
    client.set_project(name="digits")
    client.new_trial(parameters={"lr": 0.1})
    return client


@pytest.fixture(autouse=True)
def _nobody_has_imported_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget that another test has imported a module of the package that is called as a verb of others."""
    monkeypatch.delattr(track, "config", raising=False)


@pytest.mark.parametrize(
    ("call", "way_out"),
    [
        (lambda log: log.log_metrics(3, {"loss": 1.0}), "log_metrics(loss=0.5), or log_metrics(**values)"),
        (lambda log: log.log_metadata({"gpu": "V100"}), "log_metadata(gpu='V100'), or log_metadata(**values)"),
        (lambda log: log.log_metadata("V100"), "log_metadata(gpu='V100'), or log_metadata(**values)"),
        (lambda log: log.add_tags("v2"), "add_tags(paper='v2'), or add_tags(**values)"),
        (lambda log: log.add_tags({"paper": "v2"}), "add_tags(paper='v2'), or add_tags(**values)"),
        (lambda log: log.log_arguments(0.1), "log_arguments(lr=0.1), or log_arguments(values)"),
        (lambda log: log.log_arguments(["--lr"]), "log_arguments(lr=0.1), or log_arguments(values)"),
    ],
)
@pytest.mark.parametrize("through", ["client", "logger"])
def test_value_without_a_name_is_refused(
    client: TrackClient, through: str, call: Callable[[Any], Any], way_out: str
) -> None:
    """A value whose name is missing is an error that says how to write the call; nothing is recorded."""
    log = client if through == "client" else client.logger

    with pytest.raises(TypeError, match=re.escape(way_out)) as caught:
        call(log)

    assert isinstance(caught.value, InvalidCall)
    assert client.trial is not None
    assert (dict(client.trial.metrics), client.trial.tags) == ({}, {})


@pytest.mark.parametrize(
    ("call", "way_out"),
    [
        (lambda client: client.new_trial(parameters=[1]), "parameters={'lr': 0.1}"),
        (lambda client: client.new_trial(arguments="lr"), "parameters={'lr': 0.1}"),
        (lambda client: client.new_trial({"lr": 1}), "new_trial(parameters={'lr': 0.1})"),
        (lambda client: client.new_trial("first"), "new_trial(parameters={'lr': 0.1})"),
        (lambda client: client.set_project("digits"), "set_project(name='digits')"),
        (lambda client: client.set_group("idea"), "set_group(name='idea')"),
        (lambda client: client.set_trial("abc_0"), "set_trial(uid=...)"),
    ],
)
def test_choice_without_a_name_is_refused(client: TrackClient, call: Callable[[Any], Any], way_out: str) -> None:
    """What to choose is said by name; a bare text or dict is an error that shows how."""
    with pytest.raises(InvalidCall, match=re.escape(way_out)):
        call(client)


@pytest.mark.parametrize("is_pending", [False, True])
def test_logger_takes_arguments_as_the_client_does(client: TrackClient, is_pending: bool) -> None:
    """A dictionary of parameters needs no stars."""
    log = client.new_trial(force=True) if is_pending else client.new_trial(force=True, parameters={"lr": 0.1})

    log.log_arguments({"lr": 0.1})

    assert log.trial.parameters == {"lr": 0.1}


def test_arguments_that_differ_are_said_by_the_logger(client: TrackClient, caplog: pytest.LogCaptureFixture) -> None:
    """Parameters of a trial that exists stay, and one warning says where others go."""
    assert client.logger is not None

    client.logger.log_arguments(lr=0.2, epochs=3)

    assert [record.getMessage() for record in caplog.records] == [
        "the trial exists and keeps its parameters; not stored: lr, epochs (log_metadata(epochs=3) keeps what is known "
        "later, new_trial(force=True) begins another trial)"
    ]


# names


@pytest.mark.parametrize("has_trial", [True, False])
def test_typing_error_on_the_client_is_told_with_a_suggestion(client: TrackClient, has_trial: bool) -> None:
    """A verb that does not exist is the client's error, and the nearest one is named."""
    tried = client if has_trial else TrackClient("ephemeral:")

    with pytest.raises(AttributeError, match=r"'TrackClient' .*'log_metrisc'; did you mean 'log_metrics'\?") as caught:
        _ = tried.log_metrisc

    assert isinstance(caught.value, TrackError)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("log", "trial.log_metrics("),
        ("log_metric", "trial.log_metrics("),
        ("add_scalar", "trial.log_metrics("),
        ("track", "trial.log_metrics("),
        ("append", "trial.log_metrics("),
        ("log_param", "trial.log_arguments("),
        ("log_params", "trial.log_arguments("),
        ("log_hyperparams", "trial.log_arguments("),
        ("config", "trial.log_arguments("),
        ("summary", "trial.log_metadata("),
        ("set_tag", "trial.add_tags("),
        ("add_image", "trial.log_image("),
        ("log_artifacts", "trial.log_directory("),
        ("init", ".new_trial("),
        ("start_run", ".new_trial("),
        ("init_run", ".new_trial("),
        ("Run", ".new_trial("),
        ("SummaryWriter", ".new_trial("),
        ("set_experiment", "client.set_project("),
        ("set_tracking_uri", "TrackClient("),
        ("search_runs", "track.fetch("),
        ("end_run", "trial.finish()"),
    ],
)
def test_verbs_of_other_trackers_are_translated(client: TrackClient, theirs: str, ours: str) -> None:
    """What wandb, mlflow, neptune, aim, Comet and TensorBoard call it is answered with what it is called here."""
    for tried in (track, client, client.logger, TrackClient("ephemeral:")):
        with pytest.raises(AttributeError, match=f"{theirs!r}; here it is .*{re.escape(ours)}"):
            getattr(tried, theirs)


def test_verbs_of_the_current_trial_are_completed(client: TrackClient) -> None:
    """A notebook offers for a client what works on it; without a trial that is less, and nothing is created."""
    assert {"log_metrics", "log_series", "chrono", "new_trial"} <= set(dir(client))
    assert "log_metrics" not in dir(TrackClient("ephemeral:"))


def test_translated_verbs_do_not_exist(client: TrackClient) -> None:
    """No verb that is translated is one that works."""
    assert not [name for name in HERE for tried in (track, client, client.logger) if name in dir(tried)]


def test_translations_name_what_exists(client: TrackClient) -> None:
    """What is suggested works: each verb of a trial, of a client and of the package."""
    owners = {"trial": client.logger, "client": client, "track": track}
    named = {match for here in HERE.values() for match in re.findall(r"\b(trial|client|track)\.(\w+)", here)}

    assert not [name for owner, name in named if not hasattr(owners[owner], name)]


def test_typing_error_on_a_trial_is_told_with_a_suggestion() -> None:
    """Of a trial's verb that does not exist Python itself names the nearest one, none that others have."""
    done = python("-c", "from track import TrackClient; TrackClient('ephemeral:').new_trial(parameters={}).log_metrisc")

    assert "'TrialLogger' object has no attribute 'log_metrisc'. Did you mean: 'log_metrics'?" in done.stderr


def test_probing_a_trial_finds_nothing(client: TrackClient) -> None:
    """What looks for methods that may be there, as copy, pickle and notebooks do, gets the plain answer."""
    assert not hasattr(client.logger, "_repr_mimebundle_")
    assert getattr(client.logger, "__array__", None) is None
    assert getattr(TrialLogger.__new__(TrialLogger), "protocol", None) is None


def test_error_inside_a_property_of_a_trial_is_not_hidden(client: TrackClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A property that exists and fails keeps its own error."""
    monkeypatch.setattr(TrialLogger, "stdout", property(lambda self: self.nothing))

    with pytest.raises(AttributeError, match="'nothing'"):
        _ = client.logger.stdout  # type: ignore[union-attr]


def test_error_inside_an_attribute_is_not_hidden(client: TrackClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attribute that exists and fails keeps its own error."""
    monkeypatch.setattr(track.logger.TrialLogger, "stdout", property(lambda self: self.nothing))

    with pytest.raises(AttributeError, match="'nothing'"):
        _ = client.stdout


@pytest.mark.parametrize(
    ("call", "builtin"),
    [
        (lambda: TrackClient("ephemeral:").report(), RuntimeError),
        (lambda: TrackClient("ephemeral:").set_group(name="idea"), RuntimeError),
        (lambda: TrackClient("ephemeral:").new_trial(parameters={}).report(style="tabel"), ValueError),
        (lambda: TrackClient("ephemeral:").new_trial(parameters={}).report("table"), TypeError),
    ],
)
def test_errors_of_the_client_are_of_one_tree(call: Callable[[], Any], builtin: type[Exception]) -> None:
    """Whoever catches TrackError catches them all; each is also the builtin a person expects."""
    with pytest.raises(builtin) as caught:
        call()

    assert isinstance(caught.value, TrackError)


# repr


def test_repr_of_a_client_says_where_and_what() -> None:
    """A client shows its store, without secrets, and what is chosen."""
    client = TrackClient("ephemeral:")
    client.protocol.uri = "socket://ann:secret@host:1"  # type: ignore[attr-defined]

    empty = repr(client)
    client.set_project(name="digits")
    log = client.new_trial(name="first")

    assert empty == "TrackClient('socket://ann:***@host:1')"
    assert repr(client) == "TrackClient('socket://ann:***@host:1', project='digits', trial='first')"
    assert repr(log) == "<TrialLogger of 'first', which waits for its parameters>"


def test_repr_of_a_logger_says_how_the_trial_is_doing() -> None:
    """A logger shows its trial's name, uid and life, without creating or reading it."""
    log = TrackClient("ephemeral:").new_trial(name="first", parameters={})
    uid = log.trial.uid
    shown = [repr(log)]
    with log:
        shown.append(repr(log))
    shown.append(repr(log))

    short = f"{uid[:12]}…_0"
    assert shown == [
        f"<TrialLogger of 'first' ({short}), not started>",
        f"<TrialLogger of 'first' ({short}), running>",
        f"<TrialLogger of 'first' ({short}), finished>",
    ]
