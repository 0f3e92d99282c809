"""The page in a real Chromium: how soon it shows what, and what it takes of the browser.

The browser runs already and has a tab, as that of who types the command has: the link is opened in another one. The
store is on disk, and the modules are compiled, as an installation leaves them. What is looked for counts from the end
of the frame in which it is first there: the page itself looks at each frame, and says when that was. Beside each figure
of seconds stands what the page's program took of a core, which a busy machine changes less.
With ``--peers [PYTHON]``, 100 runs of 2,000 points also in tensorboard, trackio and mlflow, where that Python has them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import _page_peers
from _common import Row, at_most, fresh, run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --enable-precise-memory-info"
)
IDLE = 10
# From an act to the end of the frame in which what follows from it is there, in milliseconds.
_AFTER = """async ([act, is_done]) => {
  const there = eval(is_done), start = performance.now();
  eval(act);
  do await new Promise((next) => requestAnimationFrame(next)); while (!there());
  await new Promise((next) => setTimeout(next));
  return performance.now() - start;
}"""
# When the frame ended in which something was first there, in unix milliseconds.
_SEEN = """async (selector) => {
  do await new Promise((next) => requestAnimationFrame(next)); while (!document.querySelector(selector));
  await new Promise((next) => setTimeout(next));
  return performance.timeOrigin + performance.now();
}"""
_DRAWN, _FIFTH = "[data-done]", "tbody tr:nth-child(5)"
# Each chart that is seen has another picture than now.
_REDRAWN = """(() => {
  const is_seen = (one) => one.getBoundingClientRect().top < innerHeight;
  const seen = [...document.querySelectorAll("[data-drawn]")].filter(is_seen);
  const before = seen.map((one) => one.dataset.drawn);
  return () => seen.length > 0 && seen.every((one, i) => one.dataset.drawn !== before[i]);
})()"""
_SORTED = """(() => {
  const name = () => document.querySelector("tbody button.name")?.textContent;
  const before = name();
  return () => name() !== before;
})()"""


def measure(folder: str, runs: int, points: int, long: int, rows: int, columns: int, python: str = "") -> list[Row]:
    """Return the rows of the table; with a Python that has other trackers, of their pages alone."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return [Row("playwright is not installed", "")]
    if CHROMIUM is None:
        return [Row("Chromium is not installed", "")]
    if python:
        fresh(fill, f"file://{folder}/ours.json", 100, 2_000)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS.split())
            return _page_peers.rows(
                browser, python, partial(_ours, browser, f"file://{folder}/ours.json"), folder, 100, 2_000
            )
    stores = {name: f"file://{folder}/{name}.json" for name in ("many", "some", "long", "wide")}
    fresh(fill, stores["many"], runs, points)
    fresh(fill, stores["some"], 100, 2_000)
    fresh(fill, stores["long"], 1, long)
    fresh(fill_wide, stores["wide"], rows, columns)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS.split())
        with Page(browser, stores["some"]) as page:
            page.tab.goto(page.link)
            page.tab.wait_for_selector(_DRAWN)
        try:
            return [
                *_charts(browser, stores["many"], f"{runs:,} runs of {points:,} points", 1000, 250),
                *_charts(browser, stores["some"], "100 runs of 2,000 points", None, 100, 60),
                *_charts(browser, stores["long"], f"a run of {long:,} points", 1000, 60),
                *_table(browser, stores["wide"], f"{rows:,} runs of {columns:,} columns"),
                *_idle(browser, stores["some"]),
                *_live(browser, f"file://{folder}/live.json"),
            ]
        finally:
            browser.close()


def _ours(browser: Any, uri: str) -> _page_peers.Seen:
    with Page(browser, uri) as page:
        found = _page_peers.look(browser, page.link)
        assert found is not None
        return found


