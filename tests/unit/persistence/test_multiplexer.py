"""Several backends as one; what they have in common with every backend is in tests/conformance."""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from track import TrackClient
from track.errors import BackendUnavailable, InvalidUri
from track.events import MetricsLogged
from track.persistence import get_protocol, register, unregister
from track.persistence.contract.checks import trial_created
from track.persistence.ephemeral import EphemeralProtocol
from track.persistence.multiplexer import ProtocolMultiplexer, make_mirror
from track.persistence.protocol import Protocol
from track.serialization import to_json
from track.structure import Project, Status, Trial, TrialGroup


class _Broken(EphemeralProtocol):
    """A backend whose server is away."""

    def apply(self, *events: Any) -> None:
        """Refuse."""
        raise BackendUnavailable("no route to host")


class _Metrics(Protocol):
    """A backend of somebody who cares for metrics only."""

    def __init__(self, uri: str = "byob:") -> None:
        self.logged: list[Any] = []

    def log_trial_metrics(self, trial: Trial, /, step: Any = None, aggregator: Any = None, **kwargs: Any) -> None:
        """Keep them."""
        self.logged.append((step, kwargs))


class _Silent(_Metrics):
    """A backend that listens to the creation of objects and answers nothing."""

    def new_project(self, project: Project) -> Any:
        """Hear of it."""

    def new_trial(self, trial: Trial, auto_increment: bool = False) -> Any:
        """Hear of it."""


def _hear(self: Protocol, *_: Any, **__: Any) -> None:
    """Hear, and answer nothing."""


_METHODS = [name for name in vars(Protocol) if name.split("_")[0] in {"log", "new", "get", "add", "set", "fetch"}]
_Deaf = type("_Deaf", (_Metrics,), {name: _hear for name in _METHODS if name != "log_trial_metrics"})


@pytest.fixture
def trial() -> Trial:
    """Give a trial that is not stored."""
    return Trial(parameters={"lr": 0.1})


@pytest.fixture(params=[_Metrics, _Silent, _Deaf])
def client(request: pytest.FixtureRequest) -> Iterator[TrackClient]:
    """Give a client of a backend with few methods."""
    register("byob", request.param)
    yield TrackClient("byob://host")
    unregister("byob")


def _main(client: TrackClient) -> Any:
    assert isinstance(client.protocol, ProtocolMultiplexer)
    return client.protocol.protos[-1]


# mirrors


def test_failing_mirror_is_reported_once_and_never_raised(trial: Trial, caplog: pytest.LogCaptureFixture) -> None:
    """A mirror that fails disturbs nobody: one warning, a count, and the main backend has the data."""
    main = EphemeralProtocol()
    both = ProtocolMultiplexer(_Broken(), main)
    both.new_trial(trial)

    for step in range(5):
        both.log_trial_metrics(trial, step=step, loss=1.0)

    assert len(main.get_trial(trial)[0].metrics["loss"]) == 5
    assert caplog.text.count("_Broken('ephemeral:') misses something (BackendUnavailable: no route to host)") == 1
    assert both.unsaved() == 6
    assert both.remedy == "_Broken('ephemeral:') missed 6"


def test_mirror_gets_the_same_events(trial: Trial) -> None:
    """Times, durations and revisions of the main backend are those of its mirrors."""
    both = ProtocolMultiplexer(make_mirror(), EphemeralProtocol())
    both.new_project(Project(name="p"))
    both.new_trial(trial)
    both.add_project_trial(Project(name="p"), trial)
    both.log_trial_start(trial)
    both.log_trial_metrics(trial, loss=0.5)
    both.log_trial_chrono_start(trial, "batch")
    both.log_trial_chrono_finish(trial, "batch", None, None, None)
    both.log_trial_artifact(trial, "model", "file:model.pt", None, 3)
    both.log_trial_finish(trial, None, None, None)

    mirror, main = (to_json(proto.get_trial(trial)[0]) for proto in both.protos)

    assert mirror == main
    assert main["metadata"]["_last_change"] == mirror["metadata"]["_last_change"]


