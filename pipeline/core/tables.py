"""Rows in, Parquet out, and back: the files in which DOCUMENT and LEDGER records lie.

Same rows, same bytes: fixed row groups, zstd, plain columns, no clock. Memory is bounded by one row group.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.schema import DOCUMENT, LEDGER, Document

DOCUMENTS_FILE = ".documents.parquet"  # how the name of a documents file ends in a finished stage folder
GROUP_ROWS = 100_000
GROUP_BYTES = 64 << 20
ROW_BYTES = 100  # of a row beside its text
READ_BYTES = 1 << 20  # of a column chunk at a time; `pre_buffer` would hold the whole file, packed


class RowWriter:
    """Buffers rows (tuples in the schema's order) and writes row groups of at most GROUP_ROWS or GROUP_BYTES."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.schema = schema
        self.num_rows = 0
        self._rows: list[Sequence[Any]] = []
        self._bytes = 0
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def append(self, row: Sequence[Any]) -> None:
        self._rows.append(row)
        self._bytes += ROW_BYTES + text_bytes(row)
        if len(self._rows) >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [pa.array(column, type=kind) for column, kind in zip(columns, self.schema.types, strict=True)]
            self._writer.write_table(pa.Table.from_arrays(arrays, schema=self.schema), row_group_size=GROUP_ROWS)
            self.num_rows += len(self._rows)
        self._rows, self._bytes = [], 0

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._flush()
        self._writer.close()


class TableWriter:
    """The same from batches that are in Arrow already: row groups of at least GROUP_ROWS or GROUP_BYTES."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def append(self, batch: pa.RecordBatch, num_bytes: int) -> None:
        """`num_bytes`: about how much memory the batch takes."""
        self._waiting.append(batch)
        self._rows += len(batch)
        self._bytes += num_bytes
        if self._rows >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            table = pa.Table.from_batches(self._waiting).cast(self.schema)
            self._writer.write_table(table, row_group_size=self._rows)
        self._waiting, self._rows, self._bytes = [], 0, 0

    def __enter__(self) -> "TableWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._flush()
        self._writer.close()


def text_bytes(value: Any) -> int:
    """Of all text in a row, UTF-8: a title, a key or `meta` may be as long as a text."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode())
    if isinstance(value, bytes):
        return len(value)
    return sum(map(text_bytes, value)) if isinstance(value, Sequence) else 0


class DocumentWriter:
    """`documents.parquet` and `ledger.parquet` of one split, written together so that no verdict is forgotten."""

    def __init__(self, folder: Path, stage: str) -> None:
        self.stage = stage
        self._documents = RowWriter(folder / "documents.parquet", DOCUMENT)
        self._ledger = RowWriter(folder / "ledger.parquet", LEDGER)
        self.counts = {"in": 0, "kept": 0, "dropped": 0, "errors": 0, "bytes_in": 0, "bytes_kept": 0}

    def keep(self, document: Document, edits: str = "", detail: str = "", bytes_in: int | None = None,
             origin: str = "") -> None:  # fmt: skip
        """`edits`: names of the rules that changed the text, joined by "+"; `bytes_in`: its size before them;
        `origin`: said in the ledger of the first stage only."""
        size = len(document.text.encode())
        row = (*(getattr(document, name) for name in _PLAIN), list(document.meta.items()))
        self._documents.append(row)
        verdict = "edited" if edits else "kept"
        self._record(document.doc_id, document.source, document.key, origin, verdict, "", edits, detail,
                     size if bytes_in is None else bytes_in)  # fmt: skip
        self.counts["kept"] += 1
        self.counts["bytes_kept"] += size

    def drop(self, doc_id: bytes, source: str, key: str, *, kind: str, reason: str, detail: str = "",
             bytes_in: int = 0, origin: str = "") -> None:  # fmt: skip
        """`kind`: "quality" (a rule's verdict) or "error" (could not be read)."""
        assert kind in ("quality", "error"), kind
        self._record(doc_id, source, key, origin, "dropped", kind, reason, detail, bytes_in)
        self.counts["dropped"] += 1
        self.counts["errors"] += kind == "error"

    def _record(self, doc_id: bytes, source: str, key: str, origin: str, verdict: str, kind: str, reason: str,
                detail: str, num_bytes: int) -> None:  # fmt: skip
        self._ledger.append((doc_id, source, key, origin, self.stage, verdict, kind, reason, detail, num_bytes))
        self.counts["in"] += 1
        self.counts["bytes_in"] += num_bytes

    def __enter__(self) -> "DocumentWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._documents.__exit__(kind, error, at)
        self._ledger.__exit__(kind, error, at)
        pa.default_memory_pool().release_unused()  # 200 MB after a large document; the worker goes on to other splits
        assert self.counts["in"] == self.counts["kept"] + self.counts["dropped"], self.counts


_PLAIN = tuple(name for name in DOCUMENT.names if name != "meta")  # the columns before meta, in order


def read_documents(path: Path, rows_at_once: int = 1000) -> Iterator[Document]:
    """Documents of one file in order, streamed."""
    for batch in read_batches(path, DOCUMENT.names, rows_at_once):
        for row in batch.to_pylist():
            yield Document(**{**row, "meta": dict(row["meta"])})


def read_batches(path: Path, columns: Sequence[str], rows_at_once: int = 1000) -> Iterator[pa.RecordBatch]:
    """Some columns of a file, streamed; a batch lies in one row group, as one over many would hold them all."""
    with pq.ParquetFile(path, buffer_size=READ_BYTES, pre_buffer=False) as file:
        for number in range(file.num_row_groups):
            yield from file.iter_batches(rows_at_once, row_groups=[number], columns=list(columns))
