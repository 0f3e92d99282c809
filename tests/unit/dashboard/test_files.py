"""The files of runs, to download: of this store alone, verified, and nothing that a browser runs."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path
from typing import Any

import pytest

from tests.unit.dashboard.asking import Asker, enter
from track import TrackClient
from track.artifacts import Artifact
from track.artifacts.location import open_folder
from track.dashboard import Dashboard, PageServer, files

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
LARGE = os.urandom(1 << 20) + b"end"


def _page(where: str) -> Asker:
    return enter(Dashboard(where, "secret", interval=0), "secret")


def _address(artifact: Artifact, **more: str) -> str:
    return f"/api/file?uid={artifact.trial}&digest={artifact.digest}" + "".join(f"&{k}={v}" for k, v in more.items())


@pytest.fixture(params=["local", "memory"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store with its artifacts in a folder, or in a bucket behind fsspec."""
    if request.param == "local":
        return f"file:{tmp_path}/runs.json"
    pytest.importorskip("fsspec", reason="needs fsspec: run pip install .[fsspec]")
    return f"file:{tmp_path}/runs.json?artifacts=memory://{tmp_path.name}/files"


@pytest.fixture
def log(where: str) -> Callable[..., Artifact]:
    """Logs something in a new run."""

    def logged(what: Any, name: str) -> Artifact:
        client = TrackClient(where)
        with client.new_trial(name="run", parameters={}, force=True) as trial:
            found = trial.log_artifact(what, name)
        client.save()
        assert found is not None
        return found

    return logged


@pytest.mark.parametrize("content", [b"", b"weights", LARGE], ids=["empty", "small", "large"])
def test_file_is_downloaded(where: str, log: Callable[..., Artifact], content: bytes) -> None:
    """It comes whole, by its name, as something to keep and not to show."""
    logged = log(content, "models/wé ights.bin")
    asker = _page(where)

    assert asker.ask(_address(logged)) == content

    assert asker.status == 200
    assert asker.headers["Content-Length"] == str(len(content))
    assert asker.headers["Content-Type"] == "application/octet-stream"
    assert asker.headers["X-Content-Type-Options"] == "nosniff"
    assert asker.headers["Content-Security-Policy"].startswith("default-src 'none'; sandbox")
    said = asker.headers["Content-Disposition"]
    assert said == "attachment; filename=\"w_ ights.bin\"; filename*=UTF-8''w%C3%A9%20ights.bin"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF....WEBPVP8 ", "image/webp"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "application/octet-stream"),
        (b"<!doctype html><script>alert(1)</script>", "application/octet-stream"),
        (b"GIF9", "application/octet-stream"),
    ],
)
def test_kind_is_that_of_the_content(where: str, log: Callable[..., Artifact], content: bytes, kind: str) -> None:
    """Pictures of four kinds are said to be some, whatever the name says; what could hold a script never is."""
    asker = _page(where)

    asker.ask(_address(log(content, "picture.svg")))

    assert asker.headers["Content-Type"] == kind


def test_files_of_a_folder(where: str, log: Callable[..., Artifact], tmp_path: Path) -> None:
    """Those of a folder are listed, and come one by one."""
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "sub" / "a.txt").write_text("a")
    logged = log(str(tmp_path / "data"), "data")
    asker = _page(where)

    said = asker.json(f"/api/files?uid={logged.trial}&digest={logged.digest}")

    digest = hashlib.sha256(b"a").hexdigest()
    assert said == {"files": [{"name": "sub/a.txt", "size": 1, "digest": digest}], "left": 0}
    assert asker.ask(_address(logged, file=digest)) == b"a"
    assert 'filename="a.txt"' in asker.headers["Content-Disposition"]
    assert b"no such file" in asker.ask(_address(logged, file="0" * 64))
    assert b"no such file" in asker.ask(_address(logged))
    assert asker.status == 404


def test_file_of_another_run_or_of_none(where: str, log: Callable[..., Artifact], stranger: Asker) -> None:
    """A digest is one of what the run has logged; who has not come in gets nothing."""
    mine, other = log(b"mine", "mine"), log(b"other", "other")
    asker = _page(where)

    for uid, digest in [(mine.trial, other.digest), ("x", mine.digest), (mine.trial, ""), (mine.trial, "../../x")]:
        asker.ask(f"/api/file?uid={uid}&digest={digest}")
        assert asker.status == 404

    stranger.ask(_address(mine))
    assert stranger.status == 403


