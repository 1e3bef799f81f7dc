"""Which ranks work together: process groups for tensor (tp), pipeline (pp) and data (dp) parallelism.

Import this before deepspeed and megatron.core: it is the one place that knows a host may have no GPU.

Rank order, slowest to fastest: pipeline, data, tensor. With tp 2, pp 2, dp 2, rank 5 is pipeline stage 1, data replica
0, tensor shard 1. Tensor parallelism talks most, so its ranks are neighbours on one node.
"""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

HAS_GPU = torch.cuda.is_available()

if not HAS_GPU:
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed warns while guessing
    # megatron-core asks for "the current device" to place its communication buffers; without CUDA that raises.
    torch.cuda.current_device = lambda: torch.device("cpu")  # type: ignore[assignment,return-value]


@contextlib.contextmanager
def importing_megatron() -> Iterator[None]:
    """Around the first import of megatron.core: no advice to install Apex, and on a CPU no `@torch.compile`.

    None of the kernels so decorated is used on a CPU, and decorating alone loads dynamo, inductor and sympy: 3.8 s of
    imports per rank instead of 2.3 s.
    """
    compile_ = torch.compile
    if not HAS_GPU:
        torch.compile = lambda function=None, **_: function or (lambda f: f)  # type: ignore[assignment]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.compile = compile_


with importing_megatron():
    import deepspeed
    import deepspeed.ops
    from megatron.core import parallel_state


@dataclass(frozen=True)
class Topology:
    """This rank's place. `rank` counts over the run, the others within their group."""

    rank: int
    world_size: int
    tp: int
    pp: int
    dp: int
    tp_rank: int
    pp_rank: int
    dp_rank: int


def start(tp: int, pp: int, timeout_s: float = 1800.0) -> Topology:
    """Join the run that the launcher describes in RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT.

    A collective that waits longer than `timeout_s` raises instead of hanging for ever.
    """
    deepspeed.logger.setLevel(logging.ERROR)
    # An inference-only operator, which init_distributed would compile first (26 s, needs g++ and ninja).
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    timeout = timedelta(seconds=timeout_s)
    if HAS_GPU:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # gloo on GPU hosts too: checkpoints and stop signals are agreed on with CPU tensors.
    dist.init_process_group("cpu:gloo,cuda:nccl" if HAS_GPU else "gloo", timeout=timeout)
    deepspeed.init_distributed(dist_backend="nccl" if HAS_GPU else "gloo", verbose=False, timeout=timeout)
    parallel_state.initialize_model_parallel(
        tp, pp, create_gloo_process_groups=False, distributed_timeout_minutes=max(1, round(timeout_s / 60))
    )
    world_size = dist.get_world_size()
    return Topology(
        rank=dist.get_rank(),
        world_size=world_size,
        tp=tp,
        pp=pp,
        dp=world_size // (tp * pp),
        tp_rank=parallel_state.get_tensor_model_parallel_rank(),
        pp_rank=parallel_state.get_pipeline_model_parallel_rank(),
        dp_rank=parallel_state.get_data_parallel_rank(),
    )


def assert_same_groups(grid: Any) -> None:
    """megatron-core and DeepSpeed (`grid`) put the same ranks together; with another `order=` they would not."""
    pairs = (
        (parallel_state.get_tensor_model_parallel_group(), grid.get_slice_parallel_group()),
        (parallel_state.get_pipeline_model_parallel_group(), grid.get_pipe_parallel_group()),
        (parallel_state.get_data_parallel_group(), grid.get_data_parallel_group()),
        (parallel_state.get_model_parallel_group(), grid.get_model_parallel_group()),
    )
    for ours, theirs in pairs:
        a, b = (sorted(dist.get_process_group_ranks(group)) for group in (ours, theirs))
        assert a == b, f"megatron-core groups ranks {a}, DeepSpeed {b}"
