"""The proof of an export: its logits are those of the engine that trained the checkpoint.

1. A fixed batch of random tokens, as long as a training sample (at most 128 tokens)
2. Theirs: transformers loads the folder, in fp32
3. Ours: the engine's own layers (megatron-core, one rank) with the checkpoint's weights, in a process of its own,
   since an engine cannot leave the process groups it has joined. CPU, fp32; weights rounded as the export's are
4. The figure: the largest absolute difference of any logit
"""

import multiprocessing
import os
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
    max_abs_difference: float
    max_abs_logit: float
    tolerance: float
    batch: tuple[int, int]
    """Sequences, tokens in each."""


def check(folder: Path, source: "Source", dtype: str) -> Parity:
    """Raises ParityError above TOLERANCE."""
    import torch

    from pipeline.model.pretrained import load_decoder

    length = min(source.config.data.seq_len, LONGEST)
    draw = torch.Generator().manual_seed(0)
    tokens_BS = torch.randint(source.state.vocab_size, (BATCH, length), generator=draw)
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as process:
        ours = process.submit(engine_logits, source.folder, tokens_BS.tolist(), dtype)
        with torch.inference_mode():
            theirs_BSV = load_decoder(folder)(tokens_BS, use_cache=False).logits.float()
        ours_BSV = torch.from_numpy(ours.result())
    difference = float((ours_BSV - theirs_BSV).abs().max()) if ours_BSV.shape == theirs_BSV.shape else float("inf")
    if not difference <= TOLERANCE:  # also NaN
        raise ParityError(
            f"the exported model is not the one that was trained: logits differ by {difference:.3g} "
            f"(tolerance {TOLERANCE:g}); nothing was written"
        )
    return Parity(difference, float(ours_BSV.abs().max()), TOLERANCE, (BATCH, length))


def engine_logits(checkpoint: Path, tokens: list[list[int]], dtype: str) -> "np.ndarray":
    """float32 [B, S, vocab_size]. Takes its process over."""
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
    with torch.no_grad():
        for name, parameter in stack.named_parameters():
            weight = source.reader.tensor(logical_name(name, source.model.num_layers))
            parameter.copy_(weight.to(getattr(torch, dtype)))
        return whole_logits(stack(torch.tensor(tokens)), source.state.vocab_size).numpy()


def _no_loss(logits: "Tensor", labels: "Tensor") -> "Tensor":
    raise AssertionError("no loss is computed here")