class _Manifest(_Metrics):
    """A backend of somebody who cares for files only."""

    def log_trial_artifact(self, trial: Trial, name: str, uri: str, *args: Any, **kwargs: Any) -> None:
        """Keep it."""
        self.logged.append(uri)


def test_mirror_names_artifacts_where_they_are(trial: Trial, tmp_path: Path) -> None:
    """What is beside the main backend is somewhere else to its mirrors; what is named by its place stays so."""
    mirrors, main = (make_mirror(), _Manifest()), get_protocol(f"file:{tmp_path}/runs.json")
    both = ProtocolMultiplexer(*mirrors, main)
    both.new_trial(trial)
    uris = [f"packs/ab/{'ab' * 16}.tar@512", "s3://bucket/data.csv", "data:text/plain;base64,"]

    for uri in uris:
        both.log_trial_artifact(trial, "sample", uri)

    elsewhere = [f"file://{tmp_path}/runs.json.artifacts/{uris[0]}", *uris[1:]]
    assert [line["uri"] for line in main.get_trial(trial)[0].artifacts] == uris
    assert [line["uri"] for line in mirrors[0].get_trial(trial)[0].artifacts] == elsewhere
    assert mirrors[1].logged == elsewhere


def test_file_of_a_mirror_is_complete_at_the_end_of_a_trial(trial: Trial, tmp_path: Path) -> None:
    """The JSON file alone has everything, as that of the main backend has."""
    both = get_protocol(f"multi:?to=file:{tmp_path}/a.json&to=file:{tmp_path}/b.json")
    both.new_trial(trial)
    both.log_trial_start(trial)
    both.log_trial_metrics(trial, step=0, loss=0.5)

    both.log_trial_finish(trial, None, None, None)

    for name in ("a", "b"):
        alone = tmp_path / f"{name}-alone.json"
        alone.write_bytes((tmp_path / f"{name}.json").read_bytes())
        assert get_protocol(f"file:{alone}").get_trial(trial)[0].status is Status.Completed


def test_mirror_is_not_told_what_was_undone(trial: Trial) -> None:
    """A transaction that had to run again is told once, and one that failed not at all."""
    main, mirror = _Retrying(), make_mirror()
    both = ProtocolMultiplexer(mirror, main)

    both.new_trial(trial)
    both.fetch_and_update_trial({}, "log_trial_metrics", loss=1.0)
    main.fails = True
    with pytest.raises(BackendUnavailable, match="lost"):
        both.fetch_and_update_trial({}, "log_trial_metrics", loss=2.0)

    assert mirror.fetch_trials()[0].metrics["loss"].val == [1.0]


class _Retrying(EphemeralProtocol):
    """A backend whose transactions run twice, and may be lost at the end."""

    fails = False

    def __init__(self) -> None:
        super().__init__()
        self._is_inside = False

    def apply(self, *events: Any) -> None:
        """Store what the last attempt says."""
        if not self._is_inside:
            super().apply(*events)

    def atomically(self, action: Any) -> Any:
        """Run the action, forget what it did, and run it again."""
        self._is_inside = True
        with contextlib.suppress(LookupError):
            action()
        self._is_inside = False
        result = super().atomically(action)
        if self.fails:
            raise BackendUnavailable("the answer is lost")
        return result


