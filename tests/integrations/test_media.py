"""Values of the packages that people log: tensors, figures, images of Pillow, data frames, known without an import."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.servers.track import serving
from track import TrackClient
from track.errors import InvalidEvent
from track.logger import TrialLogger
from track.media import Medium
from track.persistence import get_protocol


@pytest.fixture(params=["file", "sqlite", "socket"])
def uri(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give the URI of an empty store: a file, a database, and a server."""
    for name, folder in (("XDG_DATA_HOME", "data"), ("TRACK_LOG_SPILL_FOLDER", "spill")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    if request.param != "socket":
        yield f"{request.param}://{tmp_path}/runs"
        return
    with serving("ephemeral:") as port:
        yield f"socket://127.0.0.1:{port}"


@pytest.fixture
def trial(uri: str) -> Iterator[TrialLogger]:
    """Give a trial that runs; at the end another client of the store has to find what it has logged."""
    with TrackClient(uri).new_trial(parameters={}) as trial:
        yield trial
    with closing(get_protocol(uri)) as other, closing(trial.protocol):
        found = TrialLogger(other.fetch_trials()[0], other).media()
        assert _facts(found) == _facts(trial.media())


def _facts(media: list[Medium]) -> list[tuple[object, ...]]:
    return [(one.name, one.kind, one.step, one.type, one.facts, one.read_bytes()) for one in media]


def test_tensors_have_channels_first(trial: TrialLogger) -> None:
    """A tensor of torch is CxHxW or HxW, of any type and with a gradient; a batch is an error that says so."""
    torch = pytest.importorskip("torch", reason="needs torch: pip install torch")

    trial.log_image("image", torch.rand(3, 4, 5))
    trial.log_image("image", torch.rand(1, 4, 5).bfloat16())
    trial.log_image("image", torch.rand(4, 5, requires_grad=True))
    trial.log_histogram("weights", torch.ones(2, 3))

    assert [medium.facts for medium in trial.media("image")] == [{"width": 5, "height": 4}] * 3
    assert trial.media("weights")[0].histogram.size == 6
    with pytest.raises(InvalidEvent, match="each image of a batch"):
        trial.log_image("image", torch.rand(8, 3, 4, 5))


def test_tensors_of_the_short_types_and_without_data(trial: TrialLogger) -> None:
    """Eight bits are enough; a tensor on the device meta has no values, which is one error as of any other value."""
    torch = pytest.importorskip("torch", reason="needs torch: pip install torch")

    trial.log_histogram("weights", torch.ones(4).to(torch.float8_e4m3fn))

    assert trial.media("weights")[0].histogram.size == 4
    for log in (trial.log_image, trial.log_histogram):
        with pytest.raises(InvalidEvent, match=r"Tensor of shape \(4, 5\) is none"):
            log("empty", torch.empty(4, 5, device="meta"))


def test_figures_of_matplotlib_are_drawings(trial: TrialLogger) -> None:
    """A figure is an SVG in which its texts are texts, with a small PNG; of very many points it is a PNG."""
    figure = pytest.importorskip("matplotlib.figure", reason="needs matplotlib: pip install matplotlib").Figure()
    axes = figure.subplots()
    axes.plot([1, 2, 3])
    axes.set_title("a curve of loss")

    trial.log_figure("curve", figure, step=1)
    trial.log_figure("curve", axes, step=2)
    axes.scatter(*[[math.sin(number * k) for number in range(60_000)] for k in (1, 2)])
    trial.log_figure("curve", figure, step=3)

    first, second, third = trial.media("curve")
    assert (first.type, second.type, third.type) == ("image/svg+xml", "image/svg+xml", "image/png")
    assert b"a curve of loss" in first.read_bytes()
    assert first.artifact.digest == second.artifact.digest
    assert first.thumb is not None
    assert first.thumb.read_bytes().startswith(b"\x89PNG")


def test_figures_of_plotly_are_data(trial: TrialLogger) -> None:
    """A figure of plotly is the JSON that plotly reads again."""
    graph = pytest.importorskip("plotly.graph_objects", reason="needs plotly: pip install plotly")

    trial.log_figure("curve", graph.Figure(graph.Scatter(y=[1, 3, 2])))

    assert '"y":[1,3,2]' in trial.media("curve")[0].text


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "I", "I;16", "F", "HSV"])
def test_images_of_pillow_of_every_mode(trial: TrialLogger, mode: str) -> None:
    """What a PNG has no mode for is converted."""
    image = pytest.importorskip("PIL.Image", reason="needs Pillow: pip install pillow")

    trial.log_image("image", image.new(mode, (5, 4)))

    assert trial.media("image")[0].facts == {"width": 5, "height": 4}


@pytest.mark.parametrize(("mode", "size"), [("La", (5, 4)), ("L", (0, 0))])
def test_image_of_pillow_of_which_no_png_can_be_made(trial: TrialLogger, mode: str, size: tuple[int, int]) -> None:
    """An empty one, and one of a mode that Pillow converts to nothing, are one error that names it."""
    image = pytest.importorskip("PIL.Image", reason="needs Pillow: pip install pillow")

    with pytest.raises(InvalidEvent, match=r"image 'bad': of <.*> no PNG can be made"):
        trial.log_image("bad", image.new(mode, size))


def test_pixels_are_what_was_given(trial: TrialLogger, tmp_path: Path) -> None:
    """Each pixel of an array is that of the PNG, for one to four channels."""
    numpy = pytest.importorskip("numpy", reason="needs numpy: pip install numpy")
    image = pytest.importorskip("PIL.Image", reason="needs Pillow: pip install pillow")
    for channels in (1, 2, 3, 4):
        given = numpy.random.default_rng(0).integers(0, 256, (7, 5, channels), dtype=numpy.uint8)
        trial.log_image("image", given, step=channels)

        path = trial.media("image")[-1].download(tmp_path / f"{channels}.png")

        assert (numpy.asarray(image.open(path)).reshape(given.shape) == given).all()


def test_data_frames_are_tables(trial: TrialLogger) -> None:
    """A data frame comes back with its columns; a large one is Parquet where pyarrow is installed."""
    pandas = pytest.importorskip("pandas", reason="needs pandas: pip install pandas")
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install pyarrow")

    trial.log_table("few", pandas.DataFrame({"a": [1.5, None], "b": ["x", None]}))
    trial.log_table("many", pandas.DataFrame({name: range(10_000) for name in "abc"}))

    few, many = trial.media()
    assert (few.columns, few.rows) == (["a", "b"], [[1.5, "x"], [None, None]])
    assert (many.type, many.to_pandas().shape) == ("application/vnd.apache.parquet", (10_000, 3))
