"""Training, step by step: from the state that a run is in to its last step, or to a stop.

1. take the next global batch             a function of the step
2. one optimizer update                   at the learning rate of the step
3. refuse to go on with a loss that is no number; write metrics
4. every so often: validate; start a checkpoint, written by a thread while training goes on
5. once per step the ranks agree: were we told to stop? is the checkpoint on the disk everywhere?
"""

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import StoppedOnPurpose
from pipeline.shards.loader import Loader
from pipeline.train.checkpoints import Checkpoints
from pipeline.train.config import PretrainConfig
from pipeline.train.engine import Engine
from pipeline.train.health import Watch, diverged
from pipeline.train.metrics import Events, Metrics
from pipeline.train.schedule import learning_rate
from pipeline.train.validate import validation_loss

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """All that one rank trains with."""

    config: PretrainConfig
    folder: Path
    engine: Engine
    train_data: Loader
    validation_data: Loader
    checkpoints: Checkpoints
    metrics: Metrics
    events: Events
    watch: Watch


def train(run: Run, first_step: int) -> None:
    """Steps first_step + 1 to the last; every rank returns with the last checkpoint written, or raises."""
    config = run.config
    for done in range(first_step, config.steps):
        start = time.perf_counter()
        step = done + 1  # counts from 1 for people and files; `done` is the number of updates behind us
        lr = learning_rate(config.optim, config.schedule, config.steps, done)
        loss = run.engine.train_step(micro_batches(run, done), lr)
        grad_norm = run.engine.grad_norm
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            run.checkpoints.commit()  # of an earlier step, and good
            raise diverged(step, loss, grad_norm, lr, run.checkpoints.newest_step)
        run.metrics.step(step, loss, grad_norm, lr, time.perf_counter() - start)

        if step % config.validation.every_steps == 0 or step == config.steps:
            run.metrics.validation(step, validate(run))
        stop, writing = run.watch.agree(writing=run.checkpoints.is_writing)
        if not writing:
            run.checkpoints.commit()
        if step % config.checkpoint.every_steps == 0 or step == config.steps or stop:
            run.metrics.sync()
            run.checkpoints.start(step, lr)
        if stop and step < config.steps:
            run.checkpoints.commit()
            run.events.record("stop", step=step)
            raise StoppedOnPurpose(f"stopped after step {step} of {config.steps}, as told; a checkpoint is written")
    run.checkpoints.commit()


def micro_batches(run: Run, done: int) -> list:
    """This rank's share of the global batch that follows `done` updates."""
    batch, topology = run.config.batch, run.engine.topology
    return run.train_data.micro_batches(
        done * batch.global_batch,
        global_batch=batch.global_batch,
        micro_batch=batch.micro_batch,
        dp_rank=topology.dp_rank,
        dp_size=topology.dp,
    )


def validate(run: Run) -> float:
    batch = run.config.batch
    return validation_loss(
        run.engine,
        run.validation_data,
        num_batches=run.config.validation.num_batches,
        global_batch=batch.global_batch,
        micro_batch=batch.micro_batch,
    )