def test_mirror_whose_server_is_away_gets_everything_later(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mirror that is reached over a network may be away from the beginning; what it is told waits for it."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    mirror: Any = get_protocol(f"sqlite:{tmp_path}/mirror.db")
    away, receive = [True], mirror.server.receive

    def received(*args: Any) -> Any:
        if away:
            raise BackendUnavailable("no route to host")
        return receive(*args)

    monkeypatch.setattr(mirror.server, "receive", received)
    both = ProtocolMultiplexer(mirror, EphemeralProtocol())

    both.new_trial(trial)
    both.log_trial_metrics(trial, step=0, loss=0.5)
    unsent = both.unsaved()
    away.clear()
    both.flush(60.0)
    both.close()

    assert unsent == 2
    assert both.unsaved() == 0
    with closing(get_protocol(f"sqlite:{tmp_path}/mirror.db")) as reader:
        assert dict(reader.fetch_trials()[0].metrics["loss"]) == {0: 0.5}


def test_trial_that_the_mirror_does_not_have_is_counted(trial: Trial, caplog: pytest.LogCaptureFixture) -> None:
    """A trial that was created before the mirror was added is logged to where it is, and the rest is said."""
    main = EphemeralProtocol()
    main.new_trial(trial)
    both = ProtocolMultiplexer(make_mirror(), main)

    for step in range(3):
        both.log_trial_metrics(trial, step=step, loss=1.0)

    assert both.unsaved() == 3
    assert caplog.text.count("was created without it") == 1


class _Away(EphemeralProtocol):
    """A store that cannot be asked."""

    def has(self, kind: type, uid: Any) -> bool:
        raise BackendUnavailable("no route to host")


def test_mirror_that_cannot_be_asked_is_told(trial: Trial) -> None:
    """Whether a server that is away knows a trial will be seen when the event gets there."""
    main, mirror = EphemeralProtocol(), _Away()
    for proto in (main, mirror):
        proto.new_trial(trial)
    both = ProtocolMultiplexer(mirror, main)

    both.log_trial_metrics(trial, step=0, loss=1.0)

    assert dict(mirror.get_trial(trial)[0].metrics["loss"]) == {0: 1.0}
    assert both.unsaved() == 0


def test_trial_that_the_mirror_has_already_is_said(trial: Trial, caplog: pytest.LogCaptureFixture) -> None:
    """Two runs under one name in the mirror are not mixed in silence."""
    mirror = make_mirror()
    mirror.new_trial(trial)

    ProtocolMultiplexer(mirror, EphemeralProtocol()).new_trial(trial)

    assert f"has a trial {trial.uid} already" in caplog.text


def test_finish_says_what_a_mirror_missed(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """The end of the trial tells the truth about every backend."""
    register("broken", lambda uri: _Broken())
    try:
        client = TrackClient(f"multi:?to=broken:&to=file:{tmp_path}/a.json")
        with client.new_trial(parameters={"lr": 0.1}) as log:
            log.log_metrics(step=0, loss=0.5)
    finally:
        unregister("broken")

    assert dict(TrackClient(f"file:{tmp_path}/a.json").protocol.fetch_trials()[0].metrics["loss"]) == {0: 0.5}
    (told,) = [record.getMessage() for record in caplog.records if "are not stored in" in record.getMessage()]
    assert "_Broken('ephemeral:') missed" in told


def test_mirror_of_few_methods_is_called_and_said(trial: Trial, caplog: pytest.LogCaptureFixture) -> None:
    """A mirror that is written method by method hears what it has a method for; each other one is said once."""
    mirror = _Metrics()
    both = ProtocolMultiplexer(mirror, EphemeralProtocol())
    both.new_trial(trial)

    for step in range(2):
        both.log_trial_metrics(trial, step=step, loss=1.0)
        both.add_trial_tags(trial, a=1)

    assert mirror.logged == [(0, {"loss": 1.0}), (1, {"loss": 1.0})]
    assert caplog.text.count("does not take part in add_trial_tags") == 1
    assert both.unsaved() == 0


def test_save_elsewhere_is_done_by_the_main_backend(trial: Trial, tmp_path: Path) -> None:
    """A copy of the store has what the main backend has."""
    main = EphemeralProtocol()
    main.new_trial(Trial(parameters={"old": 1}))
    both = ProtocolMultiplexer(make_mirror(), main)
    both.new_trial(trial)

    both.commit(file_name_override=str(tmp_path / "copy.json"))
    both.commit()

    assert len(get_protocol(f"file:{tmp_path}/copy.json").fetch_trials()) == 2


def test_mirror_that_cannot_end_is_said_and_no_event_is_missing(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A failing flush or close of a mirror loses nothing by itself, and every other backend is closed."""
    mirrors, main = (make_mirror(), make_mirror()), EphemeralProtocol()
    closed: list[int] = []
    monkeypatch.setattr(mirrors[0], "flush", _raise)
    monkeypatch.setattr(mirrors[0], "close", _raise)
    monkeypatch.setattr(mirrors[1], "close", lambda: closed.append(1))
    monkeypatch.setattr(main, "close", lambda: closed.append(2))
    both = ProtocolMultiplexer(*mirrors, main)
    both.new_trial(trial)

    both.flush()
    both.close()

    assert sorted(closed) == [1, 2]
    assert both.unsaved() == 0
    assert caplog.text.count("misses something (OSError: no space)") == 1


def _raise(*_: Any) -> None:
    raise OSError("no space")


def test_facts_reach_every_backend(trial: Trial) -> None:
    """What a server is told as events is told to all."""
    both = ProtocolMultiplexer(make_mirror(), EphemeralProtocol())
    events = [trial_created(trial, 1.0), MetricsLogged(trial.uid, {"loss": 0.5}, 2.0, 0)]

    both.apply(*events)

    assert [dict(proto.get_trial(trial)[0].metrics["loss"]) for proto in both.protos] == [{0: 0.5}] * 2


def test_facts_reach_a_backend_of_methods(trial: Trial) -> None:
    """One that decides by its methods is told facts by them, and the copy in memory, too."""
    main, mirror = _Metrics(), make_mirror()
    both = ProtocolMultiplexer(mirror, main)

    both.apply(trial_created(trial, 1.0), MetricsLogged(trial.uid, {"loss": 0.5}, 2.0, 0))

    assert main.logged == [(0, {"loss": 0.5})]
    assert dict(mirror.get_trial(trial)[0].metrics["loss"]) == {0: 0.5}


def test_facts_reach_a_mirror_of_methods(trial: Trial) -> None:
    """A mirror that is written method by method is told facts by its methods."""
    mirror = _Metrics()

    ProtocolMultiplexer(mirror, EphemeralProtocol()).apply(MetricsLogged(trial.uid, {"loss": 0.5}, 2.0, 0))

    assert mirror.logged == [(0, {"loss": 0.5})]


def test_two_may_listen_to_one_backend(trial: Trial) -> None:
    """Whoever has asked, the mirrors of both multiplexers hear what their backend has decided."""
    main, mirrors = EphemeralProtocol(), [make_mirror(), make_mirror()]
    first, second = (ProtocolMultiplexer(mirror, main) for mirror in mirrors)
    first.new_trial(trial)
    second.new_trial(Trial(parameters={"lr": 0.2}))

    first.log_trial_metrics(trial, step=0, loss=1.0)

    assert [len(proto.fetch_trials()) for proto in (main, *mirrors)] == [2, 2, 2]
    assert dict(main.get_trial(trial)[0].metrics["loss"]) == {0: 1.0}


def test_backends_are_freed_with_their_last_user() -> None:
    """Nothing of a multiplexer waits for the garbage collector: files are closed when it is forgotten."""
    main = EphemeralProtocol()
    alive = weakref.ref(main)
    both = ProtocolMultiplexer(make_mirror(), main)

    del main, both

    assert alive() is None


def test_threads_tell_the_mirror_everything(trial: Trial) -> None:
    """What several threads log at once is all in the mirror, and once."""
    mirror = make_mirror()
    both = ProtocolMultiplexer(mirror, EphemeralProtocol())
    both.new_trial(trial)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda step: both.log_trial_metrics(trial, step=step, loss=1.0), range(200)))

    assert sorted(mirror.get_trial(trial)[0].metrics["loss"]) == list(range(200))
    assert mirror.get_trial(trial)[0].metadata["_update_count"] == 200


@pytest.mark.parametrize("nothing", [None, [], ()])
def test_backend_that_answers_nothing_is_answered_for(trial: Trial, nothing: Any) -> None:
    """What a backend of methods does not know is known by its copy in memory; what it knows is its own answer."""
    main: Any = _Metrics()
    main.get_trial = main.fetch_trials = main.get_project = lambda *_: nothing
    both = ProtocolMultiplexer(make_mirror(), main)
    both.new_trial(trial)
    both.log_trial_metrics(trial, step=0, loss=0.5)

    both.refresh(trial)

    assert dict(trial.metrics["loss"]) == {0: 0.5}
    assert (both.fetch_trials({"uid": trial.uid}), both.get_trial(trial)) == ([trial], [trial])
    assert (both.first_trial(), both.revisions(trial.hash), both.has(Trial, trial.uid)) == (trial, {0}, True)
    assert not both.get_project(Project(name="nowhere"))


def test_backend_of_methods_that_answers_is_asked(trial: Trial) -> None:
    """Its own answers count, also those that the contract would derive from others."""

    class Own(_Metrics):
        def fetch_trials(self, query: Any = None) -> list[Trial]:
            return [trial]

        def revisions(self, digest: str) -> set[int]:
            return {7}

    both = ProtocolMultiplexer(make_mirror(), Own())

    assert (both.fetch_trials(), both.first_trial(), both.revisions(trial.hash)) == ([trial], trial, {7})


def test_nothing_is_an_answer_of_a_store(trial: Trial) -> None:
    """A backend that answers every question has the last word when it holds nothing."""
    mirror = make_mirror()
    mirror.new_trial(trial)
    both = ProtocolMultiplexer(mirror, EphemeralProtocol())

    assert (both.fetch_trials(), both.get_trial(trial), both.first_trial(), both.has(Trial, trial.uid)) == (
        [],
        [],
        None,
        False,
    )


def test_decision_that_a_backend_does_not_take_is_taken_by_its_copy(trial: Trial) -> None:
    """``fetch_and_update_trial`` of a backend that answers nothing changes the copy in memory, and is told."""
    main: Any = _Metrics()
    main.fetch_and_update_trial = lambda *_, **__: None
    both = ProtocolMultiplexer(make_mirror(), main)
    both.new_trial(trial)

    changed = both.fetch_and_update_trial({"uid": trial.uid}, "log_trial_metrics", step=1, loss=2.0)

    assert dict(changed.metrics["loss"]) == {1: 2.0}
    assert main.logged == [(1, {"loss": 2.0})]


# as a URI


def test_uri_names_the_backends(tmp_path: Path, trial: Trial) -> None:
    """Each gets its own options, and the last one decides."""
    uri = f"multi:?to=file:{tmp_path}/a%2520b.json?eager=0%26strict=0&to=file://{tmp_path}/c.json"

    both: Any = get_protocol(uri)

    assert isinstance(both, ProtocolMultiplexer)
    assert [proto.path for proto in both.protos] == [f"{tmp_path}/a b.json", f"{tmp_path}/c.json"]
    assert [proto.eager for proto in both.protos] == [False, True]


def test_mirror_of_methods_has_no_copy_in_memory() -> None:
    """What is never asked need not be kept twice; the backend that is asked has its copy."""
    register("byob", _Metrics)
    try:
        both: Any = get_protocol("multi:?to=byob://a&to=byob://b")
    finally:
        unregister("byob")

    assert isinstance(both.protos[0], _Metrics)
    assert isinstance(both.protos[1], ProtocolMultiplexer)


def test_uri_is_shown_without_its_secrets() -> None:
    """Passwords of the backends are no more shown than others."""
    register("byob", _Metrics)
    try:
        both = get_protocol("multi:?to=byob://ann:secret@host&to=ephemeral:")
    finally:
        unregister("byob")

    assert repr(both) == "MultiProtocol('multi:?to=byob://ann:***@host&to=ephemeral:')"


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("multi:", "should read like multi:"),
        ("multi:?", "should read like multi:"),
        ("multi:a?to=ephemeral:", "should read like multi:"),
        ("multi://a?to=ephemeral:", "should read like multi:"),
        ("multi:?to=ephemeral:#a", "should read like multi:"),
        ("multi:?to=&to=ephemeral:", "names a backend that is empty"),
        ("multi:?too=ephemeral:", "unknown option 'too'"),
        ("multi:?to=file:a.json?eager=0&strict=0", "write the & before it as %26"),
        ("multi:?to=file:a.json&to=file://./a.json", "names one backend twice"),
        ("multi:?to=sqlite:a.db&to=sqlite:a.db", "names one backend twice"),
        ("multi:?to=multi:?to=ephemeral:", "one multi: cannot be in another"),
        ("multi:?to=file:a.json?egaer=1", "unknown option 'egaer' in 'file:a.json"),
    ],
)
def test_uri_that_makes_no_sense_is_refused(uri: str, problem: str) -> None:
    """The message says what is wrong with it."""
    with pytest.raises(InvalidUri, match=problem):
        get_protocol(uri)


def test_place_that_cannot_be_written_to_is_said_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A client refuses a main backend that cannot store, and says it of a mirror."""
    (tmp_path / "no").write_text("a file, no folder")
    wrong, right = f"file:{tmp_path}/no/a.json", f"file:{tmp_path}/a.json"

    with pytest.raises(BackendUnavailable):
        TrackClient(f"multi:?to={right}&to={wrong}")
    TrackClient(f"multi:?to={wrong}&to={right}")

    assert "misses something" in caplog.text


def test_failing_main_backend_raises(trial: Trial) -> None:
    """The main backend's errors are the caller's."""
    both = ProtocolMultiplexer(make_mirror(), _Broken())

    with pytest.raises(BackendUnavailable, match="no route to host"):
        both.new_trial(trial)


def test_main_backend_decides_the_revision(trial: Trial) -> None:
    """The mirror takes the revision that the main backend chose."""
    main, mirror = EphemeralProtocol(), make_mirror()
    main.new_trial(Trial(parameters={"lr": 0.1}))

    made = ProtocolMultiplexer(mirror, main).new_trial(trial, auto_increment=True)

    assert made is not None
    assert (made.revision, trial.revision) == (1, 1)
    assert [stored.uid for stored in mirror.fetch_trials()] == [made.uid]


@pytest.mark.parametrize("mirrors", [0, 1, 2])
def test_callbacks_are_called_once(trial: Trial, mirrors: int) -> None:
    """However many backends there are, a device is waited for once."""
    calls: list[str] = []
    both = ProtocolMultiplexer(*(make_mirror() for _ in range(mirrors)), EphemeralProtocol())
    both.new_trial(trial)

    both.log_trial_chrono_start(
        trial, "batch", start_callback=lambda: calls.append("start"), end_callback=lambda: calls.append("end")
    )
    both.log_trial_chrono_finish(trial, "batch", None, None, None)

    assert calls == ["start", "end"]
    assert all("batch" in proto.get_trial(trial)[0].chronos for proto in both.protos)


def test_changes_by_query_reach_the_mirrors(trial: Trial) -> None:
    """What the main backend decides on, the mirrors follow."""
    both = ProtocolMultiplexer(make_mirror(), EphemeralProtocol())
    both.new_project(Project(name="p"))
    both.new_trial_group(TrialGroup(name="g", project_id="p"))
    both.new_trial(trial)

    both.fetch_and_update_trial({"status": "createdgroup"}, "set_trial_status", Status.Running)
    both.fetch_and_update_group({"name": "g"}, "set_group_metadata", done=True)

    assert [proto.get_trial(trial)[0].status for proto in both.protos] == [Status.Running] * 2
    assert [proto.fetch_groups()[0].metadata for proto in both.protos] == [{"done": True}] * 2


def test_what_is_not_stored_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that any backend could not store are counted."""
    both = ProtocolMultiplexer(make_mirror(), make_mirror())
    for count, proto in enumerate(both.protos, start=1):
        monkeypatch.setattr(proto, "unsaved", lambda count=count: count)

    assert both.unsaved() == 3


def test_multiplexer_of_nothing_is_refused() -> None:
    """There must be a backend that answers."""
    with pytest.raises(ValueError, match="needs at least one backend"):
        ProtocolMultiplexer()


def test_backends_are_known() -> None:
    """The attribute of the original, and what is shown."""
    mirror, main = make_mirror(), EphemeralProtocol("none:")

    both = ProtocolMultiplexer(mirror, main)

    assert both.protos == (mirror, main)
    assert repr(both) == "ProtocolMultiplexer(EphemeralProtocol('ephemeral:'), EphemeralProtocol('none:'))"


# a backend with few methods


def test_backend_of_few_methods_is_used_like_any_other(client: TrackClient, caplog: pytest.LogCaptureFixture) -> None:
    """What the backend does not implement is in the copy in memory, and the backend hears the rest."""
    client.set_project(name="digits")
    client.set_group(name="idea")
    log = client.new_trial(parameters={"lr": 0.1})
    with log:
        for step in range(2):
            log.log_metrics(step=step, loss=1.0)
        with log.chrono("batch"):
            pass
        log.log_metadata(gpu="V100")
        log.add_tags(a=1)

    trial = log.trial
    assert _main(client).logged == [(0, {"loss": 1.0}), (1, {"loss": 1.0})]
    assert (trial.status, dict(trial.metrics["loss"])) == (Status.Completed, {0: 1.0, 1: 1.0})
    assert (trial.tags, trial.metadata["gpu"], trial.project_id) == ({"a": 1}, "V100", "digits")
    assert "batch" in trial.chronos


@pytest.mark.parametrize("client", [_Metrics, _Silent], indirect=True)
def test_missing_methods_are_said_once(client: TrackClient, caplog: pytest.LogCaptureFixture) -> None:
    """One warning says what the backend leaves to the copy."""
    for seed in range(3):
        log = client.new_trial(force=True, parameters={"seed": seed})
        log.log_metadata(gpu="V100")
        log.set_status("suspended")

    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "leaves to a copy in memory" in warnings[0].getMessage()


def test_same_parameters_make_a_revision_without_the_backend(client: TrackClient) -> None:
    """The copy counts the revisions that the backend does not."""
    trials = [client.new_trial(force=True, parameters={"lr": 0.1}).trial for _ in range(2)]

    assert [trial.revision for trial in trials] == [0, 1]


def test_changes_by_query_reach_the_backend(client: TrackClient) -> None:
    """The copy finds the trial, the backend hears of the change."""
    client.new_trial(parameters={})

    client.protocol.fetch_and_update_trial({}, "log_trial_metrics", step=3, loss=1.0)

    assert _main(client).logged == [(3, {"loss": 1.0})]


@pytest.mark.parametrize(
    "call",
    [
        lambda alone, trial: alone.log_trial_start(trial),
        lambda alone, trial: alone.log_trial_chrono_start(trial, "batch"),
        lambda alone, trial: alone.new_trial(trial),
        lambda alone, trial: alone.get_trial(trial),
        lambda alone, trial: alone.fetch_trials(),
        lambda alone, trial: alone.fetch_and_update_trial({}, "add_trial_tags", a=1),
        lambda alone, trial: alone.fetch_and_update_group({}, "set_group_metadata", a=1),
    ],
    ids=["start", "chrono", "new", "get", "fetch", "update trial", "update group"],
)
def test_nobody_to_ask_is_said(trial: Trial, call: Any) -> None:
    """Without a mirror, a method that the backend lacks is NotImplementedError."""
    with pytest.raises(NotImplementedError):
        call(ProtocolMultiplexer(_Metrics()), trial)
