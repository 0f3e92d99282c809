"""Workers put their results under keys, a coordinator waits for them and reads them; then a store shows them all.

Writes ``results/`` and ``results.json`` in the working directory. Needs nothing but track.
"""

import argparse
import math
import threading

import track
from track.tracking import FsspecResultTracker, import_results


def work(base, rank, lr):
    """Minimize (x - 3)^2 by gradient descent, and tell how it went."""
    x, losses = 0.0, []
    for _ in range(50):
        x -= lr * 2 * (x - 3)
        losses.append((x - 3) ** 2)
    mean = sum(losses) / len(losses)
    deviation = math.sqrt(sum((loss - mean) ** 2 for loss in losses) / (len(losses) - 1))
    tracker = FsspecResultTracker(base)
    tracker[f"sweep/{rank}"] = {
        "lr": lr,
        "loss": losses[-1],
        "loss/mean": mean,
        "loss/sem": deviation / math.sqrt(len(losses)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="results", help="a folder, or a URL such as s3://bucket/sweep")
    parser.add_argument("--store", default="file://results.json", help="the store to copy the results into")
    args = parser.parse_args()

    rates = (0.001, 0.01, 0.1)
    workers = [threading.Thread(target=work, args=(args.base, rank, lr)) for rank, lr in enumerate(rates)]
    for worker in workers:
        worker.start()

    tracker = FsspecResultTracker(args.base)
    for rank in range(len(rates)):
        tracker.wait(f"sweep/{rank}", timeout=60, interval=0.05)
    for worker in workers:
        worker.join()
    for key, results in tracker.items("sweep/"):
        print(f"{key}: lr {results['lr']}, loss {results['loss']:.3g} (mean {results['loss/mean']:.3g})")

    import_results(args.base, args.store)
    best = min(track.fetch(args.store, {"project_id": "results"}), key=lambda trial: trial.metrics["loss"].val)
    print(f"best: {best.name}, lr {best.metrics['lr'].val}")


if __name__ == "__main__":
    main()
