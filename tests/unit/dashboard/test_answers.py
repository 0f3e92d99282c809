"""What the page says of a store."""

from __future__ import annotations

import json
import math
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.servers import wait_until
from tests.unit.dashboard.asking import PARTS, Asker, chart_in, enter
from track import TrackClient
from track.dashboard import Dashboard
from track.dashboard.app import client_files


def test_rows_say_what_the_table_shows(asker: Asker) -> None:
    """Each run once, oldest first: names, parameters, last, least and greatest of each metric, status and error."""
    said = asker.runs()

    assert said["all"] is True
    assert [run["parameters"] for run in said["runs"]] == [{"lr": lr, "model.depth": 3} for lr in (0.1, 0.01, 0.001)]
    assert [run["status"] for run in said["runs"]] == ["completed", "completed", "exception"]
    assert [run["error"] for run in said["runs"]][:2] == [None, None]
    assert said["runs"][2]["error"] == "RuntimeError: CUDA out of memory"
    assert said["runs"][0]["metrics"]["loss"] == [0.001, 0.001, 0.1, 100]
    row = asker.json(f"/api/run?uid={said['runs'][0]['uid']}")["row"]
    assert row["metrics"]["loss"] == [0.001, 0.001, 0.1, 100, 99, 99, 0]
    assert {run["project"] for run in said["runs"]} == {"digits"}


def test_nothing_new_is_no_content(asker: Asker) -> None:
    """Who has seen everything is sent no byte."""
    cursor = asker.runs()["cursor"]

    said = asker.ask(f"/api/runs?since={cursor}")

    assert (asker.status, said) == (204, b"")


def test_only_rows_that_changed_are_sent(asker: Asker, uri: str) -> None:
    """A run that goes on is sent, with its new numbers, and the others are not."""
    cursor = asker.runs()["cursor"]
    client = TrackClient(uri)
    client.set_project(name="digits")
    with client.new_trial(name="later", parameters={"lr": 1}) as trial:
        trial.log_metrics(step=0, loss=5)
        client.save()

        said = asker.runs(cursor)

        assert [(run["name"], run["status"]) for run in said["runs"]] == [("later", "running")]
        assert said["all"] is False
        trial.log_metrics(step=1, loss=4)
    client.save()

    said = asker.runs(said["cursor"])

    assert [(run["status"], run["metrics"]["loss"][0]) for run in said["runs"]] == [("completed", 4)]


def test_deleted_run_is_said_to_be_gone(asker: Asker, uri: str) -> None:
    """A run that is hidden leaves the page, and comes back when it is restored."""
    said = asker.runs()
    uid = said["runs"][1]["uid"]
    client = TrackClient(uri)
    client.delete_trial(uid)

    gone = asker.runs(said["cursor"])
    client.restore_trial(uid)
    back = asker.runs(gone["cursor"])

    assert (gone["gone"], gone["runs"]) == ([uid], [])
    assert [run["uid"] for run in back["runs"]] == [uid]


@pytest.mark.parametrize("scheme", ["file", "sqlite"])
def test_runs_of_a_store_that_was_replaced_are_gone(tmp_path: Path, scheme: str) -> None:
    """Who removes a store and runs again sees the new run alone, without another start of the page."""
    uri = f"{scheme}:{tmp_path}/runs"
    for names in (("one", "two"), ("three",)):
        for path in tmp_path.iterdir():
            path.unlink()
        client = TrackClient(uri)
        for number, name in enumerate(names):
            with client.new_trial(name=name, parameters={"lr": number}, force=True):
                pass
        client.protocol.close()
        if names[0] == "one":
            asker = enter(Dashboard(uri, "secret", interval=0), "secret")
            before = asker.runs()

    after = asker.runs(before["cursor"])

    assert [run["name"] for run in after["runs"]] == ["three"]
    assert sorted(after["gone"]) == sorted(run["uid"] for run in before["runs"])


def test_cursor_of_another_start_gets_everything(asker: Asker) -> None:
    """A tab that outlived the program is sent all rows anew; so is who sends nonsense."""
    for cursor in ("0123456789ab:1", "x", ":", "a:b", "%00"):
        said = asker.runs(cursor)

        assert (said["all"], len(said["runs"])) == (True, 3)


