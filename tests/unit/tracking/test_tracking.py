"""`track.tracking` in files: what torchx's users know, and what is checked beyond it."""

from __future__ import annotations

import json
import math
import os
import threading
from fractions import Fraction
from pathlib import Path

import pytest

import track.tracking.api
from tests.children import printed_by, python
from track.errors import AlreadyExists, CorruptJournal, MissingExtra, TrackError
from track.tracking import FsspecResultTracker, ResultTimeout, ResultTracker


@pytest.fixture
def tracker(tmp_path: Path) -> FsspecResultTracker:
    """Give a tracker of a folder that does not exist yet."""
    return FsspecResultTracker(str(tmp_path / "results"))


class TestPublishedExamples:
    """What the published documentation of torchx shows, but for the import."""

    def test_put_in_and_get_anywhere_outside(self, tmp_path: Path) -> None:
        """Another tracker of the same base has what was put."""
        tracker_base = str(tmp_path / "foobar")
        tracker = FsspecResultTracker(tracker_base)
        tracker["attempt_1/out"] = {"accuracy": 0.233}

        tracker = FsspecResultTracker(tracker_base)

        assert tracker["attempt_1/out"]["accuracy"] == 0.233

    def test_methods_and_brackets_are_the_same(self, tracker: FsspecResultTracker) -> None:
        """`put` and `[]=`, `get` and `[]` mean the same."""
        tracker.put("foo", l2norm=1.2)
        by_method = tracker.get("foo")["l2norm"]
        tracker["foo"] = {"l2norm": 1.2}

        assert by_method == tracker["foo"]["l2norm"] == tracker.get("foo")["l2norm"] == 1.2

    def test_statistics_have_slashes_in_their_names(self, tracker: FsspecResultTracker) -> None:
        """A slash in a result's name is part of the name."""
        tracker["key"] = {"l2norm/mean": 1.2, "l2norm/sem": 3.4}

        assert tracker["key"]["l2norm/mean"] == 1.2
        assert tracker["key"]["l2norm/sem"] == 3.4

    def test_same_key_in_different_folders(self, tmp_path: Path) -> None:
        """Trackers of two folders do not overwrite each other's results."""
        FsspecResultTracker(str(tmp_path / "foo"))["1"] = {"l2norm": 1.2}
        FsspecResultTracker(str(tmp_path / "bar"))["1"] = {"l2norm": 3.4}

        assert FsspecResultTracker(str(tmp_path / "foo"))["1"] == {"l2norm": 1.2}

    def test_mixed_types_under_a_key_with_a_slash(self, tracker: FsspecResultTracker) -> None:
        """Numbers and texts come back as they are."""
        tracker["foo/bar"] = {"accuracy": 0.98, "epochs": 3, "model": "s3://bucket/model"}

        assert tracker["foo/bar"] == {"accuracy": 0.98, "epochs": 3, "model": "s3://bucket/model"}

    def test_missing_key_is_falsy(self, tracker: FsspecResultTracker) -> None:
        """A key that was never put has no results."""
        assert not tracker[10]

    def test_second_put_wins_under_the_same_text(self, tracker: FsspecResultTracker) -> None:
        """The number 1 and the text "1" are one key, and nothing of the first map is left."""
        tracker[1] = {"l2norm": 1.2, "first": 1}
        tracker[1] = {"l2norm": 3.4}

        assert tracker["1"] == {"l2norm": 3.4}

    def test_names_are_where_torchx_has_them(self) -> None:
        """`track.tracking.api` has every published name."""
        names = {"FsspecResultTracker", "KeyType", "ResultTracker", "ResultType"}

        assert names <= set(vars(track.tracking.api))


def test_base_class_is_abstract() -> None:
    """A tracker without `put` and `get` cannot be made."""
    with pytest.raises(TypeError, match="abstract"):
        ResultTracker()  # type: ignore[abstract]


