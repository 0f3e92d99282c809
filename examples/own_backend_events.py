"""A backend of one's own in the style of events: store facts, answer three questions, get every method.

This one keeps its facts as lines of a plain file and answers by reading them all: slow, and complete.
"""

import threading
from pathlib import Path

from track import TrackClient
from track.events import decode, encode
from track.persistence import register
from track.persistence.eventprotocol import EventProtocol
from track.persistence.storage import LocalStorage
from track.persistence.utils import uri_path


class LinesBackend(EventProtocol):
    """One line a fact; for the threads of one process."""

    def __init__(self, uri):
        super().__init__(uri)
        self.path = Path(uri_path(uri))
        self.lock = threading.RLock()

    @property
    def file(self):
        """The file that the store is: artifacts are kept beside it."""
        return str(self.path.resolve())

    def apply(self, *events):
        """Store facts."""
        with self.lock, self.path.open("ab") as file:
            file.writelines(encode(event) for event in events)

    def atomically(self, action):
        """Return ``action()``; nobody else writes meanwhile."""
        with self.lock:
            return action()

    def state(self):
        """Return the objects that the facts make."""
        storage = LocalStorage()
        if self.path.exists():
            with self.lock:
                storage.apply(decode(line) for line in self.path.read_bytes().splitlines())
        return storage

    def fetch_trials(self, query=None):
        """Return the trials that match, oldest first."""
        return list(self.state().find_trials(query))

    def fetch_groups(self, query=None):
        """Return the groups that match, oldest first."""
        return list(self.state().find_groups(query))

    def fetch_projects(self, query=None):
        """Return the projects that match, oldest first."""
        return list(self.state().find_projects(query))


def main():
    register("lines", LinesBackend)
    client = TrackClient("lines:facts.jsonl")
    client.set_project(name="own backend")
    with client.new_trial(parameters={"lr": 0.1}) as trial:
        for step in range(3):
            trial.log_metrics(step=step, loss=1 / (step + 1))
    client.report()


if __name__ == "__main__":
    main()
