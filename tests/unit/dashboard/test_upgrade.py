"""A page whose library is replaced while it runs: it goes on with what it began with."""

from __future__ import annotations

from pathlib import Path

from tests.children import printed_by
from track import TrackClient

_PROGRAM = """
import sys

from tests.unit.dashboard.asking import HOST, enter
from track.dashboard import Dashboard

uri, one, other, digest = sys.argv[1:]
page = Dashboard(uri, "secret", interval=0, writes=True)
asker = enter(page, "secret")
asker.ask("/")
page.read_ahead()


class Replaced:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "track":
            raise ImportError(f"{name} is of another version")


sys.meta_path.insert(0, Replaced())
sys.modules["track.dashboard.app"]._STATIC = None


def ask(path, **how):
    said = asker.ask(path, **how)
    assert asker.status == 200, (path, how, said)


for path in ("/", "/run.js", "/api/runs", f"/api/run?uid={one}", "/api/find?q=lr%3C1", "/api/find?q=name~%5Er"):
    ask(path)
ask(f"/api/code?uid={one}&uid={other}")
ask(f"/api/file?uid={one}&digest={digest}")
for more in ({}, {"x": "relative"}, {"x": "time"}, {"x": "wall"}, {"x": "metric:loss"}, {"smoothing": 0.5}):
    ask("/api/chart", method="POST", body={"uids": [one, other], "metric": "loss", "buckets": 4, **more})
change = {"uid": one, "tags": {"a": 1}, "note": "n", "status": "pruned"}
ask("/api/edit", method="POST", body=change, HTTP_SEC_FETCH_SITE="same-origin", HTTP_ORIGIN=f"http://{HOST}")
"""


def test_page_goes_on_after_an_upgrade(tmp_path: Path) -> None:
    """Once it has read ahead it imports no part of the library, and reads no file of its client, any more."""
    uri = f"file:{tmp_path}/runs.json"
    client = TrackClient(uri, environment="none")
    uids, digests = [], []
    for lr in (0.1, 0.2):
        with client.new_trial(name="run", parameters={"lr": lr}, force=True) as trial:
            for step in range(3):
                trial.log_metrics(step=step, loss=lr * step)
            logged = trial.log_artifact(b"code", "code/train.py")
        assert logged is not None
        uids.append(logged.trial)
        digests.append(str(logged.digest))
    client.save()

    assert not printed_by(_PROGRAM, uri, *uids, digests[0])
