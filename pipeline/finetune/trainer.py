"""The training loop of every fine-tuning task: transformers' Trainer, made quiet, resumable and right.

1. Each epoch ends with a validation and a checkpoint under FOLDER/checkpoints (the last and the best are kept).
2. With `early_stopping_patience`, training ends when that many validations in a row brought no new best.
3. The best epoch's weights are restored, and the checkpoints removed by the caller.

A killed run continues from its last whole checkpoint and ends with the same bytes as one that was not killed.
FOLDER/metrics.jsonl holds one line per log: step, epoch and what was measured.
"""

import json
import logging
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from pipeline.core.config import Config
from pipeline.core.progress import Bar

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase, TrainerCallback

logger = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"
METRICS = "metrics.jsonl"
LOGS_PER_EPOCH = 10


class TrainingConfig(Config):
    epochs: int = Field(default=5, gt=0)
    """Passes over the training rows, at most."""
    lr: float = Field(default=1e-4, gt=0)
    """Peak learning rate of AdamW; it falls linearly to 0 over `epochs`. LoRA wants a higher one than full."""
    warmup_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Part of the steps over which the learning rate rises to `lr`."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Of AdamW."""
    batch_size: int = Field(default=16, gt=0)
    """Rows per optimizer step."""
    micro_batch_size: int | None = Field(default=None, gt=0)
    """Rows in memory at once; default: batch_size. It must divide batch_size."""
    eval_batch_size: int = Field(default=32, gt=0)
    """Rows at once when no gradients are needed."""
    max_length: int | None = Field(default=None, gt=0)
    """Tokens of a row; longer ones are cut and counted. Default: the model's context."""
    early_stopping_patience: int | None = Field(default=2, gt=0)
    """Validations without a new best before training stops; null: never."""
    best_by: Literal["loss", "accuracy", "macro_f1"] = "loss"
    """What a validation is judged by. The loss moves even where the answers do not yet."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: matrix products in bfloat16, weights and optimizer in fp32."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of the new head, the order of the rows and dropout."""

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.micro_batch_size and self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"batch_size ({self.batch_size}) must divide by micro_batch_size ({self.micro_batch_size})"
            )
        return self


@dataclass(frozen=True)
class Trained:
    """`model` has the weights of the best epoch."""

    model: "nn.Module"
    epochs: int
    best_epoch: int
    num_steps: int
    best_value: float
    """Of TrainingConfig.best_by, on the validation rows."""


def fit(
    config: TrainingConfig,
    model: "nn.Module",
    tokenizer: "PreTrainedTokenizerBase",
    train: Sequence[dict[str, Any]],
    validation: Sequence[dict[str, Any]],
    folder: Path,
    measure: Callable[[Any], dict[str, float]],
    loss_is_mean_over_rows: bool,
) -> Trained:
    """Rows are {"input_ids", "labels"}; `measure` gets transformers' EvalPrediction.

    `loss_is_mean_over_rows`: the model divides its loss by the rows of a micro batch, not by the items of the whole
    step. The heads for sequence and token classification do, and Trainer, which does not know it, would scale loss and
    gradient by the number of micro batches and of processes.
    """
    import torch
    from torch import nn
    from transformers import DataCollatorWithPadding, EarlyStoppingCallback, PrinterCallback, Trainer

    steps_per_epoch = -(-len(train) // config.batch_size)
    callbacks: list[Any] = [_reporter(folder / METRICS, config.epochs)]
    if config.early_stopping_patience:
        callbacks.append(EarlyStoppingCallback(config.early_stopping_patience))
    trainer = Trainer(
        model=model,
        args=_arguments(config, folder, steps_per_epoch, on_cpu=not torch.cuda.is_available()),
        train_dataset=train,
        eval_dataset=validation,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=measure,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    if loss_is_mean_over_rows:
        trainer.model_accepts_loss_kwargs = False
    trainer.train(resume_from_checkpoint=_last_whole_checkpoint(folder / CHECKPOINTS))
    state = trainer.state
    assert isinstance(trainer.model, nn.Module)
    assert state.best_metric is not None
    assert state.best_global_step is not None
    return Trained(
        model=trainer.model,
        epochs=round(state.epoch or 0),
        best_epoch=round(state.best_global_step / steps_per_epoch),
        num_steps=state.global_step,
        best_value=float(state.best_metric),
    )


def _arguments(config: TrainingConfig, folder: Path, steps_per_epoch: int, on_cpu: bool) -> Any:
    from transformers import TrainingArguments

    micro_batch = config.micro_batch_size or config.batch_size
    return TrainingArguments(
        output_dir=str(folder.resolve() / CHECKPOINTS),
        num_train_epochs=config.epochs,
        learning_rate=config.lr,
        lr_scheduler_type="linear",
        warmup_steps=round(config.warmup_fraction * steps_per_epoch * config.epochs),
        weight_decay=config.weight_decay,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=config.batch_size // micro_batch,
        per_device_eval_batch_size=config.eval_batch_size,
        train_sampling_strategy="group_by_length",  # less padding
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model=config.best_by,
        greater_is_better=config.best_by != "loss",
        restore_callback_states_from_checkpoint=True,  # the patience that is used up
        logging_steps=max(1, steps_per_epoch // LOGS_PER_EPOCH),
        bf16=config.precision == "bf16",
        seed=config.seed,
        data_seed=config.seed,
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
        disable_tqdm=True,
        report_to="none",
        log_level="error",
    )


def _last_whole_checkpoint(root: Path) -> str | None:
    """The newest checkpoint that was written to its end: Trainer writes trainer_state.json last. Newer ones go."""
    found = sorted(root.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    for folder in found:
        try:
            json.loads((folder / "trainer_state.json").read_bytes())
        except (FileNotFoundError, ValueError):
            shutil.rmtree(folder)
            continue
        logger.info("continuing from %s, which a stopped run left", folder.name)
        return str(folder.resolve())
    return None


def _reporter(metrics: Path, num_epochs: int) -> "TrainerCallback":
    """Progress for people and metrics.jsonl for machines. (The class lies inside: its base is a heavy import.)"""
    from transformers import TrainerCallback

    class Reporter(TrainerCallback):
        loss = float("nan")
        bar: Bar

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            metrics.write_text("".join(_line(entry) for entry in state.log_history), encoding="utf-8")
            self.bar = Bar("finetune", total=state.max_steps, unit="steps", done=state.global_step)
            self.bar.__enter__()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.advance(note="" if math.isnan(self.loss) else f"loss {self.loss:.3f}")

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if not logs or "train_runtime" in logs:  # the closing summary: only clocks
                return
            self.loss = logs.get("loss", self.loss)
            with open(metrics, "a", encoding="utf-8") as file:
                file.write(_line({**logs, "step": state.global_step}))

        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
            found = metrics or {}
            names = {"eval_loss": "validation loss", "eval_accuracy": "accuracy", "eval_macro_f1": "macro F1"}
            shown = ", ".join(f"{text} {found[key]:.3f}" for key, text in names.items() if key in found)
            logger.info("epoch %d of %d: train loss %.3f, %s", round(state.epoch), num_epochs, self.loss, shown)

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.__exit__(None, None, None)

    return Reporter()


def _line(entry: dict[str, Any]) -> str:
    clocks = ("eval_runtime", "eval_samples_per_second", "eval_steps_per_second")
    kept = {name: value for name, value in entry.items() if name not in clocks}
    return json.dumps({"step": kept.pop("step"), **dict(sorted(kept.items()))}) + "\n"
