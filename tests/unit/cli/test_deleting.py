"""``track delete``, ``track restore`` and ``track gc`` do what they say, and say what they did."""

from __future__ import annotations

from pathlib import Path

import pytest

import track
from tests.children import printed_by
from track import TrackClient
from track.cli import main


@pytest.fixture(params=["file", "sqlite"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give a store of three runs, which no other process has open."""
    made = f"{request.param}:{tmp_path}/runs"
    client = TrackClient(made)
    for number, name in enumerate("abc"):
        with client.new_trial(name=f"run-{name}", parameters={"lr": number}) as trial:
            trial.log_metrics(step=0, loss=float(number))
    client.protocol.close()
    return made


def _names(uri: str, **query: object) -> list[str]:
    return [str(trial.name) for trial in track.fetch(uri, query)]


def test_deleted_and_restored(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs go and come back by any of their names, each once."""
    uid = track.fetch(uri, "run-a")[0].uid

    assert main(["delete", uri, "run-a", uid, "@best:max:loss"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.partition(" (")[0] for line in out] == ["deleted run-a/0", "deleted run-c/0"]
    assert (_names(uri), _names(uri, deleted=True)) == (["run-b"], ["run-a", "run-c"])

    assert main(["delete", uri, "run-b", "--yes"]) == 0
    assert capsys.readouterr().out.startswith("deleted run-b/0 (")
    assert main(["restore", uri, "run-b"]) == 0
    capsys.readouterr()

    assert main(["restore", uri, "@last"]) == 0
    assert capsys.readouterr().out.startswith("restored run-c/0 (")
    assert (_names(uri), _names(uri, deleted=True)) == (["run-b", "run-c"], ["run-a"])


def test_all_are_deleted_or_none(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is wrong changes nothing, and is said."""
    assert main(["delete", uri, "run-a", "run-z"]) == 1

    assert "track delete: error: no trial 'run-z'" in capsys.readouterr().err
    assert _names(uri) == ["run-a", "run-b", "run-c"]


def test_what_is_deleted_already_or_not_is_said(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Deleting twice says how to restore, and restoring what was not deleted says so."""
    main(["delete", uri, "run-a"])

    assert main(["delete", uri, "run-a"]) == 1
    assert "'run-a' was deleted" in capsys.readouterr().err
    assert main(["restore", uri, "run-b"]) == 1
    assert "was not deleted" in capsys.readouterr().err


def test_store_that_is_not_there_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is created to delete from."""
    for verb in (["delete", "x"], ["restore", "x"], ["gc"]):
        assert main([verb[0], f"file:{tmp_path}/none.json", *verb[1:]]) == 3
        assert f"track {verb[0]}: error: there is no store" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_deleted_runs_are_removed_for_good(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that are old enough go, the others wait."""
    main(["delete", uri, "run-a", "run-c"])
    capsys.readouterr()

    assert main(["gc", uri, "--older", "7d"]) == 0
    assert capsys.readouterr().out == "removed 0 deleted trials\n"
    assert main(["gc", uri]) == 0
    assert capsys.readouterr().out == "removed 2 deleted trials\n"
    assert main(["restore", uri, "run-a"]) == 1
    assert _names(uri) == ["run-b"]


def test_late_numbers_are_told(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What a process logs about a run that was removed meanwhile is dropped, and counted by the next gc."""
    client = TrackClient(uri)
    trial = client.set_trial(uid="run-a")
    client.protocol.close()
    main(["delete", uri, "run-a"])
    main(["gc", uri])
    trial.log_metrics(step=1, loss=0.5)
    client.protocol.close()
    capsys.readouterr()

    assert main(["gc", uri]) == 0
    said = capsys.readouterr().out.splitlines()[1]
    assert said == "2 events came later for trials that were removed, and dropped"


def test_running_trial_stays(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that goes on is deleted, which is said, and not removed before it has ended."""
    client = TrackClient(uri)
    trial = client.new_trial(name="now")
    trial.start()
    client.protocol.close()

    main(["delete", uri, "now"])
    assert capsys.readouterr().out.endswith("; it is running, and goes on\n")
    assert main(["gc", uri]) == 1
    assert "1 deleted trial may still be running" in capsys.readouterr().out

    trial.finish()
    client.protocol.close()
    assert (_names(uri, deleted=True), main(["gc", uri])) == (["now"], 0)


@pytest.mark.parametrize("age", ["7", "d", "-1d", "7days", "1e9d"])
def test_ages_are_read_strictly(tmp_path: Path, age: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no age is a wrong command line, not an age of another unit."""
    with pytest.raises(SystemExit) as ended:
        main(["gc", f"file:{tmp_path}/runs", f"--older={age}"])

    assert ended.value.code == 2
    assert "is no age" in capsys.readouterr().err


def test_file_in_use_is_left(tmp_path: Path) -> None:
    """Nothing is removed from a file that another process has open for writing."""
    uri = f"file:{tmp_path}/runs.json"
    client = TrackClient(uri)
    with client.new_trial(name="a"):
        pass
    client.delete_trial("a")
    script = f"from track.cli import main\nimport sys\nsys.stderr = sys.stdout\nprint(main(['gc', {uri!r}]))"

    printed = printed_by(script)

    assert "is in use by another process" in printed
    assert printed.endswith("\n3")
    client.protocol.close()
    assert _names(uri, deleted=True) == ["a"]


def test_file_with_a_line_that_cannot_be_read_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line may be about one of them: that it was restored."""
    path = tmp_path / "runs.json"
    client = TrackClient(f"file:{path}")
    with client.new_trial(name="a") as trial:
        trial.log_metrics(step=0, loss=0.5)
    client.delete_trial("a")
    with path.with_name("runs.json.journal").open("ab") as journal:
        journal.write(b'{"event":"fields_merged";}\n')

    assert main(["gc", f"file:{path}"]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert _names(f"file:{path}", deleted=True) == ["a"]


def test_copy_brings_nothing_back(uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was deleted in the target, or removed for good there, is not copied again, and is said."""
    target = f"file:{tmp_path}/target.json"
    main(["copy", uri, target])
    main(["delete", target, "run-a", "run-b"])
    main(["restore", target, "run-b"])
    main(["delete", target, "run-c"])
    assert main(["gc", target, "--older", "0s"]) == 0
    main(["delete", target, "run-b"])
    capsys.readouterr()

    main(["copy", uri, target])

    out = capsys.readouterr().out
    assert "1 trial not copied, because they were deleted there" in out
    assert "2 trials not copied, because they were deleted there and removed for good" in out
    assert (_names(target), _names(target, deleted=True)) == ([], ["run-b"])
