"""The page in one document: its modules joined to one script, its styles and its icon beside it.

A browser does not let modules of a file on the disk import each other. Each becomes a block with its own names here;
the order is that in which they need each other.
"""

from __future__ import annotations

import base64
import graphlib
import hashlib
import posixpath
import re
from functools import lru_cache
from html import escape
from pathlib import Path

_HERE = Path(__file__).parent
_STATIC, _OFFLINE = _HERE / "static", _HERE / "offline"
_API = "api.js"
_IMPORT = re.compile(
    r"^import\s+(?:\{(?P<names>[^}]*)\}|\*\s+as\s+(?P<all>\w+))\s+from\s+\"(?P<place>[^\"]+)\";?", re.MULTILINE
)
_PASSED_ON = re.compile(r"^export\s+\{(?P<names>[^}]*)\}\s+from\s+\"(?P<place>[^\"]+)\";?", re.MULTILINE)
_LATER = re.compile(r"\bimport\(\s*\"(?P<place>[^\"]+)\"\s*\)")
_SAID = re.compile(r"^export\s+(?:async\s+)?(?P<kind>function\*?|class|const|let)\s+(?P<name>[\w$]+)", re.MULTILINE)
_LISTED = re.compile(r"(?:^|(?<=[;}]))export\s*\{(?P<names>[^}]*)\};?\s*$", re.MULTILINE)
_COMMENT = re.compile(r"^[ \t]*(?:/\*\*(?:(?!\*/).)*\*/|//[^\n]*)[ \t]*\n", re.MULTILINE | re.DOTALL)


class Module:
    """A module of the page: what it needs, and itself as a block that others can use.

    Parameters
    ----------
    name: str
        Its place, as ``vendor/htm-preact.js``.
    text: str
        What is in it.

    Raises
    ------
    ValueError
        It says something in a way that is not understood here.
    """

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.needs: list[str] = []
        self.later: list[str] = []
        self.wants: list[tuple[str, str]] = []
        """What it takes of other modules: (their name, a name there)."""
        self.says: dict[str, str] = {}
        """What others may take, and what it is called here."""
        self.changing: set[str] = set()
        """What it says that it may change later: others must ask for it again."""
        text = _COMMENT.sub("\n", text)
        text = _IMPORT.sub(self._take, text)
        text = _PASSED_ON.sub(self._pass_on, text)
        text = _LATER.sub(self._take_later, text)
        text = _LISTED.sub(self._list, text)
        text = _SAID.sub(self._say, text)
        left = re.search(r"^\s*(?:import|export)\b[^\n(]*|(?<![\w$.])import\s*\(", text, re.MULTILINE)
        if left is not None:
            raise ValueError(f"{name}: {left[0].strip()[:100]!r} is not understood")
        self.text = re.sub(r"\n{2,}", "\n", text).strip()

    def block(self) -> str:
        """Return it as a block of a script."""
        said = ", ".join(f"get {name}() {{ return {own}; }}" for name, own in self.says.items())
        return f"const {_variable(self.name)} = (() => {{\n{self.text}\nreturn {{ {said} }};\n}})();\n"

    def _place(self, given: str) -> str:
        return posixpath.normpath(posixpath.join(posixpath.dirname(self.name), given))

    def _take(self, found: re.Match[str]) -> str:
        place = self._place(found["place"])
        self.needs.append(place)
        if found["all"]:
            return f"const {found['all']} = {_variable(place)};"
        pairs = _pairs(found["names"])
        self.wants += [(place, name) for name, _ in pairs]
        return f"const {{ {', '.join(f'{name}: {own}' for name, own in pairs)} }} = {_variable(place)};"

    def _take_later(self, found: re.Match[str]) -> str:
        self.later.append(self._place(found["place"]))
        return f"Promise.resolve().then(() => {_variable(self.later[-1])})"

    def _pass_on(self, found: re.Match[str]) -> str:
        place = self._place(found["place"])
        self.needs.append(place)
        for name, called in _pairs(found["names"]):
            self.wants.append((place, name))
            self.says[called] = f"{_variable(place)}.{name}"
        return ""

    def _list(self, found: re.Match[str]) -> str:
        self.says |= {called: own for own, called in _pairs(found["names"])}
        return ""

    def _say(self, found: re.Match[str]) -> str:
        self.says[found["name"]] = found["name"]
        if found["kind"] == "let":
            self.changing.add(found["name"])
        return found[0].removeprefix("export").lstrip()