@pytest.mark.parametrize("number", ["9" * 5000, "-1", "x", "", "\u0663"])
def test_cursor_that_is_none_gets_everything(asker: Asker, number: str) -> None:
    """A number that this start has not given, of any length, is not known to it."""
    start = str(asker.runs()["cursor"]).partition(":")[0]

    assert asker.runs(f"{start}:{number}")["all"] is True


def test_chart_is_the_buckets_of_the_store(asker: Asker, page: Dashboard) -> None:
    """What a chart is sent is what `fetch_buckets` answers."""
    uids = [run["uid"] for run in asker.runs()["runs"]]

    said = asker.ask("/api/chart", "POST", {"uids": [*uids, "nobody_0"], "metric": "loss", "buckets": 7})

    found, expected = chart_in(said), page.open().fetch_buckets(uids, "loss", 7)
    assert asker.headers["Content-Type"] == "application/octet-stream"
    assert found["uids"] == uids
    assert found["edges"] == list(expected.edges)
    for name in ("least", "greatest", "mean"):
        assert found[name] == [pytest.approx(list(row), rel=1e-6) for row in getattr(expected, name)]
    assert found["count"] == [list(row) for row in expected.count]


@pytest.mark.parametrize(
    "values",
    [[1e9, 1e9 + 1e-3, 1e9 + 2e-3], [1e-300, 2e-300, 1.0], [1e300, -1e300, 0.0], [math.nan, math.inf, 7.0], [0.1] * 3],
    ids=["close", "tiny", "huge", "strange", "equal"],
)
def test_chart_is_as_exact_as_it_must_be(tmp_path: Path, values: list[float]) -> None:
    """Numbers are rounded only where nobody sees it: not what is close to one another, very small or very large."""
    uri = f"file://{tmp_path}/one.json"
    client = TrackClient(uri, environment="none")
    with client.new_trial(parameters={}) as trial:
        for step, value in enumerate(values):
            trial.log_metrics(step=step, loss=value)
    client.save()

    question = {"uids": [trial.trial.uid], "metric": "loss", "buckets": 3}
    found = chart_in(enter(Dashboard(uri, "t"), "t").ask("/api/chart", "POST", question))

    finite = [value for value in values if math.isfinite(value)]
    assert [value for value in found["mean"][0] if value == value] == finite
    assert [sum(found[name][0]) for name in ("nan", "plus_inf") if name in found] == [1, 1] * (len(finite) < 3)


@pytest.mark.parametrize("runs", [1, 3, 40])
def test_rows_of_any_kind_come_as_they_are(tmp_path: Path, runs: int) -> None:
    """Numbers, words, both in one parameter, true beside 1, what few have: a table is what was logged."""
    uri = f"file://{tmp_path}/one.json"
    client = TrackClient(uri, environment="none")
    expected = []
    for number in range(runs):
        mixed = [True, 1, "1", 1.5, math.inf, 2**70][number % 6]
        parameters = {"same": 7, "word": "ab"[number % 2], "mixed": mixed, "yes": number % 2 == 0, "seed": number}
        if number % 20 == 3:
            parameters["rare"] = number
        if number % 2:
            parameters["half"] = number / 3
        with client.new_trial(name=f"run{number}", parameters=parameters, force=True) as trial:
            trial.log_metrics(step=0, **{"a": number, "b" if number % 3 else "c": math.nan})
        said = {math.inf: "Infinity", 2**70: str(2**70)}.get(mixed, mixed) if mixed is not True else True
        expected.append({**parameters, "mixed": said})
    client.save()

    found = enter(Dashboard(uri, "t"), "t").runs()["runs"]

    assert [run["parameters"] for run in found] == expected
    assert [type(run["parameters"]["mixed"]) is bool for run in found] == [one["mixed"] is True for one in expected]
    assert [run["seeds"] for run in found] == [["seed"]] * runs
    assert [run["metrics"]["a"] for run in found] == [[number, number, number, 1] for number in range(runs)]
    assert [sorted(run["metrics"]) for run in found] == [["a", "b" if number % 3 else "c"] for number in range(runs)]


