"""What ``track export`` writes is read by the programs that it is for, and is what the store has."""

from __future__ import annotations

import csv
import io
import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest

import track
from tests.unit.dashboard.test_onefile import unpacked
from track import TrackClient
from track.aggregators.aggregator import StatAggregator
from track.cli import main
from track.containers.series import Series
from track.plain import nearest_double, restore

NAMES = (
    "../../x", "a/b", "/abs", "..", ".", "", "a\x00b", "a\nb", "a\rb", "\r\n", "x" * 300, "é" * 300, "Loss", "loss",
    "CON", "=cmd()", "-lead", "%2e%2e", "%2E%2E", "a b", "a_b", "007", "null", "nan", '"q"', "a,b", "a\\b", " ",
    "\u202e",
)  # fmt: skip
NUMBERS = (
    0.1, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1e300, 2**53 + 1, -(2**63), 2**80, 10**5000, True, 7,
)  # fmt: skip


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """Give a store of a run for each name, which is the name of everything in it."""
    uri = f"sqlite:{tmp_path}/runs.db"
    client = TrackClient(uri, environment="none")
    for name in NAMES:
        client.set_project(name=name, force=True)
        with client.new_trial(name=name, parameters={name: name}, tags={name: name}, force=True) as trial:
            trial.log_metrics(step=1, **{name: 0.5})
            trial.log_text("note", f"of {name}")
    with client.new_trial(name="all", parameters={"all": 1}, force=True) as trial:
        trial.log_metrics(step=1, **dict.fromkeys(NAMES, 0.5))
    return uri


@pytest.fixture
def numbers(tmp_path: Path) -> str:
    """Give a store of a run with numbers, and steps, of all kinds."""
    uri = f"file:{tmp_path}/numbers.json"
    client = TrackClient(uri, environment="none")
    parameters = {"none": None, "empty": "", "text": "ü\n", "flag": True, "whole": 3, "lr": 0.1, "nan": math.nan}
    with client.new_trial(name="", parameters=parameters | {"seed": 2**53 + 1}) as trial:
        for step, value in enumerate(NUMBERS):
            trial.log_metrics(step=step, mixed=value)
        for value in NUMBERS:
            trial.log_metrics(once=value)
        trial.log_series("times", [1.0, 2.0, 3.0], [2, 5, 10], [1.6e9, 1.6e9 + 0.123456, 1.7e9])
        for step in ("end", "", 5, "5", 0.5, 2**70, (1, "a")):
            trial.log_metrics(step=step, odd=1)
        for step in (0, 2**53 + 1):
            trial.log_metrics(step=step, counted=2**53 + 1)
    return uri


def _stored(uri: str) -> dict[str, list[tuple[Any, Any, Any]]]:
    """Return step, value and time of each point, by metric."""
    (trial,) = track.fetch(uri)
    found = {}
    for name, container in trial.metrics.items():
        steps, values, times = (column.tolist() for column in container.to_numpy(times=True))
        steps = steps if isinstance(container, Series) else [None] * len(steps)
        found[name] = list(zip(steps, values, times, strict=True))
    return found


def _numbered(points: list[tuple[Any, Any, Any]]) -> list[tuple[Any, Any, Any]]:
    """Return points, those without a step numbered from 0."""
    return [(place if step is None else step, *rest) for place, (step, *rest) in enumerate(points)]


def _beside(path: Path) -> set[str]:
    return {found.name for found in path.iterdir() if not found.name.startswith(("runs.db", "numbers.json", "spill"))}


def test_names_are_read_back_from_comma_separated_values(uri: str, tmp_path: Path) -> None:
    """Whatever names have in them, a point is a row, for the reader of Python and that of pandas."""
    pandas = pytest.importorskip("pandas", reason="needs pandas")

    assert main(["export", uri, "--csv", str(tmp_path / "points.csv")]) == 0

    # Python 3.10 reads no NUL.
    lines = (tmp_path / "points.csv").read_bytes().decode().replace("\0", "NUL")
    names = [name.replace("\0", "NUL") for name in NAMES]
    rows = [tuple(row.values()) for row in csv.DictReader(io.StringIO(lines, newline=""))]
    assert sorted(row[1:3] for row in rows) == sorted(
        [*zip(names, names, strict=True), *(("all", name) for name in names)]
    )
    frame = pandas.read_csv(tmp_path / "points.csv", dtype=str, keep_default_na=False)
    assert [tuple(one.replace("\0", "NUL") for one in row) for row in frame.itertuples(index=False)] == rows
    assert _beside(tmp_path) == {"points.csv"}


