"""A program: ``python -m tests.integrations.ends FRAMEWORK FOLDER`` trains once for each way in which that can end.

Each is a process of its own, which ends as a script does, with a store of its own in the folder.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tests.integrations import frameworks
from track import TrackClient

STEPS = 4
WAYS = [
    "completes",
    "crashes",
    "crashes_and_goes_on",
    "is_terminated",
    "is_interrupted",
    "is_given",
    "exits",
    "stops_early",
]


def end(framework: frameworks.Framework, way: str, folder: Path) -> None:
    """Train, and end in this way."""
    client = TrackClient(f"file:{folder / way}.json", environment=False)

    def at(step: int) -> None:
        if step != framework.expected(STEPS)[1]:
            return
        match way:
            case "crashes" | "crashes_and_goes_on":
                raise ArithmeticError("no loss today")
            case "is_terminated":
                os.kill(os.getpid(), signal.SIGTERM)
            case "is_interrupted":
                os.kill(os.getpid(), signal.SIGINT)
            case "exits":
                sys.exit(3)

    given = client.new_trial(name="given", parameters={"lr": 0.5}) if way == "is_given" else None
    options = {"client": client} if given is None else {"trial": given}
    try:
        if way == "stops_early":
            framework.fit(framework.callback(**options), folder / f"{way}.out", 8 * STEPS, early=True)
        else:
            framework.fit(framework.callback(**options), folder / f"{way}.out", STEPS, at)
    except ArithmeticError:
        if way != "crashes_and_goes_on":
            raise
    if given is not None:
        given.log_metrics(after=1.0)
        raise KeyError("after the training")


def trains(name: str, callback: object, folder: Path) -> None:
    """Train with a callback that another process has made."""
    frameworks.load(name).fit(callback, folder, 2)


def main(name: str, folder: Path) -> None:
    """Train once for each way, in children that end as this program does."""
    framework, children = frameworks.load(name), []
    for way in WAYS:
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            end(framework, way, folder)
            return
        children.append(child)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
