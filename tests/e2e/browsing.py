"""A page in a real Chromium, in which nothing may go wrong unseen."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.children import kill, start_python
from track import TrackClient

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
)
_VIOLATIONS = (
    "addEventListener('securitypolicyviolation', (e) => console.error('CSP', e.violatedDirective, e.blockedURI))"
)
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
# How many pixels of a chart have a colour: greys are axes and grid.
COLOURED = """(canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let i = 0; i < data.length; i += 4) {
    const parts = [data[i], data[i + 1], data[i + 2]];
    if (data[i + 3] > 60 && Math.max(...parts) - Math.min(...parts) > 40) count += 1;
  }
  return count;
}"""


def require_chromium() -> Any:
    """Return what drives Chromium; skip the test where one of the two is missing."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install --no-install-recommends chromium")
    return pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")


@contextmanager
def chromium() -> Iterator[Any]:
    """Give a browser."""
    with require_chromium().sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS.split())
        yield browser
        browser.close()


@contextmanager
def served(uri: str, *arguments: str) -> Iterator[str]:
    """Give the link that ``track ui`` prints for a store."""
    process = start_python("-m", "track", "ui", uri, "--no-browser", *arguments, stderr=subprocess.STDOUT)
    try:
        assert process.stdout is not None
        # What is said beside it comes first.
        yield next(line for line in process.stdout if line.startswith("track ui: http")).split()[-1]
    finally:
        kill(process.pid)
        process.communicate()


class Visit:
    """A tab, and all that went wrong in it."""

    def __init__(self, context: Any, link: str) -> None:
        self.link = link
        self.place = link.partition("/?")[0]
        self.wrong: list[str] = []
        self.asked: list[str] = []
        self.tab = context.new_page()
        self.tab.add_init_script(_VIOLATIONS)
        self.tab.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.tab.on("console", self._console)
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.on("requestfailed", self._failed)

    def _console(self, message: Any) -> None:
        # That a chart is read again and again is the doing of the tests.
        if message.type in {"error", "warning"} and "willReadFrequently" not in message.text:
            self.wrong.append(f"{message.type}: {message.text}")

    def _failed(self, request: Any) -> None:
        # A question that another one has replaced is given up.
        if request.failure != "net::ERR_ABORTED":
            self.wrong.append(f"{request.url}: {request.failure}")

    def open(self, state: str = "") -> Any:
        """Show a state of the page, and return the tab."""
        self.tab.goto(f"{self.link}#{state}")
        self.tab.wait_for_selector(".page, .empty")
        return self.tab

    def coloured(self, name: str) -> int:
        """Return how many pixels of a chart are those of lines."""
        self.tab.wait_for_selector(f"figure[aria-label='chart of {name}'] [data-done] canvas")
        return int(self.tab.eval_on_selector(f"figure[aria-label='chart of {name}'] canvas", COLOURED))

    def check(self) -> None:
        """Fail where something went wrong, or another place was asked."""
        foreign = [url for url in self.asked if not url.startswith(f"{self.place}/") and not url.startswith("blob:")]
        if self.wrong or foreign:
            pytest.fail(f"went wrong: {self.wrong}; asked elsewhere: {foreign}", pytrace=False)


@contextmanager
def visiting(browser: Any, kind: type[Visit]) -> Iterator[Callable[..., Any]]:
    """Open links, each in a browser of its own; at the end, fail where something went wrong in one."""
    contexts, visits = [], []

    def open_link(link: str, **options: Any) -> Visit:
        contexts.append(browser.new_context(viewport={"width": 1300, "height": 850}, **options))
        visits.append(kind(contexts[-1], link))
        return visits[-1]

    yield open_link
    for one in visits:
        one.check()
    for context in contexts:
        context.close()


# what a run may be called

HOSTILE = (
    "<img src=x onerror=console.error(1)>",
    "</script><script>console.error(2)</script>",
    "\u202egnp.exe\u202c",
    "__proto__",
    "constructor",
    "${console.error(3)}",
    "`+console.error(4)+`",
    "'\"><svg onload=console.error(5)>",
    "x" * 10_000,
    "\x00\x1b[31m",
    "a,b&c=d#e%00",
)


def hostile_store(folder: Path) -> str:
    """Store a run for each hostile name, which is the name of everything in it, and return the URI."""
    uri = f"file://{folder}/hostile.json"
    client = TrackClient(uri, environment="none")
    for name in HOSTILE:
        client.set_project(name=name, force=True)
        try:
            with client.new_trial(name=name, parameters={name: name, "other": 1}, force=True) as trial:
                trial.add_tags(**{name: name})
                trial.log_metadata(**{f"m{name}": name}, stdout=name)
                for step in range(5):
                    trial.log_metrics(step=step, **{name: step})
                raise RuntimeError(name)
        except RuntimeError:
            pass
    client.save()
    return uri


def look_at_hostile(tab: Any) -> None:
    """Open all there is to see of those runs, and find that their names are nothing but text."""
    tab.wait_for_selector(f"tbody tr:nth-child({len(HOSTILE)})")
    assert tab.locator("figure").count() == len(HOSTILE)
    tab.wait_for_selector("[data-done]")
    for place in range(len(HOSTILE)):
        tab.locator("tbody button.name").nth(place).click()
        tab.wait_for_selector(".run pre.error")
        tab.wait_for_selector(".run dl")
    tab.get_by_label("choose all runs").check()
    tab.get_by_role("tab", name="compare").click()
    tab.wait_for_selector(".compare tbody tr")
    tab.get_by_role("tab", name="parameters").click()
    tab.wait_for_selector(".axis")
    assert tab.locator("tbody img, tbody script, tbody svg, article img, article script").count() == 0
    assert "\u202e" not in tab.inner_text("body")
