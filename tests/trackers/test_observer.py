"""Runs that sacred's MongoObserver writes while they are imported, again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import track
from tests.servers.mongo import connected
from track.artifacts import artifacts
from track.errors import NothingThere
from track.importing import import_runs

pytest.importorskip("sacred", reason="needs sacred (requirements-trackers.txt)")


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store that is not there yet."""
    return f"file:{tmp_path}/report.json"


@pytest.fixture
def observe(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Give what runs a function as an experiment that a MongoObserver looks at."""
    from pymongo import MongoClient
    from sacred import Experiment
    from sacred.observers import MongoObserver

    monkeypatch.chdir(tmp_path)
    with MongoClient[dict[str, Any]](database) as client:

        def observe(main: Callable[..., Any], **options: Any) -> Any:
            experiment = Experiment("digits", save_git_info=False, interactive=True)
            place = database.rpartition("/")[2]
            experiment.observers.append(MongoObserver(client=client, db_name=place, **options))
            experiment.add_config(lr=0.1)
            experiment.main(main)
            return experiment.run(options={"--capture": "no"})

        yield observe


def _content(uri: str) -> dict[str, Any]:
    """Return all that is in a database."""
    with connected(uri) as database:
        names = sorted(database.list_collection_names())
        return {name: (list(database[name].find()), database[name].index_information()) for name in names}


def test_a_run_that_goes_on_is_stored_once(observe: Callable[..., Any], database: str, store: str) -> None:
    """Each import adds what is new, between the first heartbeat and the end; a last one adds nothing."""
    outcomes: list[Any] = []

    def look() -> None:
        report = import_runs("sacred", database, store)
        assert report.is_complete, report.to_json()
        outcomes.append((*report.runs, report.taken["points"]))

    def main(_run: Any) -> None:
        for step in range(6):
            _run.log_scalar("loss", 1 / (step + 7), step)
            if step == 2:
                _run.log_scalar("late", 1.0, step)
                Path("note.txt").write_text("hello")
                _run.add_artifact("note.txt")
            if step % 2:
                _run._emit_heartbeat()
                look()
                look()

    observe(main)
    look()
    look()

    counts = [("imported", 2), ("present", 0), ("continued", 3), ("present", 0), ("continued", 2), ("present", 0)]
    assert outcomes == [*counts, ("continued", 0), ("present", 0)]
    (trial,) = track.fetch(store)
    assert trial.metrics["loss"] == {step: 1 / (step + 7) for step in range(6)}
    assert trial.metrics["late"] == {2: 1.0}
    assert str(trial.status) == "completed"
    kept = {one.name: one.read_bytes() for one in artifacts(store)}
    assert kept["note.txt"] == b"hello"
    assert kept[f"code/{Path(__file__).name}"] == Path(__file__).read_bytes()
    assert len(trial.artifacts) == len(kept)


def test_nothing_is_written_to_the_source(observe: Callable[..., Any], database: str, store: str) -> None:
    """Neither documents, nor collections, nor indexes."""
    observe(lambda _run: _run.log_scalar("loss", 1.0, 0))
    before = _content(database)

    import_runs("sacred", database, store, dry_run=True)
    import_runs("sacred", database, store)

    assert _content(database) == before


def test_a_dry_run_says_what_is_stored(observe: Callable[..., Any], database: str, store: str, tmp_path: Path) -> None:
    """The same as the import, and no store is made."""
    observe(lambda _run: _run.log_scalar("loss", 1.0, 0))

    dry = import_runs("sacred", database, store, dry_run=True)
    is_there = (tmp_path / "report.json").exists()
    wet = import_runs("sacred", database, store)

    assert not is_there
    assert (dry.runs, dry.taken, dry.left) == (wet.runs, wet.taken, wet.left)


@pytest.mark.parametrize(
    ("given", "asked"),
    [({"collection_prefix": "mine"}, "collection_prefix=mine"), ({"collection": "old"}, "collection=old")],
)
@pytest.mark.filterwarnings("ignore:Argument")
def test_runs_of_other_collections_are_named(
    given: dict[str, str], asked: str, observe: Callable[..., Any], database: str, store: str
) -> None:
    """By the options of the observer; without them the error says which collections are there."""
    observe(lambda _run: _run.log_scalar("loss", 1.0, 0), **given)

    with pytest.raises(NothingThere, match=r"collection runs .*(mine_runs|old).*\?collection_prefix"):
        import_runs("sacred", database, store)
    report = import_runs("sacred", f"{database}?{asked}", store)

    assert (report.is_complete, report.taken["points"]) == (True, 1)


def test_a_queued_run_is_submitted(observe: Callable[..., Any], database: str, store: str) -> None:
    """It was not begun, and the report says so."""
    from pymongo import MongoClient
    from sacred import Experiment
    from sacred.observers import MongoObserver

    with MongoClient[dict[str, Any]](database) as client:
        experiment = Experiment("digits", save_git_info=False, interactive=True)
        experiment.observers.append(MongoObserver(client=client, db_name=database.rpartition("/")[2]))
        experiment.main(lambda: None)
        experiment.run(options={"--queue": True})

    report = import_runs("sacred", database, store)

    (trial,) = track.fetch(store)
    assert (str(trial.status), [one.kind for one in report.left]) == ("submitted", ["status"])
