"""The documents a tokenizer is trained and tested on: those whose doc_id draws the smallest numbers, up to a size.

A function of seed and the set of documents: not of files, their order, or anything that ran before.
"""

import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from pipeline.core.seeds import derive, keep_fraction

ROWS_AT_ONCE = 1000
ALWAYS_READ_BYTES = 16 << 20


@dataclass(frozen=True, order=True)
class SampleText:
    """Ordered by `draw`, in [0, 1); then by doc_id."""

    draw: float
    doc_id: bytes
    source: str
    text: str


def draw_sample(files: list[Path], max_bytes: int, seed: int) -> list[SampleText]:
    """In order of their draws, to the last that fits into `max_bytes` of UTF-8; never without the first."""
    seed = derive(seed, "tokenizer sample")
    # Where the corpus is larger, most documents are skipped before their texts are even decoded. What is left is
    # twice what is needed, so that chance and uneven lengths do not leave the sample short.
    limit = 2 * max(max_bytes, ALWAYS_READ_BYTES) / max(1, sum(_text_bytes(file) for file in files))
    return longest_prefix((sample for file in files for sample in _below(file, limit, seed)), max_bytes)


def longest_prefix(samples: Iterable[SampleText], max_bytes: int) -> list[SampleText]:
    """Of the samples in order, whatever order they come in, as many as fit; at least the first."""
    heap: list[tuple[float, bytes, int, SampleText]] = []  # the largest draw on top
    held, bound = 0, math.inf
    for sample in samples:
        if sample.draw >= bound:  # a smaller one did not fit: without this, a small late one would take its place
            continue
        size = len(sample.text.encode())
        heapq.heappush(heap, (-sample.draw, sample.doc_id, size, sample))
        held += size
        while held > max_bytes and len(heap) > 1:
            _, _, size, left_out = heapq.heappop(heap)
            held, bound = held - size, left_out.draw
    return sorted(sample for *_, sample in heap)


def _below(file: Path, limit: float, seed: int) -> Iterator[SampleText]:
    """The documents of a file that draw less than `limit`."""
    with pq.ParquetFile(file) as table:
        for batch in table.iter_batches(ROWS_AT_ONCE, columns=["doc_id", "source", "text"]):
            for row, doc_id in enumerate(batch.column("doc_id").to_pylist()):
                if (draw := keep_fraction(doc_id, seed)) < limit:
                    yield SampleText(
                        draw, doc_id, batch.column("source")[row].as_py(), batch.column("text")[row].as_py()
                    )


def _text_bytes(file: Path) -> int:
    """UTF-8 bytes of all texts, as the file's footer tells them."""
    with pq.ParquetFile(file) as table:
        column = table.schema_arrow.get_field_index("text")
        groups = (table.metadata.row_group(number) for number in range(table.num_row_groups))
        return sum(group.column(column).total_uncompressed_size for group in groups)
