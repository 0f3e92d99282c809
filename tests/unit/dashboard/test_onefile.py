"""Trials in one file: what is in it, what is left out, and that it says so."""

from __future__ import annotations

import base64
import json
import math
import random
import re
import struct
import sys
import zlib
from array import array
from pathlib import Path
from typing import Any

import pytest

from tests.children import python
from track import TrackClient, Trials, fetch, show
from track.cli import main
from track.dashboard import as_document
from track.dashboard.onefile import written
from track.dashboard.source import loose, stored
from track.errors import InvalidCall

HOSTILE = ("</script><script>alert(1)</script>", "<!--", "__proto__", "\u202egnp.exe", "x" * 10_000, "]]>", "\x00")


def unpacked(html: str) -> tuple[dict[str, Any], list[list[float]]]:
    """Return the data of a document: what is said, and the planes."""
    found = re.search(r'id="data">([^<]*)<', html)
    assert found is not None
    data = zlib.decompress(base64.b64decode(found[1]))
    (size,) = struct.unpack("<I", data[:4])
    head, start, planes = json.loads(data[4 : 4 + size]), 4 + size, []
    for code, count in head["planes"]:
        width = array(code).itemsize
        part = data[start : start + count * width]
        column = array(code)
        column.frombytes(bytes(part[place * count + i] for i in range(count) for place in range(width)))
        planes.append(column.tolist())
        start += count * width
    assert start == len(data)
    return head, planes


def _client(*runs: dict[str, Any]) -> TrackClient:
    """Return a client with a run for each mapping of metrics to values."""
    client = TrackClient("ephemeral:", environment="none")
    client.set_project(name="digits")
    for place, metrics in enumerate(runs):
        with client.new_trial(name=f"run{place}", parameters={"place": place}, force=True) as trial:
            for name, values in metrics.items():
                trial.log_series(name, values)
    return client


def _document(client: TrackClient, **options: Any) -> Any:
    return as_document(client.protocol, client.protocol.brief_trials(), **options)


def test_short_curves_have_all_of_their_points() -> None:
    """Nothing is thinned where there is room, and the file says no word of it."""
    made = _document(_client({"loss": [3.5, 2.25, 1.125], "acc": [0.5]}, {"loss": [9.0, math.nan, math.inf]}))

    head, planes = unpacked(made.html)
    curves = {(name, place): planes[one["mean"]] for name, some in head["curves"] for place, one in enumerate(some)}
    assert curves["loss", 0] == [3.5, 2.25, 1.125]
    assert curves["acc", 0] == [0.5]
    assert str(curves["loss", 1]) == "[9.0, nan, inf]"
    assert (made.runs, made.total, made.pieces) == (2, 2, 0)
    assert re.fullmatch(r"as it was on \d{4}-\d\d-\d\d \d\d:\d\d UTC", made.note)


def test_long_curve_loses_no_spike_and_no_point_is_forgotten() -> None:
    """The least and the greatest of each piece are there, all points are counted, and what is not finite, too."""
    values: list[float] = [1.0] * 100_000
    values[54_321], values[70_000], values[80_000] = 1000.0, math.nan, -math.inf

    made = _document(_client({"loss": values}))

    head, planes = unpacked(made.html)
    (curve,) = head["curves"][0][1]
    assert max(planes[curve["high"]]) == 1000
    spike = planes[curve["high"]].index(1000)
    assert abs(curve["first"] + spike * curve["by"] - 54_321) <= curve["by"]
    assert sum(planes[curve["count"]]) == 99_998
    assert sorted((kind, count) for kind, _, count in curve["odd"]) == [("minus_inf", 1), ("nan", 1)]
    assert made.pieces == 20_000
    assert "1 of 1 curves have more than 40,000 points and are in 20,000 pieces" in made.note


