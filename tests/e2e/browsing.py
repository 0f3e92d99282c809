"""A page in a real Chromium, in which nothing may go wrong unseen."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.children import kill, start_python

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
)
_VIOLATIONS = (
    "addEventListener('securitypolicyviolation', (e) => console.error('CSP', e.violatedDirective, e.blockedURI))"
)
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