def test_names_are_read_back_from_lines_of_json(uri: str, tmp_path: Path) -> None:
    """A run is a line; its name and those of all that it has are those of the store."""
    assert main(["export", uri, "--jsonl", str(tmp_path / "runs.jsonl")]) == 0

    with open(tmp_path / "runs.jsonl", newline="\n", encoding="utf-8") as file:
        *documents, last = map(json.loads, file)
    assert tuple(one["name"] for one in documents) == NAMES
    for part in ("parameters", "tags", "points"):
        assert [list(one[part]) for one in documents] == [[name] for name in NAMES]
    assert [one["media"][0]["content"] for one in documents] == [f"of {name}" for name in NAMES]
    assert tuple(last["points"]) == NAMES
    assert _beside(tmp_path) == {"runs.jsonl"}


def test_names_are_read_back_from_parquet(uri: str, tmp_path: Path) -> None:
    """In a file each row says its trial and metric, as they are."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")

    assert main(["export", uri, "--parquet", str(tmp_path / "points.parquet")]) == 0

    table = parquet.read_table(tmp_path / "points.parquet").to_pydict()
    named = {trial.uid: trial.name for trial in track.fetch(uri)}
    found = [(named[uid], name) for uid, name in zip(table["trial"], table["metric"], strict=True)]
    assert sorted(found) == sorted([*zip(NAMES, NAMES, strict=True), *(("all", name) for name in NAMES)])
    assert _beside(tmp_path) == {"points.parquet"}


def test_names_are_read_back_from_event_files(uri: str, tmp_path: Path) -> None:
    """Each run has a folder of its own in that which was given, and what is in it is called as in the store."""
    pytest.importorskip("tensorboardX", reason="needs tensorboardX")

    assert main(["export", uri, "--tensorboard", str(tmp_path / "at" / "runs")]) == 0

    assert (_beside(tmp_path), _beside(tmp_path / "at")) == ({"at"}, {"runs"})
    folders = list((tmp_path / "at" / "runs").iterdir())
    assert all(folder.is_dir() and len(list(folder.iterdir())) == 1 for folder in folders)
    read = {}
    for trial in track.fetch(uri):
        (folder,) = (one for one in folders if one.name.endswith(f"{trial.hash[:8]}_{trial.revision}"))
        read[trial.name] = _reader(folder)
        assert read[trial.name].Tags()["scalars"] == list(trial.metrics)
        assert list(_hparams(read[trial.name])) == list(trial.parameters)
    assert len(folders) == len(read) == len(NAMES) + 1
    for name in NAMES:
        (event,) = read[name].Tensors("note")
        assert event.tensor_proto.string_val == [f"of {name}".encode()]


def test_names_are_read_back_from_a_page(uri: str, tmp_path: Path) -> None:
    """The one file of HTML has each run, and all that it has, by its name."""
    assert main(["export", uri, "--html", str(tmp_path / "report.html")]) == 0

    head = unpacked((tmp_path / "report.html").read_text(encoding="utf-8"))[0]
    rows = [page["row"] for page in head["pages"]]
    assert tuple(row["name"] for row in rows) == (*NAMES, "all")
    for part in ("parameters", "tags", "metrics"):
        assert [list(row[part]) for row in rows[:-1]] == [[name] for name in NAMES]
    assert tuple(rows[-1]["metrics"]) == NAMES
    assert sorted(name for name, _ in head["curves"]) == sorted(NAMES)
    assert _beside(tmp_path) == {"report.html"}


def _reader(folder: Path) -> Any:
    """Return TensorBoard's reader of a run, which leaves nothing out."""
    module = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs TensorBoard's reader"
    )
    reader = module.EventAccumulator(str(folder), size_guidance=dict.fromkeys(module.DEFAULT_SIZE_GUIDANCE, 0))
    reader.Reload()
    return reader


def _hparams(reader: Any) -> dict[str, Any]:
    """Return the hyperparameters that TensorBoard's plugin finds in a run."""
    plugin_data = pytest.importorskip("tensorboard.plugins.hparams.plugin_data_pb2", reason="needs TensorBoard")
    content = reader.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    found = plugin_data.HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in found.items()}


def _single(value: Any) -> float:
    """Return the single float that is nearest."""
    try:
        return struct.unpack("f", struct.pack("f", float(value)))[0]  # type: ignore[no-any-return]
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _exactly(points: Any) -> list[Any]:
    """Return points as texts, in which numbers of other types, and NaN, are told apart."""
    return [tuple(hex(one) if type(one) is int else repr(one) for one in point) for point in points]


