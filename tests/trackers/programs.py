"""Programs that log with the real packages: one that finishes, one that fails and one that is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

POINTS = 200
ENDS = ("finished", "failed", "killed")
SIZES = {"finished": POINTS, "failed": 20, "killed": 20, "stopped": 5}

_BEGIN = f"""
import math, os, signal, sys, time
from pathlib import Path
mode = sys.argv[1]
values = [1 / (step + 7) for step in range({SIZES}[mode])]
lr = 0.1 * len(mode)
Path("note.txt").write_text("hello " + mode)

def end(written=None, files=None):
    waiting = time.monotonic() + 30
    if mode == "killed":
        # Some write in the background.
        while written and not any(written in file.read_bytes() for file in Path(".").glob(files)):
            if time.monotonic() > waiting:
                raise SystemExit("it was not written")
            time.sleep(0.05)
        os.killpg(0, signal.SIGKILL)
    if mode == "failed":
        raise ValueError("boom")
"""
WANDB = """
import numpy, wandb
run = wandb.init(project="digits", name=mode, group="g", tags=["a"], notes="n", mode="offline", dir=".",
                 config={"lr": lr, "api_key": "abc", "deep": {"x": 1}})
for step, value in enumerate(values):
    run.log({"loss": value, "val/acc": step, "deep": {"x": step}, "nan": float("nan"), "inf": float("-inf")})
run.log({"said": "hello", "tab": wandb.Table(columns=["a"], data=[[1], [2]]), "page": wandb.Html("<b>x</b>"),
         "img": wandb.Image(numpy.zeros((4, 4, 3), dtype=numpy.uint8), caption="c"),
         "hist": wandb.Histogram(np_histogram=([1, 3], [0.0, 0.5, 1.0]))}, step=len(values))
Path(run.dir, "own.txt").write_text("own")
wandb.save("note.txt", policy="now")
print("an output")
run.summary["best"] = 0.5
run.log({"last": 1})
end(b"last", f"wandb/offline-run-*{run.id}/*.wandb")
run.finish()
"""
MLFLOW = """
import mlflow, numpy
mlflow.set_tracking_uri("sqlite:///mlflow.db" if kind == "mlflow" else "file:mlruns")
mlflow.set_experiment("digits")
with mlflow.start_run(run_name=mode, description="n"):
    mlflow.log_params({"lr": lr, "api_key": "abc"})
    mlflow.set_tag("a", "b")
    for step, value in enumerate(values):
        mlflow.log_metrics({"loss": value, "val/acc": step}, step=step)
    mlflow.log_metric("inf", float("-inf"), step=1)
    mlflow.log_metric("nan", float("nan"), step=1)
    mlflow.log_artifact("note.txt", "deep")
    mlflow.log_image(numpy.zeros((4, 4, 3), dtype=numpy.uint8), key="img", step=3)
    with mlflow.start_run(run_name=mode + "-stopped", nested=True):
        mlflow.log_metric("loss", 1.0, step=0)
        mlflow.end_run("KILLED")
    end()
"""
TENSORBOARD = """
import numpy
from tensorboardX import SummaryWriter
writer = SummaryWriter("logs/" + mode)
writer.add_hparams({"lr": lr, "api_key": "abc"}, {"best": 0.5}, name="hp")
for step, value in enumerate(values):
    writer.add_scalar("loss", value, step)
    writer.add_scalar("val/acc", step, step)
writer.add_scalar("inf", float("-inf"), 1)
writer.add_text("note", "hello", 3)
writer.add_image("img", numpy.zeros((3, 4, 4), dtype=numpy.uint8), 3)
writer.add_histogram("hist", numpy.arange(10.0), 3, bins=[0.0, 5.0, 10.0])
if mode != "failed":
    writer.close()
end()
"""
TRACKIO = """
import numpy, trackio
run = trackio.init(project="digits", name=mode, config={"lr": lr, "api_key": "abc"}, group="g", embed=False)
for step, value in enumerate(values):
    trackio.log({"loss": value, "val/acc": step, "inf": float("-inf")})
trackio.log({"img": trackio.Image(numpy.zeros((4, 4, 3), dtype=numpy.uint8), caption="c"), "said": "hello"})
end(b"digits/killed/", "digits.db*")
trackio.finish()
"""
SACRED = """
from sacred import Experiment
from sacred.observers import FileStorageObserver, MongoObserver
ex = Experiment("digits", save_git_info=False, interactive=True)
uri = os.environ.get("SACRED_URI")
ex.observers.append(MongoObserver(uri, os.path.basename(uri)) if uri else FileStorageObserver("runs"))
ex.add_config({"lr": lr, "api_key": "abc"})
@ex.main
def main(_run):
    for step, value in enumerate(values):
        _run.log_scalar("loss", value, step)
        _run.log_scalar("val/acc", step, step)
    _run.info["best"] = 0.5
    _run.add_artifact("note.txt")
    if mode == "killed":
        _run._emit_heartbeat()
    if mode == "stopped":
        raise KeyboardInterrupt
    end()
    return 7
