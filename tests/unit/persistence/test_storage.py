"""State in memory: what a store answers from."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.reopening import reopened
from track.errors import ConcurrentWrite, CorruptJournal
from track.events import (
    FieldsMerged,
    GroupCreated,
    MetricsLogged,
    ProjectCreated,
    StatusChanged,
    TrialAttached,
    TrialCreated,
)
from track.persistence.local import FileProtocol
from track.persistence.storage import LocalStorage, load_database
from track.structure import Project, Status, Trial, TrialGroup

RUNNING = ("Running", 101)
ELSEWHERE = {"host": "another.host.invalid", "pid": 1, "started": "x"}


@pytest.fixture
def storage() -> LocalStorage:
    """Give a state with a project, a group and a trial; its clock stands at 1,000 seconds."""
    storage = LocalStorage(clock=lambda: 1000.0)
    storage.apply(
        [
            ProjectCreated("p", 1.0, "p", tags={"team": "vision"}),
            GroupCreated("g", 1.0, "idea", project_id="p"),
            TrialCreated("ab", 0, 1.0, name="first", project_id="p"),
            TrialAttached("ab_0", "group", "g", 1.0),
        ]
    )
    return storage


def _trial(storage: LocalStorage) -> Trial:
    return next(storage.find_trials({"uid": "ab_0"}))


# what is there


def test_indexes_of_the_original(storage: LocalStorage) -> None:
    """Uids by kind and by name, and every object by uid."""
    assert (storage.projects, storage.groups, storage.trials) == ({"p"}, {"g"}, {"ab_0"})
    assert (storage.project_names, storage.group_names) == ({"p": "p"}, {"idea": "g"})
    assert {uid: type(item) for uid, item in storage.objects.items()} == {"p": Project, "g": TrialGroup, "ab_0": Trial}
    assert len(storage) == 1


@pytest.mark.parametrize(
    ("kind", "uid", "there"),
    [(Trial, "ab_0", True), (Trial, "p", False), (TrialGroup, "g", True), (Project, "p", True), (Project, None, False)],
)
def test_what_is_stored_is_known(storage: LocalStorage, kind: type, uid: Any, there: bool) -> None:
    """A uid is looked up among the objects of its kind."""
    assert storage.has(kind, uid) is there


def test_creating_again_changes_nothing(storage: LocalStorage) -> None:
    """An event that was applied already, or came twice, is no second object."""
    storage.apply([ProjectCreated("p", 2.0, "q"), GroupCreated("g", 2.0, "q"), TrialCreated("ab", 0, 2.0, name="q")])

    assert (storage.project_names, storage.group_names, _trial(storage).name) == ({"p": "p"}, {"idea": "g"}, "first")


def test_event_of_an_unknown_trial_is_reported(storage: LocalStorage, caplog: pytest.LogCaptureFixture) -> None:
    """An event that names nobody is said and skipped; the others count."""
    storage.apply([MetricsLogged("cd_0", {"x": 1.0}, 2.0), MetricsLogged("ab_0", {"x": 1.0}, 2.0)])

    assert "an event of trial cd_0" in caplog.text
    assert _trial(storage).metrics["x"].val == [1.0]


def test_trial_may_be_in_a_group_before_it_is_there() -> None:
    """Events of two writers may arrive in either order."""
    storage = LocalStorage()

    storage.apply([TrialAttached("ab_0", "group", "g", 1.0), GroupCreated("g", 1.0, "idea")])

    assert next(storage.find_groups()).trials == {"ab_0"}


def test_group_and_project_take_metadata(storage: LocalStorage) -> None:
    """Metadata of owners is merged; one that is not there is passed over."""
    for kind, uid in (("group", "g"), ("project", "p"), ("group", "nowhere")):
        storage.apply([FieldsMerged(kind, uid, "metadata", {"dtype": 1, "value": 2}, 2.0)])

    assert next(storage.find_groups()).metadata == {"dtype": 1, "value": 2}
    assert next(storage.find_projects()).metadata == {"dtype": 1, "value": 2}


# what is shown


@pytest.mark.parametrize(("tags", "shown"), [({"a": 1}, {"a": 1}), ({"team": "x"}, {}), (["a"], {"a": True})])
def test_tags_of_the_project_are_shown(storage: LocalStorage, tags: Any, shown: dict[str, Any]) -> None:
    """A trial shows its own tags and its project's, which win; a query sees the same."""
    storage.apply([TrialCreated("cd", 0, 1.0, tags=tags, project_id="p")])

    found = list(storage.find_trials({"tags.team": "vision", "hash": "cd"}))

    assert [trial.tags for trial in found] == [{**shown, "team": "vision"}]


