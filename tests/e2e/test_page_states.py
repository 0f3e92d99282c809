"""What the page says where there is nothing, too much, nothing yet, or no answer: what it is, and what to do next."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.children import ended, start_python
from tests.e2e.browsing import Visit, served
from track import TrackClient

pytestmark = pytest.mark.slow


def _client(path: Path) -> TrackClient:
    client = TrackClient(f"file://{path}", environment="none")
    client.set_project(name="digits")
    return client


def _store_run(path: Path, name: str) -> None:
    client = _client(path)
    with client.new_trial(name=name, parameters={"lr": 0.1}) as trial:
        for step in range(5):
            trial.log_metrics(step=step, loss=step)
    client.save()


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The link to two runs with neither metrics nor parameters."""
    path = tmp_path_factory.mktemp("bare") / "report.json"
    client = _client(path)
    for name in ("one", "two"):
        with client.new_trial(name=name, force=True):
            pass
    client.save()
    with served(f"file://{path}") as link:
        yield link


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("", "These runs have no metrics yet: trial.log_metrics"),
        ("tab=parameters", "These runs do not differ in a parameter"),
        ("tab=scatter", "there is nothing to lay them out by"),
        ("tab=run", "Click the name of a run"),
        ("tab=run&open=abc_0", "This store has no run abc_0: it was removed, or the link is of another store."),
        ("tab=compare", "Choose two runs or more in the table"),
        ("base=abc_0", "the baseline is not in this store ×"),
        ("sel=abc_0,def_0", "2 chosen before: not in this store ×"),
    ],
)
def test_where_nothing_is_shown_a_sentence_says_why(
    visit: Callable[..., Visit], bare: str, state: str, says: str
) -> None:
    """Runs without metrics or parameters, and what a link names that is gone, are said, beside the runs."""
    tab = visit(bare).open(state)

    tab.get_by_text(says).wait_for()
    assert tab.locator("tbody tr").count() == 2


def test_who_finds_no_run_is_led_back(visit: Callable[..., Visit], bare: str) -> None:
    """What leaves no run is named, and a button takes it away; two chosen runs that are hidden are not compared."""
    tab = visit(bare).open()
    tab.get_by_label("choose all runs").check()
    tab.get_by_role("tab", name="compare 2").click()
    tab.get_by_label("filter").fill("nobody")
    tab.get_by_text("There are 2, of which none is meant by “nobody”.").wait_for()
    tab.get_by_text("Choose two runs or more").wait_for()

    tab.evaluate("location.hash = 'project=none&q=nobody'")
    tab.get_by_text("none is of the project none and is meant by “nobody”").wait_for()
    tab.get_by_role("button", name="show all runs").click()

    tab.locator("tbody tr").nth(1).wait_for()


