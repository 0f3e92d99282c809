"""Comet as a sink, against a fake of its module: which of its verbs are said, and what a failure costs."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from track import TrackClient
from track.errors import BackendUnavailable, InvalidEvent, InvalidUri, MissingExtra, NotFound
from track.persistence import get_protocol
from track.structure import CustomStatus, Status, Trial


class _Experiment:
    """Keeps the calls, as the real one sends them."""

    def __init__(self, **place: Any) -> None:
        self.calls: list[Any] = [(type(self).__name__, place)]
        self.fails = False

    def __getattr__(self, verb: str) -> Any:
        if verb not in {"set_name", "log_other", "log_parameters", "log_metrics", "add_tags", "flush", "end"}:
            raise AttributeError(verb)
        return lambda *args, **kwargs: self._call(verb, args, kwargs)

    def _call(self, verb: str, args: Any, kwargs: Any) -> None:
        if self.fails:
            raise ConnectionError("no route to host")
        self.calls.append((verb, *args, *kwargs.items()))

    def said(self, verb: str) -> list[Any]:
        """Return the arguments of every call of a verb."""
        return [call[1] if len(call) == 2 else call[1:] for call in self.calls if call[0] == verb]


class _Offline(_Experiment):
    """One whose place is a folder."""


@pytest.fixture
def experiments(monkeypatch: pytest.MonkeyPatch) -> list[_Experiment]:
    """Give the experiments that were begun, in a module that is not the real one."""
    begun: list[_Experiment] = []
    fake: Any = types.ModuleType("comet_ml")
    fake.Experiment = lambda **place: begun.append(_Experiment(**place)) or begun[-1]  # type: ignore[func-returns-value]
    fake.OfflineExperiment = lambda **place: begun.append(_Offline(**place)) or begun[-1]  # type: ignore[func-returns-value]
    monkeypatch.setitem(sys.modules, "comet_ml", fake)
    return begun


def test_a_trial_is_an_experiment(experiments: list[_Experiment]) -> None:
    """What a script logs is said with Comet's own verbs."""
    client = TrackClient("cometml:ann/digits")
    client.set_project(name="mnist")
    client.set_group(name="idea")
    with client.new_trial(name="first", parameters={"lr": 0.1}, tags={"a": 1}) as log:
        log.log_metrics(step=0, loss=0.5)
        log.log_metrics(accuracy=1)
        log.log_metadata(gpu="V100")
        log.add_tags(b="x y")
        with log.chrono("batch"):
            pass

    (run,) = experiments
    assert run.calls[0] == ("_Experiment", {"workspace": "ann", "project_name": "digits"})
    assert run.said("set_name") == ["first"]
    assert run.said("log_parameters") == [{"lr": 0.1}]
    assert run.said("log_metrics")[:2] == [({"loss": 0.5}, ("step", 0)), ({"accuracy": 1}, ("step", None))]
    (name,) = run.said("log_metrics")[2][0]
    assert name == "chrono_batch"
    assert {tag for tags in run.said("add_tags") for tag in tags} >= {"a-1", "b-x y"}
    assert run.calls[-1] == ("end",)


def test_other_facts_are_comets_other(experiments: list[_Experiment]) -> None:
    """Times, status and metadata, which Comet has no verbs for."""
    client = TrackClient("cometml:ann/digits")
    client.set_project(name="mnist")
    log = client.new_trial(parameters={})
    log.start()
    log.log_metadata(gpu="V100")
    log.finish(ZeroDivisionError, ZeroDivisionError("oops"))

    (run,) = experiments
    others: dict[str, list[Any]] = {}
    for name, value in run.said("log_other"):
        others.setdefault(name, []).append(value)
    assert others["trial_uid"] == [log.trial.uid]
    assert others["project"] == ["mnist"]
    assert others["gpu"] == ["V100"]
    assert others["trial_status_name"] == ["Running", "Exception"]
    assert others["trial_status_value"] == [Status.Running.value, Status.Exception.value]
    assert others["trial_end"] >= others["trial_start"]
    assert others["trial_error"][0].startswith("ZeroDivisionError: oops")


def test_a_copy_in_memory_answers(experiments: list[_Experiment]) -> None:
    """Comet is told and not asked; reports and queries work all the same."""
    client = TrackClient("cometml:digits")
    with client.new_trial(parameters={"lr": 0.1}) as log:
        log.log_metrics(step=0, loss=0.5)

    (trial,) = client.protocol.fetch_trials({"status": "completed"})
    assert dict(trial.metrics["loss"]) == {0: 0.5}