def test_pieces_of_a_long_curve_know_when_they_were() -> None:
    """Their times rise from the first point's to the last one's, though the steps are not as even as the clock."""
    client = _client()
    with client.new_trial(parameters={}, force=True) as trial:
        started = trial.trial.timestamps["started"]
        times = [started + 10 * (step / 60_000) ** 2 for step in range(60_000)]
        trial.log_series("loss", [1.0] * 60_000, times=times)

    head, planes = unpacked(_document(client).html)

    (curve,) = head["curves"][0][1]
    ticks, sums = 0, []
    for change in planes[curve["time"]]:
        ticks = (ticks + int(change)) % 65_536
        sums.append(curve["since"] + curve["span"] * ticks / 65_534)
    assert sums == sorted(sums)
    for part in (0.25, 0.5, 0.9):
        assert sums[int(part * curve["size"])] - started == pytest.approx(10 * part**2, abs=0.1)


def test_numbers_that_a_half_of_a_double_does_not_tell_apart_are_whole() -> None:
    """Large numbers that differ little, very large and very small ones are as they were logged."""
    close, huge, tiny = [1.7e9, 1.7e9 + 1], [1e300, -1e300], [1e-300, 2e-300]

    head, planes = unpacked(_document(_client({"close": close, "huge": huge, "tiny": tiny})).html)

    assert [planes[some[0]["mean"]] for _, some in head["curves"]] == [close, huge, tiny]


def test_steps_may_be_anything() -> None:
    """Uneven steps are kept one by one; a text is no place, which the page counts."""
    client = _client()
    with client.new_trial(parameters={}, force=True) as trial:
        for step in (1, 10, 100, "end"):
            trial.log_metrics(step=step, loss=1.0)

    head, planes = unpacked(_document(client).html)

    (curve,) = head["curves"][0][1]
    assert str(planes[curve["steps"]]) == "[1.0, 10.0, 100.0, nan]"
    assert curve["ends"] == [1.0, 100.0]


def test_more_runs_than_fit_are_the_newest_and_it_says_so() -> None:
    """A file keeps to its size, whatever it is asked for."""
    made = _document(_client(*({"loss": [i * 0.37 % 1 for i in range(400)]} for _ in range(60))), limit=260_000)

    head, _ = unpacked(made.html)
    assert len(made.html.encode()) <= 260_000
    names = [page["row"]["name"] for page in head["pages"]]
    assert 5 < made.runs < 60
    assert names == [f"run{place}" for place in range(60 - made.runs, 60)]
    assert f"the newest {made.runs} of 60 runs" in made.note
    assert made.note in made.html


@pytest.mark.parametrize("points", [2_000, 20_000])
def test_file_keeps_to_its_size_and_uses_it(points: int) -> None:
    """What has more points than there is room for is thinned as far as it must be, and not much further."""
    noise = random.Random(points)
    made = _document(_client(*({"loss": [noise.random() for _ in range(points)]} for _ in range(60))), limit=700_000)

    assert 0.7 * 700_000 < len(made.html.encode()) <= 700_000
    assert (made.runs, made.pieces > 100) == (60, True)


def test_limit_that_has_no_room_for_the_page_is_refused() -> None:
    """It says how much the least is, and that is enough."""
    client = _client({"loss": [1.0]})
    with pytest.raises(ValueError, match=r"limit=1,000 has no room for the page: [\d,]+ is the least") as refused:
        _document(client, limit=1000)

    least = int(str(refused.value).split()[-4].replace(",", ""))
    assert len(_document(client, limit=least).html.encode()) <= least


def test_long_outputs_are_cut_where_there_is_no_room() -> None:
    """The end of what a run printed is kept: rather less of it than fewer runs."""
    client = TrackClient("ephemeral:", environment="none")
    for place in range(20):
        with client.new_trial(parameters={"place": place}, force=True) as trial:
            noise = random.Random(place).randbytes(20_000).hex()
            trial.log_metadata(stdout=f"{noise} the end")
    made = _document(client, limit=300_000)

    head, _ = unpacked(made.html)
    assert made.runs == 20
    assert all(page["output"].endswith("the end") for page in head["pages"])


