"""What a user does with media: log them, look at them, in a store that is good, full, or away."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
import pytest

import track
from track import TrackClient
from track.artifacts.inline import inline_uri
from track.errors import CorruptArtifact, InvalidCall, InvalidEvent, NotFound, UnsafePath
from track.logger import TrialLogger
from track.media import writing

PIXELS = [[0.0, 0.5], [0.5, 1.0]]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """Give the URI of a new store."""
    return f"file://{tmp_path}/runs.json"


@pytest.fixture
def trial(uri: str) -> Iterator[TrialLogger]:
    """Give a trial that runs."""
    with TrackClient(uri).new_trial(parameters={"lr": 0.1}) as trial:
        yield trial


def test_images_come_back_by_name_and_step(trial: TrialLogger, uri: str) -> None:
    """What was logged under a name is read back in its order, with steps and captions, from logger and store alike."""
    for step in range(3):
        trial.log_image("val/sample", [[step, 255], [0, 1]], step=step, caption=f"epoch {step}")
    trial.log_image("other", PIXELS)
    trial.finish()

    fetched = track.fetch(uri)[0]

    for media in (trial.media("val/sample"), fetched.media("val/sample")):
        assert [(one.step, one.caption, one.kind, one.type) for one in media] == [
            (step, f"epoch {step}", "image", "image/png") for step in range(3)
        ]
        assert media[1].facts == {"width": 2, "height": 2}
        assert media[1].read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert media.at_step(2).step == 2
    assert len(fetched.media()) == 4


def test_texts_are_in_the_manifest_itself(trial: TrialLogger, tmp_path: Path) -> None:
    """A text needs no file and no folder."""
    trial.log_text("answer", "größer\n", step=1)
    trial.finish()

    assert trial.media("answer")[0].text == "größer\n"
    assert not (tmp_path / "runs.json.artifacts").exists()


def test_long_texts_are_in_the_store(trial: TrialLogger, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is longer than 64 kB, or more than 1 MB of all together, is no part of the manifest."""
    long = "x" * 70_000
    trial.log_text("long", long)
    monkeypatch.setattr(writing, "ALL_INLINE", 10)
    trial.log_text("few", "123456")
    trial.log_text("few", "789012")

    media = trial.media()

    assert [one.text for one in media] == [long, "123456", "789012"]
    assert [one.artifact.is_inline for one in media] == [False, True, False]


def test_histogram_counts_values(trial: TrialLogger) -> None:
    """Each value is between two of 65 edges, the least and the greatest included."""
    trial.log_histogram("weights", [float(number) for number in range(640)], step=3)

    found = trial.media("weights")[0].histogram

    assert found.counts == [10] * 64
    assert (found.edges[0], found.edges[-1], len(found.edges)) == (0.0, 639.0, 65)
    assert found.size == 640


def test_a_thousand_images_are_one_file(trial: TrialLogger, tmp_path: Path) -> None:
    """Small images of a run are in one archive, which any tool opens."""
    import tarfile

    for step in range(50):
        trial.log_image("sample", [[step, 0], [0, step]], step=step)
    trial.finish()

    (pack,) = (tmp_path / "runs.json.artifacts" / "packs").glob("*/*.tar")
    with tarfile.open(pack) as archive:
        names = archive.getnames()
    assert len(names) == 50
    assert {medium.artifact.digest for medium in trial.media()} == {name.removesuffix(".png") for name in names}
    assert not (tmp_path / "runs.json.artifacts" / "objects").exists()


def test_the_same_image_is_stored_once(trial: TrialLogger, tmp_path: Path) -> None:
    """An image that is logged again takes a line in the manifest, and nothing else."""
    trial.log_image("sample", PIXELS, step=0)
    (pack,) = (tmp_path / "runs.json.artifacts" / "packs").glob("*/*.tar")
    size = pack.stat().st_size

    trial.log_image("sample", PIXELS, step=1)

    assert pack.stat().st_size == size
    first, second = trial.media("sample")
    assert first.read_bytes() == second.read_bytes()


