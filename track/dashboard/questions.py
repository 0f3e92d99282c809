"""What the page asks of a store, and what is answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from track.dashboard.answers import Answer, Refused, json_answer
from track.dashboard.planes import chart_bytes
from track.dashboard.rows import page_of
from track.dashboard.security import body_of, check_change, question_of
from track.dashboard.sharing import Shared
from track.dashboard.watching import Watched
from track.errors import InvalidQuery
from track.persistence.buckets import NOWHERE, Buckets, Question, in_turns, uids_of
from track.persistence.protocol import Protocol
from track.reading import environment_in

_SECONDS, _PAUSE = 30.0, 0.0005
_MANY, _BUCKETS = 200, 300
"""In a chart of more than so many runs the page asks for so many buckets, whatever its width: see charts.js."""
_AGAIN = 10
"""A chart is given again for so many intervals at most."""


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    """What a chart asks for, as `Protocol.fetch_buckets` has it."""

    uids: list[str]
    metric: str
    buckets: int
    x: str = "step"
    start: float | None = None
    end: float | None = None
    smoothing: float | None = None


class Questions:
    """Answers questions about a store.

    Parameters
    ----------
    protocol: Protocol
        The backend.
    interval: float
        Seconds for which it is not asked again for what changed.
    writes: bool
        Tags, notes and statuses may be changed.
    """

    def __init__(self, protocol: Protocol, interval: float, writes: bool) -> None:
        self.protocol = protocol
        self._watched = Watched(protocol, interval)
        self._charts = Shared(_AGAIN * interval)
        self._writes = writes
        self._editing, self._turn = threading.Lock(), threading.Lock()
        self._verbs: dict[tuple[str, str], Callable[[dict[str, Any]], Answer]] = {
            ("GET", "/api/runs"): self._runs,
            ("GET", "/api/run"): self._run,
            ("GET", "/api/find"): self._find,
            ("GET", "/api/code"): self._code,
            ("GET", "/api/file"): self._file,
            ("GET", "/api/files"): self._files,
            ("GET", "/api/media"): self._media,
            ("POST", "/api/chart"): self._chart,
            ("POST", "/api/edit"): self._edit,
        }

    def answer(self, method: str, path: str, environ: dict[str, Any]) -> Answer:
        """Answer a question.

        Raises
        ------
        Refused
            It is none, is asked in another way, or makes no sense.
        TrackError, OSError
            The store does not answer.
        """
        verb = self._verbs.get((method, path))
        if verb is None:
            is_known = any(path == known for _, known in self._verbs)
            raise Refused(405, "this is asked in another way") if is_known else Refused(404, "there is no such page")
        self._watched.require_store()
        try:
            return verb(environ)
        except (InvalidQuery, msgspec.MsgspecError) as error:
            raise Refused(400, str(error)) from error

    def read_ahead(self) -> None:
        """Read what the page shows first, before somebody asks for it, and then import what is needed later.

        What an upgrade of this library brings under a program that runs is of another version.
        """
        for metric, uids in self._watched.first_charts():
            if len(uids) > _MANY:
                self._chart_of(Question(metric, _BUCKETS), uids)
            else:
                self._buckets(Question(metric, 1, "step", *NOWHERE), uids)
        import track.front  # noqa: F401
        from track.dashboard import code, editing, files, media  # noqa: F401

    def _runs(self, environ: dict[str, Any]) -> Answer:
        cursor = question_of(environ).get("since", [None])[0]
        found = self._watched.since(cursor)
        if found is None:
            return Answer(204, b"", "application/json")
        return Answer(200, found, "application/octet-stream")

    def _run(self, environ: dict[str, Any]) -> Answer:
        uid = question_of(environ).get("uid", [""])[0]
        trials = self.protocol.brief_trials({"uid": uid})
        if not trials:
            raise Refused(404, "there is no such run")
        page = page_of(trials[0], self._watched.group_name, environment_in(self.protocol, trials[0]))
        page["serves"] = True
        if self._writes and environ.get("track.role", "write") != "read":
            from track.dashboard.editing import STATUSES

            page["statuses"] = STATUSES
        return json_answer(page)

    def _find(self, environ: dict[str, Any]) -> Answer:
        text = question_of(environ).get("q", [""])[0]
        return json_answer({"uids": self._watched.matching(text)})

    def _code(self, environ: dict[str, Any]) -> Answer:
        uids = question_of(environ).get("uid", [])
        if len(uids) != 2:
            raise Refused(400, "two runs are compared")
        from track.dashboard.code import differences

        return json_answer({"files": differences(self.protocol, *uids)})

    def _file(self, environ: dict[str, Any]) -> Answer:
        from track.dashboard.files import file_answer

        asked = question_of(environ)
        return file_answer(self.protocol, *(asked.get(name, [""])[0] for name in ("uid", "digest", "file")))

    def _files(self, environ: dict[str, Any]) -> Answer:
        from track.dashboard.files import listing_answer

        asked = question_of(environ)
        return listing_answer(self.protocol, *(asked.get(name, [""])[0] for name in ("uid", "digest")))

    def _media(self, environ: dict[str, Any]) -> Answer:
        from track.dashboard import media

        asked = question_of(environ)
        uid, digest, name, show = (asked.get(word, [""])[0] for word in ("uid", "digest", "name", "show"))
        if name:
            return media.histograms_answer(self.protocol, uid, name)
        return (media.html_answer if show == "page" else media.medium_answer)(self.protocol, uid, digest)

    def _chart(self, environ: dict[str, Any]) -> Answer:
        asked = msgspec.json.decode(body_of(environ), type=_Asked)
        question = Question(asked.metric, asked.buckets, asked.x, asked.start, asked.end, asked.smoothing)
        return Answer(200, self._chart_of(question, uids_of(asked.uids)), "application/octet-stream")

    def _chart_of(self, question: Question, uids: Sequence[str]) -> bytes:
        """Return a chart as it travels, of the runs in any order: it says which is which."""
        key = question, frozenset(uids)
        return self._charts.get(key, self._watched.stamp, lambda: chart_bytes(self._buckets(question, uids)))

    def _buckets(self, question: Question, uids: Sequence[str]) -> Buckets:
        """Return the buckets of runs. All who ask have turns, so that nobody reads what another one is reading."""

        def ask(some: Sequence[str], part: Question) -> Buckets:
            given = part.name, part.buckets, part.x, part.start, part.end, part.smoothing
            return self.protocol.fetch_buckets(some, *given)

        turns = in_turns(question, uids, ask, _SECONDS)
        while True:
            with self._turn:
                found = next(turns)
            if found is not None:
                return found
            # Others come to theirs.
            time.sleep(_PAUSE)

    def _edit(self, environ: dict[str, Any]) -> Answer:
        if not self._writes:
            raise Refused(403, "this page is only read: start it with `track ui --write`")
        check_change(environ)
        from track.dashboard.editing import edit, read_edit

        asked = read_edit(body_of(environ))
        # One after the other: what another one is about to store would look like one's own that waits.
        with self._editing:
            edit(self.protocol, asked)
        self._watched.look_again()
        return json_answer({})
