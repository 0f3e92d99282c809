"""Train a small network on scikit-learn's handwritten digits, in mini-batches, and keep every number.

Writes ``digits.json`` in the working directory and prints the trial's report as a table (``client.report()`` prints
all of it, as JSON). Run it again: the same parameters make the next revision.
"""

import argparse

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from track import TrackClient


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lr", type=float, default=0.01, help="learning rate")
    parser.add_argument("--hidden", type=int, default=64, help="units in the hidden layer")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store", default="file://digits.json", help="where to keep the numbers")
    return parser.parse_args()


def main():
    args = parse_arguments()
    images, labels = load_digits(return_X_y=True)
    split = train_test_split(images / 16, labels, test_size=0.25, random_state=args.seed, stratify=labels)
    train_images, test_images, train_labels, test_labels = split
    model = MLPClassifier((args.hidden,), learning_rate_init=args.lr, random_state=args.seed)
    shuffle = np.random.default_rng(args.seed)

    client = TrackClient(args.store)
    client.set_project(name="digits", description="8 x 8 images of handwritten digits")
    client.set_group(name="one hidden layer")
    trial = client.new_trial(name="mlp", description="a multi-layer perceptron", tags={"library": "scikit-learn"})
    trial.log_arguments(**{name: value for name, value in vars(args).items() if name != "store"})
    trial.log_metadata(train_images=len(train_images), test_images=len(test_images))

    step = 0
    with trial:
        for epoch in range(args.epochs):
            order = shuffle.permutation(len(train_images))
            for start in range(0, len(order), args.batch_size):
                batch = order[start : start + args.batch_size]
                with trial.chrono("batch_time"):
                    model.partial_fit(train_images[batch], train_labels[batch], classes=range(10))
                trial.log_metrics(step=step, batch_loss=model.loss_)
                step += 1
            trial.log_metrics(
                step=epoch,
                train_accuracy=model.score(train_images, train_labels),
                test_accuracy=model.score(test_images, test_labels),
            )
        trial.log_metrics(accuracy=model.score(test_images, test_labels))

    client.report(style="table")


if __name__ == "__main__":
    main()