class Page:
    """``track ui`` of a store, and a tab of a browser that has another one."""

    def __init__(self, browser: Any, uri: str) -> None:
        self.context = browser.new_context(viewport={"width": 1300, "height": 850})
        self.context.new_page().wait_for_timeout(500)
        self.started = time.time()
        command = [sys.executable, "-m", "track", "ui", uri, "--no-browser"]
        # What is compiled is kept, as it is where the package is installed.
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=kept)
        assert self.process.stdout is not None
        self.link = self.process.stdout.readline().split()[-1]
        self.tab = self.context.new_page()
        self.took = 0

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()
        self.process.kill()
        self.process.communicate()

    def until(self, selector: str) -> float:
        """Return the milliseconds from the command until something is there."""
        return float(self.tab.evaluate(_SEEN, selector)) - self.started * 1e3

    def cpu(self) -> float:
        """Return milliseconds of a core that the page's program took so far."""
        parts = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(parts[11]) + int(parts[12])) * 1e3 / os.sysconf("SC_CLK_TCK")

    def after(self, act: str, is_done: str) -> float:
        """Return the milliseconds from an act until what follows from it is seen."""
        return float(self.tab.evaluate(_AFTER, [act, is_done]))

    def heap(self) -> float:
        """Return the megabytes of JavaScript that are in use."""
        session = self.context.new_cdp_session(self.tab)
        session.send("HeapProfiler.collectGarbage")
        return float(self.tab.evaluate("performance.memory.usedJSHeapSize")) / 1e6


