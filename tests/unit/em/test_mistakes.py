"""A wrong name, value, path or place around runs and artifacts is one sentence that names it; nothing is half made."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from track import em
from track.errors import InvalidUri, NothingThere, UnknownBackend


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty directory, logged in nowhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("EM_RUN_PARENT_DIR", "EM_ARTIFACT_PARENT_DIR", "TRACK_LOG_BACKEND_NAME", "T9K_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    yield
    em.logout()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give a run that goes on."""
    monkeypatch.setenv("EM_CAPTURE_STDOUT", "0")
    with em.create_run(name="cnn") as run:
        yield run


def _folders(name: str) -> list[str]:
    return os.listdir(Path(".em") / name) if (Path(".em") / name).is_dir() else []


class TestMaking:
    """`create_run` and `create_artifact`."""

    @pytest.mark.parametrize(
        ("arguments", "kind", "said"),
        [
            ({"labels": "Keras"}, TypeError, r"labels are a list of texts, not 'Keras': write \['Keras'\]"),
            ({"labels": 3}, TypeError, "labels are a list of texts, not 3"),
            ({"hparams": [1]}, TypeError, "hyperparameters are a mapping of names to values, not list"),
            ({"hparams": {1: 2}}, TypeError, "1 is no name of a parameter"),
            ({"folder": 3}, TypeError, "folder is a str, not int"),
            ({"auto_upload": "no"}, TypeError, "auto_upload is True or False, not 'no'"),
            ({"make_folder": "yes"}, TypeError, "make_folder is True or False, not 'yes'"),
            ({"name": "\ud800"}, ValueError, "cannot be a name"),
        ],
    )
    def test_wrong_argument_leaves_no_run(self, arguments: dict[str, Any], kind: type[Exception], said: str) -> None:
        """It is named, and there is no directory of a run that never was."""
        stdout = sys.stdout

        with pytest.raises(kind, match=said):
            em.create_run(**arguments)

        assert (_folders("runs"), sys.stdout is stdout) == ([], True)

    def test_store_that_cannot_be_leaves_no_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Standard output is given back, too."""
        monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", "nope://x")
        stdout = sys.stdout

        with pytest.raises(UnknownBackend, match="no backend 'nope:'"):
            em.create_run(name="cnn")

        assert (_folders("runs"), sys.stdout is stdout) == ([], True)

    def test_artifact_with_wrong_labels_is_not_made(self) -> None:
        """As for runs."""
        with pytest.raises(TypeError, match="labels are a list of texts, not 'x'"):
            em.create_artifact("data", labels="x")

        assert _folders("artifacts") == []

    def test_wrong_labels_later(self, run: Any) -> None:
        """An assignment is checked, and changes nothing when it is wrong."""
        artifact = em.create_artifact("data", labels=["a"])

        with pytest.raises(TypeError, match="labels are a list"):
            run.labels = "x"
        with pytest.raises(TypeError, match="labels are a list"):
            artifact.labels = "x"  # type: ignore[assignment]
        assert (run.labels, artifact.labels) == ([], ["a"])

    def test_description_that_is_none(self, run: Any) -> None:
        """It is empty."""
        run.description = None

        assert run.description == ""


class TestConfigFile:
    """The file that `create_run` reads."""

    def test_missing(self) -> None:
        """Who gives the name first is told how it is given."""
        with pytest.raises(FileNotFoundError, match="no config file 'cnn'; a name is given as name='cnn'"):
            em.create_run("cnn")

    @pytest.mark.parametrize(
        ("content", "said"), [("a: [", "config.yaml cannot be read"), ("- a", "should hold a mapping, not list")]
    )
    def test_not_a_mapping(self, content: str, said: str) -> None:
        """It is a ValueError, and no stored file that is damaged."""
        pytest.importorskip("yaml")
        Path("config.yaml").write_text(content)

        with pytest.raises(ValueError, match=said) as caught:
            em.create_run("config.yaml")

        assert caught.type is ValueError


class TestLogging:
    """`run.log` and `run.hparams`."""

    @pytest.mark.parametrize(
        ("arguments", "kind", "said"),
        [
            (("train", [1]), TypeError, "metrics are a mapping of names to numbers, not list"),
            (("train", None), TypeError, "metrics are a mapping of names to numbers, not NoneType"),
            (({"loss": 1}, "train"), TypeError, "the type of metrics is a str, not dict"),
            (("train", {"loss": 10**400}), OverflowError, "metric 'loss' is too large for a float"),
        ],
    )
    def test_wrong_item(self, run: Any, arguments: tuple[Any, Any], kind: type[Exception], said: str) -> None:
        """Nothing is recorded."""
        with pytest.raises(kind, match=said):
            run.log(*arguments, step=0)

        assert not any(run.metrics.values())

    def test_wrong_parameters(self, run: Any) -> None:
        """What has no names."""
        with pytest.raises(TypeError, match="hyperparameters are a mapping of names to values, not int"):
            run.hparams.update(3)
        with pytest.raises(TypeError, match="hyperparameters are a mapping of names to values, not list"):
            run.hparams.update([1])
        assert run.hparams.as_dict() == {}

    def test_text_that_is_no_unicode(self, run: Any) -> None:
        """A lone surrogate, as in a file name of another encoding, does not make the run unreadable."""
        yaml = pytest.importorskip("yaml")
        run.hparams.path = "data-\udce9"
        run.labels = ["\ud800"]
        run.log("odd \udce9", {"loss \udce9": 1}, step=0)

        again = em.load_run(run.local)

        assert (again.hparams.path, again.labels) == ("data-\ufffd", ["\ufffd"])
        assert again.metrics["odd \ufffd"][0]["value"] == {"loss \ufffd": 1.0}
        assert yaml.safe_load(Path(run.local, "hyperparameters.yaml").read_bytes()) == {"path": "data-\ufffd"}


class TestObjects:
    """What is put into an artifact."""

    @pytest.mark.parametrize(
        ("add", "kind", "said"),
        [
            (lambda artifact: artifact.add_file("1.png", 3), TypeError, "an object path is a str, not int"),
            (lambda artifact: artifact.add_reference(3), TypeError, "a reference is a URI, not int"),
            (lambda artifact: artifact.add_reference(""), ValueError, "a reference needs a URI"),
            (
                lambda artifact: artifact.add_reference("s3://bucket/"),
                ValueError,
                "'s3://bucket/' says no name for the object: give obj_path",
            ),
            (lambda artifact: artifact.open(3), TypeError, "an object path is a str, not int"),
        ],
    )
    def test_wrong_object(self, add: Callable[[Any], Any], kind: type[Exception], said: str) -> None:
        """Nothing is added."""
        Path("1.png").write_bytes(b"picture")
        artifact = em.create_artifact("data")

        with pytest.raises(kind, match=said):
            add(artifact)

        assert artifact.objects == []


class TestData:
    """`parse_from_dict`."""

    @pytest.mark.parametrize("data", [3, "x", None])
    def test_no_data(self, run: Any, data: Any) -> None:
        """They are a ValueError, as data of something else are."""
        with pytest.raises(ValueError, match="no run's data"):
            run.parse_from_dict(data)
        with pytest.raises(ValueError, match="no artifact's data"):
            em.create_artifact("data").parse_from_dict(data)


class TestLogin:
    """Which store."""

    @pytest.mark.parametrize("key", [None, "2f4a4b9c-9d3c-4f7e-a6a5-0123456789ab"])
    def test_web_server(self, key: str | None) -> None:
        """It can be read only: said at once, and not when a run is uploaded."""
        with pytest.raises(InvalidUri, match=r"'https://example.org/aistore' cannot be written to"):
            em.login("https://example.org/aistore", key)

    def test_server_of_another_kind_that_is_away(self) -> None:
        """It is a ConnectionError that names the store."""
        pytest.importorskip("fsspec")
        with pytest.raises(ConnectionError, match=r"ftp://127.0.0.1:1/x cannot be used: .*refused"):
            em.login("ftp://127.0.0.1:1/x")

    def test_option_that_is_missing(self) -> None:
        """What a file system needs and is not given is named."""
        pytest.importorskip("fsspec")
        pytest.importorskip("requests")
        with pytest.raises(InvalidUri, match=r"'github://x/y' cannot be opened: .*'repo'"):
            em.login("github://x/y")

    @pytest.mark.parametrize("timeout", ["x", 0, -1])
    def test_time_out(self, timeout: Any) -> None:
        """It is a number above 0."""
        with pytest.raises(ValueError, match="timeout is a number of seconds above 0, not"):
            em.login("file:store", timeout=timeout)

    def test_user_without_a_name(self) -> None:
        """It is no wish for the user of the machine."""
        with pytest.raises(ValueError, match="'' cannot be a name"):
            em.login("file:store?user=")

    def test_file_of_settings_that_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file that was named is read, or it is an error."""
        monkeypatch.setenv("T9K_CONFIG", "nowhere.yaml")

        with pytest.raises(FileNotFoundError, match=r"T9K_CONFIG names 'nowhere.yaml', which does not exist"):
            em.login()