def test_file_of_a_deleted_run(where: str, log: Callable[..., Artifact]) -> None:
    """What is deleted is not shown."""
    logged = log(b"mine", "mine")
    client = TrackClient(where)
    client.delete_trial(logged.trial)
    client.save()
    asker = _page(where)

    asker.ask(_address(logged))

    assert asker.status == 404


def test_reference_is_not_served(where: str, log: Callable[..., Artifact], tmp_path: Path) -> None:
    """A run that names a file of this machine does not make the page read it."""
    (tmp_path / "passwords").write_text("secret")
    logged = log(f"file://{tmp_path}/passwords", "data")
    asker = _page(where)

    said = asker.ask(f"/api/file?uid={logged.trial}&digest={logged.digest}")

    assert (asker.status, b"secret" in said) == (404, False)
    assert b"only named" in said


def test_content_that_is_gone_is_said(where: str, log: Callable[..., Artifact], tmp_path: Path) -> None:
    """A place that is away is one sentence, with the place."""
    logged = log(b"weights", "model")
    _folder(where, tmp_path).remove([_key(logged)])
    asker = _page(where)

    said = asker.ask(_address(logged))

    assert asker.status == 404
    assert said.decode().startswith("the content of 'model' is not at ")
    assert asker.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")


def test_changed_content_is_not_sent(where: str, log: Callable[..., Artifact], tmp_path: Path) -> None:
    """What is not what was logged is refused."""
    logged = log(b"weights", "model")
    _folder(where, tmp_path).write(_key(logged), b"WEIGHTS")
    asker = _page(where)

    assert b"is not what was logged" in asker.ask(_address(logged))
    assert asker.status == 502


def test_large_changed_content_breaks_off(
    where: str, log: Callable[..., Artifact], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What turns out to be other content while it is sent never comes whole, and the page's program says why."""
    logged = log(LARGE, "model")
    _folder(where, tmp_path).write(_key(logged), LARGE[:-1] + b"?")
    server = PageServer(Dashboard(where, "secret", interval=0))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        with closing(HTTPConnection("127.0.0.1", server.server_port, timeout=10)) as connection:
            connection.request("GET", "/?token=secret")
            answer = connection.getresponse()
            answer.read()
            cookie = answer.headers["Set-Cookie"].partition(";")[0]
            with caplog.at_level(logging.WARNING):
                connection.request("GET", _address(logged), headers={"Cookie": cookie})
                with pytest.raises(IncompleteRead) as caught:
                    connection.getresponse().read()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    assert caught.value.partial == LARGE[: 1 << 20]
    assert "a download broke off: model is not what was logged any more" in caplog.text


def test_room_is_given_back(where: str, log: Callable[..., Artifact], monkeypatch: pytest.MonkeyPatch) -> None:
    """So many downloads at once, and one more is asked to come again; each that ended, or failed, makes room."""
    monkeypatch.setattr(files, "_room", threading.BoundedSemaphore(1))
    logged = log(b"weights", "model")
    asker = _page(where)

    asker.ask("/api/file?uid=x&digest=y")
    asker.ask(_address(logged), method="HEAD")
    protocol = asker.page.open()
    held = files.file_answer(protocol, logged.trial, str(logged.digest))
    asker.ask(_address(logged))
    refused = asker.status, asker.headers["Retry-After"]
    assert not isinstance(held.body, bytes)
    held.body.close()
    held.body.close()

    assert refused == (503, "2")
    assert asker.ask(_address(logged)) == b"weights"
    assert asker.ask(_address(logged)) == b"weights"


def test_pipe_in_the_place_of_a_content(tmp_path: Path, log: Callable[..., Artifact], where: str) -> None:
    """What another program has put there holds nobody up."""
    logged = log(b"weights", "model")
    if "memory" in where:
        pytest.skip("a bucket has no pipes")
    path = tmp_path / "runs.json.artifacts" / _key(logged)
    path.unlink()
    os.mkfifo(path)
    asker = _page(where)

    assert b"is no file" in asker.ask(_address(logged))
    assert asker.status == 502


def _key(logged: Artifact) -> str:
    return f"objects/{str(logged.digest)[:2]}/{logged.digest}"


def _folder(where: str, tmp_path: Path) -> Any:
    _, _, place = where.partition("artifacts=")
    return open_folder(place or f"{tmp_path}/runs.json.artifacts")
