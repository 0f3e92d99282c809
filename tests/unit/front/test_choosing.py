"""A project, a group or a trial that is chosen already: the same again is silent, another is said."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from track import Project, TrackClient, TrialGroup
from track.errors import TrackError
from track.reading import Trials


@pytest.fixture
def client() -> TrackClient:
    """Give a client on an empty store in memory, with a project and a group."""
    client = TrackClient("ephemeral:")
    client.set_project(name="digits", description="of people", metadata={"year": 2020})
    client.set_group(name="idea", description="the first")
    return client


@pytest.mark.parametrize(
    "again",
    [
        {},
        {"name": "digits"},
        {"name": "digits", "description": "of people", "metadata": {"year": 2020}},
        {"project": Project(name="digits")},
        {"project": Project(_uid="digits")},
    ],
)
def test_same_project_again_is_silent(
    client: TrackClient, again: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A script may say its project twice."""
    assert client.set_project(**again) is client.project

    assert caplog.text == ""


@pytest.mark.parametrize(
    ("other", "differing"),
    [
        ({"name": "letters"}, "name"),
        ({"project": Project(name="letters")}, "name"),
        ({"project": Project(_uid="letters")}, "uid"),
        ({"name": "digits", "description": "of cats"}, "description"),
        ({"name": "digits", "metadata": {"year": 2021}}, "metadata"),
    ],
)
def test_other_project_is_said(
    client: TrackClient, other: dict[str, Any], differing: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A project that is not taken is one warning: what differs, and the way out."""
    client.set_project(**other)

    assert [record.getMessage() for record in caplog.records] == [
        f"the project is 'digits' already, and stays as it is ({differing} would differ): "
        "pass force=True to choose another one"
    ]


@pytest.mark.parametrize(
    "again",
    [{}, {"name": "idea"}, {"name": "idea", "project_id": "digits"}, {"group": TrialGroup(name="idea")}],
)
def test_same_group_again_is_silent(
    client: TrackClient, again: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A script may say its group twice."""
    assert client.set_group(**again) is client.group

    assert caplog.text == ""


@pytest.mark.parametrize(
    ("other", "differing"),
    [
        ({"name": "second"}, "name"),
        ({"group": TrialGroup(name="second")}, "name"),
        ({"name": "idea", "project_id": "letters"}, "project_id"),
    ],
)
def test_other_group_is_said(
    client: TrackClient, other: dict[str, Any], differing: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A group that is not taken is one warning: what differs, and the way out."""
    client.set_group(**other)

    assert [record.getMessage() for record in caplog.records] == [
        f"the group is 'idea' already, and stays as it is ({differing} would differ): "
        "pass force=True to choose another one"
    ]


@pytest.mark.parametrize("is_set", [False, True])
@pytest.mark.parametrize(
    ("verb", "message"),
    [
        ("set_project", r"a project has no field 'nmae'; did you mean 'name'\?"),
        ("set_group", r"a group has no field 'nmae'; did you mean 'name'\?"),
        ("set_trial", r"a trial has no field 'nmae'; did you mean 'name'\?"),
        ("new_trial", r"a trial has no field 'nmae'; did you mean 'name'\?"),
    ],
)
def test_unknown_field_is_refused(client: TrackClient, is_set: bool, verb: str, message: str) -> None:
    """A field that does not exist is an error, also where what is chosen stays."""
    if is_set:
        client.new_trial(parameters={})
    else:
        client = TrackClient("ephemeral:")

    with pytest.raises(TypeError, match=message) as caught:
        getattr(client, verb)(nmae="x")

    assert isinstance(caught.value, TrackError)


# the trial


def test_same_trial_again_is_silent(client: TrackClient, caplog: pytest.LogCaptureFixture) -> None:
    """Asking for the trial that is there gives it."""
    first = client.new_trial(name="a", parameters={"lr": 0.1})

    assert client.new_trial(name="a", parameters={"lr": 0.1}) is first
    assert client.set_trial(uid=first.trial.uid) is first
    assert client.set_trial() is first
    assert caplog.text == ""


@pytest.mark.parametrize("asked", [{}, {"name": "a"}, {"version": "v1"}, {"name": "a", "parameters": {"lr": 0.1}}])
def test_trial_that_nothing_else_is_asked_for_goes_on(
    client: TrackClient, asked: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A trial that has not finished is the one that is meant, where no other one is."""
    first = client.set_version("v1").new_trial(name="a", parameters={"lr": 0.1})

    assert client.new_trial(**asked) is first
    assert caplog.text == ""


@pytest.mark.parametrize(
    "asked",
    [
        {"name": "b"},
        {"version": "v2"},
        {"parameters": {"lr": 0.1}},
        {"name": "a", "parameters": {"lr": 0.2}},
        {"name": "a", "parameters": {"lr": 0.1, "seed": 1}},
        {"name": "a", "parameters": {"lr": 0.1}, "version": "v2"},
        {"name": "a", "parameters": {"lr": 0.1}, "group_id": "other"},
        {"name": "a", "parameters": {"lr": 0.1}, "force": True},
    ],
)
def test_other_trial_is_begun(client: TrackClient, asked: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """Another name, version, group or other parameters are another trial; the earlier one works on, unfinished."""
    first = client.set_version("v1").new_trial(name="a", parameters={"lr": 0.1})
    first.log_metrics(loss=1.0)

    with client.new_trial(**asked) as second:
        second.log_metrics(loss=2.0)
    first.log_metrics(loss=3.0)

    assert second.trial.uid != first.trial.uid
    assert [logger.trial.metrics["loss"].val for logger in (first, second)] == [[1.0, 3.0], [2.0]]
    assert [str(logger.trial.status) for logger in (first, second)] == ["running", "completed"]
    assert "goes on" not in caplog.text
    first.finish()


def test_other_group_makes_another_trial(client: TrackClient) -> None:
    """The same parameters in another group are another trial."""
    first = client.new_trial(parameters={"lr": 0.1})
    client.set_group(name="second", force=True)

    assert client.new_trial(parameters={"lr": 0.1}) is not first


def test_field_that_tells_no_trials_apart_stays(client: TrackClient, caplog: pytest.LogCaptureFixture) -> None:
    """A description makes no other trial; that it is not taken is one warning."""
    first = client.new_trial(name="a", parameters={"lr": 0.1}, description="first")

    assert client.new_trial(name="a", parameters={"lr": 0.1}, description="second") is first

    assert [record.getMessage() for record in caplog.records] == [
        "trial 'a' goes on, and keeps its description: pass force=True to begin another one"
    ]


def test_cell_that_is_run_again_with_another_parameter(client: TrackClient) -> None:
    """A cell that failed, and is run again with another parameter, has two trials."""

    def cell(lr: float, steps: int) -> None:
        trial = client.new_trial(name="run", parameters={"lr": lr})
        for step in range(steps):
            trial.log_metrics(step=step, loss=lr)

    cell(0.1, steps=2)
    cell(0.01, steps=3)

    found = client.protocol.fetch_trials()
    assert [(trial.parameters["lr"], len(trial.metrics["loss"])) for trial in found] == [(0.1, 2), (0.01, 3)]
    client.finish()


# threads and tasks


def _each_in_a_thread(action: Callable[[int], None], count: int = 4) -> None:
    """Run an action in threads, all of which have begun before one goes on."""
    gate = threading.Barrier(count)

    def begin(number: int) -> None:
        gate.wait()
        action(number)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(begin, range(count)))


@pytest.mark.parametrize("is_same", [False, True])
def test_each_thread_has_its_own_trial(client: TrackClient, is_same: bool) -> None:
    """A client that threads share, as with Optuna's n_jobs, serves each its own trial, also of the same parameters."""
    gate = threading.Barrier(4)

    def objective(number: int) -> None:
        with client.new_trial(parameters={"n": 0 if is_same else number}):
            gate.wait()
            client.log_metrics(n=number)
            gate.wait()

    _each_in_a_thread(objective)

    values = [trial.metrics["n"].val for trial in client.protocol.fetch_trials()]
    assert sorted(values) == [[0], [1], [2], [3]]


def test_each_task_has_its_own_trial(client: TrackClient) -> None:
    """Tasks of one thread that overlap have a trial each."""

    async def objective(number: int) -> None:
        with client.new_trial(parameters={"n": 0}):
            await asyncio.sleep(0)
            client.log_metrics(n=number)
            await asyncio.sleep(0)

    async def all_of_them() -> None:
        await asyncio.gather(*map(objective, range(3)))

    asyncio.run(all_of_them())

    values = [trial.metrics["n"].val for trial in client.protocol.fetch_trials()]
    assert sorted(values) == [[0], [1], [2]]


def test_thread_that_chose_nothing_uses_the_trial_of_its_client(client: TrackClient) -> None:
    """A worker thread logs to the trial that the client's own thread has chosen."""
    trial = client.new_trial(parameters={})

    _each_in_a_thread(lambda number: client.log_metrics(n=number))

    assert sorted(trial.trial.metrics["n"].val) == [0, 1, 2, 3]
    trial.finish()


def test_choice_of_a_thread_is_its_own(client: TrackClient) -> None:
    """What a worker thread chooses changes nothing for the others."""
    trial = client.new_trial(parameters={})

    def choose(number: int) -> None:
        client.set_group(name=f"group {number}", force=True)
        client.new_trial(parameters={"n": number})
        assert client.group is not None
        assert client.group.name == f"group {number}"

    _each_in_a_thread(choose)

    assert client.logger is trial
    assert client.group is not None
    assert client.group.name == "idea"


def test_choice_in_asyncio_run_is_seen_after_it(client: TrackClient) -> None:
    """What a coroutine has chosen last is current in its thread, where that had chosen nothing."""

    async def train() -> None:
        client.new_trial(parameters={"lr": 0.1}).log_metrics(loss=1.0)

    asyncio.run(train())

    assert client.trial is not None
    assert client.trial.parameters == {"lr": 0.1}
    client.finish()


def test_clients_that_are_forgotten_are_freed() -> None:
    """What is current keeps no client alive."""
    references = []
    for number in range(3):
        client = TrackClient("ephemeral:")
        client.new_trial(parameters={"n": number})
        references.append(weakref.ref(client))

    del client
    gc.collect()

    assert [reference() for reference in references] == [None] * 3


# trials inside of trials


def test_trial_begun_in_the_block_of_another_has_a_parent(client: TrackClient) -> None:
    """Folds inside of a run name it; what comes after its block does not."""
    with client.new_trial(name="cv", parameters={"k": 3}) as outer:
        folds = [client.new_trial(name="fold", parameters={"fold": fold}) for fold in range(2)]
        for fold in folds:
            with fold:
                fold.log_metrics(acc=1.0)
        outer.log_metrics(mean=1.0)
    after = client.new_trial(name="after", parameters={})

    parents = [logger.trial.metadata.get("parent") for logger in (outer, *folds, after)]
    assert parents == [None, outer.trial.uid, outer.trial.uid, None]
    assert outer.trial.metrics["mean"].val == [1.0]


def test_parent_is_in_the_same_store(client: TrackClient) -> None:
    """A trial of another store is no parent."""
    with TrackClient("ephemeral:").new_trial(parameters={}):
        inner = client.new_trial(parameters={})

    assert "parent" not in inner.trial.metadata


def test_summary_shows_parents(client: TrackClient) -> None:
    """The table of trials has the parent's uid in a column."""
    pytest.importorskip("pandas", reason="needs pandas")
    with client.new_trial(name="cv", parameters={"k": 3}) as outer, client.new_trial(name="fold", parameters={"n": 1}):
        pass

    frame = Trials(client.protocol.fetch_trials()).summary()

    assert list(frame["parent"].dropna()) == [outer.trial.uid]


def test_block_of_a_client_is_that_of_its_trial(client: TrackClient) -> None:
    """``with client:`` ends the trial that it began, also where another one was begun inside."""
    outer = client.new_trial(name="outer", parameters={})
    with client:
        inner = client.new_trial(name="inner", parameters={})

    assert inner.trial.metadata["parent"] == outer.trial.uid
    assert [str(logger.trial.status) for logger in (outer, inner)] == ["completed", "createdgroup"]


def test_other_trial_to_go_on_with_is_said(client: TrackClient, caplog: pytest.LogCaptureFixture) -> None:
    """A trial that is not resumed is one warning that names the way out."""
    first = client.new_trial(parameters={"lr": 0.1})

    assert client.set_trial(uid="abc_0") is first

    assert caplog.text.count("pass force=True") == 1


def test_loop_of_trials_makes_one_each_time(client: TrackClient, caplog: pytest.LogCaptureFixture) -> None:
    """Once a trial has finished, the next call begins another one."""
    for lr in (0.1, 0.2, 0.2):
        trial = client.new_trial()
        trial.log_arguments(lr=lr)
        with trial:
            trial.log_metrics(loss=lr)

    stored = client.protocol.fetch_trials()
    assert [(trial.parameters["lr"], trial.revision) for trial in stored] == [(0.1, 0), (0.2, 0), (0.2, 1)]
    assert [trial.metrics["loss"].val for trial in stored] == [[0.1], [0.2], [0.2]]
    assert caplog.text == ""


def test_finished_trial_gives_way_to_a_stored_one(client: TrackClient, caplog: pytest.LogCaptureFixture) -> None:
    """Once a trial has finished, another one can be gone on with."""
    first = client.new_trial(parameters={"lr": 0.1})
    first.start()
    first.finish()
    with client.new_trial(parameters={"lr": 0.2}):
        pass

    assert client.set_trial(uid=first.trial.uid).trial == first.trial
    assert caplog.text == ""
