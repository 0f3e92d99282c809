"""Log a small search, then read it back: trials by query, and numbers as data frames."""

import sys

import track


def train(client, lr):
    trial = client.new_trial(force=True, name="parabola", parameters={"lr": lr})
    x = 5.0
    with trial:
        for step in range(20):
            x -= lr * 2 * x
            trial.log_metrics(step=step, loss=x * x)


def main():
    client = track.TrackClient("file://search.json")
    client.set_project(name="search")
    for lr in (0.01, 0.1, 0.4):
        train(client, lr)

    good = track.fetch("file://search.json", {"metrics.loss": {"$lt": 0.1}, "status": "completed"})
    sys.stdout.write(f"{len(good)} trials with a loss under 0.1\n{good.summary()}\n{good.to_pandas('loss').tail()}\n")


if __name__ == "__main__":
    main()