def test_view_is_the_readers(storage: LocalStorage) -> None:
    """What a reader does to a trial, a group or a project stays with the reader."""
    for item in (_trial(storage), next(storage.find_groups()), next(storage.find_projects())):
        item.metadata["mine"] = 1

    assert "mine" not in _trial(storage).metadata
    assert next(storage.find_groups()).metadata == {}
    assert next(storage.find_projects()).metadata == {}


@pytest.mark.parametrize(("silence", "status"), [(899.0, Status.Running), (901.0, Status.Broken)])
def test_silent_trial_of_another_host_is_broken(storage: LocalStorage, silence: float, status: Status) -> None:
    """A trial that runs elsewhere and says nothing for a quarter of an hour is shown Broken, also to a query."""
    storage.apply([StatusChanged("ab_0", RUNNING, 1000.0 - silence, process=ELSEWHERE)])

    assert _trial(storage).status is status
    assert [trial.uid for trial in storage.find_trials({"status": status})] == ["ab_0"]


def test_any_event_is_a_sign_of_life(storage: LocalStorage) -> None:
    """A trial that logs is alive."""
    storage.apply([StatusChanged("ab_0", RUNNING, 1.0, process=ELSEWHERE), MetricsLogged("ab_0", {"x": 1.0}, 999.0)])

    assert _trial(storage).status is Status.Running


def test_trial_that_ended_is_not_broken(storage: LocalStorage) -> None:
    """Only a trial that says it runs can be found dead."""
    storage.apply(
        [StatusChanged("ab_0", RUNNING, 1.0, process=ELSEWHERE), StatusChanged("ab_0", ("Completed", 302), 2.0)]
    )

    assert _trial(storage).status is Status.Completed


# looking up


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"uid": "ab_0"}, ["ab_0"]),
        ({"uid": "cd_0"}, []),
        ({"uid": ["ab_0"]}, []),
        ({"hash": "ab"}, ["ab_0", "ab_1"]),
        ({"hash": "cd"}, []),
        ({"hash": "ab", "revision": 1}, ["ab_1"]),
        ({"uid": "ab_0", "name": "other"}, []),
    ],
    ids=str,
)
def test_trials_by_uid_and_hash(storage: LocalStorage, query: Any, found: list[str]) -> None:
    """A uid or a hash leads straight to its trials, and the rest of the query still counts."""
    storage.apply([TrialCreated("ab", 1, 2.0)])

    assert [trial.uid for trial in storage.find_trials(query)] == found


def test_revisions_of_a_hash(storage: LocalStorage) -> None:
    """The revisions that are taken."""
    storage.apply([TrialCreated("ab", 3, 2.0)])

    assert (storage.revisions("ab"), storage.revisions("cd")) == ({0, 3}, set())


# files


def test_state_is_written_and_read(storage: LocalStorage, tmp_path: Path) -> None:
    """A state on its own goes to a file and comes back, with the indexes of nested objects."""
    storage.apply([MetricsLogged("ab_0", {"x": 1.0}, 2.0)])
    path = str(tmp_path / "state.json")

    storage.commit(path)

    again = load_database(path)
    assert (again.target_file, again.trials, again.group_names) == (path, {"ab_0"}, {"idea": "g"})
    assert _trial(again).metrics["x"].val == [1.0]


def test_state_without_a_file_is_not_written(storage: LocalStorage, tmp_path: Path, monkeypatch: Any) -> None:
    """Without a target there is nothing to do."""
    monkeypatch.chdir(tmp_path)

    storage.commit()

    assert list(tmp_path.iterdir()) == []


def test_file_with_a_journal_belongs_to_its_backend(storage: LocalStorage, tmp_path: Path) -> None:
    """A file whose journal would be applied twice is not replaced."""
    path = tmp_path / "state.json"
    Path(f"{path}.journal").touch()

    with pytest.raises(ConcurrentWrite, match="has a journal: save it with the commit of its backend"):
        storage.commit(str(path))


