"""TensorBoard as a sink: what was logged is read back by TensorBoard's own reader."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.children import room_for, run
from track import TrackClient
from track.errors import BackendUnavailable, InvalidUri, MissingExtra
from track.persistence import get_protocol
from track.persistence.tensorboard import run_name
from track.structure import Status, Trial

pytest.importorskip("tensorboardX", reason="needs tensorboardX")
pytest.importorskip("tensorboard", reason="needs TensorBoard's reader")


def _read(folder: Path) -> Any:
    """Return the reader of one run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder))
    reader.Reload()
    return reader


def _run(root: Path) -> Path:
    (folder,) = root.iterdir()
    return folder


def _texts(reader: Any) -> dict[str, list[str]]:
    """Return the texts by name."""
    found: dict[str, list[str]] = {}
    for tag in reader.Tags()["tensors"]:
        values = [event.tensor_proto.string_val[0].decode() for event in reader.Tensors(tag)]
        found[tag.removesuffix("/text_summary")] = [value.strip() for value in values]
    return found


@pytest.fixture
def client(tmp_path: Path) -> TrackClient:
    """Give a client that writes event files."""
    return TrackClient(f"tensorboard:{tmp_path}/runs")


def test_numbers_are_read_back(client: TrackClient, tmp_path: Path) -> None:
    """Steps, values and their order are what was logged."""
    with client.new_trial(name="first try", parameters={"lr": 0.1}) as log:
        for step in (0, 10, 20):
            log.log_metrics(step=step, loss=1 / (step + 1))
        for value in (0.25, math.inf, 2**80, -(10**400)):
            log.log_metrics(accuracy=value)
        with log.chrono("batch"):
            pass

    folder = _run(tmp_path / "runs")
    reader = _read(folder)
    assert folder.name.startswith("first_try-")
    assert [(event.step, event.value) for event in reader.Scalars("loss")] == [
        (0, 1.0),
        (10, pytest.approx(1 / 11, rel=1e-6)),
        (20, pytest.approx(1 / 21, rel=1e-6)),
    ]
    assert [(event.step, event.value) for event in reader.Scalars("accuracy")] == [
        (0, 0.25),
        (1, math.inf),
        (2, 2.0**80),
        (3, -math.inf),
    ]
    assert [event.value >= 0 for event in reader.Scalars("chrono_batch")] == [True]


def test_odd_names_are_kept(client: TrackClient, tmp_path: Path) -> None:
    """No two names become one; a number and a text of one name are told apart, as TensorBoard wants it."""
    names = ["/top 1 (é)", "top_1__é_", "a b", "a_b", "../x", "", "a\x00\nb", "Loss", "loss", "x" * 300]
    with client.new_trial(parameters={"learning rate?": 1, "learning_rate_": 2}) as log:
        log.log_metrics(**dict.fromkeys(names, 0.5))
        log.log_metrics(**{"status/text_summary": 0.5})

    reader = _read(_run(tmp_path / "runs"))
    assert reader.Tags()["scalars"] == [*names, "status/text_summary (number)"]
    texts = _texts(reader)
    assert texts["parameters/learning rate?"] == ["1"]
    assert texts["parameters/learning_rate_"] == ["2"]
    assert texts["status"][-1] == "Completed"


def test_huge_integers_are_texts(client: TrackClient, tmp_path: Path) -> None:
    """A parameter that no double says is not rounded, and one that Python writes in no decimal is there, too."""
    from tensorboard.plugins.hparams import plugin_data_pb2

    with client.new_trial(parameters={"seed": 2**53 + 1, "huge": 10**5000}):
        pass

    reader = _read(_run(tmp_path / "runs"))
    content = reader.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    started = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert started["seed"].string_value == str(2**53 + 1)
    assert started["huge"].string_value == _texts(reader)["parameters/huge"][0] == hex(10**5000)


def test_facts_are_read_back(client: TrackClient, tmp_path: Path) -> None:
    """Parameters, tags, metadata, status and error are texts."""
    client.set_project(name="mnist")
    log = client.new_trial(parameters={"lr": 0.1, "sizes": (1, 2)})
    log.start()
    log.log_metadata(gpu="V100")
    log.add_tags(paper="v2")
    log.finish(ZeroDivisionError, ZeroDivisionError("oops"))

    texts = _texts(_read(_run(tmp_path / "runs")))
    assert texts["parameters/lr"] == ["0.1"]
    assert texts["parameters/sizes"] == ["(1, 2)"]
    assert texts["metadata/gpu"] == ["V100"]
    assert texts["metadata/project"] == ["mnist"]
    assert texts["tags/paper"] == ["v2"]
    assert texts["status"] == ["Running", "Exception"]
    assert texts["error"][0].startswith("ZeroDivisionError: oops")


