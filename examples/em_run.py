"""Train a model on scikit-learn's handwritten digits as a run; save it, upload it, load it again, and score it again.

Writes ``.em/`` (the run and the artifact), ``em-store/`` (the upload store) and ``em.json`` (the run as a trial) in the
working directory.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

import track
from track import em

FILE = "digits.json"


def save(model, path):
    """Write the numbers of a linear model as JSON: whoever loads the file runs no code from it."""
    Path(path).write_text(json.dumps({"coef": model.coef_.tolist(), "intercept": model.intercept_.tolist()}))


def load(file):
    numbers = json.load(file)
    return np.array(numbers["coef"]), np.array(numbers["intercept"])


def accuracy(weights, images, labels):
    coefficients, intercept = weights
    return float(np.mean(np.argmax(images @ coefficients.T + intercept, axis=1) == labels))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="file:em-store?user=ann", help="an upload store: file:, s3://bucket/prefix")
    parser.add_argument("--store", default="file://em.json", help="where the run is a trial")
    args = parser.parse_args()
    os.environ["TRACK_LOG_BACKEND_NAME"] = args.store

    images, labels = load_digits(return_X_y=True)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images / 16, labels, test_size=0.25, random_state=0, stratify=labels
    )

    em.login(args.host)
    with em.create_run(name="linear", hparams={"alpha": 0.001, "epochs": 8}, labels=["scikit-learn"]) as run:
        model = SGDClassifier(loss="log_loss", alpha=run.hparams.alpha, random_state=0)
        for epoch in range(run.hparams.epochs):
            model.partial_fit(train_images, train_labels, classes=range(10))
            run.log("train", {"accuracy": model.score(train_images, train_labels)}, step=epoch, epoch=epoch)
            run.log("val", {"accuracy": model.score(test_images, test_labels)}, step=epoch, epoch=epoch)
        save(model, FILE)
        artifact = em.create_artifact(name="digits-model", description="weights of a linear model")
        artifact.add_file(FILE)
        run.mark_output(artifact)
        score = model.score(test_images, test_labels)
    run.upload(folder="digits", make_folder=True)

    # Anybody who is logged in to the same store finds the model by the run that made it.
    found = em.load_run(run.remote[-1]["path"])
    with em.load_artifact(found.associations["outputs"][0]["path"]).open(FILE) as file:
        again = accuracy(load(file), test_images, test_labels)
    print(f"accuracy {score:.4f}, of the model that was loaded {again:.4f}")

    trial = track.fetch(args.store, {"metadata.alias.run": run.alternative_name})[0]
    print(f"trial {trial.name!r}: {trial.status}, val/accuracy {list(trial.metrics['val/accuracy'].values())[-1]:.4f}")


if __name__ == "__main__":
    main()
