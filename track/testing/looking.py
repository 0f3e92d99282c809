"""What a trial has logged to be looked at is kept as it was logged, and stays with the trial."""

from __future__ import annotations

import io
import logging
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from track.artifacts import shared
from track.errors import NotFound
from track.logger import TrialLogger
from track.media import Media, Medium
from track.persistence.contract import trial_copied
from track.persistence.local import FileProtocol
from track.persistence.protocol import Protocol
from track.plain import to_plain
from track.structure import Trial
from track.testing.backend import BackendTests

_PIXELS = [[0, 255, 0], [255, 0, 255]]
_GIF = b"GIF89a" + bytes(20)


class _Given(tuple[Any, ...]):
    """Several arguments."""


class _Figure:
    """What a figure of plotly is to who does not import it."""

    def to_json(self) -> str:
        return '{"data": [{"y": [1, 3, 2], "type": "scatter"}], "layout": {}}'


_Figure.__module__ = "plotly.graph_objs"


def _images(folder: Path) -> list[Any]:
    numpy = pytest.importorskip("numpy", reason="needs numpy: pip install numpy")
    pixels = numpy.array(_PIXELS, dtype=numpy.uint8)
    (folder / "moving.gif").write_bytes(_GIF)
    return [
        _PIXELS,
        pixels,
        pixels > 0,
        pixels / 255.0,
        numpy.stack([pixels] * 3, axis=2),
        numpy.stack([pixels / 255.0] * 4, axis=2),
        folder / "moving.gif",
        str(folder / "moving.gif"),
        _GIF,
    ]


def _pictures(folder: Path) -> list[Any]:
    image = pytest.importorskip("PIL.Image", reason="needs Pillow: pip install pillow")
    return [image.new(mode, (3, 2), 1) for mode in ("1", "L", "RGB", "RGBA")]


def _wav() -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(range(64)))
    return made.getvalue()


def _pages(folder: Path) -> list[Any]:
    (folder / "page.html").write_text("<p>of a file ü")
    return ["<h1>é</h1>", folder / "page.html"]


def _sounds(folder: Path) -> list[Any]:
    (folder / "voice.wav").write_bytes(_wav())
    stereo = [[0.0, 0.5], [1.0, -1.0], [0.1, 0.2]]
    return [_Given(([0.0, 0.5, -1.0], 8000)), _Given((stereo, 2)), folder / "voice.wav", _wav()]


def _histograms(folder: Path) -> list[Any]:
    numpy = pytest.importorskip("numpy", reason="needs numpy: pip install numpy")
    return [[1.0, 2.0, 5.0], numpy.ones((3, 4)), numpy.histogram([1, 2, 3]), [1, float("nan")]]


def _tables(folder: Path) -> list[Any]:
    rows = [[1, 2], [None, "x"]]
    return [[{"a": 1, "b": "ü"}, {"a": None}], {"a": [1.5, 2], "b": [True, "x"]}, _Given((rows, ["a", "b"]))]


_VERBS: dict[str, tuple[str, Callable[[Path], list[Any]]]] = {
    "image": ("image", _images),
    "image of Pillow": ("image", _pictures),
    "figure": ("figure", lambda _: [_Figure()]),
    "histogram": ("histogram", _histograms),
    "table": ("table", _tables),
    "text": ("text", _pages),
    "long text": ("text", lambda _: ["ü" * 40_000]),
    "html": ("html", _pages),
    "audio": ("audio", _sounds),
    "video": ("video", lambda folder: [b"\0\0\0\x18ftypmp42" + bytes(300_000), *_images(folder)[-3:]]),
}
"""For each kind the verb, and what it takes."""


def _facts(media: list[Medium]) -> list[tuple[Any, ...]]:
    """Return all that is said of media, and their bytes."""
    return [
        (
            (one.name, one.kind, one.step, one.caption, one.type, one.facts, one.size),
            (one.artifact.digest, one.read_bytes(), one.thumb and one.thumb.read_bytes()),
        )
        for one in media
    ]


