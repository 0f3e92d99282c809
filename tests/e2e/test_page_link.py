"""The link of the page: who is sent it sees the same, and what a link says wrong breaks nothing."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any
from urllib.parse import quote

import pytest

from tests.e2e.browsing import PNG, Visit, served
from track import TrackClient

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The link to runs of two projects that have all that can be seen."""
    folder = tmp_path_factory.mktemp("link")
    (folder / "data").mkdir()
    (folder / "data/notes, 100 %.txt").write_text("of a folder")
    client = TrackClient(f"file://{folder}/report.json", environment="packages")
    for number in range(50):
        client.set_project(name="other" if number < 2 else "digits", force=True)
        parameters = {"lr": number / 10, "depth": number % 3, **{f"p{place}": number for place in range(20)}}
        with client.new_trial(name=f"run{number}", parameters=parameters, force=True) as trial:
            trial.log_metrics(step=0, loss=number)
            trial.log_metrics(step=1, loss=number / 2)
    for seed in range(3):
        with client.new_trial(name="seeded", parameters={"lr": 7, "seed": seed}, force=True) as trial:
            for step in range(40):
                trial.log_metrics(step=step + 1, **{"loss": seed + 1 / (step + 1), "a~b,%": step, "system/cpu": step})
    for name in ("rich", "richer"):
        with client.new_trial(name=name, parameters={"name": name, "kind": "fixed"}, force=True) as trial:
            for step in range(4):
                trial.log_image("sample~1", [[step * 60, 255] * 8] * 16, step=10 * step, caption=f"epoch {step}")
            trial.log_artifact(base64.b64decode(PNG), "a, b~2.png")
            trial.log_directory(folder / "data", artifact="data")
            trial.log_metrics(loss=3)
    client.save()
    with served(f"file://{folder}/report.json") as link:
        yield link


# All that is on the screen: texts, controls, what is folded, pictures, drawings, and how far it is scrolled.
_SEEN = """() => {
  const all = (selector, of) => [...document.querySelectorAll(selector)].filter((one) => one.checkVisibility()).map(of);
  return {
    text: document.body.innerText.replace(/\\d+ (s|min|h) ago|now/g, "then"),
    fields: all("input, select", (one) => [one.ariaLabel, one.type === "checkbox" ? one.checked : one.value]),
    pressed: all("[aria-pressed], [aria-expanded], [aria-selected], [aria-sort]",
      (one) => [one.innerText, one.ariaPressed, one.ariaExpanded, one.ariaSelected, one.ariaSort]),
    folded: all("details", (one) => [one.className, one.open]),
    pictures: all("img", (one) => one.src),
    brushes: all(".brush", (one) => one.getBoundingClientRect().y),
    drawn: all("canvas", (one) => one.toDataURL().length),
    scrolled: all(".list, .side", (one) => [Math.round(one.scrollTop / 34), Math.round(one.scrollLeft)]),
    theme: document.documentElement.dataset.theme,
    width: all(".runs", (one) => one.clientWidth),
  };
}"""


def _drag(tab: Any, selector: str, across: float, down: float) -> None:
    """Drag from the middle of something."""
    box = tab.locator(selector).first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + across, y + down, steps=3)
    tab.mouse.up()


def _table(tab: Any) -> None:
    """Filter, sort, pin and leave out columns, show others, widen, unfold seeds."""
    tab.get_by_label("filter").fill("lr>4")
    tab.get_by_text("12 of 55 runs").wait_for()
    tab.get_by_role("button", name="min", exact=True).click()
    tab.get_by_role("button", name="columns", exact=True).click()
    tab.get_by_role("checkbox", name="p3", exact=True).uncheck()
    tab.get_by_role("checkbox", name="seed", exact=True).check()
    tab.get_by_label("keep depth in sight").click()
    tab.keyboard.press("Escape")
    tab.locator("button.name[aria-expanded=false]").click()
    tab.locator("thead button", has_text="lr").click()
    _drag(tab, ".split", 150, 0)


def _baseline(tab: Any) -> None:
    """Make a run the baseline, in its project, with seeds apart and columns in which runs are alike."""
    tab.get_by_label("project").select_option("digits")
    tab.get_by_label("seeds together").uncheck()
    tab.get_by_label("also equal columns").check()
    tab.get_by_role("button", name="richer").click()
    tab.get_by_role("button", name="make it the baseline").click()


def _charts(tab: Any) -> None:
    """Choose axes, smoothing and band, unfold what the machine did, and drag a range."""
    tab.get_by_label("choose seeded").check()
    tab.get_by_label("x axis").select_option("time")
    tab.get_by_label("x axis").select_option("metric:a~b,%")
    for name in ("log x", "log y"):
        tab.get_by_label(name).check()
    tab.get_by_label("smoothing").fill("0.5")
    tab.get_by_label("band of seeds").select_option("ci")
    tab.locator("details.system summary").click()
    tab.locator("figure[aria-label='chart of system/cpu'] [data-done]").wait_for()
    _drag(tab, "figure[aria-label='chart of loss'] .u-over", 60, 0)
    tab.locator(".controls .chip", has_text=" – ").wait_for()


def _large(tab: Any) -> None:
    """One chart large, in the other colours, without the table."""
    tab.get_by_label("enlarge loss").click()
    tab.keyboard.press("d")
    tab.keyboard.press("v")
    tab.wait_for_selector(".view-charts")