def test_filter_is_that_of_the_command_line(asker: Asker) -> None:
    """The runs that a filter means are named; a mistake is a sentence."""
    uids = [run["uid"] for run in asker.runs()["runs"]]

    assert asker.json("/api/find?q=lr%3C0.05")["uids"] == uids[1:]
    assert asker.json("/api/find?q=status:failed+project:digits")["uids"] == uids[2:]
    assert asker.json("/api/find?q=")["uids"] == uids
    said = asker.ask("/api/find?q=lr%3C")
    assert (asker.status, b"compares with nothing" in said) == (400, True)


def test_difference_of_code_is_that_of_the_stored_files(tmp_path: Path) -> None:
    """Files that both have are compared, those of one are all new, equal ones and what is no text have no lines."""
    uri = f"file://{tmp_path}/one.json"
    client, uids = TrackClient(uri, environment="none"), []
    for number in range(2):
        with client.new_trial(parameters={"number": number}, force=True) as trial:
            trial.log_artifact(f"a\nb = {number}\n".encode(), "code/train.py")
            trial.log_artifact(b"same\n", "code/same.py")
            trial.log_artifact(bytes([255, number]), "code/binary")
            trial.log_artifact(b"no code", "model.bin")
            if number:
                trial.log_artifact(b"new\n", "code/uncommitted.diff")
        uids.append(trial.trial.uid)
    client.save()
    asker = enter(Dashboard(uri, "t"), "t")

    files = {file.pop("name"): file for file in asker.json(f"/api/code?uid={uids[0]}&uid={uids[1]}")["files"]}

    assert files == {
        "binary": {"lines": [], "why": "no text"},
        "same.py": {"lines": []},
        "train.py": {"lines": ["@@ -1,2 +1,2 @@", " a", "-b = 0", "+b = 1"]},
        "uncommitted.diff": {"lines": ["@@ -0,0 +1 @@", "+new"]},
    }
    assert asker.json("/api/code?uid=nobody_0&uid=no_1") == {"files": []}
    asker.ask(f"/api/code?uid={uids[0]}")
    assert asker.status == 400


def test_page_of_a_run_says_all_of_it(asker: Asker) -> None:
    """The error with its lines, parameters, environment and packages."""
    failed = asker.runs()["runs"][2]

    said = asker.json(f"/api/run?uid={failed['uid']}")

    metrics = {name: parts[:4] for name, parts in said["row"]["metrics"].items()}
    assert {**said["row"], "metrics": metrics} == failed
    assert "RuntimeError: CUDA out of memory" in said["errors"][0]
    assert said["environment"]["python"]
    assert said["environment"]["command"]
    assert "argv" not in said["environment"]
    assert "msgspec" in said["packages"]


def test_alerts_are_on_the_page_of_a_run(tmp_path: Path) -> None:
    """What a program has told people is there, and not among what it has noted."""
    uri = f"file://{tmp_path}/one.json"
    with TrackClient(uri, environment="none").new_trial(parameters={}) as trial:
        trial.alert("disk", "is full", level="error")
    asker = enter(Dashboard(uri, "t", interval=0), "t")

    said = asker.json(f"/api/run?uid={trial.trial.uid}")

    assert [{**one, "at": 0} for one in said["alerts"]] == [
        {"at": 0, "level": "error", "title": "disk", "text": "is full"}
    ]
    assert said["metadata"] == {}


def test_output_is_shown_while_it_is_printed(tmp_path: Path) -> None:
    """What a program prints under `capture_output` is on the run's page before it ends."""
    uri = f"file://{tmp_path}/one.json"
    client = TrackClient(uri, environment="none")
    with client.new_trial(parameters={}) as trial:
        trial.capture_output()
        client.save()
        print("epoch 1")
        asker = enter(Dashboard(uri, "t", interval=0), "t")
        wait_until(lambda: "epoch 1" in asker.json(f"/api/run?uid={trial.trial.uid}")["output"])
        assert asker.runs()["runs"][0]["status"] == "running"


def test_run_that_is_not_there_is_said_so(asker: Asker) -> None:
    """An unknown uid is no error of the program."""
    for path in ("/api/run?uid=nobody_0", "/api/run", "/api/run?uid=", "/api/run?uid=%00"):
        asker.ask(path)

        assert asker.status == 404


