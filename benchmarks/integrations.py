"""The cost of a step of a fit with the callback of a framework, against that of other trackers.

Each framework trains a small model, logging at every step: with what records nothing, with ours, and with each other
tracker that is installed, in turns, in one process. The cost of a step is processor time, by which a long fit takes
more than a short one, so that what a beginning and an end cost is not in it; of that, what the fit takes is subtracted
whose recorder has the same hooks and does nothing. Beside it stands a recorder that writes the same numbers as a line
to a file, by ``os.write``: the least that is still there when the process is killed, once encoded by ``json``, once by
msgspec. Then one fit of each whose recorder is another one at each step: of steps that are beside one another the
medians say more than whole fits do. Nothing leaves the machine.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from _common import MET, MISSED, Row, run
from peers import QUIET

Fit = Callable[[Any, int, Path], None]
_MOST = 20.0
"""Microseconds that a step may cost more, where that is more than a hundredth of it."""


def measure(folder: str, steps: int, rounds: int) -> list[Row]:
    os.environ |= {**QUIET, "KERAS_BACKEND": "torch", "TRACK_LOG_ENVIRONMENT": "0", "MLFLOW_TRACKING_URI": folder}
    warnings.simplefilter("ignore")
    # Others write beside where they are started.
    os.chdir(folder)
    rows: list[Row] = []
    for package, prepare in FRAMEWORKS.items():
        if importlib.util.find_spec(package) is None:
            rows.append(Row(package, "not installed"))
            continue
        rows += _rows_of(package, *prepare(), Path(folder) / package, steps, rounds)
        rows += _in_turns(Path(folder) / package / "turns", 6 * steps, package)
    return rows


def _in_turns(folder: Path, steps: int, package: str) -> list[Row]:
    """Return what a step of one fit takes, by medians, whose recorder is another one at each step."""
    fit, makes = FRAMEWORKS[package]()
    folder.mkdir(parents=True)
    names = ["nothing", "encoded and written", "a line a step", "track"]
    recorders = [makes[name](folder) for name in names]
    taken: list[list[int]] = [[] for _ in names]
    began, count = [time.process_time_ns()], [0]

    def turn() -> Any:
        now = time.process_time_ns()
        taken[count[0] - 1].append(now - began[0])
        began[0], count[0] = now, (count[0] + 1) % len(names)
        return recorders[count[0] - 1]

    fit(TURNS[package](recorders, turn), steps, folder)
    bare, *others = (statistics.median(times[5:]) / 1000 for times in taken)
    rows = [Row(f"one fit of {package}, a recorder a step: nothing", f"{bare:,.0f} us a step")]
    for name, took in zip(names[1:-1], others, strict=False):
        rows.append(Row(f"  {name}", f"+ {took - bare:,.1f} us"))
    limit, ours = max(_MOST, bare / 100), others[-1] - bare
    verdict = MET if ours <= limit else MISSED
    return [*rows, Row("  track", f"+ {ours:,.1f} us", f"at most {limit:.0f} us", f"{ours / limit:.2f}", verdict)]


def _keras_turns(recorders: list[Any], turn: Callable[[], Any]) -> Any:
    import keras

    class Turns(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            for recorder in recorders:
                recorder.set_model(self.model)
                recorder.on_train_begin()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            turn().on_train_batch_end(batch, logs)

        def on_train_end(self, logs: Any = None) -> None:
            recorders[-1].on_train_end()

    return Turns()


def _lightning_turns(recorders: list[Any], turn: Callable[[], Any]) -> Any:
    from lightning.pytorch import loggers

    class Turns(loggers.Logger):
        name, version = "turns", "0"

        def log_hyperparams(self, *arguments: Any, **named: Any) -> None:
            recorders[-1].log_hyperparams(*arguments, **named)

        def log_metrics(self, metrics: Any, step: Any = None) -> None:
            turn().log_metrics(metrics, step)

        def finalize(self, status: str) -> None:
            recorders[-1].finalize(status)

    return Turns()


def _transformers_turns(recorders: list[Any], turn: Callable[[], Any]) -> Any:
    from transformers import TrainerCallback

    class Turns(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def on_train_begin(self, *given: Any, **named: Any) -> None:
            recorders[-1].on_train_begin(*given, **named)

        def on_log(self, *given: Any, **named: Any) -> None:
            turn().on_log(*given, **named)

        def on_train_end(self, *given: Any, **named: Any) -> None:
            recorders[-1].on_train_end(*given, **named)

    return Turns()


def _rows_of(
    package: str, fit: Fit, makes: dict[str, Callable[[Path], Any]], folder: Path, steps: int, rounds: int
) -> list[Row]:
    taken: dict[str, list[float]] = {}
    problems: dict[str, str] = {}
    for turn in range(rounds + 1):
        for name, make in makes.items():
            if name in problems:
                continue
            try:
                cost = _cost_of_a_step(fit, make, folder / f"{name.replace(' ', '-')}-{turn}", steps)
            except Exception as error:
                problems[name] = f"{type(error).__name__}: {str(error).strip()[:80]}"
                continue
            if turn:  # the first one loads what it needs
                taken.setdefault(name, []).append(cost)
    bare = statistics.median(taken["nothing"])
    over = {
        name: statistics.median([a - b for a, b in zip(costs, taken["nothing"], strict=True)])
        for name, costs in taken.items()
    }
    limit = max(_MOST, bare / 100)
    rows = [Row(f"{package}, hooks that do nothing", f"{bare:,.0f} us a step")]
    for name in makes:
        if name == "nothing":
            continue
        if name in problems:
            rows.append(Row(f"{package}, {name}", problems[name]))
            continue
        said = f"+ {over[name]:,.1f} us ({100 * over[name] / bare:.1f} %)"
        if name == "track":
            verdict = MET if over[name] <= limit else MISSED
            rows.append(Row(f"{package}, track", said, f"at most {limit:.0f} us", f"{over[name] / limit:.2f}", verdict))
        else:
            ratio = over[name] / over["track"] if over["track"] > 0 else float("inf")
            rows.append(Row(f"{package}, {name}", said, "track", f"{ratio:,.1f}"))
    return rows


def _cost_of_a_step(fit: Fit, make: Callable[[Path], Any], folder: Path, steps: int) -> float:
    """Return the microseconds of processor time by which a long fit takes more than a short one, for each step."""
    taken = []
    for count in (steps // 5, steps):
        place = folder / str(count)
        place.mkdir(parents=True)
        recorder = make(place)
        began = time.process_time()
        fit(recorder, count, place)
        taken.append(time.process_time() - began)
        _end_others()
    return (taken[1] - taken[0]) / (steps - steps // 5) * 1e6


def _end_others() -> None:
    wandb, mlflow = sys.modules.get("wandb"), sys.modules.get("mlflow")
    if wandb is not None and getattr(wandb, "run", None) is not None:
        wandb.finish()
    if mlflow is not None and hasattr(mlflow, "end_run"):
        mlflow.end_run()


class _Line:
    """Writes numbers as a line to a file."""

    def __init__(self, place: Path) -> None:
        self._file = os.open(place / "lines.jsonl", os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def write(self, values: Any, step: int) -> None:
        os.write(self._file, json.dumps({"time": time.time(), "step": step, **values}).encode() + b"\n")


class _Encoded(_Line):
    """Writes numbers as a line to a file, as fast as they can be encoded."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self._encode = msgspec.json.Encoder().encode

    def write(self, values: Any, step: int) -> None:
        os.write(self._file, self._encode({"at": time.time(), "step": step, "values": values}) + b"\n")


