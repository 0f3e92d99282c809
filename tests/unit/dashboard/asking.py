"""Somebody who asks a page without a socket."""

from __future__ import annotations

import base64
import io
import json
from array import array
from contextlib import closing, nullcontext
from typing import Any

from track.dashboard.rows import FACTS

PORT = "8124"
PARTS = ["last", "min", "max", "count"]
HOST = f"127.0.0.1:{PORT}"


class Asker:
    """Asks a page, as a browser that has come in; `tell` changes what it says."""

    def __init__(self, page: Any, cookie: str = "") -> None:
        self.page = page
        self.cookie = cookie
        self.status = 0
        self.headers: dict[str, str] = {}

    def ask(self, path: str, method: str = "GET", body: Any = None, **tell: Any) -> bytes:
        """Return the body of the answer."""
        sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        place, _, query = path.partition("?")
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": place,
            "QUERY_STRING": query,
            "SERVER_PORT": PORT,
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": HOST,
            "HTTP_COOKIE": self.cookie,
            "CONTENT_TYPE": "application/json" if sent else "",
            "CONTENT_LENGTH": str(len(sent)),
            "wsgi.input": io.BytesIO(sent),
        }
        environ |= tell

        def start(status: str, headers: list[tuple[str, str]]) -> None:
            self.status, self.headers = int(status[:3]), dict(headers)

        parts = self.page({name: value for name, value in environ.items() if value is not None}, start)
        with closing(parts) if hasattr(parts, "close") else nullcontext():
            return b"".join(parts)

    def sign_in(self, name: str, password: str) -> None:
        """Come in by name and password."""
        self.ask("/", HTTP_AUTHORIZATION="Basic " + base64.b64encode(f"{name}:{password}".encode()).decode())
        assert self.status == 303
        self.cookie = self.headers["Set-Cookie"].partition(";")[0]

    def json(self, path: str, **tell: Any) -> Any:
        """Return what is answered, as data."""
        said = self.ask(path, **tell)
        assert self.status == 200, said
        return json.loads(said)

    def runs(self, since: str | None = None) -> Any:
        """Return what is said of runs, each as a row."""
        said = self.ask("/api/runs" + (f"?since={since}" if since is not None else ""))
        assert self.status == 200, said
        return rows_in(said)


def rows_in(said: bytes) -> Any:
    """Return columns as rows: `runs` beside what else is said."""
    head, _, _ = said.partition(b"\n")
    about = json.loads(head)
    at, rows = len(head) + 1, about.pop("rows")
    assert at % 8 == 0
    runs: list[Any] = [{"parameters": {}, "tags": {}, "metrics": {}, "seeds": []} for _ in range(rows)]
    known: list[list[Any]] = []
    for column in about.pop("columns"):
        kind, values = column["kind"], column.get("values")
        if kind == "number":
            found: list[Any] = [None if number != number else number for number in array("d", said[at : at + 8 * rows])]
            for row, value in column.get("odd", {}).items():
                found[int(row)] = value
            at += 8 * rows
        elif kind == "word":
            found = [[None, *values][place] for place in array("I", said[at : at + 4 * rows])]
            at += 8 * ((rows + 1) // 2)
        elif kind == "few":
            found = [None] * rows
            for row, value in zip(column["rows"], values, strict=True):
                found[row] = value
        else:
            found = [column["value"]] * rows if kind == "one" else known[column["place"]] if kind == "as" else values
        known.append(found)
        for run, value in zip(runs, found, strict=True):
            if column["of"] == "run":
                run[column["name"]] = value
            elif value is not None and "part" in column:
                parts = run["metrics"].setdefault(column["name"], [None] * len(PARTS))
                parts[PARTS.index(column["part"])] = value
            elif value is not None:
                run[column["of"]][column["name"]] = value
                if column.get("seed"):
                    run["seeds"].append(column["name"])
    assert at == len(said)
    return {**about, "runs": [{**dict.fromkeys(FACTS), **run} for run in runs]}


def chart_in(said: bytes) -> Any:
    """Return what is said of a chart: `edges`, and a list of rows by the name of each plane."""
    head, _, _ = said.partition(b"\n")
    about = json.loads(head)
    at, size, rows = len(head) + 1, about["buckets"], len(about["uids"])
    assert at % 8 == 0
    about["edges"] = list(array("d", said[at : at + 8 * (size + 1)]))
    at += 8 * (size + 1)
    for name, width in about["planes"]:
        length = size * rows * int(width[1])
        plane = list(array({"f4": "f", "f8": "d", "u4": "I", "i8": "q"}[width], said[at : at + length]))
        about[name] = [plane[row * size : (row + 1) * size] for row in range(rows)]
        at += -(-length // 8) * 8
    assert at == len(said)
    return about


def enter(page: Any, token: str) -> Asker:
    """Return somebody who has shown the token."""
    asker = Asker(page)
    asker.ask(f"/?token={token}")
    assert asker.status == 303
    asker.cookie = asker.headers["Set-Cookie"].partition(";")[0]
    return asker
