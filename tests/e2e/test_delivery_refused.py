"""Events that a database can never store hold up nothing: each is set aside, and the others arrive."""

from __future__ import annotations

import random
import string
from pathlib import Path

import pytest

from tests.e2e.deliveries import Place, log, new_trial
from track.cli import main
from track.persistence import get_protocol
from track.persistence.delivery import refused_in
from track.persistence.delivery.protocol import DeliveredProtocol
from track.structure import CustomStatus, Trial

# As long as no index of PostgreSQL takes, however it is compressed.
LONG = "".join(random.Random(1).choices(string.ascii_letters, k=20_000))


def _log_hostile(protocol: DeliveredProtocol, trial: Trial) -> int:
    """Log what some database cannot store, each followed by a number, and return how many numbers."""
    actions = (
        lambda: protocol.log_trial_metadata(trial, blob="x" * 17_000_000),
        lambda: protocol.log_trial_metrics(trial, step=0, **{LONG: 1.0}),
        lambda: protocol.set_trial_status(trial, CustomStatus("mine\0", 2**70)),
        lambda: protocol.log_trial_metadata(trial, **{"a\0\udcff": "b\0\udcff", "big": 2**200}),
        lambda: protocol.log_trial_metrics(trial, step=2**80, **{"m\0\udcff": 10**400}),
        lambda: protocol.log_trial_artifact(trial, "a\0", "file:a\udcff", None, 2**70),
    )
    for number, action in enumerate(actions):
        action()
        log(protocol, trial, number, 1)
    return len(actions)


def test_events_that_can_never_be_stored_hold_up_nothing(
    place: Place, spills: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Too large, too long, not of that kind: what a database refuses is kept and counted, and nothing waits for it."""
    protocol = place.open()
    trial = new_trial(protocol)

    count = _log_hostile(protocol, trial)
    protocol.flush(60)
    unsaved, remedy = protocol.unsaved(), protocol.remedy
    protocol.close()
    kept = [one for folder in spills.iterdir() for one in refused_in(folder)]
    code = main(["sync", place.uri])

    assert place.numbers(trial) == list(range(count))
    assert 0 < unsaved == sum(len(list(one.notes())) for one in kept)
    assert f"{unsaved} were refused" in remedy
    assert "next run" not in remedy
    assert caplog.text.count("can never be stored") == unsaved
    assert (code, "nothing is waiting" in capsys.readouterr().out) == (0, True)


def test_status_of_any_code_is_stored(tmp_path: Path, spills: Path) -> None:
    """A code of one's own may have more bits than a column."""
    protocol = get_protocol(f"sqlite:{tmp_path}/runs.db")
    assert isinstance(protocol, DeliveredProtocol)
    trial = new_trial(protocol)

    protocol.set_trial_status(trial, CustomStatus("mine", 2**70))
    protocol.flush(30)

    assert protocol.unsaved() == 0
    assert protocol.fetch_trials({"uid": trial.uid})[0].status.value == 2**70
    protocol.close()
