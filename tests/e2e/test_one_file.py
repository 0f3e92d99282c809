"""The exported file in a real browser, from the disk, and in the frame of a notebook: nothing may go wrong in it."""

from __future__ import annotations

import base64
import math
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.browsing import COLOURED, Visit, chromium, hostile_store, look_at_hostile, require_chromium, visiting
from track import TrackClient, fetch, show
from track.cli import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser for all tests here."""
    require_chromium()
    with chromium() as started:
        yield started


class FileVisit(Visit):
    """A tab of a file on the disk, which may ask for that file alone."""

    def check(self) -> None:
        """Fail where something went wrong, or anything but the file was asked for."""
        foreign = [url for url in self.asked if not url.startswith((self.link, "blob:", "data:", "about:srcdoc"))]
        if self.wrong or foreign:
            pytest.fail(f"went wrong: {self.wrong}; asked elsewhere: {foreign}", pytrace=False)


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., FileVisit]]:
    """Open files; at the end, fail where something went wrong in one."""
    with visiting(browser, FileVisit) as open_link:
        yield lambda path, **options: open_link(path.as_uri(), **options)


def _log(client: TrackClient, name: str, parameters: dict[str, Any], values: list[float], error: str = "") -> None:
    try:
        with client.new_trial(name=name, parameters=parameters, force=True) as trial:
            trial.log_series("loss", values)
            if error:
                raise RuntimeError(error)
    except RuntimeError:
        pass


@pytest.fixture(scope="module")
def client() -> TrackClient:
    """Three runs, of which one failed, and one is long and has a spike."""
    client = TrackClient("ephemeral:")
    client.set_project(name="digits")
    _log(client, "baseline", {"lr": 0.1, "depth": 3}, [1 / (step + 1) for step in range(200)])
    long = [1.0] * 300_000
    long[123_456] = 1000.0
    _log(client, "long", {"lr": 0.2, "depth": 3}, long)
    _log(client, "broken", {"lr": 9.0, "depth": 3}, [3.0, math.nan, math.inf, -math.inf, 4.0], "CUDA out of memory")
    return client


@pytest.fixture(scope="module")
def three(client: TrackClient, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of these."""
    path = tmp_path_factory.mktemp("three") / "a report #1.html"
    show(client).save(path)
    return path


_GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAUwAOw==")
_HEAD = "<!doctype html><meta charset=utf-8><title>a notebook</title>"


def _texts(tab: Any, selector: str) -> list[str]:
    return [text.strip() for text in tab.locator(selector).all_inner_texts()]


def test_file_shows_table_and_charts_in_both_themes(visit: Callable[..., FileVisit], three: Path) -> None:
    """Rows with what differs, statuses and errors; charts with lines and marks; when that was and what was thinned."""
    for theme in ("light", "dark"):
        there = visit(three, color_scheme=theme)

        tab = there.open()

        tab.wait_for_selector("tbody tr:nth-child(3)")
        assert sorted(_texts(tab, "tbody button.name span")) == ["baseline", "broken", "long"]
        assert "RuntimeError: CUDA out of memory" in tab.inner_text("tbody .why")
        assert "depth" not in tab.inner_text("thead")
        assert there.coloured("loss") > 500
        assert "3 not finite" in tab.inner_text("figure .note")
        assert "as of 20" in tab.inner_text(".still")
        assert "long curves in 20,000 pieces" in tab.inner_text(".still")
        assert tab.evaluate("document.documentElement.dataset.theme") == theme
        light = sum(map(int, tab.evaluate("getComputedStyle(document.body).backgroundColor").strip("rgb()").split(",")))
        assert (light > 600) == (theme == "light")
        assert there.asked == [three.as_uri()]


