"""What a pretraining run is told: one YAML file, the sections below.

A run is a pure function of this file, the data it points to and, down to rounding, nothing else: `parallel`, `cluster`
and `batch.micro_batch` say how it is computed, not what, and may change from one resume to the next.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.core.config import Config
from pipeline.model.config import ModelConfig

Decay = Annotated[float, Field(ge=0, lt=1)]


class DataConfig(Config):
    path: Path
    """Output folder of `penstock prepare`."""
    seq_len: int = Field(gt=0)
    """Tokens per sample."""
    mixture: dict[str, float] | None = None
    """Weight of each source; left out, each source counts as many tokens as it has."""
    seed: int = 0
    """Decides the order of the samples."""


class ParallelConfig(Config):
    tp: int = Field(default=1, gt=0)
    """Tensor parallelism: each weight is split over this many ranks."""
    pp: int = Field(default=1, gt=0)
    """Pipeline parallelism: the layers are split into this many stages."""
    zero: int = Field(default=1, ge=0, le=3)
    """ZeRO stage: what data-parallel ranks share. 1 optimizer, 2 + gradients, 3 + weights; 0 nothing."""
    sequence_parallel: bool = False
    """Split the activations between tensor-parallel layers along the sequence."""
    recompute: bool = False
    """Keep only each layer's input for the backward pass and compute the layer again."""


class BatchConfig(Config):
    global_batch: int = Field(gt=0)
    """Sequences per step, over all ranks."""
    micro_batch: int = Field(default=1, gt=0)
    """Sequences that a rank computes at a time."""


class OptimConfig(Config):
    """AdamW. Norm weights do not decay."""

    lr: float = Field(gt=0)
    """Peak learning rate."""
    min_lr: float = Field(default=0.0, ge=0)
    """Learning rate at the last step."""
    betas: tuple[Decay, Decay] = (0.9, 0.95)
    """Decay of the running means of the gradient and of its square."""
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.1, ge=0)
    grad_clip: float = Field(default=1.0, gt=0)
    """The gradient's norm over all parameters is cut to this."""


class ScheduleConfig(Config):
    name: Literal["cosine", "linear", "constant", "wsd"] = "cosine"
    """Shape after the warm-up. wsd: constant, then a straight fall over the last `decay_steps`."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps over which the learning rate rises from 0 to its peak."""
    decay_steps: int = Field(default=0, ge=0)
    """Length of the fall of wsd."""


class ValidationConfig(Config):
    every_steps: int = Field(default=100, gt=0)
    """Validation is also done after the last step."""
    num_batches: int = Field(default=10, gt=0)
    """Global batches of the validation split, always its first ones; fewer if it is smaller."""


class CheckpointConfig(Config):
    every_steps: int = Field(default=100, gt=0)
    """A checkpoint is also written after the last step and when the run is told to stop."""
    keep_last: int = Field(default=3, gt=0)
    """Older ones are removed."""


class ClusterConfig(Config):
    nodes: int = Field(default=1, gt=0)
    ranks_per_node: int = Field(default=1, gt=0)
    """Processes per node: one per GPU."""
    timeout_s: float = Field(default=1800.0, gt=0)
    """A rank that waits longer than this for the others gives up."""

    @property
    def world_size(self) -> int:
        return self.nodes * self.ranks_per_node


class PretrainConfig(Config):
    model: ModelConfig
    data: DataConfig
    batch: BatchConfig
    optim: OptimConfig
    schedule: ScheduleConfig = ScheduleConfig()
    parallel: ParallelConfig = ParallelConfig()
    validation: ValidationConfig = ValidationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    cluster: ClusterConfig = ClusterConfig()
    steps: int = Field(gt=0)
    """Optimizer updates in the whole run."""
    seed: int = 0
    """Decides the initial weights."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """Of weights and activations in forward and backward; master weights, moments and sums of gradients are fp32."""
    log_every_steps: int = Field(default=10, gt=0)
    """Lines on the terminal; metrics.jsonl gets every step."""

    @model_validator(mode="after")
    def _schedule_fits(self) -> Self:
        schedule = self.schedule
        if schedule.warmup_steps + schedule.decay_steps > self.steps:
            raise ValueError(
                f"schedule: warmup_steps ({schedule.warmup_steps}) and decay_steps ({schedule.decay_steps}) "
                f"do not fit into steps ({self.steps})"
            )
        if (schedule.name == "wsd") != (schedule.decay_steps > 0):
            raise ValueError("schedule: decay_steps is the length of the fall of wsd: give it with wsd, and only then")
        if self.optim.min_lr > self.optim.lr:
            raise ValueError(f"optim: min_lr ({self.optim.min_lr}) is above lr ({self.optim.lr})")
        return self
