"""Columnar files: Parquet, Arrow IPC file and Arrow IPC stream in; record batches of the wanted columns out.

The unit of a range is what can be read on its own: a row group, a record batch. Hugging Face's `save_to_disk` folders
are Arrow streams with descriptions and caches beside them; `is_data` tells which are which.

Arrow files are mapped, and Arrow believes the offsets in them: every batch is proven before a row of it is touched,
as a wrong offset would end the process, not the record.

A Parquet file of a megabyte can say a value of 20 MB a thousand times: of each row group so many rows are decoded at
once as fit when all of them hold the longest value of its dictionary.
"""

from collections.abc import Iterator, Sequence, Set
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
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


def column_names(path: Path) -> list[str]:
    """All columns of the file; raises pa.ArrowException or OSError."""
    form = form_of(path)
    if form == "parquet":
        with _open_parquet(path) as table:
            return list(table.schema_arrow.names)
    with pa.memory_map(str(path)) as file:
        opened: Any = pa.ipc.open_file if form == "arrow_file" else pa.ipc.open_stream
        return list(opened(file).schema.names)


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
    with _open_parquet(path) as table:
        columns = [table.schema_arrow.names[i] for i in _chosen(table.schema_arrow, wanted)]
        row = sum(table.metadata.row_group(i).num_rows for i in range(start))
        for group in range(start, table.num_row_groups if end is None else end):
            rows_at_once = max(1, min(MAX_BATCH_ROWS, BATCH_BYTES // _row_bytes(path, table.metadata, group, wanted)))
            for batch in table.iter_batches(batch_size=rows_at_once, row_groups=[group], columns=columns):
                yield row, batch
                row += batch.num_rows


def _open_parquet(path: Path, read_dictionary: Sequence[str] = ()) -> pq.ParquetFile:
    return pq.ParquetFile(path, buffer_size=READ_BYTES, pre_buffer=False, read_dictionary=list(read_dictionary))


def _row_bytes(path: Path, metadata: pq.FileMetaData, number: int, wanted: Set[str]) -> int:
    """Of a row group's row when decoded, about: its average, and what a value that is stored once may be in each."""
    group = metadata.row_group(number)
    num_rows = max(group.num_rows, 1)
    size = 1 + group.total_byte_size // num_rows
    for index in range(group.num_columns):
        column = group.column(index)
        is_read = column.path_in_schema.partition(".")[0] in _tops(wanted)
        if is_read and column.total_uncompressed_size * min(num_rows, MAX_BATCH_ROWS) > BATCH_BYTES:
            size += _shared_bytes(path, column, number) * -(-column.num_values // num_rows)
    return size


def _shared_bytes(path: Path, column: pq.ColumnChunkMetaData, group: int) -> int:
    """The longest value of the column chunk that many rows may repeat for nothing; 0 where each is stored whole."""
    if column.physical_type != "BYTE_ARRAY":
        return 0
    if "DELTA_BYTE_ARRAY" in column.encodings:  # each value may begin with all of the one before
        return column.total_uncompressed_size
    if not column.has_dictionary_page:
        return 0
    name = column.path_in_schema
    with _open_parquet(path, read_dictionary=[name]) as table:
        first = next(table.iter_batches(batch_size=1, row_groups=[group], columns=[name]), None)
    arrays = first.columns if first else ()
    return max((_longest(values) for array in arrays for values in _dictionaries(array)), default=0)


def _dictionaries(array: pa.Array) -> Iterator[pa.Array]:
    if pa.types.is_dictionary(array.type):
        yield array.dictionary
    elif pa.types.is_struct(array.type):
        for field in array.flatten():
            yield from _dictionaries(field)
    elif pa.types.is_nested(array.type):
        yield from _dictionaries(array.flatten())


def _longest(values: pa.Array) -> int:
    return pc.max(pc.binary_length(values)).as_py() or 0


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
    tops = _tops(wanted)
    return [index for index, name in enumerate(schema.names) if name in tops]


def _tops(wanted: Set[str]) -> Set[str]:
    return wanted | {name.partition(".")[0] for name in wanted}


def _proven(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Text as bytes, so that one row that is not UTF-8 costs one row; raises pa.ArrowInvalid for what leads astray."""
    views = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}
    columns = [column.view(views.get(column.type, column.type)) for column in batch.columns]
    proven = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
    proven.validate(full=True)
    return proven