def test_nothing_that_is_named_is_in_the_markup() -> None:
    """Whatever runs, metrics, parameters and values are called, the document has the same elements."""
    client = TrackClient("ephemeral:", environment="none")
    for name in HOSTILE:
        with client.new_trial(name=name, parameters={name: name}, force=True) as trial:
            trial.add_tags(**{name: name})
            trial.log_metrics(step=1, **{name: 1.0})
    plain = _document(_client({"loss": [1.0]}))

    html = _document(client).html

    elements = [re.sub(r'id="data">[^<]*<', "", one) for one in (html, plain.html)]
    tags = [re.findall(r"<[^>]*>", re.sub(r"<title>.*?</title>", "", one)) for one in elements]
    assert [len(one) for one in tags] == [len(tags[0])] * 2
    assert re.fullmatch(r"[A-Za-z0-9+/=]*", re.findall(r'id="data">(.*?)</script>', html, re.DOTALL)[0])
    names = {name for name, _ in unpacked(html)[0]["curves"]}
    assert names == set(HOSTILE)


def test_place_is_no_folder_of_this_machine(tmp_path: Path) -> None:
    """Who is given the file learns the name of the store, and neither folders nor passwords."""
    client = TrackClient(f"file://{tmp_path}/deep/secret/runs.json", environment="none")
    with client.new_trial(parameters={}):
        pass

    html = _document(client).html

    head, _ = unpacked(html)
    assert head["said"]["store"] == "runs.json"
    assert "<title>runs.json: 1 run</title>" in html
    assert str(tmp_path) not in json.dumps(head) + html


def test_nothing_of_numpy_is_needed(tmp_path: Path) -> None:
    """Without it the file has the same in it."""
    uri = f"file://{tmp_path}/runs.json"
    client = TrackClient(uri, environment="none")
    with client.new_trial(name="one", parameters={}) as trial:
        trial.log_series("loss", [1 / (i + 1) for i in range(50_000)])
        trial.log_series("short", [1.0, math.nan])
    client.save()
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "from track.cli import main\n"
        f"sys.exit(main(['export', {uri!r}, '--html', {str(tmp_path / 'without.html')!r}]))"
    )

    python("-c", code)

    assert main(["export", uri, "--html", str(tmp_path / "with.html")]) == 0
    (one, planes), (other, same) = (unpacked((tmp_path / f"{name}.html").read_text()) for name in ("with", "without"))
    assert [name for name, _ in one["curves"]] == [name for name, _ in other["curves"]]
    curve = one["curves"][0][1][0] if one["curves"][0][0] == "loss" else one["curves"][1][1][0]
    assert planes[curve["high"]] == same[curve["high"]]
    assert planes[curve["count"]] == same[curve["count"]]


# from the command line