def _parameters(tab: Any) -> None:
    """Choose the metric that parameters are for, and brush one."""
    tab.get_by_role("tab", name="parameters").click()
    tab.get_by_label("metric that parameters are for").select_option("loss")
    _drag(tab, ".axis:nth-child(5) .rail", 0, 90)


def _scatter(tab: Any) -> None:
    """Choose the columns of the points."""
    tab.get_by_role("tab", name="scatter").click()
    tab.get_by_label("x of the points").select_option("parameters.p7")
    tab.get_by_label("y of the points").select_option("parameters.lr")


def _compare(tab: Any) -> None:
    """Compare two, also what is equal, and look at their media at an earlier step."""
    for name in ("rich", "richer"):
        tab.get_by_label(f"choose {name}", exact=True).check()
    tab.get_by_role("tab", name="compare 2").click()
    tab.get_by_label("also what is equal").check()
    tab.get_by_label("step of sample~1").fill("1")
    tab.get_by_text("epoch 1").nth(1).wait_for()


def _run(tab: Any) -> None:
    """Fold and unfold parts of a run's page, go to a step of its media, and look into its files."""
    tab.get_by_role("button", name="richer").click()
    tab.locator("details.parameters summary").click()
    tab.locator("details.packages summary").click()
    tab.get_by_label("step of sample~1").fill("2")
    tab.get_by_label("look at a, b~2.png").click()
    tab.get_by_label("look at data", exact=True).click()
    tab.get_by_label("look at notes, 100 %.txt").click()
    tab.get_by_text("of a folder").wait_for()


def _chooser(tab: Any) -> None:
    """Look for a column."""
    tab.get_by_role("button", name="columns", exact=True).click()
    tab.get_by_label("find a column").fill("p1 par")


def _keys(tab: Any) -> None:
    """Look at the keys."""
    tab.keyboard.press("?")
    tab.get_by_role("dialog", name="keys").wait_for()


def _scrolled(tab: Any) -> None:
    """Scroll the table down and across, and the page of a run."""
    tab.get_by_role("button", name="richer").click()
    tab.locator("details.packages summary").click()
    tab.locator(".list").evaluate("(one) => one.scrollTo(170, 680)")
    tab.locator(".side").evaluate("(one) => one.scrollTo(0, 500)")
    tab.wait_for_function("() => ['row=20', 'across=170', 'down=500'].every((one) => location.hash.includes(one))")


@pytest.mark.parametrize(
    "act",
    [_table, _baseline, _charts, _large, _parameters, _scatter, _compare, _run, _chooser, _keys, _scrolled],
    ids=lambda act: act.__name__[1:],
)
def test_who_is_sent_the_link_sees_the_same(
    visit: Callable[..., Visit], store: str, act: Callable[[Any], None]
) -> None:
    """Whatever was chosen, folded, looked at, or scrolled to: another browser shows it."""
    tab = visit(store).open()
    tab.locator("tbody tr").nth(10).wait_for()
    act(tab)
    tab.mouse.move(0, 0)
    tab.wait_for_load_state("networkidle")
    tab.wait_for_function("() => [...document.querySelectorAll('[data-drawn]')].every((one) => one.dataset.done)")
    seen = _settled(tab)

    again = visit(store).open(tab.url.partition("#")[2])

    for part, value in seen.items():
        assert _until(again, part, value) == value


def _settled(tab: Any) -> dict[str, Any]:
    """Return what is seen, once that stays so: charts are drawn again where their place has changed."""
    before: dict[str, Any] = {}
    while (found := tab.evaluate(_SEEN)) != before:
        before = found
        tab.wait_for_timeout(300)
    return before


def _until(tab: Any, part: str, value: Any) -> Any:
    """Return a part of what is seen, once it is that or stays another."""
    for _ in range(200):
        found = tab.evaluate(_SEEN)[part]
        if found == value:
            break
        tab.wait_for_timeout(50)
    return found


_HOSTILE = (
    *("%", "%25", "<img src=x onerror=console.error(1)>", "__proto__", "-1e308", "1e999", "~~~", "a~1~2"),
    *("-1e308,1e308", "metric:%00", "\x00", "x" * 5000),
)


def test_what_a_link_says_wrong_breaks_nothing(visit: Callable[..., Visit], store: str) -> None:
    """Whatever stands in all places of a link, each view has something to say, and the page goes on."""
    there = visit(store)
    tab = there.open()
    tab.locator("tbody tr").nth(10).wait_for()
    names = tab.evaluate("import('./state.js').then(({ state }) => Object.keys(state))")
    assert {"sel", "x", "brush", "steps", "seen", "row", "above"} < set(names)

    for value, shown in zip(_HOSTILE, cycle(("charts", "parameters", "scatter", "run", "compare")), strict=False):
        wrong = "&".join(f"{name}={quote(value)}" for name in names if name not in {"q", "project", "tab"})
        tab.evaluate("(hash) => { location.hash = hash; }", f"{wrong}&tab={shown}")
        tab.locator("tbody tr").nth(10).wait_for()
        assert tab.locator(".side").inner_text().strip()
    assert tab.locator("tbody img, .side img").count() == 0
    tab.evaluate("location.hash = `q=${encodeURIComponent('lr<')}&project=nobody`")
    tab.get_by_role("alert").wait_for()
    tab.evaluate("location.hash = ''")
    tab.locator("tbody tr").nth(10).wait_for()
    there.wrong = [said for said in there.wrong if "400" not in said]
