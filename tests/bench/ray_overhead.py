"""What a split costs beyond its work: a split that does nothing, committed with hashes, fsync and receipt.

Peers, with as many slots: an empty `ray.remote` function, which keeps no promise, and datatrove's Ray executor over a
pipeline that does nothing, which marks a finished task by an empty file.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.core.shard_map import Counts, Split, Workers
from tests.bench.row import Row

SLOTS, SPLITS, ROUNDS = 2, 200, 3
DATATROVE_TASKS = 4  # of seconds each


def nothing(task: None, folder: Path) -> Counts:
    return {}


def small_file(task: None, folder: Path) -> Counts:
    (folder / "documents.parquet").write_bytes(b"PAR1" * 1000)
    return {"in": 1}


def rows() -> Iterator[Row]:
    with Workers(SLOTS) as workers:
        ours, with_file = best(lambda: splits(workers, nothing)), best(lambda: splits(workers, small_file))
        import ray  # not before Workers has set the environment that it reads

        plain = best(plain_ray)
        detail = f"empty ray.remote {plain:.1f} ms; a split that writes 4 kB {with_file:.1f} ms"
        yield Row("Ray overhead of an empty split", ours, "ms", 50, at_most=True, peer=f"ray {ray.__version__}",
                  detail=f"{detail}; {SPLITS} splits, {SLOTS} slots, best of {ROUNDS}")  # fmt: skip
        theirs = datatrove_tasks()
        yield Row("empty splits in the same time", theirs / ours, "x", 10,
                  peer=f"datatrove {version('datatrove')} Ray executor",
                  detail=f"{ours:.1f} ms a split against {theirs:,.0f} ms, {DATATROVE_TASKS} tasks")  # fmt: skip


def best(measure: Callable[[], float]) -> float:
    """Milliseconds that one split keeps a slot busy."""
    return min(measure() for _ in range(ROUNDS))


def splits(workers: Workers, function: Any) -> float:
    with tempfile.TemporaryDirectory() as folder:
        workers.map(function, [Split(f"warm-{n}", None) for n in range(2 * SLOTS)], Path(folder), "warm")
        start = time.perf_counter()
        workers.map(function, [Split(f"{n:05d}", None) for n in range(SPLITS)], Path(folder), "empty")
        return (time.perf_counter() - start) * SLOTS / SPLITS * 1000


def plain_ray() -> float:
    import ray

    empty = ray.remote(num_cpus=1)(lambda: None)
    ray.get([empty.remote() for _ in range(2 * SLOTS)])
    start = time.perf_counter()
    running = [empty.remote() for _ in range(SLOTS)]
    for _ in range(SPLITS - SLOTS):
        (done,), running = ray.wait(running, num_returns=1)
        ray.get(done)
        running.append(empty.remote())
    ray.get(running)
    return (time.perf_counter() - start) * SLOTS / SPLITS * 1000


def datatrove_tasks() -> float:
    from datatrove.executor import RayPipelineExecutor
    from datatrove.pipeline.base import PipelineStep

    class Nothing(PipelineStep):
        def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Any:
            yield from ()

    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        RayPipelineExecutor([Nothing()], tasks=DATATROVE_TASKS, workers=SLOTS, logging_dir=folder).run()
        return (time.perf_counter() - start) * SLOTS / DATATROVE_TASKS * 1000