def test_same_parameters_are_another_experiment(experiments: list[_Experiment]) -> None:
    """A second run of one configuration is not mixed with the first."""
    client = TrackClient("cometml:digits")
    logs = [client.new_trial(force=True, parameters={"lr": 0.1}) for _ in range(2)]
    for number, log in enumerate(logs):
        log.log_metrics(step=0, loss=number)

    assert [log.trial.revision for log in logs] == [0, 1]
    assert [run.said("log_metrics") for run in experiments] == [
        [({"loss": 0}, ("step", 0))],
        [({"loss": 1}, ("step", 0))],
    ]


def test_status_of_ones_own(experiments: list[_Experiment]) -> None:
    """A status is said with its name and code; what is none is an error at once."""
    log = TrackClient("cometml:digits").new_trial(parameters={})

    log.set_status(CustomStatus("Paused", 150))

    assert ("trial_status_name", "Paused") in experiments[0].said("log_other")
    with pytest.raises(InvalidEvent, match="is no status"):
        log.set_status("nothing like it")


def test_nothing_is_sent_offline(experiments: list[_Experiment], tmp_path: Any) -> None:
    """With a folder, Comet's offline experiment is used."""
    TrackClient(f"cometml:ann/digits?offline={tmp_path}").new_trial(parameters={})

    assert experiments[0].calls[0] == (
        "_Offline",
        {"workspace": "ann", "project_name": "digits", "offline_directory": str(tmp_path)},
    )


def test_failure_is_said_once_and_counted(experiments: list[_Experiment], caplog: pytest.LogCaptureFixture) -> None:
    """A server that goes away costs the training nothing; the copy in memory has what Comet has not."""
    client = TrackClient("cometml:digits")
    log = client.new_trial(parameters={})
    log.start()
    experiments[0].fails = True

    for step in range(3):
        log.log_metrics(step=step, loss=1.0)
    before = client.protocol.unsaved()
    log.finish()

    assert before == 3
    assert caplog.text.count("does not take something (ConnectionError: no route to host)") == 1
    assert "are not stored in" in caplog.text
    assert len(log.trial.metrics["loss"]) == 3


def test_wrong_number_is_the_programs_mistake(experiments: list[_Experiment]) -> None:
    """A metric that is no number is said at once, as by every backend."""
    log = TrackClient("cometml:digits").new_trial(parameters={})

    with pytest.raises(InvalidEvent, match="a metric is a number"):
        log.log_metrics(loss="low")


def test_refused_key_ends_the_program_at_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no account is told before hours of training."""

    def refuse(**place: Any) -> None:
        raise ValueError("the API key is not valid")

    monkeypatch.setitem(sys.modules, "comet_ml", types.SimpleNamespace(Experiment=refuse))  # type: ignore[arg-type]

    with pytest.raises(BackendUnavailable, match=r"begins no run: ValueError: the API key is not valid"):
        TrackClient("cometml:digits").new_trial(parameters={})


def test_close_ends_what_is_open(experiments: list[_Experiment]) -> None:
    """A program that forgets to finish leaves no experiment open; one that is finished is ended once."""
    client = TrackClient("cometml:digits")
    with client.new_trial(parameters={"n": 1}):
        pass
    client.new_trial(parameters={"n": 2})

    client.protocol.close()
    client.protocol.close()

    assert [run.calls.count(("end",)) for run in experiments] == [1, 1]


@pytest.mark.parametrize("uri", ["cometml:", "cometml://", "cometml:a/b/c"])
def test_uri_names_a_project(uri: str, experiments: list[_Experiment]) -> None:
    """The message shows the form."""
    with pytest.raises(InvalidUri, match="should read like cometml:workspace/project"):
        get_protocol(uri)


@pytest.mark.parametrize("uri", ["cometml:ann/digits", "cometml://ann/digits"])
def test_both_forms_have_the_workspace(uri: str, experiments: list[_Experiment]) -> None:
    """With and without slashes it is the same place."""
    TrackClient(uri).new_trial(parameters={})

    assert experiments[0].calls[0][1] == {"workspace": "ann", "project_name": "digits"}


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how to install it."""
    monkeypatch.setitem(sys.modules, "comet_ml", None)

    with pytest.raises(MissingExtra, match=r'pip install "\.\[cometml\]"'):
        get_protocol("cometml:digits")


def test_timers_call_back_and_need_a_start(experiments: list[_Experiment]) -> None:
    """A device is waited for before each reading of the clock; a timer that nobody started is an error."""
    calls: list[str] = []
    protocol = get_protocol("cometml:digits")
    trial = protocol.new_trial(Trial(parameters={}))
    assert trial is not None

    protocol.log_trial_chrono_start(
        trial, "batch", start_callback=lambda: calls.append("start"), end_callback=lambda: calls.append("end")
    )
    protocol.log_trial_chrono_finish(trial, "batch", None, None, None)

    assert calls == ["start", "end"]
    with pytest.raises(NotFound, match="no timer 'batch' was started"):
        protocol.log_trial_chrono_finish(trial, "batch", None, None, None)