def test_a_large_image_is_a_file_of_its_own(trial: TrialLogger) -> None:
    """What has 256 kB or more is stored as any file is, once over all trials."""
    trial.log_image("photo", PNG + bytes(300_000))

    (photo,) = trial.media("photo")

    assert "/objects/" in f"/{photo.artifact.uri}"
    assert photo.size == len(photo.read_bytes()) == len(PNG) + 300_000


def test_media_are_thinned_evenly(
    trial: TrialLogger, uri: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of more than so many every second is kept, then every fourth, the first and the last always; it is said once."""
    monkeypatch.setattr(writing, "MOST", 8)
    for step in range(38):
        trial.log_text("note", str(step), step=step)
    trial.finish()

    assert track.fetch(uri)[0].media("note").steps == [0, 8, 16, 24, 32, 37]
    assert [record.getMessage()[:49] for record in caplog.records] == [
        "'note' has 8 media: every second one is kept from"
    ]


def test_the_last_one_is_there_while_the_trial_runs(trial: TrialLogger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks at a running trial sees what it has logged last; later it may be thinned out."""
    monkeypatch.setattr(writing, "MOST", 4)
    for step in range(6):
        trial.log_text("note", str(step), step=step)

    during = trial.media("note").steps
    trial.log_text("note", "6", step=6)

    assert (during, trial.media("note").steps) == ([0, 2, 4, 5], [0, 2, 4, 6])


def test_a_trial_that_goes_on_counts_on(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial in its next life thins what all of its lives have logged."""
    monkeypatch.setattr(writing, "MOST", 4)
    for first in (0, 3, 6):
        trial = TrackClient(uri).open_trial("one")
        trial.start()
        for step in range(first, first + 3):
            trial.log_text("note", str(step), step=step)
        trial.finish(RuntimeError, RuntimeError("preempted"))

    assert track.fetch(uri)[0].media("note").steps == [0, 4, 8]


@pytest.mark.parametrize(
    ("verb", "arguments", "match"),
    [
        ("log_image", ([[[0] * 5] * 4] * 4,), "HxW"),
        ("log_image", ([0.5],), "HxW"),
        ("log_image", ([],), "HxW"),
        ("log_image", ([[1, 2], [3]],), "image 'bad'"),
        ("log_image", ([["a"]],), "image 'bad'"),
        ("log_image", (object(),), "HxW"),
        ("log_image", (None,), "HxW"),
        ("log_image", (b"no image",), "no PNG"),
        ("log_histogram", (["a"],), "histogram 'bad'"),
        ("log_histogram", (None,), "give its values"),
        ("log_table", ("text",), "a table is"),
        ("log_table", ([[1, 2], [3]],), "row 1 has 1 cells for 2 columns"),
        ("log_table", ({"a": [1], "b": []},), "not of one length"),
        ("log_table", (7,), "a table is"),
        ("log_text", (7,), "give a text"),
        ("log_html", (None,), "give a text"),
        ("log_audio", ([0.0, 1.0],), "rate"),
        ("log_audio", (b"no sound",), "no sound"),
        ("log_video", (b"no video",), "no video"),
        ("log_video", ([1],), "path of a file"),
        ("log_figure", ([1],), "matplotlib or plotly"),
    ],
)
def test_bad_input_is_one_error_that_names_it(
    trial: TrialLogger, verb: str, arguments: tuple[Any, ...], match: str
) -> None:
    """What is no image, ..., is refused with its name and the way out; nothing is stored, and what was stays."""
    trial.log_text("good", "here")

    with pytest.raises(InvalidEvent, match=match) as caught:
        getattr(trial, verb)("bad", *arguments)

    assert "'bad'" in str(caught.value)
    assert len(str(caught.value)) < 500
    assert [medium.name for medium in trial.media()] == ["good"]


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a:v1", "", "a\nb"])
def test_a_name_is_one_of_an_artifact(trial: TrialLogger, name: str) -> None:
    """A name that no file could have is refused, also where nothing becomes a file."""
    with pytest.raises(UnsafePath):
        trial.log_text(name, "text")


def test_a_name_is_given(trial: TrialLogger) -> None:
    """What is no text is no name."""
    with pytest.raises(UnsafePath, match=r"go by their names, .* not by None"):
        trial.log_text(None, "text")  # type: ignore[arg-type]


def test_a_file_that_is_not_there(trial: TrialLogger) -> None:
    """A path without a file is the caller's mistake."""
    with pytest.raises(FileNotFoundError):
        trial.log_image("sample", "missing.png")


def test_files_stay_what_they_are(trial: TrialLogger, tmp_path: Path) -> None:
    """A file of an image, a sound or a video is stored byte by byte, with its type."""
    given = {
        "a.png": (trial.log_image, PNG, "image/png"),
        "a.svg": (trial.log_image, b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        "a.flac": (trial.log_audio, b"fLaC" + bytes(10), "audio/flac"),
        "a.mp4": (trial.log_video, bytes(4) + b"ftyp" + bytes(10), "video/mp4"),
        "a.html": (trial.log_html, b"<b>bold</b>", "text/html"),
    }
    for name, (log, data, _) in given.items():
        (tmp_path / name).write_bytes(data)
        log(name, tmp_path / name)  # type: ignore[operator]

    for name, (_, data, kind) in given.items():
        (medium,) = trial.media(name)
        assert (medium.type, medium.read_bytes()) == (kind, data)


def test_tables_of_rows_and_columns(trial: TrialLogger) -> None:
    """Rows, mappings and columns are the same table; what is missing is None."""
    trial.log_table("mappings", [{"a": 1, "b": "x"}, {"a": 2.5}])
    trial.log_table("rows", [[1, "x"], [2.5, None]], columns=["a", "b"])
    trial.log_table("columns", {"a": [1, 2.5], "b": ["x", float("nan")]})

    for medium in trial.media():
        assert (medium.columns, medium.rows) == (["a", "b"], [[1, "x"], [2.5, None]])
        assert medium.facts == {"rows": 2, "columns": 2}
    with pytest.raises(InvalidCall, match="is no histogram, but a table"):
        _ = trial.media("rows")[0].histogram


def test_cells_and_captions_may_be_anything(trial: TrialLogger) -> None:
    """A text that is no UTF-8, as the name of a file may be, has ? in its place; what has no text says so."""

    class Mute:
        def __str__(self) -> str:
            raise RuntimeError("no")

    class Animal(str, Enum):
        CAT = "cat"

    trial.log_table("table", [{"\udcff": "\udcff", "b": Mute(), "c": Animal.CAT}], caption=Mute())  # type: ignore[arg-type]

    table = trial.media("table")[0]
    assert table.columns == ["?", "b", "c"]
    assert table.rows == [["?", "<Mute: its text failed with RuntimeError>", "cat"]]
    assert table.caption == "<Mute: its text failed with RuntimeError>"


def test_a_sound_is_a_wav(trial: TrialLogger) -> None:
    """Samples of -1 to 1 become 16 bits each; what is louder is cut."""
    import wave

    trial.log_audio("voice", [0.0, 1.0, -1.0, 9.0], rate=4)

    (voice,) = trial.media("voice")
    with wave.open(io.BytesIO(voice.read_bytes())) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (4, 1, 4)
        assert file.readframes(4) == b"\0\0\xff\x7f\x01\x80\xff\x7f"
    assert voice.facts == {"rate": 4, "seconds": 1.0}


@pytest.mark.parametrize("is_plain", [True, False])
def test_a_sound_has_its_channels_first_or_last(trial: TrialLogger, is_plain: bool) -> None:
    """A waveform as torchaudio returns it, a row a channel, is the sound that its transpose is."""
    import wave

    left, right = [0.0, 1.0] * 40, [-1.0, 0.5] * 40
    rows: Any = [left, right]
    trial.log_audio("first", rows if is_plain else pytest.importorskip("numpy").array(rows), rate=8)
    trial.log_audio("last", list(map(list, zip(left, right, strict=True))), rate=8)

    first, last = trial.media("first")[0], trial.media("last")[0]
    with wave.open(io.BytesIO(first.read_bytes())) as file:
        assert (file.getnchannels(), file.getnframes()) == (2, 80)
    assert (first.read_bytes(), first.facts) == (last.read_bytes(), last.facts)


def test_another_name_is_suggested(trial: TrialLogger) -> None:
    """A name that no medium has is an error that says which is near; of a trial without media there is none."""
    assert trial.media("sample") == []
    trial.log_text("sample", "x")

    with pytest.raises(NotFound, match="did you mean 'sample'"):
        trial.media("sampel")


def test_values_that_are_no_pixels_are_cut_and_said_once(trial: TrialLogger, caplog: pytest.LogCaptureFixture) -> None:
    """What a model returns may leave the range; that stops no training."""
    trial.log_image("sample", [[1.7, -0.2], [float("nan"), 0.5]])
    trial.log_image("sample", [[300, -2], [0, 0]])

    assert len(trial.media("sample")) == 2
    assert len([record for record in caplog.records if "outside of 0 to 1" in record.getMessage()]) == 1


def test_a_store_that_cannot_be_written_to_is_said_once_and_counted(
    trial: TrialLogger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Media that have no place do not end a training; how many these are is in the trial's metadata."""
    (tmp_path / "runs.json.artifacts").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        for step in range(5):
            assert trial.log_image("sample", PIXELS, step=step) is None
        trial.log_text("note", "this needs no place")
        trial.finish()

    assert len([record for record in caplog.records if "image 'sample' is not stored" in record.getMessage()]) == 1
    assert trial.trial.metadata["artifacts_not_stored"] == {"sample": "5 of its media could not be stored"}
    assert trial.media("note")[0].text == "this needs no place"


def test_a_notebook_shows_media_and_runs_nothing_of_them(trial: TrialLogger) -> None:
    """What a user has logged is text, an image, or in a frame without rights; never a part of the page."""
    trial.log_text("note", "<script>alert(1)</script>", caption="<b>")
    trial.log_html("page", "<script>alert(2)</script><a href=https://example.org>")
    trial.log_image("drawing", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(3)'/>")
    trial.log_histogram("weights", [1.0, 2.0])
    trial.log_table("table", [{"<i>": "<u>"}])

    shown = trial.media()._repr_html_()

    assert "<script" not in shown
    assert "onload" not in shown
    assert "<u>" not in shown
    assert '<iframe sandbox=""' in shown
    assert "default-src &#x27;none&#x27;" in shown
    assert "&lt;!a href=https://example.org" in shown
    assert shown.count("<figure") == 5


def test_nothing_is_imported_to_know_a_value(tmp_path: Path) -> None:
    """Logging lists and texts imports neither of the packages that values may come from, but numpy."""
    from tests.children import python

    script = (
        "import sys; from track import TrackClient\n"
        "with TrackClient('file://runs.json').new_trial(parameters={}) as trial:\n"
        "    trial.log_image('a', [[1, 2]]); trial.log_text('b', 'c'); trial.log_table('d', [{'e': 1}])\n"
        "print(sorted({'PIL', 'torch', 'pandas', 'matplotlib', 'plotly', 'pyarrow', 'polars'} & sys.modules.keys()))"
    )

    done = python("-c", script, cwd=tmp_path)

    assert (done.stdout, done.stderr, done.returncode) == ("[]\n", "", 0)


def test_without_numpy_all_of_it_works(tmp_path: Path) -> None:
    """Images, histograms and sounds of lists need nothing but the standard library."""
    from tests.children import python

    script = (
        "import sys; sys.modules['numpy'] = None\n"
        "from track import TrackClient\n"
        "with TrackClient('file://runs.json').new_trial(parameters={}) as trial:\n"
        "    trial.log_image('a', [[0.0, 0.5], [0.5, 1.0]]); trial.log_image('a', [[[1, 2, 3]]])\n"
        "    trial.log_histogram('b', [[1, 2], [3, float('nan')]]); trial.log_audio('c', [0.0, 1.0], rate=2)\n"
        "print([medium.size for medium in trial.media()], trial.media('b')[0].histogram.size)"
    )

    done = python("-c", script, cwd=tmp_path)

    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.endswith(" 4\n")


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_a_child_has_a_pack_of_its_own(trial: TrialLogger, tmp_path: Path) -> None:
    """Two processes that log to one trial write to two archives."""
    trial.log_image("sample", PIXELS, step=0)
    child = os.fork()
    if not child:
        try:
            trial.log_image("child", [[9, 9]], step=1)
            trial.protocol.flush()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    trial.log_image("sample", [[7, 7]], step=2)

    assert [(medium.name, medium.step) for medium in trial.media()] == [("sample", 0), ("child", 1), ("sample", 2)]
    assert len(list((tmp_path / "runs.json.artifacts" / "packs").glob("*/*.tar"))) == 2
    assert all(medium.read_bytes() for medium in trial.media())


def test_an_image_is_there_once_its_call_has_returned(tmp_path: Path, uri: str) -> None:
    """A run that is killed while it logs has each image whose call returned; what was torn is read by nobody."""
    from tests.children import start_python

    script = (
        "import os\n"
        "from track import TrackClient\n"
        f"trial = TrackClient({uri!r}).new_trial(parameters={{}})\n"
        "trial.start()\n"
        "for step in range(10**6):\n"
        "    trial.log_image('sample', [[step % 251, step // 251 % 251]], step=step)\n"
        "    print(step, flush=True)\n"
    )
    with start_python("-c", script, cwd=tmp_path) as process:
        assert process.stdout is not None
        told = [int(next(process.stdout)) for _ in range(40)]
        process.kill()
        told += map(int, process.stdout.read().split())
    (pack,) = (tmp_path / "runs.json.artifacts" / "packs").glob("*/*.tar")
    # As a power cut may leave it.
    with pack.open("ab") as file:
        file.write(b"torn")

    media = track.fetch(uri)[0].media("sample")

    assert media.steps[: told[-1] + 1] == list(range(told[-1] + 1))
    assert all(medium.read_bytes() for medium in media)


def test_gc_removes_a_pack_that_nobody_names(trial: TrialLogger, uri: str, tmp_path: Path) -> None:
    """A pack stays while a trial names something in it, also a hidden one, and goes once that is forgotten."""
    from track.artifacts import gc

    packs = tmp_path / "runs.json.artifacts" / "packs"
    trial.log_image("sample", PIXELS)
    client = TrackClient(uri)
    other = client.new_trial(parameters={"lr": 7}, force=True)
    with other:
        other.log_image("sample", PIXELS)
    client.delete_trial(other.trial.uid)
    assert gc(uri).removed == []
    client.protocol.forget_trials()

    removed = gc(uri).removed

    assert [key.partition("/")[0] for key in removed] == ["packs"]
    assert len(list(packs.glob("*/*.tar"))) == 1
    assert trial.media("sample")[0].read_bytes()


def test_what_is_removed_meanwhile_is_appended_to_no_more(trial: TrialLogger, tmp_path: Path) -> None:
    """A pack that a clean-up has condemned gets nothing more: the next image begins another one."""
    from track.artifacts.leases import condemn
    from track.artifacts.location import open_folder

    trial.log_image("sample", PIXELS, step=0)
    folder = tmp_path / "runs.json.artifacts"
    (pack,) = (folder / "packs").glob("*/*.tar")
    condemn(open_folder(str(folder)), [pack.relative_to(folder).as_posix()], [])

    trial.log_image("sample", [[5, 6]], step=1)

    assert len(list((folder / "packs").glob("*/*.tar"))) == 2


_BROKEN = {
    "histogram": [b"null", b"[" * 9999, b'{"counts":["a"],"edges":[0,1]}', b'{"counts":[1],"edges":[0,1,2]}'],
    "table": [b"", b"5", b'["a"]\n5', b'["a"]\n[1,2]', b"[" * 9999],
}


@pytest.mark.parametrize(("kind", "data"), [(kind, data) for kind, some in _BROKEN.items() for data in some])
def test_what_is_none_is_one_error(trial: TrialLogger, kind: str, data: bytes) -> None:
    """Whoever writes to the store may have written anything: reading it says that it is no histogram, or no table."""
    _say(trial, inline_uri(data, "application/json"), data, kind, len(data))
    medium = trial.media("said")[0]

    with pytest.raises(CorruptArtifact, match="'said'"):
        _ = medium.histogram if kind == "histogram" else medium.rows
    assert "'said'" in medium._repr_html_().replace("&#x27;", "'")


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 512), (513, 80), (10**12, 80), (10**15 - 1, 80), (512, -5), (512, 0), (512, 2**50)]
)
def test_places_outside_of_a_pack_are_one_error(trial: TrialLogger, offset: int, size: int) -> None:
    """Where in a pack a content is, and how long, was written by anybody: what is there is not what was logged."""
    trial.log_image("good", PIXELS)
    good = trial.media("good")[0]
    _say(trial, f"{good.artifact.uri.partition('@')[0]}@{offset}", good.read_bytes(), "image", size)

    with pytest.raises(CorruptArtifact):
        trial.media("said")[0].read_bytes()


def _say(trial: TrialLogger, uri: str, data: bytes, kind: str, size: int) -> None:
    """Say of a trial that it has logged something."""
    digest = hashlib.sha256(data).hexdigest()
    trial.protocol.log_trial_artifact(trial.trial, "said", uri, digest, size, media={"kind": kind, "index": 0})


def test_what_is_no_text_says_so(trial: TrialLogger) -> None:
    """Pixels are no text."""
    trial.log_image("image", PIXELS)

    with pytest.raises(InvalidCall, match="'image' is no text, but image/png"):
        _ = trial.media("image")[0].text


def test_a_copy_has_the_media(trial: TrialLogger, uri: str, tmp_path: Path) -> None:
    """A trial that is copied to another store names what it has logged where it is."""
    from tests.children import python

    trial.log_image("sample", PIXELS, step=3)
    trial.log_text("note", "inline")
    trial.finish()
    data = trial.media("sample")[0].read_bytes()

    done = python("-m", "track", "copy", uri, f"sqlite://{tmp_path}/copy.db")

    assert done.returncode == 0, done.stderr
    copied = track.fetch(f"sqlite://{tmp_path}/copy.db")[0]
    assert copied.media("sample")[0].read_bytes() == data
    assert (copied.media("sample").steps, copied.media("note")[0].text) == ([3], "inline")


def test_a_saved_copy_names_them_where_they_are(trial: TrialLogger, tmp_path: Path) -> None:
    """`save` to another file keeps the names of packs that lie beside the first one."""
    trial.log_image("sample", PIXELS)
    trial.finish()
    trial.save(str(tmp_path / "other" / "copy.json"))

    assert track.fetch(f"file://{tmp_path}/other/copy.json")[0].media("sample")[0].read_bytes()


@pytest.mark.parametrize("scheme", ["ephemeral:", "sqlite:", "memory"])
def test_every_kind_of_store_has_them(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory, in a database and in a bucket, media come back byte by byte."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    if scheme == "memory":
        pytest.importorskip("fsspec", reason="needs fsspec: run pip install .[fsspec]")
    uri = {
        "ephemeral:": scheme,
        "sqlite:": f"sqlite://{tmp_path}/runs.db",
        "memory": f"file://{tmp_path}/runs.json?artifacts=memory://{tmp_path.name}",
    }[scheme]
    client = TrackClient(uri)
    with client.new_trial(parameters={}) as trial:
        for step in range(5):
            trial.log_image("sample", [[step, 1]], step=step)
        trial.log_histogram("weights", [1.0, 2.0])
        seen = trial.media("sample")

    media = trial.media("sample")

    assert [one.read_bytes() for one in media] == [one.read_bytes() for one in seen]
    assert len({one.artifact.digest for one in media}) == 5
    assert trial.media("weights")[0].histogram.size == 2


def test_a_bucket_gets_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small images of a run are one object of a bucket, there once the run has ended; nothing is left here."""
    fsspec = pytest.importorskip("fsspec", reason="needs fsspec: run pip install .[fsspec]")
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    place = f"memory://{tmp_path.name}/bucket"
    with TrackClient(f"file://{tmp_path}/runs.json?artifacts={place}").new_trial(parameters={}) as trial:
        for step in range(30):
            trial.log_image("sample", [[step, 1]], step=step)
        assert fsspec.filesystem("memory").find(f"{place}/packs") == []
        assert len(list((tmp_path / "spill" / "packs").rglob("*.tar"))) == 1

    assert len(fsspec.filesystem("memory").find(f"{place}/packs")) == 1
    assert list((tmp_path / "spill" / "packs").rglob("*.*")) == []
    assert len({medium.read_bytes() for medium in trial.media("sample")}) == 30


def test_what_a_killed_run_has_left_goes_to_its_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`track sync`, or the next run to that bucket, sends the archive of a process that was killed."""
    from tests.children import python, start_python

    pytest.importorskip("fsspec", reason="needs fsspec: run pip install .[fsspec]")
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    uri = f"file://{tmp_path}/runs.json?artifacts=local://{tmp_path}/bucket"
    script = (
        "import time; from track import TrackClient\n"
        f"trial = TrackClient({uri!r}).new_trial(parameters={{}})\n"
        "trial.start(); trial.log_image('sample', [[1, 2]]); print('logged', flush=True); time.sleep(100)\n"
    )
    with start_python("-c", script) as process:
        assert process.stdout is not None
        next(process.stdout)
        process.kill()
    with pytest.raises(NotFound):
        track.fetch(uri)[0].media("sample")[0].read_bytes()

    done = python("-m", "track", "sync")

    assert (done.returncode, done.stdout.splitlines()[:1]) == (0, ["archives of images and the like that were sent: 1"])
    assert track.fetch(uri)[0].media("sample")[0].read_bytes()


def test_a_bucket_that_is_away_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be sent at the end of a run stays here, which is said, no part of it there; the next run sends it."""
    from track.artifacts.remote import RemoteFolder
    from track.errors import BackendUnavailable

    pytest.importorskip("fsspec", reason="needs fsspec: run pip install .[fsspec]")
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    client = TrackClient(f"file://{tmp_path}/runs.json?artifacts=memory://{tmp_path.name}/bucket")
    write = RemoteFolder.write

    def refuse(self: Any, key: str, data: bytes, owner: str = "") -> None:
        if key.startswith("packs/"):
            write(self, key, data[: len(data) // 2])
            raise BackendUnavailable("no room in the bucket")
        write(self, key, data, owner)

    monkeypatch.setattr(RemoteFolder, "write", refuse)
    with client.new_trial(parameters={"lr": 1}) as first:
        first.log_image("sample", PIXELS)
    with pytest.raises(NotFound):
        first.media("sample")[0].read_bytes()
    monkeypatch.setattr(RemoteFolder, "write", write)
    with client.new_trial(parameters={"lr": 2}) as second:
        second.log_image("sample", PIXELS)

    assert "wait to be sent to memory://" in caplog.text
    assert first.media("sample")[0].read_bytes() == second.media("sample")[0].read_bytes()


def test_an_export_says_what_there_is(trial: TrialLogger, uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`track export --jsonl` names each medium with step and caption, and has the texts that the record holds."""
    from track.cli import main

    trial.log_image("sample", PIXELS, step=3, caption="a cat")
    trial.log_text("note", "größer", step=4)
    trial.finish()

    assert main(["export", uri, "--jsonl", "-"]) == 0

    image, note = msgspec.json.decode(capsys.readouterr().out.splitlines()[0])["media"]
    assert (image["name"], image["step"], image["caption"], image["width"]) == ("sample", 3, "a cat", 2)
    assert image["uri"].startswith("packs/")
    assert (note["kind"], note["step"], note["content"]) == ("text", 4, "größer")


def test_reports_count_media(trial: TrialLogger, uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A report and `track show` say how many there are of a name; they print no line for each, nor contents."""
    from track.cli import main

    for step in range(30):
        trial.log_text("answer", "x" * 1000, step=step)
    trial.log_artifact(b"weights", "model.bin")

    trial.report()
    assert main(["show", uri, "@last"]) == 0

    said = capsys.readouterr().out
    assert said.count("30 x text") == 2
    assert said.count("model.bin") == 2
    assert "base64" not in said
