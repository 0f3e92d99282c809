"""Train a model on real digits, store it as an artifact, find it again by version, load it and score it again."""

import io
import sys

import numpy as np
from sklearn.datasets import load_digits

import track
from track.artifacts import find, gc, versions

STORE = "file://digits.json"


def load():
    digits = load_digits()
    pixels = digits.data / 16.0
    return (pixels[:1400], digits.target[:1400]), (pixels[1400:], digits.target[1400:])


def train(pixels, labels, lr, epochs=60):
    """Softmax regression: one matrix and one row of numbers."""
    weights, bias = np.zeros((64, 10)), np.zeros(10)
    wanted = np.eye(10)[labels]
    for _ in range(epochs):
        scores = pixels @ weights + bias
        likely = np.exp(scores - scores.max(axis=1, keepdims=True))
        error = likely / likely.sum(axis=1, keepdims=True) - wanted
        weights -= lr * pixels.T @ error / len(pixels)
        bias -= lr * error.mean(axis=0)
    return weights, bias


def score(weights, bias, pixels, labels):
    return float(((pixels @ weights + bias).argmax(axis=1) == labels).mean())


def save(path, weights, bias):
    np.savez(path, weights=weights, bias=bias)


def load_model(artifact):
    # Plain arrays only: a pickle from somebody else could run any program.
    with np.load(io.BytesIO(artifact.read_bytes()), allow_pickle=False) as arrays:
        return arrays["weights"], arrays["bias"]


def main():
    known, unknown = load()
    client = track.TrackClient(STORE)
    client.set_project(name="digits")
    for lr in (0.1, 1.0, 4.0):
        with client.new_trial(force=True, name="softmax", parameters={"lr": lr}) as trial:
            model = train(*known, lr)
            save("model.npz", *model)
            trial.log_code()
            trial.log_file("model.npz")
            trial.log_metrics(accuracy=score(*model, *unknown))

    for artifact in versions(STORE, "model.npz"):
        accuracy = score(*load_model(artifact), *unknown)
        sys.stdout.write(f"model.npz:v{artifact.version}  {artifact.size} bytes  accuracy {accuracy:.3f}\n")

    with client.new_trial(force=True, name="evaluation", parameters={"model": "model.npz:latest"}) as trial:
        used = trial.use_artifact("model.npz:latest")
        trial.log_metrics(accuracy=score(*load_model(used), *unknown))

    (trained,) = track.fetch(STORE, {"uid": used.trial})
    assert trained.metrics["accuracy"].val == trial.trial.metrics["accuracy"].val, "the model is not what it was"
    back = find(STORE, "model.npz:v0").download("first.npz")
    sys.stdout.write(f"the model that was loaded scores as it did; v0 is in {back}\n")
    sys.stdout.write(f"removed {len(gc(STORE).removed)} files that no trial names\n")


if __name__ == "__main__":
    main()