def test_what_is_not_finite_is_said_as_text(tmp_path: Path) -> None:
    """JSON has no NaN: it and the infinities are words that the page shows, and numbers beyond doubles are digits."""
    said = _row_of(tmp_path, {"nan": math.nan, "big": 2**80}, {"loss": math.nan, "up": math.inf, "down": -math.inf})

    assert (said["parameters"]["nan"], said["parameters"]["big"]) == ("NaN", str(2**80))
    assert [said["metrics"][name][0] for name in ("loss", "up", "down")] == ["NaN", "Infinity", "-Infinity"]


def test_long_values_are_cut(tmp_path: Path) -> None:
    """A parameter of a megabyte does not make the table heavy."""
    said = _row_of(tmp_path, {"text": "x" * 1_000_000, "y" * 10_000: 1}, {"z" * 1000: 1.0})

    assert len(json.dumps(said)) < 5000


def _row_of(tmp_path: Path, parameters: dict[str, Any], metrics: dict[str, float]) -> Any:
    """Return the row of one run."""
    uri = f"file://{tmp_path}/one.json"
    client = TrackClient(uri, environment="none")
    with client.new_trial(parameters=parameters) as trial:
        trial.log_metrics(step=0, **metrics)
    client.save()
    return enter(Dashboard(uri, "t"), "t").runs()["runs"][0]


@pytest.mark.parametrize("scheme", ["file", "sqlite"])
def test_store_whose_folder_is_away_keeps_its_runs(tmp_path: Path, scheme: str) -> None:
    """A disk that is away for a while is said, and no run is called gone because of it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    client = TrackClient(f"{scheme}:{folder}/runs")
    with client.new_trial(name="one", parameters={"lr": 0.1}):
        pass
    client.protocol.close()
    asker = enter(Dashboard(f"{scheme}:{folder}/runs", "secret", interval=0), "secret")
    cursor = asker.runs()["cursor"]

    folder.rename(tmp_path / "away")
    said = asker.ask(f"/api/runs?since={cursor}")
    assert (asker.status, b"is gone" in said) == (502, True)
    (tmp_path / "away").rename(folder)

    asker.ask(f"/api/runs?since={cursor}")
    assert asker.status == 204
    assert [run["name"] for run in asker.runs()["runs"]] == ["one"]


def test_store_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    """The reason is a sentence, and the store is opened once it is there."""
    uri = f"file://{tmp_path}/later.json"
    asker = enter(Dashboard(uri, "t"), "t")

    said = asker.ask("/api/runs")
    assert (asker.status, b"no store" in said) == (502, True)

    client = TrackClient(uri)
    with client.new_trial(parameters={}):
        pass
    client.save()
    assert len(asker.runs()["runs"]) == 1


def test_what_is_read_ahead_is_not_read_again(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks first is answered with what was read while the browser started, points of the first charts included."""
    page = Dashboard(uri, "t", interval=60)
    asked: list[tuple[str, str]] = []
    store = page.open()
    ask = store.fetch_buckets

    def asking(uids: list[str], name: str, *rest: Any) -> Any:
        asked.extend((uid, name) for uid in uids)
        return ask(uids, name, *rest)

    monkeypatch.setattr(store, "fetch_buckets", asking)

    page.read_ahead()

    monkeypatch.setattr(store, "brief_trials", lambda *_: pytest.fail("the store is read again"))
    assert len(enter(page, "t").runs()["runs"]) == 3
    assert len(asked) == len(set(asked)) == 3
    assert {name for _, name in asked} == {"loss"}


