"""Run a function as N real gloo ranks on this machine, fast.

A forkserver imports torch, deepspeed and megatron-core once (some seconds); each rank is then a fork of it, so a test
of 2 ranks takes about a second instead of the ten of fresh processes. In: an importable function `work(*args)`. Out:
what each rank returned, by rank; or RanksFailed with the first rank's traceback.
"""

import contextlib
import multiprocessing
import os
import queue
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.core.ports import free_port

ROOT = Path(__file__).resolve().parents[1]
PRELOAD = ["pipeline.train.engine"]


class RanksFailed(AssertionError):
    pass


def run(world_size: int, work: Callable[..., Any], *args: Any, timeout_s: float = 120.0) -> list[Any]:
    """`work(*args)` on each rank, with the environment a launcher would set. `args` and results are pickled."""
    # The forkserver imports PRELOAD by name, and silently skips what it cannot find.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    os.environ["OMP_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    results: Any = context.Queue()
    port = free_port()
    ranks = [
        context.Process(target=_rank, args=(work, args, rank, world_size, port, results)) for rank in range(world_size)
    ]
    for process in ranks:
        process.start()
    try:
        return _collect(ranks, results, time.monotonic() + timeout_s)
    finally:
        for process in ranks:  # after an error the others hang in a collective
            process.join(timeout=0 if process.is_alive() else 1)
            if process.is_alive():
                process.join(timeout=5)
                process.kill()
                process.join()


def _collect(ranks: list[Any], results: Any, deadline: float) -> list[Any]:
    found: dict[int, Any] = {}
    while len(found) < len(ranks):
        try:
            rank, ok, value = results.get(timeout=0.5)
        except queue.Empty:
            dead = {i: p.exitcode for i, p in enumerate(ranks) if p.exitcode not in (None, 0)}
            if dead and results.empty():
                raise RanksFailed(f"ranks died without a word, exit codes {dead}") from None
            if time.monotonic() > deadline:
                raise RanksFailed(f"timeout; ranks {sorted(found)} had finished") from None
            continue
        if not ok:
            for process in ranks:
                process.kill()
            raise RanksFailed(f"rank {rank}: {value}")
        found[rank] = value
    return [found[rank] for rank in range(len(ranks))]


def _rank(work: Callable[..., Any], args: Any, rank: int, world_size: int, port: int, results: Any) -> None:
    os.environ.update(environment(rank, world_size, port))
    import torch
    import torch.distributed as dist

    warnings.simplefilter("ignore")  # of megatron-core and DeepSpeed about each other
    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # DeepSpeed and gloo print
    try:
        results.put((rank, True, work(*args)))
    except BaseException:  # noqa: BLE001 - told to the test
        results.put((rank, False, traceback.format_exc()))
    if dist.is_initialized():
        with contextlib.suppress(Exception):
            dist.destroy_process_group()


def environment(rank: int, world_size: int, port: int) -> dict[str, str]:
    """What launch/pretrain.sh tells a rank on one machine."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