def _client(place: Path) -> Any:
    from track import TrackClient

    return TrackClient(f"file:{place}/runs.json")


def _lightning() -> tuple[Fit, dict[str, Callable[[Path], Any]]]:
    import lightning.pytorch as pl
    import torch
    from lightning.pytorch import loggers

    from track.integrations.lightning import TrackLogger

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)

    class Line(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(32, 1)

        def training_step(self, batch: Any, number: int) -> Any:
            loss = self.layer(batch).square().mean()
            self.log_dict({"loss": loss, "norm": loss.detach().sqrt()})
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    class Nothing(loggers.Logger):
        name, version = "nothing", "0"

        def log_metrics(self, metrics: Any, step: Any = None) -> None:
            pass

        def log_hyperparams(self, *arguments: Any, **named: Any) -> None:
            pass

    class Writes(Nothing):
        def __init__(self, place: Path, kind: type[_Line] = _Line) -> None:
            self._line = kind(place)

        def log_metrics(self, metrics: Any, step: Any = None) -> None:
            self._line.write(metrics, step)

    def fit(recorder: Any, steps: int, place: Path) -> None:
        trainer = pl.Trainer(
            max_steps=steps, logger=recorder, log_every_n_steps=1, accelerator="cpu", enable_progress_bar=False,
            enable_model_summary=False, enable_checkpointing=False, default_root_dir=place,
        )  # fmt: skip
        trainer.fit(Line(), torch.utils.data.DataLoader(torch.ones(16 * steps, 32), batch_size=16))

    return fit, {
        "nothing": lambda place: Nothing(),
        "encoded and written": lambda place: Writes(place, _Encoded),
        "a line a step": Writes,
        "track": lambda place: TrackLogger(client=_client(place)),
        "CSV of Lightning": loggers.CSVLogger,
        "TensorBoard": loggers.TensorBoardLogger,
        "wandb, offline": lambda place: loggers.WandbLogger(save_dir=place, offline=True),
        "mlflow": lambda place: loggers.MLFlowLogger(tracking_uri=f"sqlite:///{place}/mlflow.db"),
    }


def _transformers() -> tuple[Fit, dict[str, Callable[[Path], Any]]]:
    import torch
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        Trainer,
        TrainerCallback,
        TrainingArguments,
        integrations,
    )
    from transformers.trainer_callback import PrinterCallback
    from transformers.utils import logging as speaking

    from track.integrations.transformers import TrackCallback

    speaking.set_verbosity_error()
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    sentence = {
        "input_ids": torch.arange(8), "attention_mask": torch.ones(8, dtype=torch.long), "labels": torch.tensor(1)
    }  # fmt: skip

    class Nothing(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **named: Any) -> None:
            pass

    class Writes(Nothing):
        def __init__(self, place: Path, kind: type[_Line] = _Line) -> None:
            self._line = kind(place)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **named: Any) -> None:
            self._line.write(logs, state.global_step)

    def fit(recorder: Any, steps: int, place: Path) -> None:
        os.environ |= {"WANDB_DIR": str(place), "MLFLOW_TRACKING_URI": f"sqlite:///{place}/mlflow.db"}
        arguments = TrainingArguments(
            str(place), max_steps=steps, logging_steps=1, report_to="none", use_cpu=True, disable_tqdm=True,
            save_strategy="no", per_device_train_batch_size=8,
        )  # fmt: skip
        model = BertForSequenceClassification(BertConfig(vocab_size=80, **sizes))
        trainer = Trainer(model, arguments, train_dataset=[sentence] * 8 * steps, callbacks=[recorder])
        trainer.remove_callback(PrinterCallback)
        trainer.train()

    return fit, {
        "nothing": lambda place: Nothing(),
        "encoded and written": lambda place: Writes(place, _Encoded),
        "a line a step": Writes,
        "track": lambda place: TrackCallback(client=_client(place)),
        "TensorBoard": lambda place: integrations.TensorBoardCallback(),
        "wandb, offline": lambda place: integrations.WandbCallback(),
        "mlflow": lambda place: integrations.MLflowCallback(),
    }


