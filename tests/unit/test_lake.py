"""A folder of Parquet files has what the store has, and what is added later is only what is new."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import track
from tests.children import python
from track import TrackClient
from track.aggregators.aggregator import StatAggregator
from track.cli import main
from track.cli.ls import selected
from track.containers.series import Series
from track.filters import parse_filter
from track.lake import add_to_lake
from track.objectstore import object_store
from track.plain import restore

pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
pytest.importorskip("numpy", reason="needs numpy")


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """Give a store of runs with all that numbers and steps can be."""
    uri = f"sqlite:{tmp_path}/runs.db"
    client = TrackClient(uri, environment="none")
    client.set_project(name="dig/its: ü")
    client.set_group(name="idea")
    for lr in (0.1, 0.2):
        with client.new_trial(name="a", parameters={"lr": lr, "x": math.nan}, tags={"by": "me"}) as trial:
            trial.log_series("loss", [0.5, math.nan, -math.inf, -0.0, 2**53 + 1, True], range(6))
            trial.log_series("times", [1.0, 2.0, 3.0], range(3), [1.6e9, 1.6e9 + 86_400, 1.6e9 + 90_000])
            trial.log_metrics(once=math.inf)
            trial.log_metrics(once=2**80)
            trial.log_metrics(step="end", odd=1.5)
            trial.log_metrics(step=(1, "a"), odd=2.5)
            trial.log_metrics(step=0.5, odd=3.5)
            trial.log_metrics(aggregator=StatAggregator.lazy(0), kept=2.0)
    return uri


def _table(folder: Path | str, name: str) -> list[dict[str, Any]]:
    from pyarrow import dataset

    return dataset.dataset(f"{folder}/{name}", format="parquet", partitioning="hive").to_table().to_pylist()


def _points(folder: Path) -> dict[tuple[str, str], list[Any]]:
    """Return step, value and time of all points that are shown, by trial and metric."""
    last: dict[tuple[str, str], int] = {}
    rows = _table(folder, "points")
    for row in rows:
        key = (row["trial"], row["metric"])
        last[key] = max(row["take"], last.get(key, 0))
    found: dict[tuple[str, str], list[Any]] = {}
    for row in sorted(rows, key=lambda row: row["position"] or 0):
        key = (row["trial"], row["metric"])
        if row["take"] == last[key] and row["position"] is not None:
            found.setdefault(key, []).append((_said(row, "step"), repr(_said(row, "value")), row["at"]))
    return found


def _said(row: dict[str, Any], name: str) -> Any:
    odd = row[f"{name}_odd"]
    found = row[name] if odd is None else restore(json.loads(odd))
    return tuple(found) if isinstance(found, list) else found


def _stored(uri: str) -> dict[tuple[str, str], list[Any]]:
    found = {}
    for trial in track.fetch(uri):
        for name, container in trial.metrics.items():
            if name == "kept":
                continue
            steps, values, times = (column.tolist() for column in container.to_numpy(times=True))
            steps = steps if isinstance(container, Series) else [None] * len(steps)
            found[trial.uid, name] = list(zip(steps, map(repr, values), times, strict=True))
    return found


def _folder(tmp_path: Path) -> str:
    return str(tmp_path / "lake")


def test_what_is_read_back_is_what_is_stored(uri: str, tmp_path: Path) -> None:
    """Numbers of any kind, steps, metrics without steps and times are equal to the last bit."""
    assert main(["export", uri, "--parquet", _folder(tmp_path)]) == 0

    assert _points(tmp_path / "lake") == _stored(uri)
    trials = track.fetch(uri)
    rows = {row["uid"]: row for row in _table(_folder(tmp_path), "trials")}
    assert rows.keys() == {trial.uid for trial in trials}
    for trial in trials:
        row = rows[trial.uid]
        assert (row["name"], row["status"], row["project"], row["group"]) == ("a", "Completed", "dig/its: ü", "idea")
        assert repr(restore(json.loads(row["parameters"]))) == repr(trial.parameters)
        assert json.loads(row["tags"]) == {"by": "me"}
        assert json.loads(row["kept"]).keys() == {"kept"}
        assert row["created"] == trial.timestamps["created"]
    days = {row["day"] for row in _table(_folder(tmp_path), "points") if row["metric"] == "times"}
    assert days == {"2020-09-13", "2020-09-14"}


def test_duckdb_reads_it(uri: str, tmp_path: Path) -> None:
    """A question in SQL over all partitions is answered."""
    duckdb = pytest.importorskip("duckdb", reason="needs duckdb")
    main(["export", uri, "--parquet", _folder(tmp_path)])

    files = f"read_parquet('{tmp_path}/lake/points/**/*.parquet', hive_partitioning = true)"
    found = duckdb.sql(f"SELECT sum(value), count(*), min(project) FROM {files} WHERE metric = 'times'")

    assert found.fetchall() == [(12.0, 6, "dig/its: ü")]


def test_only_what_is_new_is_added(uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second export adds points to those that are there, leaves their files as they are, and tells its cursor."""
    folder = _folder(tmp_path)
    assert main(["export", uri, "--parquet", folder, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    before = {path: path.read_bytes() for path in tmp_path.glob("lake/*s/**/*.parquet")}
    client = TrackClient(uri, environment="none")
    trial = client.set_trial(uid=track.fetch(uri)[0].uid, force=True)
    trial.log_metrics(step=6, loss=7.0)
    trial.log_metrics(once=8.0)
    trial.finish()

    assert main(["export", uri, "--parquet", folder, "--since", first["cursor"], "--json"]) == 0

    second = json.loads(capsys.readouterr().out)
    assert (first["trials"], first["points"]) == (2, 2 * 14)
    assert (second["trials"], second["points"], second["files"]) == (1, 2, 2)
    assert before.items() <= {path: path.read_bytes() for path in tmp_path.glob("lake/*s/**/*.parquet")}.items()
    assert _points(tmp_path / "lake") == _stored(uri)
    assert {row["take"] for row in _table(folder, "points")} == {0}
    assert main(["export", uri, "--parquet", folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cursor"] == second["cursor"]


def test_what_was_changed_is_another_take(uri: str, tmp_path: Path) -> None:
    """A step that was logged again, and what a resume hides, are not two points: the last take is what is shown."""
    main(["export", uri, "--parquet", _folder(tmp_path)])
    client = TrackClient(uri, environment="none")
    trial = client.set_trial(uid=track.fetch(uri)[0].uid, force=True)
    trial.resume_from(2)
    trial.log_metrics(step=3, loss=4.0)
    trial.log_metrics(step=0, loss=5.0)
    trial.finish()

    assert main(["export", uri, "--parquet", _folder(tmp_path)]) == 0

    assert _points(tmp_path / "lake") == _stored(uri)


def _read(folder: Path) -> tuple[list[Any], dict[Any, list[Any]], dict[Any, str]]:
    """Return all that counts of a folder, as its page says: rows of trials, their points, and whose these are."""
    trials = {row["uid"]: row for row in sorted(_table(folder, "trials"), key=lambda row: row["export"])}
    shown = {uid: row | {"export": 0} for uid, row in trials.items() if not row["deleted"]}
    points = {key: found for key, found in _points(folder).items() if key[0] in shown}
    rows = sorted(_table(folder, "points"), key=lambda row: row["take"])
    projects = {(row["trial"], row["metric"]): row["project"] for row in rows}
    return sorted(shown.values(), key=lambda row: row["uid"]), points, {key: projects[key] for key in points}


def _export(client: TrackClient, folder: Path) -> None:
    rows, _, _ = selected(client.protocol, parse_filter([]))
    add_to_lake(client.protocol, rows, object_store(str(folder)))


def _deleted_and_back(client: TrackClient, uid: str, between: Callable[[], None]) -> None:
    client.delete_trial(uid)
    between()
    client.restore_trial(uid)


def _goes_on_from(step: int, **metrics: float) -> Callable[[TrackClient, str, Callable[[], None]], None]:
    def change(client: TrackClient, uid: str, between: Callable[[], None]) -> None:
        trial = client.set_trial(uid=uid, force=True)
        trial.resume_from(step)
        between()
        if metrics:
            trial.log_metrics(step=step, **metrics)
        trial.finish()

    return change


def _tagged(client: TrackClient, uid: str, between: Callable[[], None]) -> None:
    client.set_trial(uid=uid, force=True).add_tags(paper="v2", **{"": 1})
    between()


def _pruned(client: TrackClient, uid: str, between: Callable[[], None]) -> None:
    client.set_trial(uid=uid, force=True).set_status("pruned", "too slow")
    between()


def _moved(client: TrackClient, uid: str, between: Callable[[], None]) -> None:
    client.protocol.add_project_trial(
        client.set_project(name="other", force=True), client.protocol.fetch_trials({"uid": uid})[0]
    )
    between()


def _moved_while_deleted(client: TrackClient, uid: str, between: Callable[[], None]) -> None:
    trial = client.protocol.fetch_trials({"uid": uid})[0]
    client.delete_trial(uid)
    client.protocol.add_project_trial(client.set_project(name="other", force=True), trial)
    between()
    client.restore_trial(uid)


def _logged_more(client: TrackClient, uid: str, between: Callable[[], None]) -> None:
    with client.set_trial(uid=uid, force=True) as trial:
        trial.log_metrics(step=5, loss=5.0, new=math.nan)
        between()
        trial.log_metrics(step=6, loss=6.0)


@pytest.mark.parametrize("scheme", ["file", "sqlite", "ephemeral"])
@pytest.mark.parametrize(
    "change",
    [
        _deleted_and_back, _goes_on_from(2, loss=9.0), _goes_on_from(0), _goes_on_from(0, loss=9.0), _goes_on_from(4),
        _tagged, _pruned, _moved, _moved_while_deleted, _logged_more,
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_between", [False, True])
def test_folder_that_grew_is_that_of_a_fresh_export(
    tmp_path: Path, scheme: str, change: Callable[..., None], is_between: bool
) -> None:
    """Whatever happened to a trial between two exports, and with another one in the middle, reading gives the same."""
    client = TrackClient("ephemeral:" if scheme == "ephemeral" else f"{scheme}:{tmp_path}/runs", environment="none")
    client.set_project(name="digits")
    for name in ("one", "other"):
        with client.new_trial(name=name, parameters={"name": name}, force=True) as trial:
            for step in range(5):
                trial.log_metrics(step=step, loss=float(step))
            trial.log_metrics(step=4, late=1)
            trial.log_metrics(once=1)
    uid = client.protocol.fetch_trials()[0].uid
    _export(client, tmp_path / "lake")

    change(client, uid, lambda: _export(client, tmp_path / "lake") if is_between else None)
    _export(client, tmp_path / "lake")

    _export(client, tmp_path / "fresh")
    grown, fresh = _read(tmp_path / "lake"), _read(tmp_path / "fresh")
    assert len(fresh[0]) == 2
    assert grown == fresh


@pytest.mark.parametrize("names", [["../../x", "a/b", "/abs", "..", ".", "", "%2e%2e", "%2E%2E", "..\\.."],
    ["a\x00b", "a\nb", "a\rb", "\u202e", "day=1", "007", "null", "__HIVE_DEFAULT_PARTITION__", "=cmd()", "-l", "CON"],
    ["x" * 300, "x" * 299, "é" * 300, "é" * 20, "Name", "name", "NAME", "name ", "name.", " "],
])  # fmt: skip
def test_name_of_a_project_is_no_way_out(tmp_path: Path, names: list[str]) -> None:
    """Whatever projects are called, each has a folder in its place, and its name is read back."""
    client = TrackClient(f"file:{tmp_path}/runs.json", environment="none")
    for name in names:
        client.set_project(name=name, force=True)
        with client.new_trial(name=name, parameters={}, force=True) as trial:
            trial.log_metrics(step=0, **{name: 1.0})

    _export(client, tmp_path / "at" / "lake")

    assert {path.name.partition(".")[0] for path in tmp_path.iterdir()} == {"runs", "at"}
    assert [path.name for path in (tmp_path / "at").iterdir()] == ["lake"]
    for table in ("trials", "points"):
        folders = list((tmp_path / "at" / "lake" / table).iterdir())
        assert all(folder.name.startswith("project=") for folder in folders)
        assert len(folders) == len(names)
    trials = _table(tmp_path / "at" / "lake", "trials")
    assert sorted(row["project_name"] for row in trials) == sorted(names)
    assert all(row["name"] == row["project_name"] for row in trials)
    by_uid = {row["uid"]: row["name"] for row in trials}
    points = _table(tmp_path / "at" / "lake", "points")
    assert sorted(by_uid[row["trial"]] for row in points) == sorted(row["metric"] for row in points) == sorted(names)


def test_deleted_run_is_said_to_be(uri: str, tmp_path: Path) -> None:
    """The last row of a trial that was hidden, or removed for good, says so."""
    hidden, forgotten = (trial.uid for trial in track.fetch(uri))
    main(["export", uri, "--parquet", _folder(tmp_path)])
    main(["delete", uri, hidden, forgotten])
    main(["gc", uri])
    main(["export", uri, "--parquet", _folder(tmp_path)])

    rows = sorted(_table(_folder(tmp_path), "trials"), key=lambda row: row["export"])

    assert [(row["uid"], row["deleted"]) for row in rows[:2]] == [(hidden, False), (forgotten, False)]
    assert {(row["uid"], row["deleted"]) for row in rows[2:]} == {(hidden, True), (forgotten, True)}


def test_filter_chooses_and_what_comes_to_it_is_added(uri: str, tmp_path: Path) -> None:
    """A trial that an earlier filter left out is added by one that does not, though it has not changed since."""
    main(["export", uri, "--parquet", _folder(tmp_path), "lr=0.1"])
    assert len({trial for trial, _ in _points(tmp_path / "lake")}) == 1

    main(["export", uri, "--parquet", _folder(tmp_path)])

    assert _points(tmp_path / "lake") == _stored(uri)


_KILLED = """
import os, sys
from track.cli import main
from track.objectstore import FolderStore

put, calls = FolderStore.put, []

def killed(store, name, chunks):
    calls.append(name)
    if len(calls) == 2:
        os._exit(9)
    put(store, name, chunks)

FolderStore.put = killed
main(["export", sys.argv[1], "--parquet", sys.argv[2]])
"""


def test_export_that_was_killed_leaves_nothing_twice(uri: str, tmp_path: Path) -> None:
    """Files are there whole or not at all, and the next export takes away what has no cursor."""
    assert python("-c", _KILLED, uri, _folder(tmp_path)).returncode == 9
    assert len(list(tmp_path.glob("lake/*/**/*.parquet"))) == 1

    assert main(["export", uri, "--parquet", _folder(tmp_path)]) == 0

    assert _points(tmp_path / "lake") == _stored(uri)
    assert len(_table(_folder(tmp_path), "trials")) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--since", "000001-none"], "does not end with the cursor"), (["--since", "x", "--csv"], "--since goes with")],
)
def test_mistakes_are_told(
    uri: str, tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cursor that is not the last one, or that nothing asks for, is wrong usage; nothing is written."""
    form = words[2:] or ["--parquet"]

    assert main(["export", uri, *words[:2], *form, _folder(tmp_path)]) == 2

    assert said in capsys.readouterr().err
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize("said", ["", "{", "[]", '{"format": 2}', '{"format": 2, "trials": {"a": 5}}', "\udcff"])
@pytest.mark.parametrize("kind", ["cursor", "begun"])
def test_damaged_note_is_one_error(
    uri: str, tmp_path: Path, kind: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What an earlier export has noted may be torn: its name and the way out are said, and nothing is written."""
    main(["export", uri, "--parquet", _folder(tmp_path)])
    (note,) = (tmp_path / "lake" / "_track").glob("cursor-*.json")
    if kind == "begun":
        note = note.with_name("begun-ab.json")
    note.write_bytes(said.encode(errors="surrogateescape"))
    before = sorted(tmp_path.glob("lake/**/*"))
    capsys.readouterr()

    code = main(["export", uri, "--parquet", _folder(tmp_path)])

    told = capsys.readouterr().err
    assert (code, told.count("\n")) == (2, 1)
    assert f"{note}, the note of an earlier export, is damaged" in told
    assert ("part-000002-*.parquet" if kind == "begun" else "export to a new folder") in told
    assert sorted(tmp_path.glob("lake/**/*")) == before


def test_another_store_is_refused(uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder is of one store: its cursor means nothing to another."""
    main(["export", uri, "--parquet", _folder(tmp_path)])
    other = f"file:{tmp_path}/other.json"
    with TrackClient(other, environment="none").new_trial(parameters={}) as trial:
        trial.log_metrics(loss=1)

    assert main(["export", other, "--parquet", _folder(tmp_path)]) == 2
    assert "another store" in capsys.readouterr().err


def test_url_is_a_place_too(uri: str) -> None:
    """Where fsspec leads the files are the same."""
    fsspec = pytest.importorskip("fsspec", reason="needs fsspec")
    url = f"memory://{uri.rpartition('/')[0].strip('/').replace('/', '-').replace(':', '')}"

    codes = [main(["export", uri, "--parquet", url]) for _ in range(2)]

    assert codes == [0, 0]
    names = fsspec.filesystem("memory").find(url)
    assert len([name for name in names if name.endswith(".parquet")]) == 3 + 1
    assert len([name for name in names if name.endswith(".json")]) == 1


def test_few_rows_are_kept_in_memory(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are more rows and partitions than are kept, files are closed on the way and nothing is lost."""
    monkeypatch.setattr("track.lake._PIECE", 2)
    monkeypatch.setattr("track.lake._GROUP", 3)
    monkeypatch.setattr("track.lake._KEPT", 5)
    monkeypatch.setattr("track.lake._OPEN", 1)

    assert main(["export", uri, "--parquet", _folder(tmp_path)]) == 0

    assert _points(tmp_path / "lake") == _stored(uri)
