"""What logging an image or a histogram costs, beside Pillow and numpy.

Images of 256 x 256 (noise, which packs worst, and a smooth one), histograms of 1,000,000 values, texts: processor time
a call, medians over rounds in which ours and theirs take turns. Then how many files a thousand images are.
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
from _common import Row, against, at_most, new_trial, run

IMAGE_MS, HISTOGRAM_MS = 5.0, 25.0
BINS = 64


def measure(folder: str, images: int, rounds: int) -> list[Row]:
    trial = new_trial(f"file:{folder}/runs.json")
    random = numpy.random.default_rng(0)
    y, x = numpy.mgrid[0:256, 0:256]
    smooth = numpy.stack([x, y, (x + y) // 2], -1).astype(numpy.uint8)
    values = random.normal(size=1_000_000)
    noise = [random.integers(0, 256, (256, 256, 3), dtype=numpy.uint8) for _ in range(rounds)]
    grey = [image[..., 0].copy() for image in noise]
    rows = []
    for what, given in (
        ("noise, grey", grey),
        ("noise, RGB", noise),
        ("smooth, RGB", [smooth + i for i in range(rounds)]),
    ):
        ours, theirs = in_turns(
            lambda i, of=given: trial.log_image("sample", of[i], step=i), lambda i, of=given: pillow(of[i]), rounds
        )
        rows.append(at_most(f"log_image, 256 x 256, {what}", ours, IMAGE_MS, "ms"))
        rows.append(against("  beside Pillow in memory", ours, theirs, "PNG", "ms"))
    ours, theirs = in_turns(
        lambda i: trial.log_histogram("weights", values, step=i), lambda i: numpy.histogram(values, BINS), rounds
    )
    rows.append(at_most("log_histogram of 1,000,000", ours, HISTOGRAM_MS, "ms"))
    rows.append(against("  beside numpy", ours, theirs, "np.histogram", "ms"))
    ours, theirs = in_turns(
        lambda i: trial.log_text("answer", "x" * 1000, step=i), lambda i: trial.log_metrics(step=i, loss=0.5), rounds
    )
    rows.append(against("log_text of 1,000 letters", ours * 1000, theirs * 1000, "log_metrics", "us"))
    trial.finish()
    return [*rows, *files_of(f"{folder}/many.json", images)]


def in_turns(ours: Callable[[int], Any], theirs: Callable[[int], Any], rounds: int) -> list[float]:
    """Return milliseconds of the processor that each takes, as medians."""
    took: tuple[list[float], list[float]] = ([], [])
    ours(0)
    theirs(0)
    for number in range(rounds):
        for call, kept in zip((ours, theirs), took, strict=True):
            start = time.process_time()
            call(number)
            kept.append((time.process_time() - start) * 1e3)
    return [statistics.median(kept) for kept in took]


def pillow(image: Any) -> bytes:
    from PIL import Image

    made = io.BytesIO()
    Image.fromarray(image).save(made, "PNG", compress_level=1)
    return made.getvalue()


def files_of(path: str, images: int) -> list[Row]:
    trial = new_trial(f"file:{path}")
    image = numpy.zeros((64, 64), numpy.uint8)
    start = time.process_time()
    for number in range(images):
        image[number % 64, number // 64 % 64] = number % 251 + 1
        trial.log_image("sample", image, step=number)
    took = (time.process_time() - start) / images
    trial.finish()
    found = [file for file in Path(f"{path}.artifacts").rglob("*") if file.is_file()]
    start = time.process_time()
    for medium in trial.media("sample"):
        medium.read_bytes()
    read = (time.process_time() - start) / images
    return [
        Row(f"files of {images:,} images, of 64 x 64", str(len(found))),
        Row("  each logged, and read back", f"{took * 1e6:,.0f} and {read * 1e6:,.0f} us"),
    ]


if __name__ == "__main__":
    run(__doc__, measure, images=(1_000, 50), rounds=(30, 3))
