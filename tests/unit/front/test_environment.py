"""Where a trial runs is recorded when it starts, and what of it is the user's choice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import track
from tests.children import python
from track import TrackClient
from track.configuration import find_configuration
from track.errors import InvalidCall, InvalidUri
from track.front import environment as recording
from track.persistence.ephemeral import EphemeralProtocol
from track.structure import Trial
from track.tracking import TrackResultTracker
from track.utils.environment import PARTS


def _started(uri: str, **options: Any) -> Any:
    """Return a trial that runs."""
    trial = TrackClient(uri, **options).new_trial(parameters={"lr": 0.1})
    trial.start()
    return trial


@pytest.mark.parametrize("scheme", ["file", "sqlite"])
def test_program_is_recorded_without_its_secrets(scheme: str, tmp_path: Path) -> None:
    """A trial says by which command it ran, where, and with which packages; nothing secret of it is in the store."""
    store = f"{scheme}:{tmp_path}/runs.db"
    script = (
        "import sys; from track import TrackClient\n"
        "with TrackClient(sys.argv[1]).new_trial(parameters={}) as trial: trial.log_metrics(loss=0.5)\n"
    )

    done = python("-c", script, store, "--api-key", "hunter2", "--lr=0.1", cwd=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    found = track.environment(store, "@last")
    assert found["argv"] == ["-c", store, "--api-key", "***", "--lr=0.1"]
    assert found["folder"] == str(tmp_path)
    assert found["packages"]["msgspec"]
    assert {"host", "python"} <= found.keys()
    assert b"hunter2" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_trials_of_a_process_carry_no_packages(tmp_path: Path) -> None:
    """They are in the store once, however many trials name them; a listing has the digest."""
    client = TrackClient(f"file:{tmp_path}/runs.json")
    for number in range(3):
        with client.new_trial(parameters={"number": number}) as trial:
            trial.log_metrics(loss=0.5)
    client.save()

    trials = track.fetch(f"file:{tmp_path}/runs.json")

    assert {trial.metadata["_environment"]["packages"] for trial in trials} == {
        trials[0].metadata["_environment"]["packages"]
    }
    assert (tmp_path / "runs.json").read_text().count("msgspec==") == 1
    assert trial.environment == track.environment(client, trials[0])


def test_environment_is_no_part_of_a_report() -> None:
    """What stores keep for themselves is not printed."""
    trial = _started("ephemeral:")

    assert "_environment" in trial.trial.metadata
    assert "environment" not in json.dumps(track.to_json(trial.trial, True))
    (project,) = trial.protocol.fetch_projects()
    assert "_packages" not in json.dumps(track.to_json(project, True))


@pytest.mark.parametrize(
    ("argument", "query", "variable", "configured", "parts"),
    [
        (None, "", None, None, PARTS),
        (None, "", None, False, ()),
        (None, "", "git,python", False, ("python",)),
        (None, "", "0", True, ()),
        (None, "?environment=python,host", "0", None, ("python", "host")),
        (None, "?environment=0", "1", None, ()),
        ("host", "?environment=0", "0", None, ("host",)),
        (False, "?environment=1", "1", None, ()),
        (None, "", "-argv,-packages,-git", None, ("python", "host", "user", "folder", "gpus")),
    ],
)
def test_each_part_is_a_choice(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    argument: Any,
    query: str,
    variable: str | None,
    configured: Any,
    parts: tuple[str, ...],
) -> None:
    """The argument goes before the URI, the URI before the variable, the variable before the file."""
    monkeypatch.chdir(tmp_path)
    if variable is not None:
        monkeypatch.setenv("TRACK_LOG_ENVIRONMENT", variable)
    if configured is not None:
        Path("track.config").write_text(json.dumps({"log": {"environment": configured}}))
        find_configuration()

    trial = _started(f"file:{tmp_path}/runs.json{query}", environment=argument)

    found = trial.trial.metadata.get("_environment", {})
    # What a machine does not have is not there.
    assert set(found) <= set(parts)
    assert set(found) >= set(parts) - {"git", "gpus", "user"}


def test_choice_that_is_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """In the program and in the URI it is an error; in the environment a warning, once, and nothing is recorded."""
    with pytest.raises(InvalidCall, match="environment='gti'"):
        TrackClient("ephemeral:", environment="gti")
    with pytest.raises(InvalidUri, match="environment='gti'"):
        TrackClient(f"file:{tmp_path}/runs.json?environment=gti")
    monkeypatch.setattr(recording, "_told", set())
    monkeypatch.setenv("TRACK_LOG_ENVIRONMENT", "gti")

    trials = [_started("ephemeral:") for _ in range(2)]

    assert all("_environment" not in trial.trial.metadata for trial in trials)
    assert caplog.text.count("not recorded") == 1
    assert "TRACK_LOG_ENVIRONMENT) is 'gti'" in caplog.text


@pytest.mark.parametrize("source", [Trial("ab"), "file:runs.json"])
def test_store_and_trial_are_both_needed(source: Any) -> None:
    """What `fetch` returned does not know its store, and a store has many trials: the error says how to ask."""
    with pytest.raises(InvalidCall, match=r"track.environment\('file://report.json', '@last'\)"):
        track.environment(source)


def test_choice_is_read_when_a_trial_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the option says holds for the trials that start from then on, in a store that is open, too."""
    monkeypatch.setenv("TRACK_LOG_ENVIRONMENT", "python")
    client = TrackClient("ephemeral:")
    with client.new_trial(parameters={"number": 0}) as before:
        pass
    monkeypatch.setenv("TRACK_LOG_ENVIRONMENT", "host")

    with client.new_trial(parameters={"number": 1}) as after:
        pass

    assert list(before.trial.metadata["_environment"]) == ["python"]
    assert list(after.trial.metadata["_environment"]) == ["host"]


