"""Images that are logged while their server is away: they are there once it is back, also those of a killed run."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.children import kill, python, start_python
from tests.e2e.served import backend, client, killable, new_trial
from track.logger import TrialLogger
from track.media import Media
from track.persistence import get_protocol

pytestmark = [pytest.mark.network, pytest.mark.usefixtures("own_folders")]


@pytest.fixture(autouse=True)
def _own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def _media(port: int) -> Media:
    """Return what another client of the server finds."""
    with closing(get_protocol(f"socket://127.0.0.1:{port}")) as protocol:
        return TrialLogger(protocol.fetch_trials()[0], protocol).media()


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_media_of_a_time_without_a_server_are_there_later(tmp_path: Path, kind: str) -> None:
    """What is logged before, while and after the server is away comes back in its order, each byte of it."""
    with killable(backend(kind, tmp_path)) as server:
        protocol = client(server.port)
        logger = TrialLogger(new_trial(protocol), protocol, environment="none")
        made = [logger.log_image("sample", [[0]], step=0)]

        server.kill()
        for step in range(1, 20):
            made.append(logger.log_image("sample", [[step]], step=step, caption=f"é {step}"))
            made.append(logger.log_text("note", f"of {step}", step=step))
        waiting = protocol.unsaved()
        server.start()
        made.append(logger.log_histogram("weights", [1.0, 2.0], step=20))
        protocol.flush(60)

        found = _media(server.port)
        assert waiting >= 38
        facts = [[(one.name, one.step, one.caption, one.read_bytes()) for one in some] for some in (made, found)]
        assert facts[0] == facts[1]
        protocol.close()


def test_media_of_a_killed_run_come_with_the_next(tmp_path: Path) -> None:
    """A run that is killed while its server is away has each image whose call returned: `track sync` sends them."""
    with killable(backend("file", tmp_path)) as server:
        script = (
            "import os, time; from track import TrackClient\n"
            f"client = TrackClient('socket://127.0.0.1:{server.port}', environment='none')\n"
            "trial = client.new_trial(parameters={}); trial.start(); client.protocol.flush()\n"
            f"os.kill({server.pid}, 9)\n"
            "for step in range(10):\n"
            "    trial.log_image('sample', [[step]], step=step)\n"
            "print('logged', flush=True); time.sleep(100)\n"
        )
        with start_python("-c", script) as process:
            assert process.stdout is not None
            next(process.stdout)
            kill(process.pid)
        server.kill()
        server.start()

        done = python("-m", "track", "sync")

        assert done.returncode == 0, done.stderr
        found = _media(server.port)
        assert [one.step for one in found] == list(range(10))
        assert len({one.read_bytes() for one in found}) == 10