def test_store_with_a_project_and_no_run_says_how_one_begins(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """What a program would write is there, and nothing to choose how charts are drawn that are not there."""
    client = _client(tmp_path / "report.json")
    client.save()
    with served(f"file://{tmp_path}/report.json") as link:
        tab = visit(link).open()

        tab.get_by_text("This store has no runs yet").wait_for()
        assert "new_trial(" in tab.inner_text(".empty pre")
        assert tab.get_by_label("smoothing").count() == 0


# Answers come once they are let through, by what is asked for.
_SLOW = """
  const [real, waiting, free] = [window.fetch, [], new Set()];
  window.answer = (name) => { free.add(name); waiting.splice(0).forEach((go) => go()); };
  window.fetch = async (path, ...rest) => {
    while (!free.has(/^api.(\\w+)/.exec(path)?.[1])) await new Promise((go) => waiting.push(go));
    return real(path, ...rest);
  };
"""


def test_what_is_on_its_way_is_said(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """While a slow store is read, the page, a chart and a run each say so, until they are there."""
    _store_run(tmp_path / "report.json", "slow")
    with served(f"file://{tmp_path}/report.json") as link:
        there = visit(link)
        tab = there.tab
        tab.add_init_script(_SLOW)
        there.open()
        for says, name in (("Reading the store …", "runs"), ("reading …", "chart"), ("Reading the run …", "run")):
            tab.get_by_text(says).wait_for()
            tab.evaluate("(name) => window.answer(name)", name)
            tab.get_by_text(says).wait_for(state="detached")
            if name == "chart":
                assert there.coloured("loss") > 0
                tab.get_by_role("button", name="slow").click()
        tab.wait_for_selector(".run dl")


@pytest.mark.parametrize(
    ("status", "says"),
    [(502, "the store does not answer: no route to db.example.com"), (500, "the program's output says more")],
)
def test_what_the_server_says_is_shown(visit: Callable[..., Visit], bare: str, status: int, says: str) -> None:
    """Its own words, at the start and later; what was there stays, and the words go once it answers again."""
    there = visit(bare)
    tab = there.tab
    tab.route("**/api/**", lambda route: route.fulfill(status=status, body=says))
    there.open()
    assert says in tab.get_by_role("alert").inner_text()
    assert "again every few seconds" in tab.get_by_role("alert").inner_text()
    tab.unroute_all()
    _look(tab)
    tab.locator("tbody tr").nth(1).wait_for()

    tab.route("**/api/**", lambda route: route.fulfill(status=status, body=says))
    _look(tab)
    assert says in tab.wait_for_selector(".live.failed").inner_text()
    assert tab.locator("tbody tr").count() == 2
    tab.unroute_all()
    _look(tab)
    tab.wait_for_selector(".live.failed", state="detached")
    there.wrong = [said for said in there.wrong if f"status of {status}" not in said]


def test_what_a_chart_could_not_read_is_said_until_it_is_read(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """The words of a store that was away go with the next answer, also where nothing changes any more."""
    _store_run(tmp_path / "report.json", "done")
    with served(f"file://{tmp_path}/report.json") as link:
        there = visit(link)
        tab = there.open()
        tab.wait_for_selector("[data-done]")
        tab.route("**/api/chart", lambda route: route.fulfill(status=502, body="the store is away"))
        tab.get_by_label("smoothing").fill("0.5")
        tab.get_by_text("the store is away").wait_for()
        tab.unroute_all()

        tab.get_by_text("the store is away").wait_for(state="detached", timeout=10_000)
        there.wrong = [said for said in there.wrong if "status of 502" not in said]


def test_page_goes_on_with_a_program_that_was_started_again(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """It asks whether the program runs; then says which link lets it in again; and goes on by itself once it is in."""
    client = _client(tmp_path / "report.json")
    with client.new_trial(name="first", parameters={}, force=True):
        pass
    client.save()
    arguments = ("-m", "track", "ui", f"file://{tmp_path}/report.json", "--no-browser", "--port")
    with contextlib.ExitStack() as closing:
        program = start_python(*arguments, "0")
        link = program.stdout.readline().split()[-1]
        port = link.split(":")[2].split("/")[0]
        there = visit(link)
        tab = there.open()
        tab.locator("tbody tr").wait_for()
        program.send_signal(signal.SIGINT)
        ended(program)
        _look(tab)
        tab.get_by_text("no answer: does `track ui` still run?").wait_for()

        program = start_python(*arguments, port)
        closing.callback(ended, program)
        closing.callback(program.send_signal, signal.SIGINT)
        again = program.stdout.readline().split()[-1]
        _look(tab)
        tab.get_by_text("open the link that `track ui` has printed").wait_for()
        assert tab.locator("tbody tr").count() == 1
        other = tab.context.new_page()
        other.goto(again)
        _look(tab)
        tab.wait_for_selector(".live.failed", state="detached")
        tab.goto("about:blank")
    there.wrong = [said for said in there.wrong if "ERR_CONNECTION" not in said and "403" not in said]


@pytest.mark.parametrize("scheme", ["file", "sqlite"])
def test_store_that_is_removed_while_it_is_looked_at(visit: Callable[..., Visit], tmp_path: Path, scheme: str) -> None:
    """That it is gone is said, what was read before stays, charts and pages too; it goes on once the store is back."""
    client = TrackClient(f"{scheme}://{tmp_path}/runs", environment="none")
    with client.new_trial(name="kept", parameters={"lr": 1}, force=True) as trial:
        for step in range(9):
            trial.log_metrics(step=step, loss=1 / (step + 1))
    client.protocol.flush()
    client.save()
    with served(f"{scheme}://{tmp_path}/runs") as link:
        there = visit(link)
        tab = there.open()
        tab.locator("tbody button.name").click()
        tab.wait_for_selector(".run dl")
        away = tmp_path / "away"
        away.mkdir()
        for path in list(tmp_path.glob("runs*")):
            path.rename(away / path.name)
        _look(tab)

        tab.get_by_text(f"{tmp_path}/runs is gone: it was moved or removed").wait_for()
        assert tab.locator("tbody button.name").count() == 1
        assert "0.1111" in tab.inner_text(".run")
        tab.get_by_role("tab", name="charts of 1 run").click()

        for path in list(away.iterdir()):
            path.rename(tmp_path / path.name)
        again = TrackClient(f"{scheme}://{tmp_path}/runs", environment="none")
        with again.new_trial(name="next", parameters={"lr": 2}, force=True):
            pass
        again.protocol.flush()
        again.save()
        _look(tab)
        tab.locator("tbody button.name").nth(1).wait_for()
        tab.wait_for_selector(".live.failed", state="detached")
        tab.wait_for_selector("figure[aria-label='chart of loss'] [data-done] canvas")
        tab.goto("about:blank")
        there.wrong = [said for said in there.wrong if "502" not in said]


def test_damaged_line_of_a_store_hides_nothing_else(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """The rest of it is shown; a store that cannot be read at all is said, with what to do."""
    path = tmp_path / "report.json"
    client = _client(path)
    with client.new_trial(name="kept", parameters={}, force=True) as trial:
        trial.log_metrics(loss=0.5)
        with path.with_name("report.json.journal").open("ab") as journal:
            journal.write(b'{"event":"gar\xff\n')
        trial.log_metrics(loss=0.25)
        with served(f"file://{path}") as link:
            tab = visit(link).open()
            tab.wait_for_selector("tbody td.number:text-is('0.25')")
            tab.goto("about:blank")
    client.save()
    path.write_bytes(path.read_bytes().replace(b'"trials"', b'"tri\x00'))
    with served(f"file://{path}") as link:
        there = visit(link)
        tab = there.open()
        assert "move it away, or give the store another name" in tab.get_by_role("alert").inner_text()
        tab.goto("about:blank")
        there.wrong = [said for said in there.wrong if "502" not in said]


_BEYOND = """() => [...document.querySelectorAll(".top *, .controls *, .tabs, h2, dd, dt, .failure, dialog, .chart")]
  .filter((one) => one.checkVisibility() && !one.closest(".tabs button, canvas"))
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1 || one.getBoundingClientRect().left < -1)
  .map((one) => one.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def huge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The link to a run of which everything is too much."""
    path = tmp_path_factory.mktemp("huge") / "report.json"
    client = _client(path)
    deep: Any = 1
    for level in range(50):
        deep = {f"level{level}": deep}
    long = "n" * 300
    for name in (long, "other"):
        with client.new_trial(name=name, parameters={long: name, "deep": deep}, force=True) as trial:
            trial.add_tags(**{"t" * 300: "v" * 300})
            trial.log_metadata(stdout="\n".join(f"line {number}" for number in range(10_000)))
            trial.log_metrics(**{f"metric{number:04}": number for number in range(1000)}, **{long: 1})
            if name == "other":
                for step in range(1000):
                    trial.log_image("sample", [[step % 256, 255]] * 2, step=step)
    client.save()
    with served(f"file://{path}") as link:
        yield link


@pytest.mark.parametrize(("width", "theme"), [(1300, "light"), (390, "dark")])
def test_however_much_there_is_all_of_it_has_its_place(
    visit: Callable[..., Visit], huge: str, width: int, theme: str
) -> None:
    """Long names, thousands of metrics, lines and images: nothing is out of the window, nor of a phone's."""
    there = visit(huge, color_scheme=theme)
    tab = there.tab
    tab.set_viewport_size({"width": width, "height": 850})
    there.open()
    tab.wait_for_selector("[data-done]")
    assert tab.evaluate(_BEYOND) == []
    tab.get_by_role("button", name="columns", exact=True).click()
    tab.wait_for_selector("dialog.chooser")
    assert tab.evaluate(_BEYOND) == []
    tab.keyboard.press("Escape")
    for name in ("nnn", "other"):
        tab.locator("tbody button.name", has_text=name).click()
        tab.wait_for_selector(".run pre")

        assert tab.evaluate(_BEYOND) == []
        assert "line 9999" in tab.inner_text(".run pre")
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert tab.locator("h2").bounding_box()["height"] < 90
    assert tab.get_by_label("step of sample").get_attribute("max") == "999"
    assert len([url for url in there.asked if "api/file?" in url]) < 20


def _look(tab: Any) -> None:
    """Be somebody who comes back to the tab: it asks at once."""
    tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
