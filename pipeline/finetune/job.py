"""What `run.py` hands to a task, first to `read`, then to `run`."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.finetune.data import Row
from pipeline.finetune.methods import Full, Lora
from pipeline.finetune.trainer import TrainingConfig


@dataclass(frozen=True)
class Job:
    model: Path
    """Folder of the exported decoder."""
    splits: dict[str, list[Row]]
    """train, validation, test; every row has the columns the task asked for."""
    method: Full | Lora
    training: TrainingConfig
