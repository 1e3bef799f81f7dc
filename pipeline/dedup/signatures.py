"""What dedup knows of a document, in fixed-width columns: one row per document, in the order of the documents file.

The tables are Arrow IPC files that are memory-mapped: a join reads the columns it needs and no others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from pipeline.core.schema import Document
from pipeline.core.shard_map import Counts
from pipeline.core.tables import read_documents
from pipeline.dedup.exact import exact_hash
from pipeline.dedup.minhash import MinHash

Array = np.ndarray[Any, Any]
SIGNATURES_FILE = ".signatures.arrow"
ROWS_AT_ONCE = 10_000
NO_PAGE = bytes(16)


@dataclass(frozen=True)
class SignTask:
    documents: Path
    ngram: int
    bands: int
    rows: int


def band_column(band: int) -> str:
    return f"band_{band:03d}"


def schema(bands: int, rows: int) -> pa.Schema:
    return pa.schema(
        [
            ("doc_id", pa.binary(16)),
            ("exact", pa.binary(16)),  # exact_hash of the text
            ("page", pa.binary(16)),  # of a crawled page: xxh3_128 of what its captures share, else zeros
            ("crawled", pa.int64()),  # when it was captured, as YYYYMMDDhhmmss; 0: nobody knows
            ("num_bytes", pa.int64()),  # of the text, UTF-8
            ("num_ngrams", pa.int64()),  # 0: too short for a signature
            ("signature", pa.binary(4 * bands * rows)),  # uint32 each
            *((band_column(band), pa.uint64()) for band in range(bands)),
        ]
    )


def sign_file(task: SignTask, folder: Path) -> Counts:
    """`signatures.arrow` of one documents file."""
    minhash = MinHash(task.ngram, task.bands, task.rows)
    columns = schema(task.bands, task.rows)
    num_documents = 0
    rows: list[tuple[Any, ...]] = []
    with pa.ipc.new_file(folder / SIGNATURES_FILE[1:], columns) as writer:
        for document in read_documents(task.documents):
            rows.append(_row(document, minhash))
            num_documents += 1
            if len(rows) == ROWS_AT_ONCE:
                writer.write_batch(_batch(rows, columns))
                rows = []
        if rows:
            writer.write_batch(_batch(rows, columns))
    return {"documents": num_documents}


def _row(document: Document, minhash: MinHash) -> tuple[Any, ...]:
    signature, num_ngrams = minhash.signature(document.text)
    size = len(document.text.encode())
    bands = minhash.band_hashes(signature).tolist()
    page, crawled = document.meta.get("page", ""), document.meta.get("crawled", "")
    return (document.doc_id, exact_hash(document.text), xxhash.xxh3_128_digest(page.encode()) if page else NO_PAGE,
            _as_number(crawled), size, num_ngrams, signature.tobytes(), *bands)  # fmt: skip


def _as_number(date: str) -> int:
    """2026-01-15T06:00:00Z -> 20260115060000; what is left out is 0."""
    return int("".join(sign for sign in date if "0" <= sign <= "9")[:14].ljust(14, "0"))


def _batch(rows: list[tuple[Any, ...]], columns: pa.Schema) -> pa.RecordBatch:
    arrays = [pa.array(column, type=kind) for column, kind in zip(zip(*rows, strict=True), columns.types, strict=True)]
    return pa.record_batch(arrays, schema=columns)


class Signatures:
    """The signature tables of all documents files as one table; a document is its row in it."""

    def __init__(self, files: Sequence[Path]) -> None:
        tables = [pa.ipc.open_file(pa.memory_map(str(file))).read_all() for file in files]
        self.lengths = [len(table) for table in tables]
        self._table = pa.concat_tables(tables)

    def __len__(self) -> int:
        return len(self._table)

    def numbers(self, column: str) -> Array:
        return self._table[column].to_numpy()

    def words(self, column: str) -> Array:
        """A column of bytes as big-endian uint64 [rows, bytes / 8]: they sort as the bytes do."""
        width = self._table.schema.field(column).type.byte_width
        parts = [_bytes(chunk, width).view(">u8") for chunk in self._table[column].chunks]
        return np.concatenate(parts).astype(np.uint64) if parts else np.empty((0, width // 8), dtype=np.uint64)

    def signatures(self, rows: Array) -> Array:
        """uint32 [len(rows), bands * rows]."""
        width = self._table.schema.field("signature").type.byte_width
        result = np.empty((len(rows), width // 4), dtype=np.uint32)
        chunks = self._table["signature"].chunks
        ends = np.cumsum([len(chunk) for chunk in chunks])
        chunk_of = np.searchsorted(ends, rows, side="right")
        for number in np.unique(chunk_of).tolist():
            here = chunk_of == number
            first = ends[number] - len(chunks[number])
            result[here] = _bytes(chunks[number], width)[rows[here] - first].view(np.uint32)
        return result


def _bytes(chunk: pa.FixedSizeBinaryArray, width: int) -> Array:
    """uint8 [rows, width], a view."""
    data = np.frombuffer(chunk.buffers()[1], dtype=np.uint8)
    return data[chunk.offset * width : (chunk.offset + len(chunk)) * width].reshape(-1, width)
