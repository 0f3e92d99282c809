"""``track copy`` copies once, says what it did, and loses no run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import track
from tests.children import python
from track import TrackClient
from track.artifacts import find, gc
from track.cli import copy, main
from track.persistence import get_protocol, register, unregister
from track.persistence.protocol import Protocol


@pytest.fixture
def source(tmp_path: Path) -> str:
    """Give a store with three runs, two of them of one identity."""
    uri = f"file:{tmp_path}/source.json"
    _log(uri, 0.1, 0.1, 0.2)
    return uri


def _log(uri: str, *rates: float) -> None:
    client = TrackClient(uri)
    client.set_project(name="digits")
    for lr in rates:
        with client.new_trial(parameters={"lr": lr}) as trial:
            trial.log_metrics(step=0, loss=lr)
    client.save()


def test_runs_are_copied_and_counted(source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says how many runs it copied, and where."""
    target = f"sqlite:{tmp_path}/runs.db"

    assert main(["copy", source, target]) == 0

    assert capsys.readouterr().out == f"copied 3 trials from {source} to {target}\n"
    assert [trial.uid for trial in track.fetch(target)] == [trial.uid for trial in track.fetch(source)]


def test_copying_twice_copies_once(source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is there already is counted and not copied again; what is new is."""
    target = f"file:{tmp_path}/target.json"
    main(["copy", source, target])
    _log(source, 0.3)
    capsys.readouterr()

    codes = [main(["copy", source, target]), main(["copy", source, target])]

    assert codes == [0, 0]
    assert capsys.readouterr().out.splitlines() == [
        f"copied 1 trial from {source} to {target}",
        "  3 trials there already",
        f"copied 0 trials from {source} to {target}",
        "  4 trials there already",
    ]
    assert len(track.fetch(target)) == 4


def test_runs_of_one_identity_are_all_kept(source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run whose uid is another run's there becomes the next revision, which is said, and is found again."""
    target = f"file:{tmp_path}/target.json"
    _log(target, 0.1)

    assert main(["copy", source, target]) == 0
    assert "2 trials with another revision, because theirs is another run's there" in capsys.readouterr().out
    assert main(["copy", source, target]) == 0

    assert "3 trials there already" in capsys.readouterr().out
    found = track.fetch(target, {"parameters.lr": 0.1})
    assert sorted(trial.revision for trial in found) == [0, 1, 2]
    created = {trial.timestamps["created"] for trial in track.fetch(source, {"parameters.lr": 0.1})}
    assert {trial.timestamps["created"] for trial in found if trial.revision} == created


def test_run_that_goes_on_is_left_for_later(source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A trial that runs is named and not copied, unless one asks for it as it is."""
    trial = TrackClient(source).new_trial(name="long", parameters={"lr": 1})
    trial.log_metrics(step=0, loss=1.0)
    target = f"file:{tmp_path}/target.json"

    assert main(["copy", source, target]) == 1
    assert "1 trial not copied, because they run" in capsys.readouterr().out
    assert main(["copy", source, target, "--running"]) == 0
    trial.log_metrics(step=1, loss=0.5)
    trial.finish()
    capsys.readouterr()

    assert main(["copy", source, target]) == 1
    assert "1 trial not copied again, though they have changed" in capsys.readouterr().out
    assert dict(track.fetch(target, {"name": "long"})[0].metrics["loss"]) == {0: 1.0}


def test_files_stay_and_are_found_from_the_copy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The copy names each file where it is; cleaning up there keeps what only the copy names."""
    source, target = f"file:{tmp_path}/source.json", f"sqlite:{tmp_path}/runs.db"
    client = TrackClient(source)
    with client.new_trial(parameters={"lr": 0.1}) as trial:
        trial.log_artifact(b"weights", "model")
        trial.log_artifact(f"file://{__file__}", "elsewhere")
    client.save()

    assert main(["copy", source, target]) == 0

    place = f"file://{tmp_path}/source.json.artifacts"
    assert f"files of 1 of them stay in {place}: keep that place" in capsys.readouterr().out
    assert find(target, "model").read_bytes() == b"weights"
    assert gc(source).removed == []
    assert gc(f"file:{tmp_path}/source.json", also=[target]).removed == []


def test_gc_asks_the_copy(tmp_path: Path) -> None:
    """A file that only a copy names any more is no waste."""
    source, target = f"file:{tmp_path}/source.json", f"file:{tmp_path}/target.json"
    client = TrackClient(source)
    with client.new_trial(parameters={"lr": 0.1}) as trial:
        trial.log_artifact(b"weights", "model")
    client.save()
    main(["copy", source, target])
    for left in tmp_path.glob("source.json*"):
        if left.is_file():
            left.unlink()
    TrackClient(source).new_trial(parameters={"lr": 7}).log_metrics(loss=1)

    gc(source)

    assert find(target, "model").read_bytes() == b"weights"


def test_large_run_goes_in_pieces(tmp_path: Path) -> None:
    """A run of many points is sent piece by piece, and is what it was."""
    source, target = f"file:{tmp_path}/source.json", f"sqlite:{tmp_path}/runs.db"
    _log_points(source)

    assert main(["copy", source, target]) == 0

    ours, theirs = track.fetch(source)[0], track.fetch(target)[0]
    assert theirs.metadata == ours.metadata
    assert {name: theirs.metrics[name].rows() for name in ("few", "many")} == {
        name: ours.metrics[name].rows() for name in ("few", "many")
    }
    assert theirs.metrics["all"].val == ours.metrics["all"].val
    assert (theirs.status, theirs.timestamps, theirs.group_id) == (ours.status, ours.timestamps, ours.group_id)


def _log_points(uri: str) -> None:
    client = TrackClient(uri)
    client.set_project(name="digits")
    client.set_group(name="idea")
    with client.new_trial(parameters={"lr": 0.1}) as trial:
        # As many as make a run a large one.
        trial.log_series("many", [step / 7 for step in range(50_000)], range(50_000))
        trial.log_series("all", range(50_000))
        trial.log_metrics(step=0, few=1)
    client.save()


def test_copy_that_was_broken_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the middle of a large run, the next one completes it: every point once."""
    source, target = f"file:{tmp_path}/source.json", f"file:{tmp_path}/target.json"
    _log_points(source)
    receive, calls = Protocol.receive, []

    def broken(self: Any, writer: str, first: int, events: Any, lines: Any = None) -> None:
        calls.append(first)
        if len(calls) == 6:
            raise KeyboardInterrupt
        real(self, writer, first, events, lines)

    kind = type(get_protocol(target))
    real = kind.receive
    assert real is not receive
    with monkeypatch.context() as patch:
        patch.setattr(kind, "receive", broken)
        with pytest.raises(KeyboardInterrupt):
            main(["copy", source, target])
    assert len(track.fetch(target)[0].metrics["many"]) < 50_000

    assert main(["copy", source, target]) == 0

    ours, theirs = track.fetch(source)[0], track.fetch(target)[0]
    assert theirs.metrics["many"].rows() == ours.metrics["many"].rows()
    assert theirs.metrics["all"].val == ours.metrics["all"].val
    assert theirs.metadata == ours.metadata


def test_deleted_run_is_copied_as_deleted(source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is hidden there is hidden here, once, and can be brought back."""
    target = f"sqlite:{tmp_path}/runs.db"
    client = TrackClient(source)
    uid = track.fetch(source)[0].uid
    client.delete_trial(uid)
    client.save()

    codes = [main(["copy", source, target]), main(["copy", source, target])]

    assert codes == [0, 0]
    assert "1 trial copied as deleted" in capsys.readouterr().out
    assert uid not in {trial.uid for trial in track.fetch(target)}
    assert main(["restore", target, uid]) == 0
    assert uid in {trial.uid for trial in track.fetch(target)}


def test_run_that_is_refused_does_not_keep_others_back(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that the target cannot take is named with the reason; the others are copied."""
    monkeypatch.setattr(copy, "trial_copied", _refuse_once(copy.trial_copied))

    assert main(["copy", source, f"file:{tmp_path}/target.json"]) == 1

    assert "1 trial not copied, because they were refused: a trial (" in capsys.readouterr().out
    assert len(track.fetch(f"file:{tmp_path}/target.json")) == 2


def _refuse_once(real: Any) -> Any:
    refused: list[Any] = []

    def trial_copied(trial: Any) -> Any:
        if not refused:
            refused.append(trial)
            raise track.errors.InvalidEvent("too large")
        return real(trial)

    return trial_copied


@pytest.mark.parametrize(
    ("source", "target", "problem", "expected"),
    [
        ("file:{0}/nowhere.json", "file:{0}/b.json", "there is no store at", 3),
        ("file:{0}/source.json", "flie:{0}/b.json", "did you mean 'file:'", 2),
        ("file:{0}/source.json", "file:{0}/../{1}/source.json", "are one store", 2),
        ("file:{0}/source.json", "byob:x", "is no store that runs can be copied to", 2),
    ],
)
def test_mistakes_are_told(
    tmp_path: Path, source: str, target: str, problem: str, expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A store that is not there is exit code 3; a slip in a URI, and a target that keeps nothing, are 2."""
    _log(f"file:{tmp_path}/source.json", 0.1)
    register("byob", lambda _: Protocol())
    try:
        code = main(["copy", source.format(tmp_path, tmp_path.name), target.format(tmp_path, tmp_path.name)])
    finally:
        unregister("byob")

    assert code == expected
    assert problem in capsys.readouterr().err


def test_passwords_are_not_printed(source: str) -> None:
    """What the command says shows no secret of a URI."""
    done = python("-m", "track", "copy", source, "socket://ann:secret@127.0.0.1:1")

    assert done.returncode == 3
    assert "secret" not in done.stdout + done.stderr


def test_usage_names_only_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Trials need not be named: where the second store is forgotten, that alone is asked for."""
    with pytest.raises(SystemExit):
        main(["copy", f"file:{tmp_path}/runs.json"])

    assert capsys.readouterr().err.rstrip().endswith("required: TO")
