"""``track artifacts`` does on the command line what the functions do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.artifacts.test_artifacts import start
from track import em
from track.artifacts.leases import hold_lease
from track.artifacts.local import LocalFolder
from track.artifacts.store import ArtifactStore
from track.cli import main


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """Give a store with two versions of a file."""
    trial = start(f"file:{tmp_path}/runs.json")
    trial.log_artifact(b"first", "model")
    trial.log_artifact(b"second", "model")
    return f"file:{tmp_path}/runs.json"


def test_artifacts_are_listed(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, oldest first."""
    assert main(["artifacts", "list", uri]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[:2] for line in lines] == [
        ["digits/model:v0", "5 bytes"],
        ["digits/model:v1", "6 bytes"],
    ]


def test_names_of_others_do_not_move_the_cursor(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever writes to the store chooses names; what is not printable is not printed."""
    trial = start(uri)
    trial.protocol.log_trial_artifact(trial.trial, "\x1b[2Jtwo\nlines", "objects/ab/" + "ab" * 32, "ab" * 32, 1)

    assert main(["artifacts", "list", uri]) == 0

    assert capsys.readouterr().out.splitlines()[-1].startswith("digits/?[2Jtwo?lines:v0")


def test_no_artifacts_are_said(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A project without any is no error."""
    assert main(["artifacts", "list", uri, "--project", "letters"]) == 0
    assert capsys.readouterr().out == "no trial of project 'letters' has logged a file\n"


def test_artifact_is_downloaded(uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The path is printed."""
    target = tmp_path / "back.bin"

    assert main(["artifacts", "download", uri, "model:v0", "--to", str(target)]) == 0

    assert capsys.readouterr().out == f"{target}\n"
    assert target.read_bytes() == b"first"


def test_each_name_comes_back_as_a_file_of_its_own(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever files are called, each is below this folder, under its name; what would climb was not stored."""
    names = [
        "a/b", "Loss", "loss", "CON", "=cmd()", "-lead", "%2e%2e", "%2E%2E", "a b", "a_b", "007", '"q"', "a,b", "a\\b",
        "name ", "name.", "\u202e", "é" * 80,
    ]  # fmt: skip
    trial = start(uri)
    for name in names:
        trial.log_artifact(name.encode(), name)
    (tmp_path / "at").mkdir()
    monkeypatch.chdir(tmp_path / "at")
    before = {path.name for path in tmp_path.iterdir()}

    codes = [main(["artifacts", "download", uri, "--", name]) for name in names]

    assert set(codes) == {0}
    found = {
        path.relative_to(tmp_path / "at").as_posix(): path for path in Path().resolve().rglob("*") if path.is_file()
    }
    assert {name: path.read_bytes().decode() for name, path in found.items()} == {name: name for name in names}
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["download", "URI", "other"], (1, "no artifact 'other'")),
        (["list", "file:none.json"], (3, "there is no store at file:none.json")),
        (["gc", "flie://x"], (2, "did you mean 'file:'")),
    ],
)
def test_mistakes_are_said(
    uri: str, arguments: list[str], expected: tuple[int, str], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    """What is wrong is one line, and the exit code says whether it is the store, its content or the command line."""
    monkeypatch.chdir(tmp_path)
    code, said = expected

    assert main(["artifacts", *[uri if argument == "URI" else argument for argument in arguments]]) == code

    assert said in capsys.readouterr().err
    assert not Path("none.json").exists()


def test_garbage_is_removed(uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """First told, then waited for, then done."""
    folder = LocalFolder(f"{tmp_path}/runs.json.artifacts")
    store = ArtifactStore(folder)
    with store.storing() as lease:
        store.put_bytes(b"garbage", lease)

    assert main(["artifacts", "gc", uri, "--dry-run"]) == 0
    with hold_lease(folder):
        assert main(["artifacts", "gc", uri]) == 1
    assert main(["artifacts", "gc", uri]) == 0

    assert capsys.readouterr().out.splitlines() == [
        "would remove 1 files, 7 bytes",
        "removed 0 files, 0 bytes",
        "1 more wait for uploads to end, or for a store that is away: run it again later",
        "removed 1 files, 7 bytes",
    ]


def test_uploads_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that runs and artifacts were uploaded to is told from a store of trials: a line for each of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EM_CAPTURE_STDOUT", "0")
    Path("1.png").write_bytes(b"one")
    (tmp_path / "uploads").mkdir()
    url = f"file://{tmp_path}/uploads"
    em.login(ais_host=f"{url}?user=ann")
    model = em.create_artifact("model")
    model.add_file("1.png", "weights/")
    model.upload(folder="cv/what?", make_folder=True)
    em.logout()

    for named in (url, f"{url}?user=bob", f"{tmp_path}/uploads", "uploads"):
        assert main(["artifacts", "list", named]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("/ann/cv/what?/model  Artifact  ") for line in lines)