class LookingTests(BackendTests):
    """What a trial has logged to be looked at is kept as it was logged, and stays with the trial."""

    @pytest.fixture
    def media_logger(
        self, protocol: Protocol, trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> TrialLogger:
        """Give what logs to a trial; what has no folder beside its store goes to one of the test."""
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        return TrialLogger(trial, protocol, environment="none")

    def media_seen(self, protocol: Protocol, media_logger: TrialLogger, name: str | None = None) -> Media:
        """Return the media of a trial as another client of the store finds them."""
        again = self.reopen(protocol)
        return TrialLogger(again.get_trial(media_logger.trial)[0], again).media(name)

    @pytest.mark.parametrize("kind", _VERBS)
    def test_media_come_back_as_they_were_logged(
        self, protocol: Protocol, media_logger: TrialLogger, tmp_path: Path, kind: str
    ) -> None:
        """Whatever a verb takes: name, kind, step, caption, facts and each byte are what the verb has returned."""
        verb, values = _VERBS[kind]
        log = getattr(media_logger, f"log_{verb}")

        made = []
        for step, value in enumerate(values(tmp_path)):
            arguments = value if isinstance(value, _Given) else _Given((value,))
            made.append(log("a/ü", *arguments, step=step, caption=f"ä {step}"))

        found = self.media_seen(protocol, media_logger, "a/ü")
        assert _facts(found) == _facts(made)
        assert [(one.kind, one.step) for one in found] == [(verb, step) for step in range(len(made))]

    def test_same_pixels_are_the_same_image(
        self, protocol: Protocol, media_logger: TrialLogger, tmp_path: Path
    ) -> None:
        """Bytes, truths, floats and lists of one picture are one content; a file and its bytes are, too."""
        for value in _images(tmp_path):
            media_logger.log_image("sample", value)

        digests = [one.artifact.digest for one in self.media_seen(protocol, media_logger)]

        assert len(set(digests[:4])) == 1
        assert len(set(digests[-3:])) == 1
        # Gray, in colour, with alpha, and the file.
        assert len(set(digests)) == 4

    def test_what_media_hold_can_be_read(self, protocol: Protocol, media_logger: TrialLogger) -> None:
        """Counts of a histogram, rows of a table and the text of a text are those that were given."""
        media_logger.log_histogram("weights", [0.0, 0.0, 1.0])
        media_logger.log_table("table", [{"a": 1, "b": "ü"}, {"a": None, "b": 0.5}])
        media_logger.log_table("long", {"n": range(20_000)})
        media_logger.log_text("note", "größer\n")

        weights, table, long, note = self.media_seen(protocol, media_logger)

        assert (weights.histogram.size, weights.histogram.counts[0], weights.histogram.counts[-1]) == (3, 2, 1)
        assert (table.columns, table.rows) == (["a", "b"], [[1, "ü"], [None, 0.5]])
        assert [row[0] for row in long.rows] == list(range(20_000))
        assert note.text == "größer\n"

    @pytest.mark.parametrize("steps", [[3, 1, 1, None, 2], ["warm-up", (1, 2), 0.5, 2**70]])
    def test_order_and_steps_are_those_of_the_calls(
        self, protocol: Protocol, media_logger: TrialLogger, steps: list[Any]
    ) -> None:
        """Several at one step are all there; the last of them is what is found at it."""
        for place, step in enumerate(steps):
            media_logger.log_image("sample", [[place]], step=step)
            media_logger.log_text("note", str(place), step=step)

        found, notes = self.media_seen(protocol, media_logger), self.media_seen(protocol, media_logger, "note")

        assert [one.name for one in found] == ["sample", "note"] * len(steps)
        assert [one.step for one in found if one.name == "sample"] == notes.steps == steps
        assert len({one.artifact.digest for one in found if one.name == "sample"}) == len(steps)
        assert [one.text for one in notes] == list(map(str, range(len(steps))))
        assert notes.at_step(steps[2]).text == "2"

    def test_media_are_beside_files(self, protocol: Protocol, media_logger: TrialLogger) -> None:
        """Files are no media; a name that none of them has is an error, and without media there is none."""
        media_logger.log_artifact(b"weights", "model")
        assert media_logger.media() == media_logger.media("model") == []
        media_logger.log_image("sample", [[1]])

        assert [one.name for one in self.media_seen(protocol, media_logger)] == ["sample"]
        with pytest.raises(NotFound, match="no media 'model'"):
            self.media_seen(protocol, media_logger, "model")

    def test_many_small_images_are_one_file(self, protocol: Protocol, media_logger: TrialLogger) -> None:
        """They are in one archive, in which each is found."""
        with media_logger:
            for step in range(60):
                media_logger.log_image("sample", [[step]], step=step)

        found = self.media_seen(protocol, media_logger, "sample")

        assert found.steps == list(range(60))
        assert len({one.artifact.uri.partition("@")[0] for one in found}) == 1
        assert len({one.read_bytes() for one in found}) == 60

    def test_of_very_many_some_are_kept_evenly(
        self,
        protocol: Protocol,
        media_logger: TrialLogger,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Of more than a thousand every second one, then every fourth, and the last; how many that are is said."""
        monkeypatch.setattr("track.media.writing.MOST", 8)
        with caplog.at_level(logging.WARNING), media_logger:
            for step in range(22):
                media_logger.log_image("sample", [[step]], step=step)
                if step < 8:
                    media_logger.log_text("few", str(step), step=step)

        found = self.media_seen(protocol, media_logger)

        assert [one.step for one in found if one.name == "sample"] == [0, 4, 8, 12, 16, 20, 21]
        assert [one.text for one in found if one.name == "few"] == list(map(str, range(8)))
        said = [text for text in caplog.messages if "every second one" in text]
        assert len(said) == 1
        assert said[0].startswith("'sample' has 8 media")

    def test_media_go_on_with_their_trial(
        self, protocol: Protocol, media_logger: TrialLogger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A trial that is begun again keeps what it had, adds to it, and thins all of its lives."""
        monkeypatch.setattr("track.media.writing.MOST", 4)
        with media_logger:
            for step in range(3):
                media_logger.log_image("sample", [[step]], step=step)
            media_logger.log_text("note", "first")
        before = _facts(self.media_seen(protocol, media_logger))

        again = TrialLogger(protocol.get_trial(media_logger.trial)[0], protocol, environment="none")
        with again:
            between = _facts(self.media_seen(protocol, again))
            for step in range(3, 7):
                again.log_image("sample", [[step]], step=step)
            again.log_text("note", "second")

        found = self.media_seen(protocol, again)
        assert between == before
        assert [one.step for one in found if one.name == "sample"] == [0, 2, 4, 6]
        assert [one.text for one in found if one.name == "note"] == ["first", "second"]

    def test_deleted_trial_keeps_its_media(self, protocol: Protocol, media_logger: TrialLogger) -> None:
        """Once it is restored they are there, with those that were logged meanwhile."""
        media_logger.log_image("sample", _PIXELS, step=0)
        media_logger.log_text("note", "x")
        before = _facts(self.media_seen(protocol, media_logger))
        protocol.delete_trial(media_logger.trial)
        media_logger.log_text("note", "meanwhile")

        protocol.restore_trial(media_logger.trial)

        found = self.media_seen(protocol, media_logger)
        assert _facts(found[:2]) == before
        assert found[2].text == "meanwhile"

    def test_copy_in_another_store_has_the_media(
        self, protocol: Protocol, media_logger: TrialLogger, tmp_path: Path
    ) -> None:
        """What is copied names images where they are, and holds what the record held."""
        if not protocol.takes_events:
            pytest.skip("a backend of methods is not copied from")
        with media_logger:
            for step in range(3):
                media_logger.log_image("sample", [[step]], step=step, caption=f"é {step}")
            media_logger.log_histogram("weights", [1.0, 2.0], step=1)
        source, target = self.reopen(protocol), FileProtocol(f"file:{tmp_path}/elsewhere/copy.json")
        original = source.get_trial(media_logger.trial)[0]

        lines, _ = shared(original.artifacts, source.main, target.main)
        target.receive("copy", 0, [replace(trial_copied(original), artifacts=to_plain(lines))])

        copied = TrialLogger(target.get_trial(original)[0], target).media()
        assert _facts(copied) == _facts(self.media_seen(protocol, media_logger))