def _charts(
    browser: Any, uri: str, what: str, first: float | None, zoom: float, heap: float | None = None
) -> list[Row]:
    with Page(browser, uri) as page:
        page.tab.goto(page.link)
        taken, cpu = page.until(_DRAWN), page.cpu()
        said = f"{what}: from the command to a chart ({cpu:,.0f} ms of a core)"
        rows = [Row(said, f"{taken:,.0f} ms") if first is None else at_most(said, taken, first, "ms")]
        if heap is not None:
            rows.append(at_most(f"{what}: JavaScript's heap", page.heap(), heap, "MB"))
        end = page.tab.evaluate("Number(document.querySelector('[data-drawn]').dataset.end)")
        before, moments = page.cpu(), []
        for part in (0.7, 0.5, 0.3, 0.6, 0.4):
            act = f"location.hash = 'zoom={end * 0.1:.3f},{end * part:.3f}'"
            moments.append(page.after(act, _REDRAWN))
        cpu = (page.cpu() - before) / len(moments)
        rows.append(at_most(f"  a zoom ({cpu:,.0f} ms of a core)", sorted(moments)[len(moments) // 2], zoom, "ms"))
        return rows


def _table(browser: Any, uri: str, what: str) -> list[Row]:
    with Page(browser, uri) as page:
        page.tab.goto(page.link)
        taken = page.until(_FIFTH)
        rows = [Row(f"{what}: from the command ({page.cpu():,.0f} ms of a core)", f"{taken:,.0f} ms")]
        page.tab.goto("about:blank")
        asked = time.time()
        page.tab.goto(page.link, wait_until="commit")
        again = float(page.tab.evaluate(_SEEN, _FIFTH)) - asked * 1e3
        rows.append(at_most(f"{what}: first rows", again, 500, "ms"))
        page.tab.wait_for_timeout(1000)
        moments = []
        for place in (6, 8, 10):
            act = f"document.querySelectorAll('thead th button')[{place}].click()"
            moments.append(page.after(act, _SORTED))
        rows.append(at_most("  to sort them", sorted(moments)[1], 200, "ms"))
        return rows


def _idle(browser: Any, uri: str) -> list[Row]:
    with Page(browser, uri) as page:
        page.tab.goto(page.link)
        page.tab.wait_for_selector(_DRAWN)
        sizes = _traffic(page.context, page.tab)
        first = _shipped(page.tab)
        page.tab.wait_for_timeout(3000)
        sizes.clear()
        page.tab.wait_for_timeout(IDLE * 1000)
        return [
            at_most(f"{IDLE} idle seconds", sum(sizes) / 1e3, 2, "kB"),
            at_most("JavaScript until charts are there", first / 1e3, 150, "kB"),
        ]


def _traffic(context: Any, tab: Any) -> list[float]:
    """Return a list that grows by the bytes of each answer, headers included."""
    session, sizes = context.new_cdp_session(tab), []
    session.send("Network.enable")
    session.on("Network.responseReceived", lambda said: sizes.append(said["response"]["encodedDataLength"]))
    session.on("Network.dataReceived", lambda said: sizes.append(said["encodedDataLength"]))
    return sizes


def _shipped(tab: Any) -> float:
    sizes = "performance.getEntriesByType('resource').filter((one) => one.name.endsWith('.js'))"
    return float(tab.evaluate(f"{sizes}.reduce((sum, one) => sum + one.decodedBodySize, 0)"))


def _live(browser: Any, uri: str) -> list[Row]:
    from track import TrackClient

    client = TrackClient(uri)
    with client.new_trial(name="live", parameters={}) as trial:
        trial.log_metrics(step=0, loss=1.0)
        trial.log_metrics(step=1, loss=0.5)
        client.save()
        with Page(browser, uri) as page:
            page.tab.goto(page.link)
            page.tab.wait_for_selector(_DRAWN)
            page.tab.wait_for_timeout(3000)
            start = time.time()
            trial.log_metrics(step=2, loss=0.4321)
            seen = float(page.tab.evaluate(_SEEN, "tbody td.number[title='0.4321']")) / 1e3
            return [at_most("a new point on the screen after", seen - start, 3, "s")]


# stores


def fill(uri: str, runs: int, points: int) -> None:
    """Store runs of one metric, which falls and trembles."""
    import math
    from random import Random

    from track import TrackClient

    client, random = TrackClient(uri, environment="none"), Random(0)
    client.set_project(name="benchmark")
    noise = [random.gauss(0, 0.05) for _ in range(points + 1000)]
    curve = [math.exp(-3 * step / points) for step in range(points)]
    for number in range(runs):
        parameters = {"lr": 0.1 * (number % 17 + 1), "width": 2 ** (number % 7), "number": number}
        with client.new_trial(name=f"run{number}", parameters=parameters, force=True) as trial:
            shift, start = number / runs, number % 1000
            trial.log_series("loss", [value + noise[start + step] + shift for step, value in enumerate(curve)])
    client.save()


def fill_wide(uri: str, rows: int, columns: int) -> None:
    """Store runs of many parameters and of metrics of three values each."""
    from random import Random

    from track import TrackClient

    client, random = TrackClient(uri, environment="none"), Random(0)
    client.set_project(name="benchmark")
    metrics = columns // 5
    for number in range(rows):
        cells = [
            (random.random(), random.choice("abcd"), random.randrange(9))
            for _ in range((columns - 3 * metrics) // 3 + 1)
        ]
        flat = [cell for three in cells for cell in three][: columns - 3 * metrics]
        parameters = {f"p{place}": value for place, value in enumerate(flat)}
        with client.new_trial(name=f"run{number}", parameters=parameters, force=True) as trial:
            for step in range(2):
                trial.log_metrics(step=step, **{f"m{place}": random.random() for place in range(metrics)})
    client.save()


def main() -> None:
    """Read the one option that is not a number, and run."""
    python = ""
    if "--peers" in sys.argv:
        place = sys.argv.index("--peers")
        given = sys.argv[place + 1 : place + 2]
        has_path = bool(given) and not given[0].startswith("-")
        python = given[0] if has_path else sys.executable
        del sys.argv[place : place + 1 + has_path]
    sizes = {
        "runs": (1000, 20),
        "points": (10_000, 200),
        "long": (10_000_000, 20_000),
        "rows": (10_000, 50),
        "columns": (100, 20),
    }
    run(__doc__, partial(measure, python=python), **sizes)


if __name__ == "__main__":
    main()
