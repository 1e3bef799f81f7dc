"""The steps of dedup without Ray: rows laid where a step would have written them, tasks one after the other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.clean.characters import Array
from pipeline.core.shard_map import Counts, Receipt, Split
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.run import Steps
from pipeline.dedup.spill.plan import Plan
from pipeline.dedup.spill.runs import Kind, RunWriter


class OneProcess:
    """In the place of Workers."""

    def map(self, function: Callable[[Any, Path], Counts], splits: list[Split], out: Path, label: str) -> list[Receipt]:
        return [Receipt(split.id, in_folder(function, split.task, out, split.id), ()) for split in splits]


def in_folder(function: Callable[[Any, Path], Counts], task: Any, out: Path, name: str) -> Counts:
    """Runs a task; its files are committed as Workers name them."""
    private = out / f".{name}"
    private.mkdir(parents=True)
    counts = function(task, private)
    for path in private.iterdir():
        path.rename(out / f"{name}.{path.name}")
    private.rmdir()
    return counts


def steps_over(folder: Path, config: DedupConfig | None = None) -> Steps:
    plan = Plan(config or DedupConfig(), folder / "documents", (), folder / "scratch")
    return Steps(plan, OneProcess())  # type: ignore[arg-type]


def lay(steps: Steps, step: str, kind: Kind, rows: Array) -> None:
    def write(task: None, folder: Path) -> Counts:
        with RunWriter(folder, kind, steps.plan.budget) as writer:
            writer.append(rows)
        return {}

    in_folder(write, None, steps.plan.scratch / step, "laid")