ex.run(options={"--comment": "n"})
"""
DVCLIVE = """
import numpy
from dvclive import Live
with Live("runs/" + mode, save_dvc_exp=False, report=None, dvcyaml=None) as live:
    live.log_params({"lr": lr, "api_key": "abc"})
    for step, value in enumerate(values):
        live.log_metric("loss", value, timestamp=True)
        live.log_metric("val/acc", step)
        live.next_step()
    live.log_image("img.png", numpy.zeros((4, 4, 3), dtype=numpy.uint8))
    end()
"""
AIM = """
import numpy
from aim import Distribution, Image, Run, Text
run = Run(repo=".", experiment="digits", system_tracking_interval=None, capture_terminal_logs=False)
run.name, run.description = mode, "n"
run.add_tag("a")
run["lr"], run["api_key"] = lr, "abc"
for step, value in enumerate(values):
    run.track(value, name="loss", step=step)
    run.track(step, name="acc", step=step, context={"subset": "val"})
run.track(Image(numpy.zeros((8, 8, 3), dtype=numpy.uint8), caption="c"), name="img", step=3)
run.track(Distribution(hist=[1, 3], bin_range=(0.0, 1.0)), name="hist", step=3)
run.track([Text("one"), Text("two")], name="said", step=4)
end()
run.close()
"""
CSV = """
import csv
with open(mode + ".csv", "w", newline="") as file:
    names = ["run", "step", "time", "loss", "val/acc", "parameters.lr", "parameters.api_key", "tags.a"]
    table = csv.DictWriter(file, names)
    table.writeheader()
    for step, value in enumerate(values):
        first = {"parameters.lr": lr, "parameters.api_key": "abc", "tags.a": "b"} if not step else {}
        table.writerow({"run": mode, "step": step, "time": 1.7e9 + step / 8, "loss": value, "val/acc": step, **first})
end()
"""

PROGRAMS = {
    "wandb": WANDB,
    "mlflow": f"kind = 'mlflow'\n{MLFLOW}",
    "mlruns": f"kind = 'mlruns'\n{MLFLOW}",
    "tensorboard": TENSORBOARD,
    "trackio": TRACKIO,
    "sacred": SACRED,
    "sacred in mongodb": SACRED,
    "dvclive": DVCLIVE,
    "aim": AIM,
    "csv": CSV,
}
NEEDED = {
    "wandb": ("wandb",),
    "mlflow": ("mlflow", "alembic", "numpy", "PIL"),
    "mlruns": ("mlflow", "numpy", "PIL"),
    "tensorboard": ("tensorboardX", "tensorboard"),
    "trackio": ("trackio",),
    "sacred": ("sacred",),
    "sacred in mongodb": ("sacred", "pymongo", "secantus"),
    "dvclive": ("dvclive",),
    "aim": ("aim",),
    "csv": (),
}
ENDS_OF = dict.fromkeys(("sacred", "sacred in mongodb"), (*ENDS, "stopped"))
FOLDERS = {"mlruns": "mlruns", "tensorboard": "logs", "sacred": "runs", "dvclive": "runs"}
"""Of which folder below the one in which the program ran is imported."""


def place(source: str, folder: Path) -> tuple[str, str | Path]:
    """Return whose runs a program has written to a folder, and where they are."""
    if source == "sacred in mongodb":
        return "sacred", (folder / "uri").read_text()
    return source, folder / FOLDERS.get(source, "")


def ran(source: str, folder: Path, uri: str | None = None) -> Path:
    """Run the program of a source, once for each way to end, in a new folder, and return it; in it is a URI, if any."""
    folder.mkdir()
    if uri is not None:
        (folder / "uri").write_text(uri)
    for mode in ENDS_OF.get(source, ENDS):
        expected = {"failed": (1,), "killed": (-9,), "stopped": (0, 1, -2)}.get(mode, (0,))
        run(folder, "-c", _BEGIN + PROGRAMS[source], mode, expected=expected, uri=uri)
    return folder


def run(folder: Path, *arguments: str, expected: tuple[int, ...] = (0,), uri: str | None = None) -> None:
    """Run Python for a program that logs with a tracker, in a folder that is its home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRACK_", "WANDB_", "MLFLOW_"))}
    quiet = {
        "WANDB_SILENT": "true",
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "TRACKIO_DIR": str(folder),
        "HOME": str(folder),
        "DVC_NO_ANALYTICS": "true",
    }
    if uri is not None:
        quiet["SACRED_URI"] = uri
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**kept, **quiet},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        start_new_session=True,  # what it has started is killed with it
    )
    assert done.returncode in expected, (arguments[-1], done.returncode, done.stderr[-3000:])
