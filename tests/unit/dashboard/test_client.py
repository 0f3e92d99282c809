"""The client's files: what is vendored is what was published, and what is ours keeps to its rules."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import track.dashboard
from track.dashboard.app import client_files

STATIC = Path(track.dashboard.__file__).with_name("static")
OURS = sorted([*STATIC.glob("*.js"), *STATIC.with_name("offline").glob("*.js")])
TSC = shutil.which("tsc")
# Of npm: uplot 1.6.32; htm 3.1.1, whose `preact/standalone.module.js` holds preact as well.
VENDORED = {
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    "htm-preact.js": "72284e8e9079c87817145df1110f74e8a2aa040b2fc384922e18dfcb46fc1fd7",
    "LICENSE-uPlot.txt": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
    "LICENSE-htm.txt": "740725f7252e750af735d0028cc534970772f513331e9f68150fede8fb3ce00f",
    "LICENSE-preact.txt": "1fe6958409c8c257a70c587a18b6f7f412b179b456630790d30b2ec9a8e4b7d4",
}


def test_vendored_files_are_as_published() -> None:
    """Each has the sum of the published one, its licence is beside it, and there is no other."""
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (STATIC / "vendor").iterdir()}

    assert sums == VENDORED


_COMMENT = re.compile(r"\s*(//|/?\*)")


def _taken(name: str) -> set[str]:
    """Return the modules that come with one; not those that it asks for later."""
    found, waiting = set(), [name]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            text = (STATIC / one).read_text(encoding="utf-8")
            waiting += re.findall(r"^(?:import|export) .*from \"./(.*)\";$", text, re.MULTILINE)
    return found


def test_our_scripts_stay_small() -> None:
    """At most 350 lines a file, 2,500 without comments in all; 150 kB, vendored and ours, are sent first."""
    lines = {path: path.read_text(encoding="utf-8").splitlines() for path in OURS}
    first = _taken("app.js") | {"vendor/uPlot.iife.min.js"}
    sent, _ = client_files()

    assert max(map(len, lines.values())) <= 350
    assert sum(bool(line.strip()) and not _COMMENT.match(line) for of in lines.values() for line in of) <= 2500
    assert first > {"table.js", "charts.js", "vendor/htm-preact.js"}
    assert sum(len(sent[f"/{name}"].body) for name in first) <= 150_000


def test_comments_stay_here() -> None:
    """What a browser is sent has no comments of ours, and each line keeps its number; licences are sent."""
    sent = {name: answer.body for name, answer in client_files()[0].items()}
    ours = {path: sent[f"/{path.name}"].decode() for path in STATIC.glob("*.js")}

    assert not [line for text in ours.values() for line in text.splitlines() if _COMMENT.match(line)]
    assert [len(text.splitlines()) for text in ours.values()] == [
        len(path.read_text(encoding="utf-8").splitlines()) for path in ours
    ]
    assert all(sent[f"/vendor/{path.name}"] == path.read_bytes() for path in (STATIC / "vendor").glob("*.js"))


@pytest.mark.skipif(TSC is None, reason="needs the compiler of TypeScript: npm install -g typescript")
@pytest.mark.parametrize("is_file", [False, True], ids=["page", "file"])
def test_types_in_comments_are_right(is_file: bool, tmp_path: Path) -> None:
    """The types that comments give are those that are used, in a file as well, whose answers come from elsewhere."""
    folder = shutil.copytree(STATIC, tmp_path / "static")
    if is_file:
        shutil.copytree(STATIC.with_name("offline"), folder, dirs_exist_ok=True)
    options = "--noEmit --allowJs --checkJs --target es2022 --module es2022 --moduleResolution bundler --strict false"
    command = [str(TSC), *options.split(), "--lib", "es2023,dom,dom.iterable", "app.js"]

    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)

    assert [line for line in done.stdout.splitlines() if not line.startswith(("vendor", " "))] == []


def test_first_modules_are_asked_for_at_once() -> None:
    """The page names all that come first, so that none waits until another one has named it."""
    text = (STATIC / "index.html").read_text(encoding="utf-8")

    assert set(re.findall(r'rel="modulepreload" href="(.*)"', text)) == _taken("app.js") - {"app.js", "api.js"}


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_names_are_never_markup(path: Path) -> None:
    """No script makes markup or code of texts, unless in a frame whose sandbox is empty."""
    text = re.sub(r'<iframe key=\S+ sandbox="" [^>]* srcdoc=', "", path.read_text(encoding="utf-8"))

    found = re.findall(
        r"(?:inner|outer)HTML|insertAdjacentHTML|document\.write|dangerouslySet|\beval\b|new Function|srcdoc", text
    )

    assert not found


@pytest.mark.parametrize("path", [*OURS, STATIC / "index.html", STATIC / "style.css"], ids=lambda path: path.name)
def test_no_file_names_another_place(path: Path) -> None:
    """All addresses are relative: nothing is asked of anybody else, and a proxy may put the page anywhere."""
    text = path.read_text(encoding="utf-8")

    assert not re.findall(r"https?:|[\"'(]//|(?:src|href)=\"/|fetch\(\"/|ask\(`?\"?/", text)


def test_page_has_no_inline_script_or_style() -> None:
    """The policy of contents allows none."""
    text = (STATIC / "index.html").read_text(encoding="utf-8")

    assert not re.findall(r"<script>|<style|\son\w+=|style=", text)
