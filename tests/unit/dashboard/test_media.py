"""What runs have logged to be looked at, as the page asks for it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.unit.dashboard.asking import Asker, enter
from track import TrackClient
from track.artifacts.inline import inline_uri
from track.dashboard import Dashboard
from track.logger import TrialLogger

SVG = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> TrialLogger:
    """Give a run that has logged one of each kind."""
    folder = tmp_path_factory.mktemp("media")
    with TrackClient(f"file://{folder}/runs.json").new_trial(name="seen", parameters={}) as trial:
        for step in range(3):
            trial.log_image("sample", [[step, 255]], step=step, caption="<b>")
            trial.log_histogram("weights", [float(step), step + 1.0], step=step)
        trial.log_text("note", "<script>alert(1)</script>")
        trial.log_table("table", [{"a": number, "b": "x" * 300} for number in range(500)])
        trial.log_html("page", "<script>alert(1)</script><LINK rel=preconnect href=https://example.org>")
        trial.log_image("drawing", SVG)
        trial.log_audio("voice", [0.0, 1.0], rate=2)
        trial.log_artifact(b"weights", "model.bin")
    return trial


@pytest.fixture
def seen(trial: TrialLogger) -> Asker:
    """Give somebody who looks at its store."""
    return enter(Dashboard(trial.protocol.uri, "secret", interval=0), "secret")


def address(trial: TrialLogger, name: str, path: str = "media", more: str = "") -> str:
    """Return where the page asks for the last medium of a name."""
    return f"/api/{path}?uid={trial.trial.uid}&digest={trial.media(name)[-1].artifact.digest}{more}"


def status(asker: Asker, path: str) -> int:
    """Return how a question is answered."""
    asker.ask(path)
    return asker.status


def test_a_run_lists_its_media_apart_from_its_files(seen: Asker, trial: TrialLogger) -> None:
    """What is looked at is named with kind, step and caption; files are what else was logged."""
    page = seen.json(f"/api/run?uid={trial.trial.uid}")

    assert [file["name"] for file in page["artifacts"]] == ["model.bin"]
    kinds = {one["name"]: one["kind"] for one in page["media"]}
    assert kinds == {
        "sample": "image", "weights": "histogram", "note": "text", "table": "table", "page": "html",
        "drawing": "image", "voice": "audio",
    }  # fmt: skip
    assert [(one["step"], one["caption"]) for one in page["media"] if one["name"] == "sample"] == [
        (0, "<b>"), (1, "<b>"), (2, "<b>"),
    ]  # fmt: skip


def test_histograms_are_one_grid(seen: Asker, trial: TrialLogger) -> None:
    """A row a step, on one scale from the least to the greatest edge; each row is all of its values."""
    found = seen.json(f"/api/media?uid={trial.trial.uid}&name=weights")

    assert (found["steps"], found["low"], found["high"]) == ([0, 1, 2], 0.0, 3.0)
    assert [round(sum(row), 3) for row in found["rows"]] == [1.0, 1.0, 1.0]
    assert {len(row) for row in found["rows"]} == {48}
    assert found["rows"][0][0] > 0.4
    assert found["rows"][2][0] == 0


def test_tables_and_texts_are_read_by_the_server(seen: Asker, trial: TrialLogger) -> None:
    """Of a table the first rows come, as texts, whatever it is stored as."""
    table = seen.json(address(trial, "table"))

    assert (table["columns"], table["rows"][7][0], len(table["rows"]), table["left"]) == (["a", "b"], "7", 200, 300)
    assert len(table["rows"][0][1]) <= 200
    assert seen.json(address(trial, "note")) == {"text": "<script>alert(1)</script>"}


def test_a_page_is_shown_in_a_sandbox(seen: Asker, trial: TrialLogger) -> None:
    """HTML that was logged comes with a policy under which it runs nothing and asks nobody."""
    page = seen.ask(address(trial, "page", more="&show=page"))

    assert b"<!LINK rel=preconnect" in page
    policy = seen.headers["Content-Security-Policy"]
    assert seen.status == 200
    assert policy.startswith("sandbox; default-src 'none'")
    assert "allow-" not in policy
    assert status(seen, address(trial, "table", more="&show=page")) == 404


def test_a_drawing_is_no_document(seen: Asker, trial: TrialLogger) -> None:
    """An SVG is what an image element shows; who opens its address gets a download, in a sandbox."""
    seen.ask(address(trial, "drawing", path="file"))

    assert seen.headers["Content-Type"] == "image/svg+xml"
    assert seen.headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in seen.headers["Content-Security-Policy"]


def test_a_type_that_was_made_up_is_not_said(tmp_path: Path) -> None:
    """Whoever writes to a store may say anything of a file: what is no picture, sound or video stays bytes."""
    with TrackClient(f"file://{tmp_path}/runs.json").new_trial(parameters={}) as other:
        kept = other.log_artifact(b"<script>alert(1)</script>", "page.html")
        assert kept is not None
        media = {"kind": "image", "type": "text/html"}
        other.protocol.log_trial_artifact(other.trial, "page.html", kept.uri, kept.digest, kept.size, media=media)
    asker = enter(Dashboard(other.protocol.uri, "secret", interval=0), "secret")

    asker.ask(f"/api/file?uid={other.trial.uid}&digest={kept.digest}")

    assert asker.headers["Content-Type"] == "application/octet-stream"


def test_a_file_is_nothing_to_look_at(seen: Asker, trial: TrialLogger) -> None:
    """Only what was logged to be looked at is read for the page; a stranger's digest is none."""
    model = next(line for line in trial.trial.artifacts if line["name"] == "model.bin")

    assert status(seen, f"/api/media?uid={trial.trial.uid}&digest={model['digest']}") == 404
    assert status(seen, f"/api/media?uid={trial.trial.uid}&digest={'0' * 64}") == 404
    assert status(seen, f"/api/media?uid={trial.trial.uid}&name=nothing") == 404


def test_one_histogram_that_is_none_hides_no_other(tmp_path: Path) -> None:
    """Of those that can be read there is a grid; where none can, that is said, and nothing fails."""
    data = b'{"counts":["a"],"edges":[]}'
    with TrackClient(f"file://{tmp_path}/runs.json").new_trial(parameters={}) as trial:
        trial.log_histogram("some", [1.0, 2.0], step=3)
        for name in ("some", "none"):
            said = {"media": {"kind": "histogram", "index": 1}, "step": 4}
            digest = hashlib.sha256(data).hexdigest()
            uri = inline_uri(data, "application/json")
            trial.protocol.log_trial_artifact(trial.trial, name, uri, digest, len(data), **said)
    seen = enter(Dashboard(trial.protocol.uri, "secret", interval=0), "secret")

    assert seen.json(f"/api/media?uid={trial.trial.uid}&name=some")["steps"] == [3]
    assert status(seen, f"/api/media?uid={trial.trial.uid}&name=none") == 502
