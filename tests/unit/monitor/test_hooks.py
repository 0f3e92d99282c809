"""What hooks do: print, log to the trial, send messages, tell times."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import pytest

from track import Experiment, TrackClient, fetch
from track.monitor import Hook, Logger, Messenger, Metrics, Monitor, XmenMessenger


class Receiver:
    """Keeps what it is told, as an experiment does."""

    def __init__(self) -> None:
        self.messages: dict[str, Any] = {}

    def message(self, messages: dict[str, Any], keep: str = "latest", leader: str | None = None) -> None:
        self.messages |= messages


class Uncomfortable:
    """Raises whatever it is asked."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __float__(self) -> float:
        raise RuntimeError("no number")


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """Give a registered experiment without a store."""
    pytest.importorskip("yaml")
    return Experiment(tmp_path / "ex")


def _lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what was printed, without the time."""
    return [re.sub(r"\d\d:\d\d[AP]M \d\d/\d\d/\d\d ", "", line) for line in capsys.readouterr().out.splitlines()]


def test_logger_prints_whole_values_beside_the_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """The example of the original, with the last character that it lost."""
    m = Monitor(hooks=[Logger("x@2s", process_func="|".join), Logger("y@1e", format=".5f")])
    x, y = ["cat", "dog"], 0.0  # noqa: F841

    for _ in m(range(3)):
        for i in m(range(5)):
            y += i

    assert _lines(capsys) == [
        "[0/3 2/15]: x = cat|dog",
        "[0/3 4/15]: x = cat|dog",
        "[1/3]: y = 10.00000",
        "[1/3 6/15]: x = cat|dog",
        "[1/3 8/15]: x = cat|dog",
        "[1/3 10/15]: x = cat|dog",
        "[2/3]: y = 20.00000",
        "[2/3 12/15]: x = cat|dog",
        "[2/3 14/15]: x = cat|dog",
        "[3/3]: y = 30.00000",
    ]


def test_hooks_come_in_the_order_of_options() -> None:
    """Log, metrics, time, messages, probe, then those of the user."""
    own = Metrics("^z$@1s")
    m = Monitor(log=["a@1s", "b@1s"], time="@1s", msg="a->ex@1s", probe="ex@1s", hooks=[own])

    assert [type(hook).__name__ for hook in m.hooks] == [
        "Logger",
        "Logger",
        "Timer",
        "XmenMessenger",
        "Probe",
        "Metrics",
    ]
    assert m.hooks[-1] is own
    assert m.limit == []


def test_a_value_that_cannot_be_written_stops_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A format that does not fit, and an object that raises, are texts; neither is a metric."""
    m = Monitor(
        log="^(odd|words)$@1s", log_format=".3f", trial=(trial := TrackClient("ephemeral:").new_trial(parameters={}))
    )
    odd, words = Uncomfortable(), "some"  # noqa: F841

    for _ in m(range(1)):
        pass

    (line,) = _lines(capsys)
    assert line.startswith("[1/1]: odd = ")
    assert line.endswith("words = some")
    assert not trial.trial.metrics


def test_numbers_are_metrics_of_the_current_trial(capsys: pytest.CaptureFixture[str]) -> None:
    """In a trial's block, what is a number goes to the trial, by step; what is logged quietly is not printed."""
    m = Monitor(log="^(loss|name)$@2s", metrics=["^acc$@1e"])
    loss, name = 1.0, "text"  # noqa: F841

    with TrackClient("ephemeral:").new_trial(parameters={}) as trial:
        for epoch in m(range(2)):
            for _ in m(range(3)):
                loss /= 2
            acc = epoch * 10  # noqa: F841

    assert trial.trial.metrics["loss"] == {2: 0.25, 4: 0.0625, 6: 0.015625}
    assert trial.trial.metrics["acc"] == {3: 0, 6: 10}
    assert {*trial.trial.metrics} == {"loss", "acc"}
    assert not [line for line in _lines(capsys) if "acc" in line]