def test_chart_of_many_runs_is_there_when_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page is about to ask of more than 200 runs is answered before; after a change it is made anew."""
    uri = f"file://{tmp_path}/many.json"
    client = TrackClient(uri)
    for number in range(201):
        with client.new_trial(parameters={"number": number}, force=True) as trial:
            for step in range(3):
                trial.log_metrics(step=step, loss=number + step)
    client.save()
    assert b"uids.length > 200 ? 300 : 2000" in client_files()[0]["/charts.js"].body
    page = Dashboard(uri, "t", interval=0.5)
    page.read_ahead()
    asker = enter(page, "t")
    question = {"uids": [run["uid"] for run in asker.runs()["runs"]], "metric": "loss", "buckets": 300}
    store = page.open()

    with monkeypatch.context() as patch:
        patch.setattr(store, "fetch_buckets", lambda *_: pytest.fail("it is made again"))
        known = asker.ask("/api/chart", "POST", question)
        assert asker.status == 200

    with trial:
        trial.log_metrics(step=3, loss=-1000.0)
    client.save()
    page._questions()._watched.look_again()
    asker.ask("/api/runs")
    assert asker.ask("/api/chart", "POST", question) != known


def test_charts_are_made_one_after_the_other(page: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for what another one is asking for waits for its turn, and finds what was read."""
    store, busy = page.open(), threading.Lock()
    ask = store.fetch_buckets
    met = []

    def asking(*question: Any) -> Any:
        met.append(busy.acquire(blocking=False))
        try:
            return ask(*question)
        finally:
            busy.release()

    monkeypatch.setattr(store, "fetch_buckets", asking)
    askers = [enter(page, "secret") for _ in range(4)]
    uids = [run["uid"] for run in askers[0].runs()["runs"]]
    question = {"uids": uids, "metric": "loss", "buckets": 10}
    threads = [threading.Thread(target=one.ask, args=("/api/chart", "POST", question)) for one in askers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [one.status for one in askers] == [200] * 4
    assert all(met)


def test_chart_has_the_points_that_the_table_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A point that is logged while rows are read is in the chart that is asked for because of it."""
    monkeypatch.setattr("track.dashboard.questions._AGAIN", 1e9)
    client = TrackClient(f"file://{tmp_path}/report.json")
    with client.new_trial(name="live", parameters={"lr": 0.1}) as trial:
        trial.log_metrics(step=0, loss=1.0)
        page = Dashboard(f"file://{tmp_path}/report.json", "secret", interval=1e-6)
        asker, store = enter(page, "secret"), page.open()
        brief = store.brief_trials
        before = asker.runs()
        question = {"uids": [before["runs"][0]["uid"]], "metric": "loss", "buckets": 1}
        asker.ask("/api/chart", "POST", question)

        def log_and_read(*asked: Any) -> Any:
            trial.log_metrics(step=1, loss=0.5)
            return brief(*asked)

        with monkeypatch.context() as patch:
            patch.setattr(store, "brief_trials", log_and_read)
            row = asker.runs(before["cursor"])["runs"][0]
        chart = chart_in(asker.ask("/api/chart", "POST", question))

    assert (row["metrics"]["loss"][PARTS.index("count")], chart["count"]) == (2, [[2]])


def test_store_that_cannot_be_read_ahead_is_said_to_who_asks(tmp_path: Path) -> None:
    """Nothing is raised where nobody would see it."""
    page = Dashboard(f"file://{tmp_path}/nothing.json", "t")

    page.read_ahead()

    asker = enter(page, "t")
    assert b"no store" in asker.ask("/api/runs")
    assert asker.status == 502


def test_head_has_no_body(asker: Asker) -> None:
    """The headers are those of the page itself."""
    body = asker.ask("/", "HEAD")

    assert (asker.status, body) == (200, b"")
    assert int(asker.headers["Content-Length"]) > 100


def test_files_are_sent_once(asker: Asker) -> None:
    """A browser that has a file is told that it is the same."""
    asker.ask("/app.js")

    asker.ask("/app.js", HTTP_IF_NONE_MATCH=asker.headers["ETag"])

    assert asker.status == 304


def test_files_of_this_version_are_asked_for_once(asker: Asker) -> None:
    """The page names the folder of its version, whose files a browser keeps; of another version it keeps none."""
    folder = re.search(r'src="([0-9a-f]{16})/app\.js"', asker.ask("/").decode())
    assert folder is not None

    body = asker.ask(f"/{folder[1]}/app.js")
    kept = asker.headers["Cache-Control"]
    other = asker.ask("/0123456789abcdef/app.js")

    assert "immutable" in kept
    assert asker.headers["Cache-Control"] == "no-cache"
    assert body == other == asker.ask("/app.js")


def test_without_a_uri_it_is_the_configured_store_or_the_usual_file(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who names no store sees the one that programs log to, else ``report.json`` of this folder."""
    monkeypatch.chdir(tmp_path)
    assert len(enter(Dashboard(token="t"), "t").runs()["runs"]) == 3

    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", f"file://{tmp_path}/other.json")
    asker = enter(Dashboard(token="t"), "t")

    assert b"other.json" in asker.ask("/api/runs")
    assert asker.status == 502
