"""The modules of the page as one script, and the page as one document."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from track.dashboard.bundle import Module, document, joined

NODE = shutil.which("node")


def _joined(**texts: str) -> str:
    return joined({f"{name}.js": Module(f"{name}.js", text) for name, text in texts.items()}, "first.js")


def _run(script: str) -> str:
    if NODE is None:
        pytest.skip("needs node")
    done = subprocess.run([NODE, "-e", script], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_modules_keep_their_own_names() -> None:
    """Names that two modules give to different things do not meet; what is renamed is what it was."""
    script = _joined(
        first='import { most as their } from "./second.js";\nconst most = 1;\nconsole.log(most, their);\n',
        second="export const most = 2;\n",
    )

    assert _run(script) == "1 2"


def test_module_that_is_taken_as_a_whole_says_what_it_has_by_now() -> None:
    """A list that a module replaces is the new one for who takes the module, not the list of the beginning."""
    script = _joined(
        first='import * as all from "./second.js";\nall.add();\nconsole.log(all.list.length);\n',
        second="export let list = [];\nexport function add() {\n  list = [...list, 1];\n}\n",
    )

    assert _run(script) == "1"


def test_module_that_is_taken_later_is_there_then() -> None:
    """What is opened later is in the script, too, with what it needs."""
    script = _joined(
        first='import("./later.js").then((later) => console.log(later.value));\nexport const own = 20;\n',
        later='import { own } from "./first.js";\nexport const value = own + 1;\n',
    )

    assert _run(script) == "21"


def test_passed_on_names_and_lists_of_names() -> None:
    """`export { a as b }`, of a module's own names and of another one's."""
    script = _joined(
        first='import { html, twice } from "./view.js";\nconsole.log(html, twice(2));\n',
        view='export { html } from "./vendored.js";\nexport const twice = (x) => 2 * x;\n',
        vendored='var e="x";function f(){}export{e as html,f as render};\n',
    )

    assert _run(script) == "x 4"


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"first": 'import { a } from "./second.js";\n', "second": "export const b = 1;\n"}, "does not say it"),
        ({"first": 'import { a } from "./second.js";\n', "second": "export let a = 1;\n"}, "import all of that module"),
        ({"first": 'import { a } from "./second.js";\n'}, "there is no module second.js"),
        ({"first": "export default 1;\n"}, "is not understood"),
        ({"first": 'import "./second.js";\n', "second": ""}, "is not understood"),
        ({"first": "import(name);\n"}, "is not understood"),
        (
            {
                "first": 'import { a } from "./second.js";\nexport const b = 1;\n',
                "second": 'import { b } from "./first.js";\nexport const a = 1;\n',
            },
            "need each other",
        ),
    ],
)
def test_what_would_go_wrong_in_the_browser_is_said_here(texts: dict[str, str], said: str) -> None:
    """A module that cannot be joined is an error that names it."""
    with pytest.raises(ValueError, match=said):
        _joined(**texts)


def test_document_allows_its_own_scripts_alone() -> None:
    """The policy names each by its sum, and nothing may be fetched or sent; a page in a frame has its own styles."""
    html = document("", "title")

    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    parts = dict(part.strip().split(" ", 1) for part in policy[1].split(";"))
    bodies = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    sums = [base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() for body in bodies]
    assert parts["script-src"].split() == [f"'sha256-{one}'" for one in sums]
    assert parts["style-src"] == "'unsafe-inline'"
    assert parts["default-src"] == "'none'"
    assert set(parts) == {"default-src", "script-src", "style-src", "img-src", "media-src", "base-uri", "form-action"}
    assert (parts["img-src"], parts["media-src"]) == ("blob: data:", "data:")
    assert not re.findall(r"(?:src|href)=\"(?!data:)", re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL))
    assert "fetch(" not in html


def test_title_and_note_are_texts() -> None:
    """A store may be called anything."""
    html = document("", "</title><script>alert(1)</script>", '"><script>alert(2)</script>')

    assert html.count("<script>") == 2
    assert "&lt;/title&gt;" in html


def test_document_is_the_same_each_time() -> None:
    """Who exports twice can compare the files."""
    assert document("x", "t") == document("x", "t")


def test_page_and_file_answer_the_same_questions() -> None:
    """What modules of the page ask `api.js`, the one of a file answers."""
    static = Path(document.__code__.co_filename).parent / "static"
    offline = Module("api.js", (static.parent / "offline" / "api.js").read_text(encoding="utf-8"))
    online = Module("api.js", (static / "api.js").read_text(encoding="utf-8"))

    assert set(offline.says) <= set(online.says)
