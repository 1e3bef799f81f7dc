"""The learning rate: a pure function of the step, so that there is nothing to save."""

import math

from pipeline.train.config import OptimConfig, ScheduleConfig


def learning_rate(optim: OptimConfig, schedule: ScheduleConfig, steps: int, step: int) -> float:
    """Of update number `step` (from 0): warm-up to `lr`, then the named shape, which ends at `min_lr` in the last."""
    if step < schedule.warmup_steps:
        return optim.lr * (step + 1) / schedule.warmup_steps
    fall = schedule.decay_steps if schedule.name == "wsd" else steps - schedule.warmup_steps
    done = step - (steps - 1 - fall)  # updates into the fall; the last update of the run is its end
    progress = min(max(done / fall, 0.0), 1.0) if fall else 1.0
    if schedule.name == "constant":
        share = 1.0
    elif schedule.name == "cosine":
        share = (1 + math.cos(math.pi * progress)) / 2
    else:
        share = 1 - progress
    return optim.min_lr + (optim.lr - optim.min_lr) * share
