"""The page in a real browser: what is drawn, what is said, and that nothing goes wrong in it."""

from __future__ import annotations

import base64
import math
import random
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import track
from tests.children import ended, python, start_python
from tests.e2e.browsing import COLOURED, PNG, Visit, hostile_store, look_at_hostile, served
from tests.servers import wait_until
from tests.unit.media.test_sketch import Figure
from track import TrackClient
from track.dashboard.server import MOST_CONNECTIONS
from track.persistence.users import Users

pytestmark = pytest.mark.slow


def _client(path: Path) -> TrackClient:
    client = TrackClient(f"file://{path}", environment="none")
    client.set_project(name="digits")
    return client


def _log(client: TrackClient, name: str, parameters: dict[str, Any], values: list[float], error: str = "") -> None:
    try:
        with client.new_trial(name=name, parameters=parameters, force=True) as trial:
            for step, value in enumerate(values):
                trial.log_metrics(step=step, loss=value)
            if error:
                raise RuntimeError(error)
    except RuntimeError:
        pass


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The link to three runs, of which one failed."""
    path = tmp_path_factory.mktemp("three") / "report.json"
    client = _client(path)
    _log(client, "baseline", {"lr": 0.1, "depth": 3}, [1 / (step + 1) for step in range(200)])
    _log(client, "wide", {"lr": 0.2, "depth": 3}, [2 / (step + 1) for step in range(200)])
    _log(client, "broken", {"lr": 9.0, "depth": 3}, [3.0, math.nan, math.inf, -math.inf, 4.0], "CUDA out of memory")
    client.save()
    with served(f"file://{path}") as link:
        yield link


def _texts(tab: Any, selector: str) -> list[str]:
    return [text.strip() for text in tab.locator(selector).all_inner_texts()]


def test_table_and_charts_show_the_runs(visit: Callable[..., Visit], three: str) -> None:
    """Each run has a row with what differs, its status and its error, and the chart has lines."""
    there = visit(three)

    tab = there.open()

    tab.wait_for_selector("tbody tr:nth-child(3)")
    assert sorted(_texts(tab, "tbody button.name span")) == ["baseline", "broken", "wide"]
    assert sorted(_texts(tab, "tbody .status")) == ["completed", "completed", "exception"]
    assert "RuntimeError: CUDA out of memory" in tab.inner_text("tbody .why")
    assert "depth" not in tab.inner_text("thead")
    assert "lr" in tab.inner_text("thead")
    assert there.coloured("loss") > 500
    assert "token" not in tab.url


def test_what_the_machine_did_is_folded_away(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """Its charts are asked for when they are unfolded, and are no columns; pages and comparisons have it last."""
    client = _client(tmp_path / "report.json")
    with client.new_trial(name="before", parameters={"lr": 0.1}) as trial:
        trial.log_metrics(**{"loss": 9.0, "system/cpu": 1.0, "system/cpu.peak": 2.0})
    with client.new_trial(name="monitored", parameters={"lr": 0.1}) as trial:
        trial.log_text("answer", "yes")
        for step in range(20):
            trial.log_metrics(**{"system/cpu": 50.0 + step, "system/cpu.peak": 90.0})
            trial.log_metrics(step=step, loss=1 / (step + 1))
        trial.alert("<b>low</b>", "accuracy", level="error")
    with served(f"file:{tmp_path}/report.json") as link:
        there = visit(link)
        tab = there.open()
        tab.wait_for_selector("tbody tr")
        assert there.coloured("loss") > 100
        assert "system" not in tab.inner_text("thead")
        assert [
            tab.locator(f"figure[aria-label='chart of {name}']").is_visible() for name in ("loss", "system/cpu")
        ] == [
            True,
            False,
        ]
        tab.locator("details.system summary").click()
        assert there.coloured("system/cpu") > 100
        tab.locator("tbody button.name").first.click()
        tab.wait_for_selector("article .alert")

        assert "<b>low</b>" in tab.inner_text("article .alert")
        assert [text.lower() for text in _texts(tab, "article section h3")] == ["metrics", "media", "system"]
        tab.locator("thead input").check()
        tab.get_by_role("tab", name="compare 2").click()
        tab.wait_for_selector(".compare tbody tr")
        names = _texts(tab, ".compare tbody th")
        assert [name for name in names if name.startswith("system/")] == ["system/cpu", "system/cpu.peak"]
        assert names.index("loss max") < names.index("system/cpu")


def test_chart_of_what_diverged_has_numbers_beside_it(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """Its axis is labelled however large the numbers are: up to the greatest that there is."""
    client = _client(tmp_path / "report.json")
    _log(client, "diverged", {"lr": 9.0}, [10.0 ** (step * 30) for step in range(11)], "out of range")
    client.save()
    with served(f"file:{tmp_path}/report.json") as link:
        there = visit(link)
        there.tab.add_init_script(
            "const write = CanvasRenderingContext2D.prototype.fillText; window.written = [];"
            "CanvasRenderingContext2D.prototype.fillText = function (text, ...rest)"
            " { window.written.push(text); write.call(this, text, ...rest); }"
        )
        tab = there.open()
        assert there.coloured("loss") > 100

        assert [text for text in tab.evaluate("window.written") if text.endswith("e299")]


def test_what_is_not_finite_is_marked_and_said(visit: Callable[..., Visit], three: str) -> None:
    """NaN and the infinities are marks on the rim, and the chart counts them; its lines are drawn all the same."""
    there = visit(three)

    tab = there.open()

    assert there.coloured("loss") > 500
    assert "3 not finite" in tab.inner_text("figure .note")


def test_all_points_that_are_not_finite_are_counted(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """Also where a pixel has several of them, which are one mark; and however narrow the chart is, it can be read."""
    client = _client(tmp_path / "diverged.json")
    with client.new_trial(name="diverged", parameters={}) as trial:
        trial.log_series("loss", [1.0] * 5000 + [math.nan] * 5000)
    client.save()

    with served(f"file://{tmp_path}/diverged.json") as link:
        there = visit(link)
        tab = there.open()

        assert there.coloured("loss") > 0
        assert tab.inner_text("figure .note").endswith("5000 not finite")
        assert tab.get_attribute("figure .note", "title") == tab.inner_text("figure .note")


def test_choice_is_in_the_link(visit: Callable[..., Visit], three: str) -> None:
    """Who opens the link of a view sees it, chosen runs, axis and smoothing alike."""
    there = visit(three)
    tab = there.open()
    tab.get_by_label("choose wide").check()
    tab.get_by_label("log y").check()
    tab.get_by_label("smoothing").fill("0.5")
    everything = there.coloured("loss")
    state = tab.url.partition("#")[2]

    again = visit(three)
    tab = again.open(state)

    assert tab.get_by_label("choose wide").is_checked()
    assert not tab.get_by_label("choose baseline").is_checked()
    assert tab.get_by_label("log y").is_checked()
    assert tab.get_by_label("smoothing").input_value() == "0.5"
    assert again.coloured("loss") > 0
    assert everything > 0


def test_dragging_zooms_and_back_returns(visit: Callable[..., Visit], three: str) -> None:
    """A range that is dragged is asked for anew, is in the link, and the back button leaves it."""
    there = visit(three)
    tab = there.open()
    there.coloured("loss")
    box = tab.locator("figure .u-over").bounding_box()
    middle = box["y"] + box["height"] / 2

    with tab.expect_response("**/api/chart") as asked:
        tab.mouse.move(box["x"] + box["width"] * 0.25, middle)
        tab.mouse.down()
        tab.mouse.move(box["x"] + box["width"] * 0.5, middle, steps=4)
        tab.mouse.up()

    question = asked.value.request.post_data_json
    assert 40 < question["start"] < 60
    assert 90 < question["end"] < 110
    assert "zoom=" in tab.url
    tab.go_back()
    tab.wait_for_function("!location.hash.includes('zoom')")
    there.coloured("loss")


def test_run_has_a_page(visit: Callable[..., Visit], three: str) -> None:
    """A click on its name shows the error with its lines, and its parameters."""
    there = visit(three)
    tab = there.open()

    tab.get_by_role("button", name="broken").click()

    tab.wait_for_selector(".run pre.error")
    assert "RuntimeError: CUDA out of memory" in tab.inner_text(".run pre.error")
    assert "lr" in tab.inner_text(".run dl")


def test_a_run_is_edited(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """With ``--write`` tags come and go, a note is kept, the status is chosen, by keyboard too; the table shows it."""
    path = tmp_path / "report.json"
    client = _client(path)
    _log(client, "baseline", {"lr": 0.1}, [1.0, 0.5])
    client.save()
    with served(f"file://{path}", "--write") as link:
        there = visit(link)
        tab = there.open()
        tab.get_by_role("button", name="baseline").first.click()
        tab.get_by_label("new tag").fill("paper=<b>v2</b>")
        tab.keyboard.press("Enter")
        tab.get_by_role("button", name="remove tag paper").wait_for()
        tab.get_by_label("new tag").fill("draft")
        tab.get_by_role("button", name="add tag").click()
        tab.get_by_role("button", name="remove tag draft").click()
        tab.get_by_role("button", name="remove tag draft").wait_for(state="detached")
        tab.get_by_label("note", exact=True).fill("Best so far.\n</script><script>alert(1)</script>")
        tab.get_by_role("button", name="save note").click()
        tab.wait_for_function("document.querySelector('.edit textarea + p button').disabled")
        tab.get_by_label("status").select_option("pruned")
        tab.wait_for_selector("tbody .status:has-text('pruned')")

    trial = track.fetch(f"file://{path}", "@last")[0]
    assert {name: value for name, value in trial.tags.items() if value is not None} == {"paper": "<b>v2</b>"}
    assert trial.metadata["note"] == "Best so far.\n</script><script>alert(1)</script>"
    assert str(trial.status) == "pruned"


def test_what_cannot_be_edited_is_said(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """Where the store takes nothing, what was typed stays, and the page says why."""
    path = tmp_path / "report.json"
    client = _client(path)
    _log(client, "baseline", {"lr": 0.1}, [1.0])
    client.save()
    with served(f"file://{path}", "--write") as link:
        there = visit(link)
        tab = there.open()
        tab.get_by_role("button", name="baseline").first.click()
        tab.get_by_label("note", exact=True).fill("typed")
        tab.evaluate("document.querySelector('.edit input').removeAttribute('maxlength')")
        tab.get_by_label("new tag").fill("x" * 1001)
        tab.get_by_role("button", name="add tag").click()
        tab.get_by_role("alert").wait_for()

        assert "at most 100 tags" in tab.get_by_role("alert").inner_text()
        assert tab.get_by_label("note", exact=True).input_value() == "typed"
        there.wrong = [text for text in there.wrong if "status of 400" not in text]


def test_a_page_that_is_only_read_has_nothing_to_edit_with(visit: Callable[..., Visit], three: str) -> None:
    """Neither its fields nor their script are there without ``--write``."""
    there = visit(three)
    tab = there.open()
    tab.get_by_role("button", name="baseline").first.click()
    tab.wait_for_selector(".run section")

    assert tab.locator(".edit").count() == 0
    assert not [url for url in there.asked if "edit.js" in url]


def test_people_of_other_machines_sign_in(visit: Callable[..., Visit], tmp_path: Path, monkeypatch: Any) -> None:
    """A browser that knows the password comes in over HTTPS, reads and edits; the password is asked for once."""
    pytest.importorskip("cryptography")
    monkeypatch.setenv("TRACK_SOCKET_FOLDER", str(tmp_path / "server"))
    Users(tmp_path / "users.json", cost={"n": 2, "r": 1, "p": 1}).add("ann", "correct horse", "write")
    client = _client(tmp_path / "report.json")
    _log(client, "baseline", {"lr": 0.1}, [1.0, 0.5])
    client.save()
    options = ["--write", "--host", "0.0.0.0", "--users", str(tmp_path / "users.json"), "--security-layer", "AES"]
    with served(f"file://{tmp_path}/report.json", *options) as link:
        port = link.rstrip("/").rpartition(":")[2]
        credentials = {"username": "ann", "password": "correct horse"}
        there = visit(f"https://127.0.0.1:{port}/", http_credentials=credentials, ignore_https_errors=True)
        there.place = f"https://127.0.0.1:{port}"
        tab = there.tab
        tab.goto(f"https://127.0.0.1:{port}/")
        tab.get_by_role("button", name="baseline").first.click()
        tab.get_by_label("new tag").fill("by-ann")
        tab.keyboard.press("Enter")
        tab.get_by_role("button", name="remove tag by-ann").wait_for()

    assert track.fetch(f"file://{tmp_path}/report.json", "@last")[0].tags == {"by-ann": True}


def test_two_runs_are_compared(visit: Callable[..., Visit], three: str) -> None:
    """What differs stands side by side; what is equal is shown when it is asked for."""
    there = visit(three)
    tab = there.open()
    tab.get_by_label("choose wide").check()
    tab.get_by_label("choose baseline").check()

    tab.get_by_role("tab", name="compare 2").click()

    tab.wait_for_selector(".compare tbody tr")
    assert "lr" in _texts(tab, ".compare tbody th")
    assert "depth" not in _texts(tab, ".compare tbody th")
    tab.get_by_label("also what is equal").check()
    assert "depth" in _texts(tab, ".compare tbody th")


def test_filter_leaves_the_runs_it_means(visit: Callable[..., Visit], three: str) -> None:
    """The language of `track ls` chooses rows; a mistake is said, and takes nothing away."""
    there = visit(three)
    tab = there.open()
    tab.wait_for_selector("tbody tr:nth-child(3)")

    tab.get_by_label("filter").fill("lr<1 -wide loss.min<0.5")
    tab.wait_for_selector("tbody tr:nth-child(2)", state="detached")
    assert _texts(tab, "tbody button.name span") == ["baseline"]
    tab.get_by_label("filter").fill("status:failed")
    tab.get_by_role("button", name="broken").wait_for()
    tab.get_by_label("filter").fill("nothing of this")

    tab.get_by_text("No run matches.").wait_for()


def test_columns_are_chosen_and_stay_in_sight(visit: Callable[..., Visit], three: str) -> None:
    """A column is left out, another is shown, one is kept beside the names; the link has it all."""
    there = visit(three)
    tab = there.open()
    tab.wait_for_selector("tbody tr:nth-child(3)")
    tab.get_by_role("button", name="columns", exact=True).click()
    chooser = tab.get_by_role("dialog", name="columns")
    chooser.get_by_role("checkbox", name="loss max").uncheck()
    chooser.get_by_role("checkbox", name="depth").check()
    chooser.get_by_label("keep loss min in sight").click()
    chooser.get_by_label("close columns").click()

    heads = _texts(tab, "thead th")
    assert [" ".join(head.split()) for head in heads[2:]] == [
        *("status", "loss min", "lr", "loss last", "depth", "started ↓", "took")
    ]
    tab.set_viewport_size({"width": 500, "height": 700})
    tab.locator(".list").evaluate("(list) => { list.scrollLeft = 300; }")
    name, pinned = (tab.locator(f"thead th.{kind}").first.bounding_box() for kind in ("name", "pinned"))
    assert pinned["x"] == pytest.approx(name["x"] + name["width"], abs=1)

    again = visit(three)
    tab = again.open(tab.url.partition("#")[2])
    tab.wait_for_selector("tbody tr:nth-child(3)")
    assert _texts(tab, "thead th") == heads


def test_columns_come_as_they_are_scrolled_to(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """Of hundreds of columns those near the window are made at once, and the last one is reached."""
    client = _client(tmp_path / "wide.json")
    for number in range(2):
        _log(client, f"run{number}", {f"p{place}": number for place in range(120)}, [1.0])
    client.save()

    with served(f"file://{tmp_path}/wide.json") as link:
        there = visit(link)
        tab = there.open()
        tab.wait_for_selector("tbody tr:nth-child(2)")
        assert 20 < tab.locator("thead th").count() < 80

        tab.wait_for_function(
            """() => {
              const list = document.querySelector(".list");
              list.scrollLeft = list.scrollWidth;
              return document.querySelector("thead").textContent.includes("p119");
            }"""
        )


def test_baseline_is_first_and_others_say_how_they_differ(visit: Callable[..., Visit], three: str) -> None:
    """Of the others, metrics say how many percent they are away, and parameters whether they are others."""
    there = visit(three)
    tab = there.open()
    tab.get_by_role("button", name="baseline").click()

    tab.get_by_role("button", name="make it the baseline").click()

    tab.wait_for_selector("tbody .by")
    assert tab.locator("tbody tr").first.inner_text().split()[:2] == ["baseline", "baseline"]
    wide = tab.locator("tbody tr", has_text="wide")
    assert "+100 %" in wide.inner_text()
    assert wide.locator(".other").inner_text() == "0.2"
    tab.keyboard.press("b")
    tab.wait_for_selector("tbody .by", state="detached")


def test_scatter_has_a_point_for_each_run(visit: Callable[..., Visit], three: str) -> None:
    """Two columns are its axes, which are chosen; a click on a point opens its run."""
    there = visit(three)
    tab = there.open("tab=scatter")
    tab.get_by_label("y of the points").select_option("metrics.loss")
    canvas = tab.locator(".scatter canvas")
    canvas.wait_for()
    box = canvas.bounding_box()

    tab.mouse.move(box["x"] + box["width"] - 16, box["y"] + 14)
    tab.get_by_text("loss 4").wait_for()
    tab.mouse.down()
    tab.mouse.up()

    tab.wait_for_selector(".run pre.error")
    assert "sy=metrics.loss" in tab.url


def test_running_run_has_its_course_in_the_table(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """A run that is alive has a small curve beside its status; one that has ended has none."""
    client = _client(tmp_path / "alive.json")
    _log(client, "ended", {"lr": 1}, [3.0, 2.0, 1.0])
    with client.new_trial(name="alive", parameters={"lr": 2}, force=True) as trial:
        for step in range(20):
            trial.log_metrics(step=step, loss=1 / (step + 1))
        client.save()

        with served(f"file://{tmp_path}/alive.json") as link:
            there = visit(link)
            tab = there.open()

            tab.locator("tbody tr", has_text="alive").locator("svg.spark polyline").wait_for(state="attached")
            assert tab.locator("svg.spark").count() == 1


def test_comparison_shows_how_the_code_differs(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """Where two runs have stored their code, the lines that differ are beside the rest; markup is text."""
    client = _client(tmp_path / "code.json")
    for name, line in (("one", "rate = 1"), ("two", "rate = '<img src=x onerror=alert(1)>'")):
        with client.new_trial(name=name, parameters={"name": name}, force=True) as trial:
            trial.log_artifact(f"import this\n{line}\n".encode(), "code/train.py")
            trial.log_metrics(loss=1)
    client.save()

    with served(f"file://{tmp_path}/code.json") as link:
        there = visit(link)
        tab = there.open()
        for name in ("one", "two"):
            tab.get_by_label(f"choose {name}").check()
        tab.get_by_role("tab", name="compare 2").click()

        tab.wait_for_selector(".code .plus")
        assert _texts(tab, ".code .minus") == ["-rate = 1"]
        assert _texts(tab, ".code .plus") == ["+rate = '<img src=x onerror=alert(1)>'"]


def test_files_of_a_run_come_down_and_are_looked_at(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """A file is downloaded by a click, a folder opens, a picture is shown and markup is text; what is gone is said."""
    client = _client(tmp_path / "files.json")
    markup = "<img src=x onerror=alert(1)>"
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "notes.txt").write_text(markup)
    with client.new_trial(name="files", parameters={}) as trial:
        trial.log_artifact(b"weights", "models/model.bin")
        gone = trial.log_artifact(b"gone", "gone.bin")
        trial.log_artifact(base64.b64decode(PNG), "picture.png")
        trial.log_directory(folder, artifact="data")
    client.save()
    assert gone is not None
    (tmp_path / "files.json.artifacts" / f"objects/{str(gone.digest)[:2]}/{gone.digest}").unlink()

    with served(f"file://{tmp_path}/files.json") as link:
        there = visit(link)
        tab = there.open()
        tab.get_by_role("button", name="files").first.click()
        with tab.expect_download() as found:
            tab.get_by_role("link", name="models/model.bin").click()
        assert Path(found.value.path()).read_bytes() == b"weights"
        assert found.value.suggested_filename == "model.bin"

        tab.get_by_label("look at picture.png").click()
        tab.wait_for_function("() => document.querySelector('.seen img')?.naturalWidth === 1")
        tab.get_by_label("look at data").click()
        tab.get_by_label("look at notes.txt").click()
        tab.wait_for_selector(".seen pre")
        assert _texts(tab, ".seen pre") == [markup]

        tab.get_by_role("link", name="gone.bin").click()
        tab.wait_for_selector(".run [role=alert]")
        assert "the content of 'gone.bin' is not at" in tab.inner_text(".run [role=alert]")
        assert [line for line in there.wrong if "404" not in line] == []
        there.wrong.clear()


def test_mistake_in_a_filter_is_said(visit: Callable[..., Visit], three: str) -> None:
    """What cannot be understood is explained beside the box, and all runs stay."""
    there = visit(three)
    tab = there.open()
    tab.wait_for_selector("tbody tr:nth-child(3)")

    tab.get_by_label("filter").fill("lr<")

    assert "compares with nothing" in tab.get_by_role("alert").inner_text()
    assert tab.locator("tbody tr").count() == 3
    there.wrong = [said for said in there.wrong if "400" not in said]


def test_spike_of_one_point_in_a_million_is_drawn(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """However many points a pixel has, the greatest of them is there, and how many they are is said."""
    client = _client(tmp_path / "spike.json")
    with client.new_trial(name="long", parameters={}) as trial:
        values = [1.0] * 300_000
        values[123_456] = 1000.0
        trial.log_series("loss", values)
    client.save()

    with served(f"file://{tmp_path}/spike.json") as link:
        there = visit(link)
        tab = there.open()

        there.coloured("loss")
        assert "points" in tab.inner_text("figure .note")
        rows = tab.eval_on_selector(
            "figure canvas",
            """(canvas) => {
              const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
              const rows = new Set();
              for (let i = 0; i < data.length; i += 4) {
                const parts = [data[i], data[i + 1], data[i + 2]];
                if (data[i + 3] > 60 && Math.max(...parts) - Math.min(...parts) > 40)
                  rows.add(Math.floor(i / 4 / canvas.width));
              }
              return rows.size;
            }""",
        )
        assert rows > 100


def test_a_hundred_lines_are_drawn_and_pointed_at(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """So many lines are drawn as pixels: all of their colours are there, and the one under the cursor is named."""
    client = _client(tmp_path / "many.json")
    for number in range(100):
        _log(client, f"run{number}", {"number": number}, [number, number + 0.5, number])
    client.save()

    with served(f"file://{tmp_path}/many.json") as link:
        there = visit(link)
        tab = there.open()

        assert there.coloured("loss") > 20_000
        box = tab.locator("figure .u-over").bounding_box()
        tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        tab.wait_for_selector(".tip b")
        assert tab.inner_text(".tip b").startswith("run")
        dimmed = there.coloured("loss")
        assert dimmed < 20_000


# How many pixels above the middle of a chart have a colour.
_ABOVE = COLOURED.replace("i < data.length", "i < data.length / 2")


@pytest.mark.parametrize("runs", [2, 70])
def test_what_has_no_place_on_a_log_axis_is_said_and_not_drawn(
    visit: Callable[..., Visit], tmp_path: Path, runs: int
) -> None:
    """A step 0 is not at the first step that has a place, whether lines are strokes or pixels."""
    client = _client(tmp_path / "zero.json")
    for number in range(runs):
        _log(client, f"run{number}", {"number": number}, [1000, 1, 2, 1, 2])
    client.save()

    with served(f"file://{tmp_path}/zero.json") as link:
        there = visit(link)
        tab = there.open("logx=1")

        assert there.coloured("loss") > 100
        assert tab.inner_text("figure .note") == "≤ 0 has no place on a log axis"
        assert tab.eval_on_selector("figure canvas", _ABOVE) == 0


@pytest.mark.parametrize("runs", [2, 70])
def test_what_was_logged_is_behind_what_is_smoothed(visit: Callable[..., Visit], tmp_path: Path, runs: int) -> None:
    """A spike is seen however smooth the line over it is, and however many lines there are."""
    client = _client(tmp_path / "spike.json")
    for number in range(runs):
        _log(client, f"run{number}", {"number": number}, [1] * 30 + [1000 if number == 1 else 1] + [1] * 30)
    client.save()

    with served(f"file://{tmp_path}/spike.json") as link:
        there = visit(link)
        tab = there.open("smooth=0.98")

        assert there.coloured("loss") > 100
        assert tab.eval_on_selector("figure canvas", _ABOVE) > 10


_PAINTED = """async () => {
  const place = document.querySelector("link[href$='plot.js']").href;
  const { drawLines } = await import(place.replace("plot.js", "raster.js"));
  const lines = ["rgb(255, 0, 0)", "rgb(0, 255, 0)", "rgb(0, 0, 255)"].map((colour, i) =>
    ({ colour, x: [0, 30], low: [10 * i, 10 * i], high: [10 * i + 19, 10 * i + 19] }));
  const ctx = drawLines(lines, 40, 60, (x) => x, (value) => 59 - value).getContext("2d");
  return [5, 15, 25, 35, 45].map((value) => [...ctx.getImageData(15, 59 - value, 1, 1).data].join());
}"""


def test_of_many_lines_the_last_one_is_on_top(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """Where lines that are drawn as pixels lie over one another, the last of them is seen, and elsewhere each other."""
    _log(client := _client(tmp_path / "one.json"), "run", {}, [1, 2])
    client.save()
    with served(f"file://{tmp_path}/one.json") as link:
        tab = visit(link).open()
        red, green, blue, nothing = "255,0,0,255", "0,255,0,255", "0,0,255,255", "0,0,0,0"

        assert tab.evaluate(_PAINTED) == [red, green, blue, blue, nothing]


_DENSE = """async () => {
  const place = document.querySelector("link[href$='plot.js']").href;
  const { drawLines } = await import(place.replace("plot.js", "raster.js"));
  const value = [0, 50, 0, 0];
  const ctx = drawLines([{ colour: "rgb(255, 0, 0)", x: [10, 10.2, 10.4, 20], low: value, high: value }], 40, 60,
    (x) => x, (value) => 59 - value).getContext("2d");
  return [5, 25, 45, 55].map((value) => ctx.getImageData(10, 59 - value, 1, 1).data[0]);
}"""


def test_of_many_lines_what_a_column_has_is_joined(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """A spike between two points of the same column is a line to it, as it is where columns have one point."""
    _log(client := _client(tmp_path / "one.json"), "run", {}, [1, 2])
    client.save()
    with served(f"file://{tmp_path}/one.json") as link:
        assert visit(link).open().evaluate(_DENSE) == [255, 255, 255, 0]


def test_each_run_begins_at_nothing_and_by_the_clock_each_seed_is_a_line(
    visit: Callable[..., Visit], tmp_path: Path
) -> None:
    """The relative step is from a run's first one on, seeds are apart by the clock, and a link has the opened row."""
    client = _client(tmp_path / "later.json")
    for seed in range(2):
        with client.new_trial(name="later", parameters={"lr": 0.1, "seed": seed}, force=True) as trial:
            for step in range(40):
                trial.log_metrics(step=1000 * (seed + 1) + step, loss=700.0 * (step + 1))
    client.save()
    with served(f"file://{tmp_path}/later.json") as link:
        there = visit(link)
        tab = there.open("x=offset&logy=1")
        assert there.coloured("loss") > 100
        assert tab.get_by_label("x axis").input_value() == "offset"
        assert tab.eval_on_selector("[data-drawn]", "(one) => Number(one.dataset.end)") == 39
        assert tab.get_by_label("band of seeds").count() == 1

        tab.get_by_label("x axis").select_option("wall")
        tab.get_by_label("band of seeds").wait_for(state="detached")
        assert there.coloured("loss") > 0
        tab.locator("button.name[aria-expanded=false]").click()
        tab.locator("tbody tr:nth-child(3)").wait_for()
        state = tab.url.partition("#")[2]

        again = visit(link)
        again.open(state).locator("tbody tr:nth-child(3)").wait_for()


