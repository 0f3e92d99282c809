"""What differs between the code of two runs, where they have stored it."""

from __future__ import annotations

import difflib
from typing import Any

from track.artifacts import Artifact, artifacts
from track.dashboard.rows import Plain
from track.errors import TrackError
from track.persistence.protocol import Protocol
from track.shown import cut, text_of

_PREFIX = "code/"
_MOST_BYTES = 300_000
_MOST_LINES = 3_000
_LONGEST_LINE = 500


def differences(protocol: Protocol, one: str, other: str) -> list[Plain]:
    """Return the files of code that two runs have stored, each with the lines that differ, as ``diff -u`` has them.

    Of what is too long, is no text, or is not there any more, `why` says so.
    """
    stored = {uid: _files(protocol, uid) for uid in (one, other)}
    found = []
    for name in sorted({*stored[one], *stored[other]}):
        before, after = stored[one].get(name), stored[other].get(name)
        if before is not None and after is not None and before.digest == after.digest is not None:
            found.append({"name": cut(text_of(name), 300), "lines": []})
        else:
            found.append({"name": cut(text_of(name), 300), **_compared(before, after)})
    return found


def _files(protocol: Protocol, uid: str) -> dict[str, Artifact]:
    return {
        artifact.name.removeprefix(_PREFIX): artifact
        for artifact in artifacts(protocol, {"uid": uid})
        if artifact.name.startswith(_PREFIX) and not artifact.is_directory and not artifact.is_reference
    }


def _compared(before: Artifact | None, after: Artifact | None) -> dict[str, Any]:
    if any(one is not None and (one.size or 0) > _MOST_BYTES for one in (before, after)):
        return {"lines": [], "why": f"longer than {_MOST_BYTES:,} bytes"}
    try:
        texts = ["" if one is None else one.read_bytes().decode("utf-8") for one in (before, after)]
    except UnicodeDecodeError:
        return {"lines": [], "why": "no text"}
    except (TrackError, OSError) as error:
        return {"lines": [], "why": str(error)}
    was, now = (text.splitlines() for text in texts)
    if max(len(was), len(now)) > _MOST_LINES:
        return {"lines": [], "why": f"more than {_MOST_LINES:,} lines"}
    # Who has the file, and who has not, is said by the page.
    said = list(difflib.unified_diff(was, now, lineterm=""))[2:]
    return {"lines": [cut(text_of(line), _LONGEST_LINE) for line in said]}