def _keras() -> tuple[Fit, dict[str, Callable[[Path], Any]]]:
    import keras
    import numpy as np

    from track.integrations.keras import TrackCallback

    def fit(recorder: Any, steps: int, place: Path) -> None:
        model = keras.Sequential([keras.layers.Input((32,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        inputs = np.ones((16 * steps, 32), dtype=np.float32)
        model.fit(inputs, inputs[:, :1], batch_size=16, verbose=0, callbacks=[recorder])

    class Nothing(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            pass

    class Writes(keras.callbacks.Callback):
        def __init__(self, place: Path, kind: type[_Line] = _Line) -> None:
            super().__init__()
            self._line = kind(place)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self._line.write(logs, batch)

    def wandb(place: Path) -> Any:
        import wandb
        from wandb.integration.keras import WandbMetricsLogger

        wandb.init(dir=place, mode="offline")
        return WandbMetricsLogger(log_freq=1)

    def mlflow(place: Path) -> Any:
        import mlflow

        mlflow.set_tracking_uri(f"sqlite:///{place}/mlflow.db")
        mlflow.start_run()
        return mlflow.keras.MlflowCallback(log_every_epoch=False, log_every_n_steps=1)

    return fit, {
        "nothing": lambda place: Nothing(),
        "encoded and written": lambda place: Writes(place, _Encoded),
        "a line a step": Writes,
        "track": lambda place: TrackCallback(client=_client(place), freq=1),
        "TensorBoard": lambda place: keras.callbacks.TensorBoard(place, update_freq=1),
        "wandb, offline": wandb,
        "mlflow": mlflow,
    }


FRAMEWORKS: dict[str, Callable[[], tuple[Fit, dict[str, Callable[[Path], Any]]]]] = {
    "lightning": _lightning,
    "transformers": _transformers,
    "keras": _keras,
}
TURNS: dict[str, Callable[[list[Any], Callable[[], Any]], Any]] = {
    "lightning": _lightning_turns,
    "transformers": _transformers_turns,
    "keras": _keras_turns,
}
"""What calls a function for the recorder of a step, and lets the last recorder begin and end."""


if __name__ == "__main__":
    run(__doc__, measure, steps=(500, 50), rounds=(5, 1))