def test_export_writes_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that a filter chooses, to a file or to standard output; of none it says so."""
    uri = f"file://{tmp_path}/runs.json"
    client = TrackClient(uri, environment="none")
    for lr in (0.1, 0.2):
        with client.new_trial(parameters={"lr": lr}, force=True) as trial:
            trial.log_metrics(step=1, loss=lr)
    client.save()
    out = tmp_path / "report.html"

    assert main(["export", uri, "lr<0.2", "--html", str(out)]) == 0
    said = capsys.readouterr().err
    assert main(["export", uri, "--html", "-"]) == 0
    printed = capsys.readouterr().out
    assert main(["export", uri, "--html", str(tmp_path / "none.html"), "lr>7"]) == 1

    assert f"1 trial of 2 written to {out}" in said
    assert len(unpacked(out.read_text())[0]["pages"]) == 1
    assert len(unpacked(printed)[0]["pages"]) == 2
    assert sorted(path.name for path in tmp_path.glob("*.html*")) == ["none.html", "report.html"]


# in a notebook


def test_show_takes_what_people_have(tmp_path: Path) -> None:
    """Trials, one of them, a logger, a client, a URI and a mix of these; each is the page of what it stands for."""
    uri = f"file://{tmp_path}/runs.json"
    client = TrackClient(uri, environment="none")
    for _ in range(3):
        with client.new_trial(parameters={}, force=True) as logger:
            logger.log_metrics(step=1, loss=0.5)
    client.save()
    trials = fetch(uri)

    given = {
        "trials": (trials, 3),
        "uri": (uri, 3),
        "client": (client, 3),
        "part": (trials[:2], 2),
        "logger": (logger, 1),
    }
    given |= {"trial": (trials[0], 1), "list": ([trials[0], logger], 2), "none": (Trials(), 0)}
    for what, (one, runs) in given.items():
        html = show(one)._repr_html_()

        document = re.search(r'srcdoc="([^"]*)"', html)
        assert document is not None, what
        head, _ = unpacked(document[1].replace("&quot;", '"').replace("&lt;", "<").replace("&gt;", ">"))
        assert len(head["pages"]) == runs, what
        assert [name for name, _ in head["curves"]] == (["loss"] if runs else []), what


def test_show_is_a_frame_that_reaches_nothing() -> None:
    """It has an origin of its own, and no attribute of it can be left by what is in it."""
    page = show(_client({"loss": [1.0]}), height=300)

    html = page._repr_html_()

    assert re.fullmatch(
        r'<iframe title="trials" sandbox="allow-scripts" style="[^"<>]*" srcdoc="[^"<>]*"></iframe>', html
    )
    assert "height: 300px" in html
    assert re.fullmatch(r"<page of 1 trials, as it was on .*>", repr(page))


def test_show_can_be_saved(tmp_path: Path) -> None:
    """The file is the document of the frame."""
    page = show(_client({"loss": [1.0]}))

    page.save(tmp_path / "page.html")

    assert len(unpacked((tmp_path / "page.html").read_text(encoding="utf-8"))[0]["pages"]) == 1


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        (7, {}, "7 is no trial"),
        ([1], {}, "1 is no trial"),
        (Trials(), {"height": "tall"}, "height='tall' is no number of pixels"),
        (Trials(), {"height": 0}, "height=0 is no number"),
        (Trials(), {"limit": 10}, "has no room for the page"),
    ],
)
def test_show_of_what_is_none(given: Any, options: dict[str, Any], said: str) -> None:
    """A sentence says what is wrong."""
    with pytest.raises(InvalidCall, match=said):
        show(given, **options)


def test_trials_of_no_store_are_shown_as_they_are() -> None:
    """Those of several stores, or made by hand, have their long curves in pieces, too."""
    client = _client({"loss": [float(i % 7) for i in range(60_000)]})
    trials = client.protocol.fetch_trials()

    (_, by_store), (head, planes) = (
        unpacked(written(source).html) for source in (stored(client.protocol, trials), loose(trials))
    )

    assert head["curves"][0][1][0]["size"] == 20_000
    assert planes == by_store


def test_import_of_track_brings_no_page() -> None:
    """`track.show` costs nothing before it is called."""
    done = python("-c", "import sys, track; print('track.dashboard' in sys.modules, hasattr(track, 'show'))")

    assert done.stdout.split() == ["False", "True"]
    assert "track.dashboard" in sys.modules


def test_packages_of_many_runs_are_read_and_kept_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of one environment share its list, and a store is not asked for it again for each."""
    client = TrackClient(f"sqlite:{tmp_path}/runs.db", environment="packages")
    client.set_project(name="digits")
    for _ in range(5):
        with client.new_trial(parameters={}, force=True):
            pass
    trials, asked = client.protocol.brief_trials(), []
    fetch_projects = client.protocol.fetch_projects
    monkeypatch.setattr(client.protocol, "fetch_projects", lambda query: asked.append(query) or fetch_projects(query))

    head, _ = unpacked(as_document(client.protocol, trials).html)

    assert len(asked) == 1
    assert [page["packages"] for page in head["pages"]] == [1] * 5
    assert "msgspec" in head["packages"][1]
