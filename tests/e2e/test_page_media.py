"""Very much to look at, in a real browser: only what is in sight is asked for, and the keyboard goes through it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.browsing import Visit, served
from track import TrackClient

pytestmark = pytest.mark.slow
_FEW = 40
"""So many questions take what is in a window, and a little beside it."""


def _heap(tab: Any) -> float:
    """Return the megabytes that scripts of the page hold."""
    session = tab.context.new_cdp_session(tab)
    session.send("HeapProfiler.collectGarbage")
    found = session.send("Runtime.getHeapUsage")
    return float(found["usedSize"]) / 2**20


def _asked(page: Visit) -> list[str]:
    return [url for url in page.asked if "/api/file?" in url or "/api/media?" in url]


def test_a_thousand_names_ask_for_what_is_in_sight(tmp_path: Path, visit: Callable[..., Visit]) -> None:
    """A page of a thousand names opens, asks for few of them, and for others once somebody scrolls there."""
    client = TrackClient(f"file://{tmp_path}/report.json", environment="none")
    with client.new_trial(name="many", parameters={}) as trial:
        for number in range(200):
            for step in range(3):
                trial.log_image(f"{number:03}/image", [[number, step]], step=step)
            trial.log_text(f"{number:03}/text", "x" * 1000 + f" {number}")
            trial.log_histogram(f"{number:03}/weights", [0.0, float(number)], step=1)
            trial.log_table(f"{number:03}/table", [{"n": number}])
            trial.log_audio(f"{number:03}/voice", [0.0, 1.0], 8000)
    client.save()
    with served(f"file://{tmp_path}/report.json") as link:
        page = visit(link)
        tab = page.open()
        tab.locator("tbody button", has_text="many").first.click()
        tab.get_by_label("media 199/voice").wait_for(state="attached")
        first = tab.get_by_label("media 000/text").locator("pre")
        first.wait_for()
        tab.wait_for_load_state("networkidle")
        asked = len(_asked(page))
        assert 3 < asked < _FEW

        tab.get_by_label("media 150/table").scroll_into_view_if_needed()
        tab.get_by_label("media 150/table").get_by_text("150", exact=True).wait_for()
        tab.get_by_label("step of 150/image").focus()
        tab.keyboard.press("Home")
        tab.get_by_label("media 150/image").get_by_text("step 0", exact=True).wait_for()
        tab.wait_for_load_state("networkidle")

        assert tab.locator(".media section").count() == 1000
        assert len(_asked(page)) < 4 * _FEW
        assert _heap(tab) < 40


def test_ten_thousand_images_are_gone_through_by_keyboard(tmp_path: Path, visit: Callable[..., Visit]) -> None:
    """Of a name there are a thousand at most; keys go through its steps, each image is asked for when it is shown."""
    client = TrackClient(f"file://{tmp_path}/report.json", environment="none")
    with client.new_trial(name="long", parameters={}) as trial:
        for step in range(10_000):
            trial.log_image("sample", [[step % 256, step // 256]], step=step)
    client.save()
    with served(f"file://{tmp_path}/report.json") as link:
        page = visit(link)
        tab = page.open()
        tab.locator("tbody button", has_text="long").first.click()
        section = tab.get_by_label("media sample")
        section.get_by_text("step 9999", exact=True).wait_for()
        slider = tab.get_by_label("step of sample")
        assert int(slider.get_attribute("max")) <= 1000
        slider.focus()
        for key, step in (("Home", 0), ("ArrowRight", 16), ("ArrowRight", 32), ("ArrowLeft", 16), ("End", 9999)):
            tab.keyboard.press(key)
            section.get_by_text(f"step {step}", exact=True).wait_for()
            section.locator("img").evaluate("(one) => one.decode()")
        before = _heap(tab)
        for _ in range(300):
            tab.keyboard.press("ArrowLeft")
            section.locator("img").evaluate("(one) => one.decode()")
        section.get_by_text("step 5200", exact=True).wait_for()

        assert section.locator("img").count() == 1
        assert len(_asked(page)) < 320
        assert _heap(tab) < before + 10


def test_what_is_not_kept_or_not_shown_is_counted(tmp_path: Path, visit: Callable[..., Visit]) -> None:
    """Of very many media the last are shown, of very many alerts the last are kept: how many came before is said."""
    client = TrackClient(f"file://{tmp_path}/report.json", environment="none")
    with client.new_trial(name="loud", parameters={}) as trial:
        for number in range(5010):
            trial.log_histogram(f"weights {number % 6}", counts=[number], edges=[0, 1], step=number)
        for number in range(130):
            trial.alert(f"alert {number}")
    client.save()
    with served(f"file://{tmp_path}/report.json") as link:
        tab = visit(link).open()
        tab.locator("tbody button", has_text="loud").first.click()

        tab.get_by_text("These were logged last: 10 before them are not shown").wait_for()
        tab.get_by_text("30 earlier alerts are not kept").wait_for()
        assert tab.locator(".run .alert b").count() == 100
