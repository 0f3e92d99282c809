"""How the code of two trials differs, line by line: the scripts that they stored, and what they had not committed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from track.artifacts import Artifact, artifacts
from track.cli.grid import cell, painted
from track.cli.shell import say, tell
from track.errors import TrackError
from track.persistence.protocol import Protocol
from track.rows import Row
from track.shown import clean

_CODE, _PATCH = "code/", "code/uncommitted.diff"
_LARGEST, _MOST_LINES, _SHOWN = 2 << 20, 20_000, 100
_FILE_OF_A_PATCH = re.compile(r"^diff --git a/.* b/(.*)$", re.MULTILINE)
_COLOURS = {"+": "green", "-": "red", "@": "bold"}


@dataclass(frozen=True)
class Difference:
    """How a file of code is another one in a second trial.

    Attributes
    ----------
    name: str
        Of the script, or of a file that was not committed.
    kind: str
        ``script``, or ``uncommitted``: then the lines are those of the patches.
    lines: list of str
        As ``diff -u`` has them, without its two first.
    """

    name: str
    kind: str
    lines: list[str]

    @property
    def added(self) -> int:
        """How many lines only the second one has."""
        return sum(line.startswith("+") for line in self.lines)

    @property
    def removed(self) -> int:
        """How many lines only the first one has."""
        return sum(line.startswith("-") for line in self.lines)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "name": self.name,
            "kind": self.kind,
            "added": self.added,
            "removed": self.removed,
            "lines": self.lines,
        }


def code_differences(protocol: Protocol, rows: Sequence[Row]) -> list[list[Difference]]:
    """Return how the code of each trial differs from that of the first; nothing where it was not stored."""
    has_code = [row for row in rows if any(str(one.get("name", "")).startswith(_CODE) for one in row.trial.artifacts)]
    if len(has_code) < 1 or len(rows) < 2:
        return [[] for _ in rows]
    found = artifacts(protocol, {"uid": {"$in": [row.uid for row in has_code]}})
    # What was logged last counts: a run that went on has several.
    codes = [{one.name: one for one in found if one.trial == row.uid and one.name.startswith(_CODE)} for row in rows]
    return [_differences(codes[0], code) for code in codes]


def _differences(first: dict[str, Artifact], second: dict[str, Artifact]) -> list[Difference]:
    if not first or not second:
        return []
    found = []
    for name, script in first.items():
        if name != _PATCH and name in second and script.digest != second[name].digest:
            before, after = _lines(script), _lines(second[name])
            if before is not None and after is not None:
                found.append(Difference(name.removeprefix(_CODE), "script", changed_lines(before, after)))
    before, after = (_lines(code[_PATCH]) if _PATCH in code else [] for code in (first, second))
    if before is None or after is None:
        return found
    one, other = _by_file(before), _by_file(after)
    named = {difference.name for difference in found}
    for name in dict.fromkeys([*one, *other]):
        lines = changed_lines(one.get(name, []), other.get(name, []))
        # A script that is compared whole says it better.
        if lines and name.rpartition("/")[2] not in named:
            found.append(Difference(name, "uncommitted", lines))
    return found


def _lines(artifact: Artifact) -> list[str] | None:
    """Return the lines of a file, or what is to be said of one that is too large; None where it cannot be read."""
    if (artifact.size or 0) > _LARGEST:
        return [f"({artifact.size:,} bytes, sha256 {artifact.digest})"]
    try:
        return artifact.read_bytes().decode("utf-8", "replace").splitlines()
    except (TrackError, OSError) as error:
        tell(f"{artifact.name} of {artifact.trial[:12]} cannot be read: {error}")
        return None


def _by_file(lines: list[str]) -> dict[str, list[str]]:
    """Return the lines of a patch by the file that they change, without where they are."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in lines:
        if (head := _FILE_OF_A_PATCH.match(line)) is not None:
            name = head[1]
            found[name] = []
        elif name and line[:1] in ("+", "-") and not line.startswith(("+++", "---")):
            found[name].append(line)
    return found


def changed_lines(one: Sequence[str], other: Sequence[str]) -> list[str]:
    """Return what differs between texts, as a unified diff without its heading.

    Examples
    --------
    >>> changed_lines(["a", "b"], ["a", "c"])
    ['@@ -1,2 +1,2 @@', ' a', '-b', '+c']
    """
    if max(len(one), len(other)) > _MOST_LINES:
        return [f"-({len(one):,} lines)", f"+({len(other):,} lines)"]
    return list(difflib.unified_diff(one, other, lineterm=""))[2:]


def say_differences(found: Sequence[Difference], is_whole: bool) -> None:
    """Print the lines of differences, some of each or all."""
    for one in found:
        what = "" if one.kind == "script" else ", not committed"
        title = f"{cell(one.name, 200)} (+{one.added:,} -{one.removed:,}{what})"
        say(f"\n{painted(title, 'bold')}")
        shown = one.lines if is_whole else one.lines[:_SHOWN]
        for line in shown:
            say(painted(f"  {clean(line, 500)}", _COLOURS.get(line[:1])))
        if len(shown) < len(one.lines):
            tell(f"{len(one.lines) - len(shown):,} more lines: --all")
