"""A backend of one's own in the style of methods: write the calls you care for, here numbers to a CSV file.

What the class does not implement is answered by a copy in memory, so reports and reading work.
"""

import csv
import sys
from pathlib import Path

from track import TrackClient
from track.persistence import register
from track.persistence.protocol import Protocol
from track.persistence.utils import uri_path


class CsvBackend(Protocol):
    """Appends each number to a CSV file: trial, step, name, value."""

    def __init__(self, uri):
        self.path = Path(uri_path(uri))

    def log_trial_metrics(self, trial, /, step=None, aggregator=None, **kwargs):
        """Append a line a number."""
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerows([trial.uid[:8], step, name, value] for name, value in kwargs.items())


def main():
    register("csv", CsvBackend)
    client = TrackClient("csv:numbers.csv")
    client.set_project(name="own backend")
    with client.new_trial(parameters={"lr": 0.1}) as trial:
        for step in range(3):
            trial.log_metrics(step=step, loss=1 / (step + 1))
    client.report()
    sys.stdout.write(Path("numbers.csv").read_text())


if __name__ == "__main__":
    main()