def test_numbers_are_read_back_from_event_files(numbers: str, tmp_path: Path) -> None:
    """Steps and times are equal, values as near as a single float is; steps that are no integers are counted."""
    pytest.importorskip("tensorboardX", reason="needs tensorboardX")

    assert main(["export", numbers, "--tensorboard", str(tmp_path / "runs")]) == 0

    (folder,) = (tmp_path / "runs").iterdir()
    reader, stored = _reader(folder), _stored(numbers)
    assert reader.Tags()["scalars"] == list(stored)
    for name, points in stored.items():
        counted = iter(range(len(points)))
        wanted = [
            (step if type(step) is int and step < 2**63 else next(counted), _single(value), at)
            for step, value, at in points
        ]
        assert repr([(one.step, one.value, one.wall_time) for one in reader.Scalars(name)]) == repr(wanted)
    (trial,) = track.fetch(numbers)
    assert reader.FirstEventTimestamp() == trial.timestamps["created"]
    hparams = _hparams(reader)
    assert math.isnan(hparams.pop("nan"))
    assert hparams == {
        "none": "None", "empty": "", "text": "ü\n", "flag": True, "whole": 3.0, "lr": 0.1, "seed": str(2**53 + 1),
    }  # fmt: skip
    (text,) = reader.Tensors("parameters/text/text_summary")
    assert text.tensor_proto.string_val == ["    ü\n    ".encode()]


def test_media_are_read_back_from_event_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Images, sounds, texts and histograms are those of the store, with their steps and times; others are named."""
    pytest.importorskip("tensorboardX", reason="needs tensorboardX")
    uri = f"file:{tmp_path}/runs.json"
    with TrackClient(uri, environment="none").new_trial(name="seen", parameters={}) as trial:
        for step in (3, 5):
            trial.log_image("sample", [[step * 40, 255, 0]] * 2, step=step)
            trial.log_histogram("weights", [float(number * step) for number in range(100)], step=step)
            trial.log_text("note", f"# {step}\n\n<b>ü</b>\n", step=step)
        trial.log_metrics(step=3, sample=1.0)
        trial.log_audio("voice", [0.0, 0.5, -0.5], rate=8000)
        trial.log_video("moving", b"GIF89a" + bytes(10))
        trial.log_image("drawing", b"<svg xmlns='http://www.w3.org/2000/svg'/>")
        trial.log_table("table", [{"a": 1}])

    assert main(["export", uri, "--tensorboard", str(tmp_path / "tb")]) == 0

    (folder,) = (tmp_path / "tb").iterdir()
    reader, media = _reader(folder), track.fetch(uri)[0].media()
    by_name: dict[str, list[Any]] = {}
    for medium in media:
        by_name.setdefault(medium.name, []).append(medium)
    for name, tag in (("sample", "sample (image)"), ("moving", "moving")):
        assert [(one.step, one.wall_time, one.encoded_image_string) for one in reader.Images(tag)] == [
            (one.step or 0, one.at, one.read_bytes()) for one in by_name[name]
        ]
    assert {(one.width, one.height) for one in reader.Images("sample (image)")} == {(3, 2)}
    (sound,), (voice,) = reader.Audio("voice"), by_name["voice"]
    assert (sound.encoded_audio_string, sound.sample_rate, sound.wall_time) == (voice.read_bytes(), 8000, voice.at)
    assert [(one.step, one.wall_time, one.tensor_proto.string_val[0].decode()) for one in reader.Tensors("note")] == [
        (one.step, one.at, one.text) for one in by_name["note"]
    ]
    for event, medium in zip(reader.Histograms("weights"), by_name["weights"], strict=True):
        found, value = medium.histogram, event.histogram_value
        assert (event.step, event.wall_time) == (medium.step, medium.at)
        assert (list(value.bucket), [value.min, *value.bucket_limit]) == (found.counts, found.edges)
        assert (value.max, value.num) == (found.edges[-1], 100)
    said = capsys.readouterr().err
    assert "1 of image 'drawing' left out" in said
    assert "1 of table 'table' left out" in said
    assert not {"drawing", "table"} & {*reader.Tags()["images"], *reader.Tags()["tensors"]}


def test_media_that_are_gone_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rest of a run is exported; what is kept in the record is there."""
    pytest.importorskip("tensorboardX", reason="needs tensorboardX")
    uri = f"file:{tmp_path}/runs.json"
    with TrackClient(uri, environment="none").new_trial(name="seen", parameters={}) as trial:
        trial.log_image("sample", [[1]])
        trial.log_text("note", "kept")
        trial.log_metrics(step=1, loss=0.5)
    (tmp_path / "runs.json.artifacts").rename(tmp_path / "elsewhere")

    assert main(["export", uri, "--tensorboard", str(tmp_path / "tb")]) == 0

    (folder,) = (tmp_path / "tb").iterdir()
    tags = _reader(folder).Tags()
    assert (tags["scalars"], tags["images"], "note" in tags["tensors"]) == (["loss"], [], True)
    assert "image 'sample' is left out" in capsys.readouterr().err


