"""Media in a file of runs: which are in it, that they are thinned evenly, and that nothing else comes in."""

from __future__ import annotations

import base64
import hashlib
import random
from pathlib import Path
from typing import Any

from tests.unit.dashboard.test_onefile import unpacked
from track import TrackClient, fetch
from track.dashboard import as_document
from track.dashboard.onefile import Written, written
from track.dashboard.source import loose
from track.media import framed

SVG = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'>50% #1</svg>"


def _written(client: TrackClient, **options: Any) -> tuple[Written, list[list[dict[str, Any]]]]:
    """Return a document of all runs, and the media of each."""
    made = as_document(client.protocol, client.protocol.brief_trials(), **options)
    return made, [page["media"] for page in unpacked(made.html)[0]["pages"]]


def _noise(size: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + random.Random(size).randbytes(size)


def test_what_is_looked_at_is_in_the_file(tmp_path: Path) -> None:
    """Images and pages with their content, others with what is shown of them; what is too large is counted."""
    client = TrackClient(f"file://{tmp_path}/runs.json")
    with client.new_trial(parameters={}) as trial:
        for step in range(3):
            trial.log_image("sample", [[step, 255]], step=step)
            trial.log_histogram("weights", [float(step), step + 1.0], step=step)
        trial.log_image("drawing", SVG)
        trial.log_text("note", "<script>alert(1)</script>")
        trial.log_table("table", [{"a": 1}])
        trial.log_html("page", "<b>bold</b>")
        trial.log_html("large", "x" * ((1 << 20) + 1))

    made, (media,) = _written(client)

    assert [one["src"][:22] for one in media if one["name"] == "sample"] == ["data:image/png;base64,"] * 3
    by_name = {one["name"]: one for one in media}
    assert by_name["drawing"]["src"].startswith("data:image/svg+xml,<svg")
    assert "50%25 %231" in by_name["drawing"]["src"]
    assert by_name["note"]["held"] == {"text": "<script>alert(1)</script>"}
    assert by_name["table"]["held"] == {"columns": ["a"], "rows": [["1"]], "left": 0}
    assert by_name["weights"]["held"]["steps"] == [0, 1, 2]
    assert by_name["page"]["held"] == {"page": framed("<b>bold</b>")}
    assert "held" not in by_name["large"]
    assert "10 of 11 images" in made.note


def test_small_sounds_and_videos_are_in_the_file(tmp_path: Path) -> None:
    """With the type that their bytes are of; a large one is not, and takes no room from the others."""
    client = TrackClient(f"file://{tmp_path}/runs.json")
    video = bytes(4) + b"ftyp" + bytes(100)
    with client.new_trial(parameters={}) as trial:
        trial.log_audio("voice", [0.0, 1.0], rate=2)
        trial.log_video("moving", video)
        trial.log_video("long", video + bytes(3_000_000))
        for step in range(10):
            trial.log_image("sample", _noise(50_000 + step), step=step)

    made, (media,) = _written(client)

    by_name = {one["name"]: one for one in media}
    assert by_name["voice"]["src"].startswith("data:audio/wav;base64,UklGR")
    assert by_name["moving"]["src"] == f"data:video/mp4;base64,{base64.b64encode(video).decode()}"
    assert "src" not in by_name["long"]
    assert len([one for one in media if one["name"] == "sample" and "src" in one]) == 10
    assert "12 of 13" in made.note


def test_media_are_thinned_evenly_until_they_fit(tmp_path: Path) -> None:
    """The file keeps its limit, first and last of each name are there, and it is said how many of how many are."""
    client = TrackClient(f"file://{tmp_path}/runs.json")
    for name in ("one", "other"):
        with client.new_trial(name=name, parameters={"name": name}) as trial:
            trial.log_series("loss", [1.0] * 1000)
            for step in range(20):
                trial.log_image("sample", _noise(100_000 + step), step=step)

    made, lists = _written(client, limit=2_000_000)

    assert len(made.html) < 2_000_000
    kept = [[one["step"] for one in media if one.get("src")] for media in lists]
    assert kept[0] == kept[1]
    assert kept[0][0] == 0
    assert kept[0][-1] == 19
    assert 4 <= len(kept[0]) < 10
    gaps = [after - before for before, after in zip(kept[0], kept[0][1:], strict=False)]
    assert max(gaps) - min(gaps) <= 1
    assert f"{2 * len(kept[0])} of 40 images, tables and the like, evenly over their steps" in made.note


def test_newest_runs_come_first_where_not_one_of_each_fits(tmp_path: Path) -> None:
    """What has no room is listed once a name, without its content."""
    client = TrackClient(f"file://{tmp_path}/runs.json")
    for place in range(10):
        with client.new_trial(parameters={"place": place}) as trial:
            trial.log_image("sample", _noise(200_000 + place))

    made, lists = _written(client, limit=1_500_000)

    held = ["src" in one for (one,) in lists]
    assert held == sorted(held)
    assert 2 <= sum(held) < 10
    assert f"{sum(held)} of 10 images" in made.note


def test_nothing_else_comes_into_the_file(tmp_path: Path) -> None:
    """Whoever wrote to the store has said where a medium is: no file of this machine is read."""
    secret = _noise(10)
    (tmp_path / "secret.png").write_bytes(secret)
    with TrackClient(f"file://{tmp_path}/runs.json").new_trial(parameters={}) as trial:
        trial.log_image("good", [[1]])
    found = fetch(f"file://{tmp_path}/runs.json")[0]
    places = [
        f"file://{tmp_path}/secret.png", "https://example.org/a.png", "packs/../../secret.png",
        f"packs/aa/{'a' * 32}.tar#999999999999", f"data:text/html;base64,{base64.b64encode(b'<b>').decode()}",
    ]  # fmt: skip
    for place, uri in enumerate(places):
        digest = hashlib.sha256(b"<b>" if uri.startswith("data:") else secret).hexdigest()
        media = {"kind": "image", "type": "text/html", "index": 0}
        found.artifacts.append({"name": f"bad{place}", "uri": uri, "digest": digest, "size": 2**60, "media": media})

    media = unpacked(written(loose([found])).html)[0]["pages"][0]["media"]

    assert [one["name"] for one in media if "src" in one or "held" in one] == ["good"]
    assert len(media) == 1 + len(places)