def test_numbers_are_metrics_of_the_trial_of_an_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the `run` of an experiment, a monitor logs to its trial; what it sends, too, is the same curve."""
    pytest.importorskip("yaml")
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", f"file:{tmp_path}/store.json")

    class Train(Experiment):
        def run(self) -> None:
            m = Monitor(metrics=["^loss$@1s", "^late$@2s"], msg=["^loss$->^self$@2s", "^late$->^self$@1s"])
            for loss in m([3, 2]):
                late = -loss  # noqa: F841

    train = Train(tmp_path / "runs" / "a")
    train()

    (trial,) = fetch(f"file:{tmp_path}/store.json")
    assert trial.metrics["loss"] == {1: 3, 2: 2}
    assert trial.metrics["late"] == {1: -3, 2: -2}
    assert (train.messages["loss"], train.messages["late"]) == (2, -2)


def test_a_loop_in_a_thread_logs_to_the_trial_of_its_monitor() -> None:
    """A thread is in no block: the trial is the one in whose block the monitor was made, until it has finished."""

    def train() -> None:
        for x in m(range(2)):  # noqa: B007
            pass

    with TrackClient("ephemeral:").new_trial(parameters={}) as trial:
        m = Monitor(metrics="^x$@1s")
        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
    train()

    assert trial.trial.metrics["x"] == {1: 0, 2: 1}


def test_tasks_of_a_scheduler_all_speak(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A number that a scheduler gives a task makes no rank: four tasks may be four trainings."""
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("RANK", "3")

    Monitor().log("hello")

    assert "hello" in capsys.readouterr().out


def test_metrics_may_go_by_another_count() -> None:
    """`metrics_by="epoch"` is the axis of epochs; where no step was counted, the count of the hook is."""
    trial = TrackClient("ephemeral:").new_trial(parameters={})
    m = Monitor(metrics=["^a$@1e", "^b$@1e"], metrics_by=["epoch", "step"], trial=trial)
    a = b = 5  # noqa: F841

    m.inc("epoch")
    m.set_triggers(step=7)
    m.inc("epoch")

    assert trial.trial.metrics["a"] == {1: 5, 2: 5}
    assert trial.trial.metrics["b"] == {1: 5, 7: 5}


def test_arrays_of_one_number_are_numbers() -> None:
    """Scalars of numpy are; larger arrays and variables called `step` are not."""
    numpy = pytest.importorskip("numpy")
    trial = TrackClient("ephemeral:").new_trial(parameters={})
    m = Monitor(metrics=".*@1s", trial=trial)

    def train() -> None:
        scalar, zero, array = numpy.float32(0.5), numpy.array(2), numpy.zeros(3)  # noqa: F841
        for step in m(range(1)):  # noqa: B007
            flag = True  # noqa: F841

    train()

    assert {*trial.trial.metrics} == {"scalar", "zero", "flag"}


def test_no_trial_is_made_for_a_monitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a trial nothing is stored anywhere."""
    monkeypatch.chdir(tmp_path)
    m = Monitor(metrics="^x$@1s")

    for x in m(range(3)):  # noqa: B007
        pass

    assert not [*tmp_path.iterdir()]


def test_timer_prints_times_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Of the summary, what is no count and no date."""
    m = Monitor(time="@2s")

    for _ in m(range(2)):
        pass

    (line,) = _lines(capsys)
    names = re.findall(r"(\w+)=\d+:\d\d:\d\d", line)
    assert names == ["wall", "end", "next", "step", "m_step", "load", "m_load"]
    assert line.startswith("[2/2]: wall=")


def test_log_prints_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    """By hand: a text, a number by a format, and what a function makes of a value."""
    m = Monitor()

    m.log("hello")
    m.log(0.5, ".3f")
    m.log(["a", "b"], ">5", "|".join)

    assert [line.partition("]: ")[2] for line in _lines(capsys)] == ["hello", "0.500", "  a|b"]


def test_hooks_without_a_time_are_called_by_hand() -> None:
    """`to_hooks` gives them what matches, and does not call those of which nothing does."""
    found = []

    class Keep(Hook):
        def __call__(self, var_dict: dict[str, Any], monitor: Monitor) -> None:
            found.append((self.regex, var_dict))

    m = Monitor(hooks=[Keep("^fig"), Keep("^loss$"), Keep("^fig$@1s")])

    m.to_hooks(fig=1, fig2=2, other=3)

    assert found == [("^fig", {"fig": 1, "fig2": 2})]


def test_a_hook_without_a_call_says_so() -> None:
    """Who extends it, and forgets, is told."""
    m = Monitor(hooks=[Hook("@1s")])

    with pytest.raises(NotImplementedError, match="Hook has no __call__"):
        list(m([1]))


def test_variables_are_sent_to_experiments_that_match() -> None:
    """The first example of the original: both experiments get both, each ten steps; and the times."""
    m = Monitor(hooks=[XmenMessenger("y.*->ex.*@10s")])
    ex1, ex2, other = Receiver(), Receiver(), Receiver()
    y1 = y2 = 0
    seen = []

    for i in m(range(25)):
        y1 += 1  # noqa: SIM113 - what an example of the original does
        y2 += 2
        if i % 10 == 1:
            seen.append([(one.messages.get("y1"), one.messages.get("y2")) for one in (ex1, ex2)])

    assert seen == [[(None, None)] * 2, [(10, 20)] * 2, [(20, 40)] * 2]
    assert {"last", "s", "wall", "end", "next", "step", "load"} <= ex1.messages.keys()
    assert not other.messages


