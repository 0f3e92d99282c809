"""Workers whose store, or whose set, changes under them: a server that goes and comes, a disk that gets full."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.children import fork, wait
from tests.e2e.disks import full, mounted
from tests.servers import postgres
from tests.servers.track import Process
from tests.sweeps import bodies, shell_set
from track.manager import ExperimentManager, work
from track.manager.members import trials_of
from track.structure import Status

pytest.importorskip("yaml")
pytestmark = pytest.mark.usefixtures("log")
_EXPERIMENTS = 8
_SCRIPT = "sleep 0.2\n"


@pytest.fixture(params=["sqlite", "postgresql", "socket"])
def restart(
    request: pytest.FixtureRequest, tmp_path: Path, own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], None]]:
    """Configure an empty store, and give what kills its server and starts it again; nothing of a file."""
    server: Any = None
    if request.param == "sqlite":
        uri = f"sqlite:{tmp_path}/store"
    elif request.param == "postgresql":
        if postgres.binaries() is None:
            pytest.skip("no PostgreSQL here")
        server = postgres.Postgres(durable=True)
        uri = server.new_database()
    else:
        server = Process(f"file:{tmp_path}/store")
        server.start()
        uri = f"socket://127.0.0.1:{server.port}"
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", uri)

    def again() -> None:
        if server is not None:
            server.kill()
            time.sleep(0.3)
            server.start()

    yield again
    if server is not None:
        server.kill()
        if request.param == "postgresql":
            server.close()


def _numbers(first: int = 0, last: int = _EXPERIMENTS) -> str:
    return f"{{number: {' | '.join(map(str, range(first, last)))}}}"


def _ran_once(root: Path, log: Path) -> None:
    manager = ExperimentManager(root)
    trials = trials_of(manager._set)
    found = {name: (trial.status, trial.attempt) for name, trial in trials.items() if not trial.deleted}
    manager.close()
    assert found == dict.fromkeys(found, (Status.Completed, 1))
    assert {name: len(ran) for name, ran in bodies(log).items() if name in found} == dict.fromkeys(found, 1)


@pytest.mark.parametrize("restart", ["postgresql", "socket"], indirect=True)
def test_a_server_that_goes_and_comes_again_loses_no_experiment(
    restart: Callable[[], None], tmp_path: Path, log: Path
) -> None:
    """Workers wait for it; each body runs once, whatever it was killed in."""
    root = tmp_path / "set"
    shell_set(root, _numbers(), _SCRIPT)

    workers = [fork(work, root) for _ in range(2)]
    for count in (1, 3, 5):
        while sum(map(len, bodies(log).values())) < count:
            time.sleep(0.01)
        restart()

    assert [wait(pid) for pid in workers] == [0, 0]
    assert len(bodies(log)) == _EXPERIMENTS
    _ran_once(root, log)


def test_two_sets_of_one_store_and_one_name_run_each_their_own(
    restart: Callable[[], None], tmp_path: Path, log: Path
) -> None:
    """A worker of one takes nothing of the other, though their folders and experiments are called the same."""
    roots = [tmp_path / folder / "set" for folder in ("one", "other")]
    for root in roots:
        root.parent.mkdir()
        shell_set(root, _numbers(0, 3), f'echo "{root.parent.name}" >> "{root.parent}/ran"\n')

    workers = [fork(work, root) for root in roots]

    assert [wait(pid) for pid in workers] == [0, 0]
    for root in roots:
        assert (root.parent / "ran").read_text() == f"{root.parent.name}\n" * 3
        assert not [path for path in root.iterdir() if path.name.endswith("_1")]


def test_a_set_that_is_relinked_while_workers_run_is_run_once(
    restart: Callable[[], None], tmp_path: Path, log: Path
) -> None:
    """To let go and take hold again, and to register more, disturbs no worker; what is let go does not begin."""
    root = tmp_path / "set"
    manager = shell_set(root, _numbers(), _SCRIPT)
    manager.unlink("number=7")
    manager.close()
    workers = [fork(lambda: work(root, wait=2.0)) for _ in range(2)]

    manager.relink(None)
    manager.register(string_params=_numbers(20, 22))
    manager.relink("number=[0-5]")
    manager.unlink("number=6")
    manager.relink("number=6")
    manager.close()

    assert [wait(pid) for pid in workers] == [0, 0]
    assert set(bodies(log)) == {f"number={number}" for number in (0, 1, 2, 3, 4, 5, 6, 20, 21)}
    _ran_once(root, log)
    assert (root / "number=7" / "params.yml").exists()


@pytest.mark.root
@pytest.mark.parametrize("backend", ["file", "sqlite"])
def test_workers_wait_until_a_store_that_is_full_has_room(
    backend: str, tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are there when somebody has made some; each body runs once."""
    disk, root = tmp_path / "disk", tmp_path / "set"
    disk.mkdir()
    with mounted(disk, "size=4m"):
        monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", f"{backend}:{disk}/store")
        shell_set(root, _numbers(), _SCRIPT)
        with full(disk):
            workers = [fork(work, root) for _ in range(2)]
            time.sleep(1.5)
            ended = [os.waitpid(pid, os.WNOHANG)[0] for pid in workers]

        assert ended == [0, 0]
        assert [wait(pid) for pid in workers] == [0, 0]
        assert len(bodies(log)) == _EXPERIMENTS
        _ran_once(root, log)
