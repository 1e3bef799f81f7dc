"""Columnar files: Parquet, Arrow IPC file and Arrow IPC stream in; record batches of the wanted columns out.

The unit of a range is what can be read on its own: a row group, a record batch. Hugging Face's `save_to_disk` folders
are Arrow streams with descriptions and caches beside them; `is_data` tells which are which.

Arrow files are mapped, and Arrow believes the offsets in them: every batch is proven before a row of it is touched,
as a wrong offset would end the process, not the record.
"""

from collections.abc import Iterator, Set
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

Form = Literal["", "parquet", "arrow_file", "arrow_stream"]

BATCH_BYTES = 32 << 20
MAX_BATCH_ROWS = 1000
READ_BYTES = 1 << 20  # of a column chunk at a time; `pre_buffer` would hold all chunks of all row groups
NOT_DATA = (
    "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json",  # descriptions
    "cache-*.arrow", "*indices*.arrow",  # results of `map` and `filter` that datasets keeps beside the data
    "README.md", "LICENSE*",
)  # fmt: skip


def is_data(name: str) -> bool:
    """Whether a file of a dataset folder holds rows of it."""
    return not any(fnmatch(name.rpartition("/")[2], pattern) for pattern in NOT_DATA)


def form_of(path: Path) -> Form:
    """By the first bytes; "" for what is not columnar."""
    with open(path, "rb") as file:
        magic = file.read(8)
    if magic.startswith(b"PAR1"):
        return "parquet"
    if magic.startswith(b"ARROW1"):
        return "arrow_file"
    return "arrow_stream" if magic.startswith(b"\xff\xff\xff\xff") else ""


def unit_sizes(path: Path) -> list[int]:
    """Bytes of each row group or record batch, about; raises pa.ArrowException or OSError."""
    form = form_of(path)
    if form == "parquet":
        with pq.ParquetFile(path) as table:
            groups = [table.metadata.row_group(i) for i in range(table.num_row_groups)]
            return [sum(group.column(i).total_compressed_size for i in range(group.num_columns)) for group in groups]
    with pa.memory_map(str(path)) as file:
        if form == "arrow_file":
            number = pa.ipc.open_file(file).num_record_batches
            return [path.stat().st_size // number] * number if number else []
        messages = pa.ipc.MessageReader.open_stream(file)
        return [message.body.size for message in messages if message.type == "record batch"]


def read_batches(
    path: Path, wanted: Set[str], start: int = 0, end: int | None = None
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """(index in the file of the batch's first row, batch) of the units [start, end).

    `wanted`: names of columns; of "a.b" also column "a" is read. Raises pa.ArrowException or OSError.
    """
    if form_of(path) == "parquet":
        yield from _parquet_batches(path, wanted, start, end)
    else:
        yield from _arrow_batches(path, wanted, start, end)


def _parquet_batches(path: Path, wanted: Set[str], start: int, end: int | None) -> Iterator[tuple[int, pa.RecordBatch]]:
    with pq.ParquetFile(path, buffer_size=READ_BYTES, pre_buffer=False) as table:
        columns = [table.schema_arrow.names[i] for i in _chosen(table.schema_arrow, wanted)]
        groups = range(start, table.num_row_groups if end is None else end)
        row = sum(table.metadata.row_group(i).num_rows for i in range(start))
        sizes = [table.metadata.row_group(i) for i in groups]
        row_bytes = max((size.total_byte_size // max(size.num_rows, 1) for size in sizes), default=1)
        rows_at_once = max(1, min(MAX_BATCH_ROWS, BATCH_BYTES // max(row_bytes, 1)))
        for batch in table.iter_batches(batch_size=rows_at_once, row_groups=list(groups), columns=columns):
            yield row, batch
            row += batch.num_rows


def _arrow_batches(path: Path, wanted: Set[str], start: int, end: int | None) -> Iterator[tuple[int, pa.RecordBatch]]:
    row = 0
    with pa.memory_map(str(path)) as file:
        for number, batch in enumerate(_open_arrow(file, form_of(path), wanted)):
            if end is not None and number >= end:
                return
            if number >= start:
                yield row, _proven(batch)
            row += batch.num_rows


def _open_arrow(file: pa.MemoryMappedFile, form: Form, wanted: Set[str]) -> Iterator[pa.RecordBatch]:
    opened: Any = pa.ipc.open_file if form == "arrow_file" else pa.ipc.open_stream
    chosen = _chosen(opened(file).schema, wanted) or [0]  # an empty list would mean all
    file.seek(0)
    reader = opened(file, options=pa.ipc.IpcReadOptions(included_fields=chosen))
    if form == "arrow_file":
        return (reader.get_batch(i) for i in range(reader.num_record_batches))
    return iter(reader)


def _chosen(schema: pa.Schema, wanted: Set[str]) -> list[int]:
    tops = wanted | {name.partition(".")[0] for name in wanted}
    return [index for index, name in enumerate(schema.names) if name in tops]


def _proven(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Text as bytes, so that one row that is not UTF-8 costs one row; raises pa.ArrowInvalid for what leads astray."""
    views = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}
    columns = [column.view(views.get(column.type, column.type)) for column in batch.columns]
    proven = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
    proven.validate(full=True)
    return proven