@pytest.mark.parametrize("name", [None, "missing.json"])
def test_state_of_no_file_is_empty(name: str | None, tmp_path: Path) -> None:
    """A file that is not there is an empty state that knows its file."""
    path = name and str(tmp_path / name)

    state = load_database(path)

    assert (len(state), state.projects, state.target_file) == (0, set(), path)


def test_damaged_file_is_left_as_it_is(storage: LocalStorage, tmp_path: Path) -> None:
    """A file that cannot be read is an error that names it; file and state stay."""
    path = tmp_path / "state.json"
    path.write_text("{broken", encoding="utf-8")

    with pytest.raises(CorruptJournal, match=r"state\.json"):
        storage.reload(str(path))

    assert (path.read_text(encoding="utf-8"), storage.trials) == ("{broken", {"ab_0"})


def test_reload_replaces_everything(storage: LocalStorage, tmp_path: Path) -> None:
    """After a reload there is what the file holds, and nothing else."""
    path = str(tmp_path / "state.json")
    storage.commit(path)
    storage.apply([TrialCreated("cd", 0, 2.0)])

    storage.reload(path)

    assert (storage.trials, storage.target_file) == ({"ab_0"}, None)


def test_smart_reload_keeps_objects(storage: LocalStorage, tmp_path: Path) -> None:
    """What is newer in the file joins the objects that are here, which stay the same; what is new is added."""
    path = str(tmp_path / "state.json")
    storage.commit(path)
    other = load_database(path)
    other.apply([MetricsLogged("ab_0", {"x": 1.0}, 2.0), TrialCreated("cd", 0, 2.0), ProjectCreated("q", 2.0, "q")])
    other.commit(path)
    ours = storage.objects["ab_0"]
    before = storage.get_current_version_tag(ours)

    storage.smart_reload(path)

    assert storage.objects["ab_0"] is ours
    assert (ours.metrics["x"].val, storage.trials, storage.projects) == ([1.0], {"ab_0", "cd_0"}, {"p", "q"})
    assert (storage.get_previous_version_tag(ours), storage.get_current_version_tag(ours)) == (before, before + 1)


def test_smart_reload_of_an_older_file_keeps_ours(
    storage: LocalStorage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that lags behind takes nothing away."""
    path = str(tmp_path / "state.json")
    storage.commit(path)
    storage.apply([MetricsLogged("ab_0", {"x": 1.0}, 2.0)])

    with caplog.at_level(logging.WARNING):
        storage.smart_reload(path)

    assert _trial(storage).metrics["x"].val == [1.0]
    assert "trial ab_0 in the file is older than here: ours is kept" in caplog.text


def test_versions_of_other_objects(storage: LocalStorage) -> None:
    """Only trials are counted."""
    assert storage.get_current_version_tag(storage.objects["p"]) is None
    assert storage.get_previous_version_tag(storage.objects["p"]) == 0


def test_project_of_a_storage_has_its_members() -> None:
    """A project asked of a storage itself has its groups and trials: a backend of one's own may rely on it."""
    storage = LocalStorage()
    storage.apply([ProjectCreated("p", 1.0, "p"), GroupCreated("g", 1.0, "g", project_id="p")])
    storage.apply([TrialCreated("ab", 0, 1.0, project_id="p")])

    (project,) = storage.find_projects()

    assert ([group.uid for group in project.groups], [trial.uid for trial in project.trials]) == (["g"], ["ab_0"])


def test_a_snapshot_has_what_changed_in_every_project(tmp_path: Path) -> None:
    """A trial of the second project, changed since it was read from the file, is saved as it is now."""
    protocol = FileProtocol(f"file:{tmp_path}/a.json?lock=always")
    protocol.apply(ProjectCreated("one", 1.0, "one"), ProjectCreated("two", 1.0, "two"))
    protocol.apply(TrialCreated("ab", 0, 1.0, project_id="two"))
    protocol.commit()
    protocol = reopened(protocol)

    protocol.apply(MetricsLogged("ab_0", {"loss": 0.5}, 2.0, 0))
    protocol.commit()

    (trial,) = reopened(protocol).fetch_trials()
    assert trial.metrics["loss"] == {0: 0.5}
