"""Log a small search, and make one file of it that any browser opens: table, charts, comparison, each run's page."""

import math
import random
import sys
from pathlib import Path

import track


def train(client, lr, seed):
    noise = random.Random(seed)
    with client.new_trial(force=True, name="search", parameters={"lr": lr, "seed": seed}) as trial:
        for step in range(2000):
            loss = math.exp(-lr * step / 20) + noise.gauss(0, 0.02)
            trial.log_metrics(step=step, loss=loss, accuracy=1 - loss / 2)


def main():
    client = track.TrackClient("file://shared.json")
    client.set_project(name="search")
    for lr in (0.01, 0.03, 0.1):
        for seed in range(3):
            train(client, lr, seed)

    # As the last line of a notebook's cell this is the page itself. `track export --html` does the same from a shell.
    page = track.show(client)
    page.save("shared.html")
    size = Path("shared.html").stat().st_size / 1e6
    sys.stdout.write(f"{page}\nshared.html has {size:.1f} MB: open it in a browser\n")


if __name__ == "__main__":
    main()