class TestLoading:
    """Paths that lead to something else."""

    def test_directory_of_another_kind(self) -> None:
        """What is missing in it is said, also where a store is looked into afterwards."""
        em.login("file:store?user=ann")
        artifact = em.create_artifact("data")
        Path("empty").mkdir()

        with pytest.raises(NothingThere, match=r"holds no run: there is no metadata.yaml in it"):
            em.load_run(artifact.local)
        with pytest.raises(NothingThere, match=r"empty holds no artifact: .*; there is nothing at /ann/empty"):
            em.load_artifact("empty")

    def test_something_else_in_the_store(self) -> None:
        """It is named."""
        em.login("file:store?user=ann")
        em.create_artifact("data").upload()

        with pytest.raises(NothingThere, match=r"there is an Artifact at /ann/default/data .* a Run was looked for"):
            em.load_run("default/data")

    def test_path_that_is_none(self) -> None:
        """It is a TypeError, not a file descriptor or an attribute."""
        em.login("file:store?user=ann")

        with pytest.raises(TypeError, match="not int"):
            em.load_run(3)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="folder is a str, not int"):
            em.create_artifact("data").upload(3)  # type: ignore[arg-type]


def test_label_that_was_appended_is_a_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a run records the labels as they are then."""
    from track import fetch

    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", "file://runs.json")
    with em.create_run(name="cnn", labels=["first"]) as run:
        run.labels.append("late")

    assert fetch("file://runs.json")[0].tags == {"first": True, "late": True}