def test_store_that_cannot_take_it_stops_nothing(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """Whatever goes wrong, the trial starts, and one warning says so."""
    monkeypatch.setattr(recording, "_told", set())

    def refuse(*arguments: Any) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(EphemeralProtocol, "log_trial_environment", refuse)

    trials = [_started("ephemeral:") for _ in range(2)]

    assert [trial.trial.status.name for trial in trials] == ["Running", "Running"]
    assert caplog.text.count("RuntimeError: no") == 1


def test_start_again_records_nothing_again() -> None:
    """The same process has the same environment."""
    client = TrackClient("ephemeral:", environment="python")
    trial = client.new_trial(parameters={})
    with trial:
        pass
    before = trial.trial.metadata["_update_count"]

    trial.start()

    assert trial.trial.metadata["_update_count"] == before + 1


def test_process_that_joins_leaves_what_is_recorded(tmp_path: Path) -> None:
    """The environment is that of the process that began the life of a trial; one that goes on with it says its own."""
    uri = f"file:{tmp_path}/runs.json"
    trial = TrackClient(uri).open_trial("job")
    trial.start()
    command = trial.environment["argv"]
    script = "import sys; from track import TrackClient\nwith TrackClient(sys.argv[1]).open_trial('job'): pass\n"

    joined = python("-c", script, uri)
    while_running = track.environment(uri, trial.trial.uid)["argv"]
    trial.set_status("broken")
    trial.finish(RuntimeError, RuntimeError("crash"), None)
    resumed = python("-c", script, uri)

    assert (joined.returncode, resumed.returncode) == (0, 0)
    assert while_running == command
    assert track.environment(uri, trial.trial.uid)["argv"] == ["-c", uri]


def test_several_stores_have_it(tmp_path: Path) -> None:
    """Each mirror is told, with the packages."""
    uris = [f"file:{tmp_path}/one.json", f"sqlite:{tmp_path}/two.db"]
    with TrackClient(f"multi:?to={uris[0]}&to={uris[1]}").new_trial(parameters={}) as trial:
        pass

    found = [track.environment(uri, trial.trial.uid) for uri in uris]

    assert found[0] == found[1]
    assert found[0]["packages"]


def test_trial_of_an_earlier_version_has_none() -> None:
    """There is nothing to say of it."""
    client = TrackClient("ephemeral:")

    assert track.environment(client, Trial("ab")) == {}


def test_result_has_no_environment(tmp_path: Path) -> None:
    """A result by key may have been computed anywhere."""
    uri = f"file:{tmp_path}/results.json"
    TrackResultTracker(uri)["accuracy"] = {"value": 0.5}

    (found,) = track.fetch(uri)

    assert "_environment" not in found.metadata


def test_copy_brings_the_packages(tmp_path: Path) -> None:
    """Also to a store that has the project already."""
    from track.cli import main

    target = f"file:{tmp_path}/two.json"
    for uri, chosen in ((f"file:{tmp_path}/one.json", "packages"), (target, "python")):
        client = TrackClient(uri, environment=chosen)
        client.set_project(name="digits")
        with client.new_trial(parameters={"uri": uri}):
            pass
        client.protocol.close()

    code = main(["copy", f"file:{tmp_path}/one.json", target])

    assert code == 0
    packages = [track.environment(target, found).get("packages") for found in track.fetch(target)]
    assert [bool(found) for found in packages] == [False, True]


def test_what_is_read_of_a_trial_is_its_own() -> None:
    """Trials of a process share where they run; who changes what they have read changes no other trial."""
    client = TrackClient("ephemeral:")
    for number in range(2):
        with client.new_trial(parameters={"number": number}):
            pass
    first, second = client.protocol.fetch_trials()

    first.metadata["_environment"]["argv"].append("changed")
    again = client.protocol.fetch_trials()

    assert again[0].metadata["_environment"] == again[1].metadata["_environment"] == second.metadata["_environment"]
    assert "changed" not in second.metadata["_environment"]["argv"]


def test_what_is_told_later_in_the_same_object_counts() -> None:
    """Who tells where trials run may change what they have told for the next one."""
    protocol = EphemeralProtocol("ephemeral:")
    facts: dict[str, Any] = {"host": "one"}
    for lr in (0.1, 0.2):
        trial = protocol.new_trial(Trial(parameters={"lr": lr}))
        assert trial is not None
        protocol.log_trial_environment(trial, facts)
        protocol.unsaved()
        facts["host"] = "two"

    assert [one.metadata["_environment"]["host"] for one in protocol.fetch_trials()] == ["one", "two"]
