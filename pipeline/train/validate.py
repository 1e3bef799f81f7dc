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
        for number in range(_num_batches(loader, num_batches, global_batch))
    ]
    return sum(losses) / len(losses)


def label_counts(loader: Loader, *, num_batches: int, global_batch: int) -> np.ndarray:
    """How often each token is a label in the batches of `validation_loss`, int64 [vocab_size]."""
    num_samples = _num_batches(loader, num_batches, global_batch) * global_batch
    counts = np.zeros(loader.vocab_size, dtype=np.int64)
    for position in range(num_samples):
        [(_, labels)] = loader.micro_batches(position, global_batch=1, micro_batch=1, dp_rank=0, dp_size=1)
        counts += np.bincount(labels.numpy().ravel(), minlength=loader.vocab_size)
    return counts


def _num_batches(loader: Loader, wanted: int, global_batch: int) -> int:
    return min(wanted, max(1, loader.num_samples // global_batch))


def unigram_entropy(counts: np.ndarray) -> float:
    """Nats per token: the loss of the best model that knows only how often each token occurs (`counts`)."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())