def test_numbers_are_read_back_from_lines_of_json(numbers: str, tmp_path: Path) -> None:
    """Values, steps and times are equal, with their types; what JSON has no number for is said beside it."""
    assert main(["export", numbers, "--jsonl", str(tmp_path / "runs.jsonl")]) == 0

    (document,) = map(json.loads, (tmp_path / "runs.jsonl").read_text(encoding="utf-8").splitlines())
    stored = _stored(numbers)
    assert list(document["points"]) == list(stored)
    for name, points in stored.items():
        said = document["points"][name]
        values = [
            float(said["special"][str(place)]) if value is None else value for place, value in enumerate(said["values"])
        ]
        values = [int(value, 16) if isinstance(value, str) else value for value in values]
        steps = [tuple(step) if isinstance(step, list) else step for step in said["steps"]]
        assert _exactly(zip(steps, values, said["times"], strict=True)) == _exactly(_numbered(points))
    assert document["name"] == ""
    parameters = document["parameters"]
    assert parameters["seed"] == 2**53 + 1
    assert (parameters["none"], parameters["empty"], parameters["text"]) == (None, "", "ü\n")


def test_numbers_are_read_back_from_comma_separated_values(numbers: str, tmp_path: Path) -> None:
    """Values and times have all their digits; what has no step is numbered."""
    assert main(["export", numbers, "--csv", str(tmp_path / "points.csv")]) == 0

    with open(tmp_path / "points.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name, points in ((name, _numbered(points)) for name, points in _stored(numbers).items()):
        found = [row for row in rows if row["metric"] == name]
        assert [row["step"] for row in found] == [str(step) for step, _, _ in points]
        assert [float(row["time"]) for row in found] == [at for _, _, at in points]
        for row, (_, value, _) in zip(found, points, strict=True):
            is_huge = type(value) is int and value > 2**80
            assert row["value"] == (hex(value) if is_huge else str(value))


def test_numbers_are_read_back_from_parquet(numbers: str, tmp_path: Path) -> None:
    """For pyarrow and pandas each number, step and time is what is stored; what a column does not say is beside it."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
    pandas = pytest.importorskip("pandas", reason="needs pandas")

    assert main(["export", numbers, "--parquet", str(tmp_path / "points.parquet")]) == 0

    rows = parquet.read_table(tmp_path / "points.parquet").to_pylist()
    frame = pandas.read_parquet(tmp_path / "points.parquet")
    stored = _stored(numbers)
    assert list(dict.fromkeys(row["metric"] for row in rows)) == list(stored)
    for name, points in stored.items():
        own = [row for row in rows if row["metric"] == name]
        assert [row["position"] for row in own] == list(range(len(points)))
        assert _exactly((_said(row, "step"), _said(row, "value"), row["at"]) for row in own) == _exactly(
            (step, value if type(value) is not int or abs(value) > 2**53 else float(value), at)
            for step, value, at in points
        )
        part = frame[frame["metric"] == name]
        assert list(map(repr, part["value"].tolist())) == [repr(nearest_double(value)) for _, value, _ in points]
        assert part["at"].tolist() == [at for _, _, at in points]
    assert {str(frame[name].dtype) for name in ("value", "at")} == {"float64"}


def _said(row: dict[str, Any], name: str) -> Any:
    odd = row[f"{name}_odd"]
    found = row[name] if odd is None else restore(json.loads(odd))
    return tuple(found) if isinstance(found, list) else found


def test_metric_that_keeps_no_points_has_its_value_in_parquet(tmp_path: Path) -> None:
    """A mean is a row without a step and a time; a run without metrics is none."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
    uri = f"sqlite:{tmp_path}/runs.db"
    client = TrackClient(uri, environment="none")
    with client.new_trial(name="mean", parameters={}) as trial:
        for value in (1.0, 3.0):
            trial.log_metrics(aggregator=StatAggregator.lazy(0), mean=value)
    with client.new_trial(name="none", parameters={"x": 1}):
        pass

    assert main(["export", uri, "--parquet", str(tmp_path / "points.parquet")]) == 0

    (row,) = parquet.read_table(tmp_path / "points.parquet").to_pylist()
    assert (row["trial"], row["metric"], row["step"], row["at"]) == (trial.trial.uid, "mean", None, None)
    assert row["value"] == track.fetch(uri).summary().loc[trial.trial.uid, "metrics.mean"]
