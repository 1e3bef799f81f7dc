"""What a run says about itself: metrics.jsonl for programs, lines for people, events.jsonl for both. Rank 0 writes.

metrics.jsonl has one line per step, and one per validation, in order; each step once, also after a resume:

    {"step": 12, "loss": 5.25, "grad_norm": 1.5, "lr": 0.001, "tokens": 49152, "tokens_per_s": 4096.0, "seconds": 1.0}
    {"step": 20, "validation_loss": 5.0, "validation_perplexity": 148.4131591025766}

loss            nats per token, mean over the global batch, before the update; exact (repr), so bits can be compared
grad_norm       Euclidean norm of the gradient over all parameters, before clipping
lr              learning rate of the update
tokens          trained on since the run began
seconds         wall-clock time of the step; tokens_per_s = tokens of a step / seconds, over all ranks
perplexity      exp(validation_loss)
"""

import json
import logging
import os
import time
from pathlib import Path
from typing import IO, Any

from pipeline.core.files import sync
from pipeline.model.perplexity import perplexity

logger = logging.getLogger(__name__)

METRICS, EVENTS = "metrics.jsonl", "events.jsonl"


class Metrics:
    """Appends to RUN/metrics.jsonl; on ranks other than 0 it does nothing. `first_step`: steps done already."""

    def __init__(
        self, run: Path, first_step: int, num_steps: int, step_tokens: int, log_every_steps: int, rank: int
    ) -> None:
        self.num_steps, self.step_tokens, self.log_every_steps = num_steps, step_tokens, log_every_steps
        self.last_validation: tuple[int, float] | None = None
        self._file: IO[str] | None = None
        if rank == 0:
            for record in cut(run / METRICS, first_step):
                if "validation_loss" in record:
                    self.last_validation = (record["step"], record["validation_loss"])
            self._file = open(run / METRICS, "a", encoding="utf-8")  # noqa: SIM115 - open as long as the run

    def step(self, step: int, loss: float, grad_norm: float, lr: float, seconds: float) -> None:
        tokens_per_s = self.step_tokens / seconds
        record = {"step": step, "loss": loss, "grad_norm": grad_norm, "lr": lr, "tokens": step * self.step_tokens,
                  "tokens_per_s": round(tokens_per_s, 1), "seconds": round(seconds, 4)}  # fmt: skip
        self._write(record)
        if step % self.log_every_steps == 0 or step == self.num_steps:
            logger.info(
                "step %*d/%d  loss %.4f  grad norm %.3f  lr %.2e  %s tokens/s  %.2f s",
                len(str(self.num_steps)), step, self.num_steps, loss, grad_norm, lr, f"{tokens_per_s:,.0f}", seconds,
            )  # fmt: skip

    def validation(self, step: int, loss: float) -> None:
        self.last_validation = (step, loss)
        self._write({"step": step, "validation_loss": loss, "validation_perplexity": perplexity(loss)})
        logger.info("step %*d/%d  validation loss %.4f  perplexity %.2f",
                    len(str(self.num_steps)), step, self.num_steps, loss, perplexity(loss))  # fmt: skip

    def sync(self) -> None:
        """To the disk: a checkpoint that survives a power loss has the metrics of its steps."""
        if self._file:
            os.fsync(self._file.fileno())

    def _write(self, record: dict[str, Any]) -> None:
        if self._file:
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()  # a killed run keeps its lines


class Events:
    """Appends to RUN/events.jsonl what happened and when: start, resume, save, stop, finish. Never cut."""

    def __init__(self, run: Path, rank: int) -> None:
        self._path = run / EVENTS if rank == 0 else None
        if self._path and self._path.exists() and not self._path.read_bytes().endswith(b"\n"):
            with open(self._path, "a") as file:  # a full disk or a kill cut the last line short
                file.write("\n")

    def record(self, event: str, **facts: Any) -> None:
        if self._path:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"time": round(time.time(), 3), "event": event, **facts}) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a .jsonl file; a line that a kill cut short is left out."""
    if not path.exists():
        return []
    return [record for line in path.read_text(encoding="utf-8").splitlines() for record in _parsed(line)]


def _parsed(line: str) -> list[dict[str, Any]]:
    try:
        return [json.loads(line)]
    except ValueError:
        return []


def cut(path: Path, step: int) -> list[dict[str, Any]]:
    """Remove what was written after `step`, which is about to be trained again; gives what is left."""
    kept = [record for record in read(path) if record["step"] <= step]
    if path.exists():
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    return kept
