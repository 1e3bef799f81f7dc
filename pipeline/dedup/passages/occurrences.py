"""In how many documents something occurs, and in which first: counted for every line, or 50 words, of a corpus.

1. survey  per split: (hash, first document, 1) for everything a document holds -> runs of RUN_ROWS rows, each sorted,
           each hash once in a run
2. merge   per range of hashes, on the workers: the rows of all runs; kept are hashes of `min_documents` or more -> one
           sorted table
3. Table   looked up by hash

The first document is the one with the smallest id, or rather the smallest first half of an id (8 of 16 bytes: two alike
are expected above four thousand million documents, and then a repeat stays). So neither the files nor their order nor
the workers play a part. In memory: a run and a range; the table is mapped. On disk: 20 bytes a row.

Not spill/runs.py, where rows stay what they are: here equal hashes become one row, their count, at every step.
"""

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.clean.characters import Array
from pipeline.core.shard_map import Counts, Split, Workers

ROW = np.dtype([("hash", "<u8"), ("owner", "<u8"), ("documents", "<u4")])
RUN_ROWS = 1 << 22
RANGE_ROWS = 1 << 22
ROWS = ".rows"


def owner_of(doc_id: bytes) -> int:
    return int.from_bytes(doc_id[:8], "big")


def survey(found: Iterable[tuple[bytes, Array]], path: Path) -> None:
    """`found`: of every document its id and its hashes (uint64, in any order, some more than once)."""
    lengths = []
    with open(path, "wb") as file:
        for piece in _pieces(found):
            run = count(piece)
            file.write(_bytes(run))
            lengths.append(len(run))
        file.write(_bytes(np.array([*lengths, len(lengths)], dtype="<u8")))


def _bytes(rows: Array) -> memoryview:
    """For `write`, which says that the disk is full; numpy's `tofile` says how many rows it wrote, not why."""
    return np.ascontiguousarray(rows).view(np.uint8).data


def _pieces(found: Iterable[tuple[bytes, Array]]) -> Iterator[Array]:
    """Rows, RUN_ROWS at a time."""
    rows, num = np.empty(RUN_ROWS, dtype=ROW), 0
    for doc_id, hashes in found:
        hashes = np.unique(hashes)
        while len(hashes):
            part, hashes = hashes[: RUN_ROWS - num], hashes[RUN_ROWS - num :]
            rows["hash"][num : num + len(part)] = part
            rows["owner"][num : num + len(part)] = owner_of(doc_id)
            rows["documents"][num : num + len(part)] = 1
            num += len(part)
            if num == RUN_ROWS:
                yield rows
                num = 0
    yield rows[:num]


def count(rows: Array) -> Array:
    """Each hash once, sorted."""
    rows = rows[np.argsort(rows["hash"])]
    starts = np.flatnonzero(np.append(True, rows["hash"][1:] != rows["hash"][:-1])[: len(rows)])
    counted = rows[starts]
    if len(rows):
        counted["owner"] = np.minimum.reduceat(rows["owner"], starts)
        counted["documents"] = np.add.reduceat(rows["documents"], starts)
    return counted


def merge(paths: Sequence[Path], min_documents: int, out: Path, workers: Workers) -> None:
    num_rows = sum(path.stat().st_size for path in paths) // ROW.itemsize
    num_ranges = 1 + num_rows // RANGE_ROWS
    bounds = [number * 2**64 // num_ranges for number in range(num_ranges + 1)]
    splits = [Split(f"range-{number:06d}", RangeTask(tuple(paths), bounds[number], bounds[number + 1], min_documents))
              for number in range(num_ranges)]  # fmt: skip
    folder = out.with_name("ranges")
    workers.map(merge_range, splits, folder, label="first pass: merge")
    temporary = out.with_suffix(".tmp")
    with open(temporary, "wb") as file:
        for column in ("hash", "owner"):  # one after the other: a search in a column of rows would copy it
            for split in splits:
                file.write(_bytes(np.fromfile(folder / f"{split.id}{ROWS}", dtype=ROW)[column]))
    os.replace(temporary, out)


@dataclass(frozen=True)
class RangeTask:
    paths: tuple[Path, ...]
    first: int
    end: int
    min_documents: int


def merge_range(task: RangeTask, folder: Path) -> Counts:
    """Runs in the worker."""
    parts = [np.empty(0, ROW)]
    for run in (run for path in task.paths for run in _runs(path)):
        start, end = _place(run, task.first), _place(run, task.end)
        parts.append(np.array(run[start:end]))
    counted = count(np.concatenate(parts))
    (folder / ROWS[1:]).write_bytes(_bytes(counted[counted["documents"] >= task.min_documents]))
    return {}


def _runs(path: Path) -> list[Array]:
    """What `survey` wrote, mapped."""
    data = np.memmap(path, dtype=np.uint8, mode="r")
    num_runs = int(data[-8:].view("<u8")[0])
    lengths = data[len(data) - 8 * (num_runs + 1) : -8].view("<u8")
    ends = np.cumsum(lengths).astype(np.int64).tolist()
    rows = data[: ROW.itemsize * (ends[-1] if ends else 0)].view(ROW)
    return np.split(rows, ends[:-1])


def _place(rows: Array, hash: int) -> int:
    return bisect_left(rows, hash, key=lambda row: int(row["hash"]))


class Table:
    """What the merge kept."""

    def __init__(self, path: Path) -> None:
        columns = np.memmap(path, dtype="<u8", mode="r") if path.stat().st_size else np.empty(0, dtype="<u8")
        self._hashes, self._owners = np.split(columns, 2)

    def find(self, hashes: Array) -> tuple[Array, Array]:
        """Of each hash: whether it is in the table (bool), and the first document that has it (uint64; 0 if not)."""
        found, owners = np.zeros(len(hashes), dtype=bool), np.zeros(len(hashes), dtype=np.uint64)
        if len(self._hashes):
            at = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
            found[:] = self._hashes[at] == hashes
            owners[found] = self._owners[at[found]]
        return found, owners
