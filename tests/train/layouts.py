"""Train a few steps of a small model in any layout, on real ranks, on random tokens: parity is tested, not learning.

The model is small and the learning rate large, so that a wrong gradient shows within five steps.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.train.config import PretrainConfig
from pipeline.train.plan import Layout

VOCAB_SIZE, SEQ_LEN, GLOBAL_BATCH, STEPS, LR = 60, 16, 12, 5, 1e-2  # 60: the padded vocabulary is 64


@dataclass(frozen=True)
class Curve:
    losses: list[float]
    norms: list[float]
    eval_losses: list[float]

    def distance(self, other: "Curve") -> tuple[float, float]:
        """Largest difference of a loss (training or evaluation), and of a gradient norm."""
        losses = zip(self.losses + self.eval_losses, other.losses + other.eval_losses, strict=True)
        norms = zip(self.norms, other.norms, strict=True)
        return max(abs(a - b) for a, b in losses), max(abs(a - b) for a, b in norms)


def config_for(layout: Layout, num_kv_heads: int = 2) -> PretrainConfig:
    model = {
        "num_layers": 2,
        "hidden_size": 32,
        "num_heads": 4,
        "num_kv_heads": num_kv_heads,
        "ffn_size": 64,
        "qk_norm": True,
        "tied": layout.tied,
        "vocab_multiple": 64,
    }
    parallel = {
        "tp": layout.tp,
        "pp": layout.pp,
        "zero": layout.zero,
        "sequence_parallel": layout.sequence_parallel,
        "recompute": layout.recompute,
    }
    return PretrainConfig.model_validate(
        {
            "model": model,
            "parallel": parallel,
            "data": {"path": "unused", "seq_len": SEQ_LEN},
            "batch": {"global_batch": GLOBAL_BATCH, "micro_batch": GLOBAL_BATCH // (2 * layout.dp)},
            "optim": {"lr": LR, "grad_clip": 0.5},
            "cluster": {"ranks_per_node": layout.world_size},
            "precision": layout.precision,
            "steps": 100,
            "seed": 77,
        }
    )


def micro_batches(step: int, dp_rank: int, dp: int, micro_batch: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """This data-parallel rank's share; the global batch depends on the step alone."""
    generator = torch.Generator().manual_seed(1000 + step)
    whole = torch.randint(0, VOCAB_SIZE, (GLOBAL_BATCH, SEQ_LEN + 1), generator=generator)
    share = whole.view(-1, dp, micro_batch, SEQ_LEN + 1)[:, dp_rank]
    return [(rows[:, :-1].contiguous(), rows[:, 1:].contiguous()) for rows in share]


@dataclass
class Trainer:
    """An engine and what feeds it; lives on a rank."""

    config: PretrainConfig
    engine: Any

    def run(self, first_step: int, num_steps: int) -> Curve:
        topology, micro_batch = self.engine.topology, self.config.batch.micro_batch
        curve = Curve([], [], [])
        for step in range(first_step, first_step + num_steps):
            batches = micro_batches(step, topology.dp_rank, topology.dp, micro_batch)
            curve.losses.append(self.engine.train_step(batches, LR))
            curve.norms.append(self.engine.grad_norm)
            if step % 2 == 1:  # between steps, so that a trace it leaves shows in the next one
                held_out = micro_batches(900 + step, topology.dp_rank, topology.dp, micro_batch)
                curve.eval_losses.append(self.engine.eval_loss(held_out))
        return curve


def start(layout: Layout, num_kv_heads: int = 2) -> Trainer:
    from pipeline.model import topology
    from pipeline.train.engine import Engine

    config = config_for(layout, num_kv_heads)
    return Trainer(config, Engine(config, VOCAB_SIZE, topology.start(layout.tp, layout.pp, timeout_s=60)))


def train(layout: Layout, num_kv_heads: int = 2) -> Curve:
    """Work for `tests.ranks.run`."""
    return start(layout, num_kv_heads).run(0, STEPS)


def train_broken(layout: Layout, breakage: str) -> Curve:
    """The same with one of the things left out that the engine does about its libraries (negative controls)."""
    with BREAKAGES[breakage]():
        return train(layout)


@contextlib.contextmanager
def _norm_gradients_not_summed() -> Iterator[None]:
    from pipeline.model import decoder

    kept = decoder.copy_to_tensor_model_parallel_region
    decoder.copy_to_tensor_model_parallel_region = lambda weight: weight
    yield
    decoder.copy_to_tensor_model_parallel_region = kept


@contextlib.contextmanager
def _stock_clipping() -> Iterator[None]:
    from pipeline.train import engine

    kept = engine.clip_once

    def deepspeeds(engine: Any) -> None:
        type(engine).clip_fp32_gradients(engine)
        engine._global_grad_norm = float("nan")  # it reports none: judge by the loss

    engine.clip_once = deepspeeds
    yield
    engine.clip_once = kept


@contextlib.contextmanager
def _padding_in_the_softmax() -> Iterator[None]:
    from pipeline.model import decoder

    kept = decoder.token_loss

    def loss(logits: torch.Tensor, labels: torch.Tensor, vocab_size: int) -> torch.Tensor:
        return kept(logits, labels, vocab_size=10**9)

    decoder.token_loss = loss
    yield
    decoder.token_loss = kept


BREAKAGES: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
    "norm gradients not summed": _norm_gradients_not_summed,
    "stock clipping": _stock_clipping,
    "padding in the softmax": _padding_in_the_softmax,
}


def logits(layout: Layout) -> list[list[list[float]]]:
    """Of a fresh model, for the same tokens in every layout."""
    tokens, _ = micro_batches(0, 0, 1, config_for(layout).batch.micro_batch)[0]
    return start(layout).engine.logits(tokens).tolist()


def save_and_go_on(layout: Layout, source: Path | None, target: Path) -> Curve:
    """Train 3 steps, or load `source`; save into `target`; train 2 steps more while that is written."""
    from pipeline.checkpoint.load import Reader, newest
    from pipeline.checkpoint.save import Save

    trainer, done = start(layout), 3
    if source is None:
        trainer.run(0, done)
    else:
        reader = newest(source)
        assert isinstance(reader, Reader)
        done = reader.extra["step"]
        trainer.engine.load(reader.range, done)
    save = Save(target, done, trainer.engine.fragments(), {"step": done})
    curve = trainer.run(done, 2)
    save.commit()
    return curve


def load_only(layout: Layout, source: Path) -> None:
    from pipeline.checkpoint.load import newest

    trainer, reader = start(layout), newest(source)
    assert reader
    trainer.engine.load(reader.range, reader.extra["step"])
