"""Pairs from signatures: per band, documents with equal band hashes are candidates; those similar enough are linked.

Nodes are ranks: the place of a document when all are sorted by who is to be kept (see run.py). So nothing here depends
on files or rows. In a bucket of equal hashes every document is compared with the WINDOW ones before it and with the
first; in one of up to WINDOW documents these are all pairs.
"""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.core.kernels import kernel
from pipeline.core.shard_map import Counts
from pipeline.dedup.components import find
from pipeline.dedup.signatures import Signatures, band_column

Array = np.ndarray[Any, Any]
WINDOW = 64
EXCLUDED = np.uint32(0xFFFFFFFF)  # rank of a row that takes no part: too short, or a copy
EDGES = pa.schema([("left", pa.uint32()), ("right", pa.uint32())])
EDGES_FILE = ".edges.arrow"


@dataclass(frozen=True)
class JoinTask:
    signatures: tuple[Path, ...]
    ranks: Path  # uint32 per row, .npy
    band: int
    min_jaccard: float


def write_ranks(path: Path, ranks: Array) -> None:
    """Whole or not at all. As bytes: given a file, `np.save` does not say why a write fell short (ENOSPC)."""
    packed = io.BytesIO()
    np.save(packed, ranks)
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(packed.getbuffer())
    os.replace(temporary, path)


def join_band(task: JoinTask, folder: Path) -> Counts:
    """`edges.arrow`: pairs of ranks that share this band and are similar enough."""
    table = Signatures(task.signatures)
    ranks = np.load(task.ranks, mmap_mode="r")
    rows = np.flatnonzero(ranks != EXCLUDED)
    hashes, ranks = table.numbers(band_column(task.band))[rows], ranks[rows]
    order = np.lexsort((ranks, hashes))
    rows, hashes, ranks = rows[order], hashes[order], ranks[order]
    same = hashes[1:] == hashes[:-1]
    shared = np.concatenate([[False], same]) | np.concatenate([same, [False]]) if len(hashes) else np.empty(0, bool)
    rows, hashes, ranks = rows[shared], hashes[shared], ranks[shared]
    first_of = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]])) if len(hashes) else np.empty(0, int)
    buckets = np.append(first_of, len(hashes)).astype(np.int64)
    signatures = table.signatures(rows)
    least = int(np.ceil(task.min_jaccard * signatures.shape[1] - 1e-9))
    edges = _link(buckets, signatures, least, WINDOW)
    left, right = ranks[edges[:, 0]], ranks[edges[:, 1]]
    with pa.ipc.new_file(folder / EDGES_FILE[1:], EDGES) as writer:
        writer.write_batch(pa.record_batch([pa.array(left), pa.array(right)], schema=EDGES))
    return {"candidates": len(rows), "edges": len(edges)}


def read_edges(file: Path) -> Array:
    """uint32 [n, 2]."""
    table = pa.ipc.open_file(pa.memory_map(str(file))).read_all()
    return np.stack([table["left"].to_numpy(), table["right"].to_numpy()], axis=1)


@kernel
def _link(buckets, signatures, least, window):  # type: ignore[no-untyped-def]
    """Edges between entries of a bucket that agree in `least` places; one less than a component has members."""
    num = len(signatures)
    parent = np.arange(num)
    edges = np.empty((num, 2), dtype=np.int64)
    count = 0
    for b in range(len(buckets) - 1):
        first = buckets[b]
        for i in range(first + 1, buckets[b + 1]):
            for j in range(max(first, i - window) - 1, i):
                other = first if j < max(first, i - window) else j
                one_root, other_root = find(parent, i), find(parent, other)
                if one_root == other_root:
                    continue
                agree = 0
                for k in range(signatures.shape[1]):
                    agree += signatures[i, k] == signatures[other, k]
                if agree >= least:
                    parent[max(one_root, other_root)] = min(one_root, other_root)
                    edges[count, 0], edges[count, 1] = other, i
                    count += 1
    return edges[:count]