def test_a_leader_decides(experiment: Experiment) -> None:
    """The second example of the original: `i` is that of the least `y`; a tie is taken."""
    ex = experiment  # noqa: F841
    m = Monitor(msg="^y$|^i$->^ex$@10s", msg_keep="min", msg_leader="^y$")
    x, seen = -50, []

    for i in m(range(100)):
        x += 1
        y = x**2  # noqa: F841
        if i % 10 == 1:
            seen.append([experiment.messages.get(name) for name in ("i", "y")])

    assert seen == [[None, None], [9, 1600], [19, 900], [29, 400], [39, 100], *[[49, 0]] * 5]


@pytest.mark.parametrize("prepend", [True, False])
def test_a_dictionary_is_a_message_a_key(experiment: Experiment, prepend: bool) -> None:
    """The third and fourth example of the original; `prepend=False` means it."""
    ex = experiment  # noqa: F841
    begin = "z_" if prepend else ""
    m = Monitor(hooks=[Messenger("z->^ex$@10s", "min", f"{begin}y", expand=True, prepend=prepend)])
    z = {"x": 5, "y": 10}

    for i in m(range(100)):
        z["i"] = i
        z["x"] += 1
        z["y"] = z["x"] ** 2

    assert [experiment.messages[f"{begin}{name}"] for name in ("i", "y", "x")] == [9, 225, 15]


def test_an_experiment_alone_gets_the_times() -> None:
    """`ex@10s` sends no variable."""
    m = Monitor(msg="ex@2s")
    ex = Receiver()

    for example in m(range(2)):  # noqa: B007
        pass

    assert {"last", "s", "wall"} <= ex.messages.keys()
    assert "example" not in ex.messages


@pytest.mark.parametrize("leader", ["y", "q"])
def test_a_leader_is_one_variable(leader: str) -> None:
    """None, or more than one, is an error that names what there is."""
    m = Monitor(msg="y.->ex@1s", msg_keep="min", msg_leader=leader)
    ex, y1, y2 = Receiver(), 1, 2

    with pytest.raises(ValueError, match=r"is one variable, not \d of y1, y2"):
        list(_passing(m, ex, y1, y2))


def _passing(m: Monitor, ex: Receiver, y1: int, y2: int) -> Any:
    yield from m([1])


def test_the_machine_is_probed(capsys: pytest.CaptureFixture[str]) -> None:
    """How busy it is, is printed and sent."""
    m = Monitor(probe="^ex$@1s")
    ex = Receiver()

    for _ in m(range(1)):
        pass

    assert ex.messages
    assert _lines(capsys)[0].startswith("[1/1]: ")


def test_one_process_of_a_job_speaks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of ranks above 0 nothing is printed, logged or saved, unless it is asked for; counts and own hooks work."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    trial = TrackClient("ephemeral:").new_trial(parameters={})
    quiet, loud = (Monitor(log="^x$@1s", limit="@2s", trial=trial, all_ranks=every) for every in (False, True))

    for x in quiet(range(3)):  # noqa: B007
        pass
    assert (quiet.step, _lines(capsys), dict(trial.trial.metrics)) == (2, [], {})
    for x in loud(range(3)):  # noqa: B007
        pass

    assert len(_lines(capsys)) == 3
    assert trial.trial.metrics["x"] == {1: 0, 2: 1}


def test_a_hook_that_raises_stops_the_loop_and_closes_it() -> None:
    """An error of the user's own hook comes to the user; levels are as they were."""

    class Fails(Hook):
        def __call__(self, var_dict: dict[str, Any], monitor: Monitor) -> None:
            raise LookupError("mine")

    m = Monitor(hooks=[Fails("@2s")])

    with pytest.raises(LookupError, match="mine"):
        list(m(range(5)))

    assert m.step == 2


def test_a_hook_that_never_matches_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """At the end of the monitor: it names the hook, and the variables that were there; a later loop may have it."""

    def train() -> None:
        m = Monitor(metrics=["^los$@2s", "^val_loss$@2s", "^never_due$@100s"])
        for _ in m(range(4)):
            loss = 0.5  # noqa: F841
        for _ in m(range(2)):
            val_loss = 0.5  # noqa: F841
        assert not caplog.messages

    train()

    (text,) = caplog.messages
    assert "Metrics '^los$@2step' has matched no variable" in text
    assert "'loss'" in text
