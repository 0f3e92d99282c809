"""``track tag``, ``status``, ``export``, ``doctor`` and ``completion``."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import math
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import track
from tests.servers.track import serving
from track import TrackClient
from track.cli import main
from track.persistence.ephemeral import StateProtocol
from track.persistence.registry import get_protocol


@pytest.fixture(params=["file", "sqlite"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give a store of two runs."""
    made = f"{request.param}:{tmp_path}/runs"
    client = TrackClient(made)
    for lr in (0.1, 0.2):
        with client.new_trial(name="run", parameters={"lr": lr}, force=True) as trial:
            for step in range(5):
                trial.log_metrics(step=step, loss=lr + step)
            trial.log_metrics(score=float("nan"))
    client.protocol.close()
    return made


def _last(uri: str) -> Any:
    return track.fetch(uri, "@last")[0]


def test_tags_are_added(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A name alone is true, a value is a number where it looks like one; those that are there stay."""
    assert main(["tag", uri, "@last", "paper", "fold=3"]) == 0
    assert main(["tag", uri, "@last", "fold=4", "who=ann"]) == 0
    assert _last(uri).tags == {"paper": True, "fold": 4, "who": "ann"}
    capsys.readouterr()
    assert main(["tag", uri, "@last", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tags"] == {"paper": True, "fold": 4, "who": "ann"}
    assert main(["tag", uri, "@last", "=3"]) == 2
    assert main(["ls", uri, "tag:fold=4"]) == 0


def test_tags_are_taken_away(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A tag that is taken away is in no list and found by no filter; one that is not there is said."""
    main(["tag", uri, "@last", "paper", "fold=3"])
    capsys.readouterr()

    assert main(["tag", uri, "@last", "--remove", "paper", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tags"] == {"fold": 3}
    assert main(["ls", uri, "tag:paper"]) == 1
    assert main(["tag", uri, "@last", "--remove", "fodl"]) == 1
    assert "did you mean 'fold'" in capsys.readouterr().err
    assert main(["tag", uri, "@last", "paper"]) == 0
    assert main(["ls", uri, "tag:paper"]) == 0


def test_status_is_set_and_shown(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Known ones and one's own; one that is a letter off changes nothing."""
    assert main(["status", uri, "@last", "pruned"]) == 0
    assert str(_last(uri).status) == "pruned"
    assert main(["status", uri, "@last", "waiting", "--code", "3"]) == 0
    assert (str(_last(uri).status), _last(uri).status.value) == ("waiting", 3)
    for wrong in ("compleeted", "failed"):
        assert main(["status", uri, "@last", wrong]) == 2
    capsys.readouterr()
    assert main(["status", uri, "@last"]) == 0
    assert capsys.readouterr().out.endswith("): waiting\n")


def test_what_waits_for_a_server_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A change that is not stored yet is exit code 1."""
    uri = f"sqlite:{tmp_path}/runs.db"
    with TrackClient(uri).new_trial(parameters={"lr": 1}):
        pass
    monkeypatch.setattr(type(get_protocol(uri)), "unsaved", lambda self: 2)

    assert main(["tag", uri, "@last", "paper"]) == 1
    assert "2 changes wait to be stored" in capsys.readouterr().err


def test_export_of_points(uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line a point, with every digit, to a file or to standard output; a filter chooses."""
    out = tmp_path / "points.csv"
    out.write_text("old")
    assert main(["export", uri, "--csv", str(out), "lr=0.2"]) == 0
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [float(row["value"]) for row in rows if row["metric"] == "loss"] == [0.2 + step for step in range(5)]
    assert {row["uid"] for row in rows} == {_last(uri).uid}
    assert not list(tmp_path.glob("*.part"))
    capsys.readouterr()
    assert main(["export", uri, "--csv", "-"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 2 * 6
    assert main(["export", uri, "--csv", "-", "lr=7"]) == 1


def test_export_of_documents(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A trial in each line, with its points; what is no number is null."""
    assert main(["export", uri, "--jsonl", "-"]) == 0
    first, last = map(json.loads, capsys.readouterr().out.splitlines())

    assert first["parameters"] == {"lr": 0.1}
    assert last["points"]["loss"]["steps"] == [0, 1, 2, 3, 4]
    assert last["points"]["score"]["values"] == [None]
    assert last["nan"] == ["score"]


def test_export_that_fails_leaves_what_was_there(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file is replaced once the new one is whole."""
    out = tmp_path / "points.csv"
    out.write_text("old")
    monkeypatch.setattr("track.cli.export._points", lambda *_: (_ for _ in ()).throw(OSError("disk full")))

    assert main(["export", uri, "--csv", str(out)]) == 2
    assert out.read_text() == "old"
    assert not list(tmp_path.glob("*.part"))
    assert main(["export", uri, "--csv", str(tmp_path / "no" / "points.csv")]) == 2


def test_export_to_tensorboard(uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Points with their steps and times; again is nothing twice."""
    pytest.importorskip("tensorboardX")
    event_file_loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    folder = tmp_path / "tb"
    assert main(["export", uri, "--tensorboard", str(folder)]) == 0
    assert main(["export", uri, "--tensorboard", str(folder)]) == 0
    assert "2 were there already" in capsys.readouterr().err

    (file,) = folder.glob(f"run-{_last(uri).hash[:8]}_0/*")
    events = list(event_file_loader.LegacyEventFileLoader(str(file)).Load())
    found = [
        (event.step, value.simple_value, event.wall_time)
        for event in events
        for value in event.summary.value
        if value.tag == "loss"
    ]
    steps, values, times = _last(uri).metrics["loss"].to_numpy(times=True)
    assert [step for step, _, _ in found] == steps.tolist()
    assert [value for _, value, _ in found] == pytest.approx(values.tolist())
    assert [at for _, _, at in found] == times.tolist()


def test_export_to_parquet(uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table of points; without pyarrow the extra is named."""
    out = tmp_path / "points.parquet"
    assert main(["export", uri, "--parquet", "-"]) == 2
    try:
        from pyarrow import parquet
    except ImportError:
        assert main(["export", uri, "--parquet", str(out)]) == 2
        assert "pyarrow" in capsys.readouterr().err
        return
    assert main(["export", uri, "--parquet", str(out), "lr=0.2"]) == 0
    table = parquet.read_table(out).to_pydict()
    assert table["value"][:5] == [0.2 + step for step in range(5)]


def test_export_of_strange_runs_in_every_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever runs are called and log, each form has all of them; none is left half written."""
    uri = f"sqlite:{tmp_path}/strange.db"
    client = TrackClient(uri, environment="none")
    for name in ("</script>", 'a,\n"q"', "__proto__", "\u202e", "../../up", "x" * 1000):
        with client.new_trial(name=name, parameters={name: name, "large": 2**80}, force=True) as trial:
            trial.log_metrics(step=1, loss=math.nan, **{name: math.inf})
            trial.log_metrics(step="end", text=1.0)
            trial.log_metrics(step=2**70, large=2**70)
            trial.log_metrics(once=-math.inf)
    with client.new_trial(parameters={}, force=True):
        pass
    forms = ["csv", "jsonl", "html"]
    forms += ["parquet"] if importlib.util.find_spec("pyarrow") else []
    forms += ["tensorboard"] if importlib.util.find_spec("tensorboardX") else []

    for form in forms:
        assert main(["export", uri, f"--{form}", str(tmp_path / f"out.{form}")]) == 0, form
        assert "7 trials of 7 written" in capsys.readouterr().err

    documents = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert documents[2]["points"]["__proto__"]["special"] == {"0": "inf"}
    assert documents[2]["points"]["once"]["special"] == {"0": "-inf"}
    assert "special" not in documents[2]["points"]["text"]
    with open(tmp_path / "out.csv", newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 6 * 5
    if "tensorboard" in forms:
        assert len(list((tmp_path / "out.tensorboard").iterdir())) == 7
    assert not list(tmp_path.rglob("*.part"))


def test_export_to_tensorboard_that_fails_leaves_no_half_run(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is half written would be left alone the next time, as if it were whole."""
    pytest.importorskip("tensorboardX")
    from track.persistence.tensorboard import TensorBoardProtocol

    with monkeypatch.context() as broken:
        broken.setattr(TensorBoardProtocol, "run_end", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        assert main(["export", uri, "--tensorboard", str(tmp_path / "tb")]) == 2
    assert list((tmp_path / "tb").iterdir()) == []

    assert main(["export", uri, "--tensorboard", str(tmp_path / "tb")]) == 0
    assert len(list((tmp_path / "tb").iterdir())) == 2


def test_doctor_finds_nothing_wrong(uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A store in order is 0, and the doctor leaves nothing."""
    before = sorted(path.name for path in tmp_path.iterdir())
    assert main(["doctor", uri, "--json"]) == 0
    findings = {one["name"]: one for one in json.loads(capsys.readouterr().out)["findings"]}

    assert {"versions", "extras", "store", "folder", "disk", "clock", "round trip", "spills"} <= findings.keys()
    assert "2 trials" in findings["store"]["text"]
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_doctor_says_what_is_wrong(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk is 1, a store that is not there 3."""
    assert main(["doctor", f"file:{tmp_path}/none.json"]) == 3
    assert "wrong  store" in capsys.readouterr().out
    monkeypatch.setattr("track.cli.doctor._LITTLE", 1 << 80)
    assert main(["doctor", uri]) == 1
    assert "wrong  disk" in capsys.readouterr().out
    assert main(["doctor", "nonsense"]) == 2


@pytest.mark.parametrize(("ahead", "code", "found"), [(0.0, 0, "ok     server's clock"), (90.0, 1, "wrong  server's")])
def test_doctor_compares_the_clock_of_a_server(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ahead: float,
    code: int,
    found: str,
) -> None:
    """A clock that is not ours is said as it is, and one that is far away is wrong."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path))
    # It is behind the server, which passes it on.
    monkeypatch.setattr(StateProtocol, "store_time", lambda _: time.time() + ahead)
    with serving("ephemeral:") as port:
        assert main(["doctor", f"socket://127.0.0.1:{port}"]) == code

    assert found in capsys.readouterr().out


def test_completion_completes(capsys: pytest.CaptureFixture[str]) -> None:
    """Commands, and the options of the one that was chosen; each shell has a script."""
    for shell in ("zsh", "fish"):
        assert main(["completion", shell]) == 0
        assert "compare" in capsys.readouterr().out
    main(["completion", "bash"])
    script = capsys.readouterr().out
    ask = '\nCOMP_WORDS=({}); COMP_CWORD={}; _track; echo "${{COMPREPLY[@]}}"'
    asked = script + ask.format("track comp", 1) + ask.format("track ls --js", 2)

    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True, timeout=30)

    assert done.stdout.splitlines() == ["compare compact completion", "--json --jsonl"]
