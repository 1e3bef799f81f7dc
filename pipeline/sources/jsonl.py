"""JSON lines (plain, gzip) and Parquet to documents: one record, one document.

| reason    | kind    | when |
|-----------|---------|------|
| no_text   | quality | the text field is empty |
| malformed | error   | the record is not JSON, not an object, not UTF-8, or its text field is no string |
| too_large | error   | the line is longer than MAX_LINE_BYTES |
| damaged   | error   | the gzip stream or the Parquet file cannot be read (further) |
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.schema import Document, Rejected, document_id
from pipeline.sources.base import InputFile, Range, SourceConfig, broken, describe, group, in_the_data, reject

MAX_LINE_BYTES = 64 << 20


class Config(SourceConfig):
    """Documents that are text already."""

    paths: tuple[str, ...] = ("**/*.jsonl*",)

    text_field: str = "text"
    """Field of the record that holds the text."""

    id_field: str = ""
    """Field that names the document in its source; default: "file:line"."""

    url_field: str = "url"
    """Field with the URL, if there is one."""

    title_field: str = "title"
    """Field with the title, if there is one."""

    date_field: str = "date"
    """Field with the date (ISO 8601), if there is one."""

    meta_fields: tuple[str, ...] = ()
    """Further fields to keep in `meta`, as text."""


def splits(config: SourceConfig, file: InputFile) -> list[Range]:
    if not _is_parquet(file):
        return [Range(file, file.num_bytes)]
    try:
        with pq.ParquetFile(file.path) as table:
            facts = [table.metadata.row_group(i) for i in range(table.num_row_groups)]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # UnicodeDecodeError: a column's name
        if not in_the_data(error):
            raise
        return [Range(file, file.num_bytes)]  # `read` reports it
    sizes = [sum(group.column(i).total_compressed_size for i in range(group.num_columns)) for group in facts]
    return [Range(file, sum(sizes[start:end]), start, end) for start, end in group(sizes)]


def read(config: SourceConfig, part: Range) -> Iterator[Document | Rejected]:
    section = cast(Config, config)
    if _is_parquet(part.file):
        yield from _read_parquet(section, part)
        return
    opener: Any = gzip.open if _magic(part.file).startswith(b"\x1f\x8b") else open
    with opener(part.file.path, "rb") as file:
        yield from _read_lines(section, part.file, file)


def _read_lines(config: Config, file: InputFile, stream: IO[bytes]) -> Iterator[Document | Rejected]:
    number = offset = 0
    while True:
        try:
            line = stream.readline(MAX_LINE_BYTES)
            too_large = len(line) == MAX_LINE_BYTES and not line.endswith(b"\n")
            size = len(line) + (_skip_line(stream) if too_large else 0)
        except (EOFError, OSError, zlib.error) as error:
            if not in_the_data(error):
                raise
            detail = f"after {offset} bytes: {describe(error)}"
            yield broken(config, f"{file.name}:{number + 1}", b"", "damaged", detail)
            return
        if not line:
            return
        number += 1
        key, origin = f"{file.key}:{number}", f"{file.name}:{offset}"
        offset += size
        if too_large:
            yield broken(config, key, line[:1000], "too_large", f"{size} bytes")
        elif line.strip():
            yield _read_line(config, key, origin, line)


def _skip_line(stream: IO[bytes]) -> int:
    size = 0
    while piece := stream.readline(MAX_LINE_BYTES):
        size += len(piece)
        if piece.endswith(b"\n"):
            break
    return size


def _read_line(config: Config, key: str, origin: str, line: bytes) -> Document | Rejected:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return broken(config, key, line, "malformed", error)
    if not isinstance(record, dict):
        return broken(config, key, line, "malformed", f"expected an object, found a {type(record).__name__}")
    return _to_document(config, key, origin, record, line)


def _to_document(config: Config, key: str, origin: str, record: dict[str, Any], raw: bytes) -> Document | Rejected:
    def field(name: str) -> str:
        value = record.get(name) if name else None
        return "" if value is None else str(value)

    key = field(config.id_field) or key
    text = record.get(config.text_field)
    if text is not None and not isinstance(text, str):
        return broken(config, key, raw, "malformed", f"'{config.text_field}' is a {type(text).__name__}, not a string")
    if text is None and config.text_field not in record:
        return broken(config, key, raw, "malformed", f"no field '{config.text_field}'; it has {', '.join(record)}")
    if not text or not text.strip():
        return reject(config, key, raw, "no_text")
    return Document(
        document_id(config.source, key, raw), config.source, key, origin, text,
        url=field(config.url_field), title=field(config.title_field), date=field(config.date_field),
        license=config.license, meta={name: field(name) for name in config.meta_fields if field(name)},
    )  # fmt: skip


def _read_parquet(config: Config, part: Range) -> Iterator[Document | Rejected]:
    file = part.file
    try:
        with pq.ParquetFile(file.path) as table:
            wanted = {config.text_field, config.id_field, config.url_field, config.title_field, config.date_field}
            columns = [name for name in table.schema_arrow.names if name in wanted | set(config.meta_fields)]
            row = sum(table.metadata.row_group(i).num_rows for i in range(part.start))
            groups = range(part.start, table.num_row_groups if part.end is None else part.end)
            for batch in table.iter_batches(batch_size=1000, row_groups=list(groups), columns=columns):
                for index in range(len(batch)):
                    row += 1
                    yield _read_row(config, f"{file.key}:{row}", f"{file.name}:{row - 1}", batch, index)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # UnicodeDecodeError: a column's name
        if not in_the_data(error):
            raise
        yield broken(config, f"{file.name}:{part.start}", b"", "damaged", describe(error))


def _read_row(config: Config, key: str, origin: str, batch: pa.RecordBatch, index: int) -> Document | Rejected:
    try:
        columns = zip(batch.schema.names, batch.columns, strict=True)
        record = {name: column[index].as_py() for name, column in columns}
    except (ValueError, OverflowError) as error:  # a string that is not UTF-8, a date after the year 9999
        return broken(config, key, b"", "malformed", describe(error))
    raw = str(record.get(config.text_field, "")).encode("utf-8", "surrogatepass")
    return _to_document(config, key, origin, record, raw)


def _is_parquet(file: InputFile) -> bool:
    return _magic(file) == b"PAR1"


def _magic(file: InputFile) -> bytes:
    with open(file.path, "rb") as raw:
        return raw.read(4)
