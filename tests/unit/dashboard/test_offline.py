"""What a file answers is what the page's program answers: charts and filters, asked of both."""

from __future__ import annotations

import json
import math
import random
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import track.dashboard
from track import TrackClient
from track.dashboard import as_document
from track.dashboard.bundle import Module, joined
from track.dashboard.watching import Watched
from track.errors import InvalidQuery

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="needs node")
HERE = Path(track.dashboard.__file__).parent
ASK = """
import * as api from "./api.js";
const { data, questions } = JSON.parse(require("fs").readFileSync(0, "utf8"));
globalThis.document = { getElementById: () => ({ textContent: data, remove() {} }) };
const answers = [];
const plain = (key, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value);
const all = async () => {
  for (const [name, ...asked] of questions)
    answers.push(await api[name](...asked).catch((error) => ({ error: error.message })));
  console.log(JSON.stringify(answers, plain));
};
all();
"""


class Asked:
    """A store, and the file that was made of it."""

    def __init__(self, client: TrackClient, **options: Any) -> None:
        self.protocol = client.protocol
        self.trials = client.protocol.brief_trials()
        self.uids = [trial.uid for trial in self.trials]
        html = as_document(self.protocol, self.trials, **options).html
        self._data = re.findall(r'id="data">([^<]*)<', html)[0]

    def ask(self, questions: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Return what the scripts of the file answer."""
        texts = {path.name: path.read_text(encoding="utf-8") for path in (HERE / "static").glob("*.js")}
        texts |= {path.name: path.read_text(encoding="utf-8") for path in (HERE / "offline").glob("*.js")}
        modules = {name: Module(name, text) for name, text in (texts | {"ask.js": ASK}).items()}
        sent = json.dumps({"data": self._data, "questions": list(questions)})
        done = subprocess.run(
            [str(NODE), "-e", joined(modules, "ask.js")],
            input=sent,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        found: list[Any] = json.loads(done.stdout)
        return found


def _client() -> TrackClient:
    """Return runs with a curve of each kind: even, uneven and late steps, other metrics, what is not finite."""
    client = TrackClient("ephemeral:", environment="none")
    client.set_project(name="digits")
    noise = random.Random(1)
    for place in range(3):
        with client.new_trial(name=f"run{place}", parameters={"place": place}, force=True) as trial:
            started = trial.trial.timestamps["started"]
            steps = list(range(0, 400, place + 1))
            if place == 2:
                noise.shuffle(steps)
            times = [started + step / 7 for step in steps]
            values = [noise.gauss(0, 1) for _ in steps]
            if place:
                values[3], values[7], values[8] = math.nan, math.inf, -math.inf
            trial.log_series("loss", values, steps=steps, times=times)
            trial.log_series("tokens", [1000.0 * step for step in steps[:50]], steps=steps[:50], times=times[:50])
    return client


@pytest.fixture(scope="module")
def short() -> Asked:
    """Three runs that have all of their points in the file."""
    return Asked(_client())


QUESTIONS = [
    {"buckets": 50},
    {"buckets": 1},
    {"buckets": 1000},
    {"buckets": 37, "start": 20, "end": 90},
    {"buckets": 9, "start": 395.5},
    {"buckets": 5, "start": 1000, "end": 2000},
    {"buckets": 40, "x": "relative"},
    {"buckets": 40, "x": "offset"},
    {"buckets": 40, "x": "metric:tokens"},
    {"buckets": 40, "x": "metric:nothing"},
    {"buckets": 64, "smoothing": 0.9},
    {"buckets": 64, "smoothing": 0.5, "start": 100, "end": 300},
]


@pytest.mark.parametrize("asked", QUESTIONS, ids=str)
def test_chart_of_all_points_is_that_of_the_store(short: Asked, asked: dict[str, Any]) -> None:
    """The same buckets, with the same least, mean and greatest value, and the same marks."""
    question = {"x": "step", "start": None, "end": None, "smoothing": None} | asked
    (found,) = short.ask([("fetchChart", {**question, "uids": [*short.uids, "nobody_0"], "metric": "loss"})])

    of = short.protocol.fetch_buckets(
        short.uids, "loss", *(question[name] for name in ("buckets", "x", "start", "end"))
    )
    smooth = short.protocol.fetch_buckets(short.uids, "loss", **{**question, "buckets": question["buckets"]})

    assert found["edges"] == pytest.approx(list(of.edges))
    assert found["unplaced"] == sum(of.unplaced)
    assert [curve["uid"] for curve in found["curves"]] == of.uids
    for curve in found["curves"]:
        these, smoothed = of[curve["uid"]], smooth[curve["uid"]]
        some = [i for i, count in enumerate(these.count) if count]
        assert curve["count"] == [these.count[i] for i in some]
        for name, plane in (("mean", smoothed.mean), ("low", smoothed.least), ("high", smoothed.greatest)):
            assert curve[name] == pytest.approx([plane[i] for i in some], rel=1e-6, abs=1e-6)
        marked = sum(sum(getattr(these, kind)) for kind in ("nan", "plus_inf", "minus_inf"))
        assert sum(mark["count"] for mark in curve["marks"]) == marked
        assert all(found["edges"][0] <= x <= found["edges"][-1] for x in curve["xs"])


@pytest.mark.parametrize("x", ["time", "wall"])
def test_chart_along_time_is_that_of_the_store(short: Asked, x: str) -> None:
    """Within what a pixel shows: as many points are in each part of the time."""
    question = {"uids": short.uids, "metric": "loss", "buckets": 10, "x": x}
    (found,) = short.ask([("fetchChart", question)])

    of = short.protocol.fetch_buckets(short.uids, "loss", 10, x)

    assert found["edges"] == pytest.approx(list(of.edges), abs=0.01)
    for curve in found["curves"]:
        kept = [int(count) for count in of[curve["uid"]].count if count]
        assert curve["count"] == pytest.approx(kept, abs=1)


def test_thinned_chart_is_about_that_of_the_store() -> None:
    """No spike is lost at any zoom, all points are counted, and the means are those of the points."""
    client = TrackClient("ephemeral:", environment="none")
    noise = random.Random(1)
    values = [noise.gauss(0, 1) for _ in range(30_000)]
    values[12_345] = 100.0
    for _ in range(4):
        with client.new_trial(parameters={}, force=True) as trial:
            trial.log_series("loss", values)
            trial.log_series("tokens", [8.0 * i for i in range(30_000)])
    asked = Asked(client, limit=260_000)
    questions = [
        {"buckets": 100, "x": "step"},
        {"buckets": 100, "x": "step", "start": 12_000, "end": 12_600},
        {"buckets": 100, "x": "relative"},
        {"buckets": 100, "x": "metric:tokens"},
        {"buckets": 100, "x": "time"},
        {"buckets": 100, "x": "step", "smoothing": 0.99},
    ]

    everything = asked.ask([("fetchChart", {**one, "uids": asked.uids, "metric": "loss"}) for one in questions])

    for question, found in zip(questions, everything, strict=True):
        assert len(found["curves"]) == 4
        curve = found["curves"][0]
        if "smoothing" not in question:
            assert max(curve["high"]) == 100
        if "start" not in question:
            assert sum(curve["count"]) == 30_000
    of = asked.protocol.fetch_buckets(asked.uids, "loss", 100, smoothing=0.99)
    differences = [abs(a - b) for a, b in zip(everything[-1]["curves"][0]["mean"], of[asked.uids[0]].mean, strict=True)]
    assert sum(differences) / 100 < 0.1
    assert everything[1]["edges"][0] == 12_000
    assert everything[0]["edges"] == pytest.approx(list(of.edges))


FILTERS = [
    "",
    "lr<0.05",
    "lr<=0.01 lr>=0.01",
    "lr>1e-2 -status:failed",
    "!lr>0.01",
    "status:failed",
    "status=failed",
    "status!=failed",
    "status:completed,Exception",
    "loss.min<0.5",
    "loss>0.5",
    "loss.count=3",
    "metrics.loss.max<1e3",
    "loss=nan",
    "loss!=nan",
    "tag:paper",
    "tag:stage=final",
    "tag:as=1",
    "tag:as=true",
    "tag:as=0.10",
    "tag:stage=first,paper",
    "project:digits",
    "project:other",
    "group:ablation",
    "name:base",
    "name~^wi",
    'name="wide one"',
    '"wide one"',
    "WIDE",
    "memory",
    "optim~ad.m",
    "optim=adam",
    "optim!=adam",
    "optim=none",
    "flag=true",
    "flag=True",
    "flag:true",
    "flag=1",
    "text=1",
    "text<2",
    "nothing=1",
    "nothing!=1",
    "nothing=none",
    "revision=0",
    "time<1h",
    "age<1d",
    "age>1d",
    "metadata.note~hello",
    "parameters.lr=0.1",
    "tags.stage=final",
    "uid:0",
    "host:nowhere",
    "__proto__=7",
    "constructor=1",
    "list=[1, 2]",
    'list="[1, 2]"',
    "lr<",
    "lr<abc",
    'lr<"abc"',
    '"open',
    "colour:red",
    "status:",
    "name~[",
    "lr=.1",
    "lr=1_0",
    "lr<inf",
    "lr<-inf",
    "lr==0.1",
    "stage=final",
    'say=\\"hi\\"',
    "big>1e20",
]


def test_filters_mean_the_same() -> None:
    """Each finds the same runs as the command line, and what is wrong there is wrong here."""
    client = TrackClient("ephemeral:", environment="none")
    client.set_project(name="digits")
    client.set_group(name="ablation")
    runs: list[tuple[str, dict[str, Any], list[float], dict[str, Any], str]] = [
        ("base", {"lr": 0.1, "optim": "adam", "flag": True, "__proto__": 7}, [3, 2, 1], {"stage": "final"}, ""),
        ("wide one", {"lr": 0.01, "optim": "sgd", "text": "1"}, [0.1, math.nan], {"paper": True}, "out of memory"),
        ("late", {"lr": 1e-3, "flag": False, "list": [1, 2], "big": 2**80}, [math.inf], {"stage": "first"}, ""),
        ("bare", {"lr": 10, "optim": None, "flag": 1}, [], {}, ""),
        ("text", {"lr": 20}, [], {"as": "1"}, ""),
        ("number", {"lr": 30}, [], {"as": 1}, ""),
    ]
    for name, parameters, values, tags, error in runs:
        try:
            with client.new_trial(name=name, parameters=parameters, force=True) as trial:
                trial.add_tags(**tags)
                trial.log_metadata(note=f"hello {name}")
                for step, value in enumerate(values):
                    trial.log_metrics(step=step, loss=value)
                if error:
                    raise RuntimeError(error)
        except RuntimeError:
            pass
    watched, asked = Watched(client.protocol), Asked(client)
    names = {trial.uid: trial.name for trial in asked.trials}

    found = asked.ask([("fetchFound", text) for text in FILTERS])

    said = {}
    for text, uids in zip(FILTERS, found, strict=True):
        try:
            expected: Any = [names[uid] for uid in watched.matching(text)]
        except InvalidQuery:
            expected = "wrong"
        said[text] = ("wrong" if isinstance(uids, dict) else [names[uid] for uid in uids], expected)
    assert {text: pair for text, pair in said.items() if pair[0] != pair[1]} == {}


def test_page_of_a_run_is_that_of_the_store(short: Asked) -> None:
    """With its packages, which are in the file once; of a run that is not there it says so."""
    from track.dashboard.rows import page_of
    from track.reading import environment_in

    trial = short.trials[1]
    found, missing = short.ask([("fetchRun", trial.uid), ("fetchRun", "__proto__")])

    expected = page_of(trial, str, environment_in(short.protocol, trial))
    assert {name: found[name] for name in expected} == json.loads(json.dumps(expected, default=str))
    assert missing == {"error": "there is no such run"}


def test_code_that_differs_is_named(tmp_path: Path) -> None:
    """The file says which files of code differ; what is in them stays in the store."""
    client = TrackClient(f"file://{tmp_path}/runs.json", environment="none")
    for place, texts in enumerate(({"a.py": "1", "b.py": "1"}, {"a.py": "1", "b.py": "2", "c.py": "3"})):
        with client.new_trial(parameters={"place": place}, force=True) as trial:
            for name, text in texts.items():
                (tmp_path / name).write_text(text)
                trial.log_file(tmp_path / name, name=f"code/{name}")
    asked = Asked(client)

    (both,) = asked.ask([("fetchCode", *asked.uids)])

    assert [(one["name"], one["lines"]) for one in both] == [("a.py", []), ("b.py", []), ("c.py", [])]
    assert [one.get("why") for one in both] == [None, "differs; how, is not in this file", "one run has it"]