def test_parameters_are_in_the_table_of_hparams(client: TrackClient, tmp_path: Path) -> None:
    """The page that compares runs has the parameters of each."""
    from tensorboard.plugins.hparams import plugin_data_pb2

    with client.new_trial(parameters={"lr": 0.1, "optimizer": "sgd", "sizes": [1, 2], "large": 2**80}) as log:
        log.log_metrics(step=0, loss=0.5)

    content = _read(_run(tmp_path / "runs")).summary_metadata["_hparams_/session_start_info"].plugin_data.content
    started = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert started["lr"].number_value == 0.1
    assert started["optimizer"].string_value == "sgd"
    assert started["sizes"].string_value == "[1, 2]"
    assert started["large"].string_value == str(2**80)


def test_pictures_and_a_record_that_lasts(tmp_path: Path) -> None:
    """As a mirror it hears what a file decides."""
    client = TrackClient(f"multi:?to=tensorboard:{tmp_path}/runs&to=file:{tmp_path}/report.json")
    client.set_project(name="mnist")
    with client.new_trial(name="first", parameters={"lr": 0.1}) as log:
        log.log_metrics(step=3, loss=0.5)

    reader = _read(_run(tmp_path / "runs"))
    assert [(event.step, event.value) for event in reader.Scalars("loss")] == [(3, 0.5)]
    assert _texts(reader)["status"][-1] == "Completed"
    assert dict(log.trial.metrics["loss"]) == {3: 0.5}
    assert client.protocol.unsaved() == 0


def test_each_trial_has_a_folder(client: TrackClient, tmp_path: Path) -> None:
    """Runs of one configuration are not mixed; memory answers for all."""
    for value in (1.0, 2.0):
        with client.new_trial(force=True, parameters={"lr": 0.1}) as log:
            log.log_metrics(step=0, loss=value)

    folders = sorted((tmp_path / "runs").iterdir())
    assert [_read(folder).Scalars("loss")[0].value for folder in folders] == [1.0, 2.0]
    assert [trial.status for trial in client.protocol.fetch_trials()] == [Status.Completed] * 2


def test_what_is_logged_after_the_end_is_kept(client: TrackClient, tmp_path: Path) -> None:
    """A trial that goes on after its end goes on in the same run."""
    with client.new_trial(parameters={}) as log:
        log.log_metrics(step=0, loss=1.0)
    log.log_metrics(step=1, loss=2.0)
    client.protocol.close()

    folder = _run(tmp_path / "runs")
    values = {event.value for file in folder.iterdir() for event in _read(file).Scalars("loss")}
    assert values == {1.0, 2.0}


def test_run_that_goes_on_can_be_read(client: TrackClient, tmp_path: Path) -> None:
    """What a call has logged is in the file when it returns, whatever happens to the process then."""
    log = client.new_trial(parameters={})

    log.log_metrics(step=0, loss=1.0)

    assert [event.value for event in _read(_run(tmp_path / "runs")).Scalars("loss")] == [1.0]
    client.protocol.close()


def test_full_disk_costs_nothing_but_what_does_not_fit(client: TrackClient, tmp_path: Path) -> None:
    """Half a record is taken back, so that what is logged once there is room again can be read."""

    def log_on_a_full_disk() -> None:
        log = client.new_trial(parameters={})
        log.log_metrics(step=0, loss=1.0)
        (path,) = _run(tmp_path / "runs").iterdir()
        with room_for(path, 7):
            log.log_metrics(step=1, loss=2.0)
        log.log_metrics(step=2, loss=3.0)
        assert client.protocol.unsaved() == 1

    assert run(log_on_a_full_disk) == 0
    assert [event.value for event in _read(_run(tmp_path / "runs")).Scalars("loss")] == [1.0, 3.0]


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("first try", "first_try-01234567_2"),
        ("../../etc/passwd", "etc_passwd-01234567_2"),
        ("/etc", "etc-01234567_2"),
        ("..", "01234567_2"),
        ("", "01234567_2"),
        (None, "01234567_2"),
        ("é" * 200, "é" * 80 + "-01234567_2"),
    ],
)
def test_folder_of_a_trial_stays_in_its_place(name: Any, folder: str) -> None:
    """Whatever a trial is called, its files are below the folder of the URI."""
    assert run_name(Trial("0123456789abcdef", 2, name=name)) == folder


def test_place_that_cannot_be_written_to_is_said_at_once(tmp_path: Path) -> None:
    """A file where the folder should be is an error before hours of training."""
    (tmp_path / "runs").write_text("")

    with pytest.raises(BackendUnavailable, match="begins no run"):
        TrackClient(f"tensorboard:{tmp_path}/runs").new_trial(parameters={})


@pytest.mark.parametrize("uri", ["tensorboard:", "tensorboard://"])
def test_uri_names_a_folder(uri: str) -> None:
    """The message shows the form."""
    with pytest.raises(InvalidUri, match="as in tensorboard:runs"):
        get_protocol(uri)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how to install it."""
    monkeypatch.setitem(sys.modules, "tensorboardX", None)

    with pytest.raises(MissingExtra, match=r'pip install "\.\[tensorboard\]"'):
        get_protocol("tensorboard:runs")