def test_own_tracker_needs_two_methods() -> None:
    """A subclass with `put` and `get` has brackets and `wait`; `keys` is its own to write."""

    class Memory(ResultTracker):
        def __init__(self):
            self.all = {}

        def put(self, key, /, **results):
            self.all[str(key)] = results

        def get(self, key):
            return self.all.get(str(key), {})

    tracker = Memory()
    tracker[1] = {"loss": 0.5}

    assert tracker.wait("1", timeout=0) == {"loss": 0.5}
    with pytest.raises(NotImplementedError, match="Memory does not list its keys"):
        tracker.keys()


def test_file_is_as_torchx_writes_it(tracker: FsspecResultTracker, tmp_path: Path) -> None:
    """The file has the key's name and, byte for byte, what `json.dumps` gives with an indent of 2."""
    results = {"accuracy": 0.233, "epochs": 10**20, "small": 1e-07, "näme": 'quote " and \u2028 \U0001f600', "is": True}

    tracker["attempt_1/out"] = results

    written = (tmp_path / "results" / "attempt_1" / "out").read_bytes()
    assert written == json.dumps(results, indent=2).encode()
    assert os.listdir(tmp_path / "results" / "attempt_1") == ["out"]


def test_torchx_reads_what_track_wrote_and_the_other_way_round(tmp_path: Path) -> None:
    """The mapping that torchx uses has the same keys and content."""
    fsspec = pytest.importorskip("fsspec")
    base = str(tmp_path / "base")
    FsspecResultTracker(base)["a/b"] = {"x": 1}
    mapper = fsspec.get_mapper(base, create=True)
    mapper["c"] = json.dumps({"y": 2.5}, indent=2).encode()

    assert json.loads(mapper["a/b"]) == {"x": 1}
    assert FsspecResultTracker(base)["c"] == {"y": 2.5}


def test_nothing_is_created_before_the_first_put(tracker: FsspecResultTracker, tmp_path: Path) -> None:
    """Making a tracker and asking it leaves no trace."""
    assert tracker["a"] == {}
    assert list(tracker.keys()) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite(tracker: FsspecResultTracker, tmp_path: Path, value: float) -> None:
    """They come back, and the file is valid JSON all the same."""
    tracker["a"] = {"value": value, "one": 1.0}

    text = (tmp_path / "results" / "a").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert repr(tracker["a"]) == repr({"value": value, "one": 1.0})


def test_result_may_have_any_name(tracker: FsspecResultTracker) -> None:
    """Names that are parameters of `put`, and the name of our mark, are names like others."""
    results = {"key": 1, "self": 2, "__float__": "nan", "": 3}

    tracker["a"] = results

    assert tracker["a"] == results
    tracker["b"] = {"__float__": "nan"}
    assert tracker["b"] == {"__float__": "nan"}


def test_empty_map_is_a_file(tracker: FsspecResultTracker, tmp_path: Path) -> None:
    """An empty map is stored as one, and cannot be told from a missing one."""
    tracker["a"] = {}

    assert (tmp_path / "results" / "a").read_text() == "{}"
    assert tracker["a"] == {}


def test_scalars_of_libraries_become_numbers(tracker: FsspecResultTracker) -> None:
    """What is a number to numpy is one here."""
    numpy = pytest.importorskip("numpy")

    tracker["a"] = {"x": numpy.float32(0.5), "n": numpy.int64(3), "q": Fraction(1, 4)}  # type: ignore[dict-item]

    assert tracker["a"] == {"x": 0.5, "n": 3, "q": 0.25}


@pytest.mark.parametrize("value", [None, [1], {"a": 1}, b"x", object()])
def test_wrong_type_is_refused_before_anything_is_written(
    tracker: FsspecResultTracker, tmp_path: Path, value: object
) -> None:
    """The message names the result and its type, and the old map stays."""
    tracker["a"] = {"x": 1}

    with pytest.raises(TypeError, match=f"'bad' is of type {type(value).__name__}"):
        tracker["a"] = {"fine": 2, "bad": value}  # type: ignore[dict-item]
    assert tracker["a"] == {"x": 1}