def test_media_are_in_the_file(visit: Callable[..., FileVisit], tmp_path: Path) -> None:
    """Pictures by step, drawings that run nothing, histograms, tables, texts, short sounds; the rest is named."""
    with TrackClient(f"file://{tmp_path}/runs.json").new_trial(name="seen", parameters={}) as trial:
        for step in range(3):
            trial.log_image("sample", [[step * 60, 255] * 8] * 16, step=step)
            trial.log_histogram("weights", [float(number * step) for number in range(100)], step=step)
        trial.log_image("drawing", b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9' onload='alert(1)'/>")
        trial.log_table("table", [{"truth": "<b>cat", "guess": "dog"}])
        trial.log_text("note", "<img src=x onerror=console.error(1)>")
        trial.log_html("page", "<b>bold</b>")
        trial.log_audio("voice", [math.sin(place / 5) for place in range(800)], rate=8000)
        trial.log_audio("long voice", [0.0] * 700_000, rate=8000)
        trial.log_video("moving", _GIF)
    show(fetch(f"file://{tmp_path}/runs.json")).save(tmp_path / "report.html")
    tab = visit(tmp_path / "report.html").open()
    tab.locator("tbody button", has_text="seen").first.click()

    image = tab.locator("section[aria-label='media sample'] img")
    image.evaluate("(one) => one.decode()")
    last = image.get_attribute("src")
    tab.get_by_label("step of sample").fill("0")
    tab.get_by_text("step 0").wait_for()
    assert image.get_attribute("src") != last
    tab.locator("section[aria-label='media drawing'] img").evaluate("(one) => one.decode()")
    tab.locator(".heat canvas").wait_for()
    assert _texts(tab, "section[aria-label='media table'] td") == ["<b>cat", "dog"]
    assert _texts(tab, "section[aria-label='media note'] pre") == ["<img src=x onerror=console.error(1)>"]
    sound = tab.locator("section[aria-label='media voice'] audio")
    tab.wait_for_function("document.querySelector('audio').readyState > 0")
    assert sound.evaluate("(one) => one.duration") == pytest.approx(0.1)
    tab.locator("section[aria-label='media moving'] img").evaluate("(one) => one.decode()")
    assert tab.frame_locator("iframe[title=page]").locator("b").inner_text() == "bold"
    said = tab.inner_text("section[aria-label='media long voice']")
    assert "not in this file: track artifacts download brings it" in said


_REACHING = """
<title>t</title><style>@import url({to}/1); @font-face {{ font-family: f; src: url({to}/2) }}
p {{ color: rgb(1, 2, 3); background: url({to}/3); font-family: f }}</style>
<p id=shown style="width: 77px">shown</p><img src={to}/4><img src=x onerror="parent.document.title='5'">
<script>fetch("{to}/6"); top.location = "{to}/7"; document.getElementById("shown").textContent = "run"</script>
<LINK rel=preconnect href={to}><link/rel=dns-prefetch href={to}>
<link rel=prefetch href={to}/8><link rel=icon href={to}/9>
<link rel=stylesheet href={to}/10><meta http-equiv=refresh content="0;url={to}/11"><base href={to}/12/>
<iframe src={to}/13></iframe><iframe srcdoc="&lt;link rel=preconnect href={to}&gt;&lt;img src={to}/14&gt;"></iframe>
<object data={to}/15></object><embed src={to}/16>
<video src={to}/17 poster={to}/18 autoplay></video><audio src={to}/19></audio>
<svg><image href={to}/20 /><use href={to}/21#a />
<script href={to}/22></script><a href="{to}/23"><text y=20>svg</text></a></svg>
<form action={to}/24><button>send</button></form><a href={to}/25 ping={to}/26><b>plain</b></a>
<a href={to}/32 target=_self><b>self</b></a> <a href={to}/27 target=_top><b>top</b></a>
<a href={to}/28 target=_blank><b>new</b></a> <a href="javascript:parent.document.title='29'"><b>js</b></a>
<a href="data:text/html,<img src={to}/30>"><b>data</b></a>
<a href={to}/31 download><b>file</b></a> <a href="report.html"><b>same</b></a>
"""


@pytest.fixture
def deaf() -> Iterator[socket.socket]:
    """A place that nobody may connect to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_page_that_was_logged_reaches_nobody(browser: Any, tmp_path: Path, deaf: socket.socket) -> None:
    """In the file it keeps its styles; no script of it runs, nothing is connected to, and no click leads away."""
    with TrackClient(f"file://{tmp_path}/runs.json").new_trial(name="seen", parameters={}) as trial:
        trial.log_html("page", _REACHING.format(to=_link_of(deaf)))
    show(fetch(f"file://{tmp_path}/runs.json")).save(tmp_path / "report.html")
    context = browser.new_context()
    visit = FileVisit(context, (tmp_path / "report.html").as_uri())
    tab = visit.open()
    title = tab.title()
    tab.locator("tbody button", has_text="seen").first.click()
    frame = tab.frame_locator("iframe[title=page]")
    shown = frame.locator("#shown")
    style = shown.evaluate("(one) => getComputedStyle(one).color + getComputedStyle(one).width")

    for words in ("send", "plain", "self", "top", "new", "js", "data", "file", "same", "svg"):
        frame.get_by_text(words, exact=True).click(no_wait_after=True)
        assert shown.inner_text() == "shown"

    assert style == "rgb(1, 2, 3)77px"
    assert tab.locator("iframe[title=page]").get_attribute("sandbox") == ""
    assert [one.url for one in tab.frames] == [tab.url, "about:srcdoc"]
    assert (tab.title(), len(context.pages)) == (title, 1)
    # A connection that is meant comes, and by then those that are not would have.
    with socket.create_server(("127.0.0.1", 0)) as control:
        context.new_page().evaluate(f"new Image().src = '{_link_of(control)}'")
        control.settimeout(20)
        control.accept()[0].close()
    deaf.setblocking(False)
    with pytest.raises(BlockingIOError):
        deaf.accept()
    context.close()


def _link_of(server: socket.socket) -> str:
    return f"http://127.0.0.1:{server.getsockname()[1]}"


def test_spike_is_drawn_and_dragging_zooms(visit: Callable[..., FileVisit], three: Path) -> None:
    """A range that is dragged is drawn from more pieces, is in the link, and the back button leaves it."""
    there = visit(three)
    tab = there.open()
    tab.get_by_label("choose long").check()
    there.coloured("loss")
    density = tab.inner_text("figure .note")
    box = tab.locator("figure .u-over").bounding_box()
    middle = box["y"] + box["height"] / 2
    place = box["x"] + box["width"] * 123_456 / 300_000

    tab.mouse.move(place - 25, middle)
    tab.mouse.down()
    tab.mouse.move(place + 25, middle, steps=4)
    tab.mouse.up()

    tab.wait_for_function("location.hash.includes('zoom')")
    tab.wait_for_function(f"document.querySelector('figure .note').textContent !== {density!r}")
    there.coloured("loss")
    rows = tab.eval_on_selector(
        "figure canvas",
        """(canvas) => {
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          const rows = new Set();
          for (let i = 0; i < data.length; i += 4)
            if (data[i + 3] > 60 && Math.max(...data.slice(i, i + 3)) - Math.min(...data.slice(i, i + 3)) > 40)
              rows.add(Math.floor(i / 4 / canvas.width));
          return rows.size;
        }""",
    )
    assert rows > 100
    tab.go_back()
    tab.wait_for_function("!location.hash.includes('zoom')")


def test_view_of_a_file_is_a_link(visit: Callable[..., FileVisit], three: Path) -> None:
    """Axis, smoothing, choice and filter are in the address, and come back with it."""
    there = visit(three)
    tab = there.open()
    tab.get_by_label("choose baseline").check()
    tab.get_by_label("x axis").select_option("wall")
    tab.get_by_label("smoothing").fill("0.5")
    tab.get_by_label("filter").fill("lr<1")
    tab.wait_for_selector("tbody tr:nth-child(3)", state="detached")
    there.coloured("loss")

    again = visit(three)
    tab = again.open(tab.url.partition("#")[2])

    tab.wait_for_selector("tbody tr:nth-child(2)")
    tab.wait_for_selector("tbody tr:nth-child(3)", state="detached")
    assert tab.get_by_label("choose baseline").is_checked()
    assert tab.get_by_label("x axis").input_value() == "wall"
    assert tab.get_by_label("smoothing").input_value() == "0.5"
    assert again.coloured("loss") > 0


def test_runs_page_comparison_and_parameters_are_in_the_file(visit: Callable[..., FileVisit], three: Path) -> None:
    """All that the page has is there without its program; a mistake in a filter is said."""
    there = visit(three)
    tab = there.open()

    tab.get_by_role("button", name="broken").click()
    tab.wait_for_selector(".run pre.error")
    assert "RuntimeError: CUDA out of memory" in tab.inner_text(".run pre.error")
    assert "python" in tab.inner_text(".run")
    assert "packages (" in tab.inner_text(".run").lower()
    tab.get_by_label("choose all runs").check()
    tab.get_by_role("tab", name="compare 3").click()
    tab.wait_for_selector(".compare tbody tr")
    assert "lr" in _texts(tab, ".compare tbody th")
    tab.get_by_role("tab", name="parameters").click()
    tab.wait_for_selector(".axis")
    tab.get_by_label("filter").fill("lr<")
    assert "compares with nothing" in tab.get_by_role("alert").inner_text()


def test_hostile_names_are_texts_in_a_file(visit: Callable[..., FileVisit], tmp_path: Path) -> None:
    """Names of everything are shown, and run nothing, from the file as from the program."""
    out = tmp_path / "hostile.html"
    assert main(["export", hostile_store(tmp_path), "--html", str(out)]) == 0

    look_at_hostile(visit(out).open("all=1"))


def test_file_of_no_runs_says_so(visit: Callable[..., FileVisit], tmp_path: Path) -> None:
    """An empty page is a page."""
    show([]).save(tmp_path / "empty.html")
    there = visit(tmp_path / "empty.html")

    tab = there.open()

    tab.get_by_text("This store has no runs yet.").wait_for()


def test_run_that_was_running_lasted_as_long_as_it_had_then(visit: Callable[..., FileVisit], tmp_path: Path) -> None:
    """Who opens the file a year later sees how long it had run, not that it runs for a year."""
    client = TrackClient("ephemeral:", environment="none")
    with client.new_trial(name="alive", parameters={}) as trial:
        trial.log_metrics(step=1, loss=1.0)
        show(client).save(tmp_path / "alive.html")
    there = visit(tmp_path / "alive.html")
    there.tab.add_init_script("const then = Date.now; Date.now = () => then() + 3.2e10;")

    tab = there.open()

    assert _texts(tab, "tbody .status") == ["running"]
    started, took = _texts(tab, "tbody td.time")
    assert started == "370 d ago"
    assert " d" not in took
    assert took


def test_frame_of_a_notebook_draws(visit: Callable[..., FileVisit], client: TrackClient, tmp_path: Path) -> None:
    """Without an origin, an address and a history of its own the page works as it does elsewhere."""
    cell = tmp_path / "notebook.html"
    cell.write_text(f"{_HEAD}{show(client)._repr_html_()}", encoding="utf-8")
    there = visit(cell)
    there.tab.goto(cell.as_uri())
    frame = there.tab.frame_locator("iframe")

    frame.locator("figure [data-done] canvas").wait_for()
    frame.get_by_label("choose baseline").check()
    frame.get_by_label("log y").check()
    frame.get_by_role("button", name="broken").click()
    frame.locator(".run pre.error").wait_for()
    frame.get_by_role("tab", name="charts").click()
    frame.locator("figure [data-done] canvas").wait_for()

    assert frame.locator("figure canvas").evaluate(COLOURED) > 500
    assert there.tab.url == cell.as_uri()
    assert frame.locator("body").evaluate("window.origin") == "null"


def test_frame_of_a_notebook_works_where_the_notebook_is_strict(
    visit: Callable[..., FileVisit], client: TrackClient, tmp_path: Path
) -> None:
    """A frame has the policy of what it is in, beside its own: such as one for scripts of the document alone."""
    policy = (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; frame-src *"
    )
    cell = tmp_path / "strict.html"
    said = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    cell.write_text(f"{_HEAD}{said}{show(client)._repr_html_()}", encoding="utf-8")
    there = visit(cell)
    there.tab.goto(cell.as_uri())

    there.tab.frame_locator("iframe").locator("figure [data-done] canvas").wait_for()
