"""The proof of an export: its logits are those of the engine that trained the checkpoint.

1. A fixed batch of random tokens, as long as a training sample (at most 128 tokens)
2. Theirs: transformers loads the folder, in fp32
3. Ours: the engine's own layers (megatron-core, one rank) with the checkpoint's weights, in a process of its own,
   since an engine cannot leave the process groups it has joined. CPU, fp32
4. The figures: the largest absolute difference of any logit from the engine's with the weights rounded as the export's
   are, which proves the export; and from the engine's with its own weights, which is what the rounding costs
"""

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.errors import PenstockError
from pipeline.core.ports import free_port

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from pipeline.export.source import Source

TOLERANCE = 1e-4
BATCH, LONGEST = 2, 128


class ParityError(PenstockError):
    """The exported model is not the model that was trained: our bug."""


@dataclass(frozen=True)
class Parity:
    dtype: str
    """That the weights were rounded to; float32: not at all."""
    max_abs_difference: float
    """From the engine with the same rounded weights."""
    max_abs_rounding: float
    """From the engine with the weights as they were trained."""
    max_abs_logit: float
    tolerance: float
    batch: tuple[int, int]
    """Sequences, tokens in each."""

    def describe(self) -> str:
        if self.dtype == "float32":
            return f"logits within {self.max_abs_difference:.1e} of the engine's"
        return (
            f"weights rounded to {self.dtype}; logits within {self.max_abs_difference:.1e} of the engine's with "
            f"weights rounded alike, {self.max_abs_rounding:.1e} with those trained (largest: {self.max_abs_logit:.3g})"
        )


def check(folder: Path, source: "Source", dtype: str) -> Parity:
    """Raises ParityError above TOLERANCE."""
    import torch

    from pipeline.model.pretrained import load_decoder

    length = min(source.config.data.seq_len, LONGEST)
    draw = torch.Generator().manual_seed(0)
    tokens_BS = torch.randint(source.state.vocab_size, (BATCH, length), generator=draw)
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as process:
        ours = process.submit(engine_logits, source.folder, tokens_BS.tolist(), (dtype, "float32"))
        with torch.inference_mode():
            theirs_BSV = load_decoder(folder)(tokens_BS, use_cache=False).logits.float()
        rounded_BSV, trained_BSV = map(torch.from_numpy, ours.result())
    difference = _largest_difference(rounded_BSV, theirs_BSV)
    if not difference <= TOLERANCE:  # also NaN
        raise ParityError(
            f"the exported model is not the one that was trained: logits differ by {difference:.3g} "
            f"(tolerance {TOLERANCE:g}); nothing was written"
        )
    rounding = _largest_difference(trained_BSV, theirs_BSV)
    return Parity(dtype, difference, rounding, float(trained_BSV.abs().max()), TOLERANCE, (BATCH, length))


def _largest_difference(ours: "Tensor", theirs: "Tensor") -> float:
    return float((ours - theirs).abs().max()) if ours.shape == theirs.shape else float("inf")


def engine_logits(checkpoint: Path, tokens: list[list[int]], dtypes: Sequence[str]) -> list["np.ndarray"]:
    """float32 [B, S, vocab_size] with the weights rounded to each of `dtypes`. Takes its process over."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch is imported: megatron-core would use what it finds
    port = str(free_port())
    os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    import torch

    from pipeline.export.source import open_source
    from pipeline.model import topology

    topology.start(tp=1, pp=1)
    from pipeline.model.decoder import logical_name, whole_logits
    from pipeline.train.config import ParallelConfig
    from pipeline.train.engine import Stack, layer_specs

    source = open_source(checkpoint)
    data = source.config.data.model_copy(update={"seq_len": len(tokens[0])})
    alone = {"precision": "fp32", "parallel": ParallelConfig(zero=0), "data": data}
    layers = layer_specs(source.config.model_copy(update=alone), source.state.vocab_size)
    stack = Stack(layers, _no_loss, lambda _: None, recompute_blocks=False).eval()
    found: dict[str, np.ndarray] = {}
    for dtype in dict.fromkeys(dtypes):
        with torch.no_grad():
            for name, parameter in stack.named_parameters():
                weight = source.reader.tensor(logical_name(name, source.model.num_layers))
                parameter.copy_(weight.to(getattr(torch, dtype)))
            found[dtype] = whole_logits(stack(torch.tensor(tokens)), source.state.vocab_size).numpy()
    return [found[dtype] for dtype in dtypes]


def _no_loss(logits: "Tensor", labels: "Tensor") -> "Tensor":
    raise AssertionError("no loss is computed here")