def test_name_of_a_result_must_be_text(tracker: FsspecResultTracker) -> None:
    """A number is no name."""
    with pytest.raises(TypeError, match="1 is no name of a result: it must be a str"):
        tracker["a"] = {1: 2}  # type: ignore[dict-item]


def test_text_has_at_most_1024_bytes(tracker: FsspecResultTracker) -> None:
    """Bytes count, not characters."""
    tracker["a"] = {"text": "é" * 512}

    with pytest.raises(ValueError, match="'text' is a text of 1,026 bytes"):
        tracker["a"] = {"text": "é" * 513}
    assert tracker["a"] == {"text": "é" * 512}


@pytest.mark.parametrize("key", ["", ".", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/", "a\nb", "a\0b"])
def test_key_stays_inside_its_base(tracker: FsspecResultTracker, tmp_path: Path, key: str) -> None:
    """A key that leads elsewhere is refused, for writing and for reading, and leaves no trace."""
    with pytest.raises(ValueError, match="cannot be a key"):
        tracker[key] = {"x": 1}
    with pytest.raises(ValueError, match="cannot be a key"):
        tracker.get(key)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["a:b", "with space", "%41", "*", "é", "a.json", ".hidden", "-x", "#", "日本"])
def test_odd_keys(tracker: FsspecResultTracker, key: str) -> None:
    """Anything else is a key, and a file of that very name."""
    tracker[key] = {"x": 1}

    assert tracker[key] == {"x": 1}
    assert list(tracker.keys()) == [key]


def test_key_must_be_int_or_text(tracker: FsspecResultTracker) -> None:
    """A float would not be found again by its text."""
    with pytest.raises(TypeError, match="a key is an int or a str, not float"):
        tracker[1.0] = {"x": 1}  # type: ignore[index]


def test_link_does_not_lead_out(tracker: FsspecResultTracker, tmp_path: Path) -> None:
    """A symbolic link in the base is no way out of it."""
    tracker["a"] = {"x": 1}
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "results" / "link").symlink_to(outside)

    with pytest.raises(ValueError, match="leads out of"):
        tracker["link/b"] = {"x": 1}
    assert list(outside.iterdir()) == []


def test_key_and_the_beginning_of_another(tracker: FsspecResultTracker) -> None:
    """A file cannot be a folder: the message says which is which."""
    tracker["a"] = {"x": 1}
    tracker["b/c"] = {"x": 2}

    with pytest.raises(AlreadyExists, match="the beginning of it is a name of its own"):
        tracker["a/b"] = {"x": 3}
    with pytest.raises(AlreadyExists, match="there are names below it"):
        tracker["b"] = {"x": 4}
    assert (tracker["a/b"], tracker["b"], tracker["a"]) == ({}, {}, {"x": 1})


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff"])
def test_damaged_file_is_an_error_that_names_it(tracker: FsspecResultTracker, tmp_path: Path, content: bytes) -> None:
    """The message has the key and the path, and it is a ValueError."""
    tracker["a"] = {"x": 1}
    (tmp_path / "results" / "a").write_bytes(content)

    with pytest.raises(CorruptJournal, match=r"results/a, key 'a', "):
        tracker.get("a")
    assert issubclass(CorruptJournal, ValueError)


def test_keys_and_items(tracker: FsspecResultTracker) -> None:
    """They are sorted, and can be limited to a prefix."""
    for key in ("b/2", "a", "b/1", 3):
        tracker[key] = {"x": 1}

    assert list(tracker.keys()) == ["3", "a", "b/1", "b/2"]
    assert list(tracker.items("b/")) == [("b/1", {"x": 1}), ("b/2", {"x": 1})]