def _pairs(names: str) -> list[tuple[str, str]]:
    """Return the names of a list of an import or export, and what each is called after it."""
    parts = [part.split() for part in names.split(",") if part.strip()]
    return [(part[0], part[-1]) for part in parts]


def _variable(place: str) -> str:
    return "$" + re.sub(r"\W", "_", place.removesuffix(".js"))


def joined(modules: dict[str, Module], first: str) -> str:
    """Return modules as one script: those that `first` needs, now or later, each after what it needs itself.

    Raises
    ------
    ValueError
        One is missing, or says not what another one wants; they need each other in a circle; or a name is taken from a
        module that may change it.
    """
    needed: dict[str, list[str]] = {}
    waiting = [first]
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        if name not in modules:
            raise ValueError(f"there is no module {name}")
        needed[name] = modules[name].needs
        waiting += [*modules[name].needs, *modules[name].later]
    for name in needed:
        for place, wanted in modules[name].wants:
            if wanted not in modules[place].says:
                raise ValueError(f"{name} wants {wanted} of {place}, which does not say it")
            if wanted in modules[place].changing:
                raise ValueError(f"{name} takes {wanted} of {place}, which changes it: import all of that module")
    try:
        order = list(graphlib.TopologicalSorter(needed).static_order())
    except graphlib.CycleError as error:
        raise ValueError(f"modules need each other: {error.args[1]}") from error
    # What is taken later is there by then, wherever it stands.
    return '"use strict";\n(() => {\n' + "".join(modules[name].block() for name in order) + "})();\n"


@lru_cache(1)
def _page() -> tuple[str, str, str, str]:
    """Return the styles, the two scripts, and the icon as an address."""
    modules = {
        path.relative_to(_STATIC).as_posix(): Module(path.relative_to(_STATIC).as_posix(), _text(path))
        for path in sorted(_STATIC.rglob("*.js"))
        if not path.name.endswith(".iife.min.js")
    }
    modules |= {path.name: Module(path.name, _text(path)) for path in sorted(_OFFLINE.glob("*.js"))}
    icon = f"data:image/svg+xml;base64,{base64.b64encode((_STATIC / 'icon.svg').read_bytes()).decode()}"
    script = joined(modules, "app.js").replace('"icon.svg"', f'"{icon}"')
    styles = _text(_STATIC / "vendor" / "uPlot.min.css") + _text(_STATIC / "style.css")
    plots = _text(_STATIC / "vendor" / "uPlot.iife.min.js")
    if any(re.search(r"</(?:script|style)|<!--", part, re.IGNORECASE) for part in (styles, plots, script)):
        raise ValueError("a part of the page would end its own element")
    return styles, plots, script, icon


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def document(data: str, title: str, note: str = "") -> str:
    """Return the page as one document that asks nobody for anything.

    Parameters
    ----------
    data: str
        What its `offline.js` answers from, in letters that mean nothing to HTML.
    title: str
        The title of the window.
    note: str
        What somebody should know who reads the file as text, or has no scripts.
    """
    styles, plots, script, icon = _page()
    # A page that was logged is in a frame of this document, and under its policy: its styles are its own.
    policy = (
        f"default-src 'none'; script-src {_sum(plots)} {_sum(script)}; style-src 'unsafe-inline'; "
        "img-src blob: data:; media-src data:; base-uri 'none'; form-action 'none'"
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta name="description" content="{escape(note)}">
<title>{escape(title)}</title>
<link rel="icon" href="{icon}" type="image/svg+xml">
<style>{styles}</style>
</head>
<body>
<div id="app"><p class="empty">Reading …</p></div>
<noscript>This page needs JavaScript; it is all in this one file, and asks nobody. {escape(note)}</noscript>
<script type="application/octet-stream" id="data">{data}</script>
<script>{plots}</script>
<script>{script}</script>
</body>
</html>
"""


def _sum(text: str) -> str:
    """Return what the policy of contents calls a script by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