def test_seeds_are_one_line_with_a_band(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """Runs that differ in their seed alone are one row with mean, spread and count; they open, and come apart."""
    client = _client(tmp_path / "seeds.json")
    for seed in range(4):
        _log(client, "seeded", {"lr": 0.1, "seed": seed}, [1 / (step + 1) + seed for step in range(50)])
    _log(client, "alone", {"lr": 0.2}, [0.5] * 50)
    client.save()

    with served(f"file://{tmp_path}/seeds.json") as link:
        there = visit(link)
        tab = there.open()

        tab.wait_for_selector("tbody tr")
        assert tab.locator("tbody tr").count() == 2
        assert "1.52 ± 1.3 (4)" in " ".join(tab.inner_text("tbody").split())
        tab.get_by_role("button", name="seeded").click()
        assert tab.locator("tbody tr").count() == 6
        # Each says which one it is, and keys go through them.
        names = " ".join(" ".join(_texts(tab, "tbody button.name")).split())
        assert all(f"seeded seed {seed}" in names for seed in range(4))
        tab.locator("tbody button.name[aria-expanded]").click()
        tab.keyboard.press("j")
        tab.keyboard.press("j")
        assert "seeded" in tab.inner_text("tbody tr.open")
        tab.keyboard.press("g")
        tab.get_by_label("seeds together").uncheck()
        assert tab.locator("tbody tr").count() == 5
        assert there.coloured("loss") > 200


def test_brush_on_a_parameter_filters_everything(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """Runs outside a range that is dragged on an axis have neither rows nor lines, until a click brings them back."""
    client = _client(tmp_path / "sweep.json")
    for number in range(10):
        _log(client, f"run{number}", {"lr": number / 10, "kind": "ab"[number % 2]}, [number, number / 2])
    client.save()

    with served(f"file://{tmp_path}/sweep.json") as link:
        there = visit(link)
        tab = there.open("tab=parameters")
        tab.wait_for_selector(".axis")
        assert tab.locator(".axis").count() == 3
        assert "ρ 1.00" in tab.inner_text(".axes")
        box = tab.locator(".axis", has_text="lr").locator(".rail").bounding_box()
        tab.mouse.move(box["x"] + 20, box["y"] + 1)
        tab.mouse.down()
        tab.mouse.move(box["x"] + 20, box["y"] + box["height"] * 0.5, steps=3)
        tab.mouse.up()

        assert tab.locator("tbody tr").count() == 5
        with tab.expect_response("**/api/chart") as asked:
            tab.get_by_role("tab", name="charts").click()
        assert len(asked.value.request.post_data_json["uids"]) == 5
        assert "brush=" in tab.url
        tab.get_by_role("button", name="brushed").click()
        assert tab.locator("tbody tr").count() == 10


def test_table_has_the_width_and_the_columns_that_are_wanted(visit: Callable[..., Visit], three: str) -> None:
    """The line between table and charts moves, and each metric shows what is chosen of it; both are in the link."""
    there = visit(three)
    tab = there.open()
    tab.wait_for_selector("tbody tr")
    before = tab.locator(".runs").bounding_box()["width"]
    line = tab.get_by_role("separator").bounding_box()

    tab.mouse.move(line["x"], 300)
    tab.mouse.down()
    tab.mouse.move(line["x"] + 200, 300, steps=3)
    tab.mouse.up()
    tab.get_by_role("button", name="max", exact=True).click()

    assert tab.locator(".runs").bounding_box()["width"] > before + 150
    assert "max" not in tab.inner_text("thead")
    assert "min" in tab.inner_text("thead")
    assert "parts=last,min" in tab.url
    assert "split=6" in tab.url


def test_hostile_names_are_texts(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """Names of runs, parameters, values, tags, metrics, projects and errors are shown, and run nothing, anywhere."""
    with served(hostile_store(tmp_path)) as link:
        look_at_hostile(visit(link).open("all=1"))


_LIVE = """
import sys
from track import TrackClient
client = TrackClient(sys.argv[1], environment="none")
client.set_project(name="digits")
with client.new_trial(name="alive", parameters={"lr": 5}) as trial:
    trial.log_metrics(step=0, loss=1.0)
    client.save()
    print("begun", flush=True)
    for line in sys.stdin:
        step = int(line)
        trial.log_metrics(step=step, loss=float(step))
        client.save()
        print("logged", flush=True)
"""


def test_points_of_a_running_program_appear(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """A run that begins while somebody looks appears, its numbers grow, and its death is seen, without a reload."""
    uri = f"file://{tmp_path}/live.json"
    _log(client := _client(tmp_path / "live.json"), "first", {"lr": 1}, [1.0, 2.0])
    client.save()

    with served(uri) as link:
        there = visit(link)
        tab = there.open()
        tab.wait_for_selector("tbody tr")
        child = start_python("-c", _LIVE, uri)
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "begun\n"
        tab.get_by_role("button", name="alive").wait_for()
        assert tab.locator(".status.running").count() == 1

        child.stdin.write("73\n")
        child.stdin.flush()
        assert child.stdout.readline() == "logged\n"
        tab.wait_for_selector("tbody td.number:text-is('73')")

        child.send_signal(signal.SIGKILL)
        ended(child)
        tab.wait_for_selector("tbody .status.failed")
        assert "broken" in _texts(tab, "tbody .status")
        tab.get_by_role("button", name="alive").click()
        assert "its process was killed" in tab.inner_text("article.run")
        assert "took" not in tab.inner_text("article.run header")


def test_step_that_is_logged_again_is_drawn_again(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """A run that goes on from an earlier step has as many points as before, and may end alike: its chart is anew."""
    client = _client(tmp_path / "report.json")
    with client.new_trial(name="again", parameters={"lr": 0.1}) as trial:
        for step in range(10):
            trial.log_metrics(step=step, loss=1.0)
        client.save()
        with served(f"file://{tmp_path}/report.json") as link:
            tab = visit(link).open()
            tab.wait_for_selector("[data-drawn='1']")

            trial.log_series("loss", [1000.0, 1.0], steps=[3, 9])

            tab.wait_for_selector("[data-done]:not([data-drawn='1'])", timeout=15_000)


def test_page_goes_on_after_a_time_without_answers(visit: Callable[..., Visit], three: str) -> None:
    """What could not be asked while there was no answer is asked again, and says so until then."""
    there = visit(three)
    tab = there.open()
    tab.wait_for_selector("tbody tr:nth-child(3)")
    there.coloured("loss")

    tab.route("**/api/**", lambda route: route.abort())
    tab.get_by_label("log x").check()
    tab.get_by_label("x axis").select_option("time")
    tab.get_by_label("filter").fill("wide")
    for place in (".chart .failure", ".wrong", ".live.failed"):
        assert "no answer" in tab.wait_for_selector(place).inner_text()
    assert tab.locator("tbody tr").count() == 3
    tab.unroute("**/api/**")

    for place in (".chart .failure", ".wrong", ".live.failed", "tbody tr:nth-child(2)"):
        tab.wait_for_selector(place, state="detached")
    assert _texts(tab, "tbody button.name span") == ["wide"]
    assert there.coloured("loss") > 0
    there.wrong = [said for said in there.wrong if "ERR_FAILED" not in said]


def test_idle_page_asks_little(visit: Callable[..., Visit], three: str) -> None:
    """While nothing happens, only the cursor is asked about, and no byte comes."""
    there = visit(three)
    tab = there.open()
    there.coloured("loss")

    with tab.expect_response("**/api/runs?since=*") as asked:
        pass

    assert asked.value.status == 204


_LOW_CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour, under) => {
    canvas.clearRect(0, 0, 1, 1);
    if (under) { canvas.fillStyle = under; canvas.fillRect(0, 0, 1, 1); }
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (c) => c.slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (of) => {
    for (const layers = []; ; of = of.parentElement) {
      const colour = getComputedStyle(of ?? document.body).backgroundColor;
      layers.push(colour);
      if (rgb(colour)[3] === 255 || !of)
        return layers.reverse().reduce((under, over) => `rgb(${rgb(over, under).slice(0, 3)})`);
    }
  };
  const found = [];
  for (const of of document.querySelectorAll("body *")) {
    const text = [...of.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!text || !of.getClientRects().length) continue;
    const [a, b] = [light(rgb(getComputedStyle(of).color)), light(rgb(ground(of)))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) found.push(`${of.className} ${of.innerText}: ${contrast.toFixed(2)}`);
  }
  return found;
}"""


def _views(tab: Any) -> Iterator[str]:
    """Show each view of the page, one after the other."""
    tab.get_by_label("choose all runs").check()
    tab.locator("tbody button.name").nth(0).click()
    tab.wait_for_selector(".run dl")
    yield "run"
    for name, part in (
        ("compare", ".compare td"),
        ("parameters", ".axis"),
        ("scatter", ".scatter"),
        ("charts", ".chart"),
    ):
        tab.get_by_role("tab", name=name).click()
        tab.wait_for_selector(part)
        yield name
    for name in ("columns", "keys"):
        tab.get_by_role("button", name=name, exact=True).click()
        tab.get_by_role("dialog", name=name).wait_for()
        yield name
        tab.keyboard.press("Escape")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes_are_legible(visit: Callable[..., Visit], three: str, theme: str) -> None:
    """The page follows the system, changes on request; texts of all views have a contrast of at least 4.5 to 1."""
    there = visit(three, color_scheme=theme)
    tab = there.open()
    there.coloured("loss")

    for view in _views(tab):
        assert (view, tab.evaluate(_LOW_CONTRASTS)) == (view, [])
    assert tab.evaluate("document.documentElement.dataset.theme") == theme
    tab.keyboard.press("d")
    assert tab.evaluate("document.documentElement.dataset.theme") != theme


def test_keyboard_does_everything(visit: Callable[..., Visit], three: str) -> None:
    """Each key of the list does what it says."""
    there = visit(three)
    tab = there.open()
    there.coloured("loss")

    def said(key: str) -> str:
        tab.keyboard.press(key)
        return str(tab.url.partition("#")[2])

    # What the keyboard does comes with the first key.
    tab.keyboard.press("j")
    tab.wait_for_function("() => location.hash.includes('open=')")
    first = str(tab.url.partition("#")[2])
    assert said("j") != first
    assert said("k") == first
    assert "sel=" in said("x")
    tab.keyboard.press("j")
    tab.keyboard.press("x")
    assert "tab=compare" in said("c")
    assert "tab=parameters" in said("p")
    assert "tab" not in said("g")
    assert "logy=1" in said("l")
    assert "smooth=0.6" in said("s")
    assert "smooth" not in said("S")
    assert "view=charts" in said("v")
    assert "view=table" in said("v")
    assert "view" not in said("v")
    assert "zoom" not in said("z")
    # What lies above the page is closed first.
    tab.keyboard.press("?")
    tab.get_by_role("dialog").wait_for()
    assert tab.evaluate("[...document.querySelectorAll('dialog dd')].every((of) => of.scrollWidth <= of.clientWidth)")
    assert "sel=" in said("Escape")
    assert tab.get_by_role("dialog").count() == 0
    tab.get_by_role("button", name="columns").click()
    tab.get_by_label("find a column").wait_for()
    tab.keyboard.press("Escape")
    assert tab.get_by_role("dialog").count() == 0
    assert "sel" not in said("Escape")
    tab.keyboard.press("?")
    tab.keyboard.press("?")
    assert tab.get_by_role("dialog").count() == 0
    tab.keyboard.press("/")
    tab.keyboard.type("wide")
    tab.wait_for_selector("tbody tr:nth-child(2)", state="detached")
    assert _texts(tab, "tbody button.name span") == ["wide"]


def test_every_control_has_a_name(visit: Callable[..., Visit], three: str) -> None:
    """A screen reader has a word for each button, box and list, in every view."""
    there = visit(three)
    tab = there.open()
    there.coloured("loss")

    for view in _views(tab):
        nameless = tab.evaluate(
            """() => [...document.querySelectorAll("button, input, select, textarea")].filter((of) =>
              !(of.getAttribute("aria-label") || of.innerText.trim() || of.labels?.length)).map((of) => of.outerHTML)"""
        )
        assert (view, nameless) == (view, [])


def test_seven_tabs_of_one_browser_work(browser: Any, three: str) -> None:
    """No tab waits for another one."""
    context = browser.new_context()
    visits = [Visit(context, three) for _ in range(7)]

    for one in visits:
        one.open()
        assert one.coloured("loss") > 200

    for one in visits:
        one.check()
    context.close()


def test_many_runs_are_all_drawn(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """Of 300 runs each has its line, and few rows are in the table at once."""
    client = _client(tmp_path / "many.json")
    for number in range(300):
        _log(client, "one", {"lr": number}, [number + random.random() for _ in range(20)])
    client.save()

    with served(f"file://{tmp_path}/many.json") as link:
        there = visit(link)
        with there.tab.expect_response("**/api/chart") as asked:
            tab = there.open()
        assert there.coloured("loss") > 5000
        assert len(asked.value.request.post_data_json["uids"]) == 300
        assert tab.locator("tbody tr").count() < 70
        assert tab.get_by_label("runs", exact=True).get_attribute("aria-rowcount") == "300"


def test_empty_store_says_so(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """A store without runs is no error, and its first run appears."""
    client = _client(tmp_path / "empty.json")
    client.save()

    with served(f"file://{tmp_path}/empty.json") as link:
        there = visit(link)
        tab = there.open()
        tab.get_by_text("This store has no runs yet").wait_for()
        _log(client, "first", {"lr": 1}, [1.0, 2.0])
        client.save()

        tab.get_by_role("button", name="first").wait_for()


def test_stranger_is_told_what_to_do(browser: Any, three: str) -> None:
    """Without the link a browser sees one sentence."""
    context = browser.new_context()
    tab = context.new_page()

    answer = tab.goto(f"{three.partition('/?')[0]}/")

    assert answer.status == 403
    assert "track ui" in tab.inner_text("body")
    context.close()


def test_connections_have_a_limit(tmp_path: Path) -> None:
    """Who opens hundreds of connections is cut off, and the page answers again when they are gone."""
    _client(tmp_path / "a.json").save()
    with served(f"file://{tmp_path}/a.json") as link:
        port = int(link.split(":")[2].split("/")[0])
        many = [socket.create_connection(("127.0.0.1", port)) for _ in range(MOST_CONNECTIONS + 20)]

        assert many[-1].recv(1) == b""
        for one in many:
            one.close()

        def answers() -> bool:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as asked:
                asked.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
                return asked.recv(12) == b"HTTP/1.1 403"

        wait_until(answers)


def test_program_says_what_is_wrong(tmp_path: Path) -> None:
    """A store that is not there is an exit code of 3, a port that is taken one of 2, each with a sentence."""
    done = python("-m", "track", "ui", f"file://{tmp_path}/nothing.json", "--no-browser")
    assert (done.returncode, "no store" in done.stderr, done.stdout) == (3, True, "")

    _client(tmp_path / "a.json").save()
    with served(f"file://{tmp_path}/a.json") as link:
        port = link.split(":")[2].split("/")[0]
        done = python("-m", "track", "ui", f"file://{tmp_path}/a.json", "--no-browser", "--port", port)
    assert (done.returncode, done.stderr.startswith(f"track ui: port {port}: ")) == (2, True)


def test_page_that_runs_already_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second start says the link of the first; with other rights, or once that is gone, it is another page."""
    _client(tmp_path / "a.json").save()
    monkeypatch.chdir(tmp_path)
    with served("file://a.json") as link:
        done = python("-m", "track", "ui", f"file://{tmp_path}/a.json", "--no-browser")
        assert (done.returncode, done.stdout) == (0, f"track ui: {link}\n")
        with served("file://a.json", "--write") as other:
            assert other != link
    with served("file://a.json") as later:
        assert later != link


def test_interrupt_ends_the_program_well(tmp_path: Path) -> None:
    """Ctrl-C is how it is ended: no traceback."""
    _client(tmp_path / "a.json").save()
    program = start_python("-m", "track", "ui", f"file://{tmp_path}/a.json", "--no-browser", stderr=subprocess.PIPE)
    assert program.stdout is not None
    assert program.stdout.readline().startswith("track ui: http://127.0.0.1:")

    program.send_signal(signal.SIGINT)

    done = ended(program)
    assert (done.returncode, done.stderr) == (0, "")


def test_latest_of_very_many_runs_are_seen_first(tmp_path: Path, visit: Callable[..., Visit]) -> None:
    """The others, and the charts, follow by themselves."""
    client = _client(tmp_path / "report.json")
    for number in range(2100):
        _log(client, f"run{number}", {"number": number}, [1.0, 1 / (number + 1)] if number > 2090 else [])
    client.save()
    with served(f"file://{tmp_path}/report.json") as link:
        page = visit(link)
        page.open()
        page.tab.locator("tbody tr").first.wait_for()

        page.tab.locator(".controls b", has_text="2100 runs").wait_for()
        page.tab.locator("[data-drawn]").first.wait_for()
        assert page.tab.locator(".controls [role=status]").count() == 0


def test_media_are_seen_by_step_and_side_by_side(tmp_path: Path, visit: Callable[..., Visit]) -> None:
    """A slider goes through the steps of a name; over chosen runs they are side by side; a page runs nothing."""
    client = _client(tmp_path / "report.json")
    for name in ("one", "other"):
        with client.new_trial(name=name, parameters={"name": name}, force=True) as trial:
            for step in range(4):
                trial.log_image("sample", [[step * 60, 255] * 8] * 16, step=step, caption=f"<b>epoch {step}</b>")
                trial.log_histogram("weights", [float(number * step) for number in range(100)], step=step)
            trial.log_text("note", "<img src=x onerror=console.error(1)>")
            trial.log_html("page", "<b>bold</b>")
            trial.log_figure("curve", Figure({"type": "scatter", "y": [1, 3, 2]}))
            trial.log_image(
                "drawing", b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9' onload='alert(1)'/>"
            )
    client.save()
    with served(f"file://{tmp_path}/report.json") as link:
        page = visit(link)
        tab = page.open()
        tab.locator("tbody button", has_text="other").first.click()
        image = tab.locator("section[aria-label='media sample'] img")
        image.first.wait_for()
        last = image.first.get_attribute("src")
        tab.get_by_label("step of sample").fill("1")
        tab.get_by_text("<b>epoch 1</b>").wait_for()
        assert image.first.get_attribute("src") != last
        for name in ("sample", "drawing", "curve"):
            tab.get_by_label(f"media {name}", exact=True).scroll_into_view_if_needed()
            tab.locator(f"section[aria-label='media {name}'] img").evaluate("(one) => one.decode()")
        tab.get_by_label("media page", exact=True).scroll_into_view_if_needed()
        tab.frame_locator("iframe").locator("b").wait_for()
        with tab.expect_download() as whole:
            tab.locator("section[aria-label='media curve'] a").click()
        assert '"scatter"' in Path(whole.value.path()).read_text(encoding="utf-8")

        tab.get_by_label("choose all runs").check()
        tab.locator("[role=tab]", has_text="compare").click()
        tab.locator(".compare section[aria-label='media sample'] img").nth(1).wait_for()
        tab.locator(".compare .heat canvas").nth(1).wait_for()
        page.check()
