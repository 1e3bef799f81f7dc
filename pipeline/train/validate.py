"""How good the model is on text it does not learn from, and how good it would be knowing only word frequencies."""

from typing import TYPE_CHECKING

import numpy as np

from pipeline.shards.loader import Loader

if TYPE_CHECKING:
    from pipeline.train.engine import Engine


def validation_loss(
    engine: "Engine", loader: Loader, *, num_batches: int, global_batch: int, micro_batch: int
) -> float:
    """Mean loss, nats per token, over the first global batches of the split: the same tokens whenever it is called."""
    topology = engine.topology
    batches = min(num_batches, max(1, loader.num_samples // global_batch))
    losses = [
        engine.eval_loss(
            loader.micro_batches(
                number * global_batch,
                global_batch=global_batch,
                micro_batch=micro_batch,
                dp_rank=topology.dp_rank,
                dp_size=topology.dp,
            )
        )
        for number in range(batches)
    ]
    return sum(losses) / len(losses)


def unigram_entropy(counts: np.ndarray) -> float:
    """Nats per token: the loss of the best model that knows only how often each token occurs (`counts`)."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())
