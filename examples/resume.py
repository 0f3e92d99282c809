"""Go on with a trial that was stopped: its numbers and its run time continue."""

from track import TrackClient


def main():
    client = TrackClient("file://resumed.json")
    client.set_project(name="resumed")
    first = client.new_trial(parameters={"lr": 0.1})
    with first:
        for epoch in range(3):
            first.log_metrics(step=epoch, loss=1 / (epoch + 1))

    later = TrackClient("file://resumed.json")
    trial = later.set_trial(uid=first.trial.uid)
    start = 1 + max(trial.trial.metrics["loss"])
    with trial:
        for epoch in range(start, start + 3):
            trial.log_metrics(step=epoch, loss=1 / (epoch + 1))
    later.report()


if __name__ == "__main__":
    main()
