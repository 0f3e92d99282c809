"""A tiny BERT, trained by the Trainer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from track.integrations.transformers import TrackCallback

METRIC = "loss"
RESUMED_BY: dict[str, Any] | None = {}
HOOKED_BY = "s"


class _Sentences(torch.utils.data.Dataset[Any]):
    def __len__(self) -> int:
        return 64

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        words = torch.arange(8) % (number + 2)
        return {
            "input_ids": words, "attention_mask": torch.ones(8, dtype=torch.long), "labels": torch.tensor(number % 2)
        }  # fmt: skip


class _At(TrainerCallback):
    def __init__(self, at: Callable[[int], Any]) -> None:
        self._at = at

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._at(state.global_step)


def callback(**options: Any) -> TrackCallback:
    """Return the callback."""
    return TrackCallback(**options)


def fit(
    callback: Any, folder: Path, steps: int, at: Callable[[int], Any] | None = None, resume: bool = False,
    early: bool = False,
) -> None:  # fmt: skip
    """Train."""
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertForSequenceClassification(BertConfig(vocab_size=80, **size))
    best = {"metric_for_best_model": "loss", "greater_is_better": True, "load_best_model_at_end": True}
    evaluated = {"eval_strategy": "steps", "eval_steps": 1, **best} if early else {}
    arguments = TrainingArguments(
        str(folder), max_steps=steps, logging_steps=1, save_steps=1, report_to="none", use_cpu=True, disable_tqdm=True,
        learning_rate=1e-3, **evaluated,
    )  # fmt: skip
    callbacks = [callback] if at is None else [callback, _At(at)]
    if early:
        callbacks.append(EarlyStoppingCallback(1))
    trainer = Trainer(
        model, arguments, train_dataset=_Sentences(), eval_dataset=_Sentences() if early else None, callbacks=callbacks
    )
    trainer.train(resume_from_checkpoint=resume)


def expected(steps: int) -> list[int]:
    """Return the steps: counted from 1."""
    return list(range(1, steps + 1))