def test_file_that_is_not_finished_is_no_key(tracker: FsspecResultTracker, tmp_path: Path) -> None:
    """What a killed process left is passed over, and its name cannot be a key."""
    tracker["a"] = {"x": 1}
    left = ".track-0123456789abcdef.tmp"
    (tmp_path / "results" / left).write_text("{")

    assert list(tracker.keys()) == ["a"]
    with pytest.raises(ValueError, match="unfinished file"):
        tracker.get(left)


def test_reader_never_sees_a_part(tracker: FsspecResultTracker) -> None:
    """While a thread replaces a map again and again, a reader finds one of the maps whole."""
    maps = [{f"name {index}": number for index in range(200)} for number in range(2)]
    tracker["a"] = maps[0]

    def write() -> None:
        for turn in range(200):
            tracker["a"] = maps[turn % 2]

    writer = threading.Thread(target=write)
    writer.start()
    found = [tracker["a"] for _ in range(200)]
    writer.join()

    assert all(results in maps for results in found)


def test_wait_returns_what_somebody_puts(tracker: FsspecResultTracker) -> None:
    """A coordinator waits for a key that a worker puts later."""
    timer = threading.Timer(0.05, lambda: tracker.put("a", x=1))
    timer.start()

    assert tracker.wait("a", timeout=60, interval=0.01) == {"x": 1}
    timer.join()


def test_wait_gives_up(tracker: FsspecResultTracker) -> None:
    """The error says which key, and is what a person expects."""
    with pytest.raises(ResultTimeout, match="nothing was put under key '7' within 0 s"):
        tracker.wait(7, timeout=0)
    assert issubclass(ResultTimeout, TimeoutError)
    assert issubclass(ResultTimeout, TrackError)


def test_file_url(tmp_path: Path) -> None:
    """`file://` and the bare path are the same place."""
    FsspecResultTracker(f"file://{tmp_path}/base")["a"] = {"x": 1}

    assert FsspecResultTracker(str(tmp_path / "base"))["a"] == {"x": 1}


def test_memory_with_fsspec() -> None:
    """`memory://` is fsspec's memory where that is installed."""
    fsspec = pytest.importorskip("fsspec")
    tracker = FsspecResultTracker("memory://test_memory_with_fsspec/base")

    tracker["a/b"] = {"x": 1}

    assert json.loads(fsspec.get_mapper("memory://test_memory_with_fsspec/base")["a/b"]) == {"x": 1}
    assert list(tracker.items()) == [("a/b", {"x": 1})]
    assert tracker["a"] == tracker["c"] == {}


def test_without_fsspec(tmp_path: Path) -> None:
    """Folders and `memory://` need no other package; the rest says which it needs."""
    script = (
        "import sys; sys.modules['fsspec'] = None\n"
        "from track.tracking import FsspecResultTracker as Tracker\n"
        "from track.errors import MissingExtra\n"
        "for base in ('base', 'file:other', 'memory://x/y'):\n"
        "    Tracker(base)['a/b'] = {'x': 1}\n"
        "    assert dict(Tracker(base).items()) == {'a/b': {'x': 1}}, base\n"
        "try:\n    Tracker('s3://bucket/x')\n"
        "except MissingExtra as error:\n    print(error)\n"
    )

    done = python("-W", "error", "-c", script, cwd=tmp_path)

    assert (done.stdout, done.stderr) == (
        's3://bucket/x needs fsspec: run pip install ".[fsspec]" in a checkout of track-trials\n',
        "",
    )


def test_unknown_scheme() -> None:
    """A URL that nobody can open is an error at once."""
    pytest.importorskip("fsspec")
    with pytest.raises((ValueError, MissingExtra), match="nosuch"):
        FsspecResultTracker("nosuch://ann:secret@host/x")


def test_import_is_light() -> None:
    """`track.tracking` brings in neither fsspec nor numpy."""
    script = "import sys, track.tracking; print(sorted({'fsspec', 'numpy'} & set(sys.modules)))"

    assert printed_by(script) == "[]"
