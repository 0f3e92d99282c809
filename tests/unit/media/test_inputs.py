"""What is given to the verbs of media beside what they are for: converted as the docs say, or one clear error."""

from __future__ import annotations

import io
import math
import os
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from track import TrackClient, fetch
from track.errors import InvalidEvent
from track.logger import TrialLogger

numpy: Any = pytest.importorskip("numpy", reason="needs numpy: pip install numpy")


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[TrialLogger]:
    """Give a trial that runs."""
    with TrackClient(f"file://{tmp_path}/runs.json", environment="none").new_trial(parameters={}) as trial:
        yield trial


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 4, 5), (5, 4, 5), (2, 4, 5, 3), (1, 1, 1, 4, 5), (0, 5), (5,), ()])
def test_shape_that_is_no_image_is_one_error(trial: TrialLogger, shape: tuple[int, ...]) -> None:
    """Channels first, batches, five dimensions, nothing: the error says the shape; of CxHxW how it is turned."""
    with pytest.raises(InvalidEvent, match=r"'bad'.* is none") as caught:
        trial.log_image("bad", numpy.zeros(shape, numpy.uint8))

    assert ("transpose(1, 2, 0)" in str(caught.value)) == (shape in {(3, 4, 5), (1, 4, 5)})


@pytest.mark.parametrize("kind", ["complex64", "object", "U3", "datetime64[s]"])
@pytest.mark.parametrize("verb", ["log_image", "log_histogram", "log_audio"])
def test_values_that_are_no_numbers_are_one_error(trial: TrialLogger, verb: str, kind: str) -> None:
    """An array of objects, texts, times or complex numbers is none."""
    more = {"rate": 8} if verb == "log_audio" else {}

    with pytest.raises(InvalidEvent, match=r"ndarray of shape \(4, 5\) is none"):
        getattr(trial, verb)("bad", numpy.ones((4, 5)).astype(kind), **more)


@pytest.mark.parametrize(
    "kind", ["uint8", "bool", "float16", "float32", ">f4", "longdouble", "int64", "uint16", "int8"]
)
def test_pixels_of_any_number(trial: TrialLogger, kind: str) -> None:
    """Integers are bytes, floats and truths are 0 to 1; gray, with alpha, in colour, from any order of memory."""
    for channels in (1, 2, 3, 4):
        given = numpy.asfortranarray(numpy.ones((8, 5, channels)).astype(kind))[::2]

        medium = trial.log_image("image", given, step=channels)

        assert medium is not None
        assert medium.facts == {"width": 5, "height": 4}


@pytest.mark.parametrize("rate", [None, 0, -1, 0.5, "a", math.nan, True, 2**40])
def test_rate_that_is_none_is_one_error(trial: TrialLogger, rate: Any) -> None:
    """Samples a second are a number from 1 on, whatever else is given."""
    with pytest.raises(InvalidEvent, match="samples need their rate"):
        trial.log_audio("bad", [0.0], rate=rate)


def test_channels_of_a_sound_may_come_first(trial: TrialLogger) -> None:
    """As torchaudio has them: where there are few rows and many columns."""
    trial.log_audio("voice", numpy.stack([numpy.zeros(100), numpy.ones(100)]), rate=100)

    (voice,) = trial.media("voice")
    with wave.open(io.BytesIO(voice.read_bytes())) as file:
        assert (file.getnchannels(), file.getnframes()) == (2, 100)
        assert file.readframes(1) == b"\0\0\xff\x7f"


def test_media_of_a_forked_child_and_its_parent_are_all_there(trial: TrialLogger, tmp_path: Path) -> None:
    """Each process has a pack of its own; after the end of the trial media are kept, too."""
    trial.log_image("image", numpy.full((4, 5), 1, numpy.uint8), step=1)
    pid = os.fork()
    if pid == 0:
        try:
            trial.log_image("image", numpy.full((4, 5), 2, numpy.uint8), step=2)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    trial.log_image("image", numpy.full((4, 5), 3, numpy.uint8), step=3)
    trial.finish()
    trial.log_image("image", numpy.full((4, 5), 4, numpy.uint8), step=4)

    media = fetch(f"file://{tmp_path}/runs.json")[0].media("image")

    assert media.steps == [1, 2, 3, 4]
    assert len({medium.read_bytes() for medium in media}) == 4
    assert len(list(tmp_path.glob("runs.json.artifacts/packs/*/*.tar"))) == 2
